"""One run: build the loop, run the program, unwind what is left, and say how it ended.

`execute` is the one door through which every entrance runs a program (``run``, ``replay``, ``explore``, the pytest
plugin, the command line): it never raises what the program raised, it returns an `Outcome`.  It must never decide
which runs to make.
"""

from __future__ import annotations

import asyncio
import dataclasses
import gc
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from vtloop.background import background_failures, join_background, place_of
from vtloop.blocking import let_through
from vtloop.clock import VirtualClock
from vtloop.collector import keep_apart, uncollected
from vtloop.deviations import worded
from vtloop.diagnosis.lock_order import suspicions
from vtloop.diagnosis.mistakes import note_mistakes
from vtloop.errors import UsageError, VtloopError
from vtloop.leaks import Leaks, NoLeaks
from vtloop.loop import EventLoop
from vtloop.noting import Notes, noted, stop_noting
from vtloop.options import Options
from vtloop.orders import Take, order_of
from vtloop.recording import Recording
from vtloop.schedulers import Scheduler
from vtloop.trace import Choice, Trace, check_of
from vtloop.warned import Warned
from vtloop.watchdog import Watchdog

__all__ = [
    "Command",
    "Drive",
    "Interact",
    "Main",
    "Outcome",
    "Recorder",
    "execute",
]

Main = Callable[[], Coroutine[Any, Any, Any]]
"""A program: a zero-argument callable that gives a coroutine."""

Command = Callable[[str], str]
"""Makes the command that plays a run back out of its token (or the path of its trace file)."""

Drive = Callable[[EventLoop, Callable[[], None]], Any]
"""Drives a loop from outside: ``drive(loop, note_end)``, where ``note_end()`` keeps what the run came to up to now."""

Recorder = Callable[[VirtualClock], Recording]
"""Makes the recording of a run, given its clock."""

Interact = Callable[[BaseException], None]
"""Called with what a run failed with, while everything still stands as it failed."""

UNWIND_STEPS, UNWIND_STEPS_A_TASK = 10_000, 100
"""Steps that the unwinding of a run may take before what is left is dropped."""


