"""What the default scheduler is to reach, and whether it did."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.search.measure import Results

__all__ = ["MEDIAN", "WORST", "Aim", "aims"]

JUDGED = "portfolio"
"""The scheduler that the aims are for: the default one."""

MEDIAN, WORST = 25, 100


@dataclass(frozen=True, slots=True)
class Aim:
    """One aim.

    Attributes:
        text: What is to be reached, in words.
        limit: The most it may come to.
        value: What it came to; None when it was not measured.
        note: Where, if that matters.
    """

    text: str
    limit: float
    value: float | None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether it is reached; None when it was not measured."""
        return None if self.value is None else self.value <= self.limit

    @property
    def verdict(self) -> str:
        """``met``, ``NOT met`` or ``not measured``."""
        return "not measured" if self.met is None else "met" if self.met else "NOT met"


def aims(results: Results) -> list[Aim]:
    """Every aim, held against ``results``."""
    means = results.means(JUDGED)
    fixed = [shape for shape, run in results.fixed.items() if run is not None]
    broken = list(results.broken)
    listed = [
        Aim(f"{JUDGED}, median of the means", MEDIAN, statistics.median(means.values()) if means else None),
        Aim(
            f"{JUDGED}, worst of the means",
            WORST,
            max(means.values()) if means else None,
            max(means, key=means.__getitem__) if means else "",
        ),
        Aim("repaired programs that fail", 0, len(fixed) if results.fixed else None, ", ".join(fixed)),
        Aim("programs that fail in asyncio's own order", 0, len(broken) if results.fixed else None, ", ".join(broken)),
    ]
    return listed
