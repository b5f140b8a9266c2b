"""``Queue.join`` waits for one ``task_done`` for every item: a worker that skips one keeps it waiting."""

import asyncio

import pytest


async def work(queue: asyncio.Queue[int], done: list[int]) -> None:
    while True:
        number = await queue.get()
        if number < 0:
            continue
        done.append(number)
        queue.task_done()


@pytest.mark.vtloop
async def test_all_items_are_worked_on() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    done: list[int] = []
    worker = asyncio.create_task(work(queue, done), name="worker")
    for number in (1, -1, 2):
        queue.put_nowait(number)
    await queue.join()
    worker.cancel()
    assert done == [1, 2]
