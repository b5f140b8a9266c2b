"""Streams and iterators: readers fed by callbacks, transports that are not real, async generators, pipelines."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from typing import Any

from .corpus import healthy


@healthy()
async def stream_reader_fed_by_timers() -> None:
    loop = asyncio.get_running_loop()
    reader = asyncio.StreamReader()
    for place, chunk in enumerate([b"first li", b"ne\nsecond", b" line\nrest"]):
        loop.call_later(0.001 * place, reader.feed_data, chunk)
    loop.call_later(0.004, reader.feed_eof)
    lines = [await reader.readline(), await reader.readline()]
    assert lines == [b"first line\n", b"second line\n"]
    assert await reader.read() == b"rest"


@healthy()
async def stream_that_breaks_off() -> None:
    reader = asyncio.StreamReader()
    asyncio.get_running_loop().call_later(0.002, reader.set_exception, ConnectionResetError("gone"))
    try:
        await reader.readexactly(10)
    except ConnectionResetError as error:
        assert str(error) == "gone"
    else:
        raise AssertionError("nothing was raised")


class Link(asyncio.Transport):
    """One end of a connection in memory: what is written arrives at the other end a moment later."""

    def __init__(self, deliver: Callable[[bytes | None], None]) -> None:
        super().__init__()
        self._deliver, self._closing = deliver, False

    def write(self, data: Any) -> None:
        asyncio.get_running_loop().call_later(0.001, self._deliver, bytes(data))

    def is_closing(self) -> bool:
        return self._closing

    def close(self) -> None:
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_later(0.001, self._deliver, None)


class Socket(asyncio.Protocol):
    """Like a web socket: frames come by callback, and are waited for."""

    def __init__(self) -> None:
        self.frames: asyncio.Queue[bytes] = asyncio.Queue()
        self.closed = asyncio.get_running_loop().create_future()
        self.transport: Any = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.frames.put_nowait(data)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self.closed.done():
            self.closed.set_result(None)


def connect(left: Socket, right: Socket) -> None:
    def to(socket: Socket) -> Callable[[bytes | None], None]:
        return lambda data: socket.connection_lost(None) if data is None else socket.data_received(data)

    left.connection_made(Link(to(right)))
    right.connection_made(Link(to(left)))


@healthy()
async def echo_over_a_transport_in_memory() -> None:
    client, server = Socket(), Socket()
    connect(client, server)

    async def echo() -> None:
        while True:
            server.transport.write(await server.frames.get())

    serving = asyncio.create_task(echo())
    for number in range(3):
        client.transport.write(b"%d" % number)
        assert await client.frames.get() == b"%d" % number
    client.transport.close()
    await server.closed
    serving.cancel()


@healthy()
async def ping_until_the_other_end_closes() -> None:
    client, server = Socket(), Socket()
    connect(client, server)
    pings = 0

    async def keep_alive() -> None:
        nonlocal pings
        while not client.closed.done():
            client.transport.write(b"ping")
            pings += 1
            await asyncio.sleep(0.002)

    async def hang_up() -> None:
        for _ in range(3):
            await server.frames.get()
        server.transport.close()

    await asyncio.gather(keep_alive(), hang_up())
    assert pings >= 3


@healthy()
async def reconnecting_client() -> None:
    connections = 0
    received: list[bytes] = []

    async def session() -> None:
        nonlocal connections
        connections += 1
        client, server = Socket(), Socket()
        connect(client, server)
        server.transport.write(b"hello %d" % connections)
        asyncio.get_running_loop().call_later(0.003, server.transport.close)
        received.append(await client.frames.get())
        await client.closed

    while connections < 3:
        await session()
        await asyncio.sleep(0.001)
    assert received == [b"hello 1", b"hello 2", b"hello 3"]


async def numbers(upto: int) -> AsyncIterator[int]:
    for number in range(upto):
        await asyncio.sleep(0)
        yield number


@healthy()
async def async_generators_in_a_pipeline() -> None:
    async def squares(source: AsyncIterator[int]) -> AsyncIterator[int]:
        async for number in source:
            yield number * number

    assert [n async for n in squares(numbers(5))] == [0, 1, 4, 9, 16]


@healthy()
async def generator_left_by_break_and_closed() -> None:
    closed: list[str] = []

    async def rows() -> AsyncIterator[int]:
        try:
            for number in range(100):
                await asyncio.sleep(0)
                yield number
        finally:
            await asyncio.sleep(0)
            closed.append("closed")

    async with contextlib.aclosing(rows()) as source:  # type: ignore[type-var]
        async for number in source:
            if number == 3:
                break
    assert closed == ["closed"]


@healthy()
async def generator_left_by_break_and_forgotten() -> None:
    # The loop closes it when it is dropped; many programs rely on that.
    first = -1
    async for number in numbers(10):
        if number == 2:
            first = number
            break
    await asyncio.sleep(0.001)
    assert first == 2


@healthy()
async def first_match_then_return() -> None:
    async def find(wanted: int) -> int | None:
        async for number in numbers(10):
            if number == wanted:
                return number
        return None

    assert await find(4) == 4


@healthy()
async def iterator_class_over_a_queue() -> None:
    class Feed:
        def __init__(self) -> None:
            self.queue: asyncio.Queue[int | None] = asyncio.Queue()

        def __aiter__(self) -> Feed:
            return self

        async def __anext__(self) -> int:
            item = await self.queue.get()
            if item is None:
                raise StopAsyncIteration
            return item

    feed = Feed()
    loop = asyncio.get_running_loop()
    for place, item in enumerate([1, 2, 3, None]):
        loop.call_later(0.001 * (place + 1), feed.queue.put_nowait, item)
    assert [item async for item in feed] == [1, 2, 3]


@healthy()
async def merged_from_several_sources() -> None:
    queue: asyncio.Queue[tuple[str, int]] = asyncio.Queue()

    async def pump(name: str, upto: int) -> None:
        async for number in numbers(upto):
            await queue.put((name, number))

    async with asyncio.TaskGroup() as group:
        for name in "ab":
            group.create_task(pump(name, 3))
    got = [queue.get_nowait() for _ in range(queue.qsize())]
    assert sorted(got) == [(name, number) for name in "ab" for number in range(3)]
    assert [number for name, number in got if name == "a"] == [0, 1, 2]


@healthy()
async def generator_driven_with_send() -> None:
    async def average() -> Any:
        total, count, value = 0.0, 0, None
        while True:
            value = yield (total / count if count else None)
            await asyncio.sleep(0)
            total, count = total + value, count + 1

    source = average()
    await source.asend(None)
    assert [await source.asend(n) for n in (10, 20, 30)] == [10, 15, 20]
    await source.aclose()


@healthy()
async def writer_slowed_down_by_its_reader() -> None:
    # As a transport does: above the high-water mark the writer waits until the reader has caught up.
    buffered: list[int] = []
    may_write, may_read = asyncio.Event(), asyncio.Event()
    may_write.set()
    got: list[int] = []

    async def write() -> None:
        for number in range(10):
            await may_write.wait()
            buffered.append(number)
            may_read.set()
            if len(buffered) >= 3:
                may_write.clear()

    async def read() -> None:
        while len(got) < 10:
            await may_read.wait()
            got.extend(buffered)
            buffered.clear()
            may_read.clear()
            may_write.set()

    await asyncio.gather(write(), read())
    assert got == list(range(10))
