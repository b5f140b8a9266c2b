"""Main can never finish, and timers tick all the same: a heartbeat, a poller, a logger beside it."""

from __future__ import annotations

import asyncio

import anyio

from vtloop import HangError

from .case import Stuck, sick


async def heartbeat(seconds=1):
    while True:
        await asyncio.sleep(seconds)


def beside(number=1):
    """Start heartbeats that nothing else refers to."""
    for index in range(number):
        asyncio.get_running_loop().create_task(heartbeat(), name=f"heartbeat-{index}")


@sick(HangError, Stuck("main", "future", "reply"))
async def a_forgotten_future_beside_a_heartbeat():
    beside()
    reply = asyncio.get_running_loop().create_future()
    await reply  # HERE


@sick(
    HangError,
    Stuck("main", "Lock", "lock_b", "child", "main"),
    Stuck("child", "Lock", "lock_a", "main", "child"),
    says=("lock_b", "child"),
)
async def ab_ba_of_main_and_a_child_beside_a_heartbeat():
    lock_a, lock_b = asyncio.Lock(), asyncio.Lock()

    async def child():
        async with lock_b:
            await asyncio.sleep(0.1)
            async with lock_a:  # HERE child
                pass

    beside()
    asyncio.create_task(child(), name="child")
    async with lock_a:
        await asyncio.sleep(0.1)
        async with lock_b:  # HERE main
            pass


@sick(HangError, Stuck("main", "Queue.get", "rows"), shows=("producer", "RuntimeError: connection lost"))
async def a_queue_whose_producer_died_beside_a_logger():
    rows, count = asyncio.Queue(), 0

    async def producer(rows):
        await rows.put(1)
        raise RuntimeError("connection lost")

    async def log(read_count):
        while True:
            await asyncio.sleep(10)
            read_count()

    asyncio.create_task(log(lambda: count), name="logger")
    asyncio.create_task(producer(rows), name="producer")
    while True:
        await rows.get()  # HERE
        count += 1


@sick(
    HangError,
    Stuck("main", "Event", "done", here="main"),
    Stuck("setter", "Event", "begin", here="setter"),
    says=("done",),
    slow=True,
)
async def an_event_that_only_a_stuck_task_could_set_beside_a_poller():
    begin, done = asyncio.Event(), asyncio.Event()

    async def setter():
        await begin.wait()  # HERE setter
        done.set()

    async def poll():
        while True:
            await asyncio.sleep(0.5)

    asyncio.create_task(poll(), name="poller")
    task = asyncio.create_task(setter(), name="setter")
    await done.wait()  # HERE main
    await task


@sick(
    HangError,
    Stuck("main", "gather", here="gather"),
    Stuck("one", "future", here="child"),
    Stuck("two", "future", here="child"),
    says=("one",),
)
async def a_gather_whose_children_are_all_stuck_beside_a_heartbeat():
    async def child():
        await asyncio.get_running_loop().create_future()  # HERE child

    beside()
    children = [asyncio.create_task(child(), name=name) for name in ("one", "two")]
    await asyncio.gather(*children)  # HERE gather


@sick(
    HangError,
    Stuck("main", "Lock", "lock", "holder", "main"),
    Stuck("holder", "future", "never", here="holder"),
    says=("lock", "holder"),
)
async def a_lock_held_by_a_stuck_task_beside_a_timer_chain():
    loop, lock = asyncio.get_running_loop(), asyncio.Lock()

    async def holder():
        never = loop.create_future()
        async with lock:
            await never  # HERE holder

    def tick():
        loop.call_later(60, tick)

    tick()
    asyncio.create_task(holder(), name="holder")
    await asyncio.sleep(1)
    async with lock:  # HERE main
        pass


@sick(HangError, Stuck("main", "Condition", "changed"), slow=True)
async def a_condition_that_nobody_notifies_beside_a_keep_alive():
    changed = asyncio.Condition()
    beside()
    async with changed:
        await changed.wait()  # HERE


@sick(HangError, Stuck("main", "Semaphore", "permits"), slow=True)
async def a_leaked_permit_beside_a_heartbeat():
    permits = asyncio.BoundedSemaphore(1)

    async def careless():
        await permits.acquire()

    beside()
    await asyncio.create_task(careless(), name="careless")
    async with permits:  # HERE
        pass


@sick(
    HangError,
    Stuck("main", "TaskGroup", here="group"),
    Stuck("stuck", "Queue.get", "jobs", here="child"),
    says=("stuck", "jobs"),
    slow=True,
)
async def a_task_group_with_a_stuck_child_beside_a_heartbeat():
    jobs = asyncio.Queue()

    async def stuck():
        await jobs.get()  # HERE child

    beside()
    async with asyncio.TaskGroup() as group:  # HERE group
        group.create_task(stuck(), name="stuck")


