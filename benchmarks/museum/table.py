"""How outcomes are printed, and the same as plain data for ``--json``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.museum.aims import aims
from benchmarks.museum.trial import Outcome, Plan

__all__ = ["as_data", "as_text", "line_of"]

_HEADINGS = (
    "case",
    "python",
    "found at",
    "seeds",
    "median",
    "worst",
    "level",
    "lag",
    "stretch",
    "choices",
    "shrunk in",
    "replay",
    "fixed",
    "error",
    "verdict",
)
_LONGEST = 100


def _one_line(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= _LONGEST else flat[: _LONGEST - 3] + "..."


def _verdict(outcome: Outcome) -> str:
    if outcome.absent:
        return "not run"
    if outcome.shown:
        return "shown"
    return "NOT SHOWN"


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
        f"{len(outcome.hits)} of {len(found)}" if found else "-",
        "-" if median is None else f"{median:,.4g}",
        "-" if not found else f"{outcome.hits[-1]:,}" if len(outcome.hits) == len(found) else "not found",
        *(_finding(outcome) if failure is not None else ("-",) * 5),
        replay,
        _fixed(outcome),
        "-" if failure is None else failure["error"]["type"],
        _verdict(outcome),
    )


def _finding(outcome: Outcome) -> tuple[str, ...]:
    """Level, lag and stretch of the first finding; choices and seconds of all of them."""
    first = outcome.failures[0]
    seconds = [failure["shrinking"] for failure in outcome.failures]
    return (
        first["level"],
        f"{first['lag']:g} s" if first["lag"] else "no",
        f"{first['stretch']:.0%}" if first["stretch"] else "no",
        _range([str(count) for count in sorted(outcome.choices)]),
        _range([f"{took:.1f}" for took in sorted(seconds)]) + " s",
    )


def _range(sorted_texts: Sequence[str]) -> str:
    return "-".join(dict.fromkeys((sorted_texts[0], sorted_texts[-1])))


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
        notes += [f"choice: {_one_line(words)}" for words in failure["choices"]]
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
        f"fixed: {plan.fixed_runs:,} runs at the level of the case; "
        "level, lag, stretch, replay: the first find, shrunk; choices, shrunk in: least and most",
        "",
    ]
    lines += ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    for outcome in outcomes:
        notes = _notes(outcome)
        if notes:
            lines += ["", outcome.case.identity, *(f"  {note}" for note in notes)]
    tried = [outcome for outcome in outcomes if not outcome.absent]
    shown = sum(outcome.shown for outcome in tried)
    lines += ["", f"{shown} of {len(tried)} shown" + _absent(len(outcomes) - len(tried)), "", "aims"]
    for aim in aims(outcomes, plan.runs):
        line = f"  {aim.text:<72}{aim.value or '-':>9}  {aim.verdict}"
        lines.append(f"{line}; {aim.note}" if aim.note else line)
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
        "aims": [
            {"text": aim.text, "value": aim.value, "met": aim.met, "note": aim.note}
            for aim in aims(outcomes, plan.runs)
        ],
    }
