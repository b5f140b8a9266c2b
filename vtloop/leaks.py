"""What a run leaves behind when it ends, and whether it fails with that, warns of it, or says nothing.

Each kind of thing has a default (`DEFAULTS`); the option ``leaks`` sets one word for all kinds.  `vtloop.run` tells
when main has ended, what the unwinding could not end, and asks in the end.  What is judged is certain: a task that
merely waits for work when main returns is cancelled without a word, as ``asyncio.run`` does.  It must never cancel or
close anything, nor cost anything while nothing is left.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine, Sequence
from types import CoroutineType, FrameType
from typing import TYPE_CHECKING, Any, cast

from vtloop import left_open
from vtloop.diagnosis.leak import Leak, error_of, headline, report_of
from vtloop.leftovers import left_behind, tasks_left, unawaited
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


Stuck = Callable[["EventLoop", FrameType], Sequence["asyncio.Task[Any]"]]


async def watched_main(main: CoroutineType[Any, Any, Any], ended: Callable[[FrameType], None]) -> Any:
    """Await ``main``, and tell of its end in its last step, with its frame: what that holds is alive still."""
    frame = main.cr_frame
    value = await main
    if frame is not None:
        ended(frame)
    return value


class NoLeaks:
    """The judge of a run with ``leaks="allow"``: nobody looks."""

    warned: Sequence[Warned] = ()

    def watched(self, main: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """The coroutine of main as it is."""
        return main

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
        stuck: Which tasks can never run again, given the loop and the frame of main that is about to end.

    Attributes:
        loop: The loop.
        warned: What the run is warned of.
    """

    def __init__(self, loop: EventLoop, quick: bool, stuck: Stuck | None = None) -> None:
        self.loop = loop
        self._word = loop.options.leaks
        self._watch = Watch(loop, places=not quick, everything=self._word is not None and not quick)
        self._survivors: list[Leak] = []
        self._others: list[Leak] = []
        self._quick, self._stuck = quick, stuck
        self._stuck_tasks: Sequence[asyncio.Task[Any]] = ()

    def __enter__(self) -> Leaks:
        if not self._quick:
            self.loop.asyncgen_origins = {}
            if self._stuck is not None:
                self.loop.main_ended = self._main_ended
        self._watch.__enter__()
        return self

    def __exit__(self, *exc: object) -> None:
        self._watch.__exit__(*exc)

    def watched(self, main: Coroutine[Any, Any, Any]) -> Coroutine[Any, Any, Any]:
        """A coroutine around that of main, if what main could get at in the end has to be known."""
        if self._quick or self._stuck is None or not isinstance(main, CoroutineType):
            return main
        around: Any = watched_main(main, self._main_ended)
        around.__name__, around.__qualname__ = main.__name__, main.__qualname__
        return cast("Coroutine[Any, Any, Any]", around)

    def _main_ended(self, frame: FrameType) -> None:
        """Main returns in this step; what its frame holds is alive still."""
        if self._stuck is not None and self.loop._tasks.pending():
            self._stuck_tasks = self._stuck(self.loop, frame)

    def ended(self, notes: Notes | None) -> None:
        """The run is over and has not failed; nothing is cancelled yet."""
        loop = self.loop
        if loop.living_asyncgens():
            # What is garbage is no leak: asyncio would close it some time.  In every run, so that runs are alike.
            gc.collect(1)
        stuck, self._stuck_tasks = self._stuck_tasks, ()
        if self._quick:
            return
        left = [task for task in loop._tasks.pending() if not loop._is_daemon(task)]
        stuck = [task for task in left if any(task is one for one in stuck)]
        if stuck:
            self._others += tasks_left("stuck task", stuck)
        if self._word is not None:
            rest = [task for task in left if not any(task is one for one in stuck)]
            self._others += [*left_behind(rest), *left_open.transports(loop)]
        if loop.has_asyncgens():
            self._others += left_open.async_generators(loop)
        if loop.has_calls():
            self._others += left_open.executor_calls(loop)
        if notes is not None:
            self._others += left_open.locks(loop, notes)

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
        found = self._found()
        if not found:
            return error
        errors = [leak for leak in found if (self._word or DEFAULTS[leak.kind]) == "error"]
        if error is not None:
            for leaks in _by_kind([leak for leak in found if DEFAULTS[leak.kind] == "error"]):
                error.add_note(f"also left behind: {headline(leaks)}")
            return error
        for leaks in _by_kind([leak for leak in found if (self._word or DEFAULTS[leak.kind]) == "warn"]):
            line = headline(leaks)
            report = report_of(leaks, line).partition("\n")[2].partition("\n")[2]
            data = {"leaks": [leak.data for leak in leaks]}
            self.warned = [*self.warned, Warned(leaks[0].kind, line, f"{line}\n{report}".rstrip(), data)]
        if not errors:
            return None
        command = self.loop.replay_command
        again = command("LeakError") if command is not None else None
        return error_of(errors, time_ns, step, self.loop.options.seed, again)

    def _found(self) -> list[Leak]:
        """Everything, the kinds in the order in which they decide where the error is."""
        coroutines = unawaited(self._watch.found) if self._watch.found else []
        return [*coroutines, *self._survivors, *self._others]


def _by_kind(leaks: Sequence[Leak]) -> list[list[Leak]]:
    return [[leak for leak in leaks if leak.kind == kind] for kind in dict.fromkeys(leak.kind for leak in leaks)]
