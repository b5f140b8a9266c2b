"""Odds: answers to every choice other than the next step, for all schedulers that draw from a seed.

Two-level randomness, as in FoundationDB's simulation: what a run may do at all is drawn once for the run, then each
occasion is drawn by itself.  So runs differ in kind, not only in detail: some never cancel, some cancel early.  Index 0
is the calm day's answer and has a good share everywhere.  It must never look at the ready line.
"""

from __future__ import annotations

from collections.abc import Callable

from vtloop.entropy import draw, stream

__all__ = ["CANCEL_AFTER", "CANCEL_BEFORE", "Odds"]

CANCEL_BEFORE, CANCEL_AFTER = "cancel before", "cancel after"
"""Kinds of choice: cancel a task just before it resumes with what it waited for, or while that is still pending."""

CANCELLING = 0.7
"""The share of runs that cancel at all, if there is a task that may be cancelled."""

ENABLED = 0.25
"""The share of runs in which a `vtloop.sometimes` of a given name can fire."""


class Odds:
    """What one run may do besides reordering, and how likely; a function of the seed and of what is asked.

    Args:
        seed: The seed of the run.
    """

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._uniform: Callable[[], float] | None = None
        self._sites: dict[str, bool] = {}
        self._cancel_kind = ""
        self._cancel_chance = 0.0
        self._cancels_left = 0

    def choose(self, kind: str, options: int, name: str = "", p: float | None = None) -> int:
        """One of ``options``.

        Args:
            kind: What is chosen.
            options: How many there are, at least 2.
            name: For "sometimes": its name, by which it is enabled for the run or not.
            p: The chance of an answer other than 0, where the asker knows it.
        """
        # Seeding a generator costs as much as ten steps: runs without such a choice need none.
        uniform = self._uniform if self._uniform is not None else self._begin()
        if kind in (CANCEL_BEFORE, CANCEL_AFTER):
            if kind != self._cancel_kind or not self._cancels_left or uniform() >= self._cancel_chance:
                return 0
            self._cancels_left -= 1
            return 1
        if kind == "sometimes":
            enabled = self._sites.get(name)
            if enabled is None:
                enabled = self._sites[name] = uniform() < ENABLED
            if not enabled:
                return 0
        elif kind in ("lag", "stretch"):
            p = 0.5
        if p is None:
            return draw(uniform, options)
        return 1 + draw(uniform, options - 1) if uniform() < p else 0

    def _begin(self) -> Callable[[], float]:
        uniform = self._uniform = stream(self._seed, "odds").random
        if uniform() < CANCELLING:
            self._cancel_kind = CANCEL_BEFORE if uniform() < 0.5 else CANCEL_AFTER
            self._cancel_chance = (0.1, 0.3, 0.6)[draw(uniform, 3)]
            self._cancels_left = 1 if uniform() < 0.8 else 1_000
        return uniform
