"""Every private anyio name the diagnosis of waiting tasks relies on, for its asyncio backend.

Called by `vtloop.diagnosis` only, and only when a verdict is built.  Each name was seen on anyio 4.4, 4.9 and 4.16;
where one is missing the function answers "unknown" (None or empty), so that a report grows poorer and never fails.
anyio is looked up among the modules that are loaded and must never be imported here: a program without it has no use
for it.
"""

from __future__ import annotations

import os
import sys
from asyncio import Event, Future, Task
from collections.abc import Iterable, Iterator
from types import CodeType, ModuleType
from typing import Any

from vtloop.cpython_waits import Primitive, identity

__all__ = [
    "event_inside",
    "folder",
    "handle_of_start",
    "is_condition",
    "is_holdable",
    "is_idle_worker",
    "line",
    "lock_under",
    "owners",
    "primitives",
    "scope_deadline",
    "task_handle",
    "unadapted",
]

_BACKEND = "anyio._backends._asyncio"
_SYNC = "anyio._core._synchronization"
_TASKS = "anyio._core._tasks"

_WAITS = (
    # anyio: coroutine methods that suspend, the kind, the local that holds the primitive; 4.4-4.16 unless said.
    (_BACKEND, "Event.wait", "Event", "self"),
    (_BACKEND, "Lock.acquire", "Lock", "self"),  # from 4.5; in 4.4 the one below does it
    (_SYNC, "Lock.acquire", "Lock", "self"),
    (_SYNC, "LockAdapter.__aenter__", "Lock", "self"),  # from 4.5
    (_SYNC, "LockAdapter.acquire", "Lock", "self"),
    (_SYNC, "Condition.wait", "Condition", "self"),
    (_BACKEND, "Semaphore.acquire", "Semaphore", "self"),  # from 4.5
    (_SYNC, "Semaphore.acquire", "Semaphore", "self"),
    (_SYNC, "SemaphoreAdapter.__aenter__", "Semaphore", "self"),
    (_SYNC, "SemaphoreAdapter.acquire", "Semaphore", "self"),
    (_BACKEND, "CapacityLimiter.acquire_on_behalf_of", "CapacityLimiter", "self"),
    (_SYNC, "EventAdapter.wait", "Event", "self"),
    (_SYNC, "CapacityLimiterAdapter.__aenter__", "CapacityLimiter", "self"),
    (_SYNC, "CapacityLimiterAdapter.acquire", "CapacityLimiter", "self"),
    (_SYNC, "CapacityLimiterAdapter.acquire_on_behalf_of", "CapacityLimiter", "self"),
    (_BACKEND, "TaskGroup.__aexit__", "TaskGroup", "self"),
    (_BACKEND, "TaskGroup.start", "TaskGroup.start", "self"),
    (_TASKS, "TaskHandle.wait", "task", "self"),  # from 4.14
    (_TASKS, "TaskHandle.__await__", "task", "self"),
    ("anyio.streams.memory", "MemoryObjectReceiveStream.receive", "MemoryObjectReceiveStream.receive", "self"),
    ("anyio.streams.memory", "MemoryObjectSendStream.send", "MemoryObjectSendStream.send", "self"),
    ("anyio.to_thread", "run_sync", "executor call", "func"),
    ("anyio.to_process", "run_sync", "executor call", "func"),
    ("anyio.from_thread", "BlockingPortal.sleep_until_stopped", "BlockingPortal", "self"),
)

_ADAPTED = ("_internal_lock", "_internal_event", "_internal_semaphore", "_internal_limiter", "_semaphore", "_limiter")
"""anyio: where an object made outside a loop keeps the one of the backend, 4.4-4.16."""

_found: tuple[tuple[str, ...], dict[int, Primitive]] = ((), {})


def folder() -> str | None:
    """The folder of anyio's code, with its separator; None when anyio is not loaded."""
    module = sys.modules.get("anyio")
    file = getattr(module, "__file__", None) if isinstance(module, ModuleType) else None
    return os.path.dirname(file) + os.sep if isinstance(file, str) else None


def primitives() -> dict[int, Primitive]:
    """What each coroutine of anyio waits for, by the identity of its code object; empty when anyio is not loaded."""
    global _found
    if "anyio" not in sys.modules:
        return {}
    loaded = tuple(sorted({name for name, *_ in _WAITS if name in sys.modules}))
    if loaded != _found[0]:
        known: dict[int, Primitive] = {}
        for module, path, kind, local in _WAITS:
            code = _code(sys.modules.get(module), path)
            if code is not None:
                known[identity(code)] = Primitive(kind, local, code, "anyio")
        _found = loaded, known
    return _found[1]


def _code(module: ModuleType | None, path: str) -> CodeType | None:
    found: Any = module
    for name in path.split("."):
        found = vars(found).get(name) if isinstance(found, (ModuleType, type)) else None
    found = getattr(found, "__wrapped__", found)
    return getattr(found, "__code__", None)


def _class(module: str, name: str) -> type | None:
    loaded = sys.modules.get(module)  # None, or anything, where a test has put it there
    found = vars(loaded).get(name) if isinstance(loaded, ModuleType) else None
    return found if isinstance(found, type) else None


def _is_a(thing: object, *names: str) -> bool:
    """Whether `thing` is an object of one of anyio's classes, whatever its ``__class__`` claims."""
    for name in names:
        for module in (_SYNC, _BACKEND):
            found = _class(module, name)
            if found is not None and issubclass(type(thing), found):
                return True
    return False


def is_condition(thing: object) -> bool:
    """Whether it is an `anyio.Condition`."""
    return "anyio" in sys.modules and _is_a(thing, "Condition")


