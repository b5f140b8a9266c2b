"""After a run: what is left is cancelled in order, quietly and within bounds, and the loop is closed."""

from __future__ import annotations

import asyncio
import gc
import time
from contextlib import suppress

import pytest

import vtloop
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import execute


class Broken(Exception):
    """What programs raise on purpose."""


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog):
    """No run of these tests may leave a line in asyncio's log, not even when the garbage is collected."""
    yield
    gc.collect()
    assert [record.getMessage() for record in caplog.get_records("call")] == []


async def for_ever():
    await asyncio.Event().wait()


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_tasks_that_are_left_are_cancelled_in_the_order_of_their_creation(seed):
    log = []

    async def worker(number):
        try:
            await for_ever()
        finally:
            await asyncio.sleep(1)
            log.append(number)

    async def main():
        for number in range(30):
            asyncio.create_task(worker(number))
        await asyncio.sleep(1)

    vtloop.run(main, seed=seed, interleave="tasks" if seed else None)
    assert log == list(range(30))


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("verdict", [False, True])
def test_tasks_that_will_not_end_are_dropped_silently(seed, verdict):
    loop = None

    async def swallows():
        while True:
            try:
                await for_ever()
            except asyncio.CancelledError:
                pass

    async def hangs_in_finally():
        try:
            await for_ever()
        finally:
            await for_ever()

    async def takes_from_a_queue():
        queue = asyncio.Queue()
        while True:
            try:
                await queue.get()  # closing it later puts something into the loop
            except asyncio.CancelledError:
                pass

    async def refuses_to_be_closed():
        while True:
            try:
                await asyncio.get_running_loop().create_future()
            except asyncio.CancelledError:
                pass
            except GeneratorExit:
                await asyncio.sleep(1)

    async def starts_more():
        try:
            await takes_from_a_queue()
        finally:
            loop.create_task(for_ever())

    async def main():
        nonlocal loop
        loop = asyncio.get_running_loop()
        programs = (swallows, hangs_in_finally, takes_from_a_queue, refuses_to_be_closed, starts_more)
        tasks = [asyncio.create_task(program()) for program in programs]
        await asyncio.sleep(1)
        if verdict:
            await for_ever()
        return len(tasks)

    if verdict:
        with pytest.raises(vtloop.DeadlockError):
            vtloop.run(main, seed=seed)
    else:
        assert vtloop.run(main, seed=seed, leaks="allow") == 5


@pytest.mark.parametrize("delay", [0, 1])
def test_a_task_that_goes_on_for_ever_after_its_cancel_is_dropped_after_a_bounded_number_of_steps(delay):
    async def stubborn():
        while True:
            try:
                await asyncio.sleep(delay)
            except asyncio.CancelledError:
                pass

    async def main():
        asyncio.create_task(stubborn())
        await asyncio.sleep(3)
        return "done"

    began = time.perf_counter()
    assert vtloop.run(main, leaks="allow") == "done"
    assert time.perf_counter() - began < 2


def test_a_task_that_fails_while_it_is_cancelled_fails_the_run_unless_it_failed_already():
    async def bad_cleanup():
        try:
            await for_ever()
        finally:
            raise Broken("cleanup")

    async def main():
        asyncio.create_task(bad_cleanup())
        await asyncio.sleep(1)

    async def failing():
        await main()
        raise KeyError("main")

    with pytest.raises(Broken, match="cleanup"):
        vtloop.run(main)
    with pytest.raises(KeyError):
        vtloop.run(failing)


@pytest.mark.parametrize("verdict", [False, True])
def test_async_generators_left_open_are_closed_in_order_of_first_use(verdict):
    log = []
    kept = []

    async def numbers(name):
        try:
            yield 1
            yield 2
        finally:
            log.append(f"{name} closing")
            await asyncio.sleep(1)
            log.append(f"{name} closed")

    async def main():
        kept.extend(numbers(name) for name in "abc")
        for generator in kept:
            await anext(generator)
        if verdict:
            await for_ever()

    if verdict:
        with pytest.raises(vtloop.DeadlockError):
            vtloop.run(main)
    else:
        vtloop.run(main, leaks="allow")
    assert log == [f"{name} {what}" for what in ("closing", "closed") for name in "abc"]


def test_the_loop_of_a_run_is_closed_and_gone():
    loops = []

    async def main():
        loops.append(asyncio.get_running_loop())

    vtloop.run(main)
    assert loops[0].is_closed()
    assert asyncio.all_tasks(loops[0]) == set()
    with pytest.raises(RuntimeError, match="closed"):
        loops[0].call_soon(print)
    with pytest.raises(RuntimeError):
        asyncio.get_running_loop()


@pytest.mark.parametrize("seed", range(6))
def test_a_hang_of_the_unwinding_changes_nothing_of_what_the_run_came_to(seed):
    async def main():
        async def stubborn():
            for _ in range(3):
                await asyncio.sleep(0)
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()
            await asyncio.Event().wait()

        for _ in range(4):
            asyncio.create_task(stubborn())  # noqa: RUF006 - left behind on purpose
        await asyncio.sleep(0)
        await asyncio.sleep(0.1)
        raise Broken

    options = resolve(RUN_DEFAULTS, seed=seed, interleave="tasks")
    with_command, without = execute(main, options, command=str), execute(main, options)
    assert isinstance(with_command.error, Broken)
    assert with_command.trace().choices
    assert with_command.trace() == without.trace()
    assert with_command.recording is not None
    assert without.recording is not None
    assert with_command.recording.standing == without.recording.standing
