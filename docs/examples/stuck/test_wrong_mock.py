"""Mocks of the wrong type: one cannot be awaited, the other must be awaited twice."""

from unittest.mock import AsyncMock, MagicMock

import pytest


async def name_of(client, user: int) -> str:
    reply = await client.get(f"/users/{user}")
    return reply.json()["name"]


@pytest.mark.vtloop
async def test_name_with_a_plain_mock() -> None:
    client = MagicMock()
    client.get.return_value.json.return_value = {"name": "Ada"}
    assert await name_of(client, 1) == "Ada"


@pytest.mark.vtloop
async def test_name_with_an_async_mock() -> None:
    client = AsyncMock()
    client.get.return_value.json.return_value = {"name": "Ada"}
    assert await name_of(client, 1) == "Ada"
