"""Programs that pass in asyncio's own order: another order shows the defect."""

from __future__ import annotations

import asyncio

from vtloop import DeadlockError

from .case import Stuck, sick


@sick(
    DeadlockError,
    Stuck("left", "Lock", "lock_b", "right", "left"),
    Stuck("right", "Lock", "lock_a", "left", "right"),
    explored=True,
)
async def ab_ba_when_both_start_together():
    lock_a, lock_b = asyncio.Lock(), asyncio.Lock()

    async def left():
        async with lock_a:
            await asyncio.sleep(0)
            async with lock_b:  # HERE left
                pass

    async def right():
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        async with lock_b:
            await asyncio.sleep(0)
            async with lock_a:  # HERE right
                pass

    await asyncio.gather(asyncio.create_task(left(), name="left"), asyncio.create_task(right(), name="right"))


@sick(DeadlockError, Stuck("waiter", "Event", "ready"), explored=True)
async def an_event_cleared_by_the_next_round():
    ready = asyncio.Event()

    async def waiter():
        await asyncio.sleep(0.1)
        await ready.wait()  # HERE

    async def pulse():
        await asyncio.sleep(0.1)
        await asyncio.sleep(0)
        ready.set()
        await asyncio.sleep(0)
        ready.clear()

    await asyncio.gather(asyncio.create_task(waiter(), name="waiter"), asyncio.create_task(pulse(), name="pulse"))


@sick(DeadlockError, Stuck("consumer", "Condition", "changed"), explored=True)
async def a_check_outside_of_the_condition():
    changed, items = asyncio.Condition(), []

    async def consumer():
        await asyncio.sleep(0.1)
        if not items:
            await asyncio.sleep(0)
            async with changed:
                await changed.wait()  # HERE

    async def producer():
        await asyncio.sleep(0.1)
        await asyncio.sleep(0)
        items.append(1)
        async with changed:
            changed.notify()

    await asyncio.gather(
        asyncio.create_task(consumer(), name="consumer"), asyncio.create_task(producer(), name="producer")
    )


@sick(DeadlockError, says=("Queue.get on jobs",), here=("",), explored=True)
async def one_job_seen_by_two_workers():
    jobs = asyncio.Queue()

    async def worker(turns):
        for _ in range(turns):
            await asyncio.sleep(0)
        if not jobs.empty():
            await asyncio.sleep(0)
            await jobs.get()  # HERE

    jobs.put_nowait(1)
    await asyncio.gather(asyncio.create_task(worker(0), name="first"), asyncio.create_task(worker(3), name="second"))


@sick(DeadlockError, Stuck("main", "future", "answer"), explored=True)
async def a_reply_dropped_because_it_came_first():
    waiting = {}

    async def reply():
        await asyncio.sleep(0.1)
        if 1 in waiting:
            waiting.pop(1).set_result("pong")

    task = asyncio.create_task(reply(), name="reply")
    await asyncio.sleep(0.1)
    answer = waiting[1] = asyncio.get_running_loop().create_future()
    await answer  # HERE
    await task
