"""What it costs to ask who could still wake each task: half of them stuck, half asleep, six awaits deep.

Each sample is taken in a process of its own, so that nothing but the program and what it asks for is alive; it is
processor time, because the machine may be shared.
"""

from __future__ import annotations

import asyncio
import functools
import subprocess
import sys
from collections.abc import Sequence
from time import process_time_ns

import vtloop
from benchmarks.diagnosis.row import Row
from vtloop.diagnosis.reach import reach

__all__ = ["BESIDE", "main", "reach_ms", "reach_rows"]

DEPTH = 6
OBJECTS = 300_000
AIMS = {1000: 25.0, 10_000: 150.0}
BESIDE = ("nothing", "before", "during")
"""What else is alive: nothing, 300,000 objects made before the run, or as many made during it."""

REPEATS = 3

unrelated: list[list[int]] = []


def reach_ms(tasks: int, beside: str) -> float:
    """Milliseconds for one look, the median of a few, taken in this process."""

    async def asleep(depth: int) -> None:
        await (asleep(depth - 1) if depth > 1 else asyncio.sleep(3600))

    async def stuck(depth: int) -> None:
        await (stuck(depth - 1) if depth > 1 else asyncio.get_running_loop().create_future())

    async def program() -> float:
        if beside == "during":
            unrelated.extend([number] for number in range(OBJECTS))
        for number in range(tasks):
            asyncio.get_running_loop().create_task(stuck(DEPTH) if number % 2 else asleep(DEPTH))
        await asyncio.sleep(1)
        took = []
        for _ in range(REPEATS):
            began = process_time_ns()
            found = reach(asyncio.get_running_loop())
            took.append((process_time_ns() - began) / 1e6)
            if len(found.stuck) != tasks // 2:
                raise AssertionError(f"{len(found.stuck)} of {tasks} tasks were found stuck")
        return sorted(took)[REPEATS // 2]

    unrelated.clear()
    if beside == "before":
        unrelated.extend([number] for number in range(OBJECTS))
    return vtloop.run(program, leaks="allow", watchdog=None)


def main(argv: Sequence[str]) -> int:
    """The process of one sample: prints the figure."""
    print(reach_ms(int(argv[0]), argv[1]))
    return 0


def _sample(tasks: int, beside: str) -> float:
    words = [sys.executable, "-m", "benchmarks.diagnosis.reaching", str(tasks), beside]
    return float(subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True).stdout)


def reach_rows(sizes: Sequence[int] = tuple(AIMS)) -> list[Row]:
    """A row for each number of tasks and what else is alive; no aim where that was made during the run."""
    words = {
        "nothing": "",
        "before": f", {OBJECTS:,} objects beside",
        "during": f", {OBJECTS:,} objects made in the run",
    }
    return [
        Row(
            "reach",
            f"reachability of {tasks:,} tasks{words[beside]}",
            "ms",
            AIMS.get(tasks) if beside != "during" else None,
            functools.partial(_sample, tasks, beside),
        )
        for tasks in sizes
        for beside in BESIDE
    ]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
