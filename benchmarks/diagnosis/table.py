"""How the figures are printed, and the same as plain data for ``--json``."""

from __future__ import annotations

import platform
import sys
from collections.abc import Sequence
from typing import Any

from benchmarks.diagnosis.row import Row

__all__ = ["as_data", "as_text"]


def _figure(row: Row, value: float) -> str:
    return f"{value:.3f} {row.unit}" if row.unit != "ms" else f"{value:,.1f} ms"


def _line(row: Row) -> str:
    if row.value is None:
        return f"{row.name:<62}{'-':>11}"
    line = f"{row.name:<62}{_figure(row, row.value):>11}"
    if len(row.samples) > 1:
        line += f"  {_figure(row, min(row.samples)):>11}  {_figure(row, max(row.samples)):>11}"
    if row.aim is None:
        return line
    return f"{line}  <= {row.aim:g} {row.unit:<3}{'met' if row.met else 'NOT met'}"


def as_text(rows: Sequence[Row], rounds: int, quick: bool) -> str:
    """The whole output: a heading, and a line for each row: median, least, most, aim, and whether that is met."""
    python = f"{platform.python_implementation()} {platform.python_version()} on {sys.platform}"
    heading = f"{python}; up to {rounds} round{'s' * (rounds > 1)}, processor time"
    if quick:
        heading += "; quick, not to be quoted"
    columns = f"{'':<62}{'median':>11}  {'least':>11}  {'most':>11}" if rounds > 1 else f"{'':<62}{'sample':>11}"
    lines = [heading, "", columns]
    part = ""
    for row in rows:
        if part not in ("", row.part):
            lines.append("")
        part = row.part
        lines.append(_line(row))
    missed = [row.name for row in rows if row.met is False]
    asked = sum(row.aim is not None for row in rows)
    return "\n".join([*lines, "", f"aims met: {asked - len(missed)} of {asked}"])


def as_data(rows: Sequence[Row], rounds: int, quick: bool) -> dict[str, Any]:
    """The same as a dict that ``json.dumps`` accepts, with every sample."""
    return {
        "python": platform.python_version(),
        "rounds": rounds,
        "quick": quick,
        "rows": [
            {
                "part": row.part,
                "name": row.name,
                "unit": row.unit,
                "aim": row.aim,
                "value": row.value,
                "met": row.met,
                "samples": row.samples,
            }
            for row in rows
        ],
    }
