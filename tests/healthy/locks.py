"""Locks, conditions, semaphores, barriers: taken in order, handed over, given back by another than who took them."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

from .corpus import healthy


@healthy()
async def locks_taken_in_the_order_of_their_keys() -> None:
    balance = {"a": 50, "b": 50, "c": 50}
    locks = {name: asyncio.Lock() for name in balance}

    async def transfer(source: str, target: str) -> None:
        first, second = sorted((source, target))
        async with locks[first], locks[second]:
            amount = balance[source]
            await asyncio.sleep(0)
            balance[source] = amount - 1
            balance[target] += 1

    pairs = [("a", "b"), ("b", "a"), ("b", "c"), ("c", "a"), ("a", "c")]
    await asyncio.gather(*(transfer(*pair) for pair in pairs))
    assert sum(balance.values()) == 150


@healthy()
async def hand_over_hand_along_a_chain() -> None:
    locks = [asyncio.Lock() for _ in range(4)]
    passed: list[list[str]] = [[] for _ in locks]

    async def walk(name: str) -> None:
        await locks[0].acquire()
        for place, lock in enumerate(locks):
            passed[place].append(name)
            await asyncio.sleep(0)
            if place + 1 < len(locks):
                await locks[place + 1].acquire()
            lock.release()

    await asyncio.gather(*(walk(name) for name in "abc"))
    # Nobody overtakes inside the chain.
    assert all(order == passed[0] for order in passed)


@healthy()
async def opposite_orders_behind_a_gate_lock() -> None:
    gate, left, right = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
    log: list[str] = []

    async def forward() -> None:
        async with gate, left:
            await asyncio.sleep(0)
            async with right:
                log.append("forward")

    async def backward() -> None:
        async with gate, right:
            await asyncio.sleep(0)
            async with left:
                log.append("backward")

    await asyncio.gather(forward(), backward(), forward())
    assert sorted(log) == ["backward", "forward", "forward"]


@healthy()
async def opposite_orders_one_after_the_other() -> None:
    # The two orders can never meet: the second task begins when the first has ended.
    left, right = asyncio.Lock(), asyncio.Lock()
    log: list[str] = []

    async def take(name: str, first: asyncio.Lock, second: asyncio.Lock) -> None:
        async with first:
            await asyncio.sleep(0)
            async with second:
                log.append(name)

    await asyncio.create_task(take("forward", left, right))
    await asyncio.create_task(take("backward", right, left))
    assert log == ["forward", "backward"]


@healthy()
async def one_task_takes_two_locks_in_both_orders() -> None:
    left, right = asyncio.Lock(), asyncio.Lock()
    count = 0
    for first, second in [(left, right), (right, left), (left, right)]:
        async with first, second:
            await asyncio.sleep(0)
            count += 1
    assert count == 3


@healthy()
async def second_lock_tried_and_the_first_given_back() -> None:
    left, right = asyncio.Lock(), asyncio.Lock()
    log: list[str] = []

    async def take(name: str, first: asyncio.Lock, second: asyncio.Lock) -> None:
        while True:
            async with first:
                await asyncio.sleep(0)
                if not second.locked():
                    async with second:
                        log.append(name)
                        return
            await asyncio.sleep(0.001 if name == "forward" else 0.0017)

    await asyncio.gather(take("forward", left, right), take("backward", right, left))
    assert sorted(log) == ["backward", "forward"]


class ReadWriteLock:
    """Many readers or one writer, out of one condition."""

    def __init__(self) -> None:
        self._changed = asyncio.Condition()
        self.readers = 0
        self.writing = False

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: not self.writing)
            self.readers += 1
        try:
            yield
        finally:
            async with self._changed:
                self.readers -= 1
                self._changed.notify_all()

    @asynccontextmanager
    async def to_write(self) -> AsyncIterator[None]:
        async with self._changed:
            await self._changed.wait_for(lambda: not self.writing and not self.readers)
            self.writing = True
        try:
            yield
        finally:
            async with self._changed:
                self.writing = False
                self._changed.notify_all()


@healthy()
async def readers_and_writers() -> None:
    lock = ReadWriteLock()
    value = 0
    seen: list[int] = []

    async def reader() -> None:
        async with lock.reading():
            before = value
            await asyncio.sleep(0)
            assert value == before
            seen.append(value)

    async def writer() -> None:
        nonlocal value
        async with lock.to_write():
            old = value
            await asyncio.sleep(0)
            value = old + 1

    await asyncio.gather(*(one() for one in (reader, writer, reader, writer, reader)))
    assert value == 2
    assert len(seen) == 3


@healthy()
async def permits_taken_by_one_task_and_given_back_by_another() -> None:
    permits = asyncio.Semaphore(2)
    jobs: asyncio.Queue[int] = asyncio.Queue()
    done: list[int] = []

    async def submit() -> None:
        for number in range(6):
            await permits.acquire()  # held by the job, not by this task
            jobs.put_nowait(number)

    async def work() -> None:
        while len(done) < 6:
            done.append(await jobs.get())
            await asyncio.sleep(0)
            permits.release()

    await asyncio.gather(submit(), work())
    assert done == list(range(6))


@healthy()
async def lock_taken_here_and_released_there() -> None:
    lock = asyncio.Lock()
    log: list[str] = []

    async def later() -> None:
        await asyncio.sleep(0.002)
        log.append("released")
        lock.release()

    await lock.acquire()
    task = asyncio.create_task(later())
    async with lock:
        log.append("taken again")
    await task
    assert log == ["released", "taken again"]


@healthy()
async def lock_released_by_a_timer() -> None:
    loop = asyncio.get_running_loop()
    lock = asyncio.Lock()
    times = []
    for _ in range(3):
        await lock.acquire()
        times.append(loop.time())
        loop.call_later(0.002, lock.release)  # at most one request in two milliseconds
    async with lock:
        assert times == sorted(times)


@healthy()
async def condition_with_a_predicate_and_several_waiters() -> None:
    changed = asyncio.Condition()
    level = 0
    passed: list[int] = []

    async def wait_until(wanted: int) -> None:
        async with changed:
            await changed.wait_for(lambda: level >= wanted)
            passed.append(wanted)

    waiters = [asyncio.create_task(wait_until(wanted)) for wanted in (3, 1, 2)]
    for _ in range(3):
        await asyncio.sleep(0.001)
        async with changed:
            level += 1
            changed.notify_all()
    await asyncio.gather(*waiters)
    assert sorted(passed) == [1, 2, 3]


@healthy()
async def bounded_buffer_out_of_two_conditions() -> None:
    lock = asyncio.Lock()
    not_full, not_empty = asyncio.Condition(lock), asyncio.Condition(lock)
    buffer: deque[int] = deque()
    got: list[int] = []

    async def produce() -> None:
        for number in range(6):
            async with not_full:
                await not_full.wait_for(lambda: len(buffer) < 2)
                buffer.append(number)
                not_empty.notify()

    async def consume() -> None:
        for _ in range(6):
            async with not_empty:
                await not_empty.wait_for(lambda: bool(buffer))
                got.append(buffer.popleft())
                not_full.notify()

    await asyncio.gather(consume(), produce())
    assert got == list(range(6))


@healthy()
async def barrier_in_phases() -> None:
    barrier = asyncio.Barrier(3)
    log: list[int] = []

    async def player() -> None:
        for phase in range(3):
            log.append(phase)
            await barrier.wait()

    await asyncio.gather(*(player() for _ in range(3)))
    assert log == sorted(log)


@healthy()
async def event_in_pulses_with_a_waiter_that_looks_again() -> None:
    pulse = asyncio.Event()
    counter = 0
    seen = 0

    async def waiter() -> None:
        nonlocal seen
        while seen < 3:
            if counter == seen:
                await pulse.wait()
            seen = counter

    task = asyncio.create_task(waiter())
    for _ in range(3):
        await asyncio.sleep(0.001)
        counter += 1
        pulse.set()
        pulse.clear()
    await task
    assert seen == 3


@healthy()
async def locks_on_an_exit_stack() -> None:
    locks = [asyncio.Lock() for _ in range(3)]
    order: list[str] = []

    async def all_of_them(name: str) -> None:
        async with AsyncExitStack() as stack:
            for lock in locks:
                await stack.enter_async_context(lock)
            order.append(f"{name} in")
            await asyncio.sleep(0)
            order.append(f"{name} out")

    await asyncio.gather(*(all_of_them(name) for name in "abc"))
    assert [text[0] for text in order[::2]] == [text[0] for text in order[1::2]]


@healthy()
async def lock_waited_for_and_given_up() -> None:
    lock = asyncio.Lock()
    gave_up = 0

    async def impatient() -> None:
        nonlocal gave_up
        try:
            async with asyncio.timeout(0.002):
                async with lock:
                    pass
        except TimeoutError:
            gave_up += 1

    async with lock:
        await asyncio.gather(impatient(), impatient())
    assert gave_up == 2
    await asyncio.wait_for(lock.acquire(), 60)
    lock.release()


@healthy()
async def lock_for_each_key_made_when_needed() -> None:
    locks: dict[str, asyncio.Lock] = {}
    waiting: dict[str, int] = {}
    totals: dict[str, int] = {}

    @asynccontextmanager
    async def locked(key: str) -> AsyncIterator[None]:
        lock = locks.setdefault(key, asyncio.Lock())
        waiting[key] = waiting.get(key, 0) + 1
        try:
            async with lock:
                yield
        finally:
            waiting[key] -= 1
            if not waiting[key]:
                del locks[key]

    async def add(key: str) -> None:
        async with locked(key):
            old = totals.get(key, 0)
            await asyncio.sleep(0)
            totals[key] = old + 1

    await asyncio.gather(*(add(key) for key in "abacab"))
    assert totals == {"a": 3, "b": 2, "c": 1}
    assert locks == {}


@healthy()
async def turnstile_of_futures_in_a_deque() -> None:
    waiting: deque[asyncio.Future[None]] = deque()
    busy = False
    served: list[int] = []

    async def enter(number: int) -> None:
        nonlocal busy
        if busy:
            turn = asyncio.get_running_loop().create_future()
            waiting.append(turn)
            await turn
        busy = True
        served.append(number)
        await asyncio.sleep(0)
        if waiting:
            waiting.popleft().set_result(None)  # `busy` stays: handed over
        else:
            busy = False

    await asyncio.gather(*(enter(n) for n in range(4)))
    assert sorted(served) == [0, 1, 2, 3]
