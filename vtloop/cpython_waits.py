"""Every private CPython name the diagnosis of waiting tasks relies on, one small function each.

Called by `vtloop.diagnosis` only, and only when a verdict is built.  Each name was seen on 3.11, 3.12 and 3.13; where
one is missing the function answers "unknown" (None or empty), so that a report grows poorer and never fails.  Nothing
here changes the state of what it looks at: an unread exception stays unread.
"""

from __future__ import annotations

import asyncio
import dis
import gc
import sys
from asyncio import futures, tasks, threads
from collections.abc import Callable, Iterable, Mapping
from contextlib import AsyncExitStack
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, FunctionType, GeneratorType, MethodType
from typing import Any, NamedTuple

__all__ = [
    "AENTER",
    "CONDITION_WAIT",
    "PRIMITIVES",
    "Primitive",
    "as_completed_todo",
    "barrier_phase",
    "bound_exits",
    "bytes_buffered",
    "cancelled_with",
    "chained_call",
    "completion_queue",
    "condition_lock",
    "coroutine_of_ended",
    "end_of",
    "entered_by_stack",
    "enters_managers",
    "frame_locals",
    "future_waited_for",
    "gather_children",
    "generator_of_context",
    "group_children",
    "identity",
    "is_minded",
    "is_shut_down",
    "shielded",
    "unfinished_items",
    "unread_exception",
    "unwrap",
    "waiting_line",
]

identity: Callable[[object], int] = object.__hash__
"""Stands for an object in a dict.  Not ``id``: that raises an audit event, ten times as slow once anybody listens."""

_AWAIT_WRAPPERS = frozenset(
    # CPython: type names of the C objects between two coroutines (3.11-3.13).
    {"coroutine_wrapper", "async_generator_asend", "async_generator_athrow", "anext_awaitable"}
)
_SUSPENDABLE = (CoroutineType, GeneratorType, AsyncGeneratorType)


class Primitive(NamedTuple):
    """What a coroutine of asyncio waits for: the kind, the local that holds the primitive, and its code object."""

    kind: str
    local: str
    code: CodeType
    library: str = "asyncio"


def _code(function: object) -> CodeType | None:
    return function if isinstance(function, CodeType) else getattr(function, "__code__", None)


def _inner_code(function: object, name: str) -> CodeType | None:
    """The code object of the function `name` defined inside `function`."""
    code = _code(function)
    for const in code.co_consts if code else ():
        if isinstance(const, CodeType) and const.co_name == name:
            return const
    return None


def _primitives() -> dict[int, Primitive]:
    # CPython: as_completed's own coroutine: a nested function on 3.11 and 3.12, a class's methods on 3.13.
    completed = getattr(tasks, "_AsCompletedIterator", None)
    nested = _inner_code(tasks.as_completed, "_wait_for_one")
    # CPython: the names of these locals ("self", "fs", "fut", "h", "func") in asyncio's own coroutines, 3.11-3.13.
    known: list[tuple[str, str, object]] = [
        ("Lock", "self", asyncio.Lock.acquire),
        ("Condition", "self", asyncio.Condition.wait),
        ("Event", "self", asyncio.Event.wait),
        ("Semaphore", "self", asyncio.Semaphore.acquire),
        ("Barrier", "self", asyncio.Barrier.wait),
        ("Queue.get", "self", asyncio.Queue.get),
        ("Queue.put", "self", asyncio.Queue.put),
        ("Queue.join", "self", asyncio.Queue.join),
        ("TaskGroup", "self", asyncio.TaskGroup.__aexit__),
        ("StreamReader.readuntil", "self", asyncio.StreamReader.readuntil),
        ("StreamReader.readexactly", "self", asyncio.StreamReader.readexactly),
        ("StreamReader.readline", "self", asyncio.StreamReader.readline),
        ("StreamReader.read", "self", asyncio.StreamReader.read),
        ("StreamWriter.drain", "self", asyncio.StreamWriter.drain),
        ("StreamWriter.wait_closed", "self", asyncio.StreamWriter.wait_closed),
        ("as_completed", "self", getattr(completed, "__anext__", None)),
        ("as_completed", "self", getattr(completed, "_wait_for_one", None)),
        ("as_completed", "done", nested),
        ("sleep", "h", asyncio.sleep),
        ("wait", "fs", asyncio.wait),
        ("wait_for", "fut", asyncio.wait_for),
        ("executor call", "func", threads.to_thread),
    ]
    return {identity(code): Primitive(kind, local, code) for kind, local, f in known if (code := _code(f)) is not None}


