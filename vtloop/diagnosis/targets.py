"""What a task waits for, told from the last frames of its await chain and from the future itself.

Called by `waits`.  The outermost frame of the asyncio or anyio code a chain ends in is what the program asked for: a
chain that ends ``Queue.join -> Event.wait`` waits for the queue.  Without such a frame the future tells:
a task, a gather, a shield.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vtloop.anyio_waits import handle_of_start, is_condition
from vtloop.cpython_waits import (
    Primitive,
    as_completed_todo,
    barrier_phase,
    bytes_buffered,
    chained_call,
    frame_locals,
    gather_children,
    group_children,
    identity,
    is_shut_down,
    shielded,
    unfinished_items,
)
from vtloop.diagnosis.chains import Link, Places, plain_name

__all__ = ["Target", "function_name", "seconds", "target_of", "tasks_behind", "untouched"]


@dataclass(slots=True)
class Target:
    """The live object a task waits for; turned into plain values before the capture ends."""

    kind: str
    primitive: object = None
    detail: str | None = None
    futures: Sequence[asyncio.Future[Any]] = field(default=())
    via_condition: object = None
    """The condition whose lock it is, when the program names only the condition."""
    library: str = "asyncio"
    handle: object = None
    """An anyio task handle: it stands for a task that only the capture can find."""
    spot: tuple[object, ...] = ()
    """Equal for tasks that wait in the same way at the same instruction of the program."""


def seconds(time_ns: int) -> str:
    """Nanoseconds as exact decimal seconds with the unit: ``1.5 s``, ``0 s``."""
    whole, rest = divmod(abs(time_ns), 1_000_000_000)
    digits = f"{whole}.{rest:09d}".rstrip("0").rstrip(".")
    return f"{'-' if time_ns < 0 else ''}{digits} s"


def target_of(chain: Sequence[Link], waiter: asyncio.Future[Any], places: Places) -> Target:
    """What a task with this chain, suspended on the pending future `waiter`, waits for."""
    first = len(chain)
    while first and places.is_internal(chain[first - 1].code):
        first -= 1
    target = _target_of(chain, waiter, places, first)
    link = chain[first - 1] if first else None
    target.spot = (target.kind, len(chain), identity(link.code), link.frame.f_lasti) if link else (target.kind,)
    return target


def _target_of(chain: Sequence[Link], waiter: asyncio.Future[Any], places: Places, first: int) -> Target:
    for position in range(first, len(chain)):
        known = places.primitive(chain[position].code)
        if known is None:
            continue
        if known.kind == "wait_for":
            found = _wait_for(chain, position)
            if found is None:
                continue  # the coroutine it wraps goes on below: that is what the task waits for
            return found
        inner = chain[position + 1 :]
        if known.kind == "Condition":
            lock = next((k for k in inner if _kind(k, places) == "Lock"), None)
            if lock is not None:
                return _lock_of_condition(chain[position], lock, known)
        elif known.kind == "executor call" and any(_kind(link, places) == "CapacityLimiter" for link in inner):
            continue  # it has no thread yet: it waits for the limit on their number
        return _known(known, chain, position, first, waiter)
    return _from_coroutine(chain, first, places) or _from_future(waiter)


def _kind(link: Link, places: Places) -> str | None:
    known = places.primitive(link.code)
    return known.kind if known is not None else None


def _lock_of_condition(waiting: Link, lock: Link, known: Primitive) -> Target:
    target = Target("Lock", frame_locals(lock.frame).get("self"), "notified, takes its lock back")
    target.via_condition = frame_locals(waiting.frame).get(known.local)
    target.library = known.library
    return target


def _wait_for(chain: Sequence[Link], position: int) -> Target | None:
    """`asyncio.wait_for` on a future or task (3.11 makes a task of a coroutine, later versions await it in place)."""
    awaited = frame_locals(chain[position].frame).get("fut")
    if position + 1 < len(chain) and not issubclass(type(awaited), asyncio.Future):
        return None
    if not issubclass(type(awaited), asyncio.Future):
        return Target("wait_for")
    assert isinstance(awaited, asyncio.Future)
    return Target("wait_for", awaited, _deadline(chain[position:]), (awaited,))


def _deadline(chain: Sequence[Link]) -> str | None:
    """The timer of `wait`, and of 3.11's `wait_for`."""
    # CPython: the local `timeout_handle` of wait_for (3.11) and of wait's _wait (3.11-3.13).
    handle = next((h for link in chain if (h := frame_locals(link.frame).get("timeout_handle")) is not None), None)
    return _until(handle.when()) if isinstance(handle, asyncio.TimerHandle) else None


def _until(when: float) -> str:
    return f"until t={seconds(round(when * 1e9))}" if abs(when) < 1e15 else "for ever"


def _known(known: Primitive, chain: Sequence[Link], position: int, first: int, waiter: asyncio.Future[Any]) -> Target:
    scope = frame_locals(chain[position].frame)
    kind, primitive = known.kind, scope.get(known.local)
    target = Target(kind, primitive, library=known.library)
    if kind == "Lock":
        managers = [frame_locals(link.frame).get("self") for link in chain[first:position]]
        target.via_condition = next((m for m in reversed(managers) if _is_condition(m)), None)
    elif kind == "TaskGroup":
        target.futures = tuple(group_children(primitive))
    elif kind == "wait":
        target.primitive = None
        target.futures = tuple(f for f in primitive or () if issubclass(type(f), asyncio.Future))
    elif kind == "as_completed":
        target.futures = tuple(as_completed_todo(primitive))
    elif kind == "task":  # an anyio TaskHandle
        target.handle = primitive
    elif kind == "TaskGroup.start":
        handle = handle_of_start(scope)
        if isinstance(handle, asyncio.Future):
            target.futures = (handle,)
        else:
            target.handle = handle
    try:
        target.detail = _detail(kind, primitive, chain[position:], waiter, known.library)
    except Exception:
        target.detail = None
    return target


