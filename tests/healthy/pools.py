"""Pools: workers on queues, ended by sentinels, by cancellation, by closing, or simply left on their queue."""

from __future__ import annotations

import asyncio
import itertools
from collections import deque

from .corpus import healthy


@healthy()
async def workers_ended_by_sentinels() -> None:
    queue: asyncio.Queue[int | None] = asyncio.Queue(maxsize=3)
    results: list[int] = []

    async def worker() -> None:
        while (item := await queue.get()) is not None:
            await asyncio.sleep(0)
            results.append(item * item)

    workers = [asyncio.create_task(worker()) for _ in range(3)]
    for number in range(8):
        await queue.put(number)
    for _ in workers:
        await queue.put(None)
    await asyncio.gather(*workers)
    assert sorted(results) == [number * number for number in range(8)]


@healthy()
async def queue_joined_then_workers_cancelled() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    done: list[int] = []

    async def worker() -> None:
        while True:
            item = await queue.get()
            try:
                await asyncio.sleep(0.001)
                done.append(item)
            finally:
                queue.task_done()

    workers = [asyncio.create_task(worker(), name=f"worker-{n}") for n in range(3)]
    for number in range(9):
        queue.put_nowait(number)
    await queue.join()
    for one in workers:
        one.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert sorted(done) == list(range(9))


@healthy()
async def workers_left_on_their_queue_when_main_returns() -> None:
    queue: asyncio.Queue[asyncio.Future[int]] = asyncio.Queue()

    async def worker() -> None:
        for number in itertools.count():
            future = await queue.get()
            future.set_result(number)

    workers = [asyncio.create_task(worker()) for _ in range(2)]
    futures = [asyncio.get_running_loop().create_future() for _ in range(4)]
    for future in futures:
        await queue.put(future)
    results = await asyncio.gather(*futures)
    assert len(results) == 4
    assert not any(task.done() for task in workers)


@healthy()
async def two_stages_joined_by_bounded_queues() -> None:
    parsed: asyncio.Queue[int] = asyncio.Queue(1)
    stored: asyncio.Queue[int] = asyncio.Queue(1)
    out: list[int] = []

    async def parse() -> None:
        for number in range(6):
            await parsed.put(number)
        await parsed.put(-1)

    async def transform() -> None:
        while (item := await parsed.get()) >= 0:
            await stored.put(item * 10)
        await stored.put(-1)

    async def store() -> None:
        while (item := await stored.get()) >= 0:
            out.append(item)

    async with asyncio.TaskGroup() as group:
        for stage in (parse, transform, store):
            group.create_task(stage())
    assert out == [0, 10, 20, 30, 40, 50]


@healthy()
async def priorities_served_in_order_by_one_worker() -> None:
    queue: asyncio.PriorityQueue[tuple[int, str]] = asyncio.PriorityQueue()
    served: list[int] = []
    for priority, name in [(3, "c"), (1, "a"), (2, "b"), (5, "e"), (4, "d")]:
        queue.put_nowait((priority, name))

    async def worker() -> None:
        while True:
            priority, _ = await queue.get()
            served.append(priority)
            queue.task_done()

    task = asyncio.create_task(worker())
    await queue.join()
    task.cancel()
    assert served == [1, 2, 3, 4, 5]


