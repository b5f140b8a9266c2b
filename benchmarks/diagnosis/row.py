"""One line of the table, and how its figure is made: the median of samples that were taken in turns."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["Row", "measure"]


@dataclass
class Row:
    """One thing that is measured.

    Attributes:
        part: What ``--only`` calls the group it belongs to.
        name: What it is, in words.
        unit: Of the figure: ``"ms"``, ``"s"`` or ``"x"`` (a ratio).
        aim: The most that the figure may be; None for a row that is only told.
        sample: Takes one sample.
        samples: Those taken so far.
    """

    part: str
    name: str
    unit: str
    aim: float | None
    sample: Callable[[], float]
    samples: list[float] = field(default_factory=list)

    @property
    def value(self) -> float | None:
        """The median of the samples."""
        return statistics.median(self.samples) if self.samples else None

    @property
    def met(self) -> bool | None:
        """Whether the aim is met; None without an aim or a sample."""
        value = self.value
        return None if value is None or self.aim is None else value <= self.aim


def measure(rows: Sequence[Row], rounds: int, progress: Callable[[int], None] = lambda number: None) -> None:
    """Take a sample of every row, ``rounds`` times over, each round in another order: rotated, and reversed in turn."""
    for number in range(rounds):
        progress(number)
        shift = number % max(1, len(rows))
        order = [*rows[shift:], *rows[:shift]]
        for row in reversed(order) if number % 2 else order:
            row.samples.append(row.sample())
