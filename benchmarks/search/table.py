"""How the figures are printed, and the same as plain data for ``--json``."""

from __future__ import annotations

import platform
import statistics
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.search.aims import aims
from benchmarks.search.catalogue import SHAPES
from benchmarks.search.measure import Results

__all__ = ["as_data", "as_text"]


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _mean(results: Results, shape: str, scheduler: str) -> str:
    mean = results.mean(shape, scheduler)
    if mean is None:
        return "-"
    return _figure(mean) + ("*" if results.missed(shape, scheduler) else " ")


def _fixed(results: Results, shape: str) -> str:
    run = results.fixed[shape]
    return f"0 of {results.effort.fixed_runs:,}" if run is None else f"FAILS at {run:,}"


def as_text(results: Results, shapes: Sequence[str], schedulers: Sequence[str], elapsed: float) -> str:
    """The whole output: heading, table, median and worst of each scheduler, a line for each aim."""
    effort = results.effort
    rows = [("shape", "level", "needs", *(f"{name} " for name in schedulers), "repaired")]
    for shape in shapes:
        level, needs = SHAPES[shape].level, SHAPES[shape].needs
        means = (_mean(results, shape, scheduler) for scheduler in schedulers)
        rows.append((shape, level, needs or "-", *means, _fixed(results, shape)))
    for what, of in (("median", statistics.median), ("worst", max)):
        figures = (_figure(of(results.means(scheduler).values())) + " " for scheduler in schedulers)
        rows.append((what, "", "", *figures, ""))
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        f"{platform.python_implementation()} {platform.python_version()} on {sys.platform}; mean runs until the first "
        f"failure, from {effort.repetitions} base seeds, the first {effort.seed}",
        f"* not found within {effort.runs:,} runs from some of them, each of which counts as {effort.runs:,}; "
        f"{elapsed:.0f} s",
        "",
    ]
    for row in rows:
        cells = [
            cell.rjust(width) if 2 < column < len(row) - 1 else cell.ljust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        lines.append("  ".join(cells).rstrip())
    lines.insert(-2, "")
    lines += ["", "aims"]
    for aim in aims(results):
        value = "-" if aim.value is None else _figure(aim.value)
        line = f"  {aim.text:<44}{value:>7}  <= {aim.limit:<5g}{aim.verdict}"
        lines.append(f"{line}; {aim.note}" if aim.note else line)
    return "\n".join(lines)


def as_data(results: Results, shapes: Sequence[str], schedulers: Sequence[str], elapsed: float) -> dict[str, Any]:
    """The same as a dict that ``json.dumps`` accepts, with every sample."""
    return {
        "python": platform.python_version(),
        "repetitions": results.effort.repetitions,
        "runs": results.effort.runs,
        "fixed_runs": results.effort.fixed_runs,
        "seed": results.effort.seed,
        "elapsed": elapsed,
        "shapes": {
            shape: {
                "title": SHAPES[shape].title,
                "level": SHAPES[shape].level,
                "needs": SHAPES[shape].needs,
                "fixed_failure": results.fixed[shape],
                "plain_failure": results.broken.get(shape),
                "found": {scheduler: results.found[shape, scheduler] for scheduler in schedulers},
                "means": {scheduler: results.mean(shape, scheduler) for scheduler in schedulers},
            }
            for shape in shapes
        },
        "aims": [
            {"text": aim.text, "limit": aim.limit, "value": aim.value, "met": aim.met, "note": aim.note}
            for aim in aims(results)
        ],
    }
