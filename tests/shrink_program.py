"""Programs with planted failures for the shrinker, and what must be equal wherever one is shrunk.

Run as a script it shrinks the failures of a few base seeds and prints what came of them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Callable, Coroutine
from typing import Any

import vtloop

__all__ = ["Broken", "PROGRAMS", "facts", "late_lock", "long", "opposite", "slow", "told", "two_holds"]

Main = Callable[[], Coroutine[Any, Any, Any]]


class Broken(Exception):
    """What programs raise on purpose."""


async def late_lock() -> None:
    """A reader that trusts what it saw before its last await; only wake-ups need to change places."""
    order: list[str] = []
    start = asyncio.Event()

    async def one(name: str) -> None:
        await start.wait()
        order.append(name)

    tasks = [asyncio.create_task(one(name), name=name) for name in ("ann", "bob", "cat", "dan")]
    await asyncio.sleep(1)
    start.set()
    await asyncio.gather(*tasks)
    if order.index("cat") < order.index("bob"):
        raise Broken("cat came before bob")


async def two_holds() -> None:
    """Two rounds, in each of which another pair has to change places."""
    order: list[str] = []

    async def one(name: str, start: asyncio.Event) -> None:
        await start.wait()
        order.append(name)

    wrong = 0
    for round in range(2):
        start = asyncio.Event()
        names = [f"{name}{round}" for name in "abc"]
        tasks = [asyncio.create_task(one(name, start), name=name) for name in names]
        await asyncio.sleep(1)
        start.set()
        await asyncio.gather(*tasks)
        wrong += order.index(names[2]) < order.index(names[round])
    if wrong == 2:
        raise Broken("both rounds")


async def opposite() -> None:
    """Two locks in opposite orders."""
    first, second = asyncio.Lock(), asyncio.Lock()

    async def take(one: asyncio.Lock, other: asyncio.Lock, naps: int) -> None:
        for _ in range(naps):
            await asyncio.sleep(0)
        async with one:
            await asyncio.sleep(0)
            async with other:
                pass

    await asyncio.gather(take(first, second, 0), take(second, first, 4))


async def slow() -> None:
    """Right as long as no step takes time."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.010, done.set)
    try:
        async with asyncio.timeout(0.011):
            await done.wait()
    except TimeoutError:
        raise Broken("too slow") from None


async def told() -> None:
    """A sleep that stands for work, and a deadline that forgets that it may take longer."""
    started = asyncio.get_running_loop().time()
    await asyncio.sleep(1)
    if asyncio.get_running_loop().time() - started > 1.03:
        raise Broken("took too long")


def long(workers: int = 30, rounds: int = 20) -> Main:
    """The lost update of two tasks among many that only make noise; about 3,000 steps."""

    async def main() -> None:
        total, lock = 0, asyncio.Lock()

        async def worker(number: int) -> None:
            for _ in range(rounds):
                await asyncio.sleep(0.01 * (number % 7 + 1))
                await asyncio.sleep(0)
                async with lock:
                    await asyncio.sleep(0)

        async def count(gap: bool) -> None:
            nonlocal total
            for _ in range(rounds // 2):
                await asyncio.sleep(0.05)
            if not gap:
                await asyncio.sleep(0)
            seen = total
            if gap:
                await asyncio.sleep(0)
            total = seen + 1

        await asyncio.gather(*(worker(number) for number in range(workers)), count(True), count(False))
        if total != 2:
            raise Broken(f"total is {total}")

    return main


PROGRAMS: dict[str, Main] = {main.__name__: main for main in (late_lock, two_holds, opposite, slow, told)}


def facts(failure: vtloop.Failure) -> list[Any]:
    """All that a shrunk failure says but for its real time."""
    passing = failure.passing.to_json() if failure.passing is not None else None
    return [failure.token, failure.report(), failure.replays, failure.minimal, passing]


if __name__ == "__main__":
    found = [vtloop.explore(main, seed=seed).failure for main in PROGRAMS.values() for seed in range(3)]
    print(json.dumps([facts(failure) for failure in found if failure is not None]).replace(sys.executable, ""))
