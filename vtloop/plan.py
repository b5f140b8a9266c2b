"""What an exploration will do: which scheduler, level and lag each of its runs has.

Run ``i`` is a pure function of (base seed, ``i``, options): nothing is learnt from one run for the next.  Used by
`vtloop.explore`, the pytest plugin and the command line.  It must never make a run.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from vtloop.entropy import RUNS_PER_SEED, run_seed
from vtloop.errors import UsageError
from vtloop.mix import LAGS, STRETCHES, first_row, row
from vtloop.options import RUN_DEFAULTS, Options, check_level, check_scheduler, resolve, with_values
from vtloop.schedulers.names import parse
from vtloop.trace import REPLAY

__all__ = ["LAGS", "STRETCHES", "Plan", "check_exact", "for_an_example"]


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
        check_exact(exact_time, options)
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
        """The options of run ``index``: scheduler, level, lag and stretch are those of the mix, ``extra`` is kept."""
        position = index
        if self.scheduler == "portfolio":
            if index == 0:
                return dataclasses.replace(self.options, lag=0.0, stretch=0.0)
            position = index - 2
        if self.scheduler == "fifo":
            return self.options
        mixed = row(position, self.ceiling) if position >= 0 else first_row(self.ceiling)
        lag, stretch = self.options.lag, self.options.stretch
        if not self.exact_time:
            lag = lag or mixed.lag
            stretch = stretch or (mixed.stretch if self.stretches else 0.0)
        scheduler = mixed.scheduler if self.scheduler == "portfolio" else self.scheduler
        drawn = {"seed": run_seed(self.seed, index), "scheduler": scheduler, "interleave": mixed.level}
        return with_values(self.options, **drawn, lag=lag, stretch=stretch, **extra)


def check_exact(exact_time: bool | None, options: Mapping[str, Any]) -> None:
    """Refuse exact time together with what makes it inexact.

    Raises:
        UsageError: Both are given.
    """
    for name in ("lag", "stretch"):
        if exact_time and options.get(name):
            raise UsageError(f"exact_time=True and {name}={options[name]!r} contradict each other; give one of them")


def for_an_example(plan: Plan) -> Plan:
    """``plan`` without a shrink while Hypothesis tries examples: only the last one, which it shows, is made small.

    Hypothesis tries hundreds before it shows one, and each shrink may take two seconds.
    """
    control = sys.modules.get("hypothesis.control")
    context = getattr(getattr(control, "_current_build_context", None), "value", None)
    return plan if getattr(context, "is_final", True) else dataclasses.replace(plan, shrink=False)


def _bound(scheduler: Any) -> int:
    kind, number = (parse(scheduler) if isinstance(scheduler, str) else None) or ("", 0)
    return number if kind == "exhaustive" else 0
