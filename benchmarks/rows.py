"""What is measured against other loops: one function a row, the same program for every loop.

A row gives the cost of one operation.  Its docstring says exactly what is inside the measured part.  Loops differ in
their clocks: on a virtual one time jumps, on a real one it has to pass.  So a timer program sets its timers, then
(real clocks only, watch stopped) sleeps until all are due, then lets them run.  Real loops are thereby charged for
keeping and firing timers but not for a single wait nor for the ``select`` before it: the kindest case for them, while
a virtual loop still moves its clock from deadline to deadline.
"""

from __future__ import annotations

import asyncio
import random
import time
import tracemalloc
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.contenders import Make
from benchmarks.steps import runs_by_explore, runs_by_run, scenario_on_loop, step_cost
from benchmarks.stopwatch import Stopwatch, timed

__all__ = ["ROWS", "Row"]

FIRST = 0.004
"""Seconds before the earliest deadline: above uvloop's resolution (1 ms), below which it would make no timer."""

SPREAD = 0.032
"""Seconds over which random deadlines lie."""


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        name: What ``--only`` calls it.
        kind: ``"time"`` rows count for the geometric means, ``"memory"``, ``"step"`` and ``"run"`` rows do not.
        unit: Of the printed figures.
        size: How many operations one sample does; ``quick`` is the same under ``--quick``.
        sample: ``sample(make, real, size)`` gives the cost of one operation on a new loop, in ns or bytes.
        loops: The contenders it is for; none means all.
    """

    name: str
    kind: str
    unit: str
    size: int
    quick: int
    sample: Callable[[Make, bool, int], float]
    loops: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """First sentence of the sample's docstring."""
        return (self.sample.__doc__ or "").strip().partition("\n")[0]


def switch_one(make: Make, real: bool, size: int) -> float:
    """One ``await asyncio.sleep(0)`` of the only task.

    Measured: the whole ``run_until_complete`` of a coroutine which does nothing else ``size`` times.  Each switch is a
    turn of its own, so a selector loop pays a ``select`` for each.
    """

    async def program(_: Stopwatch) -> None:
        sleep = asyncio.sleep
        for _number in range(size):
            await sleep(0)

    return timed(make, program) / size


