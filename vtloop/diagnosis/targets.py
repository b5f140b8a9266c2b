"""What a task waits for, told from the last frames of its await chain and from the future itself.

Called by `waits`.  The outermost frame of the asyncio code a chain ends in is what the program asked for: a chain that
ends ``Queue.join -> Event.wait`` waits for the queue.  Without such a frame the future tells:
a task, a gather, a shield.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from vtloop.cpython_waits import (
    AENTER,
    PRIMITIVES,
    as_completed_todo,
    chained_call,
    frame_locals,
    gather_children,
    group_children,
    shielded,
    unfinished_items,
)
from vtloop.diagnosis.chains import Link, Places, plain_name

__all__ = ["Target", "seconds", "target_of", "tasks_behind"]


@dataclass(slots=True)
class Target:
    """The live object a task waits for; turned into plain values before the capture ends."""

    kind: str
    primitive: object = None
    detail: str | None = None
    futures: Sequence[asyncio.Future[Any]] = field(default=())
    via_condition: object = None
    """The condition whose lock it is, when the program names only the condition."""


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
    for position in range(first, len(chain)):
        known = PRIMITIVES.get(id(chain[position].code))
        if known is None:
            continue
        if known.kind == "wait_for":
            found = _wait_for(chain, position)
            if found is None:
                continue  # the coroutine it wraps goes on below: that is what the task waits for
            return found
        if known.kind == "Condition" and _is_lock(chain[-1]):
            condition = frame_locals(chain[position].frame).get(known.local)
            lock = frame_locals(chain[-1].frame).get("self")
            return Target("Lock", lock, "notified, takes its lock back", via_condition=condition)
        return _known(known.kind, frame_locals(chain[position].frame).get(known.local), chain, position)
    return _from_coroutine(chain, first, places) or _from_future(waiter)


def _is_lock(link: Link) -> bool:
    known = PRIMITIVES.get(id(link.code))
    return known is not None and known.kind == "Lock"


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


def _known(kind: str, primitive: Any, chain: Sequence[Link], position: int) -> Target:
    target = Target(kind, primitive)
    if kind == "Lock":
        entering = chain[position - 1] if position else None
        if entering is not None and entering.code.co_name == AENTER:
            manager = frame_locals(entering.frame).get("self")
            if issubclass(type(manager), asyncio.Condition):
                target.via_condition = manager
    elif kind == "TaskGroup":
        target.futures = tuple(group_children(primitive))
    elif kind == "wait":
        target.primitive = None
        target.futures = tuple(f for f in primitive or () if issubclass(type(f), asyncio.Future))
    try:
        target.detail = _detail(kind, primitive, chain[position:])
    except Exception:
        target.detail = None
    return target


def _detail(kind: str, primitive: Any, chain: Sequence[Link]) -> str | None:
    """The state of the primitive, as far as it explains the wait."""
    if kind == "Barrier":
        return f"{primitive.n_waiting} of {primitive.parties} there"
    if kind == "Queue.get":
        return "empty" if primitive.empty() else f"{primitive.qsize()} waiting to be got"
    if kind == "Queue.put":
        return f"full, maxsize {primitive.maxsize}" if primitive.full() else "not full now"
    if kind == "Queue.join":
        count = unfinished_items(primitive)
        return None if count is None else f"{count} not yet task_done()"
    if kind == "wait":
        return _deadline(chain)
    if kind == "sleep" and primitive is not None:
        return _until(primitive.when())
    if kind == "executor call":
        name = getattr(primitive, "__qualname__", None)
        return plain_name(name) if isinstance(name, str) else None
    return None


def _from_coroutine(chain: Sequence[Link], first: int, places: Places) -> Target | None:
    """Another coroutine of asyncio at the chain's end, such as ``StreamReader.read``: its name is the kind."""
    for link in chain[first:]:
        name = plain_name(link.code.co_qualname)
        if not places.is_asyncio(link.code) or name in ("Future.__await__", "wait_for"):
            continue
        scope = frame_locals(link.frame)
        if name.endswith("_wait_for_one"):
            return Target("as_completed", futures=tuple(as_completed_todo(scope)))
        return Target(name, scope.get("self"))
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
        return Target("executor call", future)
    return Target("future", future)


def tasks_behind(futures: Iterable[asyncio.Future[Any]]) -> list[asyncio.Task[Any]]:
    """The tasks whose end completes these futures, looking through nested gathers and shields."""
    found: list[asyncio.Task[Any]] = []
    stack = list(futures)
    seen: set[int] = set()
    while stack:
        future = stack.pop()
        if id(future) in seen or future.done():
            continue
        seen.add(id(future))
        if isinstance(future, asyncio.Task):
            found.append(future)
            continue
        inner = shielded(future)
        stack.extend(gather_children(future) or ([inner] if inner is not None else []))
    return found
