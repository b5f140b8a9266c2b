"""What a run leaves behind when it ends, and whether it fails with that, warns of it, or says nothing.

Each kind of thing has a default (`DEFAULTS`); the option ``leaks`` sets one word for all kinds.  `vtloop.run` tells
when main has ended, what the unwinding could not end, and asks in the end.  What is judged is certain: a task that
merely waits for work when main returns is cancelled without a word, as ``asyncio.run`` does.  It must never cancel or
close anything, nor cost anything while nothing is left.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from vtloop import left_open
from vtloop.cpython_waits import future_waited_for
from vtloop.diagnosis.describe import cause
from vtloop.diagnosis.facts import facts
from vtloop.diagnosis.judge import judge
from vtloop.diagnosis.leak import Leak, error_of, headline, report_of
from vtloop.diagnosis.waits import capture
from vtloop.leftovers import left_behind, tasks_left, told, unawaited
from vtloop.stuck import end_of_run
from vtloop.unawaited import Watch
from vtloop.warned import Warned

if TYPE_CHECKING:
    from vtloop.loop import EventLoop
    from vtloop.notes import Notes

__all__ = ["DEFAULTS", "Leaks", "NoLeaks"]

DEFAULTS = {
    "coroutine": "error",
    "survivor": "error",
    "stuck task": "warn",
    "async generator": "warn",
    "executor call": "warn",
    "lock": "warn",
    "task": "allow",
    "transport": "allow",
}
"""What becomes of each kind of thing when ``leaks`` is None."""

GLANCE_MOST, GLANCE_TASK = 50_000, 30
"""With more objects that were made in the run, and for each task, nobody glances: it would take longer than the run."""


class NoLeaks:
    """The judge of a run with ``leaks="allow"``: nobody looks."""

    warned: Sequence[Warned] = ()

    def ended(self, notes: Notes | None) -> None:
        """Nothing."""

    def __enter__(self) -> NoLeaks:
        return self

    def __exit__(self, *exc: object) -> None:
        pass

    def unwinding(self) -> None:
        """Nothing."""

    def survived(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """Nothing."""

    def judge(self, error: BaseException | None, time_ns: int, step: int) -> BaseException | None:
        """The error of the run as it is."""
        return error


class Leaks(NoLeaks):
    """The judge of one run; a context manager around it.

    Args:
        loop: The loop of the run.
        quick: Whether only what costs nothing is looked for: for most runs of an exploration.

    Attributes:
        loop: The loop.
        warned: What the run is warned of.
    """

    def __init__(self, loop: EventLoop, quick: bool) -> None:
        self.loop = loop
        self._word = loop.options.leaks
        self._every_kind = self._word in ("error", "warn")
        self._watch = Watch(loop, places=not quick, everything=self._every_kind and not quick)
        self._survivors: list[Leak] = []
        self._others: list[Leak] = []
        self._quick = quick
        self._seen_stuck: set[int] = set()  # the numbers of tasks; only ever looked up
        self._graph: dict[str, Any] = {}
        self._cause = ""

    def __enter__(self) -> Leaks:
        if not self._quick:
            self.loop.asyncgen_origins = {}
            self.loop.glance, self.loop.glance_at, self.loop._look_at = self._glance, 0, 0
        self._watch.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._watch.__exit__(*exc)

    def _glance(self) -> None:
        """Main and others wait: note which tasks can never run again, though main goes on.

        Asked at the first wait for a timer, and then after half as many steps again each time.
        """
        loop = self.loop
        loop.glance_at = loop._steps + loop._steps // 2 + 1
        rung = {id(thing) for handle in loop._timers.pending() for thing in handle._args or ()}
        for task in loop._tasks.pending():
            future = future_waited_for(task)
            if future is not None and id(future) not in rung and task is not loop._main:
                if len(gc.get_objects(0)) + len(gc.get_objects(1)) > GLANCE_MOST + GLANCE_TASK * len(
                    loop._tasks._tasks
                ):
                    return
                # Nothing is collected: in runs that are not looked at closely nothing would be.
                found = judge(loop, collect=False)
                self._seen_stuck |= {hash(one) for one in (*found.stuck, *found.cancel)}
                return

    def ended(self, notes: Notes | None) -> None:
        """The run is over and has not failed; nothing is cancelled yet."""
        loop = self.loop
        if loop._living_asyncgens():
            # What is garbage is no leak: asyncio would close it some time.  In every run, so that runs are alike.
            gc.collect(1)
        if self._quick:
            return
        left = [task for task in loop._tasks.pending() if not loop._is_daemon(task)]
        stuck = self._stuck() if left else []
        if stuck:
            graph = capture(stuck)
            self._others += told("stuck task", graph)
            self._graph, self._cause = facts(graph), cause(graph) if graph.cycles else ""
        if self._every_kind:
            rest = [task for task in left if not any(task is one for one in stuck)]
            self._others += [*left_behind(rest), *left_open.transports(loop)]
        if loop.has_asyncgens():
            self._others += left_open.async_generators(loop)
        if loop.has_calls():
            self._others += left_open.executor_calls(loop)
        if notes is not None:
            self._others += left_open.locks(loop, notes)

    def _stuck(self) -> list[asyncio.Task[Any]]:
        """The tasks that can never run again, and could not when main had time still to see to that.

        Those that wait for one another never could; of others it must have been seen before: what a function that main
        called held in its variables is gone by now.
        """
        if not self._seen_stuck and not capture(self.loop._tasks.pending()).cycles:
            return []  # without a look at the heap
        found = [one for one in end_of_run(self.loop) if not one.parked]
        return [one.task for one in found if one.in_cycle or hash(one.task) in self._seen_stuck]

    def unwinding(self) -> None:
        """The unwinding begins: what it drops or cancels is no leak."""
        self._watch.unwinding = True

    def survived(self, tasks: Sequence[asyncio.Task[Any]]) -> None:
        """These are pending still, though they were cancelled and had all the time they wanted."""
        loop = self.loop
        spent = loop._steps >= loop._step_limit()
        calling = loop._calls or any(helper.call is not None for helper in loop._helpers)
        if calling or (loop._timers.pending() and not spent):
            return  # they wait for a thread, or for a time that nobody lets come
        left = [task for task in tasks if not loop._is_daemon(task)]
        if left:
            self._survivors = tasks_left("survivor", left)

    def judge(self, error: BaseException | None, time_ns: int, step: int) -> BaseException | None:
        """The error of the run: its own one, with a note of what else was left behind, or a `LeakError`."""
        if not self._quick:
            gc.collect(1)  # who looked on the way has made what was left older
        found = self._found()
        if not found:
            return error
        errors = [leak for leak in found if self._fate_of(leak.kind) == "error"]
        if error is not None:
            for leaks in _by_kind([leak for leak in found if DEFAULTS[leak.kind] == "error"]):
                error.add_note(f"also left behind: {headline(leaks)}")
            return error
        for leaks in _by_kind([leak for leak in found if self._fate_of(leak.kind) == "warn"]):
            line = headline(leaks, self._cause)
            report = report_of(leaks, line).partition("\n")[2].partition("\n")[2]
            data = {"leaks": [leak.data for leak in leaks]}
            if leaks[0].kind == "stuck task":
                data |= self._graph
            self.warned = [*self.warned, Warned(leaks[0].kind, line, f"{line}\n{report}".rstrip(), data)]
        if not errors:
            return None
        command = self.loop.replay_command
        again = command("LeakError") if command is not None else None
        return error_of(errors, time_ns, step, self.loop.options.seed, again, self._cause)

    def _fate_of(self, kind: str) -> str:
        """``"error"``, ``"warn"`` or ``"allow"``."""
        default = DEFAULTS[kind]
        if self._word == "soft":
            return "warn" if default == "error" else default
        return self._word or default

    def _found(self) -> list[Leak]:
        """Everything, the kinds in the order in which they decide where the error is."""
        coroutines = unawaited(self._watch.found) if self._watch.found else []
        survived = {name for leak in self._survivors for name in leak.data["tasks"]}
        others = [one for one in self._others if one.kind != "task" or not survived.issuperset(one.data["tasks"])]
        return [*coroutines, *self._survivors, *others]


def _by_kind(leaks: Sequence[Leak]) -> list[list[Leak]]:
    return [[leak for leak in leaks if leak.kind == kind] for kind in dict.fromkeys(leak.kind for leak in leaks)]
