"""The command: ``python -m benchmarks.search [--quick] [--only SHAPE] [--schedulers a,b] [--json FILE]``.

Exit status: 0 every aim that was measured is met, 1 one is not, 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks.arguments import count
from benchmarks.search.aims import aims
from benchmarks.search.catalogue import SHAPES
from benchmarks.search.measure import Effort, measure
from benchmarks.search.table import as_data, as_text
from vtloop.errors import UsageError
from vtloop.options import check_scheduler

__all__ = ["main"]

SCHEDULERS = (
    "random",
    "pct:depth=2",
    "pct:depth=3",
    "pos",
    "urw",
    "delay:bound=2",
    "delay:bound=4",
    "portfolio",
)
"""What is measured side by side when nothing else is asked for."""

FIXED_RUNS = 2000
QUICK = Effort(repetitions=3, runs=200, fixed_runs=200)


def _parser() -> argparse.ArgumentParser:
    listing = [f"  {shape.name:<21}{shape.title}" for shape in SHAPES.values()]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.search",
        description="How many runs each scheduler needs to find a planted defect.",
        epilog="\n".join(["shapes:", *listing]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="few runs from few seeds: shows that it works")
    parser.add_argument("--only", metavar="SHAPE", action="append", help="these only (again, or comma-separated)")
    parser.add_argument("--schedulers", metavar="NAMES", action="append", help="these only, comma-separated")
    parser.add_argument("--repetitions", type=count, help="base seeds for each figure (default 25)")
    parser.add_argument("--runs", type=count, help="runs after which a search gives up (default 1000)")
    parser.add_argument("--seed", type=int, default=0, help="the first base seed (default 0)")
    parser.add_argument("--jobs", type=count, default=os.cpu_count() or 1, help="processes (default: one a CPU)")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all samples there as well")
    return parser


def _names(asked: Sequence[str] | None) -> list[str]:
    return [name.strip() for part in asked or [] for name in part.split(",") if name.strip()]


def _shapes(asked: Sequence[str] | None) -> list[str]:
    names = _names(asked)
    for name in names:
        if name not in SHAPES:
            raise UsageError(f"there is no shape {name!r}; there are {', '.join(SHAPES)}")
    return [name for name in SHAPES if name in names or not names]


def _schedulers(asked: Sequence[str] | None) -> list[str]:
    names = list(dict.fromkeys(_names(asked))) or list(SCHEDULERS)
    for name in names:
        if name != "portfolio":
            check_scheduler(name)
    return names


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the table, and give the exit status."""
    options = _parser().parse_args(argv)
    try:
        shapes, schedulers = _shapes(options.only), _schedulers(options.schedulers)
        if options.json and not options.json.parent.is_dir():
            raise UsageError(f"--json {options.json}: there is no directory {str(options.json.parent)!r}")
    except UsageError as error:
        print(f"python -m benchmarks.search: {error}", file=sys.stderr)
        return 2
    usual = QUICK if options.quick else Effort(repetitions=25, runs=1000, fixed_runs=FIXED_RUNS)
    effort = Effort(
        options.repetitions or usual.repetitions, options.runs or usual.runs, usual.fixed_runs, options.seed
    )

    def progress(done: int, of: int) -> None:
        if sys.stderr.isatty():
            print(f"\r{done} of {of}", end="\r" if done == of else "", file=sys.stderr, flush=True)

    began = time.perf_counter()
    results = measure(shapes, schedulers, effort, jobs=options.jobs, progress=progress)
    elapsed = time.perf_counter() - began
    print(as_text(results, shapes, schedulers, elapsed))
    if options.json:
        data = as_data(results, shapes, schedulers, elapsed)
        options.json.write_text(json.dumps(data, indent=1) + "\n", encoding="utf-8")
    return 1 if any(aim.met is False for aim in aims(results)) else 0


if __name__ == "__main__":
    sys.exit(main())
