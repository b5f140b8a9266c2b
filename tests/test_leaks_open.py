"""What a run leaves open: stuck tasks, async generators, executor calls, locks; warned of, and only where certain."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

import pytest

import vtloop
from vtloop import leaks as leaks_of_runs
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import execute

OPEN = []
"""Outlives the programs."""


@pytest.fixture(autouse=True)
def nothing_stays_open():
    yield
    OPEN.clear()


def warned(main, **options):
    """The kinds and texts that a run is warned of; it must not fail."""
    outcome = execute(main, resolve(RUN_DEFAULTS, **options))
    assert outcome.error is None
    return [(one.kind, one.text) for one in outcome.warnings]


async def numbers():
    yield 1
    yield 2


# -- async generators --------------------------------------------------------------------------------------------------


async def kept():
    generator = numbers()
    OPEN.append(generator)
    await anext(generator)


async def dropped():
    async for _ in numbers():
        break


async def returned_from():
    async for number in numbers():
        return number


async def exhausted():
    OPEN.append(numbers())
    async for _ in OPEN[-1]:
        pass


async def closed():
    OPEN.append(numbers())
    await anext(OPEN[-1])
    await OPEN[-1].aclose()


async def never_begun():
    OPEN.append(numbers())


async def used_by_a_worker():
    async def worker():
        async for _ in OPEN[-1]:
            await asyncio.sleep(10)

    OPEN.append(numbers())
    task = asyncio.create_task(worker())
    await asyncio.sleep(1)
    assert not task.done()


async def held_by_an_exception_that_holds_itself():
    async def fails():
        async for _ in numbers():
            raise ValueError

    with suppress(KeyError):
        try:
            await fails()
        except ValueError as error:
            mine = error
            mine.me = mine
            raise KeyError from mine


def test_an_async_generator_left_open_is_named_with_its_line_and_where_it_was_begun():
    outcome = execute(kept, resolve(RUN_DEFAULTS))
    (one,) = outcome.warnings
    assert one.text.startswith("1 async generator was left open: numbers() stands at ")
    assert one.text.endswith(f".py:{numbers.__code__.co_firstlineno + 1} in numbers")
    assert f".py:{kept.__code__.co_firstlineno + 3} in kept" in one.report
    assert "aclosing" in one.report


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize(
    "main",
    [
        dropped,
        returned_from,
        exhausted,
        closed,
        never_begun,
        used_by_a_worker,
        held_by_an_exception_that_holds_itself,
    ],
)
def test_an_async_generator_that_is_closed_dropped_or_in_use_is_no_leak(main, seed):
    assert warned(main, seed=seed) == []


# -- executor calls ----------------------------------------------------------------------------------------------------


def call():
    return 3


async def awaited_by_a_worker():
    task = asyncio.create_task(asyncio.to_thread(call))
    await asyncio.sleep(0)
    OPEN.append(task)


async def awaited():
    assert await asyncio.to_thread(call) == 3


def test_executor_calls_that_end_or_that_somebody_waits_for_are_no_leak():
    for main in (awaited_by_a_worker, awaited):
        assert warned(main) == []


def test_an_executor_call_that_nobody_waits_for_is_named():
    async def main():
        asyncio.get_running_loop().run_in_executor(None, call)

    found = {text for seed in range(30) for kind, text in warned(main, seed=seed) if kind == "executor call"}
    assert len(found) == 1
    assert found.pop().startswith("1 executor call was still going: call(), defined at ")


def test_what_is_decorated_or_not_written_in_python_is_named_as_the_program_knows_it():
    async def main():
        asyncio.get_running_loop().run_in_executor(None, time.sleep, 60)
        await asyncio.sleep(1)

    assert warned(main) == [("executor call", "1 executor call was still going: time.sleep()")]


def test_an_executor_call_whose_end_a_callback_minds_is_no_leak():
    async def main():
        asyncio.get_running_loop().run_in_executor(None, call).add_done_callback(print)

    assert [found for seed in range(30) for found in warned(main, seed=seed)] == []


# -- locks -------------------------------------------------------------------------------------------------------------


async def taken_and_kept():
    lock = asyncio.Lock()
    OPEN.append(lock)

    async def take():
        await lock.acquire()

    await asyncio.create_task(take(), name="taker")


async def taken_and_given_back():
    lock = asyncio.Lock()
    OPEN.append(lock)
    async with lock:
        pass


async def held_by_a_worker():
    lock = asyncio.Lock()
    OPEN.append(lock)

    async def work():
        async with lock:
            await asyncio.sleep(10)

    OPEN.append(asyncio.create_task(work()))
    await asyncio.sleep(1)


async def taken_by_one_for_another():
    lock = asyncio.Lock()
    OPEN.append(lock)

    async def give_back():
        await asyncio.sleep(10)
        lock.release()

    await lock.acquire()
    OPEN.append(asyncio.create_task(give_back()))


def test_a_lock_whose_taker_has_ended_is_named():
    ((kind, text),) = warned(taken_and_kept)
    assert kind == "lock"
    assert text.startswith("1 lock was still held: taker took it at ")
    assert text.endswith("in take, and has ended")


@pytest.mark.parametrize("main", [taken_and_given_back, held_by_a_worker, taken_by_one_for_another])
def test_a_lock_that_somebody_can_still_give_back_is_no_leak(main):
    assert warned(main) == []


# -- stuck tasks -------------------------------------------------------------------------------------------------------


async def two_that_wait_for_each_other():
    first, second = asyncio.Lock(), asyncio.Lock()

    async def both(one, other):
        async with one:
            await asyncio.sleep(1)
            async with other:
                pass

    OPEN.append(asyncio.create_task(both(first, second), name="left"))
    OPEN.append(asyncio.create_task(both(second, first), name="right"))
    await asyncio.sleep(2)


async def one_whose_future_nobody_has():
    async def ask():
        reply = asyncio.get_running_loop().create_future()
        await reply

    asyncio.create_task(ask(), name="asker")
    await asyncio.sleep(1)


async def serve(queue):
    while True:
        await queue.get()


async def a_worker_of_main():
    queue = asyncio.Queue()
    asyncio.create_task(serve(queue))
    await queue.put(1)
    await asyncio.sleep(1)
    assert queue.empty()


async def a_worker_of_a_function_of_main():
    await asyncio.sleep(1)
    await a_worker_of_main()


async def one_that_waits_for_ever():
    async def park():
        await asyncio.Event().wait()

    asyncio.create_task(park())
    await asyncio.sleep(1)


async def a_stuck_daemon():
    vtloop.daemon(asyncio.create_task(serve(asyncio.Queue())))
    await asyncio.sleep(1)


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_tasks_that_could_never_run_again_are_warned_of(seed):
    ((kind, text),) = warned(two_that_wait_for_each_other, seed=seed)
    assert kind == "stuck task"
    assert text.endswith(": left waits for Lock second (held by right) -> right waits for Lock first (held by left)")
    assert text.startswith("2 tasks could never run again: ")
    ((kind, text),) = warned(one_whose_future_nobody_has, seed=seed)
    assert kind == "stuck task"
    assert text.startswith("1 task could never run again: asker waits for Future 'reply', at ")
    assert text.endswith(" in ask")


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize(
    "main", [a_worker_of_main, a_worker_of_a_function_of_main, one_that_waits_for_ever, a_stuck_daemon]
)
def test_workers_that_wait_for_work_when_main_returns_are_no_leak(main, seed):
    assert warned(main, seed=seed) == []


def test_a_run_that_fails_is_warned_of_nothing():
    async def main():
        await kept()
        raise KeyError("mine")

    outcome = execute(main, resolve(RUN_DEFAULTS))
    assert type(outcome.error) is KeyError
    assert outcome.warnings == []


def test_a_program_that_makes_very_much_is_not_glanced_at(monkeypatch):
    calls = []

    async def main():
        queue = asyncio.Queue()
        worker = asyncio.create_task(queue.get())
        made = [[number] for number in range(60_000)]
        await asyncio.sleep(1)
        return worker, made

    monkeypatch.setattr(leaks_of_runs, "judge", lambda *args, **options: calls.append("glance"))
    monkeypatch.setattr(leaks_of_runs, "end_of_run", lambda loop: calls.append("end"))
    outcome = execute(main, resolve(RUN_DEFAULTS))
    assert outcome.error is None
    assert calls == []
