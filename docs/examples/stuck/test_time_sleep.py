"""``time.sleep`` stops the whole loop, not one task."""

import asyncio
import time

import pytest


async def poll(replies: list[str]) -> str:
    while not replies:
        time.sleep(0.5)
    return replies[0]


@pytest.mark.vtloop
async def test_poll_sees_the_reply() -> None:
    replies: list[str] = []
    asyncio.get_running_loop().call_later(1, replies.append, "pong")
    assert await poll(replies) == "pong"
