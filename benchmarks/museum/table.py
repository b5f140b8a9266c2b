"""How outcomes are printed, and the same as plain data for ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.museum.trial import Outcome, Plan

__all__ = ["as_data", "as_text", "line_of"]

_HEADINGS = ("case", "python", "found at", "error", "level", "replay", "seeds", "median", "worst", "fixed", "verdict")
_LONGEST = 100


def _one_line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else flat[: _LONGEST - 3] + "..."


def _verdict(outcome: Outcome) -> str:
    if outcome.absent:
        return "not run"
    if outcome.shown:
        return "shown"
    return "NOT SHOWN" if outcome.case.promised else "not yet"


def _fixed(outcome: Outcome) -> str:
    if not outcome.case.has_fixed:
        return "no release"
    if not outcome.fixed_runs:
        return "-"
    if outcome.fixed is not None:
        return f"FAILS at {outcome.fixed_runs:,}"
    return f"0 of {outcome.fixed_runs:,}"


def _cells(outcome: Outcome) -> tuple[str, ...]:
    failure, found, median = outcome.failure, outcome.found, outcome.median
    if outcome.replayed is not None:
        replay = "exact" if outcome.exact else "DIFFERS"
    else:
        replay = "-"
    return (
        outcome.case.identity,
        " / ".join(dict.fromkeys(outcome.versions.values())) or "-",
        "-" if not found else "not found" if found[0] is None else f"run {found[0]:,}",
        "-" if failure is None else failure["error"]["type"],
        "-" if failure is None else failure["level"] or "-",
        replay,
        f"{len(outcome.hits)} of {len(found)}" if found else "-",
        "-" if median is None else f"{median:,.4g}",
        "-" if not found else f"{outcome.hits[-1]:,}" if len(outcome.hits) == len(found) else "not found",
        _fixed(outcome),
        _verdict(outcome),
    )


def line_of(outcome: Outcome) -> str:
    """One line for somebody who waits: the case and how it ended."""
    cells = dict(zip(_HEADINGS, _cells(outcome), strict=True))
    return f"{cells['case']}: {outcome.not_run or cells['found at']}, {cells['verdict']}"


def _notes(outcome: Outcome) -> list[str]:
    notes = [outcome.case.note] if outcome.case.note else []
    if outcome.not_run:
        notes.append(("not run: " if outcome.absent else "stopped: ") + _one_line(outcome.not_run))
    for side, error in outcome.stock.items():
        if error is not None:
            notes.append(f"stock asyncio fails with the {side} version: {_one_line(error['type'])}")
    if outcome.failure is not None:
        error, failure = outcome.failure["error"], outcome.failure
        notes.append(f"{error['type']}: {_one_line(error['message'])} (t={failure['time']}, step {failure['step']})")
        notes.append(f"token {failure['token'] or 'none'}")
    if outcome.replayed is not None and not outcome.exact:
        error = outcome.replayed["error"] or {"type": "no error", "message": ""}
        at = f"(t={outcome.replayed['time']}, step {outcome.replayed['step']})"
        notes.append(f"replay gave {error['type']}: {_one_line(error['message'])} {at}")
    if outcome.fixed is not None:
        error = outcome.fixed["error"]
        notes.append(f"fixed version: {error['type']}: {_one_line(error['message'])}, token {outcome.fixed['token']}")
    return notes


def as_text(outcomes: Sequence[Outcome], plan: Plan) -> str:
    """The whole output: heading, table, what was found, the count."""
    rows = [_HEADINGS, *(_cells(outcome) for outcome in outcomes)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEADINGS))]
    lines = [
        f"buggy: {plan.runs:,} runs from each of {plan.base_seeds} base seeds, the first {plan.seed}; "
        f"fixed: {plan.fixed_runs:,} runs; replay in a fresh process from the token of the first find",
        "",
    ]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for outcome in outcomes:
        notes = _notes(outcome)
        if notes:
            lines += ["", outcome.case.identity, *(f"  {note}" for note in notes)]
    tried = [outcome for outcome in outcomes if not outcome.absent]
    shown = sum(outcome.shown for outcome in tried)
    lines += ["", f"{shown} of {len(tried)} shown" + _absent(len(outcomes) - len(tried))]
    return "\n".join(lines)


def _absent(count: int) -> str:
    return f", {count} not run: an interpreter is not there" if count else ""


def as_data(outcomes: Sequence[Outcome], plan: Plan) -> dict[str, Any]:
    """The same as a dict that ``json.dumps`` accepts."""
    return {
        "runs": plan.runs,
        "fixed_runs": plan.fixed_runs,
        "seed": plan.seed,
        "base_seeds": plan.base_seeds,
        "cases": [outcome.as_data() for outcome in outcomes],
    }
