"""Scripts as programs: a file run as ``__main__`` whose event loops are ours.

Used by the command line.  `ScriptTarget.execute` makes one run as `vtloop.run.execute` does: it never raises what the
script raised.  A script may make several loops, one after the other; their choices form one list.  It must never
leave a trace of the run behind in ``sys`` or ``asyncio``.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import io
import os
import shlex
import sys
import weakref
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any

from vtloop.background import background_failures, join_background
from vtloop.blocking import let_through
from vtloop.diagnosis.lock_order import suspicions
from vtloop.errors import UsageError
from vtloop.folders import staying
from vtloop.leaks import Leaks
from vtloop.loop import EventLoop
from vtloop.noting import Notes, noted, stop_noting
from vtloop.options import Options
from vtloop.orders import Take
from vtloop.recording import Recording
from vtloop.run import (
    UNWIND_STEPS,
    UNWIND_STEPS_A_TASK,
    Command,
    Interact,
    Outcome,
    Recorder,
)
from vtloop.schedulers import Scheduler
from vtloop.watchdog import Watchdog

__all__ = ["ScriptExit", "ScriptTarget", "runner_loops"]


class ScriptExit(Exception):
    """The script ended itself with an exit status other than 0.

    Attributes:
        status: The exit status.
        text: What Python would print on the way out (``sys.exit("text")``), or None.
    """

    def __init__(self, code: object) -> None:
        self.status = code if isinstance(code, int) else 1
        self.text = None if isinstance(code, int) else str(code)
        super().__init__(f"the script ended with exit status {self.status}{f': {self.text}' if self.text else ''}")


@contextmanager
def runner_loops(
    make: Callable[[], asyncio.AbstractEventLoop], ending: Callable[[Any], None] = lambda loop: None
) -> Iterator[None]:
    """Let ``asyncio.run``, ``asyncio.Runner`` and ``asyncio.new_event_loop`` use the loops of ``make`` for a while.

    The methods of the class are replaced, not the class: names imported earlier, subclasses and
    ``unittest.IsolatedAsyncioTestCase`` are covered, and so is Python 3.11, whose ``asyncio.run`` takes no factory.
    A factory that the program gives itself is not used.  ``ending`` is called with a loop before its runner cancels
    what is left.
    """
    kind: Any = asyncio.Runner
    init, close = kind.__init__, kind.close
    made: weakref.WeakKeyDictionary[Any, list[Any]] = weakref.WeakKeyDictionary()

    def virtual_init(self: Any, *, debug: bool | None = None, loop_factory: Any = None) -> None:
        loops = made[self] = []

        def factory() -> asyncio.AbstractEventLoop:
            loop = make()
            loops.append(loop)
            return loop

        init(self, debug=debug, loop_factory=factory)

    def virtual_close(self: Any) -> None:
        for loop in made.get(self, ()):
            ending(loop)
        close(self)

    new_event_loop = asyncio.new_event_loop
    kind.__init__, kind.close = virtual_init, virtual_close
    _set_new_event_loop(make)
    try:
        yield
    finally:
        kind.__init__, kind.close = init, close
        _set_new_event_loop(new_event_loop)


def _set_new_event_loop(make: Any) -> None:
    vars(asyncio)["new_event_loop"] = vars(asyncio.events)["new_event_loop"] = make


class _ScriptLoop(EventLoop):
    """A loop that tells its session before it is closed: afterwards it has forgotten everything."""

    session: _Session | None = None

    def close(self) -> None:
        if self.session is not None and not self._closed and not self.is_running():
            self.session.closing(self)
        super().close()


class _Session:
    """The loops of one run of a script.

    They share one scheduler and one recording, so that the whole run is one list of choices.
    """

    def __init__(
        self,
        options: Options,
        record: bool,
        keep: int | None,
        scheduler: Callable[[Recording | None], Scheduler] | None,
        recorder: Recorder | None = None,
        track_order: bool = False,
        quick: bool = False,
        note: bool = False,
    ) -> None:
        self.outcome = Outcome(options)
        self._recorder = recorder
        self._track_order, self._quick = track_order, quick
        self._leaks: list[Leaks] = []
        self._noting = record or note
        self._notes: dict[Any, Notes] = {}  # by loop
        self.background: list[BaseException] = []
        self._options, self._record, self._keep, self._factory = options, record, keep, scheduler
        self._scheduler: Scheduler | None = None
        self._loops: list[_ScriptLoop] = []
        self._ended: list[_ScriptLoop] = []
        self._guards = ExitStack()
        self.interact: Interact | None = None

    def make(self) -> EventLoop:
        """A further loop of the run."""
        loop = _ScriptLoop.with_options(self._options)
        assert isinstance(loop, _ScriptLoop)
        loop.session = self
        self._loops.append(loop)
        if self._record:
            if self.outcome.recording is None:
                record = self._recorder or functools.partial(Recording, keep=self._keep)
                self.outcome.recording = record(loop._clock)
            else:
                self.outcome.recording.follow(loop._clock)
        if self._scheduler is None:
            recording = self.outcome.recording
            self._scheduler = loop.own_scheduler() if self._factory is None else self._factory(recording)
            self.outcome.listed = self._scheduler.listed
        if self._record or self._factory is not None or self._track_order or self._options.scheduler != "fifo":
            loop.use_scheduler(self._scheduler, self.outcome.recording or self._scheduler.observer)
        if self._track_order and loop._line is not None:
            loop._line.log = []
        self._guards.enter_context(background_failures(loop))
        self._guards.enter_context(Watchdog(loop, self._options.watchdog))
        if self._noting:
            self._notes[loop] = Notes(loop)
            self._guards.enter_context(noted(self._notes[loop]))
        if self._options.leaks != "allow":
            self._leaks.append(self._guards.enter_context(Leaks(loop, self._quick)))
        return loop

    def ending(self, loop: Any) -> None:
        """The program on ``loop`` is over: note what it came to; unwinding is under asyncio's own order."""
        if not isinstance(loop, _ScriptLoop) or loop in self._ended:
            return
        self._ended.append(loop)
        error = sys.exception()  # on its way out of asyncio.run: nothing is cancelled yet
        if self.interact is not None and error is not None:
            self.interact(error)
        outcome = self.outcome
        if outcome.recording is not None:
            outcome.recording.note_end()
        if loop._line is not None:
            if self._options.scheduler != "fifo":
                outcome.indices += loop._line.indices
                outcome.sizes += loop._line.sizes
            if isinstance(loop._line.log, list):
                outcome.log = _joined(outcome.log or [], loop._line.log)
        notes = self._notes.get(loop)
        stop_noting(notes)
        outcome.warnings += suspicions(notes) if error is None else ()
        outcome.time_ns = loop.time_ns()
        outcome.steps += loop._steps
        outcome.reproducible = outcome.reproducible and loop.reproducible
        loop.calm(UNWIND_STEPS + UNWIND_STEPS_A_TASK * len(loop._tasks.pending()))

    def closing(self, loop: _ScriptLoop) -> None:
        """Collect what failed in the background of ``loop``."""
        self.ending(loop)
        for leaks in self._leaks:
            if leaks.loop is loop:
                leaks.unwinding()
        failed = join_background(loop, None)
        if failed is not None:
            self.background.append(failed)

    def finish(self) -> None:
        """Close what the script left open, and let the run fail with what failed in the background."""
        for loop in self._loops:
            loop.close()
            self.outcome.warnings += let_through(loop)
        self._guards.close()
        outcome, others = self.outcome, [exc for exc in self.background if exc is not self.outcome.error]
        if outcome.error is not None:
            for other in others:
                outcome.error.add_note(f"also failed in the background: {type(other).__name__}: {other}")
        elif len(others) == 1:
            outcome.error = others[0]
        elif others:
            outcome.error = BaseExceptionGroup("several background failures", others)
        for leaks in self._leaks:
            outcome.error = leaks.judge(outcome.error, outcome.time_ns, outcome.steps)
            outcome.warnings += leaks.warned


