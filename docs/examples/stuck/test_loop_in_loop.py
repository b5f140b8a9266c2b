"""``run_until_complete`` or ``asyncio.run`` where a loop runs already: only the loop's own code may do that."""

import asyncio

import pytest


async def load() -> dict[str, int]:
    await asyncio.sleep(1)
    return {"answer": 42}


def settings() -> dict[str, int]:
    return asyncio.run(load())


@pytest.mark.vtloop
async def test_settings() -> None:
    assert settings() == {"answer": 42}


@pytest.mark.vtloop
async def test_load() -> None:
    loop = asyncio.get_running_loop()
    assert loop.run_until_complete(load())["answer"] == 42
