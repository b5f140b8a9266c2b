"""Tasks that can never run again, though others still can.

`stuck_tasks` is for programs; `end_of_run` is asked by whoever ends a run.  The judgement is that of
`vtloop.diagnosis.judge`.  It must never change a task.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import FrameType
from typing import Any

from vtloop.diagnosis.describe import says
from vtloop.diagnosis.judge import judge
from vtloop.diagnosis.waits import TaskWait, WaitGraph, capture
from vtloop.errors import UsageError
from vtloop.state import LoopState

__all__ = ["StuckTask", "end_of_run", "stuck_tasks"]

NOBODY, CANCEL = "nobody", "only a cancel"

_FOR_WORK = ("Queue.get", "Event", "Condition", "MemoryObjectReceiveStream.receive", "StreamReader.read")
"""Kinds of waits of a task that waits for work to come, or for the word to end."""


@dataclass(frozen=True, slots=True)
class StuckTask:
    """A task that nothing alive can wake.

    Attributes:
        task: The task.
        name: Its name.
        label: How reports call it: the name, with the coroutine's when the name is only ``Task-3``.
        tier: ``"nobody"``: nothing can cancel it either; ``"only a cancel"``: something alive refers to the task.
        waits_for: What it waits for, in words.
        kind: The kind of that: ``"Lock"``, ``"Queue.get"``, ``"Event"``, ``"future"``, ...
        place: The line where it waits, as ``file.py:12 in f``.
        created: The line that made it, or None.
        in_cycle: Whether it waits, by way of others perhaps, for itself: no reference could have helped.
        for_work: Whether it waits for work to come, as a worker on its queue does.
        parked: Whether what it waits for never had a name: ``await asyncio.Future()``, to wait for ever.
    """

    task: asyncio.Task[Any] = field(repr=False)
    name: str
    label: str
    tier: str
    waits_for: str
    kind: str
    place: str
    created: str | None
    in_cycle: bool = False
    for_work: bool = False
    parked: bool = False

    def __str__(self) -> str:
        return f"{self.waits_for}; {_OUTLOOK[self.tier]}"

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON-ready values."""
        facts = {name: getattr(self, name) for name in StuckTask.__slots__ if name not in ("task", "label")}
        return {"task": self.label, **facts}


_OUTLOOK = {NOBODY: "nothing alive can wake or cancel it", CANCEL: "nothing alive can wake it, only cancel it"}


def stuck_tasks(loop: asyncio.AbstractEventLoop | None = None) -> list[StuckTask]:
    """The tasks that nothing alive can wake, in order of creation; empty while all is well.

    Those that nothing can cancel either have the tier ``"nobody"``.  Where something cannot be known a task does not
    count as stuck.  Costs about 25 ms for 1,000 tasks.

    Args:
        loop: A loop of ours; None for the running one.

    Raises:
        UsageError: The loop is not vtloop's, is closed, or runs in another thread.
    """
    given = asyncio._get_running_loop() if loop is None else loop
    if not isinstance(given, LoopState):
        what = "no event loop is running" if given is None else f"this one is {type(given).__name__}"
        raise UsageError(f"stuck_tasks() needs a vtloop loop: {what}; call it inside a run, or pass the loop")
    if given.is_closed():
        raise UsageError("stuck_tasks() needs a loop that is open, this one is closed")
    if given._thread_id not in (None, threading.get_ident()):
        raise UsageError("stuck_tasks() must be called in the thread of its loop")
    found = judge(given)
    return _facts(given, [*((task, NOBODY) for task in found.stuck), *((task, CANCEL) for task in found.cancel)])


def end_of_run(loop: Any, frame: FrameType | None = None) -> list[StuckTask]:
    """The pending tasks, daemons left out, that could not have been woken any more though main still ran.

    To be called when the loop has stopped and before anything is cancelled.  What main's own ``frame`` refers to
    counts as alive though main has ended; what functions that main called held in their variables is gone, though:
    so a task that waits for work (``for_work``) or is ``parked`` may have been healthy until main returned, while one
    ``in_cycle`` never was.

    Args:
        loop: The loop of the run, not running.
        frame: ``cr_frame`` of main's coroutine, taken before the run: holding it keeps main's variables.  Drop it
            right after.
    """
    if not loop._tasks.pending():
        return []
    found = judge(loop, roots=[frame] if frame is not None else ())
    tiers = [(task, NOBODY) for task in found.stuck] + [(task, CANCEL) for task in found.cancel]
    return _facts(loop, [(task, tier) for task, tier in tiers if not loop._is_daemon(task)])


def _facts(loop: Any, found: Sequence[tuple[asyncio.Task[Any], str]]) -> list[StuckTask]:
    if not found:
        return []
    main = loop._main if isinstance(loop._main, asyncio.Task) else None
    tasks = loop._tasks.pending()
    graph = capture(tasks, main)
    tier = {id(task): word for task, word in found}
    circling = {step.task for cycle in graph.cycles for step in cycle}
    return [
        _fact(task, tier[id(task)], wait, graph, wait.label in circling)
        for task, wait in zip(tasks, graph.tasks, strict=True)
        if id(task) in tier
    ]


def _fact(task: asyncio.Task[Any], tier: str, seen: TaskWait, graph: WaitGraph, in_cycle: bool) -> StuckTask:
    kind = seen.wait.kind if seen.wait is not None else seen.state
    places = [place for place in seen.chain if not place.internal] or list(seen.chain)
    named = seen.wait is not None and seen.wait.name is not None
    return StuckTask(
        task,
        seen.name,
        seen.label,
        tier,
        says(seen, graph),
        kind,
        str(places[-1]) if places else "",
        str(seen.created) if seen.created else None,
        in_cycle,
        for_work=kind in _FOR_WORK,
        parked=kind in ("future", "Event") and not named,
    )
