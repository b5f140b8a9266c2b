"""Timeouts: around gather, around queues, nested, moved, and those that end the work they stand around."""

from __future__ import annotations

import asyncio
from typing import Any

from .corpus import healthy

Log = list[Any]


async def never() -> None:
    await asyncio.get_running_loop().create_future()


@healthy()
async def timeout_around_gather() -> None:
    cancelled: Log = []

    async def child(name: str) -> None:
        try:
            await never()
        except asyncio.CancelledError:
            cancelled.append(name)
            raise

    try:
        async with asyncio.timeout(0.01):
            await asyncio.gather(child("a"), child("b"), child("c"))
    except TimeoutError:
        cancelled.append("timeout")
    # A child that never began is cancelled unseen.
    assert cancelled[-1] == "timeout"
    assert set(cancelled) <= {"a", "b", "c", "timeout"}


@healthy()
async def wait_for_around_an_empty_queue() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    misses = 0
    for _ in range(3):
        try:
            await asyncio.wait_for(queue.get(), 0.005)
        except TimeoutError:
            misses += 1
    queue.put_nowait(7)
    got = await asyncio.wait_for(queue.get(), 60)
    assert (misses, got) == (3, 7)


@healthy()
async def polling_consumer_that_times_out_until_told_to_stop() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    stop = asyncio.Event()
    got: list[int] = []

    async def consumer() -> None:
        while not (stop.is_set() and queue.empty()):
            try:
                got.append(await asyncio.wait_for(queue.get(), 0.004))
            except TimeoutError:
                continue

    task = asyncio.create_task(consumer())
    for number in range(5):
        await asyncio.sleep(0.003)
        await queue.put(number)
    stop.set()
    await task
    # `wait_for` may lose an item when its timeout and the item meet (before 3.12): no more than that.
    assert got == sorted(set(got))


@healthy()
async def timeout_moved_again_and_again_by_progress() -> None:
    loop = asyncio.get_running_loop()
    beats = 0
    async with asyncio.timeout(60) as deadline:
        for _ in range(10):
            await asyncio.sleep(0.001)
            beats += 1
            deadline.reschedule(loop.time() + 60)
    assert beats == 10
    assert not deadline.expired()


@healthy()
async def outer_timeout_ends_what_an_inner_one_would_let_go_on() -> None:
    ended: Log = []
    try:
        async with asyncio.timeout(0.005):
            try:
                async with asyncio.timeout(10_000):
                    await never()
            except TimeoutError:
                ended.append("inner")
    except TimeoutError:
        ended.append("outer")
    assert ended == ["outer"]


@healthy()
async def inner_timeout_handled_while_the_outer_goes_on() -> None:
    ended: Log = []
    async with asyncio.timeout(10_000):
        for attempt in range(3):
            try:
                async with asyncio.timeout(0.002):
                    await never()
            except TimeoutError:
                ended.append(attempt)
        await asyncio.sleep(0.001)
    assert ended == [0, 1, 2]


@healthy()
async def timeout_ends_a_task_group_with_cleaning_up() -> None:
    begun: list[int] = []
    cleaned: list[int] = []

    async def worker(number: int) -> None:
        begun.append(number)
        try:
            await never()
        finally:
            await asyncio.sleep(0.001)
            cleaned.append(number)

    try:
        async with asyncio.timeout(0.01):
            async with asyncio.TaskGroup() as group:
                for number in range(3):
                    group.create_task(worker(number))
    except TimeoutError:
        pass
    assert sorted(cleaned) == sorted(begun)


@healthy()
async def shield_keeps_the_work_when_its_caller_times_out() -> None:
    done: Log = []
    may_end = asyncio.Event()

    async def commit() -> str:
        await may_end.wait()
        done.append("committed")
        return "ok"

    work = asyncio.create_task(commit())
    try:
        await asyncio.wait_for(asyncio.shield(work), 0.005)
    except TimeoutError:
        done.append("impatient")
    may_end.set()
    assert await work == "ok"
    assert done == ["impatient", "committed"]


@healthy()
async def wait_with_a_timeout_and_the_rest_cancelled() -> None:
    quick = asyncio.create_task(asyncio.sleep(0, "quick"))
    stuck = asyncio.create_task(never())
    done: set[asyncio.Task[Any]] = set()
    while quick not in done:
        done, pending = await asyncio.wait([quick, stuck], timeout=0.05)
    assert pending == {stuck}
    stuck.cancel()
    await asyncio.wait([stuck])
    assert stuck.cancelled()


@healthy(quick=False)
async def deadline_of_hours_shared_by_many_steps() -> None:
    loop = asyncio.get_running_loop()
    began = loop.time()
    steps = 0
    try:
        async with asyncio.timeout_at(began + 8 * 3600):
            while True:
                await asyncio.sleep(600)
                steps += 1
    except TimeoutError:
        pass
    assert 1 <= steps <= 48
    assert loop.time() - began >= 8 * 3600


@healthy()
async def timeout_switched_off_in_the_middle() -> None:
    async with asyncio.timeout(60) as deadline:
        await asyncio.sleep(0)
        deadline.reschedule(None)
        await asyncio.sleep(0.01)
    assert deadline.when() is None


@healthy()
async def cancelled_by_a_timer_of_the_loop() -> None:
    loop = asyncio.get_running_loop()
    waiting = loop.create_task(never())
    loop.call_later(0.005, waiting.cancel)
    try:
        await waiting
    except asyncio.CancelledError:
        pass
    assert waiting.cancelled()


@healthy()
async def child_of_a_child_cancelled_by_a_timer() -> None:
    # The timer reaches the middle of a tree of awaits: the cancellation runs down to the leaves and up to main.
    loop = asyncio.get_running_loop()

    async def middle() -> None:
        await asyncio.gather(never(), never())

    task = loop.create_task(middle())
    loop.call_later(0.005, task.cancel)
    results = await asyncio.gather(task, return_exceptions=True)
    assert isinstance(results[0], asyncio.CancelledError)


@healthy()
async def wait_for_around_an_event_with_retries() -> None:
    ready = asyncio.Event()
    tries = 0

    async def opener() -> None:
        while tries < 3:
            await asyncio.sleep(0.002)
        ready.set()

    task = asyncio.create_task(opener())
    while True:
        try:
            await asyncio.wait_for(ready.wait(), 0.003)
            break
        except TimeoutError:
            tries += 1
    await task
    assert tries >= 3
