"""Nothing is ready, no timer is set: every task waits for another, or for nobody."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, suppress

from vtloop import DeadlockError

from .case import Stuck, sick

LOCK_A: asyncio.Lock
LOCK_B: asyncio.Lock


@sick(
    DeadlockError,
    Stuck("left", "Lock", "lock_b", "right", "left"),
    Stuck("right", "Lock", "lock_a", "left", "right"),
)
async def ab_ba_with_local_locks():
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

    tasks = [asyncio.create_task(left(), name="left"), asyncio.create_task(right(), name="right")]
    await asyncio.gather(*tasks)


@sick(
    DeadlockError,
    Stuck("left", "Lock", "LOCK_B", "right", "left"),
    Stuck("right", "Lock", "LOCK_A", "left", "right"),
)
async def ab_ba_with_global_locks():
    global LOCK_A, LOCK_B
    LOCK_A, LOCK_B = asyncio.Lock(), asyncio.Lock()

    async def left():
        async with LOCK_A:
            await asyncio.sleep(0.1)
            async with LOCK_B:  # HERE left
                pass

    async def right():
        async with LOCK_B:
            await asyncio.sleep(0.1)
            async with LOCK_A:  # HERE right
                pass

    async with asyncio.TaskGroup() as group:
        group.create_task(left(), name="left")
        group.create_task(right(), name="right")


@sick(
    DeadlockError,
    Stuck("pay", "Lock", "yours.lock", "refund", "target"),
    Stuck("refund", "Lock", "mine.lock", "pay", "target"),
)
async def ab_ba_by_attribute():
    class Account:
        def __init__(self):
            self.lock = asyncio.Lock()
            self.balance = 100

        async def send(self, target, amount):
            async with self.lock:
                await asyncio.sleep(0)
                async with target.lock:  # HERE target
                    self.balance -= amount
                    target.balance += amount

    mine, yours = Account(), Account()
    pay = asyncio.create_task(mine.send(yours, 5), name="pay")
    refund = asyncio.create_task(yours.send(mine, 5), name="refund")
    await pay
    await refund


@sick(DeadlockError, Stuck("main", "Lock", "self._lock", "main"), shows=("re-entrant",))
async def a_lock_taken_again_by_its_holder():
    class Cache:
        def __init__(self):
            self._lock = asyncio.Lock()
            self._items = {}

        async def get(self, key):
            async with self._lock:  # HERE
                return self._items.get(key)

        async def get_or_make(self, key):
            async with self._lock:
                return await self.get(key) or key

    await Cache().get_or_make("a")


@sick(
    DeadlockError,
    Stuck("a", "Lock", holder="b", here="right"),
    Stuck("b", "Lock", holder="c", here="right"),
    Stuck("c", "Lock", holder="a", here="right"),
)
async def three_philosophers():
    forks = [asyncio.Lock() for _ in range(3)]

    async def dine(left, right):
        async with left:
            await asyncio.sleep(0.01)
            async with right:  # HERE right
                await asyncio.sleep(0.01)

    await asyncio.gather(*(asyncio.create_task(dine(forks[i], forks[(i + 1) % 3]), name="abc"[i]) for i in range(3)))


@sick(
    DeadlockError,
    Stuck("main", "task", here="join"),
    Stuck("child", "Lock", "lock", "main", "child"),
    says=("child", "lock"),
)
async def a_task_awaited_inside_the_lock_it_needs():
    lock = asyncio.Lock()

    async def child():
        async with lock:  # HERE child
            pass

    async with lock:
        task = asyncio.create_task(child(), name="child")
        await task  # HERE join


@sick(DeadlockError, Stuck("main", "Lock", "lock"))
async def a_lock_taken_by_hand_and_not_given_back():
    lock = asyncio.Lock()

    async def careless():
        await lock.acquire()
        await asyncio.sleep(0.1)

    await asyncio.create_task(careless(), name="careless")
    async with lock:  # HERE
        pass


@sick(DeadlockError, Stuck("fourth", "Semaphore", "permits"))
async def a_semaphore_whose_permits_have_leaked():
    permits = asyncio.Semaphore(3)

    async def use(fails):
        await permits.acquire()  # HERE
        if fails:
            return
        permits.release()

    for number in range(3):
        await asyncio.create_task(use(fails=True), name=f"use-{number}")
    await asyncio.create_task(use(fails=False), name="fourth")


@sick(DeadlockError, Stuck("consumer", "Condition", "full"))
async def a_condition_that_nobody_notifies():
    full, items = asyncio.Condition(), []

    async def consumer():
        async with full:
            while not items:
                await full.wait()  # HERE

    async def producer():
        async with full:
            items.append(1)

    await asyncio.gather(
        asyncio.create_task(consumer(), name="consumer"), asyncio.create_task(producer(), name="producer")
    )


@sick(DeadlockError, Stuck("late", "Condition", "changed"), shows=("notify",))
async def a_notification_before_the_wait():
    changed = asyncio.Condition()

    async def early():
        async with changed:
            changed.notify_all()

    async def late():
        await asyncio.sleep(0.1)
        async with changed:
            await changed.wait()  # HERE

    async with asyncio.TaskGroup() as group:
        group.create_task(early(), name="early")
        group.create_task(late(), name="late")


@sick(DeadlockError, Stuck("main", "Event", "ready"))
async def an_event_that_nobody_sets():
    ready = asyncio.Event()

    async def start():
        if False:
            ready.set()

    await asyncio.create_task(start(), name="start")
    await ready.wait()  # HERE


@sick(DeadlockError, Stuck("listener", "Event", "pulse"))
async def an_event_set_and_cleared_before_the_wait():
    pulse = asyncio.Event()

    async def listener():
        await asyncio.sleep(0.2)
        await pulse.wait()  # HERE

    async def beat():
        await asyncio.sleep(0.1)
        pulse.set()
        pulse.clear()

    await asyncio.gather(asyncio.create_task(listener(), name="listener"), asyncio.create_task(beat(), name="beat"))


@sick(DeadlockError, Stuck("one", "Barrier", "start", here="one"), shows=("2 of 3",))
async def a_barrier_one_party_short():
    start = asyncio.Barrier(3)

    async def runner(fails=False):
        if fails:
            return
        await start.wait()  # HERE one

    async with asyncio.TaskGroup() as group:
        group.create_task(runner(), name="one")
        group.create_task(runner(), name="two")
        group.create_task(runner(fails=True), name="three")


@sick(DeadlockError, Stuck("worker", "Queue.get", "jobs"))
async def a_worker_without_a_sentinel():
    jobs = asyncio.Queue()

    async def worker():
        while await jobs.get() is not None:  # HERE
            await asyncio.sleep(0.1)

    task = asyncio.create_task(worker(), name="worker")
    for job in range(3):
        await jobs.put(job)
    await task


@sick(DeadlockError, Stuck("main", "Queue.put", "lines"), shows=("maxsize 2",))
async def a_full_queue_whose_consumer_left():
    lines = asyncio.Queue(maxsize=2)

    async def consumer():
        await lines.get()

    asyncio.create_task(consumer(), name="consumer")
    for number in range(5):
        await lines.put(number)  # HERE


@sick(DeadlockError, Stuck("main", "Queue.join", "jobs"), shows=("task_done",))
async def a_queue_joined_without_task_done():
    jobs = asyncio.Queue()

    async def worker():
        while not jobs.empty():
            job = await jobs.get()
            if job == 2:
                continue
            jobs.task_done()

    for job in range(4):
        jobs.put_nowait(job)
    asyncio.create_task(worker(), name="worker")
    await jobs.join()  # HERE


@sick(
    DeadlockError,
    Stuck("main", "gather", here="gather"),
    Stuck("stuck", "future", "answer", here="answer"),
    says=("answer", "stuck"),
)
async def a_gather_of_a_stuck_child():
    async def fine():
        await asyncio.sleep(0.1)

    async def stuck():
        answer = asyncio.get_running_loop().create_future()
        await answer  # HERE answer

    children = [asyncio.create_task(fine(), name="fine"), asyncio.create_task(stuck(), name="stuck")]
    await asyncio.gather(*children)  # HERE gather


@sick(
    DeadlockError,
    Stuck("main", "TaskGroup", here="group"),
    Stuck("stuck", "Event", "done", here="event"),
    says=("stuck", "done"),
)
async def a_task_group_with_a_stuck_child():
    done = asyncio.Event()

    async def stuck():
        await done.wait()  # HERE event

    async with asyncio.TaskGroup() as group:  # HERE group
        group.create_task(stuck(), name="stuck")
        await asyncio.sleep(1)


@sick(DeadlockError, Stuck("ping", "task", here="other"), Stuck("pong", "task", here="other"), says=("ping", "pong"))
async def two_tasks_that_await_each_other():
    tasks = {}

    async def player(other):
        await asyncio.sleep(0)
        return await tasks[other]  # HERE other

    tasks["ping"] = asyncio.create_task(player("pong"), name="ping")
    tasks["pong"] = asyncio.create_task(player("ping"), name="pong")
    await asyncio.wait(tasks.values())


@sick(DeadlockError, Stuck("main", "future", "reply"))
async def a_future_that_nobody_completes():
    pending = {}

    def request(number):
        pending[number] = reply = asyncio.get_running_loop().create_future()
        return reply

    def answered(number):
        pending.pop(number).cancel()

    reply = request(1)
    request(2)
    answered(2)
    await reply  # HERE


@sick(DeadlockError, Stuck("main", "future", "result"), shows=("producer", "ValueError: no bytes left"))
async def a_result_that_a_failed_producer_would_have_set():
    result = asyncio.get_running_loop().create_future()

    async def producer():
        await asyncio.sleep(0.1)
        if not result.done():
            raise ValueError("no bytes left")
        result.set_result(1)

    task = asyncio.create_task(producer(), name="producer")
    await result  # HERE
    await task


@sick(DeadlockError, Stuck("main", "future", "result"))
async def a_result_that_a_cancelled_task_would_have_set():
    result = asyncio.get_running_loop().create_future()

    async def producer():
        await asyncio.sleep(1)
        result.set_result(1)

    task = asyncio.create_task(producer(), name="producer")
    await asyncio.sleep(0.5)
    task.cancel()
    await result  # HERE


@sick(DeadlockError, Stuck("main", "shield", here="shield"), Stuck("save", "Event", "flushed", here="flushed"))
async def a_shielded_task_that_is_stuck():
    flushed = asyncio.Event()

    async def save():
        await flushed.wait()  # HERE flushed

    task = asyncio.create_task(save(), name="save")
    await asyncio.shield(task)  # HERE shield


@sick(DeadlockError, Stuck("main", "Event", "opened"))
async def a_wait_for_without_a_timeout():
    opened = asyncio.Event()
    await asyncio.wait_for(opened.wait(), timeout=None)  # HERE


@sick(DeadlockError, Stuck("main", "wait", here="wait"), Stuck("never", "Event", here="never"), says=("never",))
async def a_wait_for_all_with_one_that_is_stuck():
    async def never():
        await asyncio.Event().wait()  # HERE never

    tasks = [asyncio.create_task(asyncio.sleep(0.1), name="soon"), asyncio.create_task(never(), name="never")]
    await asyncio.wait(tasks)  # HERE wait


@sick(DeadlockError, Stuck("main", "StreamReader.readline", "reader"))
async def a_stream_that_nobody_feeds():
    reader = asyncio.StreamReader()
    reader.feed_data(b"half a li")
    await reader.readline()  # HERE


@sick(
    DeadlockError,
    Stuck("main", "as_completed", here="next"),
    Stuck("slow", "future", "page", here="page"),
    says=("slow", "page"),
)
async def as_completed_with_one_that_never_is():
    async def slow():
        page = asyncio.get_running_loop().create_future()
        await page  # HERE page

    tasks = [asyncio.create_task(asyncio.sleep(1), name="fast"), asyncio.create_task(slow(), name="slow")]
    for done in asyncio.as_completed(tasks):
        await done  # HERE next


@sick(DeadlockError, Stuck("main", "Queue.get", "pages"))
async def an_async_generator_stuck_in_the_middle():
    pages = asyncio.Queue()
    pages.put_nowait("first")

    async def read():
        while True:
            page = await pages.get()  # HERE
            if not page:
                return
            yield page

    async for _ in read():
        pass


@sick(
    DeadlockError,
    Stuck("other", "Lock", "lock", "holder", "other"),
    Stuck("holder", "Event", "go", here="holder"),
)
async def a_lock_held_by_an_exit_stack():
    lock, go = asyncio.Lock(), asyncio.Event()

    async def holder():
        async with AsyncExitStack() as stack:
            await stack.enter_async_context(lock)
            await go.wait()  # HERE holder

    async def other():
        await asyncio.sleep(0.1)
        async with lock:  # HERE other
            go.set()

    await asyncio.gather(asyncio.create_task(holder(), name="holder"), asyncio.create_task(other(), name="other"))


@sick(
    DeadlockError,
    Stuck("reader", "Queue.get", "self._updates", here="reader"),
    Stuck("updater", "Lock", "self._lock", "reader", "updater"),
)
async def a_lock_held_while_waiting_for_what_needs_it():
    class Feed:
        def __init__(self):
            self._lock = asyncio.Lock()
            self._updates = asyncio.Queue()

        async def read(self):
            async with self._lock:
                return await self._updates.get()  # HERE reader

        async def update(self, value):
            async with self._lock:  # HERE updater
                await self._updates.put(value)

    feed = Feed()
    async with asyncio.TaskGroup() as group:
        group.create_task(feed.read(), name="reader")
        group.create_task(feed.update(1), name="updater")


@sick(DeadlockError, Stuck("main", "task", here="join"), Stuck("worker", "Event", "resume", here="paused"))
async def a_cancel_that_is_swallowed_by_a_worker_that_waits_again():
    resume = asyncio.Event()

    async def worker():
        while True:
            with suppress(asyncio.CancelledError):
                await resume.wait()  # HERE paused

    task = asyncio.create_task(worker(), name="worker")
    await asyncio.sleep(0.1)
    task.cancel()
    await task  # HERE join


@sick(DeadlockError, Stuck("writer", "Condition", "room", here="wait"), says=("room",))
async def notify_where_notify_all_was_needed():
    room, items = asyncio.Condition(), []

    async def reader():
        async with room:
            await room.wait_for(lambda: items)
            items.pop()
            room.notify()

    async def writer():
        async with room:
            items.append(1)
            room.notify()
            await room.wait_for(lambda: len(items) > 5)  # HERE wait

    async with asyncio.TaskGroup() as group:
        group.create_task(reader(), name="reader")
        group.create_task(writer(), name="writer")
