"""Main stuck while timers tick: asked now and then, at steps that are the same in every run of a seed.

Called by `vtloop.idle` when the loop has nothing ready, or only polls.  Main is looked at every 800 steps or so; only
if it still waits for the very same future is anything else done.  It must never cost anything in a turn, and
never raise a verdict by the real clock.
"""

from __future__ import annotations

import asyncio
import weakref
from typing import Any

from vtloop.cpython_waits import future_waited_for
from vtloop.diagnosis.judge import judge
from vtloop.diagnosis.reach import Reach
from vtloop.diagnosis.targets import tasks_behind

__all__ = ["FIRST_LOOK", "MainWatch", "suspicions"]

FIRST_LOOK = 800
"""Steps between two looks at a main task that moves on."""

LAST_LOOK = 200_000
"""Steps between two looks at one that has waited for long, while something could still wake it."""


class MainWatch:
    """Remembers what main waited for when it was last looked at."""

    __slots__ = ("_seen", "_spacing", "at")

    def __init__(self) -> None:
        self.at = FIRST_LOOK
        self._seen: weakref.ref[asyncio.Future[Any]] | None = None
        self._spacing = FIRST_LOOK

    def look(self, loop: Any) -> Reach | None:
        """Whether main can never go on: then who is stuck, else None."""
        main = loop._main
        least = max(FIRST_LOOK, 2 * len(loop._tasks.pending()))
        waited_for = future_waited_for(main) if isinstance(main, asyncio.Task) and not main.done() else None
        if waited_for is None or self._seen is None or self._seen() is not waited_for:
            self._seen = weakref.ref(waited_for) if waited_for is not None else None
            self._spacing = least
            self.at = loop._steps + least
            return None
        self._spacing = max(least, min(4 * self._spacing, LAST_LOOK))
        self.at = loop._steps + self._spacing
        if loop._step_bound is not None or _is_moving(loop, main):
            return None
        return _is_stuck(loop, main)


# No function here may close over the main task: its cell would be taken for somebody who holds the task.
def _is_stuck(loop: Any, main: asyncio.Task[Any]) -> Reach | None:
    found = judge(loop, ends=True)
    if found.of(main) != "stuck":
        return None
    # What waits to be let go of or collected has finalizers, which may do anything.
    loop._tasks.sweep(cancelled=False)
    loop._collect_everything()
    found = judge(loop, ends=True)
    return found if found.of(main) == "stuck" else None


def _is_moving(loop: Any, main: asyncio.Task[Any]) -> bool:
    """Whether main waits for a task that is ready or asleep: a first, cheap look."""
    rung = {id(thing) for handle in loop._timers.pending() for thing in handle._args or ()}
    todo, seen = [main], set[int]()
    while todo:
        task = todo.pop()
        if id(task) in seen:
            continue
        seen.add(id(task))
        future = future_waited_for(task)
        if future is None or future.done() or id(future) in rung:
            return True
        todo += tasks_behind([future])
    return False


def suspicions(loop: Any) -> list[str]:
    """For a run that has spent a budget: who could never run again, in words."""
    if not any(not task.done() for task in loop._tasks.pending()):
        return []
    found = judge(loop)
    many = len(loop._tasks.pending())
    notes = []
    for tasks, what in (
        (found.stuck, "can never run again: nothing alive can wake or cancel"),
        (found.cancel, "can only be cancelled, as it seems: nothing alive can wake"),
    ):
        if tasks:
            names = [task.get_name() for task in tasks[:3]] + ([f"{len(tasks) - 3} more"] if len(tasks) > 3 else [])
            whom = "it" if len(tasks) == 1 else "them"
            notes.append(f"{len(tasks):,} of {many:,} tasks {what} {whom} ({', '.join(names)})")
    return notes
