"""The command: ``python -m benchmarks.museum [--only ID] [--envs DIR] [--json FILE]``.

Exit status: 0 every aim is met by the cases that could be run, 1 one is not (or none could be run), 2 usage.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.arguments import count
from benchmarks.museum.aims import aims
from benchmarks.museum.cases import Case, load
from benchmarks.museum.environments import Environments
from benchmarks.museum.table import as_data, as_text, line_of
from benchmarks.museum.trial import Outcome, Plan, try_case

__all__ = ["main"]


def _parser() -> argparse.ArgumentParser:
    listing = [f"  {case.identity:<40}{case.package}" for case in load().values()]
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.museum",
        description="Famous asyncio bugs: found in the buggy release, replayed exactly, never met in the fixed one.",
        epilog="\n".join(["cases:", *listing]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", metavar="ID", action="append", help="this case only (again for more)")
    parser.add_argument("--runs", type=count, default=1000, help="runs to find the bug within (default 1000)")
    parser.add_argument("--fixed-runs", type=count, default=2000, help="runs of the fixed version (default 2000)")
    parser.add_argument("--seed", type=int, default=0, help="the first base seed (default 0)")
    parser.add_argument("--base-seeds", type=count, default=10, help="base seeds to look from (default 10)")
    parser.add_argument("--python", default=sys.executable, help="interpreter for cases that do not name one")
    parser.add_argument("--envs", metavar="DIR", type=Path, help="keep the environments there and use them again")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write all results there as well")
    return parser


class _Usage(Exception):
    """An option that can not be followed; the message is the sentence for the user."""


def _chosen(options: argparse.Namespace) -> list[Case]:
    cases = load()
    for identity in options.only or []:
        if identity not in cases:
            raise _Usage(f"there is no case {identity!r}; there are {', '.join(cases)}")
    return [case for case in cases.values() if not options.only or case.identity in options.only]


@contextmanager
def _directory(kept: Path | None) -> Iterator[Path]:
    if kept is None:
        with tempfile.TemporaryDirectory(prefix="vtloop-museum-") as passing:
            yield Path(passing)
    else:
        kept.mkdir(parents=True, exist_ok=True)
        yield kept.resolve()


def _status(outcomes: Sequence[Outcome], plan: Plan) -> int:
    return 0 if all(aim.met and aim.value is not None for aim in aims(outcomes, plan.runs)) else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Try the cases, print the table, and give the exit status."""
    options = _parser().parse_args(argv)
    try:
        cases = _chosen(options)
        if options.json and not options.json.parent.is_dir():
            raise _Usage(f"--json {options.json}: there is no directory {str(options.json.parent)!r}")
        if options.envs and options.envs.exists() and not options.envs.is_dir():
            raise _Usage(f"--envs {options.envs}: that is not a directory")
    except _Usage as error:
        print(f"python -m benchmarks.museum: {error}", file=sys.stderr)
        return 2
    plan = Plan(options.runs, options.fixed_runs, options.seed, options.base_seeds, options.python)
    outcomes = []
    with _directory(options.envs) as directory:
        environments = Environments(directory)
        for case in cases:
            outcomes.append(try_case(case, environments, plan))
            if sys.stderr.isatty():
                print(line_of(outcomes[-1]), file=sys.stderr, flush=True)
    print(as_text(outcomes, plan))
    if options.json:
        options.json.write_text(json.dumps(as_data(outcomes, plan), indent=1) + "\n", encoding="utf-8")
    return _status(outcomes, plan)


if __name__ == "__main__":
    sys.exit(main())
