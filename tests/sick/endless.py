"""The loop is never idle: polling without end, a step that does not return, a budget that is spent."""

from __future__ import annotations

import asyncio

from vtloop import HangError, LivelockError

from .case import sick


@sick(LivelockError, says=("poller",), here=("",), slow=True)
async def a_poll_for_what_never_comes():
    answers = []

    async def poll():
        while not answers:
            await asyncio.sleep(0)  # HERE

    await asyncio.create_task(poll(), name="poller")


@sick(LivelockError, says=("alphonse", "gaston"), here=("",), slow=True)
async def two_that_poll_for_each_other():
    ready = set()

    async def walk(me, other):
        while other not in ready:
            await asyncio.sleep(0)  # HERE
        ready.add(me)

    await asyncio.gather(
        asyncio.create_task(walk("alphonse", "gaston"), name="alphonse"),
        asyncio.create_task(walk("gaston", "alphonse"), name="gaston"),
    )


@sick(LivelockError, says=("Task-1",), here=("",), slow=True)
async def a_spin_on_a_lock_that_is_never_free():
    lock = asyncio.Lock()
    await lock.acquire()
    while lock.locked():
        await asyncio.sleep(0)  # HERE


@sick(HangError, says=("step of counter",), here=("",), options={"watchdog": 0.05}, slow=True)
async def a_step_that_never_returns():
    async def count():
        while True:
            sum(range(10_000))  # HERE

    async def other():
        await asyncio.sleep(1)

    await asyncio.gather(asyncio.create_task(count(), name="counter"), asyncio.create_task(other(), name="other"))


@sick(HangError, says=("a callback",), here=("",), options={"watchdog": 0.05}, slow=True)
async def a_callback_that_never_returns():
    def spin():
        while True:
            sum(range(1000))  # HERE

    asyncio.get_running_loop().call_soon(spin)
    await asyncio.sleep(1)


@sick(HangError, says=("budget spent", "max_steps=1,000"), here=("",), options={"max_steps": 1000})
async def more_steps_than_the_budget():
    for _ in range(10_000):
        await asyncio.sleep(0.01)  # HERE


@sick(HangError, says=("budget spent", "max_time=60"), here=("",), options={"max_time": 60})
async def more_time_than_the_budget():
    while True:
        await asyncio.sleep(7)  # HERE
