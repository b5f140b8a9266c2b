"""Slow but alive: heartbeats tick on, and what main waits for comes late, by every road by which anything can come.

Each program says in its name by which road.  Many beats of a heartbeat go by first: whoever asks in between must
find that main can still be woken.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import contextvars
import functools
import heapq
import importlib
import operator
import sys
import threading
import types
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

from .corpus import healthy, length

EVERY = 0.5

registry: dict[str, Any] = {}
current: contextvars.ContextVar[asyncio.Event] = contextvars.ContextVar("current")
local = threading.local()


async def beat(every: float = EVERY) -> None:
    while True:
        await asyncio.sleep(every)


@contextlib.asynccontextmanager
async def beating() -> AsyncIterator[None]:
    heart = asyncio.create_task(beat(), name="heartbeat")
    try:
        yield
    finally:
        heart.cancel()
        await asyncio.wait([heart])


async def late(act: Callable[[], Any]) -> None:
    """Does something after a long time."""
    await asyncio.sleep(EVERY * length.ticks)
    act()


@healthy(quick=False)
async def by_a_timer() -> None:
    future = asyncio.get_running_loop().create_future()
    asyncio.get_running_loop().call_later(EVERY * length.ticks, future.set_result, "rung")
    async with beating():
        assert await future == "rung"


@healthy(quick=False)
async def by_a_chain_of_callbacks() -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()

    def step(number: int) -> None:
        if number:
            loop.call_later(EVERY * length.ticks / 50, step, number - 1)
        else:
            loop.call_soon(event.set)

    step(50)
    async with beating():
        await event.wait()


@healthy(quick=False)
async def by_a_registry_of_the_module() -> None:
    registry["registry"] = event = asyncio.Event()
    task = asyncio.create_task(late(lambda: registry.pop("registry").set()))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_poller_of_a_registry() -> None:
    # The poller does not know what it will find; it looks by name.
    registry["polled"] = asyncio.Event()

    async def poller() -> None:
        for count in range(length.ticks):
            await asyncio.sleep(EVERY)
            if count == length.ticks - 1:
                registry["polled"].set()

    task = asyncio.create_task(poller())
    await registry["polled"].wait()
    await task
    del registry["polled"]


@healthy(quick=False)
async def by_a_context_variable() -> None:
    event = asyncio.Event()
    current.set(event)
    task = asyncio.create_task(late(lambda: current.get().set()))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_closure() -> None:
    event = asyncio.Event()

    def make() -> Callable[[], None]:
        inner = event

        def poke() -> None:
            inner.set()

        return poke

    task = asyncio.create_task(late(make()))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_bound_method_in_a_dictionary() -> None:
    event = asyncio.Event()
    handlers = {"ready": event.set}
    task = asyncio.create_task(late(lambda: handlers["ready"]()))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_default_argument() -> None:
    event = asyncio.Event()

    def poke(target: asyncio.Event = event) -> None:
        target.set()

    task = asyncio.create_task(late(poke))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_partial() -> None:
    future = asyncio.get_running_loop().create_future()
    task = asyncio.create_task(late(functools.partial(future.set_result, 3)))
    async with beating():
        assert await future == 3
    await task


class Shared:
    """Its attributes are everybody's."""

    event: asyncio.Event

    @property
    def found(self) -> asyncio.Event:
        """By way of the class."""
        return type(self).event


@healthy(quick=False)
async def by_a_class_attribute() -> None:
    Shared.event = asyncio.Event()
    task = asyncio.create_task(late(lambda: Shared.event.set()))
    async with beating():
        await Shared.event.wait()
    await task
    del Shared.event


@healthy(quick=False)
async def by_a_descriptor() -> None:
    Shared.event = asyncio.Event()
    task = asyncio.create_task(late(lambda: Shared().found.set()))
    async with beating():
        await Shared.event.wait()
    await task
    del Shared.event


@healthy(quick=False)
async def by_a_module_made_at_run_time() -> None:
    module = types.ModuleType("made_at_run_time")
    module.event = asyncio.Event()  # type: ignore[attr-defined]
    sys.modules["made_at_run_time"] = module
    task = asyncio.create_task(late(lambda: importlib.import_module("made_at_run_time").event.set()))
    try:
        async with beating():
            await module.event.wait()
    finally:
        del sys.modules["made_at_run_time"]
    await task


@healthy(quick=False)
async def by_containers_written_in_c() -> None:
    event = asyncio.Event()
    heap: list[tuple[int, int, Any]] = []
    heapq.heappush(heap, (1, 0, event))
    inside = iter(collections.deque([types.MappingProxyType({"heap": heap})], maxlen=3))
    mapped = map(operator.itemgetter("heap"), inside)
    task = asyncio.create_task(late(lambda: next(mapped)[0][2].set()))
    del heap, inside
    async with beating():
        await event.wait()
    await task


