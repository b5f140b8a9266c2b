"""What a run leaves behind: coroutines, tasks, errors nobody read, generators, locks, calls."""

from __future__ import annotations

import asyncio
import threading
import time
from unittest.mock import AsyncMock

from vtloop import LeakError

from .case import sick

OPEN = []
"""Outlives the program."""


async def save(what="a"):
    await asyncio.sleep(0)
    return what


@sick(LeakError, says=("save", "never awaited"), here=("",))
async def a_coroutine_never_awaited():
    save()  # HERE
    await asyncio.sleep(0.1)


@sick(LeakError, says=("never awaited",), here=("",))
async def coroutines_in_a_list_never_awaited():
    jobs = [save(name) for name in "abc"]  # HERE
    await asyncio.sleep(0.1)
    assert len(jobs) == 3


@sick(LeakError, says=("Repository.commit", "never awaited"), here=("",))
async def a_method_never_awaited():
    class Repository:
        async def commit(self):
            await asyncio.sleep(0)

    async def handle(repository):
        repository.commit()  # HERE
        await asyncio.sleep(0)

    await handle(Repository())


@sick(LeakError, says=("never awaited",), here=("",))
async def a_call_of_an_async_mock_never_awaited():
    send = AsyncMock()
    send("hello")  # HERE
    await asyncio.sleep(0)


@sick(LeakError, says=("stubborn", "cancel"), here=("",))
async def a_task_that_survives_its_cancel():
    async def stubborn():
        while True:
            try:
                await asyncio.sleep(60)  # HERE
            except asyncio.CancelledError:
                pass

    task = asyncio.create_task(stubborn(), name="stubborn")
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(1)


@sick(ValueError, says=("no such row",), shows=("loader",))
async def a_task_whose_error_nobody_reads():
    async def load():
        raise ValueError("no such row")

    task = asyncio.create_task(load(), name="loader")
    await asyncio.sleep(0.1)
    assert task.done()


@sick(ValueError, says=("no answer",))
async def a_future_whose_error_nobody_reads():
    answer = asyncio.get_running_loop().create_future()
    answer.set_exception(ValueError("no answer"))
    await asyncio.sleep(0.1)


@sick(ZeroDivisionError)
async def a_callback_that_raises():
    asyncio.get_running_loop().call_later(0.1, lambda: 1 / 0)
    await asyncio.sleep(1)


@sick(AssertionError, says=("not equal",), shows=("checker",))
async def a_thread_whose_assertion_fails_unseen():
    def check():
        assert 1 == 2, "not equal"

    thread = threading.Thread(target=check, name="checker")
    thread.start()
    await asyncio.to_thread(thread.join)


@sick(ValueError, says=("second",), shows=("second",))
async def the_second_error_of_a_gather():
    async def fail(after, text):
        await asyncio.sleep(after)
        raise ValueError(text)

    try:
        await asyncio.gather(
            asyncio.create_task(fail(0.1, "first"), name="first"), asyncio.create_task(fail(0.2, "2nd"), name="late")
        )
    except ValueError:
        pass
    task = asyncio.create_task(fail(0.1, "second"), name="second")
    await asyncio.sleep(1)
    assert task.done()


@sick(None, says=("pages", "async generator"), here=("",))
async def an_async_generator_left_open():
    async def pages():
        try:
            yield 1
            yield 2  # HERE
        finally:
            await asyncio.sleep(0)

    reading = pages()
    await anext(reading)
    await anext(reading)
    OPEN.append(reading)


@sick(None, says=("taker", "still held"), here=("",))
async def a_lock_still_held_at_the_end():
    lock = asyncio.Lock()
    OPEN.append(lock)

    async def take():
        await lock.acquire()  # HERE

    await asyncio.create_task(take(), name="taker")
    await asyncio.sleep(0.1)


@sick(None, says=("report", "executor call", "still going"), here=("",))
async def an_executor_call_still_going():
    def report():  # HERE
        time.sleep(60)

    asyncio.get_running_loop().run_in_executor(None, report)
    await asyncio.sleep(1)
