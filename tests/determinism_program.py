"""The program of ``test_determinism``: everything in asyncio whose order hangs on addresses, hashes or finalizers.

Run as a script, with a number of unrelated objects to make first, it prints the digest of every run of a fixed list.
"""

from __future__ import annotations

import asyncio
import json
import sys
from asyncio import all_tasks, as_completed  # bound early, as ``from asyncio import ...`` does in many programs
from typing import Any

from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import execute

log: list[Any] = []


async def work(number: int) -> int:
    await asyncio.sleep(0)
    await asyncio.sleep(number % 3)
    return number


async def waits() -> None:
    tasks = [asyncio.create_task(work(number), name=f"w{number}") for number in range(12)]
    done, pending = await asyncio.wait(tasks, timeout=1, return_when=asyncio.FIRST_COMPLETED)
    log.append([[task.get_name() for task in group] for group in (done, pending)])
    for task in pending:
        task.cancel()
    await asyncio.wait(pending)
    log.append([task.get_name() for task in set(tasks) if task.cancelled()])


async def completes() -> None:
    for first in as_completed([work(number) for number in range(9)]):
        log.append(await first)
    log.append([await first for first in asyncio.as_completed({work(number) for number in (5,)})])


async def looks_around() -> None:
    tasks = [asyncio.create_task(work(number)) for number in range(9)]
    await asyncio.sleep(0)
    log.append([task.get_name() for task in all_tasks()])
    log.append([task.get_name() for task in asyncio.all_tasks() if task is not asyncio.current_task()])
    await asyncio.gather(*tasks)


async def aborts() -> None:
    async def stays(number: int) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            log.append(("aborted", number))

    async def fails() -> None:
        await asyncio.sleep(1)
        raise LookupError

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(9):
                group.create_task(stays(number))
            group.create_task(fails())
    except* LookupError:
        log.append("group failed")


async def numbers(name: str) -> Any:
    try:
        for number in range(5):
            yield number
            await asyncio.sleep(0)
    finally:
        await asyncio.sleep(0)
        log.append(("closed", name))


kept: list[Any] = []


async def generates() -> None:
    for name in "abcd":
        generator = numbers(name)
        await anext(generator)
        if name < "c":
            kept.append(generator)  # closed when the run ends
        else:
            del generator  # closed by a task of the loop's own
    await asyncio.sleep(1)


async def calls() -> None:
    loop = asyncio.get_running_loop()
    results = [loop.run_in_executor(None, pow, 2, number) for number in range(5)]
    others = [asyncio.create_task(work(number)) for number in range(4)]
    log.append(await asyncio.gather(*results, asyncio.to_thread(sum, (1, 2)), *others))


async def ties() -> None:
    loop = asyncio.get_running_loop()
    for number in range(6):
        loop.call_at(2.0, log.append, ("at", number))
        loop.call_later(3.0 - number % 2, log.append, ("later", number))
        await asyncio.sleep(0.25)
    await asyncio.sleep(5)


async def eager() -> None:
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is not None:
        asyncio.get_running_loop().set_task_factory(factory)
    tasks = {asyncio.create_task(work(number)) for number in range(9)}
    log.append([task.get_name() for task in tasks])
    log.append(sorted(await asyncio.gather(*tasks)))
    asyncio.get_running_loop().set_task_factory(None)


async def forgets() -> None:
    """Tasks and rings of garbage that nobody refers to."""

    async def ring() -> None:
        own: list[Any] = []
        own.append(own)
        await asyncio.sleep(1)
        log.append("ring")

    for _ in range(5):
        asyncio.create_task(ring())
    await asyncio.sleep(2)


PARTS = (waits, completes, looks_around, aborts, generates, calls, ties, eager, forgets)


async def everything() -> None:
    for part in PARTS:
        await part()
    background = [asyncio.create_task(part()) for part in PARTS[:4]]
    await asyncio.gather(*background)


RUNS: list[dict[str, Any]] = [
    {},
    {"seed": 1},
    {"seed": 1, "interleave": "timing", "lag": 0.5},
    {"seed": 2, "interleave": "wakeups", "lag": 0.05},
    {"seed": 3, "interleave": "tasks"},
    {"seed": 4, "interleave": "tasks", "scheduler": "pct:depth=1"},
    {"seed": 5, "interleave": "tasks", "scheduler": "pct:depth=3", "lag": 1.0},
    {"seed": 6, "interleave": "timing", "scheduler": "pct"},
]


def digest(options: dict[str, Any]) -> list[Any]:
    """The digest of the events of one run, and what the program logged in it."""
    log.clear()
    kept.clear()
    outcome = execute(everything, resolve(RUN_DEFAULTS, **options), keep=None)
    assert outcome.error is None, repr(outcome.error)
    assert outcome.recording is not None
    return [outcome.recording.digest(), outcome.check, outcome.time_ns, repr(log)]


if __name__ == "__main__":
    unrelated = [object() for _ in range(int(sys.argv[1]))]
    print(json.dumps([digest(options) for options in RUNS]))