def is_holdable(thing: object) -> bool:
    """Whether it is an `anyio` lock, condition, semaphore or limiter."""
    return "anyio" in sys.modules and _is_a(thing, "Lock", "Condition", "Semaphore", "CapacityLimiter")


def lock_under(condition: object) -> object:
    """The lock under an `anyio.Condition`, and the backend's object under an adapter; else the object itself."""
    # anyio: Condition._lock, 4.4-4.16.
    return unadapted(getattr(condition, "_lock", condition) if is_condition(condition) else condition)


def unadapted(thing: object) -> object:
    """The backend's object behind one that was made outside a loop; the object itself when there is none."""
    if not type(thing).__name__.endswith("Adapter"):
        return thing
    for name in _ADAPTED:
        try:
            inner = object.__getattribute__(thing, name)
        except AttributeError:
            continue
        if inner is not None and type(inner) is not property:
            return inner
    return thing


def owners(primitive: object) -> list[Task[Any] | str] | None:
    """The tasks that anyio itself says hold a lock or limiter, in no order; None where it does not know.

    Of a task that is gone only the name.
    """
    primitive = unadapted(primitive)
    if _is_a(primitive, "CapacityLimiter"):
        # anyio: CapacityLimiter._borrowers, a set of tasks or of what was given on whose behalf, 4.4-4.16.
        return [b for b in tuple(getattr(primitive, "_borrowers", ())) if issubclass(type(b), Task)]
    if _is_a(primitive, "Lock"):
        # anyio: Lock._owner_task: a task (4.5-4.16), or a TaskInfo that knows its task weakly (4.4).
        owner = getattr(primitive, "_owner_task", None)
        if owner is not None and not isinstance(owner, Task):
            found, name = getattr(owner, "_task", None), getattr(owner, "name", None)
            owner = found() if callable(found) else found
            if owner is None and isinstance(name, str):
                return [name]
        return [owner] if isinstance(owner, Task) else []
    return None


def line(kind: str, primitive: object) -> Iterator[Future[Any]]:
    """The futures of those who wait for it, first in line first."""
    primitive = unadapted(primitive)
    waiters: Iterable[Any]
    # anyio: Event._event; _waiters of Lock, Semaphore and Condition; CapacityLimiter._wait_queue; the two ordered
    # dicts of a memory stream's state, keyed by Event.  4.4-4.16.
    if kind == "Event":
        waiters = (primitive,)
    elif kind == "CapacityLimiter":
        waiters = getattr(primitive, "_wait_queue", {}).values()
    elif kind.startswith("MemoryObject"):
        which = "waiting_receivers" if kind.endswith("receive") else "waiting_senders"
        waiters = getattr(getattr(primitive, "_state", None), which, ())
    else:
        waiters = getattr(primitive, "_waiters", ())
    for waiter in list(waiters):
        yield from _futures(waiter)


def _futures(waiter: object) -> Iterator[Future[Any]]:
    if isinstance(waiter, tuple):  # anyio: Lock's (task, future), from 4.5, and (task info, event), 4.4
        waiter = waiter[-1] if waiter else None
    if isinstance(waiter, Future):
        yield waiter
        return
    event = waiter if isinstance(waiter, Event) else getattr(waiter, "_event", None)
    if isinstance(event, Event):
        yield from tuple(getattr(event, "_waiters", ()))


def event_inside(thing: object) -> object:
    """The asyncio event inside an `anyio.Event`; any other object itself."""
    if "anyio" not in sys.modules or not _is_a(thing, "Event"):
        return thing
    # anyio: Event._event, 4.4-4.16.
    return getattr(unadapted(thing), "_event", thing)


def task_handle(scope: Any) -> object | None:
    """The handle of a task made by a task group, from the locals of its outermost frame."""
    # anyio: the local `self` of TaskHandle._run_coro, 4.14-4.16.
    known, handle = _class(_TASKS, "TaskHandle"), scope.get("self")
    return handle if known is not None and issubclass(type(handle), known) else None


def handle_of_start(scope: Any) -> object | None:
    """What `TaskGroup.start` waits for: a handle, or in older versions the task, from its locals."""
    # anyio: the local `handle` (4.14-4.16) or `task` (4.4-4.13) of TaskGroup.start.
    found: object | None = scope.get("handle")
    return scope.get("task") if found is None else found


def is_idle_worker(thread: object) -> bool:
    """Whether a thread is one of anyio's that waits for its next call."""
    # anyio: WorkerThread.idle_workers, a deque of those that have given their result back, 4.4-4.16.
    known = _class(_BACKEND, "WorkerThread")
    return known is not None and issubclass(type(thread), known) and thread in getattr(thread, "idle_workers", ())


def scope_deadline(task: Task[Any]) -> float | None:
    """When the nearest cancel scope around a task ends its wait; None for never."""
    # anyio: _task_states[task].cancel_scope, CancelScope._deadline, _shield and _parent_scope, 4.4-4.16.
    backend = sys.modules.get(_BACKEND)
    states = vars(backend).get("_task_states") if isinstance(backend, ModuleType) else None
    try:
        scope = states[task].cancel_scope if states is not None and task in states else None
    except Exception:
        return None
    nearest = float("inf")
    for _ in range(1000):
        if scope is None:
            break
        nearest = min(nearest, getattr(scope, "_deadline", nearest))
        if getattr(scope, "_shield", False):
            break  # what ends the scopes around it does not reach inside
        scope = getattr(scope, "_parent_scope", None)
    return nearest if nearest != float("inf") else None
