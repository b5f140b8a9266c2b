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

__all__ = ["Take", "order_of"]

Take = tuple[int, int, int]
"""An item that was taken: its number of arrival (for the end of a turn the complement), how many then stood in the line
behind it, the number of its task or 0."""

_START, _TURN = 0x9E3779B97F4A7C15, 0xC2B2AE3D27D4EB4F
"""Stand for what came before the first step, and for the end of a turn, at which timers join."""


def order_of(log: Sequence[Take]) -> int:
    """The hash of the order behind ``log``, the same in every process; O(1) a step."""
    origins: list[tuple[int, int, int]] = []  # of each arrival: the take before it, `total` then, its first arrival
    last_step: dict[int, int] = {}
    known = take = 0  # len(origins), how many takes
    made = _START  # the hash of the last take; 0 for the end of a turn
    total = joined = steps = 0
    # Hot: runs once a step of every exploration; the row "runs-explore" of the benchmarks.
    for born, left, task in log:
        take += 1
        arrived = take + left - known
        if arrived:
            origins += [(made, total, known)] * arrived
            known += arrived
        if born < 0:
            made = 0
            continue
        cause, before, first = origins[born]
        if cause:
            ordinal = born - first
        else:
            cause, ordinal = _TURN, joined
            joined += 1
        # What ran while it stood in the line has the sum of its hashes in ``total - before``.
        made = hash((cause, ordinal, last_step.get(task, 0) if task else 0, total - before))
        if task:
            last_step[task] = made
        total += made
        steps += 1
    return hash((total, steps))
