"""Slow but alive, by roads that others have laid: libraries' containers, other loops, locks let go, lists of tasks."""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import functools
import itertools
import logging
import operator
import re
import sqlite3
import sys
import threading
import types
import unittest.mock
import weakref
from collections.abc import Callable, Iterator
from typing import Any

from sortedcontainers import SortedDict, SortedKeyList

import vtloop

from .corpus import healthy, length
from .waking import EVERY, beating, late


async def until_cancelled() -> None:
    with contextlib.suppress(asyncio.CancelledError):
        async with beating():
            await asyncio.Event().wait()
        raise AssertionError
    main = asyncio.current_task()
    assert main is not None
    main.uncancel()


def cancel_the_others(tasks: Any) -> None:
    for task in tasks:
        if task.get_name() != "reaper":
            task.cancel()


def reaping(tasks: Callable[[], Any]) -> asyncio.Task[None]:
    """A task that cancels all the ``tasks`` after a long time."""
    return asyncio.create_task(late(lambda: cancel_the_others(tasks())), name="reaper")


lister: Any = functools.partial(asyncio.all_tasks)
getter: Any = operator.attrgetter("all_tasks")


@healthy(quick=False)
async def by_a_list_of_tasks_in_a_closure() -> None:
    reaper = reaping(asyncio.all_tasks)
    await until_cancelled()
    await reaper


@healthy(quick=False)
async def by_a_list_of_tasks_in_a_partial_of_the_module() -> None:
    reaper = reaping(lambda: lister())
    await until_cancelled()
    await reaper


@healthy(quick=False)
async def by_a_list_of_tasks_asked_for_by_its_name() -> None:
    reaper = reaping(lambda: getattr(asyncio, "all_tasks")())  # noqa: B009
    await until_cancelled()
    await reaper


@healthy(quick=False)
async def by_a_list_of_tasks_asked_for_by_a_name_in_two_parts() -> None:
    what = "tasks"
    reaper = reaping(lambda: getattr(asyncio, "all_" + what)())
    await until_cancelled()
    await reaper


@healthy(quick=False)
async def by_a_list_of_tasks_asked_for_by_an_attribute_getter() -> None:
    reaper = reaping(lambda: getter(asyncio)())
    await until_cancelled()
    await reaper


@healthy(quick=False)
async def by_a_list_of_tasks_in_code_made_from_text() -> None:
    def tasks() -> Any:
        names: dict[str, Any] = {}
        exec("import asyncio\nfound = asyncio.all_tasks()", names)
        return names["found"]

    reaper = reaping(tasks)
    await until_cancelled()
    await reaper


@healthy(quick=False)
async def by_the_registry_of_asyncio_itself() -> None:
    if sys.version_info >= (3, 12):
        reaper = reaping(lambda: list(asyncio.tasks._scheduled_tasks))  # type: ignore[attr-defined]
    else:
        reaper = reaping(lambda: list(asyncio.tasks._all_tasks))
    await until_cancelled()
    await reaper


@healthy(quick=False)
async def by_a_sorted_dictionary() -> None:
    event = asyncio.Event()
    waiters = SortedDict({3: event})
    task = asyncio.create_task(late(functools.partial(wake_first, waiters.peekitem)))
    del waiters
    async with beating():
        await event.wait()
    await task


def wake_first(first: Callable[[int], Any]) -> None:
    first(0)[1].set()


@healthy(quick=False)
async def by_a_sorted_list() -> None:
    event = asyncio.Event()
    waiters = SortedKeyList([(3, event)], key=operator.itemgetter(0))
    task = asyncio.create_task(late(functools.partial(wake_first, waiters.__getitem__)))
    del waiters
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_method_of_the_loop_that_was_replaced() -> None:
    loop: Any = asyncio.get_running_loop()
    event = asyncio.Event()
    loop.call_exception_handler = lambda context: event.set()
    task = asyncio.create_task(late(lambda: asyncio.get_running_loop().call_exception_handler({})))
    async with beating():
        await event.wait()
    await task
    del loop.call_exception_handler


@healthy(quick=False, threads=True)
async def by_another_loop_that_runs_later() -> None:
    event = asyncio.Event()
    other = vtloop.EventLoop()
    other.call_later(1, event.set)

    def run(loop: asyncio.AbstractEventLoop) -> None:
        thread = threading.Thread(target=loop.run_until_complete, args=(asyncio.sleep(2),))
        thread.start()
        thread.join()
        loop.close()

    task = asyncio.create_task(late(functools.partial(run, other)))
    del other
    async with beating():
        await event.wait()
    await task


@contextlib.asynccontextmanager
async def held(lock: asyncio.Lock) -> Any:
    """The lock is held by a task that waits for ever."""

    taken = asyncio.Event()

    async def hold() -> None:
        async with lock:
            taken.set()
            await asyncio.Event().wait()

    holder = asyncio.create_task(hold())
    await taken.wait()
    try:
        yield
    finally:
        holder.cancel()
        with contextlib.suppress(asyncio.CancelledError, RuntimeError):
            await holder


