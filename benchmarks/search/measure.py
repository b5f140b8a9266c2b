"""Counting the runs until the first failure, for each shape and scheduler, in several processes.

The figures are a function of the base seeds alone: neither the number of processes nor the machine changes them.
"""

from __future__ import annotations

import logging
import multiprocessing
import statistics
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass, field
from typing import Any

import vtloop
from benchmarks.search.catalogue import SHAPES
from benchmarks.search.shape import Shape

__all__ = ["Effort", "Results", "measure"]


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is measured.

    Attributes:
        repetitions: From how many base seeds each shape is explored.
        runs: After how many runs an exploration gives up.
        fixed_runs: How many runs of each repaired program have to stay clean.
        seed: The first base seed.
    """

    repetitions: int
    runs: int
    fixed_runs: int
    seed: int = 0


@dataclass(slots=True)
class Results:
    """What was counted.

    Attributes:
        effort: How much was asked for.
        found: For shape and scheduler the runs until the first failure, by base seed; None where there was none.
        fixed: For each shape the run in which its repaired program failed, None when none did.
        broken: For each shape what it failed with in asyncio's own order, where it must not.
    """

    effort: Effort
    found: dict[tuple[str, str], list[int | None]] = field(default_factory=dict)
    fixed: dict[str, int | None] = field(default_factory=dict)
    broken: dict[str, str] = field(default_factory=dict)

    def mean(self, shape: str, scheduler: str) -> float | None:
        """Mean runs until the first failure; one that was not found counts as the most runs there were."""
        found = self.found.get((shape, scheduler))
        return statistics.fmean(self.effort.runs if runs is None else runs for runs in found) if found else None

    def missed(self, shape: str, scheduler: str) -> int:
        """How many base seeds found nothing."""
        return self.found[shape, scheduler].count(None)

    def means(self, scheduler: str) -> dict[str, float]:
        """The mean of each shape that was measured with ``scheduler``."""
        found = {shape: self.mean(shape, name) for shape, name in self.found if name == scheduler}
        return {shape: mean for shape, mean in found.items() if mean is not None}


def _search(name: str, scheduler: str, effort: Effort) -> list[int | None]:
    """The runs until the first failure, from each base seed."""
    logging.disable(logging.CRITICAL)  # failing programs are expected to log
    shape, found = SHAPES[name], list[int | None]()
    for seed in range(effort.seed, effort.seed + effort.repetitions):
        search = vtloop.explore(shape.main(), seed=seed, scheduler=scheduler, **_options(shape, effort.runs))
        found.append(None if search.failure is None else search.runs)
    return found


def _options(shape: Shape, runs: int) -> dict[str, Any]:
    return {**shape.options, "runs": runs, "shrink": False}


def _check(name: str, effort: Effort) -> tuple[str | None, int | None]:
    """What the program fails with in asyncio's own order, and the run in which its repaired twin fails."""
    logging.disable(logging.CRITICAL)
    shape, plain = SHAPES[name], None
    for repaired in (False, True):
        try:
            vtloop.run(shape.main(repaired)())
        except Exception as error:
            plain = f"{type(error).__name__}: {error}"
    search = vtloop.explore(shape.main(repaired=True), seed=effort.seed, **_options(shape, effort.fixed_runs))
    return plain, None if search.failure is None else search.runs


def measure(
    shapes: Sequence[str],
    schedulers: Sequence[str],
    effort: Effort,
    *,
    jobs: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> Results:
    """Explore each shape with each scheduler, and its repaired twin with the portfolio.

    Args:
        shapes: Names in the catalogue.
        schedulers: Names as for ``explore``.
        effort: How much to measure.
        jobs: How many processes share the work; with 1 all is done in this one.
        progress: Called after every part with how many are done, and how many there are.
    """
    results = Results(effort)
    parts = [(shape, scheduler) for scheduler in (*schedulers, None) for shape in shapes]
    found: dict[tuple[str, str | None], list[int | None] | tuple[str | None, int | None]] = {}
    if jobs == 1:
        for number, (shape, scheduler) in enumerate(parts):
            found[shape, scheduler] = _part(shape, scheduler, effort)
            if progress is not None:
                progress(number + 1, len(parts))
    else:
        with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
            begun = {pool.submit(_part, shape, scheduler, effort): (shape, scheduler) for shape, scheduler in parts}
            for number, done in enumerate(as_completed(begun)):
                found[begun[done]] = done.result()
                if progress is not None:
                    progress(number + 1, len(parts))
    for shape, scheduler in parts:
        answer = found[shape, scheduler]
        if isinstance(answer, list):
            assert scheduler is not None
            results.found[shape, scheduler] = answer
            continue
        plain, results.fixed[shape] = answer
        if plain is not None:
            results.broken[shape] = plain
    return results


def _part(shape: str, scheduler: str | None, effort: Effort) -> list[int | None] | tuple[str | None, int | None]:
    return _check(shape, effort) if scheduler is None else _search(shape, scheduler, effort)
