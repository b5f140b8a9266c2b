"""How long a shrink takes: ``python -m benchmarks.shrinking [--seeds N]``.

A lost update of two tasks among thirty that only make noise, 3,000 steps long. Its failing run is found from several
base seeds and shrunk. Exit status: 0 each shrink took at most 2 s, 1 one took longer, 2 usage.
"""

from __future__ import annotations

import argparse
import asyncio
import functools
import sys
import time
from collections.abc import Sequence

import vtloop
from benchmarks.arguments import count
from vtloop.playback import replay_outcome
from vtloop.run import execute
from vtloop.shrink import Shrinker

__all__ = ["main"]

AIM = 2.0
"""Seconds that a shrink may take."""

WORKERS, ROUNDS = 30, 20


async def program() -> None:
    """Two tasks count to two, one of them with an await in the wrong place; thirty others keep the loop busy."""
    total, lock = 0, asyncio.Lock()

    async def worker(number: int) -> None:
        for _ in range(ROUNDS):
            await asyncio.sleep(0.01 * (number % 7 + 1))
            await asyncio.sleep(0)
            async with lock:
                await asyncio.sleep(0)

    async def add(waits: bool) -> None:
        nonlocal total
        for _ in range(ROUNDS // 2):
            await asyncio.sleep(0.05)
        if not waits:
            await asyncio.sleep(0)
        seen = total
        if waits:
            await asyncio.sleep(0)
        total = seen + 1

    await asyncio.gather(*(worker(number) for number in range(WORKERS)), add(True), add(False))
    assert total == 2, f"total is {total}"


def _one(seed: int) -> float | None:
    """Find, shrink and explain the failure of one base seed, and print a line; the seconds of the shrink."""
    failure = vtloop.explore(program, seed=seed, shrink=False).failure
    if failure is None:
        print(f"{seed:>4}  not found within 1,000 runs")
        return None
    run_once = functools.partial(execute, program)
    outcome = replay_outcome(failure.trace, run_once)
    began = time.perf_counter()
    made = Shrinker(run_once).shrink(outcome)
    shrunk = time.perf_counter() - began
    began = time.perf_counter()
    small = vtloop.shrink(failure, program)
    whole = time.perf_counter() - began
    whether = "" if small.minimal else "  not to the end"
    print(
        f"{seed:>4}  {failure.step:>6,}  {len(failure.choices):>7,}  {len(small.choices):>5}  {made.replays:>7}  "
        f"{shrunk:>6.2f} s  {whole:>6.2f} s{whether}",
        flush=True,
    )
    return shrunk


def main(argv: Sequence[str] | None = None) -> int:
    """Print a line for each base seed and the aim; the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.shrinking", description="How long a shrink takes.")
    parser.add_argument("--seeds", type=count, default=8, metavar="N", help="base seeds, from 0 on (default 8)")
    given = parser.parse_args(argv)
    print("seed   steps  choices  left  replays    shrink  with replay and explaining")
    took = [seconds for seed in range(given.seeds) if (seconds := _one(seed)) is not None]
    met = len(took) == given.seeds and max(took) <= AIM
    longest = f"{max(took):.2f} s" if took else "none found"
    print(f"longest shrink {longest}  <= {AIM:g} s  {'met' if met else 'NOT met'}")
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main())