def switch_many(make: Make, real: bool, size: int) -> float:
    """One ``await asyncio.sleep(0)`` with 1,000 tasks taking turns.

    Measured: the first step, the switches and the end of 1,000 tasks and a ``gather`` of them; not their creation.
    """
    tasks, each = 1000, max(1, size // 1000)

    async def worker() -> None:
        sleep = asyncio.sleep
        for _number in range(each):
            await sleep(0)

    async def program(watch: Stopwatch) -> None:
        watch.stop()
        started = [asyncio.ensure_future(worker()) for _number in range(tasks)]
        watch.start()
        await asyncio.gather(*started)

    return timed(make, program) / (tasks * each)


def _waves(make: Make, real: bool, delays: list[float], waves: int) -> float:
    """Cost of one timer: made by ``call_at``, kept among ``len(delays)`` pending ones, fired, its callback run."""

    def wait_uncounted(watch: Stopwatch, seconds: float) -> None:
        watch.stop()
        time.sleep(seconds)
        watch.start()

    async def program(watch: Stopwatch) -> None:
        loop = asyncio.get_running_loop()
        fired: list[int] = []
        fire, after = fired.append, max(delays) + 0.002
        for _wave in range(waves):
            done = loop.create_future()
            call_at, base = loop.call_at, loop.time()
            for delay in delays:
                call_at(base + delay, fire, 1)
            call_at(base + after, done.set_result, None)
            if real:
                wait_uncounted(watch, after + 0.002)
            await done
        if len(fired) != waves * len(delays):
            raise AssertionError(f"{len(fired)} of {waves * len(delays)} timers had fired when the last one did")

    return timed(make, program) / (waves * len(delays))


def _random_delays(pending: int) -> list[float]:
    draw = random.Random(1)
    return [FIRST + draw.random() * SPREAD for _number in range(pending)]


def timers_1000(make: Make, real: bool, size: int) -> float:
    """One timer at a random deadline among 1,000 pending.

    Measured: ``call_at`` and the firing of 1,000 timers with deadlines drawn over 32 ms, in waves; on real clocks not
    the time until they are due (see the module).  uvloop rounds deadlines to whole milliseconds.
    """
    return _waves(make, real, _random_delays(1000), max(1, size // 1000))


def timers_20000(make: Make, real: bool, size: int) -> float:
    """One timer at a random deadline among 20,000 pending.

    Measured: as with 1,000, in one wave.
    """
    return _waves(make, real, _random_delays(size), 1)


def timers_equal(make: Make, real: bool, size: int) -> float:
    """One timer among 5,000 pending, all at the same deadline.

    Measured: as with random deadlines, but a virtual clock moves once a wave.
    """
    return _waves(make, real, [FIRST] * min(size, 5000), max(1, size // 5000))


def timeouts(make: Make, real: bool, size: int) -> float:
    """One ``async with asyncio.timeout(60): await asyncio.sleep(0)``.

    Measured: 100 tasks that do it one after the other, and a ``gather`` of them; not their creation.  Each block sets
    a timer and cancels it, and no clock moves far enough for any to fire.
    """
    tasks, each = 100, max(1, size // 100)

    async def worker() -> None:
        for _number in range(each):
            async with asyncio.timeout(60):
                await asyncio.sleep(0)

    async def program(watch: Stopwatch) -> None:
        watch.stop()
        started = [asyncio.ensure_future(worker()) for _number in range(tasks)]
        watch.start()
        await asyncio.gather(*started)

    return timed(make, program) / (tasks * each)


def queue(make: Make, real: bool, size: int) -> float:
    """One item handed from a task to another through ``asyncio.Queue(maxsize=1)``.

    Measured: ``put`` and ``get`` of every item, both sides waiting for each other each time.
    """

    async def produce(items: asyncio.Queue[int]) -> None:
        for number in range(size):
            await items.put(number)

    async def program(_: Stopwatch) -> None:
        items: asyncio.Queue[int] = asyncio.Queue(maxsize=1)
        producer = asyncio.ensure_future(produce(items))
        for _number in range(size):
            await items.get()
        await producer

    return timed(make, program) / size


async def _nothing() -> None:
    return None


def make_run_close(make: Make, real: bool, size: int) -> float:
    """One life of a loop: made, ``run_until_complete`` of an empty coroutine, closed.

    Measured: all three.  Selector loops open an epoll descriptor and a socket pair each time.
    """
    watch = Stopwatch()
    watch.start()
    for _number in range(size):
        loop = make()
        loop.run_until_complete(_nothing())
        loop.close()
    watch.stop()
    return watch.ns / size


def _idle() -> None:
    return None


def bytes_per_timer(make: Make, real: bool, size: int) -> float:
    """Bytes of one pending timer.

    Measured by tracemalloc: ``call_at`` of ``size`` timers at random deadlines in the far future, handles not kept,
    after the clock has moved once, so that they are where the loop keeps them for long.  uvloop's C structures come
    from Python's raw allocator and are counted.
    """
    loop, draw = make(), random.Random(1)

    async def program() -> float:
        before = tracemalloc.get_traced_memory()[0]
        call_at, base = loop.call_at, loop.time() + 1000
        for _number in range(size):
            call_at(base + draw.random() * 1000, _idle)
        await asyncio.sleep(0.002)
        return (tracemalloc.get_traced_memory()[0] - before) / size

    return _traced(loop, program)


def bytes_per_task(make: Make, real: bool, size: int) -> float:
    """Bytes of one task that waits for a future.

    Measured by tracemalloc: ``create_task`` and the first step of ``size`` tasks, each waiting for a future made
    before; the coroutine's frame is included, as every loop has it alike.
    """
    loop = make()

    async def wait_for(future: asyncio.Future[None]) -> None:
        await future

    async def program() -> float:
        futures: list[asyncio.Future[None]] = [loop.create_future() for _number in range(size)]
        tasks: list[asyncio.Task[None] | None] = [None] * size
        before = tracemalloc.get_traced_memory()[0]
        for number, future in enumerate(futures):
            tasks[number] = loop.create_task(wait_for(future))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        used = tracemalloc.get_traced_memory()[0] - before
        for future in futures:
            future.set_result(None)
        await asyncio.gather(*(task for task in tasks if task is not None))
        return used / size

    return _traced(loop, program)


def _traced(loop: asyncio.AbstractEventLoop, program: Callable[[], object]) -> float:
    tracemalloc.start()
    try:
        result: float = loop.run_until_complete(program())  # type: ignore[arg-type]  # any coroutine of a float
    finally:
        tracemalloc.stop()
        loop.close()
    return result


_STEPPERS = ("stock", "fifo", "random")

ROWS: dict[str, Row] = {
    row.name: row
    for row in (
        Row("switch-1", "time", "ns", 15_000, 500, switch_one),
        Row("switch-1000", "time", "ns", 15_000, 2_000, switch_many),
        Row("timers-1000", "time", "ns", 4_000, 1_000, timers_1000),
        Row("timers-20000", "time", "ns", 20_000, 2_000, timers_20000),
        Row("timers-equal", "time", "ns", 15_000, 1_000, timers_equal),
        Row("timeouts", "time", "ns", 4_000, 200, timeouts),
        Row("queue", "time", "ns", 5_000, 200, queue),
        Row("make-run-close", "time", "ns", 200, 20, make_run_close),
        Row("bytes-timer", "memory", "bytes", 5_000, 1_000, bytes_per_timer),
        Row("bytes-task", "memory", "bytes", 5_000, 500, bytes_per_task),
        Row("step-10", "step", "ns", 30_000, 1_000, step_cost(10), _STEPPERS),
        Row("step-100", "step", "ns", 30_000, 1_000, step_cost(100), _STEPPERS),
        Row("step-1000", "step", "ns", 30_000, 2_000, step_cost(1000), _STEPPERS),
        Row("step-10000", "step", "ns", 40_000, 20_000, step_cost(10_000), _STEPPERS),
        Row("runs-loop", "run", "ns", 200, 10, scenario_on_loop, ("fifo", "random")),
        Row("runs-run", "run", "ns", 200, 10, runs_by_run, ("random",)),
        Row("runs-explore", "run", "ns", 1000, 10, runs_by_explore, ("random",)),
    )
}
