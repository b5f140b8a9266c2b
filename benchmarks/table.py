"""How results are printed, and the same as plain data for ``--json``."""

from __future__ import annotations

import platform
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.contenders import versions
from benchmarks.measure import Results
from benchmarks.rows import Row
from benchmarks.targets import figure, verdicts

__all__ = ["as_data", "as_text"]

Missing = Mapping[str, str]


def _heading(rounds: int, quick: bool) -> str:
    packages = ", ".join(f"{name} {version}" for name, version in sorted(versions().items()))
    kind = "quick, not to be quoted" if quick else "best of the rounds; in brackets median of the ratios to stock"
    return (
        f"{platform.python_implementation()} {platform.python_version()} on {sys.platform}; {packages}\n"
        f"{rounds} rounds, loops taking turns, processor time (runs: wall time); {kind}"
    )


def _cell(results: Results, row: Row, name: str) -> str:
    best, ratio = results.best(row.name, name), results.ratio(row.name, name, "stock")
    if best is None:
        return "failed" if (row.name, name) in results.failed else "-"
    if ratio is None or name == "stock":
        return f"{best:,.0f}       "
    return f"{best:,.0f} ({ratio:4.2f})"


def as_text(
    rows: Sequence[Row], names: Sequence[str], results: Results, missing: Missing, *, rounds: int, quick: bool
) -> str:
    """The whole output: heading, table, what is missing or failed, one line for each target."""
    lines = [_heading(rounds, quick), ""]
    lines.append(f"{'row':<16}{'unit':<6}" + "".join(f"{name:>17}" for name in names) + "  fifo/uvloop")
    for row in rows:
        ratio = results.ratio(row.name, "fifo", "uvloop")
        beside = "" if ratio is None else f"{ratio:13.2f}"
        cells = "".join(f"{_cell(results, row, name):>17}" for name in names)
        lines.append(f"{row.name:<16}{row.unit:<6}{cells}{beside}".rstrip())
    lines.append("")
    lines += [f"missing: {name} ({package} is not installed)" for name, package in missing.items()]
    lines += [f"failed: {name} in {row}: {why}" for (row, name), why in results.failed.items()]
    lines.append("targets")
    for target in verdicts(results):
        value = "-" if target.value is None else figure(target.value)
        bound = f"{target.sign} {figure(target.limit)}"
        line = f"  {target.text:<52}{value:>7}  {bound:<9}  {target.verdict}"
        lines.append(f"{line}; {target.note}" if target.note else line)
    return "\n".join(lines)


def as_data(
    rows: Sequence[Row], names: Sequence[str], results: Results, missing: Missing, *, rounds: int, quick: bool
) -> dict[str, Any]:
    """The same as a dict that ``json.dumps`` accepts, with every sample."""
    return {
        "python": platform.python_version(),
        "packages": versions(),
        "rounds": rounds,
        "quick": quick,
        "missing": dict(missing),
        "rows": {
            row.name: {
                "unit": row.unit,
                "kind": row.kind,
                "loops": {
                    name: {
                        "best": results.best(row.name, name),
                        "to_stock": results.ratio(row.name, name, "stock"),
                        "to_uvloop": results.ratio(row.name, name, "uvloop"),
                        "samples": list(results.samples[row.name][name].values()),
                    }
                    for name in names
                    if name in results.samples.get(row.name, {})
                },
            }
            for row in rows
        },
        "failed": [{"row": row, "loop": name, "why": why} for (row, name), why in results.failed.items()],
        "targets": [
            {
                "text": target.text,
                "sign": target.sign,
                "limit": target.limit,
                "value": target.value,
                "met": target.met,
                "note": target.note,
            }
            for target in verdicts(results)
        ],
    }
