"""A heartbeat ticks for ever, so the loop is never idle, and nobody notices that the test is dead."""

import asyncio

import pytest


async def heartbeat() -> None:
    while True:
        await asyncio.sleep(1)


@pytest.mark.vtloop
async def test_job_arrives() -> None:
    jobs: asyncio.Queue[str] = asyncio.Queue()
    beat = asyncio.create_task(heartbeat(), name="heartbeat")
    assert await jobs.get() == "job"
    beat.cancel()
