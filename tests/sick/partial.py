"""Some tasks can never run again while others go on: main returns all the same, or asks itself."""

from __future__ import annotations

import asyncio

import vtloop

from .case import Stuck, sick


async def work():
    for _ in range(5):
        await asyncio.sleep(0.1)


def five_that_work():
    return [asyncio.create_task(work(), name=f"fine-{number}") for number in range(5)]


@sick(
    None,
    Stuck("left", "Lock", "lock_b", "right", "left"),
    Stuck("right", "Lock", "lock_a", "left", "right"),
    says=("2", "left", "right"),
)
async def two_of_seven_in_a_deadlock():
    lock_a, lock_b = asyncio.Lock(), asyncio.Lock()

    async def left():
        async with lock_a:
            await asyncio.sleep(0.1)
            async with lock_b:  # HERE left
                pass

    async def right():
        async with lock_b:
            await asyncio.sleep(0.1)
            async with lock_a:  # HERE right
                pass

    asyncio.create_task(left(), name="left")
    asyncio.create_task(right(), name="right")
    await asyncio.gather(*five_that_work())


@sick(None, Stuck("forgotten", "future", "reply"), says=("forgotten", "reply"))
async def a_task_that_waits_for_a_future_nobody_has():
    async def ask():
        reply = asyncio.get_running_loop().create_future()
        await reply  # HERE

    asyncio.create_task(ask(), name="forgotten")
    await asyncio.gather(*five_that_work())


@sick(None, Stuck("second", "Lock", "lock", here="second"), says=("second", "lock"))
async def a_task_behind_a_lock_that_nobody_gives_back():
    async def first(lock):
        await lock.acquire()

    async def second(lock):
        await asyncio.sleep(0.1)
        async with lock:  # HERE second
            pass

    def start():
        lock = asyncio.Lock()
        asyncio.create_task(first(lock), name="first")
        asyncio.create_task(second(lock), name="second")

    start()
    await asyncio.gather(*five_that_work())


@sick(None, Stuck("me", "Lock", "lock", "me"), says=("me", "lock"))
async def a_background_task_that_waits_for_itself():
    async def twice():
        lock = asyncio.Lock()
        async with lock, lock:  # HERE
            pass

    asyncio.create_task(twice(), name="me")
    await asyncio.gather(*five_that_work())


@sick(None, Stuck("writer", "Queue.put", "rows"), says=("writer", "rows"))
async def a_producer_whose_consumer_is_gone():
    async def produce(rows):
        for row in range(3):
            await rows.put(row)  # HERE

    async def consume(rows):
        await rows.get()

    def start():
        rows = asyncio.Queue(maxsize=1)
        asyncio.create_task(produce(rows), name="writer")
        asyncio.create_task(consume(rows), name="reader")

    start()
    await asyncio.gather(*five_that_work())


@sick(AssertionError, says=("['left', 'right']",))
async def stuck_tasks_asked_for_in_the_middle():
    lock_a, lock_b = asyncio.Lock(), asyncio.Lock()

    async def both(first, second):
        async with first:
            await asyncio.sleep(0.1)
            async with second:
                pass

    tasks = five_that_work()
    asyncio.create_task(both(lock_a, lock_b), name="left")
    asyncio.create_task(both(lock_b, lock_a), name="right")
    await asyncio.sleep(0.3)
    names = sorted(stuck.name for stuck in vtloop.stuck_tasks())
    for task in tasks:
        task.cancel()
    assert not names, names
