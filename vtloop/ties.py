"""Timer ties: which timers due at the same instant may change places, and an order drawn from those that may.

Called by the loop when several timers fall due together.  Real time decides: what no slower or faster machine could
invert keeps its order.  It must never change the order of timers with different deadlines.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

from vtloop.handles import TimerHandle

__all__ = ["may_swap", "order_ties"]


def may_swap(older: TimerHandle, newer: TimerHandle) -> bool:
    """Whether real time could fire ``newer`` before ``older``, though both are due at the same virtual instant.

    True for two equal ``call_at`` values (the stock heap is not stable), and when the newer timer was made at a later
    instant and has the shorter delay (on a slow machine the older one was set late).
    """
    return newer._made_ns > older._made_ns or (newer._when == older._when and newer._absolute and older._absolute)


def order_ties(due: list[TimerHandle], choose: Callable[[str, int], int]) -> list[TimerHandle]:
    """Timers that fall due together, in an order drawn by ``choose`` from those that real time allows.

    ``due`` is in (deadline, creation) order, which is also the result when every choice is 0.  Only timers with the
    same deadline change places, and only with the next seven of them; O(n).
    """
    if not any(a._when_ns == b._when_ns and may_swap(a, b) for a, b in pairwise(due)):
        return due
    first = due[0]
    if all(timer._absolute and timer._when == first._when for timer in due):
        return _any_order(due, choose)
    ordered: list[TimerHandle] = []
    near: list[TimerHandle] = []
    blocked: list[int] = []  # for each timer of ``near``: how many older ones there it may not overtake
    coming = iter(due)
    newcomer = next(coming, None)
    while near or newcomer is not None:
        while newcomer is not None and len(near) < 8 and (not near or near[0]._when_ns == newcomer._when_ns):
            count = 0
            for older in near:
                count += not may_swap(older, newcomer)
            blocked.append(count)
            near.append(newcomer)
            newcomer = next(coming, None)
        index = 0
        if len(near) > 1:
            if any(blocked):
                free = [position for position, count in enumerate(blocked) if not count]
                index = free[choose("timer", len(free))] if len(free) > 1 else 0
            else:
                index = choose("timer", len(near))
        taken = near.pop(index)
        del blocked[index]
        ordered.append(taken)
        for position in range(index, len(near)):
            if blocked[position] and not may_swap(taken, near[position]):
                blocked[position] -= 1
    return ordered


def _any_order(due: list[TimerHandle], choose: Callable[[str, int], int]) -> list[TimerHandle]:
    """`order_ties` for timers each of which may change places with each."""
    near, ordered = due[:8], []
    for timer in due[8:]:
        ordered.append(near.pop(choose("timer", 8)))
        near.append(timer)
    while near:
        ordered.append(near.pop(choose("timer", len(near)) if len(near) > 1 else 0))
    return ordered
