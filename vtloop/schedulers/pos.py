"""Partial order sampling: each step has a random rank of its own, and the foremost in the window runs.

After X. Yuan, J. Yang, R. Gu, "Partial Order Aware Concurrency Sampling", CAV 2018 (POS), in its basic form: every
pending event has an independent uniform priority, the highest runs, and the actor that ran draws anew for its next
event.  An event keeps its priority while it waits, which is what makes it no random walk: a step that once drew badly
stays behind for long.  The paper's full algorithm also redraws the pending events that race with the one that ran,
which gives a lower bound for every partial order; we do not know before a step what it will touch, so we leave that
out, and the bound with it.  Ours differs further in that the world (ends of turns, plain callbacks) hurries more in
some runs than in others: see `vtloop.schedulers.ranked.POWERS`.
"""

from __future__ import annotations

from typing import Any

from vtloop.schedulers.ranked import RankedScheduler, actor_of

__all__ = ["PosScheduler"]


class PosScheduler(RankedScheduler):
    """One rank a step."""

    name = "pos"

    def rank(self, item: Any) -> float:
        """A uniform number for each step of a task, a world's rank for all else."""
        return self.uniform() if actor_of(item[3]) is not None else self.world_rank()
