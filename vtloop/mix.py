"""The mix: which level, scheduler, lag and stretch each run of an exploration has, as a function of its number alone.

Three cycles go round side by side.  Their lengths have no common factor, so that every pair meets within 99 runs and
every three within 792, and the shares are kept by any number of runs, not only in the long run.  Chosen on two sets of
programs, the planted defects of ``benchmarks.search`` and the real ones of ``benchmarks.museum``; `docs/design.md` has
the figures.  Used by `vtloop.plan`.  It must never draw anything: what is drawn within a run is the schedulers' part.
"""

from __future__ import annotations

from dataclasses import dataclass

from vtloop.ready import LEVELS

__all__ = ["LAGS", "STRETCHES", "Row", "first_row", "row"]

LAGS = (0.000_05, 0.001, 0.02, 0.2)
"""The ladder of lags in seconds; a slow step, a page fault, a garbage collection, a machine under load."""

STRETCHES = (0.05, 0.2, 1.0)
"""The ladder of stretches, as shares of a sleep: a slower machine, a slower service, twice the work."""

_DOWN = (0, 1, 0, 0, 2, 0, 0, 0)
"""Levels below the ceiling.  Most bugs show at each of them about as often as at the strongest; some only there."""

_SCHEDULERS = ("urw", "pos", "pct:depth=3", "urw", "pos", "pct:depth=2", "urw", "pos", "random")
"""Who orders the steps: each of the first three finds at once what takes another a hundred runs."""

_TIMES = (
    (LAGS[3], STRETCHES[2]),
    (LAGS[3], 0.0),
    (0.0, 0.0),
    (LAGS[2], STRETCHES[1]),
    (0.0, 0.0),
    (LAGS[1], STRETCHES[0]),
    (0.0, 0.0),
    (LAGS[3], 0.0),
    (0.0, STRETCHES[2]),
    (LAGS[0], STRETCHES[1]),
    (0.0, 0.0),
)
"""Lag and stretch.  They cost other bugs little, and some races of timers show in every run that has enough of them."""


@dataclass(frozen=True, slots=True)
class Row:
    """What a run has.

    Attributes:
        level: How far it may depart from asyncio's order.
        scheduler: Who orders the steps.
        lag: The most that a step may take.
        stretch: The most by which a sleep may last longer.
    """

    level: str
    scheduler: str
    lag: float
    stretch: float


def row(position: int, ceiling: str) -> Row:
    """The row at ``position``, counted from 0, of the cycles below ``ceiling``."""
    strongest = LEVELS.index(ceiling)
    lag, stretch = _TIMES[position % len(_TIMES)]
    level = LEVELS[max(strongest - _DOWN[position % len(_DOWN)], 0)]
    return Row(level, _SCHEDULERS[position % len(_SCHEDULERS)], lag, stretch)


def first_row(ceiling: str) -> Row:
    """What comes before the cycles: each turn backwards, which needs no luck."""
    return Row(LEVELS[min(LEVELS.index(ceiling), 1)], "reversed", LAGS[2], STRETCHES[1])
