"""A forgotten await: the call makes a coroutine, and nothing runs."""

import asyncio

import pytest


async def publish(done: asyncio.Event) -> None:
    await asyncio.sleep(0.1)
    done.set()


@pytest.mark.vtloop
async def test_publishes() -> None:
    done = asyncio.Event()
    publish(done)
    await done.wait()