def _is_condition(thing: object) -> bool:
    return issubclass(type(thing), asyncio.Condition) or is_condition(thing)


def _detail(kind: str, primitive: Any, chain: Sequence[Link], waiter: asyncio.Future[Any], library: str) -> str | None:
    """The state of the primitive, as far as it explains the wait."""
    if kind == "Barrier":
        phase = barrier_phase(primitive)
        if phase in ("draining", "resetting"):
            return f"still {phase}: tasks of the last round have not left it"
        return f"{primitive.n_waiting} of {primitive.parties} there"
    if kind == "Queue.get":
        return "empty" if primitive.empty() else f"{primitive.qsize()} waiting to be got"
    if kind == "Queue.put":
        full = f"full, maxsize {primitive.maxsize}" if primitive.full() else "not full now"
        return full + _shut(primitive)
    if kind == "Queue.join":
        count = unfinished_items(primitive)
        return None if count is None else f"{count} not yet task_done()" + _shut(primitive)
    if kind == "wait":
        return "; ".join(filter(None, (_return_when(chain[0]), _deadline(chain)))) or None
    if kind == "sleep" and primitive is not None:
        return _until(primitive.when())
    if kind == "executor call":
        return _call_state(primitive, waiter, library)
    if kind == "CapacityLimiter":
        return f"{primitive.borrowed_tokens} of {primitive.total_tokens} borrowed"
    if kind.startswith("StreamReader."):
        buffered = bytes_buffered(primitive)
        wanted = frame_locals(chain[0].frame).get("n") if kind.endswith("exactly") else None
        return None if buffered is None else f"{buffered}{f' of {wanted}' if wanted else ''} bytes there"
    if kind == "as_completed":
        return "until one ends"
    if kind.startswith("MemoryObject"):
        return _stream_state(kind, primitive)
    return None


def _shut(queue: object) -> str:
    return "; shut down" if is_shut_down(queue) else ""


def _return_when(link: Link) -> str | None:
    # CPython: the local `return_when` of asyncio.wait, 3.11-3.13.
    when = frame_locals(link.frame).get("return_when")
    return {"FIRST_COMPLETED": "until one ends", "FIRST_EXCEPTION": "until one fails or all end"}.get(str(when))


def _call_state(function: object, waiter: asyncio.Future[Any], library: str = "asyncio") -> str | None:
    """The name of an executor call's function, and whether its thread is at work."""
    source: Any = chained_call(waiter)
    if function is None:
        function = getattr(source, "vtloop_function", None)
    name = function_name(function)
    if source is None:  # anyio hands a call to a thread that is free
        return f"{name}, still at work" if name and library == "anyio" else name
    state = "still at work" if source.running() else "not begun" if not source.done() else "returned"
    return f"{name}, {state}" if name else state


def function_name(function: Any) -> str | None:
    """The name of what was handed to a thread; None for what has none."""
    for _ in range(5):
        if not isinstance(function, functools.partial):
            break
        # `asyncio.to_thread` hands over ``partial(context.run, function)``.
        runs = type(getattr(function.func, "__self__", None)).__name__ == "Context"
        function = function.args[0] if runs and function.args else function.func
    name = getattr(function, "__qualname__", None)
    return plain_name(name) if isinstance(name, str) else None


def _stream_state(kind: str, stream: Any) -> str:
    found = stream.statistics()
    if kind.endswith("receive"):
        left, other, ends = found.current_buffer_used, "sender", found.open_send_streams
        state = "empty" if not left else f"{left} waiting to be received"
    else:
        other, ends = "receiver", found.open_receive_streams
        state = f"full, max_buffer_size {found.max_buffer_size:g}"
    return f"{state}; {ends or 'no'} {other}{'' if ends == 1 else 's'} open"


def _from_coroutine(chain: Sequence[Link], first: int, places: Places) -> Target | None:
    """Another coroutine of asyncio or anyio at the chain's end, such as ``Process.wait``: its name is the kind."""
    for link in chain[first:]:
        name = plain_name(link.code.co_qualname)
        library = places.library(link.code)
        if library is None or name in ("Future.__await__", "wait_for"):
            continue
        return Target(name, frame_locals(link.frame).get("self"), library=library)
    return None


def _from_future(future: asyncio.Future[Any]) -> Target:
    if isinstance(future, asyncio.Task):
        return Target("task", future, futures=(future,))
    children = gather_children(future)
    if children is not None:
        return Target("gather", future, futures=children)
    inner = shielded(future)
    if inner is not None:
        return Target("shield", inner, futures=(inner,))
    if chained_call(future) is not None:
        return Target("executor call", future, _call_state(None, future))
    return Target("future", future)


def untouched(target: Target) -> bool:
    """Whether the state of a primitive is that of one which nobody has set, or put anything into."""
    thing: Any = target.primitive
    try:
        if target.kind == "Event":
            return not thing.is_set()
        return bool(thing.empty()) if target.kind == "Queue.get" else True
    except Exception:
        return False


def tasks_behind(futures: Iterable[asyncio.Future[Any]]) -> list[asyncio.Task[Any]]:
    """The tasks whose end completes these futures, looking through nested gathers and shields."""
    found: list[asyncio.Task[Any]] = []
    stack = list(futures)
    seen: set[int] = set()
    while stack:
        future = stack.pop()
        if identity(future) in seen or future.done():
            continue
        seen.add(identity(future))
        if isinstance(future, asyncio.Task):
            found.append(future)
            continue
        inner = shielded(future)
        stack.extend(gather_children(future) or ([inner] if inner is not None else []))
    return found
