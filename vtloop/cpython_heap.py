"""Every private name of CPython (and anyio) by which tasks are known though nobody means to wake them.

Called by `vtloop.diagnosis.heap` and `vtloop.diagnosis.reach` only: asyncio's registries of tasks, what a runner keeps
of its main task, and the task behind a timeout.  Each name was seen on 3.11, 3.12 and 3.13; where one is missing,
nothing is hidden, so that a task counts as reachable: a verdict is lost, never invented.
"""

from __future__ import annotations

import asyncio
import functools
import gc
import signal
import sys
import sysconfig
from asyncio import tasks
from collections import deque
from collections.abc import Iterable
from contextlib import AsyncExitStack
from types import AsyncGeneratorType, CodeType, CoroutineType, FunctionType, GeneratorType, MethodType
from typing import Any

from vtloop.cpython_waits import unwrap

__all__ = [
    "COUNTS_ARE_TRUE",
    "LISTS_OF_TASKS",
    "LOCK_ACQUIRE",
    "PARTS_OF_A_LOCK",
    "chain_of",
    "exits_of",
    "lock_internals",
    "runner_handler",
    "scope_tasks",
    "state_of",
    "states_of_tasks",
    "strong_registries",
    "test_runner",
    "timed_task",
    "wakeups_of",
    "weak_registry",
    "wrapped_by_wait_for",
]

COUNTS_ARE_TRUE = sys.version_info < (3, 14) and not sysconfig.get_config_var("Py_GIL_DISABLED")
"""Whether each reference that the collector shows is counted once, and in one place.

CPython: yes on 3.11-3.13; from 3.14 on frames borrow references, and builds without the GIL split the counts.
"""

LOCK_ACQUIRE: CodeType = asyncio.Lock.acquire.__code__
_ATOMIC = frozenset({str, int, bool, float, bytes, type(None), CodeType, FunctionType, CoroutineType})
# CPython: asyncio.runners._cancel_all_tasks, and the registries of asyncio.tasks, 3.11-3.13.
LISTS_OF_TASKS = ("_cancel_all_tasks", "_all_tasks", "_scheduled_tasks", "_eager_tasks")
"""Private names of asyncio by which any task can be had."""

# CPython: the attributes of Lock, and what wakes its first waiter, 3.11-3.13.
PARTS_OF_A_LOCK = ("_wake_up_first", "_waiters", "_locked")

_BACKEND = "anyio._backends._asyncio"


def chain_of(task: asyncio.Task[Any]) -> list[Any]:
    """The coroutines and generators of a pending task, outermost first; frames are not touched."""
    chain: list[Any] = []
    current: Any = task.get_coro()
    while current is not None and len(chain) < 10_000:
        kind = type(current)
        if kind is CoroutineType:
            inner = current.cr_await
        elif kind is GeneratorType:
            inner = current.gi_yieldfrom
        elif kind is AsyncGeneratorType:
            inner = current.ag_await
        else:
            inner = unwrap(current)
            if inner is None:  # a future's iterator, or a class of the program: compiled coroutines look like ours
                inner = getattr(current, "cr_await", None)
                if inner is None:
                    break
            current = inner
            continue
        chain.append(current)
        current = inner
    return chain


def wakeups_of(future: object, task: asyncio.Task[Any]) -> list[Any]:
    """The callbacks of a future that step ``task``."""
    # CPython: Future._callbacks, a list of (callback, context) or None, 3.11-3.13.
    pairs = getattr(future, "_callbacks", None) or ()
    return [pair[0] for pair in pairs if getattr(pair[0], "__self__", None) is task]


def weak_registry() -> Iterable[Any]:
    """The weak references by which asyncio remembers every task."""
    # CPython: asyncio.tasks._all_tasks (3.11), _scheduled_tasks (3.12, 3.13), a WeakSet, whose `data` is a set.
    found: list[Any] = []
    for name in ("_scheduled_tasks", "_all_tasks"):
        found += list(getattr(vars(tasks).get(name), "data", ()))
    return found


def strong_registries() -> list[Any]:
    """The containers of asyncio and anyio that hold tasks, or what belongs to tasks, only to look them up."""
    # CPython: asyncio.tasks._eager_tasks, a set, and _current_tasks, a dict by loop (3.12, 3.13; the dict also 3.11).
    found = [vars(tasks).get(name) for name in ("_eager_tasks", "_current_tasks")]
    found.append(getattr(states_of_tasks(), "data", None))
    return [container for container in found if container is not None]


def states_of_tasks() -> Any:
    """anyio's state of each task, a ``WeakKeyDictionary``; None where anyio is not loaded."""
    # anyio: _backends._asyncio._task_states, 4.4-4.16.
    return vars(sys.modules[_BACKEND]).get("_task_states") if _BACKEND in sys.modules else None