# Keyed by the identity of code objects (hashing one hashes its whole bytecode); only looked up, never iterated.
PRIMITIVES = _primitives()
CONDITION_WAIT = _code(asyncio.Condition.wait)
AENTER = "__aenter__"

# CPython: the functions these two define inside (3.11-3.13).
_SHIELD_CALLBACK = _inner_code(tasks.shield, "_outer_done_callback")
_CHAIN_CALLBACK = _inner_code(getattr(futures, "_chain_future", None), "_call_check_cancel")
_COMPLETED_CALLBACK = _inner_code(tasks.as_completed, "_on_completion")


def unwrap(awaitable: object) -> object | None:
    """The coroutine or generator behind a C object in an await chain; None at the chain's end."""
    for _ in range(4):
        if type(awaitable).__name__ not in _AWAIT_WRAPPERS:
            return None
        inner = next((x for x in gc.get_referents(awaitable) if isinstance(x, _SUSPENDABLE) or _is_wrapper(x)), None)
        if inner is None or isinstance(inner, _SUSPENDABLE):
            return inner
        awaitable = inner
    return None


def _is_wrapper(x: object) -> bool:
    return type(x).__name__ in _AWAIT_WRAPPERS


def future_waited_for(task: asyncio.Task[Any]) -> asyncio.Future[Any] | None:
    """The future whose completion steps this task next; None when the task is ready, running or not started."""
    # CPython: Task._fut_waiter, C and Python tasks, 3.11-3.13.
    waiter: asyncio.Future[Any] | None = getattr(task, "_fut_waiter", None)
    return waiter


def _callbacks(future: object) -> list[Callable[..., Any]]:
    # CPython: Future._callbacks, a list of (callback, context) or None, 3.11-3.13.
    return [pair[0] for pair in getattr(future, "_callbacks", None) or ()]


def _closed_over(future: object, code: CodeType | None, name: str) -> Any:
    """The variable `name` seen by that callback of `future` whose code is `code`."""
    for callback in _callbacks(future):
        if code is not None and isinstance(callback, FunctionType) and callback.__code__ is code:
            cells = dict(zip(code.co_freevars, callback.__closure__ or (), strict=False))
            if name in cells:
                try:
                    return cells[name].cell_contents
                except ValueError:
                    return None
    return None


def shielded(future: object) -> asyncio.Future[Any] | None:
    """What `asyncio.shield` made this future for; None when it did not."""
    # CPython: shield's _outer_done_callback closes over `inner`, 3.11-3.13.
    inner: asyncio.Future[Any] | None = _closed_over(future, _SHIELD_CALLBACK, "inner")
    return inner


def chained_call(future: object) -> object | None:
    """The `concurrent.futures.Future` this future stands for (an executor call); None when there is none."""
    # CPython: _chain_future's _call_check_cancel closes over `source`, 3.11-3.13.
    source: object | None = _closed_over(future, _CHAIN_CALLBACK, "source")
    return source


def is_minded(future: object) -> bool:
    """Whether anybody awaits this future of an executor call, or has a callback on it."""
    return any(getattr(callback, "__code__", None) is not _CHAIN_CALLBACK for callback in _callbacks(future))


def gather_children(future: object) -> list[asyncio.Future[Any]] | None:
    """The children of a `gather`, in order; None when the future is not a gather's."""
    # CPython: _GatheringFuture._children, a list, 3.11-3.13.
    if type(future).__name__ != "_GatheringFuture":
        return None
    return list(getattr(future, "_children", ()))


