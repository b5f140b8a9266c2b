"""Who holds a lock: who is inside its ``async with``, found at no cost to the running program.

Called by `waits`.  Inside ``async with lock`` the bound method ``lock.__aexit__`` waits on the value stack of the
coroutine; the collector's view of the coroutine shows it.  The same method is there while ``__aenter__`` still waits
for the lock, and while ``Condition.wait`` has given the lock away, so neither of these counts.  A lock taken by hand
(``await lock.acquire()``) leaves no trace, and no task is blamed for it.  anyio's locks and limiters know their owners.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import AsyncGeneratorType, CodeType
from typing import Any

from vtloop import anyio_waits
from vtloop.cpython_waits import (
    AENTER,
    CONDITION_WAIT,
    bound_exits,
    condition_lock,
    entered_by_stack,
    enters_managers,
    frame_locals,
    generator_of_context,
    identity,
)
from vtloop.diagnosis.chains import Link, Places
from vtloop.diagnosis.targets import seconds

__all__ = ["Holders"]

_HOLDABLE = (asyncio.Lock, asyncio.Condition, asyncio.Semaphore)


class Holders:
    """The locks and semaphores that tasks are inside of, and the timeouts around their waits, as of now."""

    def __init__(self, chains: Sequence[Sequence[Link]], places: Places, locks: bool = True) -> None:
        """Look at all chains; without `locks` (nobody waits for one) only for timeouts, which is quicker."""
        self._places = places
        self._all = locks
        self._enters: dict[int, bool] = {}
        self._by_lock: dict[int, list[int]] = {}
        self._limits: dict[int, float] = {}
        self._locks: list[object] = []  # keeps what the identities above stand for alive
        for index, chain in enumerate(chains):
            self._look_at(index, chain)

    def of(self, primitive: object, waiters: set[int]) -> tuple[int, ...]:
        """Indexes of the tasks inside ``async with primitive``, oldest first; empty when none can be told.

        A lock has one holder.  When several tasks look like it, those that wait for the lock themselves gave it away
        by hand inside their ``async with``; when that leaves none or several, the holder is unknown.
        """
        found = self._by_lock.get(identity(_lock_under(primitive)), [])
        if not issubclass(type(primitive), asyncio.Lock) or len(found) <= 1:
            return tuple(found)
        others = [i for i in found if i not in waiters]
        return tuple(others) if len(others) == 1 else ()

    def candidates(self, primitive: object) -> int:
        """How many tasks are inside ``async with primitive`` for all that can be seen."""
        return len(self._by_lock.get(identity(_lock_under(primitive)), ()))

    def limit_of(self, index: int, task: asyncio.Task[Any]) -> str | None:
        """When the nearest `asyncio.timeout`, or anyio cancel scope, around a task's wait ends it."""
        when = self._limits.get(index)
        scope = anyio_waits.scope_deadline(task)
        if scope is not None:
            when = scope if when is None else min(when, scope)
        return None if when is None or abs(when) >= 1e15 else f"t={seconds(round(when * 1e9))}"

    def _look_at(self, index: int, chain: Sequence[Link]) -> None:
        given_away = {
            identity(_lock_under(frame_locals(link.frame).get("self"))) for link in chain if link.code is CONDITION_WAIT
        }
        seen = {identity(link.awaitable) for link in chain}
        for position, link in enumerate(chain):
            if self._skips(link) or not self._may_hold(link.code) or getattr(link.awaitable, "cr_running", False):
                continue
            inner = chain[position + 1] if position + 1 < len(chain) else None
            entering = frame_locals(inner.frame).get("self") if inner and inner.code.co_name == AENTER else None
            for manager in _managers(link.awaitable, seen):
                if manager is entering:
                    entering = None  # one of its exits belongs to the `async with` that still waits
                elif issubclass(type(manager), asyncio.Timeout):
                    self._limit(index, manager)
                elif issubclass(type(manager), _HOLDABLE) or anyio_waits.is_holdable(manager):
                    lock = _lock_under(manager)
                    if identity(lock) not in given_away:
                        self._add(index, lock)

    def _skips(self, link: Link) -> bool:
        """asyncio's own ``async with`` blocks are no news, except the timeout inside `wait_for`."""
        if not self._places.is_internal(link.code):
            return False
        known = self._places.primitive(link.code)
        return known is None or known.kind != "wait_for"

    def _may_hold(self, code: CodeType) -> bool:
        if self._all:
            return True
        known = self._enters.get(identity(code))
        if known is None:
            known = self._enters[identity(code)] = enters_managers(code)
        return known

    def _add(self, index: int, lock: object) -> None:
        holders = self._by_lock.get(identity(lock))
        if holders is None:
            self._by_lock[identity(lock)] = [index]
            self._locks.append(lock)
        elif holders[-1] != index:
            holders.append(index)

    def _limit(self, index: int, timeout: Any) -> None:
        when = timeout.when()
        if when is not None:
            self._limits[index] = min(when, self._limits.get(index, when))


def _lock_under(manager: object) -> object:
    """The lock under a condition of either library, and under anyio's adapters; else the object itself."""
    return anyio_waits.lock_under(condition_lock(manager))


def _managers(suspended: object, seen: set[int]) -> list[object]:
    """The async context managers a suspended coroutine is inside of, through exit stacks and generators as well."""
    found: list[object] = []
    stack = [suspended]
    while stack:
        exits, owners = bound_exits(stack.pop())
        for owner in owners:
            if isinstance(owner, AsyncGeneratorType):
                if identity(owner) not in seen:
                    seen.add(identity(owner))
                    stack.append(owner)
            else:
                exits.extend(entered_by_stack(owner))  # type: ignore[arg-type]
        for bound in exits:
            manager = bound.__self__
            generator = generator_of_context(manager)
            if generator is None:
                found.append(manager)
            elif identity(generator) not in seen:
                seen.add(identity(generator))
                stack.append(generator)
    return found