@dataclass(slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        value: What the program returned.
        error: What the run failed with, or None.
        options: The options of the run.
        indices: The recorded choices.
        sizes: The number of options of each.
        time_ns: The virtual time at the end.
        steps: How many callbacks ran.
        recording: Events and deviations, when the run was recorded.
        reproducible: False when real threads took part.
        log: What `order` is computed from; None when nobody asked for it.
        listed: The deviations that the run was told to make; None when its scheduler made its own.
        found: For a run played back: which run it was found by, as its trace has it.
        warnings: What the run did not fail with and somebody should look at.
    """

    options: Options
    value: Any = None
    error: BaseException | None = None
    indices: list[int] = field(default_factory=list)
    sizes: list[int] = field(default_factory=list)
    time_ns: int = 0
    steps: int = 0
    recording: Recording | None = None
    reproducible: bool = True
    log: list[Take] | None = None
    listed: tuple[Choice, ...] | None = None
    found: Mapping[str, Any] = field(default_factory=dict)
    warnings: list[Warned] = field(default_factory=list)

    @property
    def order(self) -> int | None:
        """The happens-before order of the run as a number (`vtloop.orders`); None when nobody asked for it."""
        return order_of(self.log) if self.log is not None else None

    @property
    def check(self) -> str:
        """CRC-32 over the choices, and their number."""
        return check_of(self.indices, self.sizes)

    @property
    def signature(self) -> tuple[str, str]:
        """Type and place of the error: two failures with the same signature are the same failure."""
        return (type(self.error).__name__, place_of(self.error)) if self.error is not None else ("", "")

    def trace(self, target: str | None = None) -> Trace:
        """The run as a trace."""
        kind, place = self.signature
        end: dict[str, Any] = {"type": kind, "place": place, "time_ns": self.time_ns, "step": self.steps}
        if self.recording is not None:
            end["digest"] = self.recording.digest()
        if self.found:
            end["found"] = dict(self.found)
        choices = self.listed if self.options.scheduler == "replay" else None
        if self.recording is not None:
            choices = tuple(self.recording.choices if choices is None else worded(self.recording, choices))
        return Trace(self.options, self.check, choices, target, end)


def execute(
    main: Any,
    options: Options,
    *,
    record: bool = True,
    keep: int | None = 200,
    scheduler: Callable[[Recording | None], Scheduler] | None = None,
    command: Command | None = None,
    drive: Drive | None = None,
    track_order: bool = False,
    recorder: Recorder | None = None,
    interact: Interact | None = None,
    quick: bool = False,
    note: bool = False,
) -> Outcome:
    """Run ``main`` once and unwind it.

    Args:
        main: A zero-argument callable giving a coroutine, or a coroutine.
        options: Options as resolved.
        record: Whether events and the keys of choices are recorded (three times the cost of a step).
        keep: How many of the last events are kept; None for all.
        scheduler: Makes the scheduler for the run, given its recording; None for the one that the options name.
        command: Makes the command that plays the run back, for reports.
        track_order: Whether what the order of the run is computed from is noted.
        drive: Drives the loop itself, in place of running ``main`` (which is not used then).
        recorder: Makes the recording; None for a plain one.
        interact: Called with what the run failed with, before anything is cancelled.
        quick: Whether leaks are looked for only where that costs nothing: for most runs of an exploration.
        note: Whether an unrecorded run notes who touches its primitives too, and judges the order of its locks.
    """
    if asyncio._get_running_loop() is not None:
        raise UsageError("a run cannot be made while an event loop is running in this thread; make it from plain code")
    if (track_order or note) and options.scheduler == "fifo" and scheduler is None:
        scheduler = _in_a_line
    keep_apart()
    loop, outcome = _prepared(options, (recorder or partial(Recording, keep=keep)) if record else None, scheduler)
    if track_order and loop._line is not None:
        loop._line.log = []
    note_end = _End(loop, outcome)
    if command is not None:
        loop.replay_command = lambda kind: _command(note_end, command, kind)

    # Collected by chance between the end of the loop and that of the run, a future whose exception nobody read would
    # fail the run once and not the next time.
    notes = Notes(loop) if record or note else None
    leaks = Leaks(loop, quick) if options.leaks != "allow" else NoLeaks()
    with uncollected(), background_failures(loop), Watchdog(loop, options.watchdog), noted(notes), leaks:
        try:
            outcome.value = loop.run_until_complete(_coroutine(main)) if drive is None else drive(loop, note_end)
        except BaseException as exc:
            outcome.error = exc
        note_end()
        stop_noting(notes)
        _judge(loop, outcome, leaks, notes, record, interact)
        leaks.unwinding()
        _unwind(loop, outcome, leaks)
        outcome.error = leaks.judge(outcome.error, outcome.time_ns, outcome.steps)
    outcome.warnings += [*leaks.warned, *let_through(loop)]
    return outcome


def _judge(
    loop: EventLoop, outcome: Outcome, leaks: NoLeaks, notes: Notes | None, record: bool, interact: Interact | None
) -> None:
    """What the program failed with, or what to warn of; while everything still stands as it was left."""
    if isinstance(outcome.error, asyncio.CancelledError) and loop.cancelled_at:
        # The program passes a cancellation by the explorer on, as it may.
        outcome.error = None
    outcome.error = join_background(loop, outcome.error)
    if outcome.error is None:
        outcome.warnings += suspicions(notes)
        leaks.ended(notes)
    elif record:
        note_mistakes(outcome.error, loop)
    if interact is not None and outcome.error is not None:
        interact(outcome.error)


def _prepared(
    options: Options, recorder: Recorder | None, scheduler: Callable[[Recording | None], Scheduler] | None
) -> tuple[EventLoop, Outcome]:
    """The loop of a run, with its scheduler and recording, and what will become of it."""
    plain = scheduler is None and recorder is None
    loop = EventLoop.with_options(options, scheduled=plain)
    recording = recorder(loop._clock) if recorder is not None else None
    outcome = Outcome(options, recording=recording)
    if not plain:
        made = loop.own_scheduler() if scheduler is None else scheduler(recording)
        loop.use_scheduler(made, recording or made.observer)
        outcome.listed = made.listed
    return loop, outcome


class _End:
    """Keeps what a run came to: when called for the first time, for good; up to then when a verdict asks."""

    __slots__ = ("_loop", "_over", "outcome")

    def __init__(self, loop: EventLoop, outcome: Outcome) -> None:
        self._loop, self.outcome, self._over = loop, outcome, False

    def __call__(self) -> None:
        """The program is over; what comes now is unwinding."""
        self.so_far()
        self._over = True

    def so_far(self) -> None:
        """Perhaps it is over."""
        if not self._over:
            _note_end(self._loop, self.outcome)


def _in_a_line(recording: Recording | None) -> Scheduler:
    """asyncio's own order again, but by way of a ready line, which notes the order."""
    return Scheduler("timing")


def _coroutine(main: Any) -> Any:
    if asyncio.iscoroutine(main):
        return main
    if not callable(main):
        raise UsageError(f"main must be a function without arguments that gives a coroutine, got {main!r}")
    made = main()
    if not asyncio.iscoroutine(made):
        raise UsageError(f"{getattr(main, '__qualname__', main)} must give a coroutine (async def), it gave {made!r}")
    return made


def _note_end(loop: EventLoop, outcome: Outcome) -> None:
    """Keep what the run came to, before the unwinding adds to it."""
    line = loop._line
    if line is not None:
        if outcome.options.scheduler != "fifo":
            outcome.indices, outcome.sizes = list(line.indices), list(line.sizes)
        outcome.log = line.log if isinstance(line.log, list) else None
    outcome.time_ns, outcome.steps = loop.time_ns(), loop._steps
    outcome.reproducible = loop.reproducible
    if outcome.recording is not None:
        outcome.recording.note_end()


def _command(end: _End, command: Command, kind: str) -> str | None:
    """The command for a run that is about to end with an error named ``kind``."""
    end.so_far()
    trace = end.outcome.trace()
    token = dataclasses.replace(trace, outcome={**trace.outcome, "type": kind}).token()
    return command(token) if token is not None else None


def _unwind(loop: EventLoop, outcome: Outcome, leaks: NoLeaks) -> None:
    """Cancel what is left in order of creation, under asyncio's own order, unrecorded and bounded; then close."""
    left = loop._tasks.pending()
    try:
        # Hot: most runs leave nothing behind, and each of these is a run of its own.
        if left or loop.has_asyncgens() or loop.has_calls():
            loop.calm(UNWIND_STEPS + UNWIND_STEPS_A_TASK * len(left))
            _cancel(left)
            if left:
                _drain(loop, asyncio.wait(left))
                if any(not task.done() for task in left):
                    leaks.survived([task for task in left if not task.done()])
            if loop.has_asyncgens():
                _drain(loop, loop.shutdown_asyncgens())
            if loop.has_calls():
                _drain(loop, loop.shutdown_default_executor())
            if outcome.error is None:
                outcome.error = join_background(loop, None)
    finally:
        # Tracebacks of cancels hold this frame until they are collected: it must not hold a task.
        left.clear()
        loop._tasks.abandon()
        loop._tasks.read()
        loop.close()
        gc.collect(0)


def _cancel(tasks: list[asyncio.Task[Any]]) -> None:
    for task in tasks:
        with suppress(RecursionError):  # tasks that await each other pass a cancellation round for ever
            task.cancel()


def _drain(loop: EventLoop, coro: Coroutine[Any, Any, Any]) -> None:
    """Run one part of the unwinding; a hang ends it, and is not a new verdict."""
    with suppress(VtloopError):
        loop.run_until_complete(coro)
    coro.close()  # its task may never have begun: a hang comes before