@functools.lru_cache(maxsize=8)
def event_for(name: str) -> asyncio.Event:
    return asyncio.Event()


@healthy(quick=False)
async def by_a_cached_function() -> None:
    task = asyncio.create_task(late(lambda: event_for("ready").set()))
    async with beating():
        await event_for("ready").wait()
    await task
    event_for.cache_clear()


@healthy(quick=False)
async def by_a_generator() -> None:
    event = asyncio.Event()

    def steps(target: asyncio.Event) -> Iterator[None]:
        yield
        target.set()
        yield

    generator = steps(event)
    next(generator)
    task = asyncio.create_task(late(functools.partial(next, generator)))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_suspended_async_generator() -> None:
    event = asyncio.Event()

    async def stages(target: asyncio.Event) -> AsyncIterator[str]:
        yield "begun"
        target.set()
        yield "ended"

    async def drive(generator: AsyncIterator[str]) -> None:
        assert await anext(generator) == "begun"
        await asyncio.sleep(EVERY * length.ticks)
        assert [stage async for stage in generator] == ["ended"]

    task = asyncio.create_task(drive(stages(event)))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_the_closing_of_an_async_generator() -> None:
    event = asyncio.Event()

    async def resource(target: asyncio.Event) -> AsyncIterator[int]:
        try:
            yield 1
        finally:
            target.set()

    async def use() -> None:
        generator = resource(event)
        async with contextlib.aclosing(generator):  # type: ignore[type-var]
            await anext(generator)
            await asyncio.sleep(EVERY * length.ticks)

    task = asyncio.create_task(use())
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_the_end_of_an_object() -> None:
    class Guard:
        def __init__(self, on_end: Callable[[], None]) -> None:
            self.on_end = on_end

        def __del__(self) -> None:
            self.on_end()

    event = asyncio.Event()

    async def hold(guard: Guard) -> None:
        await asyncio.sleep(EVERY * length.ticks)

    task = asyncio.create_task(hold(Guard(event.set)))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_the_callback_of_a_weak_reference() -> None:
    # Nothing that lives leads to the event, but the weak reference of a thing that will die.
    class Lease:
        pass

    event = asyncio.Event()

    async def hold(lease: Lease) -> None:
        await asyncio.sleep(EVERY * length.ticks)

    lease = Lease()
    reference = weakref.ref(lease, lambda _: event.set())
    task = asyncio.create_task(hold(lease))
    del lease
    async with beating():
        await event.wait()
    assert reference() is None
    await task


@healthy(quick=False)
async def by_a_finalizer() -> None:
    class Lease:
        pass

    event = asyncio.Event()

    async def hold() -> None:
        lease = Lease()
        weakref.finalize(lease, event.set).atexit = False
        await asyncio.sleep(EVERY * length.ticks)

    task = asyncio.create_task(hold())
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_weak_reference() -> None:
    event = asyncio.Event()
    reference = weakref.ref(event)

    def poke() -> None:
        living = reference()
        assert living is not None
        living.set()

    task = asyncio.create_task(late(poke))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_weak_registry() -> None:
    class Listener:
        def __init__(self) -> None:
            self.event = asyncio.Event()

    listeners: weakref.WeakSet[Listener] = weakref.WeakSet()

    def publish() -> None:
        for listener in list(listeners):
            listener.event.set()

    task = asyncio.create_task(late(publish))
    mine = Listener()
    listeners.add(mine)
    async with beating():
        await mine.event.wait()
    await task


@healthy(quick=False)
async def by_an_exception_handler() -> None:
    loop = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.set_exception_handler(lambda _, context: event.set())

    def fail() -> None:
        raise RuntimeError("told to the handler")

    loop.call_later(EVERY * length.ticks, fail)
    async with beating():
        await event.wait()
    loop.set_exception_handler(None)


@healthy(quick=False)
async def by_the_end_of_a_task() -> None:
    event = asyncio.Event()
    work = asyncio.create_task(asyncio.sleep(EVERY * length.ticks))
    work.add_done_callback(lambda _: event.set())
    async with beating():
        await event.wait()


@healthy(quick=False)
async def by_the_result_of_a_finished_task() -> None:
    async def set_up() -> dict[str, asyncio.Event]:
        return {"event": asyncio.Event()}

    ready = asyncio.create_task(set_up())
    await ready

    task = asyncio.create_task(late(lambda: ready.result()["event"].set()))
    async with beating():
        await ready.result()["event"].wait()
    await task


