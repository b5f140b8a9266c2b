"""What an exploration will do: which scheduler, level and lag each of its runs has.

Run ``i`` is a pure function of (base seed, ``i``, options): nothing is learnt from one run for the next.  Used by
`vtloop.explore`, the pytest plugin and the command line.  It must never make a run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vtloop.entropy import draw, run_seed, uniforms
from vtloop.errors import UsageError
from vtloop.options import RUN_DEFAULTS, Options, check_level, resolve, with_values
from vtloop.ready import LEVELS

__all__ = ["LAGS", "Plan"]

LAGS = (0.001, 0.02, 0.2)
"""The ladder of lags in seconds; a real machine's slow step, a garbage collection, a page fault under load."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to explore.

    Attributes:
        runs: How many runs at most.
        seed: The base seed.
        scheduler: ``"portfolio"`` for the mix, else the scheduler of every run.
        ceiling: The strongest level; weaker ones are mixed in.
        exact_time: Whether no run has lag.
        options: The options of every run.
    """

    runs: int = 1000
    seed: int = 0
    scheduler: Any = "portfolio"
    ceiling: str = "tasks"
    exact_time: bool = False
    options: Options = RUN_DEFAULTS

    @classmethod
    def of(
        cls,
        *,
        runs: int = 1000,
        seed: int = 0,
        scheduler: Any = "portfolio",
        interleave: str | None = None,
        exact_time: bool | None = None,
        ceiling: str = "tasks",
        **options: Any,
    ) -> Plan:
        """A plan from the arguments of ``explore``, checked.

        Raises:
            UsageError: A value out of range or an unknown option; the message says what is allowed.
        """
        if isinstance(runs, bool) or not isinstance(runs, int) or runs < 1:
            raise UsageError(f"runs must be a whole number, 1 or more, got {runs!r}")
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise UsageError(f"seed must be an int, got {seed!r}")
        if exact_time not in (None, True, False):
            raise UsageError(f"exact_time must be True, False or None, got {exact_time!r}")
        check_level(interleave)
        if scheduler == "portfolio":
            # Run 0, in asyncio's own order, is exact; a lag that is given belongs to all others.
            lag = resolve(RUN_DEFAULTS, seed=seed, lag=options.pop("lag", 0.0)).lag
            base = dataclasses.replace(resolve(RUN_DEFAULTS, **options), lag=lag)
        else:
            base = resolve(RUN_DEFAULTS, seed=seed, scheduler=scheduler, interleave=interleave, **options)
        return cls(runs, seed, scheduler, interleave or ceiling, bool(exact_time), base)

    def options_of(self, index: int, **extra: Any) -> Options:
        """The options of run ``index``: scheduler, level and lag are drawn from its own seed, ``extra`` is kept."""
        if index == 0 and self.scheduler == "portfolio":
            return dataclasses.replace(self.options, lag=0.0)
        seed = run_seed(self.seed, index)
        uniform = uniforms(seed, "plan").__next__
        level = self._level(uniform)
        scheduler = self._scheduler(uniform) if self.scheduler == "portfolio" else self.scheduler
        if scheduler == "fifo":
            return self.options
        lag = self.options.lag
        if not lag and not self.exact_time and uniform() < 0.4:
            lag = LAGS[draw(uniform, len(LAGS))]
        return with_values(self.options, seed=seed, scheduler=scheduler, interleave=level, lag=lag, **extra)

    def _level(self, uniform: Callable[[], float]) -> str:
        below = LEVELS[: LEVELS.index(self.ceiling) + 1]
        drawn = uniform()
        if drawn < 0.125:
            return below[0]
        if drawn < 0.5 and len(below) > 2:
            return below[1]
        return below[-1]

    @staticmethod
    def _scheduler(uniform: Callable[[], float]) -> str:
        drawn = uniform()
        if drawn < 0.5:
            return "pct:depth=1"
        return "pct:depth=3" if drawn < 0.75 else "random"
