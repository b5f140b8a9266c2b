"""The watchdog: a real-time thread that cuts a single step which never returns.

Used by `vtloop.run` around a run.  It samples which callback the loop stands at; when that is the same for the whole
of its time, it takes the stack, prepares the verdict and throws a `StepCut` into the loop's thread.  It must never
influence a run whose steps return.
"""

from __future__ import annotations

import asyncio
import ctypes
import dataclasses
import os
import signal
import sys
import threading
import time
import traceback
from types import FrameType, TracebackType
from typing import Any

from vtloop.blocking_buster import unseen
from vtloop.blocking_names import without_ours
from vtloop.cpython_waits import frame_locals
from vtloop.debuggers import debugging, traced
from vtloop.diagnosis import verdict
from vtloop.errors import HangError, StepCut
from vtloop.loop import EventLoop

__all__ = ["Watchdog", "rest"]

_RUNNERS = frozenset({EventLoop._run_fifo.__code__, EventLoop._run_line.__code__, EventLoop._step_once.__code__})
_BETWEEN_STEPS = frozenset(
    getattr(EventLoop, name).__code__ for name in ("_next_turn", "_join_due", "_idle", "_idle_specially", "_poll")
)
"""What the runners call besides callbacks, and where the loop may wait for real threads."""

_SIGNAL: Any = getattr(signal, "SIGRTMAX", None)


class _Guard(threading.Thread):
    """One thread for all watchdogs of the process: starting one per run would cost more than a small run."""

    vtloop_own = True

    def __init__(self) -> None:
        super().__init__(name="vtloop-watchdog", daemon=True)
        self.watched: list[Watchdog] = []
        self.lock = threading.Lock()
        self.ended = threading.Lock()  # held for as long as there is to be watched
        self.ended.acquire()
        self.listening = False  # our signal handler is installed

    def run(self) -> None:
        while not self.ended.acquire(timeout=self._look_at_all()):
            pass

    def _look_at_all(self) -> float:
        """One round; how long to nap.  In a method of its own: a name left over here would keep the last run alive."""
        nap = 0.1
        with self.lock:  # a run cannot end while it is looked at
            for dog in self.watched:
                nap = min(nap, dog.seconds / 20)
                dog.look()
        return nap


_guard: _Guard | None = None


class Watchdog:
    """Cuts a step of ``loop`` that has not returned for ``seconds`` of real time; None or a debugger: never.

    A context manager around the run, to be entered in the thread that runs the loop.
    """

    def __init__(self, loop: EventLoop, seconds: float | None) -> None:
        self._loop = loop
        self.seconds = seconds or 0.0
        self._armed = False
        self._seen: tuple[Any, ...] | None = None
        self._since = 0.0
        self._cuts = 0
        self._thread = 0
        self._by_signal = False

    def __enter__(self) -> Watchdog:
        if not self.seconds or debugging():
            return self
        try:
            guard = _the_guard()
        except RuntimeError:  # a platform without threads
            return self
        self._thread = threading.get_ident()
        self._armed = True
        self._by_signal = _SIGNAL is not None and self._thread == threading.main_thread().ident
        if self._by_signal and not guard.listening:
            signal.signal(_SIGNAL, _cut_here)
            guard.listening = True
        with guard.lock:
            guard.watched.append(self)
        return self

    def __exit__(self, kind: type[BaseException] | None, exc: BaseException | None, tb: TracebackType | None) -> None:
        if not self._armed:
            return
        self._armed = False
        try:
            self._unwatch()
            for _ in range(2):  # a cut that was thrown a moment ago, and came too late, arrives here
                pass
        except StepCut:
            self._unwatch()

    def _unwatch(self) -> None:
        # CPython: taking a cut back by PyThreadState_SetAsyncExc(thread, None) leaves the interpreter for ever alert,
        # which hangs trace functions on 3.11 and slows 3.11 and 3.12; so `__exit__` lets it arrive.
        guard = _the_guard()
        with guard.lock:
            if self in guard.watched:
                guard.watched.remove(self)
        self._seen = None

    def armed_in(self, thread: int) -> bool:
        """Whether a run of ``thread`` is being cut."""
        return self._armed and self._cuts > 0 and self._thread == thread

    def look(self) -> None:
        """Called in the guard's thread, about twenty times in ``seconds``."""
        frame = sys._current_frames().get(self._thread)
        runner, inner = frame, None
        while runner is not None and not (runner.f_code in _RUNNERS and frame_locals(runner).get("self") is self._loop):
            runner, inner = runner.f_back, runner
        waits = inner is None or inner.f_code in _BETWEEN_STEPS
        if runner is None or waits or traced(frame) or _explaining(frame, runner):
            self._seen = None
            return
        seen = self._number_of_step(runner)
        now = time.perf_counter()
        if seen != self._seen:
            self._seen, self._since, self._cuts = seen, now, 0
        elif now - self._since > self.seconds * (1 + self._cuts / 5):
            self._cut(frame, runner)

    def _number_of_step(self, runner: FrameType) -> tuple[Any, ...]:
        """Another for each step, in plain numbers: what the step runs must not be kept alive by who looks at it."""
        if self._loop._line is not None:
            return (self._loop._line.takes,)
        scope = frame_locals(runner)
        return (scope.get("steps", self._loop._steps), scope.get("_"))

    def _cut(self, frame: FrameType | None, runner: FrameType) -> None:
        """End the step: note the verdict, then throw into the thread."""
        self._cuts += 1
        if self._loop._cut is None:
            self._loop._cut = self._verdict(frame, runner)
            self._loop._stopping = True
        if self._by_signal:
            signal.pthread_kill(self._thread, _SIGNAL)  # also interrupts a blocking system call
        else:
            ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(self._thread), ctypes.py_object(StepCut))

    def _verdict(self, frame: FrameType | None, runner: FrameType) -> HangError:
        depth, walk = 0, frame
        while walk is not None and walk is not runner:
            depth += 1
            walk = walk.f_back
        stack = without_ours(list(traceback.extract_stack(frame))[-depth:])
        owner = getattr(frame_locals(runner).get("callback"), "__self__", None)
        name = owner.get_name() if isinstance(owner, asyncio.Task) else None
        snapshot = self._loop._snapshot()
        snapshot = dataclasses.replace(snapshot, notes=(*snapshot.notes, *unseen(self._loop)))
        return verdict.stuck_step(snapshot, self.seconds, stack, name)


def _cut_here(signum: int, frame: FrameType | None) -> None:
    """The handler of our signal, in the main thread; it stays installed, and does nothing when no run is cut."""
    me = threading.get_ident()
    if _guard is not None and any(dog.armed_in(me) for dog in tuple(_guard.watched)):
        raise StepCut("cut by vtloop's watchdog")


def _explaining(frame: FrameType | None, runner: FrameType) -> bool:
    """Whether pytest is at work on the text of a failed ``assert``: two long lists can take it longer than any step."""
    while frame is not None and frame is not runner:
        if frame.f_globals.get("__name__", "").startswith("_pytest.assertion"):
            return True
        frame = frame.f_back
    return False


def _the_guard() -> _Guard:
    global _guard
    if _guard is None:
        guard = _Guard()
        guard.start()
        _guard = guard
    return _guard


def rest() -> None:
    """End the thread while nothing is watched, so that this process may fork; the next run starts another."""
    global _guard
    guard = _guard
    if guard is not None and not guard.watched:
        _guard = None
        guard.ended.release()
        guard.join()


def _forget() -> None:
    """In a process that was forked off: the thread stayed behind."""
    global _guard
    _guard = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
