"""A lock that is made once for all tests belongs to the loop of the first test that waited on it."""

import asyncio

import pytest

LOCK = asyncio.Lock()


async def use(log: list[str], name: str) -> None:
    async with LOCK:
        await asyncio.sleep(1)
        log.append(name)


@pytest.mark.vtloop
@pytest.mark.parametrize("names", ["ab", "cd"])
async def test_users_take_turns(names: str) -> None:
    log: list[str] = []
    await asyncio.gather(*(use(log, name) for name in names))
    assert "".join(log) == names
