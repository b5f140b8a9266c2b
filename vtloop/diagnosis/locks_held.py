"""The locks whose holder is known for certain: then its end alone can wake their waiters, whoever else has the lock.

Called by `reach`.  A lock of a module is in everybody's reach, but who does not hold it does not release it.  It looks
at value stacks, and never at frames: that is what makes it cheap enough for thousands of tasks.
"""

from __future__ import annotations

import asyncio
import gc
from types import CoroutineType, MethodType
from typing import Any

from vtloop import cpython_heap
from vtloop.cpython_waits import AENTER, CONDITION_WAIT, condition_lock
from vtloop.diagnosis.heap import key_of

__all__ = ["locks_held", "releases"]


def locks_held(chains: dict[int, list[Any]]) -> tuple[list[Any], dict[int, int]]:
    """The locks that blocked tasks wait for, and by identity the task that holds each, where it is known for certain.

    Certain is: one blocked task is inside ``async with lock`` and does not wait for that lock itself.
    """
    waited: dict[int, Any] = {}
    waiting: dict[int, set[int]] = {}
    for key, parts in chains.items():
        last = parts[-1] if parts else None
        if type(last) is CoroutineType and last.cr_code is cpython_heap.LOCK_ACQUIRE:
            lock = next((x for x in gc.get_referents(last) if issubclass(type(x), asyncio.Lock)), None)
            if lock is not None:
                waited[key_of(lock)] = lock
                waiting.setdefault(key_of(lock), set()).add(key)
    found: dict[int, list[int]] = {}
    for key, parts in chains.items() if waited else ():
        for lock_key in _inside(parts, waited):
            found.setdefault(lock_key, []).append(key)
    holder = {
        lock_key: keys[0]
        for lock_key, keys in found.items()
        if len(keys) == 1 and keys[0] not in waiting[lock_key] and _is_plain(waited[lock_key])
    }
    return [waited[key] for key in holder], holder


def releases(heap: Any, holder: dict[int, int]) -> list[Any]:
    """The bound methods among the objects by which somebody else could release one of the locks that are held.

    Those that each condition has as an attribute are not meant: its users must hold the lock themselves.
    """
    if not holder:
        return []
    conditions = heap.of_kinds({kind for kind in set(heap.kinds) if issubclass(kind, asyncio.Condition)})
    usual = {key_of(value) for condition in conditions for value in vars(condition).values()}
    found = [m for m in heap.of_kinds({MethodType}) if m.__func__ in _RELEASES and key_of(m) not in usual]
    return [method for method in found if key_of(condition_lock(method.__self__)) in holder]


_RELEASES = (asyncio.Lock.release, asyncio.Lock.__aexit__)


def _is_plain(lock: Any) -> bool:
    return type(lock) is asyncio.Lock and lock.locked()


def _inside(parts: list[Any], waited: dict[int, Any]) -> set[int]:
    """The identities of the locks among ``waited`` that a task with this chain is inside of."""
    found: set[int] = set()
    given_away: set[int] = set()
    for position, part in enumerate(parts):
        code = getattr(part, "cr_code", None)
        referents = gc.get_referents(part)
        if code is CONDITION_WAIT:
            given_away |= {key_of(condition_lock(x)) for x in referents if issubclass(type(x), asyncio.Condition)}
            continue
        inner = getattr(parts[position + 1], "cr_code", None) if position + 1 < len(parts) else None
        entering = gc.get_referents(parts[position + 1]) if inner is not None and inner.co_name == AENTER else []
        for thing in referents:
            if type(thing) is MethodType and getattr(thing.__func__, "__name__", "") == "__aexit__":
                lock = condition_lock(thing.__self__)
                if key_of(lock) in waited and not any(thing.__self__ is one for one in entering):
                    found.add(key_of(lock))
    return found - given_away
