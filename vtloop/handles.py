"""Handles: what ``call_soon`` and ``call_later`` give back, as cheap as Python allows.

Made by the loop only, which fills the slots itself (``__init__`` is never called: a third of the cost of a
handle is calling it).  A handle is *fired* by the loop through `Handle._fire`; it must never touch the ready
line or the timers, except to report that a timer was cancelled.
"""

from __future__ import annotations

import asyncio
import time
from typing import Any

from vtloop.cpython import logger

__all__ = ["DebugHandle", "DebugTimerHandle", "Handle", "TimerHandle"]


_real_time = time.perf_counter  # for the log line of debug mode alone


class _Calm:
    """Stands for the loop of a handle made outside debug mode.

    CPython: ``Handle.__repr__`` asks ``_loop.get_debug()`` and nothing else (3.13-3.14).
    """

    def get_debug(self) -> bool:
        return False


class Handle(asyncio.Handle):
    """A callback that stands in the ready line.  Cancelled means: its callback is None."""

    __slots__ = ()
    _context: Any

    # CPython: asyncio.Handle keeps these in slots (3.11-3.14); a handle made outside debug mode never has them.
    _source_traceback = None
    _repr = None
    _loop: Any = _Calm()

    @property
    def _cancelled(self) -> bool:
        return self._callback is None

    @_cancelled.setter
    def _cancelled(self, value: bool) -> None:
        """CPython: `asyncio.Handle.__init__`, which debug handles call, sets it to False (3.11-3.14)."""

    def cancelled(self) -> bool:
        """Whether `cancel` was called."""
        return self._callback is None

    def cancel(self) -> None:
        """Drop the callback: it will not run.  Cancelling twice, or after it ran, does nothing."""
        self._callback = self._args = None  # type: ignore[assignment]

    def _fire(self) -> None:
        if self._callback is not None:
            self._callback(*self._args)
        del self  # this frame outlives the call in tracebacks, and must not hold a task alive there


class TimerHandle(Handle, asyncio.TimerHandle):
    """A callback that waits for its time.

    Attributes:
        _when: The deadline as the float that ``when()`` gives back.
        _when_ns: The same, rounded once to the nearest nanosecond: what the queue sorts by.
        _made_ns: The virtual time at which the timer was made.
        _absolute: Made by ``call_at`` (two equal values of which may fire in either order).
        _background: Made by a daemon task; set only while there are daemons.
        _queue: The `vtloop.timers.TimerQueue` it waits in, told when it is cancelled; None for one that is due at once.
    """

    __slots__ = ("_absolute", "_background", "_made_ns", "_queue", "_when_ns")
    _background: bool
    _queue: Any
    _when: float
    _when_ns: int
    _made_ns: int
    _absolute: bool
    __hash__ = object.__hash__

    def when(self) -> float:
        """The deadline, in seconds of the loop's clock."""
        return self._when

    def cancel(self) -> None:
        """Drop the callback; the clock will not stop at this deadline."""
        if self._callback is not None:
            self._callback = self._args = None
            queue = self._queue
            if queue is not None:
                queue.cancelled()


class _Remembering(Handle):
    """What the handles of debug mode do besides."""

    __slots__ = ()

    def cancel(self) -> None:
        if self._callback is not None:
            self._repr = repr(self)
        super().cancel()

    def _fire(self) -> None:
        callback = self._callback
        if callback is not None:
            self._loop._current_handle = self
            began = _real_time()
            callback(*self._args)
            taken = _real_time() - began
            if taken >= self._loop.slow_callback_duration:
                owner = getattr(callback, "__self__", None)
                what = owner if isinstance(owner, asyncio.Task) else self
                logger().warning("Executing %s took %.3f seconds", what, taken)
            self._loop._current_handle = None
        del self, callback


class DebugHandle(_Remembering):
    """The handle of debug mode: it remembers where it was made and what it was before it was cancelled."""

    __slots__ = ("_loop", "_repr", "_source_traceback")


class DebugTimerHandle(_Remembering, TimerHandle):
    """The timer handle of debug mode."""

    __slots__ = ("_loop", "_repr", "_source_traceback")


# CPython: a handle's repr begins with the name of its class, and asyncio's logs are searched for it.
DebugHandle.__name__ = "Handle"
DebugTimerHandle.__name__ = "TimerHandle"
