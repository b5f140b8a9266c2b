"""Shapes in which somebody waits for a thing that has been, or for one who never comes."""

from __future__ import annotations

import asyncio
from collections import deque

from benchmarks.search.shape import replies, shape, yields

__all__ = ["SHAPES"]


@shape("ab-ba", "wakeups")
async def ab_ba(repaired: bool) -> None:
    """Two locks: transfers there and back take them in opposite order; the second begins when the first is done."""
    locks = {"a": asyncio.Lock(), "b": asyncio.Lock()}

    async def transfer(source: str, target: str, awaits: int) -> None:
        await replies(awaits)
        first, second = sorted((source, target)) if repaired else (source, target)
        async with locks[first]:
            await replies()  # the balance
            async with locks[second]:
                await replies()  # the booking

    await asyncio.gather(transfer("a", "b", 1), transfer("b", "a", 5), replies(6))


@shape("lost-wakeup", "tasks")
async def lost_wakeup(repaired: bool) -> None:
    """Lost wake-up: a gate is opened between the look at it and the queueing up."""
    is_open = False
    queue: deque[asyncio.Future[None]] = deque()

    async def passes() -> None:
        if is_open:
            return
        await yields()  # notes that it waits
        if repaired and is_open:
            return
        place = asyncio.get_running_loop().create_future()
        queue.append(place)
        await place

    async def opens() -> None:
        nonlocal is_open
        await yields(4)
        is_open = True
        while queue:
            queue.popleft().set_result(None)

    await asyncio.gather(passes(), opens())


@shape("missed-notify", "wakeups")
async def missed_notify(repaired: bool) -> None:
    """Missed notify: the condition is looked at before its lock is taken, and comes true on the way."""
    items: list[int] = []
    changed = asyncio.Condition()

    async def audit() -> None:
        async with changed:
            await replies(8)

    async def consume() -> None:
        await replies(2)
        if repaired:
            async with changed:
                await changed.wait_for(lambda: items)
        elif not items:
            async with changed:
                await changed.wait()
        items.pop()

    async def produce() -> None:
        await replies(4)
        async with changed:
            items.append(1)
            changed.notify()

    await asyncio.gather(audit(), consume(), produce())


@shape("starved-task", "tasks")
async def starved_task(repaired: bool) -> None:
    """Starved task: a job takes for granted that its lease is renewed at least once while it works."""
    renewed = asyncio.Event()

    async def renew() -> None:
        while True:
            renewed.set()
            await asyncio.sleep(1)

    async def work() -> None:
        if repaired:
            await renewed.wait()
        await yields(6)
        assert renewed.is_set(), "the lease ran out"

    renewing = asyncio.create_task(renew())
    await work()
    renewing.cancel()


@shape("sentinel", "wakeups")
async def sentinel(repaired: bool) -> None:
    """Producer overtakes the sentinel: the end is announced when none is at work, and one had not yet begun."""
    queue: asyncio.Queue[int | None] = asyncio.Queue()
    at_work = 0
    consumed = []

    async def produce(number: int) -> None:
        nonlocal at_work
        at_work += not repaired
        await replies(3)
        queue.put_nowait(number)
        at_work -= 1
        if not at_work:
            queue.put_nowait(None)

    async def connected(number: int) -> None:
        await replies()
        await produce(number)

    async def consume() -> None:
        while (item := await queue.get()) is not None:
            consumed.append(item)

    at_work += 3 * repaired
    await asyncio.gather(consume(), connected(1), connected(2), connected(3))
    assert sorted(consumed) == [1, 2, 3], consumed


@shape("double-release", "wakeups")
async def double_release(repaired: bool) -> None:
    """Double release: a write that met a newer version gives its permit back twice."""
    limit = 2
    permits = asyncio.Semaphore(limit)
    versions = {"ann": 0, "bob": 0}

    async def write(key: str) -> None:
        await permits.acquire()
        try:
            seen = versions[key]
            await replies(2)
            if versions[key] != seen:
                if not repaired:
                    permits.release()
                return  # to be tried again some day
            versions[key] += 1
        finally:
            permits.release()

    async def writer(key: str, awaits: int) -> None:
        await replies(awaits)
        await write(key)

    await asyncio.gather(writer("ann", 0), writer("bob", 1), writer("ann", 6), writer("bob", 7))
    for _ in range(limit):
        await permits.acquire()
    assert permits.locked(), f"more than {limit} permits"


SHAPES = (ab_ba, lost_wakeup, missed_notify, starved_task, sentinel, double_release)
