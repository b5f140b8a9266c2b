"""The private names of CPython that the diagnosis of waits rests on, each where it was seen."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from types import CodeType
from typing import Any

import pytest

from vtloop import cpython_waits


def run(main: Callable[[], Awaitable[Any]]) -> Any:
    loop = asyncio.new_event_loop()
    try:
        return loop.run_until_complete(main())
    finally:
        loop.close()


async def waiting(awaitable: Any) -> asyncio.Task[Any]:
    """A task that waits for it."""
    task = asyncio.ensure_future(awaitable)
    for _ in range(3):
        await asyncio.sleep(0)
    assert cpython_waits.future_waited_for(task) is not None
    return task


async def ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize(
    ("kind", "make", "wait"),
    [
        ("Lock", asyncio.Lock, lambda x: x.acquire()),
        ("Event", asyncio.Event, lambda x: x.wait()),
        ("Semaphore", lambda: asyncio.Semaphore(0), lambda x: x.acquire()),
        ("Queue.get", asyncio.Queue, lambda x: x.get()),
        ("Queue.put", lambda: asyncio.Queue(1), lambda x: x.put(2)),
        ("Queue.join", asyncio.Queue, lambda x: x.join()),
        ("Barrier", lambda: asyncio.Barrier(3), lambda x: x.wait()),
    ],
)
def test_the_line_of_a_primitive_has_its_waiters_in_order(kind: str, make: Any, wait: Any) -> None:
    async def main() -> None:
        thing = make()
        if kind == "Lock":
            await thing.acquire()
        elif kind in ("Queue.put", "Queue.join"):
            thing.put_nowait(1)
        tasks = [await waiting(wait(thing)), await waiting(wait(thing))]
        line = list(cpython_waits.waiting_line(kind, thing))
        assert line == [cpython_waits.future_waited_for(task) for task in tasks]
        await ended(*tasks)

    run(main)


def test_the_line_of_a_condition_has_those_who_wait_to_be_notified() -> None:
    async def main() -> None:
        changed = asyncio.Condition()

        async def waiter() -> None:
            async with changed:
                await changed.wait()

        tasks = [await waiting(waiter()), await waiting(waiter())]
        line = list(cpython_waits.waiting_line("Condition", changed))
        assert line == [cpython_waits.future_waited_for(task) for task in tasks]
        await ended(*tasks)

    run(main)


def test_a_primitive_that_nobody_waited_for_has_an_empty_line() -> None:
    for kind, thing in (("Lock", asyncio.Lock()), ("Semaphore", asyncio.Semaphore()), ("Queue.get", asyncio.Queue())):
        assert list(cpython_waits.waiting_line(kind, thing)) == []
    assert list(cpython_waits.waiting_line("Lock", object())) == []


def test_the_phase_of_a_barrier_and_the_buffer_of_a_stream_are_known() -> None:
    async def main() -> None:
        assert cpython_waits.barrier_phase(asyncio.Barrier(2)) == "filling"
        stream = asyncio.StreamReader()
        stream.feed_data(b"abc")
        assert cpython_waits.bytes_buffered(stream) == 3

    run(main)
    assert cpython_waits.barrier_phase(object()) is None
    assert cpython_waits.bytes_buffered(object()) is None


def test_a_queue_that_was_shut_down_is_known() -> None:
    queue: Any = asyncio.Queue()
    assert not cpython_waits.is_shut_down(queue)
    if sys.version_info >= (3, 13):
        queue.shutdown()
        assert cpython_waits.is_shut_down(queue)


def test_what_as_completed_waits_for_is_known() -> None:
    async def main() -> None:
        async def for_ever() -> None:
            await asyncio.get_running_loop().create_future()

        jobs = [await waiting(for_ever()) for _ in range(2)]
        completed = asyncio.as_completed(jobs)
        for first in completed:
            taking = await waiting(first)
            break
        if sys.version_info >= (3, 13):
            assert set(cpython_waits.as_completed_todo(completed)) == set(jobs)
        else:
            queues = {cpython_waits.completion_queue(job) for job in jobs}
            assert [type(queue) for queue in queues] == [asyncio.Queue]
            assert cpython_waits.completion_queue(taking) is None
        await ended(taking, *jobs)

    run(main)


def test_code_that_enters_managers_is_told_from_code_that_does_not() -> None:
    async def plain() -> None:
        await asyncio.sleep(0)

    async def entering() -> None:
        async with asyncio.Lock():
            pass

    async def iterating() -> None:
        async for _ in asyncio.StreamReader():
            pass

    found = [cpython_waits.enters_managers(f.__code__) for f in (plain, entering, iterating)]
    assert found == [False, True, True]


def test_the_coroutines_of_asyncio_that_wait_are_known_by_their_code() -> None:
    kinds = {known.kind for known in cpython_waits.PRIMITIVES.values()}
    assert {
        *("Lock", "Condition", "Event", "Semaphore", "Barrier", "Queue.get", "Queue.put", "Queue.join", "TaskGroup"),
        *("sleep", "wait", "wait_for", "executor call", "as_completed", "StreamReader.read", "StreamReader.readline"),
        *("StreamReader.readexactly", "StreamReader.readuntil", "StreamWriter.drain", "StreamWriter.wait_closed"),
    } == kinds
    assert all(isinstance(known.code, CodeType) for known in cpython_waits.PRIMITIVES.values())