def group_children(group: object) -> Iterable[asyncio.Task[Any]]:
    """The unfinished tasks of a TaskGroup, in no order: the caller sorts."""
    # CPython: TaskGroup._tasks, a set, 3.11-3.13.
    return tuple(getattr(group, "_tasks", ()))


def as_completed_todo(completed: object) -> Iterable[asyncio.Future[Any]]:
    """What `as_completed` still waits for, in no order; empty where the version does not show it."""
    # CPython: _AsCompletedIterator._todo, a set, 3.13; not to be seen from the coroutine on 3.11 and 3.12.
    return tuple(getattr(completed, "_todo", ()))


def completion_queue(future: object) -> object | None:
    """Where `as_completed` puts this future when it is done (3.11 and 3.12); None when it does not wait for it."""
    # CPython: as_completed's _on_completion closes over `done`, 3.11 and 3.12.
    queue: object | None = _closed_over(future, _COMPLETED_CALLBACK, "done")
    return queue


def unfinished_items(queue: object) -> int | None:
    """How many `task_done()` calls a queue's `join` still waits for; None when unknown."""
    # CPython: Queue._unfinished_tasks, 3.11-3.13.
    count: int | None = getattr(queue, "_unfinished_tasks", None)
    return count


def waiting_line(kind: str, primitive: object) -> Iterable[asyncio.Future[Any]]:
    """The futures of those who wait for a primitive of asyncio, first in line first; empty where there is no line."""
    # CPython: _waiters of Lock, Semaphore, Event and Condition (a deque or None); Queue._getters, _putters and
    # _finished (an Event); Barrier._cond (a Condition); 3.11-3.13.
    if kind.startswith("Queue."):
        where = {"Queue.get": "_getters", "Queue.put": "_putters", "Queue.join": "_finished"}[kind]
        found = getattr(primitive, where, ())
        primitive = found if kind == "Queue.join" else None
        waiters = getattr(primitive, "_waiters", ()) if kind == "Queue.join" else found
    elif kind == "Barrier":
        waiters = getattr(getattr(primitive, "_cond", None), "_waiters", ())
    else:
        waiters = getattr(primitive, "_waiters", ())
    return tuple(waiters or ())


def is_shut_down(queue: object) -> bool:
    """Whether `Queue.shutdown` was called."""
    # CPython: Queue._is_shutdown, 3.13.
    return bool(getattr(queue, "_is_shutdown", False))


def barrier_phase(barrier: object) -> str | None:
    """``"filling"``, ``"draining"``, ``"resetting"`` or ``"broken"``; None when unknown."""
    # CPython: Barrier._state, an enum whose members are named in capitals, 3.11-3.13.
    name = getattr(getattr(barrier, "_state", None), "name", None)
    return name.lower() if isinstance(name, str) else None


def bytes_buffered(reader: object) -> int | None:
    """How many bytes a `StreamReader` has that nobody has read."""
    # CPython: StreamReader._buffer, a bytearray, 3.11-3.13.
    buffer = getattr(reader, "_buffer", None)
    return len(buffer) if isinstance(buffer, bytearray) else None


def condition_lock(condition: object) -> object:
    """The lock under a condition; the object itself when it is a lock or semaphore."""
    # CPython: Condition._lock, 3.11-3.13.
    return getattr(condition, "_lock", condition) if issubclass(type(condition), asyncio.Condition) else condition


def unread_exception(task: asyncio.Task[Any]) -> BaseException | None:
    """The exception of a finished task if nobody has read it yet; leaves it unread."""
    # CPython: Future._log_traceback is true while unread, Future._exception holds it, 3.11-3.13.
    if not task.done() or task.cancelled() or not getattr(task, "_log_traceback", False):
        return None
    error: BaseException | None = getattr(task, "_exception", None)
    return error


