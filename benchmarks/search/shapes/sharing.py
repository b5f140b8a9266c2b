"""Shapes in which two tasks share a value and one of them believes what it saw an await ago."""

from __future__ import annotations

import asyncio
from contextlib import nullcontext

from benchmarks.search.shape import replies, shape, yields

__all__ = ["SHAPES"]


@shape("stampede", "wakeups")
async def stampede(repaired: bool) -> None:
    """Check-then-act: a second request misses the key before the first has filled the cache."""
    cache: dict[str, asyncio.Future[str] | str] = {}
    queries = []

    async def query(key: str) -> str:
        queries.append(key)
        await replies(2)
        return key.upper()

    async def get(key: str) -> str:
        if key not in cache:
            if repaired:
                cache[key] = asyncio.ensure_future(query(key))
            else:
                cache[key] = await query(key)
        value = cache[key]
        return value if isinstance(value, str) else await asyncio.shield(value)

    async def request(awaits: int) -> None:
        await replies(awaits)  # the session, the permissions
        assert await get("ann") == "ANN"

    await asyncio.gather(request(1), request(5))
    assert len(queries) == 1, f"{len(queries)} queries for one key"


@shape("lost-update", "wakeups")
async def lost_update(repaired: bool) -> None:
    """Lost update: a balance is read, the rate is asked for, and the sum is written over another deposit."""
    balance = 0
    lock = asyncio.Lock()

    async def deposit(awaits: int, amount: int) -> None:
        nonlocal balance
        await replies(awaits)
        async with lock if repaired else nullcontext():
            before = balance
            await replies()  # the rate of exchange
            balance = before + amount

    await asyncio.gather(deposit(0, 1), deposit(3, 10), deposit(6, 100))
    assert balance == 111, balance


@shape("read-after-evict", "wakeups")
async def read_after_evict(repaired: bool) -> None:
    """Read after evict: a key is there, its use is noted, and by then a newer key has driven it out."""
    cache: dict[str, str] = {"ann": "ANN"}

    async def read(key: str) -> str | None:
        if key not in cache:
            return None
        if repaired:
            value = cache[key]
            await replies()  # statistics
            return value
        await replies()
        return cache[key]

    async def store(key: str, awaits: int) -> None:
        await replies(awaits)
        cache[key] = key.upper()
        if len(cache) > 2:
            del cache[next(iter(cache))]

    async def reader() -> None:
        await replies(2)
        assert await read("ann") in (None, "ANN")

    await asyncio.gather(reader(), store("bob", 4), store("cleo", 6))


@shape("re-entrant-init", "tasks")
async def reentrant_init(repaired: bool) -> None:
    """Lazy set-up with two awaits: the second caller gets a client that has not logged in yet."""

    class Client:
        ready = False

        async def open(self) -> None:
            await yields()  # connect
            await yields()  # log in
            self.ready = True

    client: Client | None = None
    lock = asyncio.Lock()

    async def get() -> Client:
        nonlocal client
        async with lock if repaired else nullcontext():
            if client is None:
                client = Client()
                await client.open()
        return client

    async def caller(awaits: int) -> None:
        await yields(awaits)
        assert (await get()).ready, "a client that has not logged in"

    await asyncio.gather(caller(0), caller(4), caller(7))


@shape("late-registration", "wakeups")
async def late_registration(repaired: bool) -> None:
    """Late registration: the answer is there before the one who asked has written down that it waits for it."""
    pending: dict[int, asyncio.Future[str]] = {}
    wire: asyncio.Queue[int] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def call(number: int) -> str:
        answer: asyncio.Future[str] = loop.create_future()
        if repaired:
            pending[number] = answer
        wire.put_nowait(number)
        await replies()  # the bytes are flushed
        if not repaired:
            pending[number] = answer
        return await answer

    async def serve() -> None:
        number = await wire.get()
        await replies(4)  # there, and back again
        if number in pending:  # nobody waits for it: an answer after its timeout
            pending.pop(number).set_result("fine")

    server = asyncio.create_task(serve())
    await asyncio.gather(call(1), replies(5))
    await server


SHAPES = (stampede, lost_update, read_after_evict, reentrant_init, late_registration)
