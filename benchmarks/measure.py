"""How noise is kept out: every round measures every row on every loop, and ratios are taken within a round.

Loops take turns, in an order that rotates and reverses from round to round.  A figure is the best of its rounds (noise
only ever adds), a ratio the median of the rounds' ratios (what disturbs one round disturbs both sides).
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from time import perf_counter

from benchmarks.contenders import CONTENDERS, Make, NotInstalled
from benchmarks.rows import Row

__all__ = ["Results", "measure"]

MEMORY_ROUNDS = 2
"""Bytes are counted, not timed: one round to warm up, which is dropped, and one that counts."""

PATIENCE = 2.0
"""Wall seconds after which a cell gets no further round ..."""

FEWEST = 2
"""... once it has had this many."""


@dataclass
class Results:
    """All samples of one invocation.

    Attributes:
        samples: By row and contender, the cost of one operation by round (rounds that were left out are absent).
        failed: By row and contender, why a cell has no figure.
    """

    samples: dict[str, dict[str, dict[int, float]]] = field(default_factory=dict)
    failed: dict[tuple[str, str], str] = field(default_factory=dict)

    def add(self, row: str, contender: str, number: int, value: float) -> None:
        """Note the sample of round ``number``."""
        self.samples.setdefault(row, {}).setdefault(contender, {})[number] = value

    def best(self, row: str, contender: str) -> float | None:
        """The least of a cell's samples, or None without any."""
        values = self.samples.get(row, {}).get(contender)
        return min(values.values()) if values else None

    def ratio(self, row: str, contender: str, base: str, base_row: str | None = None) -> float | None:
        """Median over the rounds of this cell's sample divided by the base's of the same round, or None."""
        ours = self.samples.get(row, {}).get(contender, {})
        theirs = self.samples.get(base_row or row, {}).get(base, {})
        ratios = [value / theirs[number] for number, value in ours.items() if theirs.get(number)]
        return statistics.median(ratios) if ratios else None


def measure(
    rows: Sequence[Row],
    makers: Mapping[str, Make],
    *,
    rounds: int,
    quick: bool = False,
    progress: Callable[[int], None] = lambda number: None,
) -> Results:
    """Run every row on every loop it is for, ``rounds`` times over.

    A row that raises is dropped for that loop, and the reason kept; the others go on.
    """
    results, spent, names = Results(), dict[tuple[str, str], float](), list(makers)
    for number in range(rounds):
        progress(number)
        shift = number % max(1, len(names))
        order = names[shift:] + names[:shift]
        if number % 2:
            order.reverse()
        for row in rows:
            if row.kind == "memory" and number >= MEMORY_ROUNDS:
                continue
            for name in order:
                cell = (row.name, name)
                tired = number >= FEWEST and spent.get(cell, 0.0) > PATIENCE
                if tired or cell in results.failed or (row.loops and name not in row.loops):
                    continue
                begin = perf_counter()
                try:
                    value = row.sample(makers[name], CONTENDERS[name].real, row.quick if quick else row.size)
                except NotInstalled as missing:
                    results.failed[cell] = f"{missing} is missing"
                except Exception as error:  # whatever a loop does wrong is that cell's result
                    results.failed[cell] = f"{type(error).__name__}: {error}".partition("\n")[0]
                else:
                    if row.kind == "memory":
                        results.samples.get(row.name, {}).pop(name, None)
                    results.add(row.name, name, number, value)
                spent[cell] = spent.get(cell, 0.0) + perf_counter() - begin
    return results
