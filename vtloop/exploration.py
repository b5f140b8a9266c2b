"""What an exploration found, as people get it: numbers in one line, notes, and the first failure.

Filled by `vtloop.explore`.  It must never run anything.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from vtloop.warned import Warned
from vtloop.wording import counted

if TYPE_CHECKING:
    from vtloop.finding import Failure

__all__ = ["Exploration"]


@dataclass(slots=True)
class Exploration:
    """What an exploration found.

    Attributes:
        runs: How many runs were made.
        failure: The first failure, or None.
        distinct: How many different orders were taken (`vtloop.orders`).
        unseen: The estimated share of further runs that would take an order not seen yet; None after fewer than ten.
        since_new: How many runs were made since the last one that took a new order.
        elapsed: Real seconds that the runs took, without playing the failure back and shrinking it.
        notes: What else a reader should know.
        warnings: What runs did not fail with and somebody should look at, each once.
    """

    runs: int = 0
    failure: Failure | None = None
    distinct: int = 0
    unseen: float | None = None
    since_new: int = 0
    elapsed: float = 0.0
    notes: list[str] = field(default_factory=list)
    warnings: list[Warned] = field(default_factory=list)

    def check(self) -> Exploration:
        """Raise the failure's own error, with the summary as a note; the exploration itself when it is clean."""
        if self.failure is None:
            return self
        raise self.failure.error

    def headline(self) -> str:
        """The numbers in one line."""
        parts = [counted(self.runs, "run")]
        if self.distinct:  # none where a stored failure came back at once, or no loop was made
            parts.append(counted(self.distinct, "distinct order"))
        if self.unseen is not None:
            parts.append(f"about {100 * self.unseen:.0f} % unseen" if self.unseen >= 0.005 else "under 1 % unseen")
        if self.since_new:
            parts.append(f"nothing new in the last {counted(self.since_new, 'run')}")
        rate = f" ({self.runs / self.elapsed:,.0f} runs/s)" if self.elapsed else ""
        return f"{', '.join(parts)}, {self.elapsed:.2f} s{rate}"

    def __str__(self) -> str:
        found = ["no failure found"] if self.failure is None else ["FAILED", self.failure.report()]
        warned = [f"warning: {one}" for one in self.warnings]
        return "\n".join([self.headline(), *self.notes, *warned, *found])

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-ready values."""
        return {
            "runs": self.runs,
            "distinct": self.distinct,
            "unseen": self.unseen,
            "since_new": self.since_new,
            "elapsed": self.elapsed,
            "notes": list(self.notes),
            "warnings": [one.to_dict() for one in self.warnings],
            "failure": self.failure.to_dict() if self.failure is not None else None,
        }
