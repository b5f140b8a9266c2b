"""What is measured of vtloop itself: the cost of a step as the line grows, and of a whole short run."""

from __future__ import annotations

import asyncio
import gc
import importlib
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

from benchmarks.contenders import Make, NotInstalled
from benchmarks.stopwatch import Stopwatch, timed

__all__ = ["runs_by_explore", "runs_by_run", "scenario", "scenario_on_loop", "step_cost"]


def step_cost(ready: int) -> Callable[[Make, bool, int], float]:
    """A sample of the cost of one step while ``ready`` tasks are always ready."""

    def sample(make: Make, real: bool, size: int) -> float:
        each = max(2, size // ready)

        async def worker() -> None:
            sleep = asyncio.sleep
            for _number in range(each):
                await sleep(0)

        async def program(watch: Stopwatch) -> None:
            watch.stop()
            started = [asyncio.ensure_future(worker()) for _number in range(ready)]
            watch.start()
            await asyncio.gather(*started)

        return timed(make, program) / (ready * (each + 1))

    sample.__doc__ = f"""One step with {ready:,} tasks ready.

    Measured: all steps of {ready:,} tasks that do nothing but ``asyncio.sleep(0)``, and a ``gather`` of them; not
    their creation.  A bigger heap costs every loop processor cache, hence the column of stock asyncio.
    """
    return sample


async def scenario() -> None:
    """A healthy program of 30 steps (callbacks of the loop): producers, consumers, a queue, a lock, a timeout."""
    lock, items, total = asyncio.Lock(), asyncio.Queue[int](maxsize=2), 0

    async def produce(first: int) -> None:
        for number in range(first, first + 2):
            await asyncio.sleep(0.01)
            await items.put(number)

    async def consume() -> None:
        nonlocal total
        for _number in range(2):
            item = await items.get()
            async with lock:
                await asyncio.sleep(0)
                total += item

    async with asyncio.timeout(5), asyncio.TaskGroup() as group:
        for first in (1, 3):
            group.create_task(produce(first))
            group.create_task(consume())
        await asyncio.sleep(0.05)
    assert total == 10, f"the scenario added up to {total}, not 10"


def scenario_on_loop(make: Make, real: bool, size: int) -> float:
    """One run of a 30-step scenario on a bare loop: made, run, closed.

    Measured in wall time, as a user waits for it.
    """
    begin = perf_counter_ns()
    for _number in range(size):
        loop = make()
        loop.run_until_complete(scenario())
        loop.close()
    return (perf_counter_ns() - begin) / size


def runs_by_run(make: Make, real: bool, size: int) -> float:
    """One run of the 30-step scenario by ``vtloop.run(scenario, seed=i)``.

    Measured in wall time: everything ``run`` does around the loop is included.
    """
    run = _of_vtloop("run")
    gc.collect()
    begin = perf_counter_ns()
    for number in range(size):
        run(scenario, seed=number)
    return (perf_counter_ns() - begin) / size


def runs_by_explore(make: Make, real: bool, size: int) -> float:
    """One run of the 30-step scenario among those of ``vtloop.explore(scenario)``.

    Measured in wall time: the whole ``explore``, its own start and end included.
    """
    explore = _of_vtloop("explore")
    gc.collect()
    begin = perf_counter_ns()
    explore(scenario, runs=size, seed=0).check()
    return (perf_counter_ns() - begin) / size


def _of_vtloop(name: str) -> Callable[..., Any]:
    try:
        found: Callable[..., Any] = getattr(importlib.import_module("vtloop"), name)
    except (ImportError, AttributeError) as error:
        raise NotInstalled(f"vtloop.{name}") from error
    return found
