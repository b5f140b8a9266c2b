"""Shapes in which time or a cancel strikes at the wrong moment."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import suppress

from benchmarks.search.shape import replies, shape

__all__ = ["SHAPES"]


@shape("deadline-tie", "timing")
async def deadline_tie(repaired: bool) -> None:
    """Deadline tie: the order is paid for in the very instant in which the client gives it up."""
    loop = asyncio.get_running_loop()
    paid: asyncio.Future[str] = loop.create_future()
    charged = False

    def charge() -> None:
        nonlocal charged
        if not paid.done():  # else the client has gone
            charged = True
            paid.set_result("receipt")

    async def shop() -> None:
        await asyncio.sleep(0.4)
        loop.call_later(0.6, charge)

    async def client() -> str | None:
        try:
            async with asyncio.timeout(1.0):
                return await paid
        except TimeoutError:
            if repaired and not paid.cancelled():
                return paid.result()
            return None

    receipt = (await asyncio.gather(client(), shop()))[0]
    await asyncio.sleep(1)
    assert charged == (receipt is not None), f"charged: {charged}, receipt: {receipt}"


@shape("timeout-race", "timing", "lag")
async def timeout_race(repaired: bool) -> None:
    """Timeout race: a message comes while the idle consumer still tidies up, and goes to a get() that nobody reads."""
    queue: asyncio.Queue[str] = asyncio.Queue()
    received = list[str]()

    async def consume() -> None:
        while len(received) < 2:
            getting = asyncio.create_task(queue.get())
            done, _ = await asyncio.wait({getting}, timeout=1.0)
            if not done:
                await asyncio.sleep(0.02)  # flushes what is buffered
                getting.cancel()
                with suppress(asyncio.CancelledError):
                    message = await getting
                    if repaired:
                        received.append(message)
                continue
            received.append(getting.result())

    loop = asyncio.get_running_loop()
    loop.call_later(0.3, queue.put_nowait, "one")
    loop.call_later(1.35, queue.put_nowait, "two")
    consuming = asyncio.create_task(consume())
    await asyncio.sleep(10)
    assert received == ["one", "two"], received
    await consuming


@shape("slow-download", "timing", "stretch")
async def slow_download(repaired: bool) -> None:
    """Other durations: a download that lasts a little longer finds its folder swept."""
    folder = {"part"}
    busy = False

    async def download() -> None:
        nonlocal busy
        busy = True
        await asyncio.sleep(0.50)
        assert "part" in folder, "the folder was swept during a download"
        busy = False

    async def sweep() -> None:
        await asyncio.sleep(0.30)  # lists the folder
        await asyncio.sleep(0.25)  # asks which are wanted
        if not (repaired and busy):
            folder.clear()

    sweeping = asyncio.create_task(sweep())
    await download()
    await sweeping


@shape("cancel-in-the-middle", "timing", "cancel", cancel="victim*")
async def cancel_in_the_middle(repaired: bool) -> None:
    """Cancel in the middle: between the permit and the `try` that gives it back there is a handshake."""
    permits = asyncio.Semaphore(1)

    async def request() -> None:
        await replies(2)  # the name, the address
        await permits.acquire()
        if repaired:
            try:
                await replies(3)
            finally:
                permits.release()
            return
        await replies()  # the handshake
        try:
            await replies(2)
        finally:
            permits.release()

    tasks = [asyncio.create_task(request(), name=name) for name in ("first", "victim", "last")]
    await asyncio.wait(tasks)
    assert not permits.locked(), "the permit is lost"


@shape("cancelled-hand-over", "timing", "cancel", cancel="victim*")
async def cancelled_hand_over(repaired: bool) -> None:
    """Cancelled hand-over: a connection is given to a waiter that is cancelled before it has resumed."""
    idle = ["connection"]
    queue: deque[asyncio.Future[str]] = deque()

    def put(connection: str) -> None:
        while queue:
            place = queue.popleft()
            if not place.done():
                place.set_result(connection)
                return
        idle.append(connection)

    async def get() -> str:
        if idle:
            return idle.pop()
        place: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        queue.append(place)
        try:
            return await place
        except asyncio.CancelledError:
            if repaired and not place.cancelled():
                put(place.result())
            raise

    async def request() -> None:
        connection = await get()
        try:
            await replies(3)
        finally:
            put(connection)

    tasks = [asyncio.create_task(request(), name=name) for name in ("first", "second", "victim", "last")]
    await asyncio.wait(tasks)
    assert idle == ["connection"], "the connection is lost"


SHAPES = (deadline_tie, timeout_race, slow_download, cancel_in_the_middle, cancelled_hand_over)