@healthy(quick=False)
async def by_a_thread_local() -> None:
    local.event = asyncio.Event()
    task = asyncio.create_task(late(lambda: local.event.set()))
    async with beating():
        await local.event.wait()
    await task
    del local.event


@healthy(quick=False)
async def by_a_queue_of_requests() -> None:
    # The server waits as well; only the client that comes late makes it go on.
    requests: asyncio.Queue[list[asyncio.Event]] = asyncio.Queue()
    mine = asyncio.Event()
    parked = [mine]

    async def server() -> None:
        while True:
            for event in await requests.get():
                event.set()

    serving = asyncio.create_task(server())
    task = asyncio.create_task(late(functools.partial(requests.put_nowait, parked)))
    del parked
    async with beating():
        await mine.wait()
    serving.cancel()
    await task


@healthy(quick=False)
async def by_the_last_of_many_hops() -> None:
    queues: list[asyncio.Queue[int]] = [asyncio.Queue() for _ in range(10)]

    async def hop(source: asyncio.Queue[int], target: asyncio.Queue[int]) -> None:
        while True:
            target.put_nowait(await source.get() + 1)

    hops = [asyncio.create_task(hop(*pair)) for pair in zip(queues, queues[1:], strict=False)]
    task = asyncio.create_task(late(lambda: queues[0].put_nowait(0)))
    async with beating():
        assert await queues[-1].get() == 9
    for one in hops:
        one.cancel()
    await task


@healthy(quick=False)
async def by_an_exception_in_another_task() -> None:
    async def failing() -> None:
        await asyncio.sleep(EVERY * length.ticks)
        raise LookupError("late")

    failed = None
    try:
        async with beating(), asyncio.TaskGroup() as group:
            group.create_task(asyncio.Event().wait())  # type: ignore[arg-type]
            group.create_task(failing())
    except* LookupError as caught:
        failed = caught
    assert failed is not None


@healthy(quick=False)
async def by_the_clean_up_of_a_task_that_a_timer_cancels() -> None:
    closed = asyncio.Event()

    async def service() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()

    task = asyncio.create_task(service())
    asyncio.get_running_loop().call_later(EVERY * length.ticks, task.cancel)
    async with beating():
        await closed.wait()


@healthy(quick=False)
async def by_a_reaper_that_cancels_what_is_old() -> None:
    main = asyncio.current_task()

    async def reaper() -> None:
        await asyncio.sleep(EVERY * length.ticks)
        for task in asyncio.all_tasks():
            if task is main:
                task.cancel("too old")

    reaping = asyncio.create_task(reaper())
    cancelled = False
    async with beating():
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled = True
    await reaping
    assert cancelled


@healthy(quick=False)
async def by_a_reaper_that_knows_names_alone() -> None:
    async def stuck() -> None:
        await asyncio.Event().wait()

    async def reaper() -> None:
        for _ in range(length.ticks):
            await asyncio.sleep(EVERY)
        for task in asyncio.all_tasks():
            if task.get_name().startswith("stuck"):
                task.cancel()

    reaping = asyncio.create_task(reaper())
    results = await asyncio.gather(
        asyncio.create_task(stuck(), name="stuck-1"),
        asyncio.create_task(stuck(), name="stuck-2"),
        return_exceptions=True,
    )
    await reaping
    assert all(isinstance(result, asyncio.CancelledError) for result in results)


@healthy(quick=False)
async def by_the_context_of_a_task() -> None:
    event = asyncio.Event()

    async def keeper() -> None:
        current.set(event)
        await asyncio.Event().wait()

    context = contextvars.copy_context()
    task = asyncio.create_task(keeper(), context=context)
    poking = asyncio.create_task(late(lambda: context[current].set()))
    async with beating():
        await event.wait()
    task.cancel()
    await poking


@healthy(quick=False)
async def by_an_attribute_of_a_future_subclass() -> None:
    class Ticket(asyncio.Future[None]):
        follower: asyncio.Event

    ticket = Ticket()
    ticket.follower = asyncio.Event()
    mine = ticket.follower
    task = asyncio.create_task(late(lambda: ticket.follower.set()))
    async with beating():
        await mine.wait()
    ticket.set_result(None)
    await task


@healthy(quick=False)
async def by_a_poll_of_a_plain_list() -> None:
    # Main itself ticks: it polls for what a timer brings.
    arrived: list[int] = []
    asyncio.get_running_loop().call_later(EVERY * length.ticks, arrived.append, 1)
    polls = 0
    while not arrived:
        await asyncio.sleep(EVERY)
        polls += 1
    assert polls
