"""The command: ``python -m benchmarks [--quick] [--only ROW] [--loops a,b] [--json FILE]``.

Exit status: 0 everything asked for was measured (whether targets are met or not), 1 a row failed on some loop, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from benchmarks.contenders import CONTENDERS, Make, NotInstalled
from benchmarks.measure import measure
from benchmarks.rows import ROWS
from benchmarks.table import as_data, as_text

__all__ = ["main"]

ROUNDS = 11
QUICK_ROUNDS = 2


def _parser() -> argparse.ArgumentParser:
    listing = [f"  {row.name:<16}{row.title}" for row in ROWS.values()]
    columns = [f"  {contender.name:<16}{contender.title}" for contender in CONTENDERS.values()]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="vtloop beside stock asyncio, uvloop, looptime and async-solipsism, in one table.",
        epilog="\n".join(["rows:", *listing, "", "loops:", *columns]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="few rounds of few operations: shows that it works")
    parser.add_argument("--only", metavar="ROW", action="append", help="these rows only (again, or comma-separated)")
    parser.add_argument("--loops", metavar="NAMES", action="append", help="these loops only, comma-separated")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all samples there as well")
    return parser


class _Usage(Exception):
    """An option that can not be followed; the message is the sentence for the user."""


def _chosen(what: str, asked: Sequence[str] | None, allowed: Collection[str]) -> list[str]:
    """The names asked for, in the order of ``allowed``; all of them when none was asked for."""
    names = [name.strip() for part in asked or [] for name in part.split(",") if name.strip()]
    for name in names:
        if name not in allowed:
            raise _Usage(f"there is no {what} {name!r}; there are {', '.join(allowed)}")
    return [name for name in allowed if name in names or not names]


def _makers(names: Sequence[str]) -> tuple[dict[str, Make], dict[str, str]]:
    """What makes each loop that is installed, and the package of each that is not."""
    makers: dict[str, Make] = {}
    missing: dict[str, str] = {}
    for name in names:
        try:
            makers[name] = CONTENDERS[name].maker()
        except NotInstalled as package:
            missing[name] = str(package)
    return makers, missing


def _write(path: Path, data: dict[str, Any]) -> None:
    """Write under a temporary name, then rename: nobody reads half a file."""
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and give the exit status."""
    options = _parser().parse_args(argv)
    try:
        rows = [ROWS[name] for name in _chosen("row", options.only, ROWS)]
        makers, missing = _makers(_chosen("loop", options.loops, CONTENDERS))
        if not makers:
            raise _Usage(f"nothing to measure: {', '.join(missing.values())} is not installed")
        if options.json and not options.json.parent.is_dir():
            raise _Usage(f"--json {options.json}: there is no directory {str(options.json.parent)!r}")
    except _Usage as error:
        print(f"python -m benchmarks: {error}", file=sys.stderr)
        return 2
    rounds = QUICK_ROUNDS if options.quick else ROUNDS

    def progress(number: int) -> None:
        if sys.stderr.isatty():
            print(f"\rround {number + 1} of {rounds}", end="", file=sys.stderr, flush=True)

    results = measure(rows, makers, rounds=rounds, quick=options.quick, progress=progress)
    if sys.stderr.isatty():
        print("\r", end="", file=sys.stderr)
    print(as_text(rows, list(makers), results, missing, rounds=rounds, quick=options.quick))
    if options.json:
        _write(options.json, as_data(rows, list(makers), results, missing, rounds=rounds, quick=options.quick))
    return 1 if results.failed else 0


if __name__ == "__main__":
    sys.exit(main())
