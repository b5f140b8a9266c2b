"""Races with a clear end: the first of several, the rest cancelled; shields; eager tasks; results as they come."""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import Any

from .corpus import healthy


@healthy()
async def first_result_wins_and_the_losers_are_cancelled() -> None:
    async def answer(delay: float, name: str) -> str:
        await asyncio.sleep(delay)
        return name

    tasks = [asyncio.create_task(answer(0.001 * n, f"mirror {n}")) for n in range(1, 4)]
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for loser in pending:
        loser.cancel()
    await asyncio.gather(*pending, return_exceptions=True)
    assert all(task.result().startswith("mirror") for task in done)
    assert all(task.done() for task in tasks)


@healthy()
async def results_as_they_come() -> None:
    async def answer(delay: float) -> float:
        await asyncio.sleep(delay)
        return delay

    got = [await one for one in asyncio.as_completed([answer(0.003), answer(0.001), answer(0.002)])]
    assert sorted(got) == [0.001, 0.002, 0.003]


@healthy()
async def as_completed_left_early() -> None:
    async def answer(number: int) -> int:
        await asyncio.sleep(0.001 * number)
        return number

    tasks = [asyncio.create_task(answer(n)) for n in range(4)]
    for one in asyncio.as_completed(tasks):
        if await one >= 1:
            break
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


@healthy()
async def first_failure_ends_the_wait() -> None:
    async def fail() -> None:
        await asyncio.sleep(0.001)
        raise ValueError("first")

    failing = asyncio.create_task(fail())
    waiting = asyncio.create_task(asyncio.sleep(3600))
    done, pending = await asyncio.wait([failing, waiting], return_when=asyncio.FIRST_EXCEPTION)
    assert (done, pending) == ({failing}, {waiting})
    assert str(failing.exception()) == "first"
    waiting.cancel()


@healthy()
async def stop_event_raced_with_work() -> None:
    stop = asyncio.Event()
    rounds = 0

    async def work() -> None:
        nonlocal rounds
        await asyncio.sleep(0.001)
        rounds += 1

    asyncio.get_running_loop().call_later(0.005, stop.set)
    stopping = asyncio.create_task(stop.wait())
    while not stop.is_set():
        working = asyncio.create_task(work())
        await asyncio.wait([working, stopping], return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            working.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await working
    await stopping


@healthy()
async def shielded_write_survives_the_cancel_of_its_caller() -> None:
    written: list[str] = []
    begun, may_end = asyncio.Event(), asyncio.Event()
    writes: set[asyncio.Task[None]] = set()

    async def write() -> None:
        begun.set()
        await may_end.wait()
        written.append("row")

    async def caller() -> None:
        task = asyncio.create_task(write())
        writes.add(task)
        await asyncio.shield(task)

    calling = asyncio.create_task(caller())
    await begun.wait()
    calling.cancel()
    await asyncio.wait([calling])
    may_end.set()
    await asyncio.gather(*writes)
    assert calling.cancelled()
    assert written == ["row"]


@healthy()
async def shield_in_a_finally_block() -> None:
    flushed: list[str] = []
    begun = asyncio.Event()

    async def flush() -> None:
        await asyncio.sleep(0.001)
        flushed.append("flushed")

    async def service() -> None:
        begun.set()
        try:
            await asyncio.Future()
        finally:
            await asyncio.shield(asyncio.create_task(flush()))

    task = asyncio.create_task(service())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert flushed == ["flushed"]


@healthy()
async def eager_tasks_where_there_are_any() -> None:
    loop = asyncio.get_running_loop()
    if sys.version_info >= (3, 12):
        loop.set_task_factory(asyncio.eager_task_factory)
    log: list[int] = []

    async def child(number: int) -> int:
        log.append(number)
        if number % 2:
            await asyncio.sleep(0.001)
        return number

    tasks = [asyncio.create_task(child(n)) for n in range(4)]
    assert await asyncio.gather(*tasks) == [0, 1, 2, 3]
    assert sorted(log) == [0, 1, 2, 3]
    loop.set_task_factory(None)


@healthy()
async def futures_chained_by_callbacks() -> None:
    loop = asyncio.get_running_loop()
    first: asyncio.Future[int] = loop.create_future()
    second: asyncio.Future[int] = loop.create_future()
    third: asyncio.Future[int] = loop.create_future()
    first.add_done_callback(lambda done: second.set_result(done.result() + 1))
    second.add_done_callback(lambda done: third.set_result(done.result() + 1))
    loop.call_soon(first.set_result, 1)
    assert await third == 3


@healthy()
async def callback_removed_before_it_is_called() -> None:
    called: list[str] = []

    def first(_: Any) -> None:
        called.append("first")

    def second(_: Any) -> None:
        called.append("second")

    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(first)
    future.add_done_callback(second)
    assert future.remove_done_callback(first) == 1
    future.set_result(None)
    await future
    while not called:
        await asyncio.sleep(0)
    assert called == ["second"]


@healthy()
async def gather_of_gathers_cancelled_as_one() -> None:
    async def leaf() -> None:
        await asyncio.sleep(3600)

    tree = asyncio.gather(asyncio.gather(leaf(), leaf()), asyncio.gather(leaf(), leaf()))
    asyncio.get_running_loop().call_later(0.002, tree.cancel)
    cancelled = False
    try:
        await tree
    except asyncio.CancelledError:
        cancelled = True
    assert cancelled
    assert tree.done()


@healthy()
async def task_cancelled_before_it_began() -> None:
    began: list[int] = []

    async def child() -> None:
        began.append(1)

    task = asyncio.create_task(child())
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert began == []


@healthy()
async def one_future_awaited_by_many() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    async def waiter() -> int:
        return await asyncio.shield(future)

    tasks = [asyncio.create_task(waiter()) for _ in range(5)]
    tasks[0].cancel()
    asyncio.get_running_loop().call_later(0.002, future.set_result, 9)
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert results[1:] == [9, 9, 9, 9]


@healthy()
async def polling_with_bare_yields() -> None:
    ready: list[int] = []

    async def later() -> None:
        for _ in range(5):
            await asyncio.sleep(0)
        ready.append(1)

    task = asyncio.create_task(later())
    while not ready:
        await asyncio.sleep(0)
    await task


@healthy()
async def exceptions_given_to_a_waiting_future() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(0.001, future.set_exception, LookupError("no such thing"))
    try:
        await future
    except LookupError as error:
        assert str(error) == "no such thing"
