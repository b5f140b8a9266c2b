"""The order of a run as one number: two runs with the same happens-before order have the same.

Computed after a run from what the ready line noted (`vtloop.ready.ReadyLine.log`), for the count of distinct orders.
Happens-before, after L. Lamport, "Time, Clocks, and the Ordering of Events in a Distributed System" (CACM 1978): a step
comes after the step that made it ready, after the step of the same task before it, and after everything that ran while
it stood in the line, for that was ready at the same time and could have been overtaken.  Steps that never stood ready
together and did not wake one another are not ordered, so a turn that ends early, or a step that takes time, makes a new
order only if something else is picked because of it.  It must never influence a run.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = ["order_of"]

_START, _TURN = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
"""Stand for what came before the first step, and for the end of a turn, at which timers join."""


def order_of(log: Sequence[int]) -> int:
    """The hash of the order behind ``log``, the same in every process; O(1) a step.

    Args:
        log: Three numbers a take: number of arrival of the item (for the end of a turn its complement), how many stood
            in the line behind it, the number of its task or 0.
    """
    hashes: list[int] = []  # of each take; 0 for the end of a turn
    sums = [0]  # sums[n]: over the first n takes
    parents: list[int] = []  # of each arrival: the take during which it arrived, -1 before the first
    first: list[int] = []  # of each take: the number of the first arrival after it
    last_step: dict[int, int] = {}
    total = joined = 0
    take = 0
    known = 0  # len(parents)
    # Hot: runs once a step of every exploration.
    for born, left, task in zip(log[::3], log[1::3], log[2::3], strict=True):
        arrived = take + 1 + left
        if known < arrived:
            parents.extend([take - 1] * (arrived - known))
            known = arrived
        first.append(arrived)
        if born < 0:
            hashes.append(0)
        else:
            parent = parents[born]
            cause = hashes[parent] if parent >= 0 else _START
            if cause:
                ordinal = born - first[parent] if parent >= 0 else born
            else:
                cause, ordinal = _TURN, joined
                joined += 1
            made = hash((cause, ordinal, last_step.get(task, 0) if task else 0, sums[take] - sums[parent + 1]))
            if task:
                last_step[task] = made
            hashes.append(made)
            total += made
        sums.append(total)
        take += 1
    return hash((total, take - hashes.count(0)))
