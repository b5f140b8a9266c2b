"""What the museum is to show, and whether it did."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from benchmarks.museum.trial import Outcome

__all__ = ["Aim", "aims"]

MEDIAN, LATEST, FEW, SHARE = 5, 300, 3, 0.8


@dataclass(frozen=True, slots=True)
class Aim:
    """One aim.

    Attributes:
        text: What is to be reached, in words.
        value: What it came to, in words; None when nothing was measured.
        met: Whether it is reached.
        note: Which cases fall short.
    """

    text: str
    value: str | None
    met: bool
    note: str = ""

    @property
    def verdict(self) -> str:
        """``met``, ``NOT met`` or ``not measured``."""
        return "not measured" if self.value is None else "met" if self.met else "NOT met"


def aims(outcomes: Sequence[Outcome], runs: int) -> list[Aim]:
    """Every aim, held against the cases that could be tried; ``runs`` is within how many a bug has to be found."""
    tried = [outcome for outcome in outcomes if not outcome.absent]
    medians = {outcome.case.identity: _median(outcome) for outcome in tried}
    middle = statistics.median(medians.values()) if medians else None
    latest = max(medians.values(), default=None)
    late = [name for name, median in medians.items() if median > LATEST]
    counts = [count for outcome in tried for count in outcome.choices]
    few = sum(count <= FEW for count in counts)
    many = [outcome.case.identity for outcome in tried if any(count > FEW for count in outcome.choices)]
    return [
        _all(
            f"found within {runs:,} runs from every base seed", tried, lambda o: bool(o.found) and None not in o.found
        ),
        Aim(f"median of the medians at most {MEDIAN}", _figure(middle), middle is not None and middle <= MEDIAN),
        Aim(f"no median above {LATEST}", _figure(latest), not late, ", ".join(late)),
        _all("played back exactly in a fresh process", tried, lambda outcome: outcome.exact),
        Aim(
            f"shrunk to at most {FEW} choices: at least {SHARE:.0%} of the findings",
            f"{few / len(counts):.0%}" if counts else None,
            bool(counts) and few >= SHARE * len(counts),
            ", ".join(many),
        ),
        _all(
            "the weakest label of the findings is the level that the case needs",
            tried,
            lambda outcome: outcome.labelled,
        ),
        _all("fixed version clean at that level", tried, lambda outcome: outcome.clean),
    ]


def _median(outcome: Outcome) -> float:
    return float("inf") if outcome.median is None else outcome.median


def _figure(value: float | None) -> str | None:
    return None if value is None else f"{value:,.4g}"


def _all(text: str, tried: Sequence[Outcome], holds: Callable[[Outcome], bool]) -> Aim:
    short = [outcome.case.identity for outcome in tried if not holds(outcome)]
    value = f"{len(tried) - len(short)} of {len(tried)}" if tried else None
    return Aim(text, value, not short, ", ".join(short))