def end_of(task: asyncio.Future[Any]) -> BaseException | None:
    """What a finished, not cancelled task raised, None when it returned; an unread exception stays unread."""
    # CPython: Future._exception, C and Python tasks, 3.11-3.13; asking `exception()` would mark it as read.
    error: BaseException | None = getattr(task, "_exception", None)
    return error


def cancelled_with(task: asyncio.Task[Any]) -> asyncio.CancelledError | None:
    """The exception that ended a cancelled task, as long as nobody has awaited the task; stays where it is."""
    # CPython: the task holds it as `_cancelled_exc` (fut_cancelled_exc in C), 3.11-3.13; a task that awaits it
    # takes it away.
    return next((held for held in gc.get_referents(task) if type(held) is asyncio.CancelledError), None)


def coroutine_of_ended(task: asyncio.Task[Any]) -> CoroutineType[Any, Any, Any] | None:
    """The coroutine of a finished task, where the task still holds it."""
    # CPython: `get_coro()` of an eager task that is done crashes 3.12.1; its referents leave the coroutine out.
    return next((held for held in gc.get_referents(task) if type(held) is CoroutineType), None)


def enters_managers(code: CodeType) -> bool:
    """Whether a code object has an ``async with`` or ``async for``; True where the version does not tell."""
    # CPython: the opcodes BEFORE_ASYNC_WITH and GET_AITER, one at every second byte of co_code, 3.11-3.13.
    wanted = [dis.opmap.get(name) for name in ("BEFORE_ASYNC_WITH", "GET_AITER")]
    operations = code.co_code[::2]
    return any(number is None or number in operations for number in wanted)


def bound_exits(suspended: object) -> tuple[list[MethodType], list[object]]:
    """Bound `__aexit__` methods on a suspended coroutine's value stack, and its async generators and exit stacks.

    Inside ``async with x`` the bound method ``x.__aexit__`` is a value-stack temporary, which only `gc.get_referents`
    shows.  A running coroutine shows nothing; its stack is in use.
    """
    # CPython: gen_traverse visits locals and value stack, 3.11-3.13. gh-122695: never pass a module object.
    exits: list[MethodType] = []
    owners: list[object] = []
    for referent in gc.get_referents(suspended):
        kind = type(referent)
        if kind is MethodType:
            if getattr(referent.__func__, "__name__", "") == "__aexit__":
                exits.append(referent)
        elif kind is AsyncGeneratorType or kind is AsyncExitStack:
            owners.append(referent)
    return exits, owners


def entered_by_stack(stack: AsyncExitStack[Any]) -> list[MethodType]:
    """The bound `__aexit__` methods an AsyncExitStack will call."""
    # CPython: AsyncExitStack._exit_callbacks, a deque of (is_sync, callback), 3.11-3.13.
    callbacks = [pair[1] for pair in getattr(stack, "_exit_callbacks", ())]
    return [c for c in callbacks if type(c) is MethodType and getattr(c.__func__, "__name__", "") == "__aexit__"]


def generator_of_context(manager: object) -> AsyncGeneratorType[Any, Any] | None:
    """The async generator behind an `@asynccontextmanager` object; None for any other."""
    # CPython: contextlib._AsyncGeneratorContextManager.gen, 3.11-3.13.
    generator = getattr(manager, "gen", None) if type(manager).__module__ == "contextlib" else None
    return generator if isinstance(generator, AsyncGeneratorType) else None


def frame_locals(frame: FrameType, runners: bool = False) -> Mapping[str, Any]:
    """The local variables of a function's frame, leaving nothing behind.

    CPython 3.11 and 3.12 keep the dict they hand out on the frame, where it would keep alive what the program drops
    later; ``locals()`` gives the program the very same dict, which is then left as it is.  From 3.13 on it is a view.
    Nobody asks for the variables of vtloop's own frames and other ``runners``: theirs are let go of in any case.
    """
    scope = frame.f_locals
    if sys.version_info >= (3, 13):
        return scope
    copied = dict(scope)
    if runners or sys.getrefcount(scope) <= 3:  # the frame's, ours, and that of the call
        scope.clear()
    return copied