def _joined(earlier: list[Take], log: list[Take]) -> list[Take]:
    """Two logs as one (`vtloop.orders`): the later loop's items arrive when the earlier loop is done."""
    if not earlier:
        return log
    still = earlier[-1][1]
    arrived = len(earlier) + still
    later = ((born + arrived if born >= 0 else born - arrived, left + still, task) for born, left, task in log)
    return [*earlier, *later]


class ScriptTarget:
    """A file to be run as ``__main__``, each time in a fresh module.

    Attributes:
        text: The target as one writes it, with its arguments.
        path: The file.
        arguments: What ``sys.argv[1:]`` is.
    """

    def __init__(self, path: str, arguments: Sequence[str] = ()) -> None:
        self.path, self.arguments = path, tuple(arguments)
        self.text = f"{path} -- {shlex.join(arguments)}" if arguments else path
        try:
            with io.open_code(os.path.abspath(path)) as file:
                source = file.read()
        except OSError as exc:
            raise UsageError(f"the script {path!r} cannot be read: {exc.strerror}") from None
        try:
            self._code = compile(source, path, "exec", dont_inherit=True)
        except (SyntaxError, ValueError) as exc:
            raise UsageError(f"the script {path!r} is no Python: {exc}") from None

    def execute(
        self,
        options: Options,
        *,
        record: bool = True,
        keep: int | None = 200,
        scheduler: Callable[[Recording | None], Scheduler] | None = None,
        command: Command | None = None,
        interact: Interact | None = None,
        recorder: Recorder | None = None,
        track_order: bool = False,
        quick: bool = False,
        note: bool = False,
    ) -> Outcome:
        """Run the script once; as `vtloop.run.execute`, but that reports name no command.

        An exit status other than 0 is the error `ScriptExit`.  ``interact`` is called with whatever comes out of a
        runner, whether the script catches it or not.
        """
        session = _Session(options, record, keep, scheduler, recorder, track_order, quick, note)
        outcome, session.interact = session.outcome, interact
        try:
            with (
                staying(),
                runner_loops(session.make, session.ending),
                _as_main(self.path, self.arguments) as namespace,
            ):
                exec(self._code, namespace)
        except SystemExit as exc:
            if exc.code is not None and exc.code != 0:
                outcome.error = ScriptExit(exc.code).with_traceback(exc.__traceback__)
        except BaseException as exc:
            outcome.error = exc
        session.finish()
        gc.collect(0)
        return outcome


@contextmanager
def _as_main(path: str, arguments: Sequence[str]) -> Iterator[dict[str, Any]]:
    """A fresh ``__main__`` for ``path``, with ``sys.argv`` set."""
    module = ModuleType("__main__")
    module.__file__ = path
    vars(module)["__builtins__"] = __builtins__
    outer, argv = sys.modules["__main__"], sys.argv
    sys.modules["__main__"], sys.argv = module, [path, *arguments]
    try:
        yield vars(module)
    finally:
        sys.modules["__main__"], sys.argv = outer, argv
