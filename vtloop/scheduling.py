"""Putting things into the loop: callbacks, timers, futures and tasks.

A part of the loop.  `call_soon` and the timers are the hot path of every asyncio program.  It must never take
anything out again: that is `vtloop.loop`.
"""

from __future__ import annotations

import asyncio
import contextvars
import sys
from collections.abc import Callable
from types import MethodType
from typing import Any

from vtloop import cpython
from vtloop.cpython import BUILTIN, STEP, WAKEUP_NAME
from vtloop.handles import DebugHandle, DebugTimerHandle, Handle, TimerHandle
from vtloop.ready import BARRIER, ReadyLine
from vtloop.state import LoopState
from vtloop.tasks import Task

__all__ = ["Scheduling", "call_soon_into"]

STRETCH_STEPS = 9
"""Options of a stretch choice: none, or one to eight eighths of what is allowed."""

FOR_EVER = 1e100
"""Seconds from which on a timer never fires; far enough below the largest float to be multiplied."""

_new_handle = Handle.__new__
_new_timer = TimerHandle.__new__
_copy_context = contextvars.copy_context


class Scheduling(LoopState):
    """``call_soon``, ``call_later``, ``call_at``, ``create_future``, ``create_task``."""

    def time(self) -> float:
        """The virtual time in seconds; moves only when nothing is ready, or by `advance` and `elapse`."""
        return self._clock.seconds

    def time_ns(self) -> int:
        """The virtual time in whole nanoseconds."""
        return self._clock.ns

    # Hot: called once a step. Measured by the rows "switches" and "queue" of the benchmarks.
    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        """Run ``callback(*args)`` in the next turn, after everything that was put in before it."""
        kind = type(callback)
        if kind is STEP or (kind is BUILTIN and callback.__name__ == WAKEUP_NAME):
            # CPython's tasks throw the handle away, so none is made.
            self._arrive((context, callback, args))
            return None
        handle = _new_handle(Handle)
        handle._callback = callback
        handle._args = args
        handle._context = context if context is not None else _copy_context()
        self._arrive((handle._context, handle._fire, ()))
        return handle

    def _call_soon_debug(self, callback: Any, *args: Any, context: Any = None) -> Any:
        self._check_thread()
        if self._line is not None and (type(callback) is STEP or getattr(callback, "__name__", "") == WAKEUP_NAME):
            # A step in the handle of debug mode would be a plain callback to the ready line, and the choices others.
            self._arrive((context, callback, args))
            return None
        return self._soon_checked(callback, args, context, "call_soon")

    def _soon_checked(self, callback: Any, args: Any, context: Any, method: str) -> Any:
        self._check_callback(callback, method)
        handle = DebugHandle(callback, args, self, context)
        self._trim(handle, 2)
        self._arrive((handle._context, handle._fire, ()))
        return handle

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        """`call_soon` for other threads and signal handlers; it wakes the loop if it waits for a thread."""
        self._check_closed()
        if self._debug:
            handle = self._soon_checked(callback, args, context, "call_soon_threadsafe")
        else:
            # Not self.call_soon: a closed loop refuses, whatever the hot path does.
            handle = Scheduling.call_soon(self, callback, *args, context=context)
        self._called_from_thread()
        return handle

    # Hot: the rows "timers" and "timeouts" of the benchmarks; call_at is the same with the clock left out.
    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        """Run ``callback(*args)`` after ``delay`` seconds of virtual time (negative: before those due now).

        ``inf`` means never.

        Raises:
            ValueError: ``delay`` is NaN.
        """
        clock = self._clock
        if self._odd or delay is None or delay - delay:
            return self._make_odd_timer(delay, False, callback, args, context)
        handle = _new_timer(TimerHandle)
        handle._callback = callback
        handle._args = args
        handle._context = context if context is not None else _copy_context()
        # The same instant for the same float, however it came about: sleep(1) and timeout(1), which calls call_at, tie.
        handle._when = when = clock.seconds + delay
        handle._absolute = False
        handle._made_ns = now = clock.ns
        try:
            handle._when_ns = when_ns = round(when * 1e9)
        except OverflowError:  # too large a float to be multiplied
            return self._make_odd_timer(delay, False, callback, args, context)
        if when_ns > now and when > clock.seconds:
            queue = handle._queue = self._timers
            queue.new.append(handle)
        else:
            handle._queue = None
            self._due.append(handle)
            self._attend = True
        return handle

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        """Run ``callback(*args)`` when `time` reaches ``when``; see `call_later`."""
        if self._odd or when is None or when - when:
            return self._make_odd_timer(when, True, callback, args, context)
        handle = _new_timer(TimerHandle)
        handle._callback = callback
        handle._args = args
        handle._context = context if context is not None else _copy_context()
        clock = self._clock
        handle._when = when
        handle._absolute = True
        handle._made_ns = now = clock.ns
        try:
            handle._when_ns = when_ns = round(when * 1e9)
        except OverflowError:  # too large a float to be multiplied
            return self._make_odd_timer(when, True, callback, args, context)
        if when_ns > now and when > clock.seconds:  # the float may lie above its own rounding (epoch-sized times)
            queue = handle._queue = self._timers
            queue.new.append(handle)
        else:
            handle._queue = None
            self._due.append(handle)
            self._attend = True
        return handle

    def _make_odd_timer(self, given: Any, absolute: bool, callback: Any, args: Any, context: Any) -> TimerHandle:
        """A timer of debug mode, of a program with daemons, at infinity, or none because the loop is closed."""
        method = "call_at" if absolute else "call_later"
        if given is None:
            raise TypeError("when cannot be None" if absolute else "delay must not be None")
        self._check_closed()
        if given != given:
            raise ValueError(f"{method}() needs a number of seconds, got {given!r}")
        clock = self._clock
        when = given if absolute else clock.seconds + given
        if self._stretch and callback is cpython.SLEEP_WAKEUP and not absolute and 0 < given < FOR_EVER:
            when = self._stretched(given, when)
        handle: TimerHandle
        if self._debug:
            handle = self._make_debug_timer(when, callback, args, context, method)
        else:
            handle = _new_timer(TimerHandle)
            handle._callback, handle._args, handle._when = callback, args, when
            handle._context = context if context is not None else _copy_context()
        handle._absolute, handle._made_ns, handle._queue = absolute, clock.ns, None
        if self._daemons:
            self._note_timer_owner(handle)
        if when >= FOR_EVER:
            handle._when_ns = sys.maxsize  # never: it waits nowhere
            return handle
        handle._when_ns = round(when * 1e9) if when > -FOR_EVER else -sys.maxsize
        if handle._when_ns > clock.ns and when > clock.seconds:
            handle._queue = self._timers
            self._timers.new.append(handle)
        else:
            self._due.append(handle)
            self._attend = True
        return handle

    def _stretched(self, delay: float, when: float) -> float:
        """The deadline of a sleep that stands for work of unknown length, and may take longer.

        Never past a pending timer that it would have beaten.
        """
        soonest, latest = round(when * 1e9), round((when + delay * self._stretch) * 1e9)
        beaten = self._timers.deadline_after(soonest)
        if beaten is not None and latest >= beaten:
            latest = beaten - 1
        eighths = self.choose("stretch", STRETCH_STEPS) if latest > soonest else 0
        if not eighths:
            return when
        stretched = (soonest + (latest - soonest) * eighths // (STRETCH_STEPS - 1)) / 1e9
        # Floats may be coarser than the clock: at epoch-sized times the last nanosecond rounds to the timer's own.
        return stretched if beaten is None or round(stretched * 1e9) < beaten else when

    def _make_debug_timer(self, when: float, callback: Any, args: Any, context: Any, method: str) -> TimerHandle:
        self._check_thread()
        self._check_callback(callback, method)
        handle = DebugTimerHandle(when, callback, args, self, context)
        self._trim(handle, 3)
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        """A plain asyncio future of this loop (it hashes by address; tasks do not)."""
        return asyncio.Future(loop=self)

    def create_task(self, coro: Any, **kwargs: Any) -> Any:
        """A task for ``coro``, with the keyword arguments of this Python's ``asyncio.Task``.

        Tasks are named by the loop (``Task-1``, ...), hash by creation number, and are held until they are done.
        """
        self._check_closed()
        factory = self._task_factory
        if factory is None:
            task: Any = Task(coro, loop=self, **kwargs)
            if self._debug:
                cpython.trim_creation(task, 2)
            if self._daemons:
                self._note_task(task)
            return task
        if factory is getattr(asyncio, "eager_task_factory", None):
            return Task(coro, loop=self, eager_start=True, **kwargs)
        name = kwargs.pop("name", None) if sys.version_info < (3, 13, 3) else None
        if "context" in kwargs and kwargs["context"] is None:
            del kwargs["context"]
        task = factory(self, coro, **kwargs)
        if name is not None:
            cpython.set_task_name(task, name)
        if not isinstance(task, Task) and asyncio.isfuture(task):
            self._tasks.add(task)  # type: ignore[arg-type]
        return task

    def set_task_factory(self, factory: Callable[..., Any] | None) -> None:
        """Make tasks with ``factory(loop, coro, **kwargs)``; None brings the default back.

        ``asyncio.eager_task_factory`` gives eager tasks that still hash by number.
        """
        if factory is not None and not callable(factory):
            raise TypeError("task factory must be a callable or None")
        self._task_factory = factory

    def get_task_factory(self) -> Callable[..., Any] | None:
        """The factory set, or None."""
        return self._task_factory

    def _trim(self, handle: Any, frames: int) -> None:
        """Take our own frames off the place where a debug handle says it was made."""
        if handle._source_traceback:
            del handle._source_traceback[-frames:]


def call_soon_into(line: ReadyLine) -> Callable[..., Any]:
    """``call_soon`` for a loop with a scheduler, straight into its line; `ReadyLine.arrive` says the same at length."""
    step, wakeup, rule_of = line.step_rule, line.wakeup_rule, line.rule_of
    append, arrival = line.items.append, line.arrivals.__next__

    # Hot: called once a step.  A closure, because its cells are cheaper than attributes of the loop.
    def call_soon(callback: Any, *args: Any, context: Any = None) -> Any:
        kind = type(callback)
        if kind is STEP:
            append((step, arrival(), context, callback, args))
            return None
        if kind is BUILTIN and callback.__name__ == WAKEUP_NAME:
            append((wakeup, arrival(), context, callback, args))
            return None
        handle = _new_handle(Handle)
        handle._callback = callback
        handle._args = args
        if context is None:
            context = _copy_context()
        handle._context = context
        rule = BARRIER if kind is not MethodType else rule_of(callback)
        append((rule, arrival(), context, handle._fire, ()))
        return handle

    return call_soon
