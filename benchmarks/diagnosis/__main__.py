"""The command: ``python -m benchmarks.diagnosis [--quick] [--only PART] [--rounds N] [--json FILE]``.

Exit status: 0 every aim that was measured is met, 1 one is not, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import count
from benchmarks.diagnosis.hotpath import hotpath_rows
from benchmarks.diagnosis.reaching import reach_rows
from benchmarks.diagnosis.row import Row, measure
from benchmarks.diagnosis.table import as_data, as_text
from benchmarks.diagnosis.verdicts import deadlock_rows, hang_rows
from vtloop.errors import UsageError

__all__ = ["main", "rows_of"]

PARTS = {
    "verdict": "from the last step to the report of a deadlock",
    "reach": "asking who could still wake each task",
    "hang": "until main is found stuck beside timers that tick",
    "steps": "the cost of a step with and without the diagnosis",
}
ROUNDS = {"verdict": 7, "reach": 5, "hang": 5, "steps": 15}


def rows_of(part: str, quick: bool) -> list[Row]:
    """The rows of a part."""
    if part == "verdict":
        return deadlock_rows((100,) if quick else (1000, 10_000))
    if part == "reach":
        return reach_rows((100,) if quick else (1000, 10_000))
    if part == "hang":
        return hang_rows((1, 10) if quick else (1, 10, 1000))
    return hotpath_rows(quick)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.diagnosis",
        description="How fast a verdict comes, and what the diagnosis costs while nothing is wrong.",
        epilog="\n".join(["parts:", *(f"  {name:<10}{title}" for name, title in PARTS.items())]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one round of small programs: shows that it works")
    parser.add_argument("--only", metavar="PART", action="append", help="these parts only (again, or comma-separated)")
    parser.add_argument("--rounds", type=count, help="samples of each row (default: 5 to 15, by part)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all samples there as well")
    return parser


def _chosen(asked: Sequence[str] | None) -> list[str]:
    names = [name.strip() for part in asked or [] for name in part.split(",") if name.strip()]
    for name in names:
        if name not in PARTS:
            raise UsageError(f"there is no part {name!r}; there are {', '.join(PARTS)}")
    return [name for name in PARTS if name in names or not names]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and give the exit status."""
    options = _parser().parse_args(argv)
    try:
        parts = _chosen(options.only)
        if options.json and not options.json.parent.is_dir():
            raise UsageError(f"--json {options.json}: there is no directory {str(options.json.parent)!r}")
    except UsageError as error:
        print(f"python -m benchmarks.diagnosis: {error}", file=sys.stderr)
        return 2
    rows, most = list[Row](), 0
    for part in parts:
        rounds = options.rounds or (1 if options.quick else ROUNDS[part])
        most = max(most, rounds)

        def progress(number: int, part: str = part, rounds: int = rounds) -> None:
            if sys.stderr.isatty():
                print(f"\r{part}: round {number + 1} of {rounds}   ", end="", file=sys.stderr, flush=True)

        found = rows_of(part, options.quick)
        measure(found, rounds, progress)
        rows += found
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    print(as_text(rows, most, options.quick))
    if options.json:
        text = json.dumps(as_data(rows, most, options.quick), indent=1)
        options.json.write_text(text + "\n", encoding="utf-8")
    return 1 if any(row.met is False for row in rows) else 0


if __name__ == "__main__":
    sys.exit(main())
