"""The time from the last step of a run to its verdict: deadlocks of many tasks, and main stuck beside tickers.

What is measured ends when the run has failed and its report stands, before anything is cancelled.  It is processor
time: nothing here waits, and the machine may be shared.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Awaitable, Callable, Coroutine
from time import process_time_ns
from typing import Any

from benchmarks.diagnosis.row import Row
from vtloop.errors import DeadlockError, HangError
from vtloop.options import RUN_DEFAULTS, with_values
from vtloop.run import execute

__all__ = ["SHAPES", "TICKERS", "deadlock_ms", "deadlock_rows", "hang_rows", "hang_seconds"]

DEADLOCK_MS = 50.0
HANG_SECONDS = 1.0
DEPTH = 6
TICK_NS = 1_000_000
MOST_STEPS = 200_000
"""A run whose verdict has not come by then is a failure of the benchmark."""

Start = Callable[[int], list[Coroutine[Any, Any, None]]]


def one_lock(tasks: int) -> list[Coroutine[Any, Any, None]]:
    """All wait for one lock, which the first of them holds."""
    lock = asyncio.Lock()

    async def worker() -> None:
        async with lock:
            await asyncio.get_running_loop().create_future()

    return [worker() for _ in range(tasks)]


def pairs(tasks: int) -> list[Coroutine[Any, Any, None]]:
    """Pairs, each of which takes two locks in two orders."""

    async def worker(first: asyncio.Lock, second: asyncio.Lock) -> None:
        async with first:
            await asyncio.sleep(0)
            async with second:
                pass

    made = []
    for _ in range(tasks // 2):
        left, right = asyncio.Lock(), asyncio.Lock()
        made += [worker(left, right), worker(right, left)]
    return made


def own_future(tasks: int) -> list[Coroutine[Any, Any, None]]:
    """Each waits for a future of its own."""

    async def worker() -> None:
        await asyncio.get_running_loop().create_future()

    return [worker() for _ in range(tasks)]


def deep(tasks: int) -> list[Coroutine[Any, Any, None]]:
    """Each waits six awaits deep."""

    async def worker(depth: int) -> None:
        if depth == 1:
            await asyncio.Event().wait()
        else:
            await worker(depth - 1)

    return [worker(DEPTH) for _ in range(tasks)]


def chain(tasks: int) -> list[Coroutine[Any, Any, None]]:
    """Each waits for the end of the one before."""
    made: list[asyncio.Task[None]] = []

    async def worker(number: int) -> None:
        made.append(asyncio.current_task())  # type: ignore[arg-type]
        if number:
            await made[number - 1]
        else:
            await asyncio.get_running_loop().create_future()

    return [worker(number) for number in range(tasks)]


SHAPES: dict[str, Start] = {
    "one lock": one_lock,
    "AB-BA pairs": pairs,
    "own futures": own_future,
    "six awaits deep": deep,
    "one behind another": chain,
}


def _since(main: Callable[[list[int]], Awaitable[None]], kind: type[HangError]) -> float:
    """Seconds from the note that ``main`` makes to its verdict, which has to be of a kind."""
    began, ended = list[int](), list[int]()

    def note(error: BaseException) -> None:
        if isinstance(error, HangError):
            error.report()
        ended.append(process_time_ns())

    async def program() -> None:
        await main(began)

    outcome = execute(program, with_values(RUN_DEFAULTS, max_steps=MOST_STEPS), interact=note)
    if type(outcome.error) is not kind or "budget" in str(outcome.error):
        raise AssertionError(f"not the verdict that was to be measured: {outcome.error!r}")
    return (ended[0] - began[0]) / 1e9


def deadlock_ms(shape: str, tasks: int) -> float:
    """Milliseconds from the last step to the verdict."""

    async def main(began: list[int]) -> None:
        started = [asyncio.create_task(worker) for worker in SHAPES[shape](tasks)]
        await asyncio.sleep(1)
        began.append(process_time_ns())
        await started[-1]

    return _since(main, DeadlockError) * 1e3


def hang_seconds(tickers: int, heavy: bool) -> float:
    """Seconds from main's wait for a future that nobody has, beside tickers, to the verdict."""

    async def tick() -> None:
        while True:
            await asyncio.sleep(1)
            if heavy:
                until = process_time_ns() + TICK_NS
                while process_time_ns() < until:
                    pass

    async def main(began: list[int]) -> None:
        started = [asyncio.create_task(tick()) for _ in range(tickers)]
        await asyncio.sleep(0.5)
        began.append(process_time_ns())
        await asyncio.get_running_loop().create_future()
        del started

    return _since(main, HangError)


def deadlock_rows(sizes: tuple[int, ...] = (1000, 10_000)) -> list[Row]:
    """A row for each shape and number of tasks; the aim is one for up to 1,000."""
    return [
        Row(
            "verdict",
            f"deadlock of {tasks:,} tasks, {shape}",
            "ms",
            DEADLOCK_MS if tasks <= 1000 else None,
            functools.partial(deadlock_ms, shape, tasks),
        )
        for tasks in sizes
        for shape in SHAPES
    ]


TICKERS = (1, 10, 1000)


def hang_rows(tickers: tuple[int, ...] = TICKERS) -> list[Row]:
    """A row for each number of tickers, light and heavy."""
    return [
        Row(
            "hang",
            f"main stuck beside {number:,} ticker{'s' * (number > 1)}, {'1 ms of work a tick' if heavy else 'light'}",
            "s",
            HANG_SECONDS,
            functools.partial(hang_seconds, number, heavy),
        )
        for heavy in (False, True)
        for number in tickers
    ]