def state_of(task: asyncio.Task[Any]) -> object | None:
    """What anyio keeps about ``task``."""
    states = states_of_tasks()
    return states.get(task) if states else None


def test_runner() -> type | None:
    """The class of anyio's test runner, which holds the task that its tests run in."""
    # anyio: _backends._asyncio.TestRunner, 4.4-4.16.
    kind = vars(sys.modules[_BACKEND]).get("TestRunner") if _BACKEND in sys.modules else None
    return kind if isinstance(kind, type) else None


def runner_handler() -> object | None:
    """The handler by which `asyncio.Runner` cancels its main task on Ctrl-C; None when another handler is set."""
    # CPython: functools.partial(Runner._on_sigint, main_task=task), 3.11-3.13.
    handler = signal.getsignal(signal.SIGINT)
    if type(handler) is functools.partial and getattr(handler.func, "__func__", None) is _ON_SIGINT:
        return handler
    return None


_ON_SIGINT = vars(asyncio.Runner).get("_on_sigint", object())


def timed_task(timeout: object) -> Any:
    """The task that an `asyncio.Timeout` cancels."""
    # CPython: Timeout._task, 3.11-3.13.
    return getattr(timeout, "_task", None) if issubclass(type(timeout), asyncio.Timeout) else None


def scope_tasks(scope: object) -> list[asyncio.Task[Any]]:
    """The tasks that the end of an anyio cancel scope, or of the scopes inside it, cancels; empty for anything else."""
    # anyio: CancelScope._host_task, _tasks (a set) and _child_scopes (a set), 4.4-4.16.
    if type(scope).__module__ != _BACKEND:
        return []
    found: list[Any] = []
    seen: set[int] = set()
    scopes = [scope]
    while scopes:
        here: Any = scopes.pop()
        if id(here) in seen:
            continue
        seen.add(id(here))
        found += [getattr(here, "_host_task", None), *(getattr(here, "_tasks", None) or ())]
        scopes += list(getattr(here, "_child_scopes", None) or ())
    return [task for task in found if isinstance(task, asyncio.Future)]  # type: ignore[misc]


def wrapped_by_wait_for(chain: list[Any]) -> list[Any]:
    """What a task that is inside `asyncio.wait_for` cancels when the time is over (3.11 makes a task of it)."""
    # CPython: the local `fut` of wait_for, which waits for a future of its own beside it, 3.11.
    if _WAIT_FOR is None:
        return []
    inside = [part for part in chain if getattr(part, "cr_code", None) is _WAIT_FOR]
    return [inner for inner in gc.get_referents(*inside) if isinstance(inner, asyncio.Future)]


_WAIT_FOR = asyncio.wait_for.__code__ if sys.version_info < (3, 12) else None


def lock_internals(lock: asyncio.Lock) -> list[Any]:
    """A lock, the dict of its attributes and the line of its waiters: what only the lock itself holds."""
    # CPython: Lock._waiters, a deque or None, an instance attribute, 3.11-3.13.
    found: list[Any] = [lock]
    for inner in gc.get_referents(lock):
        if type(inner) is dict:
            found += [inner, *(value for value in inner.values() if type(value) is deque)]
        elif type(inner) is deque:
            found.append(inner)
    return found


def exits_of(chain: list[Any]) -> list[Any]:
    """What suspended coroutines are inside of by ``async with``, through exit stacks and ``asynccontextmanager``."""
    found: list[Any] = []
    fresh, seen = chain, set[int]()
    while fresh:
        referents = gc.get_referents(*fresh)
        fresh = []
        for inner in referents:
            kind = type(inner)
            if kind in _ATOMIC:
                continue
            if issubclass(kind, asyncio.TaskGroup) or kind.__module__ == _BACKEND:
                found.append(inner)  # one that waits for its children has left the value stack
            elif kind is AsyncExitStack:
                # CPython: AsyncExitStack._exit_callbacks, a deque of (is_sync, callback), 3.11-3.13.
                found += [getattr(p[1], "__self__", None) for p in getattr(inner, "_exit_callbacks", ())]
            elif kind is AsyncGeneratorType:
                fresh.append(inner)
            elif kind is MethodType and getattr(inner.__func__, "__name__", "") == "__aexit__":
                found.append(inner.__self__)
                # CPython: contextlib._AsyncGeneratorContextManager.gen, 3.11-3.13.
                if type(inner.__self__).__module__ == "contextlib":
                    fresh.append(getattr(inner.__self__, "gen", None))
        fresh = [thing for thing in fresh if thing is not None and object.__hash__(thing) not in seen]
        seen.update(map(object.__hash__, fresh))
    return found
