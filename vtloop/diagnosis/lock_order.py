"""Locks taken in orders that could deadlock, seen in a run that did not: a suspicion, never an error.

Called by `vtloop.run` at the end of a passing run, with its notes.  The idea is that of lockdep, the lock validator of
the Linux kernel (I. Molnar, 2006): remember which lock is taken while which is held, and look for a circle.  As in
K. Havelund's GoodLock ("Using Runtime Analysis to Guide Model Checking of Java Programs", SPIN 2000) and its form for
any number of locks by P. Joshi and others (iGoodLock, PLDI 2009), a circle counts only if its steps are made by
different tasks with no lock held around all of them (a gate).  Ours differs in what it leaves out besides, because a
suspicion costs a person's time:

* steps that a wake-up, or anything put and got, set and seen, orders one after the other (`vtloop.diagnosis.orders`);
* takes that give up (inside ``asyncio.timeout``) or never wait (``if not lock.locked()``);
* locks nobody was ever suspended with: between two awaits no task can come in between.

Only a lock's release to the next in its own line does not count as order: at another pace it goes to another task.
It must never warn where in doubt.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from vtloop.diagnosis.lock_names import LockNames
from vtloop.diagnosis.orders import StepOrder
from vtloop.holding import Held, Nesting
from vtloop.warned import Warned

__all__ = ["LOCK_ORDER", "suspicions"]

LOCK_ORDER = "lock order"
"""The kind of these warnings."""

_LONGEST, _MOST_STEPS, _MOST_SUSPICIONS = 6, 50_000, 3

_Step = tuple[Nesting, Held]
"""A task took a lock (of the nesting) while it held another."""


def suspicions(notes: Any) -> list[Warned]:
    """What to warn of after the run of ``notes``, if any; while its tasks still stand as it left them."""
    if notes is None:
        return []
    holding = notes.holding
    ours = notes.loop._task_factory in (None, getattr(asyncio, "eager_task_factory", None))
    if not holding.nestings or holding.foreign or not ours or not notes.line.log:
        return []
    steps = _in_circles(
        [(one, held) for one in holding.nestings for held in one.held if holding.locks[held.lock - 1].exclusive]
    )
    if not steps:
        return []
    holding.finish()
    pending = {task._number for task in notes.loop._tasks.pending() if hasattr(task, "_number")}
    order = StepOrder(holding, notes.line, pending)
    found: list[Warned] = []
    said: set[Any] = set()
    for circle in _circles(steps, holding, order.apart):
        places = tuple(sorted((id(one.code), one.lasti) for one, _ in circle))
        if places not in said:
            said.add(places)
            found.append(_warned(circle, notes))
            if len(found) == _MOST_SUSPICIONS:
                break
    return found


def _in_circles(steps: list[_Step]) -> list[_Step]:
    """The steps whose locks lie in a circle, or between two."""
    while True:
        ends = {held.lock for _, held in steps} & {one.lock for one, _ in steps}
        left = [(one, held) for one, held in steps if held.lock in ends and one.lock in ends]
        if len(left) == len(steps):
            return left
        steps = left


def _circles(steps: list[_Step], holding: Any, apart: Callable[[Nesting, Nesting], bool]) -> Iterator[list[_Step]]:
    """The circles of different tasks that could stand in them at once, each from its first lock on."""
    by_held: dict[int, list[_Step]] = {}
    for step in steps:
        by_held.setdefault(step[1].lock, []).append(step)
    done: set[frozenset[int]] = set()
    budget = _MOST_STEPS
    for first in steps:
        paths: list[list[_Step]] = [[first]]
        while paths and budget:
            path = paths.pop()
            last, start = path[-1][0].lock, path[0][1].lock
            for step in by_held.get(last, ()):
                budget -= 1
                nesting = step[0]
                if step[1].lock < start or not all(_may_meet(nesting, other, holding, apart) for other, _ in path):
                    continue
                circle = [*path, step]
                if nesting.lock == start:
                    locks = frozenset(held.lock for _, held in circle)
                    if locks not in done and _may_close(circle, holding):
                        done.add(locks)
                        yield circle
                elif len(circle) < _LONGEST and all(held.lock != nesting.lock for _, held in circle):
                    paths.append(circle)


def _may_meet(one: Nesting, other: Nesting, holding: Any, apart: Callable[[Nesting, Nesting], bool]) -> bool:
    """Whether two tasks can stand at these takes at once."""
    if one.task == other.task:
        return False
    mine = {held.lock for held in one.held}
    gates = [held.lock for held in other.held if held.lock in mine]
    if any(holding.locks[gate - 1].permits < 2 for gate in gates):
        return False
    return apart(one, other)


def _may_close(circle: Sequence[_Step], holding: Any) -> bool:
    """Whether all of them can: semaphores let that many in, and a lock was held across an await."""
    inside: dict[int, int] = {}
    for nesting, _ in circle:
        for held in nesting.held:
            inside[held.lock] = inside.get(held.lock, 0) + 1
    if any(count > 1 and count > holding.locks[lock - 1].permits for lock, count in inside.items()):
        return False
    return any(holding.locks[held.lock - 1].across for _, held in circle)


def _danger(circle: Sequence[_Step]) -> str:
    """Who would deadlock: one task more if nobody was suspended between its two locks, but only with both."""
    between = any(nesting.asked > held.take for nesting, held in circle)
    count = len(circle) if between else len(circle) + 1
    number = {2: "two", 3: "three", 4: "four"}.get(count, str(count))
    return f"{number} tasks doing so at once {'would' if between else 'could'} deadlock"


def _warned(circle: Sequence[_Step], notes: Any) -> Warned:
    """The suspicion in words."""
    names = LockNames(circle, notes.holding.locks)
    locks = [held.lock for _, held in circle]
    called = [names.name(lock) for lock in locks]
    both = " and ".join(called) if len(called) == 2 else f"{', '.join(called[:-1])} and {called[-1]}"
    how = "in both orders" if len(circle) == 2 else "in a circle of orders"
    takes, lines, data = [], [], []
    for nesting, held in circle:
        place, before = names.place(nesting.code, nesting.lasti), names.place(held.code, held.lasti)
        where = f"{place.function} ({place.file}:{place.line})" if place is not None else nesting.label
        wanted, kept = names.name(nesting.lock), names.name(held.lock)
        takes.append(f"{where} takes {wanted} while holding {kept}")
        lines.append(f"  {nesting.label}: {where} takes {wanted}" + (f": {place.source}" if place is not None else ""))
        lines.append(f"      while holding {kept}, taken at {before.file}:{before.line}" if before is not None else "")
        data.append(
            {
                "task": nesting.label,
                "takes": wanted,
                "at": str(place) if place is not None else None,
                "holding": kept,
                "taken_at": str(before) if before is not None else None,
            }
        )
    tasks = _danger(circle)
    text = f"locks {both} were taken {how}: {', '.join(takes)}; {tasks}"
    report = [
        f"suspicion: locks {both} were taken {how}",
        *filter(None, lines),
        *(f"  {names.name(lock)}: {made}" for lock in locks if (made := names.made(lock))),
        f"  This run went well; {tasks}.  Take them in one order everywhere.",
    ]
    facts = {"locks": [{"name": names.name(lock), "made": names.made(lock)} for lock in locks], "steps": data}
    return Warned(LOCK_ORDER, text, "\n".join(report), facts)