class ClosableQueue(asyncio.Queue[int]):
    """A queue that can be closed: those who wait for an item are told so."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = asyncio.Event()

    def close(self) -> None:
        self.closed.set()

    async def items(self, into: list[int]) -> None:
        while True:
            get = asyncio.ensure_future(self.get())
            end = asyncio.ensure_future(self.closed.wait())
            await asyncio.wait([get, end], return_when=asyncio.FIRST_COMPLETED)
            end.cancel()
            if get.done():
                into.append(get.result())
            else:
                get.cancel()
                while not self.empty():
                    into.append(self.get_nowait())
                return


@healthy()
async def queue_subclass_that_can_be_closed() -> None:
    queue = ClosableQueue()
    got: list[int] = []
    reader = asyncio.create_task(queue.items(got))
    for number in range(3):
        queue.put_nowait(number)
        await asyncio.sleep(0.001)
    while len(got) < 3:
        await asyncio.sleep(0.001)
    queue.close()
    await reader
    assert got == [0, 1, 2]


@healthy()
async def pool_of_connections_lent_and_given_back() -> None:
    free: asyncio.LifoQueue[int] = asyncio.LifoQueue()
    lent: set[int] = set()
    for number in range(2):
        free.put_nowait(number)
    used = 0

    async def client() -> None:
        nonlocal used
        connection = await free.get()
        assert connection not in lent
        lent.add(connection)
        try:
            await asyncio.sleep(0.001)
            used += 1
        finally:
            lent.discard(connection)
            free.put_nowait(connection)

    await asyncio.gather(*(client() for _ in range(7)))
    assert (used, free.qsize(), lent) == (7, 2, set())


@healthy()
async def at_most_two_at_a_time_by_a_semaphore() -> None:
    gate = asyncio.Semaphore(2)
    inside = most = 0

    async def fetch() -> None:
        nonlocal inside, most
        async with gate:
            inside += 1
            most = max(most, inside)
            await asyncio.sleep(0.001)
            inside -= 1

    await asyncio.gather(*(fetch() for _ in range(6)))
    assert most <= 2
    assert not gate.locked()


@healthy()
async def pool_that_grows_and_shrinks_with_the_work() -> None:
    work: deque[int] = deque(range(12))
    running: set[asyncio.Task[None]] = set()
    done: list[int] = []
    idle = asyncio.Event()

    async def one(number: int) -> None:
        await asyncio.sleep(0.001 * (number % 3))
        done.append(number)

    def ended(task: asyncio.Task[None]) -> None:
        running.discard(task)
        fill()

    def fill() -> None:
        while work and len(running) < 3:
            task = asyncio.create_task(one(work.popleft()))
            running.add(task)
            task.add_done_callback(ended)
        if not running:
            idle.set()

    fill()
    await idle.wait()
    assert sorted(done) == list(range(12))


@healthy()
async def crawler_whose_jobs_make_more_jobs() -> None:
    queue: asyncio.Queue[int] = asyncio.Queue()
    seen = {1}
    queue.put_nowait(1)

    async def worker() -> None:
        while True:
            page = await queue.get()
            await asyncio.sleep(0)
            for link in (2 * page, 2 * page + 1):
                if link < 16 and link not in seen:
                    seen.add(link)
                    queue.put_nowait(link)
            queue.task_done()

    workers = [asyncio.create_task(worker()) for _ in range(4)]
    await queue.join()
    for one in workers:
        one.cancel()
    await asyncio.gather(*workers, return_exceptions=True)
    assert seen == set(range(1, 16))


@healthy()
async def failing_jobs_retried_on_the_same_queue() -> None:
    queue: asyncio.Queue[tuple[int, int]] = asyncio.Queue()
    tries: dict[int, int] = {}
    for number in range(4):
        queue.put_nowait((number, 0))

    async def worker() -> None:
        while True:
            number, attempt = await queue.get()
            try:
                await asyncio.sleep(0.001)
                tries[number] = attempt + 1
                if attempt < number:
                    raise ConnectionError(number)
            except ConnectionError:
                queue.put_nowait((number, attempt + 1))
            finally:
                queue.task_done()

    workers = [asyncio.create_task(worker()) for _ in range(2)]
    await queue.join()
    for one in workers:
        one.cancel()
    assert tries == {0: 1, 1: 2, 2: 3, 3: 4}


@healthy()
async def a_hundred_short_tasks() -> None:
    done = 0

    async def short() -> None:
        nonlocal done
        await asyncio.sleep(0)
        done += 1

    async with asyncio.TaskGroup() as group:
        for _ in range(100):
            group.create_task(short())
    assert done == 100
