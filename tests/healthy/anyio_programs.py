"""The same kinds of programs written with anyio: groups, streams, locks, limiters, scopes, threads."""

from __future__ import annotations

import math
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread

from .corpus import healthy


@healthy()
async def group_cancelled_when_its_work_is_done() -> None:
    results: list[int] = []

    async def forever() -> None:
        await anyio.sleep_forever()

    async def work() -> None:
        for number in range(3):
            await anyio.sleep(0.001)
            results.append(number)

    async with anyio.create_task_group() as group:
        group.start_soon(forever)
        await work()
        group.cancel_scope.cancel()
    assert results == [0, 1, 2]


@healthy()
async def child_that_says_when_it_has_started() -> None:
    async def server(*, task_status: Any = anyio.TASK_STATUS_IGNORED) -> None:
        await anyio.sleep(0.001)
        task_status.started(8080)
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        port = await group.start(server)
        group.cancel_scope.cancel()
    assert port == 8080


@healthy()
async def memory_stream_closed_by_its_producers() -> None:
    got: list[int] = []
    send, receive = anyio.create_memory_object_stream[int](1)

    async def produce(stream: Any, base: int) -> None:
        async with stream:
            for number in range(3):
                await stream.send(base + number)

    async with anyio.create_task_group() as group, receive:
        async with send:
            for base in (0, 10):
                group.start_soon(produce, send.clone(), base)
        async for item in receive:
            got.append(item)
    assert sorted(got) == [0, 1, 2, 10, 11, 12]


@healthy()
async def events_locks_and_conditions() -> None:
    event, lock, condition = anyio.Event(), anyio.Lock(), anyio.Condition()
    log: list[str] = []
    ready = False

    async def waiter(name: str) -> None:
        nonlocal ready
        await event.wait()
        async with lock:
            await anyio.lowlevel.checkpoint()
            log.append(name)
        async with condition:
            ready = True
            condition.notify_all()

    async with anyio.create_task_group() as group:
        for name in "abc":
            group.start_soon(waiter, name)
        await anyio.sleep(0.001)
        event.set()
        async with condition:
            while not ready:
                await condition.wait()
    assert sorted(log) == ["a", "b", "c"]


@healthy()
async def limiter_and_semaphore() -> None:
    limiter, semaphore = anyio.CapacityLimiter(2), anyio.Semaphore(3)
    inside = most = 0

    async def work() -> None:
        nonlocal inside, most
        async with semaphore, limiter:
            inside += 1
            most = max(most, inside)
            await anyio.sleep(0.001)
            inside -= 1

    async with anyio.create_task_group() as group:
        for _ in range(6):
            group.start_soon(work)
    assert most <= 2
    assert limiter.borrowed_tokens == 0


@healthy()
async def scopes_that_time_out() -> None:
    log: list[str] = []
    with anyio.move_on_after(0.003) as scope:
        await anyio.sleep(3600)
    log.append("moved on" if scope.cancelled_caught else "finished")
    try:
        with anyio.fail_after(0.003):
            await anyio.sleep(math.inf)
    except TimeoutError:
        log.append("failed")
    with anyio.fail_after(3600):
        await anyio.sleep(0)
    assert log == ["moved on", "failed"]


@healthy()
async def shielded_clean_up_in_a_cancelled_scope() -> None:
    cleaned: list[str] = []
    with anyio.move_on_after(0.002):
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.sleep(0.002)
                cleaned.append("cleaned")
    assert cleaned == ["cleaned"]


@healthy()
async def failing_child_caught_as_a_group() -> None:
    async def fail() -> None:
        await anyio.sleep(0.001)
        raise KeyError("child")

    caught = 0
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(anyio.sleep_forever)
            group.start_soon(fail)
    except* KeyError as failures:
        caught = len(failures.exceptions)
    assert caught == 1


@healthy(threads=True)
async def calls_to_and_from_threads() -> None:
    async def double(number: int) -> int:
        await anyio.sleep(0)
        return number * 2

    def work() -> int:
        return anyio.from_thread.run(double, 4)

    assert await anyio.to_thread.run_sync(work) == 8


@healthy(quick=False)
async def heartbeat_cancelled_with_its_group() -> None:
    beats = 0

    async def heartbeat() -> None:
        nonlocal beats
        while True:
            await anyio.sleep(30)
            beats += 1

    async with anyio.create_task_group() as group:
        group.start_soon(heartbeat)
        await anyio.sleep(1200)
        group.cancel_scope.cancel()
    assert beats


@healthy()
async def buffered_stream_with_a_slow_reader() -> None:
    send, receive = anyio.create_memory_object_stream[int](2)
    got: list[int] = []

    async def read() -> None:
        async with receive:
            async for item in receive:
                await anyio.sleep(0.001)
                got.append(item)

    async with anyio.create_task_group() as group:
        group.start_soon(read)
        async with send:
            for number in range(5):
                await send.send(number)
    assert got == [0, 1, 2, 3, 4]
