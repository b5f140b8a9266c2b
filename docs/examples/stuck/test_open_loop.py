"""A loop that a module opens and leaves open: what is made on it never goes on, because nobody runs it."""

import asyncio

import pytest

LOOP = asyncio.new_event_loop()


class Client:
    def __init__(self) -> None:
        self.connected = LOOP.create_future()

    async def connect(self) -> str:
        return await self.connected


@pytest.mark.vtloop
async def test_connects() -> None:
    await Client().connect()
