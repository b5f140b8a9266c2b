"""What only vtloop has: the clock moved from inside, daemons, choices, cancellations by the explorer."""

from __future__ import annotations

import asyncio

import vtloop

from .corpus import healthy, length


@healthy(virtual=True)
async def clock_moved_from_inside() -> None:
    expired: list[str] = []

    async def session() -> None:
        await asyncio.sleep(1800)
        expired.append("session")

    task = asyncio.create_task(session())
    await vtloop.advance(1700)
    assert expired == []
    await vtloop.advance(200)
    assert expired == ["session"]
    await task


@healthy(virtual=True)
async def everything_ready_run_then_an_event_set() -> None:
    event = asyncio.Event()
    woken: list[int] = []

    async def waiter(number: int) -> None:
        await event.wait()
        woken.append(number)

    tasks = [asyncio.create_task(waiter(n)) for n in range(3)]
    await vtloop.run_ready()
    assert woken == []
    event.set()
    await vtloop.run_ready()
    assert sorted(woken) == [0, 1, 2]
    assert all(task.done() for task in tasks)


@healthy(virtual=True)
async def clock_moved_past_thousands_of_beats_before_the_event_is_set() -> None:
    # While main moves the clock, nobody but main can wake the waiter; main is alive.
    event = asyncio.Event()

    async def heartbeat() -> None:
        while True:
            await asyncio.sleep(0.5)

    heart = asyncio.create_task(heartbeat())
    waiting = asyncio.create_task(event.wait())
    await vtloop.advance(0.5 * length.ticks)
    assert not waiting.done()
    event.set()
    assert await waiting
    heart.cancel()


@healthy(virtual=True)
async def idle_but_for_a_daemon() -> None:
    done: list[int] = []

    async def heartbeat() -> None:
        while True:
            await asyncio.sleep(1)

    async def work() -> None:
        await asyncio.sleep(30)
        done.append(1)

    vtloop.daemon(asyncio.create_task(heartbeat()))
    asyncio.create_task(work())
    await vtloop.run_until_idle()
    assert done == [1]


@healthy(virtual=True)
async def daemon_that_waits_for_what_never_comes() -> None:
    async def listener() -> None:
        await asyncio.get_running_loop().create_future()

    vtloop.daemon(asyncio.create_task(listener()))
    await asyncio.sleep(3600)


@healthy(virtual=True)
async def work_that_the_explorer_may_cancel() -> None:
    open_now = 0

    async def with_resource() -> str:
        nonlocal open_now
        open_now += 1
        try:
            await asyncio.sleep(0.01)
            await asyncio.sleep(0)
            return "done"
        finally:
            await asyncio.sleep(0)
            open_now -= 1

    outcome = await vtloop.may_cancel(with_resource())
    if not outcome.cancelled:
        assert outcome.value == "done"
    # Cancelled once more in its `finally`, it cannot give the resource back; the explorer cancels only once.
    assert open_now in (0, 1)


@healthy(virtual=True)
async def service_with_latencies_and_rare_faults() -> None:
    async def call(number: int) -> int:
        await vtloop.latency(0.01, 2)
        if vtloop.sometimes("fault"):
            raise ConnectionError(number)
        return number

    results = await asyncio.gather(*(call(n) for n in range(4)), return_exceptions=True)
    assert len(results) == 4
