"""Moving the clock by hand: from outside the running loop, and from a coroutine inside it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import vtloop

Log = list[Any]


@pytest.fixture(params=[None, 1], ids=["fifo", "random"])
def loop(request: pytest.FixtureRequest) -> Iterator[vtloop.EventLoop]:
    with vtloop.EventLoop(seed=request.param) as loop:
        yield loop
        for task in asyncio.all_tasks(loop):
            task.cancel()
        if not loop.is_closed():
            loop.run_ready()


def logger(loop: vtloop.EventLoop, log: Log) -> Callable[[str], None]:
    return lambda what: log.append((what, loop.time()))


async def ticking(log: Log, every: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(every)
        log.append(loop.time())


# -- from outside ---------------------------------------------------------------------------------------------------


def test_advance_fires_everything_up_to_and_including_its_end(loop: vtloop.EventLoop) -> None:
    log: Log = []
    note = logger(loop, log)
    for when in (1, 2, 3, 3.000000001):
        loop.call_later(when, note, str(when))
    loop.advance(3)
    assert log == [("1", 1.0), ("2", 2.0), ("3", 3.0)]
    assert loop.time_ns() == 3_000_000_000


def test_advance_ends_exactly_there_without_any_timer(loop: vtloop.EventLoop) -> None:
    loop.advance(0.25)
    loop.advance(0.5)
    assert loop.time() == 0.75


def test_timers_made_on_the_way_count(loop: vtloop.EventLoop) -> None:
    log: Log = []

    def again() -> None:
        log.append(loop.time())
        loop.call_later(1, again)

    loop.call_soon(again)
    loop.advance(3.5)
    assert log == [0.0, 1.0, 2.0, 3.0]


def test_advance_settles_long_chains_of_wake_ups(loop: vtloop.EventLoop) -> None:
    log: Log = []

    async def link(depth: int) -> None:
        if depth:
            await asyncio.create_task(link(depth - 1))
        else:
            await asyncio.sleep(1)

    async def chain() -> None:
        await link(50)
        log.append(loop.time())

    task = loop.create_task(chain())
    loop.advance(1)
    assert (log, task.done()) == ([1.0], True)


def test_advance_first_runs_what_is_ready_now(loop: vtloop.EventLoop) -> None:
    log: Log = []
    note = logger(loop, log)
    loop.call_soon(lambda: loop.call_later(1, note, "timer"))
    loop.call_soon(note, "soon")
    loop.advance(1)
    assert log == [("soon", 0.0), ("timer", 1.0)]


def test_advance_to_an_instant(loop: vtloop.EventLoop) -> None:
    log: Log = []
    loop.call_at(2, logger(loop, log), "two")
    loop.advance_to(2)
    loop.advance_to(2)
    loop.advance_to(2.5)
    assert (log, loop.time()) == ([("two", 2.0)], 2.5)


def test_advance_does_not_mind_tasks_that_wait_for_ever(loop: vtloop.EventLoop) -> None:
    loop.create_task(asyncio.Event().wait())
    loop.advance(5)
    loop.run_until_idle()
    assert loop.time() == 5.0


def test_run_ready_runs_to_the_end_and_moves_no_clock(loop: vtloop.EventLoop) -> None:
    log: Log = []

    async def task() -> None:
        for n in range(5):
            await asyncio.sleep(0)
            log.append(n)
        await asyncio.sleep(1e-9)
        log.append("later")

    loop.create_task(task())
    loop.run_ready()
    assert (log, loop.time_ns()) == ([0, 1, 2, 3, 4], 0)


def test_run_until_idle_runs_all_timers(loop: vtloop.EventLoop) -> None:
    async def task() -> None:
        for _ in range(5):
            await asyncio.sleep(100)

    made = loop.create_task(task())
    loop.run_until_idle()
    assert (made.done(), loop.time()) == (True, 500.0)


def test_step_runs_one_callback_at_a_time(loop: vtloop.EventLoop) -> None:
    log: Log = []
    note = logger(loop, log)
    loop.call_later(2, note, "timer")
    loop.call_soon(note, "a")
    loop.call_soon(note, "b")
    ran = []
    for _ in range(4):
        ran.append((loop.step(), len(log)))
    assert ran == [(True, 1), (True, 2), (True, 3), (False, 3)]
    assert log == [("a", 0.0), ("b", 0.0), ("timer", 2.0)]


def test_steps_and_runs_may_be_mixed(loop: vtloop.EventLoop) -> None:
    log: Log = []

    async def count(name: str) -> None:
        for n in range(3):
            log.append(f"{name}{n}")
            await asyncio.sleep(0)

    for name in "ab":
        loop.create_task(count(name))
    loop.step()
    assert log == ["a0"]
    loop.run_until_idle()
    assert log == ["a0", "b0", "a1", "b1", "a2", "b2"]
    assert loop.step() is False


def test_elapse_moves_the_clock_and_runs_nothing(loop: vtloop.EventLoop) -> None:
    log: Log = []
    note = logger(loop, log)
    loop.call_later(2, note, "two")
    loop.call_later(1, note, "one")
    loop.call_later(9, note, "nine")
    loop.elapse(3)
    assert (log, loop.time()) == ([], 3.0)
    loop.run_ready()
    assert log == [("one", 3.0), ("two", 3.0)]


def test_elapse_inside_a_step_is_a_long_computation(loop: vtloop.EventLoop) -> None:
    log: Log = []

    async def main() -> None:
        loop.call_later(2, log.append, "two")
        loop.call_later(1, log.append, "one")
        loop.elapse(5)
        loop.call_soon(log.append, "soon")
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        log.append(loop.time())

    loop.run_until_complete(main())
    assert log == ["soon", "one", "two", 5.0]


# -- exceptions -----------------------------------------------------------------------------------------------------


def fail() -> None:
    raise LookupError("lost")


@pytest.mark.parametrize("method", ["run_ready", "run_until_idle", "advance"])
def test_exception_in_a_callback_comes_out_and_the_rest_runs_next_time(loop: vtloop.EventLoop, method: str) -> None:
    log: Log = []
    drive: Any = getattr(loop, method)
    args = (1,) if method == "advance" else ()
    loop.call_soon(log.append, "before")
    loop.call_soon(fail)
    loop.call_soon(lambda: loop.call_soon(log.append, "after"))
    with pytest.raises(LookupError, match="lost"):
        drive(*args)
    assert log == ["before"]
    drive(*args)
    assert log == ["before", "after"]


def test_exception_in_a_timer_comes_out_at_its_time(loop: vtloop.EventLoop) -> None:
    loop.call_later(1, fail)
    with pytest.raises(LookupError):
        loop.advance(5)
    assert loop.time() == 1.0


def test_exception_of_a_task_stays_in_the_task(loop: vtloop.EventLoop) -> None:
    async def failing() -> None:
        await asyncio.sleep(1)
        fail()

    task = loop.create_task(failing())
    loop.advance(2)
    assert isinstance(task.exception(), LookupError)


def test_exception_handler_of_the_program_comes_first(loop: vtloop.EventLoop) -> None:
    log: Log = []
    loop.set_exception_handler(lambda loop, context: log.append(context["exception"].args))
    loop.call_soon(fail)
    loop.advance(1)
    assert log == [("lost",)]


def test_exception_in_a_callback_comes_out_of_the_call_inside_too(loop: vtloop.EventLoop) -> None:
    async def main() -> float:
        loop.call_later(1, fail)
        with pytest.raises(LookupError):
            await vtloop.advance(5)
        await vtloop.advance(1)
        return loop.time()

    assert loop.run_until_complete(main()) == 2.0


# -- from inside ----------------------------------------------------------------------------------------------------


def test_advance_inside_returns_when_nothing_but_its_caller_is_ready(loop: vtloop.EventLoop) -> None:
    log: Log = []

    async def other() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        await asyncio.sleep(2)
        for _ in range(20):
            await asyncio.sleep(0)
        log.append(("other", loop.time()))

    async def main() -> None:
        asyncio.create_task(other())
        await vtloop.advance(2)
        log.append(("main", loop.time()))

    loop.run_until_complete(main())
    assert log == [("other", 2.0), ("main", 2.0)]


def test_advance_inside_stops_at_every_deadline_on_the_way(loop: vtloop.EventLoop) -> None:
    log: Log = []

    async def main() -> None:
        task = asyncio.create_task(ticking(log, 1))
        await vtloop.advance(3)
        task.cancel()

    loop.run_until_complete(main())
    assert log == [1.0, 2.0, 3.0]


def test_run_ready_and_run_until_idle_inside(loop: vtloop.EventLoop) -> None:
    async def main() -> list[Any]:
        sleeping = asyncio.create_task(asyncio.sleep(7))
        yielding = asyncio.create_task(asyncio.sleep(0))
        await vtloop.run_ready()
        seen = [yielding.done(), sleeping.done(), loop.time()]
        await vtloop.run_until_idle()
        return [*seen, sleeping.done(), loop.time()]

    assert loop.run_until_complete(main()) == [True, False, 0.0, True, 7.0]


def test_two_tasks_may_advance_at_once(loop: vtloop.EventLoop) -> None:
    log: Log = []

    async def advancing(seconds: float) -> None:
        await vtloop.advance(seconds)
        log.append((seconds, loop.time()))

    async def main() -> None:
        await asyncio.gather(advancing(3), advancing(1), advancing(2))

    loop.run_until_complete(main())
    assert log == [(1, 1.0), (2, 2.0), (3, 3.0)]


def test_cancelled_advance_leaves_nothing_behind(loop: vtloop.EventLoop) -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2):
                await vtloop.advance(100)
        await asyncio.sleep(1)
        return loop.time()

    assert loop.run_until_complete(main()) == 3.0
    assert loop._requests == ()


def test_advance_switches_lag_off() -> None:
    async def main() -> float:
        loop = asyncio.get_running_loop()
        await vtloop.run_ready()
        for _ in range(50):
            await asyncio.sleep(0.1)
        return loop.time()

    with vtloop.EventLoop(seed=3, lag=0.5) as loop:
        assert loop.run_until_complete(main()) == 5.0


# -- refusals -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["advance", "advance_to", "elapse"])
@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1"])
def test_impossible_times_are_refused(loop: vtloop.EventLoop, method: str, value: Any) -> None:
    with pytest.raises(vtloop.UsageError, match=rf"^{method}\((seconds|when)\) must be a .*, got {value!r}$"):
        getattr(loop, method)(value)
    assert loop.time() == 0.0


@pytest.mark.parametrize("value", [-1, math.nan, math.inf, "1"])
def test_impossible_times_are_refused_inside(loop: vtloop.EventLoop, value: Any) -> None:
    with pytest.raises(vtloop.UsageError, match=rf"^advance\(seconds\) must be a .*, got {value!r}$"):
        loop.run_until_complete(vtloop.advance(value))


def test_advance_to_the_past_is_refused(loop: vtloop.EventLoop) -> None:
    loop.advance(2)
    with pytest.raises(vtloop.UsageError, match=r"advance_to\(when\) cannot go back: got 1, the clock is at 2.0"):
        loop.advance_to(1)


@pytest.mark.parametrize("method", ["advance", "advance_to", "run_ready", "run_until_idle", "step"])
def test_moving_from_outside_is_refused_while_the_loop_runs(loop: vtloop.EventLoop, method: str) -> None:
    args = (1,) if method.startswith("advance") else ()

    async def main() -> None:
        getattr(loop, method)(*args)

    with pytest.raises(vtloop.UsageError, match=rf"^loop.{method}\(\) was called while the loop runs"):
        loop.run_until_complete(main())


@pytest.mark.parametrize("method", ["advance", "advance_to", "run_ready", "run_until_idle", "step", "elapse"])
def test_closed_loop_is_refused(loop: vtloop.EventLoop, method: str) -> None:
    args = (1,) if method in ("advance", "advance_to", "elapse") else ()
    loop.close()
    with pytest.raises(vtloop.UsageError, match=rf"^{method}\(\) was called on a closed loop$"):
        getattr(loop, method)(*args)


def test_coroutines_of_the_module_need_a_vtloop_loop() -> None:
    for make in (lambda: vtloop.advance(1), vtloop.run_ready, vtloop.run_until_idle):
        with asyncio.Runner() as runner, pytest.raises(vtloop.UsageError, match="needs a vtloop loop, the running one"):
            runner.run(make())
