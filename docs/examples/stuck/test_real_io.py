"""The test connects to a real server, which is not there, or slow, or another one tomorrow."""

import asyncio
import socket

import pytest


async def version(host: str) -> str:
    reader, writer = await asyncio.open_connection(host, 5432)
    writer.write(b"version\n")
    return (await reader.readline()).decode()


def ping(host: str) -> None:
    socket.create_connection((host, 5432)).close()


@pytest.mark.vtloop
async def test_version() -> None:
    assert await version("db.example.com") == "16\n"


@pytest.mark.vtloop
async def test_ping() -> None:
    ping("db.example.com")
