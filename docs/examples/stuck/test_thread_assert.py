"""An assertion that fails in a thread: pytest sees nothing of it, and the test waits for ever."""

import asyncio
import threading

import pytest


def check(reply: str, done: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
    assert reply == "pong"
    loop.call_soon_threadsafe(done.set)


@pytest.mark.vtloop
async def test_reply_is_checked() -> None:
    done = asyncio.Event()
    threading.Thread(target=check, args=("ping", done, asyncio.get_running_loop()), name="checker").start()
    await done.wait()