@healthy(quick=False)
async def by_a_timer_that_releases_the_lock_of_another() -> None:
    lock = asyncio.Lock()
    async with held(lock):
        asyncio.get_running_loop().call_later(EVERY * length.ticks, lock.release)
        async with beating():
            await lock.acquire()


@healthy(quick=False)
async def by_a_stack_that_releases_the_lock_of_another() -> None:
    lock = asyncio.Lock()
    async with held(lock):
        stack = contextlib.ExitStack()
        stack.callback(lock.release)
        task = asyncio.create_task(late(stack.close))
        async with beating():
            await lock.acquire()
        await task


@healthy(quick=False)
async def by_a_method_caller_that_releases_the_lock_of_another() -> None:
    lock = asyncio.Lock()
    async with held(lock):
        asyncio.get_running_loop().call_later(EVERY * length.ticks, operator.methodcaller("release"), lock)
        async with beating():
            await lock.acquire()


@healthy(quick=False)
async def by_the_exit_from_the_lock_of_another() -> None:
    lock = asyncio.Lock()

    async def leave() -> None:
        await asyncio.sleep(EVERY * length.ticks)
        await lock.__aexit__(None, None, None)

    async with held(lock):
        task = asyncio.create_task(leave())
        async with beating():
            await lock.acquire()
        await task


@healthy(quick=False)
async def by_a_frame_that_somebody_kept() -> None:
    frames: list[types.FrameType] = []

    async def hold(event: asyncio.Event) -> None:
        frames.append(sys._getframe())
        await asyncio.Event().wait()

    event = asyncio.Event()
    holder = asyncio.create_task(hold(event))
    task = asyncio.create_task(late(lambda: frames.pop().f_locals["event"].set()))
    async with beating():
        await event.wait()
    await task
    holder.cancel()


@healthy(quick=False)
async def by_a_function_of_a_database() -> None:
    event = asyncio.Event()
    database = sqlite3.connect(":memory:")
    database.create_function("wake", 0, event.set)
    task = asyncio.create_task(late(functools.partial(database.execute, "select wake()")))
    async with beating():
        await event.wait()
    await task
    database.close()


@healthy(quick=False)
async def by_a_callback_of_c() -> None:
    event = asyncio.Event()
    task = asyncio.create_task(late(ctypes.CFUNCTYPE(None)(event.set)))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_substitution() -> None:
    event = asyncio.Event()

    def wake(found: re.Match[str]) -> str:
        event.set()
        return found[0]

    task = asyncio.create_task(late(functools.partial(re.sub, "a", wake, "a")))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_what_a_mock_was_called_with() -> None:
    event = asyncio.Event()
    mock = unittest.mock.MagicMock()
    mock(event)
    task = asyncio.create_task(late(lambda: mock.call_args.args[0].set()))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_filter_of_a_logger() -> None:
    event = asyncio.Event()
    logger = logging.getLogger("vtloop.tests.healthy.filter")

    def listen(record: logging.LogRecord) -> bool:
        event.set()
        return False

    logger.addFilter(listen)
    task = asyncio.create_task(late(lambda: logging.getLogger("vtloop.tests.healthy.filter").error("now")))
    async with beating():
        await event.wait()
    await task
    logger.removeFilter(listen)


@healthy(quick=False)
async def by_iterators_over_a_dictionary() -> None:
    event = asyncio.Event()
    both: Iterator[Any] = zip(iter({1: event}.items()), itertools.cycle([event]), strict=False)
    task = asyncio.create_task(late(lambda: next(both)[1].set()))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_weak_dictionary_whose_key_is_main() -> None:
    event = asyncio.Event()
    events = weakref.WeakKeyDictionary({asyncio.current_task(): event})
    task = asyncio.create_task(late(lambda: [one.set() for one in events.values()]))
    async with beating():
        await event.wait()
    await task


@healthy(quick=False)
async def by_a_lock_given_away_by_a_child() -> None:
    # The child waits for the condition, which lets go of what its parent took.
    condition = asyncio.Condition()
    begun, taken = asyncio.Event(), asyncio.Event()

    async def child() -> None:
        begun.set()
        await condition.wait()

    async def parent() -> None:
        async with condition:
            await asyncio.create_task(child())

    async def slow() -> None:
        await condition.acquire()
        taken.set()
        await asyncio.sleep(EVERY * length.ticks)
        condition.notify_all()
        condition.release()

    tasks = [asyncio.create_task(parent())]
    await begun.wait()
    tasks.append(asyncio.create_task(slow()))
    await taken.wait()
    async with beating(), condition:
        pass
    await asyncio.wait(tasks)
