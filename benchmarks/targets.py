"""What vtloop promises about its speed, and whether the samples at hand keep it."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from benchmarks.measure import Results
from benchmarks.rows import ROWS

__all__ = ["Target", "verdicts"]

TIME_ROWS = tuple(row.name for row in ROWS.values() if row.kind == "time")
LIFE = "make-run-close"


@dataclass(frozen=True)
class Target:
    """One promise and what was measured.

    Attributes:
        text: What is promised, in words.
        sign: ``"<="`` or ``">="``.
        limit: The promised bound.
        value: What was measured, or None when a row or loop it needs was not.
        note: What else there is to know: the row meant, or what is missing.
    """

    text: str
    sign: str
    limit: float
    value: float | None
    note: str = ""

    @property
    def met(self) -> bool | None:
        """Whether the promise is kept; None when that can not be told."""
        if self.value is None:
            return None
        return self.value <= self.limit if self.sign == "<=" else self.value >= self.limit

    @property
    def verdict(self) -> str:
        """``met``, ``NOT met (value)`` or ``not measured``."""
        if self.value is None:
            return "not measured"
        return "met" if self.met else f"NOT met ({figure(self.value)})"


def figure(value: float) -> str:
    """A ratio with two digits, a rate in whole numbers."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.2f}"


def verdicts(results: Results) -> list[Target]:
    """Every target, in the order in which they are promised."""
    return [
        _mean(results, "fifo", "stock", 0.80),
        _mean(results, "fifo", "uvloop", 1.25),
        _mean(results, "random", "stock", 0.95),
        _life(results),
        _worst(results, 1.3),
        _growth(results, 1.5),
        _rate(results, 5000),
    ]


def _ratios(results: Results, contender: str, base: str) -> dict[str, float]:
    found = {name: results.ratio(name, contender, base) for name in TIME_ROWS}
    return {name: ratio for name, ratio in found.items() if ratio is not None}


def _mean(results: Results, contender: str, base: str, limit: float) -> Target:
    text = f"{contender} / {base}, geometric mean of the {len(TIME_ROWS)} time rows"
    ratios = _ratios(results, contender, base)
    absent = [name for name in TIME_ROWS if name not in ratios]
    if absent:
        return Target(text, "<=", limit, None, f"{len(absent)} of these rows without both, {absent[0]} for one")
    steady = statistics.geometric_mean([ratio for name, ratio in ratios.items() if name != LIFE])
    return Target(text, "<=", limit, statistics.geometric_mean(ratios.values()), f"without {LIFE} {steady:.2f}")


def _life(results: Results) -> Target:
    ratios = {name: results.ratio(LIFE, name, "stock") for name in ("fifo", "random")}
    measured = {name: ratio for name, ratio in ratios.items() if ratio is not None}
    note = ", ".join(f"{name} {ratio:.2f}" for name, ratio in measured.items())
    return Target(f"{LIFE} / stock", "<=", 0.25, max(measured.values()) if len(measured) == 2 else None, note)


def _worst(results: Results, limit: float) -> Target:
    ratios = {
        f"{contender} {name}": ratio
        for contender in ("fifo", "random")
        for name, ratio in _ratios(results, contender, "stock").items()
    }
    text = "slowest time row / stock, fifo or random"
    if not ratios:
        return Target(text, "<=", limit, None)
    worst = max(ratios, key=ratios.__getitem__)
    known = len(ratios) == 2 * len(TIME_ROWS) or ratios[worst] > limit
    slower = [f"{name} {ratio:.2f}" for name, ratio in ratios.items() if ratio > limit]
    note = ", ".join(slower) or f"{worst} {ratios[worst]:.2f}"
    return Target(text, "<=", limit, ratios[worst] if known else None, note if known else "only some rows: " + note)


def _growth(results: Results, limit: float) -> Target:
    value = results.ratio("step-10000", "random", "random", base_row="step-10")
    stock = results.ratio("step-10000", "stock", "stock", base_row="step-10")
    note = "" if stock is None else f"stock {stock:.2f}"
    return Target("cost of a step, 10,000 ready tasks / 10, random", "<=", limit, value, note)


def _rate(results: Results, limit: float) -> Target:
    text = "runs a second, 30 steps each"
    for row, by in (("runs-explore", "vtloop.explore"), ("runs-run", "vtloop.run")):
        cost = results.best(row, "random")
        if cost is not None:
            return Target(text, ">=", limit, 1e9 / cost, f"by {by}")
    return Target(text, ">=", limit, None)
