"""What an exploration will do: which scheduler, level and lag each of its runs has.

Run ``i`` is a pure function of (base seed, ``i``, options): nothing is learnt from one run for the next.  Used by
`vtloop.explore`, the pytest plugin and the command line.  It must never make a run.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from vtloop.entropy import RUNS_PER_SEED, draw, run_seed, uniforms
from vtloop.errors import UsageError
from vtloop.options import RUN_DEFAULTS, Options, check_level, check_scheduler, resolve, with_values
from vtloop.ready import LEVELS
from vtloop.schedulers.names import parse
from vtloop.trace import REPLAY

__all__ = ["LAGS", "STRETCHES", "Plan"]

LAGS = (0.001, 0.02, 0.2)
"""The ladder of lags in seconds; a real machine's slow step, a garbage collection, a page fault under load."""

STRETCHES = (0.05, 0.2, 1.0)
"""The ladder of stretches, as shares of a sleep: a slower machine, a slower service, twice the work."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to explore.

    Attributes:
        runs: How many runs at most.
        seed: The base seed.
        scheduler: ``"portfolio"`` for the mix, else the scheduler of every run.
        ceiling: The strongest level; weaker ones are mixed in.
        exact_time: Whether no run has lag or stretch.
        stretches: Whether stretch is in the mix (not under a test runner: tests assert how long things take).
        shrink: Whether a failure is made small before it is told.
        options: The options of every run.
    """

    runs: int = 1000
    seed: int = 0
    scheduler: Any = "portfolio"
    ceiling: str = "tasks"
    exact_time: bool = False
    stretches: bool = True
    shrink: bool = True
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
        stretches: bool = True,
        shrink: bool = True,
        **options: Any,
    ) -> Plan:
        """A plan from the arguments of ``explore``, checked.

        Raises:
            UsageError: A value out of range or an unknown option; the message says what is allowed.
        """
        if isinstance(runs, bool) or not isinstance(runs, int) or runs < 1:
            raise UsageError(f"runs must be a whole number, 1 or more, got {runs!r}")
        if runs > RUNS_PER_SEED:
            raise UsageError(f"runs must be at most {RUNS_PER_SEED:,}, as many as a base seed has, got {runs:,}")
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise UsageError(f"seed must be an int, got {seed!r}")
        if exact_time not in (None, True, False):
            raise UsageError(f"exact_time must be True, False or None, got {exact_time!r}")
        if not isinstance(shrink, bool):
            raise UsageError(f"shrink must be True or False, got {shrink!r}")
        check_level(interleave)
        if scheduler == "portfolio":
            # Run 0, in asyncio's own order, is exact; a lag or stretch that is given belongs to all others.
            inexact = {name: options.pop(name) for name in ("lag", "stretch") if name in options}
            given = resolve(RUN_DEFAULTS, seed=seed, **inexact)
            base = dataclasses.replace(resolve(RUN_DEFAULTS, **options), lag=given.lag, stretch=given.stretch)
        elif _bound(scheduler):
            scheduler, exact_time = check_scheduler(scheduler, exploring=True), True
            for name in ("lag", "stretch"):
                if options.get(name):
                    raise UsageError(f"an exhaustive exploration has exact time; {name}={options[name]!r} leaves it")
            # Nothing is drawn: a run is its list of choices.
            given = resolve(RUN_DEFAULTS, scheduler="random", interleave=interleave or ceiling, **options)
            base = dataclasses.replace(given, seed=None, scheduler=REPLAY)
        else:
            base = resolve(RUN_DEFAULTS, seed=seed, scheduler=scheduler, interleave=interleave, **options)
        return cls(runs, seed, scheduler, interleave or ceiling, bool(exact_time), stretches, shrink, base)

    @property
    def bound(self) -> int:
        """The most deviations of a run of an exhaustive exploration; 0 for any other."""
        return _bound(self.scheduler)

    def options_of(self, index: int, **extra: Any) -> Options:
        """The options of run ``index``: scheduler, level and lag are drawn from its own seed, ``extra`` is kept."""
        if index == 0 and self.scheduler == "portfolio":
            return dataclasses.replace(self.options, lag=0.0, stretch=0.0)
        seed = run_seed(self.seed, index)
        uniform = uniforms(seed, "plan").__next__
        level = self._level(uniform)
        scheduler = self._scheduler(uniform) if self.scheduler == "portfolio" else self.scheduler
        if scheduler == "fifo":
            return self.options
        lag, stretch = self.options.lag, self.options.stretch
        if not lag and not self.exact_time and uniform() < 0.4:
            lag = LAGS[draw(uniform, len(LAGS))]
        if not stretch and not self.exact_time and self.stretches and uniform() < 0.3:
            stretch = STRETCHES[draw(uniform, len(STRETCHES))]
        inexact = {"lag": lag, "stretch": stretch}
        return with_values(self.options, seed=seed, scheduler=scheduler, interleave=level, **inexact, **extra)

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


def _bound(scheduler: Any) -> int:
    kind, number = (parse(scheduler) if isinstance(scheduler, str) else None) or ("", 0)
    return number if kind == "exhaustive" else 0
