"""Slow but alive, by odder roads: subclasses, log handlers, weak methods, scopes, locks let go, the collector."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import gc
import itertools
import logging
import operator
import sys
import weakref
from collections.abc import AsyncIterator, Callable
from typing import Any

import anyio

from .corpus import healthy, length
from .waking import EVERY, beating, late


async def long() -> None:
    await asyncio.sleep(EVERY * length.ticks)


class Plugin:
    """Plugins are found by being subclasses."""

    ready: asyncio.Event


@healthy(quick=False)
async def by_a_registry_of_subclasses() -> None:
    class Mine(Plugin):
        ready = asyncio.Event()

    def poke() -> None:
        for plugin in Plugin.__subclasses__():
            plugin.ready.set()

    task = asyncio.create_task(late(poke))
    async with beating():
        await Mine.ready.wait()
    await task
    del Mine.ready


@healthy(quick=False)
async def by_a_handler_of_a_logger() -> None:
    class Alarm(logging.Handler):
        def __init__(self) -> None:
            super().__init__()
            self.heard = asyncio.Event()

        def emit(self, record: logging.LogRecord) -> None:
            self.heard.set()

    logger = logging.getLogger("vtloop.tests.healthy.alarm")
    logger.propagate = False
    alarm = Alarm()
    logger.handlers = [alarm]
    task = asyncio.create_task(late(lambda: logging.getLogger("vtloop.tests.healthy.alarm").error("now")))
    async with beating():
        await alarm.heard.wait()
    logger.handlers = []
    await task


@healthy(quick=False)
async def by_a_weak_method() -> None:
    class Listener:
        def __init__(self) -> None:
            self.event = asyncio.Event()

        def notify(self) -> None:
            self.event.set()

    listener = Listener()
    method = weakref.WeakMethod(listener.notify)

    def poke() -> None:
        living = method()
        assert living is not None
        living()

    task = asyncio.create_task(late(poke))
    async with beating():
        await listener.event.wait()
    await task


@healthy(quick=False)
async def by_a_weak_proxy() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(late(functools.partial(asyncio.Event.set, weakref.proxy(event))))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_weak_dictionary_and_a_key() -> None:
    sessions: weakref.WeakValueDictionary[str, asyncio.Event] = weakref.WeakValueDictionary()
    mine = sessions["mine"] = asyncio.Event()
    task = asyncio.create_task(late(lambda: sessions["mine"].set()))
    async with beating():
        await mine.wait()
    await task


@healthy(quick=False)
async def by_iterators_that_wrap_iterators() -> None:
    event = asyncio.Event()
    first, second = itertools.tee(iter([event]))
    chained = itertools.chain([], map(operator.attrgetter("set"), second))
    del first
    task = asyncio.create_task(late(lambda: next(chained)()))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_the_traceback_of_an_exception() -> None:
    event = asyncio.Event()

    def fail() -> None:
        inner = event
        assert inner is None

    kept: BaseException | None = None
    try:
        fail()
    except AssertionError as error:
        kept = error

    def poke() -> None:
        assert kept is not None
        traceback: Any = kept.__traceback__
        traceback.tb_next.tb_frame.f_locals["inner"].set()

    task = asyncio.create_task(late(poke))
    async with beating():
        await event.wait()
    kept = None
    await task


@healthy(quick=False)
async def by_the_result_of_a_task_that_waits() -> None:
    # Main is woken by way of the handle of a task that is itself waiting.
    event = asyncio.Event()
    shut = asyncio.Event()

    class Bag:
        def __init__(self, inside: asyncio.Event) -> None:
            self.inside = inside

    async def keeper(bag: Bag) -> Bag:
        await shut.wait()
        return bag

    task = asyncio.create_task(keeper(Bag(event)))

    async def opener() -> None:
        await long()
        shut.set()
        (await task).inside.set()

    opening = asyncio.create_task(opener())
    async with beating():
        await event.wait()
    await opening


@healthy(quick=False)
async def by_a_timeout_around_an_awaited_task() -> None:
    # The timeout of the one who waits for a task cancels that task.
    async def stuck() -> None:
        await asyncio.get_running_loop().create_future()

    inner = asyncio.create_task(stuck())

    async def guard() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(EVERY * length.ticks):
                await inner

    guarding = asyncio.create_task(guard())
    async with beating():
        await asyncio.wait([inner])
    await guarding
    assert inner.cancelled()


@healthy(quick=False)
async def by_a_timeout_that_another_task_sets() -> None:
    deadlines: list[asyncio.Timeout] = []

    def expire() -> None:
        deadlines[0].reschedule(asyncio.get_running_loop().time())

    task = asyncio.create_task(late(expire))
    timed_out = False
    async with beating():
        try:
            async with asyncio.timeout(None) as deadline:
                deadlines.append(deadline)
                await asyncio.get_running_loop().create_future()
        except TimeoutError:
            timed_out = True
    await task
    assert timed_out


@healthy(quick=False)
async def by_the_last_one_at_a_barrier() -> None:
    barrier = asyncio.Barrier(3)

    async def latecomer() -> None:
        await long()
        await barrier.wait()

    tasks = [asyncio.create_task(latecomer()), asyncio.create_task(barrier.wait())]
    async with beating():
        await barrier.wait()
    await asyncio.wait(tasks)


@healthy(quick=False)
async def by_a_condition_notified_late() -> None:
    condition = asyncio.Condition()
    ready = False

    async def notifier() -> None:
        nonlocal ready
        await long()
        async with condition:
            ready = True
            condition.notify_all()

    task = asyncio.create_task(notifier())
    async with beating(), condition:
        await condition.wait_for(lambda: ready)
    await task


@healthy(quick=False)
async def by_a_semaphore_released_by_who_never_took_it() -> None:
    semaphore = asyncio.Semaphore(0)
    task = asyncio.create_task(late(semaphore.release))
    async with beating():
        await semaphore.acquire()
    await task


@healthy(quick=False)
async def by_a_lock_whose_holder_sleeps() -> None:
    left, right = asyncio.Lock(), asyncio.Lock()
    both = asyncio.Barrier(3)

    async def sleeper() -> None:
        async with right:
            await both.wait()
            await long()

    async def between() -> None:
        async with left:
            await both.wait()
            async with right:
                pass

    tasks = [asyncio.create_task(sleeper()), asyncio.create_task(between())]
    await both.wait()
    async with beating(), left:
        pass
    await asyncio.wait(tasks)


@healthy(quick=False)
async def by_a_lock_released_by_another() -> None:
    lock = asyncio.Lock()
    await lock.acquire()
    task = asyncio.create_task(late(lock.release))
    async with beating():
        async with lock:
            pass
    await task


@healthy(quick=False)
async def by_a_lock_let_go_inside_its_block() -> None:
    lock = asyncio.Lock()
    turn, taken = asyncio.Event(), asyncio.Event()

    async def unlocked_for_a_while() -> None:
        async with lock:
            lock.release()
            try:
                await turn.wait()
            finally:
                await lock.acquire()

    async def by_hand() -> None:
        await lock.acquire()
        taken.set()
        await long()
        lock.release()

    first = asyncio.create_task(unlocked_for_a_while())
    await asyncio.sleep(1)
    second = asyncio.create_task(by_hand())
    await taken.wait()
    async with beating(), lock:
        turn.set()
    await asyncio.gather(first, second)


@healthy(quick=False)
async def by_the_collector() -> None:
    # A circle of garbage is ended by the collector alone, which somebody calls now and then.
    event = asyncio.Event()

    class Node:
        def __init__(self, on_end: Callable[[], None]) -> None:
            self.circle, self.on_end = self, on_end

        def __del__(self) -> None:
            self.on_end()

    async def watch_memory() -> None:
        await long()
        gc.collect(1)

    Node(event.set)
    task = asyncio.create_task(watch_memory())
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_the_callback_of_a_weak_reference_to_a_task() -> None:
    # Told when nobody holds the task any more: loops hold theirs until they are done.
    gone = asyncio.Event()
    references = []

    async def owner() -> None:
        work = asyncio.create_task(long())
        references.append(weakref.ref(work, lambda _: gone.set()))
        await work
        del work

    task = asyncio.create_task(owner())
    async with beating():
        await gone.wait()
    await task


@healthy(quick=False)
async def by_the_end_of_a_coroutine_that_was_never_begun() -> None:
    event = asyncio.Event()

    class Guard:
        def __del__(self) -> None:
            event.set()

    async def never_begun(guard: Guard) -> None:
        raise AssertionError(guard)

    async def hold(coroutine: Any) -> None:
        await long()
        coroutine.close()

    task = asyncio.create_task(hold(never_begun(Guard())))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_scope_of_anyio() -> None:
    async with beating():
        with anyio.move_on_after(EVERY * length.ticks) as scope:
            await anyio.sleep_forever()
    assert scope.cancelled_caught


@healthy(quick=False)
async def by_a_scope_that_another_task_cancels() -> None:
    scopes: list[anyio.CancelScope] = []
    task = asyncio.create_task(late(lambda: scopes[0].cancel()))
    async with beating():
        with anyio.CancelScope() as scope:
            scopes.append(scope)
            await anyio.Event().wait()
    await task
    assert scope.cancelled_caught


@healthy(quick=False)
async def by_a_sibling_in_a_group_of_anyio() -> None:
    event = anyio.Event()

    async def sibling() -> None:
        await anyio.sleep(EVERY * length.ticks)
        event.set()

    async def waiter() -> None:
        await event.wait()

    async with beating(), anyio.create_task_group() as group:
        group.start_soon(waiter)
        group.start_soon(waiter)
        group.start_soon(sibling)


@healthy(quick=False)
async def by_the_last_clone_of_a_stream_of_anyio() -> None:
    send, receive = anyio.create_memory_object_stream[int]()

    async def hold(stream: Any) -> None:
        async with stream:
            await long()

    task = asyncio.create_task(hold(send))
    async with beating(), receive:
        assert [item async for item in receive] == []
    await task


@healthy(quick=False)
async def by_a_shared_generator_of_another_task() -> None:
    event = asyncio.Event()

    async def stages() -> AsyncIterator[int]:
        try:
            while True:
                await asyncio.sleep(EVERY)
                yield 1
        finally:
            event.set()

    async def consume() -> None:
        count = 0
        async with contextlib.aclosing(stages()) as source:  # type: ignore[type-var]
            async for one in source:
                count += one
                if count == length.ticks:
                    break

    task = asyncio.create_task(consume())
    await event.wait()
    await task


@healthy(quick=False)
async def by_a_name_in_the_namespace_of_a_module() -> None:
    namespace = sys.modules[__name__].__dict__
    namespace["made_here"] = asyncio.Event()
    task = asyncio.create_task(late(lambda: globals()["made_here"].set()))
    async with beating():
        await namespace["made_here"].wait()
    await task
    del namespace["made_here"]


@healthy(quick=False)
async def by_code_made_from_text() -> None:
    names: dict[str, Any] = {"event": asyncio.Event()}
    exec("def poke():\n    event.set()\n", names)
    task = asyncio.create_task(late(names["poke"]))
    async with beating():
        await names["event"].wait()
    await task
