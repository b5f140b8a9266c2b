"""The command: ``python -m benchmarks.replays [--tries N] [--python VERSION]``.

Exit status: 0 every try came back exactly, 1 one did not (or a Python could not be used), 2 usage.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import sortedcontainers

from benchmarks.arguments import count
from benchmarks.museum.environments import CHECKOUT, NotAvailable, find_interpreter

__all__ = ["main"]

PYTHONS = ("3.11", "3.12", "3.13")
EXAMPLES = sorted(
    path
    for path in (CHECKOUT / "docs" / "examples").glob("*.py")
    if path.stem not in ("heartbeat_service", "virtual_time", "on_dask") and not path.stem.startswith("test_")
)
"""The examples that an exploration finds a failure in."""

OPTIONS = {"cancel": ["impatient"]}
_CHILD = Path(__file__).resolve().parent / "child.py"
_PATIENCE = 300.0


class _Failed(Exception):
    """A process that should have answered did not; the message is the last thing it said."""


def _ask(python: str, libraries: Path, hash_seed: int, question: dict[str, Any]) -> Any:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    environment |= {"PYTHONPATH": f"{CHECKOUT}{os.pathsep}{libraries}", "PYTHONHASHSEED": str(hash_seed)}
    done = subprocess.run(
        [python, "-B", str(_CHILD), json.dumps(question)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
    )
    if done.returncode:
        raise _Failed((done.stderr.strip().splitlines() or ["it said nothing"])[-1])
    return json.loads(done.stdout.splitlines()[-1])


def _try(version: str, tries: int, libraries: Path) -> tuple[str, int, int]:
    """What to print of one Python; how many of its tries came back exactly; how many there were."""
    python, full = find_interpreter([version])
    options = {"ask": "find", "examples": [str(path) for path in EXAMPLES], "options": OPTIONS}
    tokens = _ask(python, libraries, 0, options)
    made = wrong = processes = 0
    while made < tries:
        some = tokens[: tries - made]
        processes += 1
        wrong += len(_ask(python, libraries, processes, {"ask": "replay", "tokens": some}))
        made += len(some)
    line = (
        f"Python {full:<8}  {len(tokens)} tokens, {processes} processes, {made - wrong} of {made} exactly as recorded"
    )
    return line, made - wrong, made


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.replays", description="Play tokens back in fresh processes and compare every event."
    )
    parser.add_argument("--tries", type=count, default=1000, help="replays over all Pythons (default 1000)")
    parser.add_argument("--python", action="append", metavar="VERSION", help="this version only (again for more)")
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Play the tokens back, print a line for each Python, and give the exit status."""
    given = _parser().parse_args(argv)
    versions = given.python or list(PYTHONS)
    exact = made = 0
    complete = True
    with tempfile.TemporaryDirectory(prefix="vtloop-replays-") as folder:
        # The one library that vtloop needs is plain Python: no environment has to be built for it.
        shutil.copytree(Path(sortedcontainers.__file__).parent, Path(folder) / "sortedcontainers")
        for number, version in enumerate(versions):
            share = given.tries // len(versions) + (number < given.tries % len(versions))
            try:
                line, right, all_of_them = _try(version, share, Path(folder))
            except (NotAvailable, _Failed) as failed:
                print(f"Python {version}: {failed}")
                complete = False
                continue
            exact, made = exact + right, made + all_of_them
            print(line, flush=True)
    print(f"{exact} of {made} replays came back exactly")
    return 0 if complete and exact == made else 1


if __name__ == "__main__":
    sys.exit(main())
