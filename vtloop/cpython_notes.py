"""The private names of asyncio's primitives that tell who touches them: a table of attributes and methods.

Used by `vtloop.noting` alone, for the length of a recorded run.  All of them are *written or looked up*, never called
in the place of the original: so no frame of ours stands in a traceback or an await chain, every coroutine stays
asyncio's own, and what subclasses override stays as they made it.  Each name was seen on 3.11, 3.12 and 3.13; where
one is missing, what it tells is not noted and nothing fails.
"""

from __future__ import annotations

import asyncio
import os
import sys
from asyncio import locks
from collections.abc import Callable, Mapping
from types import CodeType, FrameType
from typing import Any

__all__ = [
    "ASYNCIO",
    "COUNTED",
    "ENTERS",
    "LOOKED_UP",
    "READ",
    "STATES",
    "current_tasks",
    "handed_to",
    "lock_under",
    "nobody_waits",
    "permits_left",
    "state_kind",
    "timeout_change",
    "wakes_one",
]

ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep


def _code(function: Any) -> CodeType | None:
    code: CodeType | None = getattr(function, "__code__", None)
    return code


# CPython: `_ContextManagerMixin.__aenter__` of locks, conditions and semaphores, 3.11-3.13.
ENTERS = _code(asyncio.Lock.__aenter__)
_GET_NOWAIT = _code(asyncio.Queue.get_nowait)
_BARRIER_RESET = _code(asyncio.Barrier.reset)
_HAND_OVER = _code(getattr(asyncio.Semaphore, "_wake_up_next", None))
_BROKEN: Any = getattr(getattr(locks, "_BarrierState", None), "BROKEN", None)

COUNTED: tuple[tuple[type, str, str | None, str | None], ...] = (
    # CPython: set by whoever takes the lock, in its own step, 3.11-3.13.
    (asyncio.Lock, "_locked", "acquire", "release"),
    (asyncio.Event, "_value", "set", "clear"),
    # CPython: less by one for each permit taken, also on behalf of the waiter it is handed to, 3.11-3.13.
    (asyncio.Semaphore, "_value", "release", "acquire"),
    (asyncio.Queue, "_unfinished_tasks", "put", "task_done"),
    (asyncio.Barrier, "_count", "wait", None),
)
"""``(class, attribute of its instances, what a larger value means, what a smaller or the same one means)``."""

STATES: tuple[tuple[type, str], ...] = (
    # CPython: written first by `__init__`, 3.11-3.13.
    (asyncio.Condition, "_lock"),
    (asyncio.TaskGroup, "_entered"),
    (asyncio.Barrier, "_state"),
    (asyncio.Timeout, "_state"),
)
"""``(class, attribute of its instances)`` whose values are no numbers; see `state_kind`."""


def state_kind(obj: Any, value: Any, frame: FrameType) -> str | None:
    """What a later write of such an attribute by ``frame`` means."""
    # CPython: Barrier._state, a private enum, 3.11-3.13.
    if isinstance(obj, asyncio.Barrier):
        if value is _BROKEN:
            return "abort"
        if frame.f_code is _BARRIER_RESET:
            return "reset"
    return None


def _asks(obj: Any, frame: FrameType) -> str | None:
    # CPython: `_get_loop` is looked up by whoever is about to wait: Lock.acquire, Event.wait, ..., 3.11-3.13.
    return "asked" if isinstance(obj, (asyncio.Lock, asyncio.Semaphore)) else "wait"


def _notifies(obj: Any, frame: FrameType) -> str | None:
    return "notify"


def _got(obj: Any, frame: FrameType) -> str | None:
    # CPython: Queue.get_nowait ends with `_wakeup_next` for the putters, 3.11-3.13.
    return "get" if frame.f_code is _GET_NOWAIT else None


def _tries(obj: Any, frame: FrameType) -> str | None:
    # CPython: a condition looks `locked` of its lock up when it is made, 3.11-3.13.
    return None if frame.f_code.co_filename.startswith(ASYNCIO) else "locked"


LOOKED_UP: tuple[tuple[type, str, Callable[[Any, FrameType], str | None]], ...] = (
    (asyncio.Lock, "locked", _tries),
    (asyncio.Lock, "_get_loop", _asks),
    (asyncio.Event, "_get_loop", _asks),
    (asyncio.Semaphore, "_get_loop", _asks),
    (asyncio.Condition, "_get_loop", _asks),
    (asyncio.Queue, "_wakeup_next", _got),
    # CPython: `notify` calls `_notify` from 3.12 on; on 3.11 the lookup of `notify` itself has to do.
    (asyncio.Condition, "_notify" if hasattr(asyncio.Condition, "_notify") else "notify", _notifies),
)
"""``(class, method, what its lookup on an instance by a frame means)``."""


def handed_to(frame: FrameType) -> asyncio.Task[Any] | None:
    """The task that a semaphore's permit is handed to by the frame that takes it; None: the running task takes it."""
    # CPython: Semaphore._wake_up_next has the waiter in `fut`, 3.11-3.13.
    if frame.f_code is not _HAND_OVER:
        return None
    waiter = frame.f_locals.get("fut")
    for callback, _ in getattr(waiter, "_callbacks", None) or ():
        owner = getattr(callback, "__self__", None)
        if isinstance(owner, asyncio.Task):
            return owner
    return None


def current_tasks() -> Mapping[Any, Any] | None:
    """The running task of each loop; None where this Python does not show it."""
    # CPython: asyncio.tasks._current_tasks, a dict, 3.11-3.13.
    found: Mapping[Any, Any] | None = vars(asyncio.tasks).get("_current_tasks")
    return found if sys.version_info < (3, 14) else None


def lock_under(obj: Any) -> Any:
    """The lock under a condition; any other object itself."""
    # CPython: Condition._lock, 3.11-3.13.
    return getattr(obj, "_lock", obj) if issubclass(type(obj), asyncio.Condition) else obj


def nobody_waits(obj: Any) -> bool:
    """Whether no task waits for an event, or to be notified."""
    # CPython: `_waiters` of locks, events and conditions: futures, or None, 3.11-3.13.
    return all(waiter.done() for waiter in obj._waiters or ())


def wakes_one(lock: Any) -> bool:
    """Whether the release of a lock, now under way, will wake the first who waits."""
    # CPython: Lock._wake_up_first sets the first future of `_waiters` unless it is done, 3.11-3.13.
    waiters = lock._waiters
    return bool(waiters) and not next(iter(waiters)).done()


def permits_left(semaphore: Any) -> int:
    """How many more tasks a semaphore lets in."""
    # CPython: Semaphore._value, 3.11-3.13.
    count: int = semaphore._value
    return count


READ: tuple[tuple[type, str, CodeType | None], ...] = (
    # CPython: read by `Event.wait` and `Event.is_set`, 3.11-3.13.
    (asyncio.Event, "_value", None),
    # CPython: 3.11-3.13.
    (asyncio.Queue, "_unfinished_tasks", _code(asyncio.Queue.join)),
)
"""``(class, attribute out of `COUNTED`, the code whose reading tells; None for any)``."""


def timeout_change(timeout: Any, state: Any) -> int:
    """1 when a timeout with a deadline is entered, -1 when it is left, else 0."""
    # CPython: Timeout._state, a private enum, and Timeout._when, 3.11-3.13.
    if getattr(timeout, "_when", None) is None:
        return 0
    name = getattr(state, "name", "")
    return 1 if name == "ENTERED" else -1 if name in ("EXPIRED", "EXITED") else 0
