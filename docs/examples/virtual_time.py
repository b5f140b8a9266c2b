"""A tour of virtual time, from inside and from outside of a running loop."""

import asyncio

import vtloop


async def inside():
    loop = asyncio.get_running_loop()

    with vtloop.elapsed() as slept:
        await asyncio.sleep(24 * 3600)
    print(f"a day passed: {slept.seconds:g} s")

    with vtloop.elapsed() as ten:
        for _ in range(10):
            await asyncio.sleep(0.1)
    print(f"ten times 0.1 s is {ten.ns} ns")

    rung = []
    for delay in (1, 2, 3):
        loop.call_later(delay, rung.append, delay)
    await vtloop.advance(2)  # up to and including 2 s from now
    print(f"rung after 2 s: {rung}")

    loop.elapse(5)  # as a long computation would: nothing runs meanwhile
    await vtloop.run_ready()
    print(f"rung after 5 s more: {rung}")


def outside():
    with vtloop.EventLoop(start=1000) as loop:
        task = loop.create_task(asyncio.sleep(7, "back"))
        loop.advance(6)
        print(f"at {loop.time():g}: done is {task.done()}")
        loop.advance_to(1007)
        print(f"at {loop.time():g}: {task.result()}")


if __name__ == "__main__":
    vtloop.run(inside)
    outside()
