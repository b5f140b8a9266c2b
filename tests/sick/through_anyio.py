"""The same defects with anyio's primitives."""

from __future__ import annotations

import anyio

from vtloop import DeadlockError

from .case import Stuck, sick


@sick(DeadlockError, Stuck("main", "Event", "started"))
async def an_anyio_event_that_nobody_sets():
    started = anyio.Event()
    await started.wait()  # HERE


@sick(
    DeadlockError,
    Stuck("left", "Lock", "lock_b", "right", "left"),
    Stuck("right", "Lock", "lock_a", "left", "right"),
)
async def ab_ba_with_anyio_locks():
    lock_a, lock_b = anyio.Lock(), anyio.Lock()

    async def left():
        async with lock_a:
            await anyio.sleep(0.1)
            async with lock_b:  # HERE left
                pass

    async def right():
        async with lock_b:
            await anyio.sleep(0.1)
            async with lock_a:  # HERE right
                pass

    async with anyio.create_task_group() as group:
        group.start_soon(left, name="left")
        group.start_soon(right, name="right")


@sick(DeadlockError, Stuck("reader", "MemoryObjectReceiveStream.receive", "receive"))
async def an_anyio_stream_that_nobody_closes():
    send, receive = anyio.create_memory_object_stream(0)

    async def reader():
        async for _ in receive:  # HERE
            pass

    async with anyio.create_task_group() as group:
        group.start_soon(reader, name="reader")
        await send.send(1)


@sick(DeadlockError, Stuck("main", "MemoryObjectSendStream.send", "send"))
async def an_anyio_stream_that_nobody_reads():
    send, receive = anyio.create_memory_object_stream(1)
    with send, receive:
        await send.send(1)
        await send.send(2)  # HERE


@sick(DeadlockError, Stuck("outer", "CapacityLimiter", "limiter", "outer"))
async def an_anyio_limiter_entered_twice_on_behalf_of_two():
    limiter = anyio.CapacityLimiter(1)

    async def outer():
        async with limiter:
            await limiter.acquire_on_behalf_of(object())  # HERE

    async with anyio.create_task_group() as group:
        group.start_soon(outer, name="outer")


@sick(
    DeadlockError,
    Stuck("main", "TaskGroup", here="group"),
    Stuck("stuck", "Event", "never", here="never"),
    says=("stuck", "never"),
)
async def an_anyio_task_group_with_a_stuck_child():
    never = anyio.Event()

    async def stuck():
        await never.wait()  # HERE never

    async with anyio.create_task_group() as group:  # HERE group
        group.start_soon(stuck, name="stuck")


@sick(DeadlockError, Stuck("main", "Condition", "changed"))
async def an_anyio_condition_that_nobody_notifies():
    changed = anyio.Condition()
    async with changed:
        await changed.wait()  # HERE


@sick(DeadlockError, Stuck("main", "Semaphore", "permits"))
async def an_anyio_semaphore_whose_permits_have_leaked():
    permits = anyio.Semaphore(2)
    for _ in range(3):
        await permits.acquire()  # HERE
