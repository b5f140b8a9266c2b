"""A background task fails, and nobody reads its exception: what it was to do never happens."""

import asyncio

import pytest


class Server:
    def __init__(self, port: str) -> None:
        self.port = port
        self.ready = asyncio.Event()

    async def serve(self) -> None:
        await asyncio.sleep(0.1)
        print("listening on", int(self.port))
        self.ready.set()


@pytest.mark.vtloop
async def test_server_starts() -> None:
    server = Server(port="80a")
    task = asyncio.create_task(server.serve(), name="server")
    await server.ready.wait()
    task.cancel()