@sick(
    HangError,
    Stuck("main", "task", here="join"),
    Stuck("child", "Lock", "lock", "main", "child"),
    says=("child", "lock"),
    slow=True,
)
async def a_task_awaited_inside_the_lock_it_needs_beside_a_heartbeat():
    lock = asyncio.Lock()

    async def child():
        async with lock:  # HERE child
            pass

    beside()
    async with lock:
        await asyncio.create_task(child(), name="child")  # HERE join


@sick(HangError, Stuck("main", "Queue.join", "jobs"), slow=True)
async def a_queue_joined_without_task_done_beside_a_heartbeat():
    jobs = asyncio.Queue()

    async def worker():
        while not jobs.empty():
            await jobs.get()

    beside()
    jobs.put_nowait(1)
    await asyncio.create_task(worker(), name="worker")
    await jobs.join()  # HERE


@sick(HangError, Stuck("main", "Barrier", "barrier"), shows=("1 of 2",), slow=True)
async def a_barrier_one_party_short_beside_a_heartbeat():
    barrier = asyncio.Barrier(2)
    beside()
    await barrier.wait()  # HERE


@sick(HangError, Stuck("main", "future", "page"), slow=True)
async def an_async_generator_stuck_beside_a_heartbeat():
    async def pages():
        yield 1
        page = asyncio.get_running_loop().create_future()
        yield await page  # HERE

    beside()
    async for _ in pages():
        pass


@sick(HangError, Stuck("main", "shield", here="shield"), Stuck("save", "Event", "flushed", here="save"), slow=True)
async def a_shielded_task_stuck_beside_a_poller():
    flushed = asyncio.Event()

    async def save():
        await flushed.wait()  # HERE save

    beside()
    await asyncio.shield(asyncio.create_task(save(), name="save"))  # HERE shield


@sick(HangError, Stuck("main", "StreamReader.read", "reader"), slow=True)
async def a_stream_that_nobody_feeds_beside_a_keep_alive():
    beside()
    reader = asyncio.StreamReader()
    await reader.read(100)  # HERE


@sick(HangError, Stuck("main", "wait", here="wait"), Stuck("never", "Event", here="never"), says=("never",), slow=True)
async def a_wait_for_all_with_one_stuck_beside_a_timeout_loop():
    async def never():
        await asyncio.Event().wait()  # HERE never

    async def cron():
        while True:
            try:
                async with asyncio.timeout(60):
                    await asyncio.get_running_loop().create_future()
            except TimeoutError:
                pass

    asyncio.create_task(cron(), name="cron")
    await asyncio.wait([asyncio.create_task(never(), name="never")])  # HERE wait


@sick(HangError, Stuck("main", "future", "reply"), slow=True)
async def a_forgotten_future_beside_a_thousand_heartbeats():
    beside(1000)
    reply = asyncio.get_running_loop().create_future()
    await reply  # HERE


@sick(HangError, Stuck("main", "Event", "closed"), slow=True)
async def an_event_that_a_task_with_a_retry_loop_forgot():
    closed = asyncio.Event()

    async def connect(attempts):
        while True:
            attempts.append(1)
            await asyncio.sleep(min(2 ** len(attempts), 60))

    asyncio.create_task(connect([]), name="connect")
    await closed.wait()  # HERE


@sick(HangError, Stuck("ping", "task", here="other"), Stuck("pong", "task", here="other"), slow=True)
async def two_tasks_that_await_each_other_beside_a_heartbeat():
    tasks = {}

    async def player(other):
        await asyncio.sleep(0)
        return await tasks[other]  # HERE other

    beside()
    tasks["ping"] = asyncio.create_task(player("pong"), name="ping")
    tasks["pong"] = asyncio.create_task(player("ping"), name="pong")
    await asyncio.wait(tasks.values())


@sick(HangError, Stuck("main", "Event", "self.ready"), slow=True)
async def an_event_of_a_service_whose_heartbeat_knows_the_service():
    class Service:
        def __init__(self):
            self.ready = asyncio.Event()
            self.beats = 0

        async def heartbeat(self):
            while True:
                await asyncio.sleep(1)
                self.beats += 1

        async def wait(self):
            await self.ready.wait()  # HERE

    service = Service()
    asyncio.create_task(service.heartbeat(), name="heartbeat")
    await service.wait()


CHANGES: asyncio.Queue


@sick(HangError, Stuck("main", "Queue.get", "CHANGES"), slow=True)
async def a_queue_of_the_module_that_nobody_feeds_beside_a_heartbeat():
    global CHANGES
    CHANGES = asyncio.Queue()
    beside()
    await CHANGES.get()  # HERE


@sick(HangError, Stuck("main", "Event", "loaded"))
async def an_anyio_event_that_nobody_sets_beside_a_ticker():
    async def tick():
        while True:
            await anyio.sleep(1)

    asyncio.create_task(tick(), name="ticker")
    loaded = anyio.Event()
    with anyio.CancelScope():
        await loaded.wait()  # HERE
