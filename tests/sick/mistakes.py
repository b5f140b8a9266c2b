"""Common mistakes: Python's own error stays, and a note says what to do."""

from __future__ import annotations

import asyncio
import threading
from unittest.mock import AsyncMock, Mock

from .case import sick


async def fetch():
    await asyncio.sleep(0)
    return {"a": 1}


@sick(TypeError, shows=("await", "fetch"), here=("",))
async def a_missing_await():
    answer = fetch()
    return answer["a"]  # HERE


@sick(AttributeError, shows=("await", "fetch"), here=("",))
async def a_missing_await_before_a_method():
    return fetch().items()  # HERE


@sick(TypeError, shows=("AsyncMock",), here=("",))
async def a_mock_that_cannot_be_awaited():
    client = Mock()
    await client.get("/")  # HERE


@sick((TypeError, AttributeError), shows=("AsyncMock", "awaited"), here=("",))
async def an_async_mock_whose_result_is_an_async_mock():
    session = AsyncMock()
    response = await session.get("/")
    body = response.json()
    return body["a"]  # HERE


@sick(TypeError, shows=("async for",), here=("",))
async def a_plain_list_in_async_for():
    rows = Mock()
    rows.all.return_value = [1, 2]
    async for _ in rows.all():  # HERE
        pass


@sick(TypeError, shows=("plain context manager",), here=("",))
async def a_plain_context_manager_in_async_with():
    async with threading.Lock():  # HERE
        pass


@sick(RuntimeError, shows=("another loop",), here=("",))
async def a_lock_of_another_loop():
    lock = asyncio.Lock()

    async def contend():
        async with lock:
            await asyncio.sleep(0)

    async def both():
        await asyncio.gather(contend(), contend())

    await asyncio.to_thread(lambda: asyncio.run(both()))
    await lock.acquire()
    await lock.acquire()  # HERE


@sick(RuntimeError, shows=("await",), here=("",))
async def run_until_complete_in_a_coroutine():
    loop = asyncio.get_running_loop()
    coro = fetch()
    try:
        loop.run_until_complete(coro)  # HERE
    finally:
        coro.close()


@sick(RuntimeError, shows=("await",), here=("",))
async def asyncio_run_in_a_coroutine():
    coro = fetch()
    try:
        asyncio.run(coro)  # HERE
    finally:
        coro.close()


@sick(RuntimeError, shows=("thread",), here=("",))
async def get_event_loop_in_a_thread():
    def work():
        return asyncio.get_event_loop()  # HERE

    await asyncio.to_thread(work)


@sick(TypeError, shows=("create_task",), here=("",))
async def a_function_given_to_create_task():
    await asyncio.create_task(fetch)  # HERE
