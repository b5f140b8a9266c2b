"""A ``notify`` before the ``wait`` is lost; so is a ``set`` that is cleared before anybody looks."""

import asyncio

import pytest


@pytest.mark.vtloop
async def test_notified() -> None:
    condition = asyncio.Condition()

    async def wait_for_change() -> None:
        await asyncio.sleep(1)
        async with condition:
            await condition.wait()

    waiter = asyncio.create_task(wait_for_change(), name="waiter")
    async with condition:
        condition.notify_all()
    await waiter


@pytest.mark.vtloop
async def test_event_is_pulsed() -> None:
    tick = asyncio.Event()

    async def listen() -> None:
        await asyncio.sleep(1)
        await tick.wait()

    listener = asyncio.create_task(listen(), name="listener")
    tick.set()
    tick.clear()
    await listener
