"""What the diagnosis costs while nothing is wrong: the same steps with all of it on and with all of it off.

A sample is a ratio of processor times, the two sides taken one after the other, the first of them in turns.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable
from time import process_time_ns
from typing import Any

import vtloop
from benchmarks.diagnosis.row import Row
from benchmarks.rows import ROWS
from benchmarks.steps import scenario

__all__ = ["OFF", "ON", "STEPS", "hotpath_rows", "run_ratio", "step_ratio"]

STEP_RATIO = 1.02
ON: dict[str, Any] = {"blocking": "raise", "leaks": None}
"""What ``vtloop.run`` and ``explore`` have by default."""

OFF: dict[str, Any] = {"blocking": "allow", "leaks": "allow"}
STEPS = ("switch-1", "switch-1000", "timers-1000", "timeouts", "queue", "step-10", "step-100", "step-1000")
LARGER = 4
"""How many times as many operations as in ``python -m benchmarks``: a ratio of 1.02 must stand out of the noise."""

_turn = itertools.count()


def _ratio(cost: Callable[[dict[str, Any]], float]) -> float:
    """The cost with all on by the cost with all off, each the lesser of two."""
    sides = (ON, OFF) if next(_turn) % 2 else (OFF, ON)
    least = {id(side): min(cost(side), cost(side)) for side in sides}
    return least[id(ON)] / least[id(OFF)]


def step_ratio(row: str, size: int) -> float:
    """The ratio of a row of the step benchmark, on a loop made with these options."""

    def cost(options: dict[str, Any]) -> float:
        return ROWS[row].sample(vtloop.loop_factory(**options), False, size)

    return _ratio(cost)


def run_ratio(runs: int, explored: bool) -> float:
    """The ratio of whole runs of thirty steps, by ``vtloop.run`` or by ``vtloop.explore``."""

    def cost(options: dict[str, Any]) -> float:
        began = process_time_ns()
        if explored:
            vtloop.explore(scenario, runs=runs, seed=0, **options).check()
        else:
            for number in range(runs):
                vtloop.run(scenario, seed=number, **options)
        return (process_time_ns() - began) / runs

    return _ratio(cost)


def hotpath_rows(quick: bool = False) -> list[Row]:
    """A row for each kind of step, with the aim; whole runs are told beside."""
    rows = [
        Row(
            "steps",
            f"{name}, with / without diagnosis",
            "x",
            STEP_RATIO,
            functools.partial(step_ratio, name, ROWS[name].quick if quick else LARGER * ROWS[name].size),
        )
        for name in STEPS
    ]
    for explored in (True, False):
        by = "vtloop.explore" if explored else "vtloop.run"
        sample = functools.partial(run_ratio, 20 if quick else 400, explored)
        rows.append(Row("steps", f"runs of 30 steps by {by}, with / without", "x", None, sample))
    return rows
