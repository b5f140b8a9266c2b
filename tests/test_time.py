"""Virtual time: exact, and it moves only when it must."""

from __future__ import annotations

import asyncio
import math
import sys
import time
from collections.abc import Iterator
from typing import Any

import pytest

import vtloop


@pytest.fixture(params=[None, 1], ids=["fifo", "random"])
def loop(request: pytest.FixtureRequest) -> Iterator[vtloop.EventLoop]:
    with vtloop.EventLoop(seed=request.param) as loop:
        yield loop


# -- exact time -----------------------------------------------------------------------------------------------------


def test_time_starts_at_zero_and_stands_still_while_code_runs(loop: vtloop.EventLoop) -> None:
    async def main() -> list[float]:
        times = [loop.time()]
        for _ in range(10):
            await asyncio.sleep(0)
            sum(range(1000))
            times.append(loop.time())
        return times

    assert loop.run_until_complete(main()) == [0.0] * 11


def test_ten_short_sleeps_end_with_one_long_sleep(loop: vtloop.EventLoop) -> None:
    ends: list[int] = []

    async def short() -> None:
        for _ in range(10):
            await asyncio.sleep(0.1)
        ends.append(loop.time_ns())

    async def long() -> None:
        await asyncio.sleep(1.0)
        ends.append(loop.time_ns())

    async def main() -> None:
        await asyncio.gather(short(), long())

    loop.run_until_complete(main())
    assert ends == [1_000_000_000] * 2
    assert loop.time() == 1.0


@pytest.mark.parametrize(
    ("delay", "ns"), [(86_400, 86_400 * 10**9), (1e8, 10**17), (1e-9, 1), (1e-3, 10**6), (0.3, 300_000_000)]
)
def test_sleep_takes_exactly_its_length_and_no_real_time(loop: vtloop.EventLoop, delay: float, ns: int) -> None:
    began = time.perf_counter()
    loop.run_until_complete(asyncio.sleep(delay))
    assert loop.time_ns() == ns
    assert time.perf_counter() - began < 1


def test_nanoseconds_add_up(loop: vtloop.EventLoop) -> None:
    async def main() -> None:
        for _ in range(1000):
            await asyncio.sleep(1e-9)

    loop.run_until_complete(main())
    assert loop.time_ns() == 1000


def test_delay_under_half_a_nanosecond_is_due_at_once(loop: vtloop.EventLoop) -> None:
    loop.run_until_complete(asyncio.sleep(4e-10))
    assert loop.time_ns() == 0


def test_infinity_is_never(loop: vtloop.EventLoop) -> None:
    log: list[str] = []
    never = loop.call_later(math.inf, log.append, "later")
    loop.call_at(math.inf, log.append, "at")
    loop.call_later(5, log.append, "five")
    loop.run_until_idle()
    assert (log, loop.time(), never.when()) == (["five"], 5.0, math.inf)
    never.cancel()


@pytest.mark.parametrize("seconds", [1e100, 1e300, sys.float_info.max])
def test_what_no_clock_counts_to_is_never(loop: vtloop.EventLoop, seconds: float) -> None:
    log: list[str] = []
    loop.call_later(seconds, log.append, "later")
    loop.call_at(seconds, log.append, "at")
    loop.call_at(-seconds, log.append, "long ago")
    loop.call_later(5, log.append, "five")
    loop.advance(10)
    assert log == ["long ago", "five"]


def test_sleeping_for_ever_is_a_deadlock(loop: vtloop.EventLoop) -> None:
    with pytest.raises(vtloop.DeadlockError):
        loop.run_until_complete(asyncio.sleep(math.inf))
    assert loop.time() == 0.0


@pytest.mark.parametrize("method", ["call_later", "call_at"])
def test_nan_is_no_time(loop: vtloop.EventLoop, method: str) -> None:
    with pytest.raises(ValueError, match=rf"^{method}\(\) needs a number of seconds, got nan$"):
        getattr(loop, method)(math.nan, print)


def test_epoch_sized_start_works() -> None:
    with vtloop.EventLoop(start=1.7e9) as loop:
        assert loop.time() == 1.7e9
        fired: list[float] = []
        loop.call_later(0.25, lambda: fired.append(loop.time()))
        loop.call_at(1.7e9 + 0.5, lambda: fired.append(loop.time()))
        loop.run_until_idle()
        assert fired == [1.7e9 + 0.25, 1.7e9 + 0.5]


def test_call_at_the_time_read_is_due_at_once(loop: vtloop.EventLoop) -> None:
    log: list[float] = []
    loop.run_until_complete(asyncio.sleep(0.3))
    loop.call_at(loop.time(), lambda: log.append(loop.time()))
    loop.run_ready()
    assert log == [0.3]


@pytest.mark.parametrize("start", [0.0, 1e3, 1.7e9, 12345.678])
def test_clock_never_reads_early_to_a_timer_that_has_fired(start: float) -> None:
    """Code that arms itself again "if it is too early" (pools, keep-alives, heartbeats) would spin for ever."""
    with vtloop.EventLoop(start=start) as loop:
        early: list[float] = []
        rounds = 0

        def ring(deadline: float) -> None:
            nonlocal rounds
            if loop.time() < deadline:
                early.append(deadline - loop.time())
                loop.call_at(deadline, ring, deadline)
                return
            rounds += 1
            if rounds < 2000:
                following = loop.time() + 0.1 + rounds * 1e-4 / 3
                loop.call_at(following, ring, following)

        loop.call_soon(ring, start)
        loop.run_until_idle()
        assert (rounds, early) == (2000, [])


def test_call_later_never_fires_before_the_time_it_was_promised_for(loop: vtloop.EventLoop) -> None:
    early = []

    async def main() -> None:
        for n in range(1, 2000):
            before, delay = loop.time(), n / 7e3
            await asyncio.sleep(delay)
            if loop.time() < before + delay:
                early.append(n)

    loop.run_until_complete(main())
    assert early == []


def test_elapsed_measures_without_float_noise(loop: vtloop.EventLoop) -> None:
    async def main() -> tuple[float, int]:
        await asyncio.sleep(0.1)
        with vtloop.elapsed() as taken:
            await asyncio.sleep(0.2)
            assert taken.ns == 200_000_000
        await asyncio.sleep(5)
        return taken.seconds, taken.ns

    assert loop.run_until_complete(main()) == (0.2, 200_000_000)


@pytest.mark.parametrize("start", [0.0, 12345.678, 1.7e9, 1.7e9 + 0.123])
@pytest.mark.parametrize("pause", [0.1, 1 / 3, 0.7, 1e-9])
def test_equal_deadlines_tie_however_they_came_about(start: float, pause: float) -> None:
    """``timeout(1)`` calls ``call_at(time() + 1)``, ``sleep(1)`` calls ``call_later(1)``: the older wins."""
    log: list[str] = []

    async def main() -> None:
        for _ in range(20):
            await asyncio.sleep(pause)
            try:
                async with asyncio.timeout(1):
                    await asyncio.sleep(1)
                log.append("slept")
            except TimeoutError:
                log.append("timeout")

    with vtloop.EventLoop(start=start) as loop:
        assert loop.time() == start
        loop.run_until_complete(main())
    assert log == ["timeout"] * 20


@pytest.mark.parametrize("start", [1.7e9 + 0.123, 1.7e9 + 0.4567, 123456789.987654])
def test_now_is_due_at_once_even_where_floats_are_coarse(start: float) -> None:
    log: list[tuple[str, float]] = []
    with vtloop.EventLoop(start=start) as loop:
        for _ in range(50):
            loop.call_later(5, print, "not yet")
            loop.call_later(0, lambda: log.append(("later", loop.time())))
            loop.call_at(loop.time(), lambda: log.append(("at", loop.time())))
            loop.run_ready()
            loop.advance(0.0123)
        assert [name for name, _ in log] == ["later", "at"] * 50


# -- the order of timers --------------------------------------------------------------------------------------------


def test_timers_due_together_fire_in_order_of_creation() -> None:
    log: list[int] = []
    with vtloop.EventLoop() as loop:
        for n in range(100):
            loop.call_at(5, log.append, n)
        loop.run_until_idle()
    assert log == list(range(100))


def test_zero_delay_runs_after_everything_ready_and_negative_before_those_due(loop: vtloop.EventLoop) -> None:
    log: list[str] = []
    loop.call_later(0, log.append, "zero")
    loop.call_later(-1, log.append, "negative")
    loop.call_later(-2, log.append, "more negative")
    loop.call_later(-math.inf, log.append, "most negative")
    loop.call_soon(log.append, "soon")
    loop.run_ready()
    assert log == ["soon", "most negative", "more negative", "negative", "zero"]


def test_cancelled_timer_does_not_move_the_clock(loop: vtloop.EventLoop) -> None:
    loop.call_later(10, print).cancel()
    loop.call_later(3, lambda: None)
    loop.run_until_idle()
    assert loop.time() == 3.0


def test_timer_cancelled_by_one_due_at_the_same_instant_does_not_fire(loop: vtloop.EventLoop) -> None:
    log: list[str] = []
    timers: list[Any] = []
    timers.append(loop.call_later(1, lambda: (log.append("first"), timers[1].cancel())))
    timers.append(loop.call_later(1, log.append, "second"))
    loop.run_until_idle()
    assert log == ["first"]


# -- autojump=False -------------------------------------------------------------------------------------------------


def test_without_autojump_waiting_for_a_timer_is_a_verdict_that_says_so() -> None:
    with vtloop.EventLoop(autojump=False) as loop:
        with pytest.raises(vtloop.HangError) as raised:
            loop.run_until_complete(asyncio.sleep(1.5))
        assert not isinstance(raised.value, vtloop.DeadlockError)
        assert str(raised.value) == (
            "the clock stands still at t=0 s: with autojump=False only advance() moves it, "
            "and the next timer is at t=1.5 s"
        )
        assert loop.time() == 0.0


def test_without_autojump_advance_moves_the_clock() -> None:
    log: list[float] = []

    async def main() -> None:
        sleeping = asyncio.create_task(asyncio.sleep(1.5))
        sleeping.add_done_callback(lambda _: log.append(loop.time()))
        await vtloop.advance(1)
        assert not sleeping.done()
        await vtloop.advance(1)
        log.append(loop.time())

    with vtloop.EventLoop(autojump=False) as loop:
        loop.run_until_complete(main())
        loop.call_later(1, log.append, 3.0)
        loop.advance(1)
    assert log == [1.5, 2.0, 3.0]


def test_without_autojump_nothing_to_wait_for_is_a_deadlock() -> None:
    with vtloop.EventLoop(autojump=False) as loop, pytest.raises(vtloop.DeadlockError):
        loop.run_until_complete(loop.create_future())


# -- polling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("due", [0.001, 5.0, 86_400.0])
def test_polling_ends_when_the_next_timer_gives_what_is_polled_for(loop: vtloop.EventLoop, due: float) -> None:
    flag = []

    async def main() -> float:
        loop.call_later(due, flag.append, True)
        while not flag:
            await asyncio.sleep(0)
        return loop.time()

    assert loop.run_until_complete(main()) == due
    assert loop.polled


def test_polling_for_a_time_ends_without_any_timer(loop: vtloop.EventLoop) -> None:
    async def main() -> int:
        turns = 0
        while loop.time() < 0.5:
            await asyncio.sleep(0)
            turns += 1
        return turns

    assert 1400 < loop.run_until_complete(main()) < 1600
    assert 0.5 <= loop.time() < 0.6


def test_a_thousand_turns_at_one_instant_are_not_polling(loop: vtloop.EventLoop) -> None:
    async def main() -> None:
        loop.call_later(0.001, lambda: None)
        for _ in range(900):
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert (loop.time(), loop.polled) == (0.0, False)


def test_polling_by_callbacks_is_polling_too(loop: vtloop.EventLoop) -> None:
    def poll() -> None:
        if loop.time() < 2:
            loop.call_soon(poll)

    loop.call_soon(poll)
    loop.call_later(2, lambda: None)
    loop.run_until_complete(asyncio.sleep(3))
    assert loop.time() == 3.0


def test_poller_beside_a_worker_that_sleeps_does_not_spend_real_time(loop: vtloop.EventLoop) -> None:
    async def worker() -> None:
        for _ in range(20):
            await asyncio.sleep(60)

    async def main() -> None:
        working = asyncio.create_task(worker())
        while not working.done():
            await asyncio.sleep(0)

    loop.run_until_complete(main())
    assert loop.time() == 1200.0


@pytest.mark.slow
def test_livelock_names_the_spinning_tasks_and_not_the_others(loop: vtloop.EventLoop) -> None:
    async def spin() -> None:
        while True:
            await asyncio.sleep(0)

    async def main() -> None:
        spinning = [asyncio.create_task(spin(), name=f"spinner-{n}") for n in "ab"]
        bystander = asyncio.create_task(asyncio.Event().wait(), name="bystander")
        await asyncio.wait([*spinning, bystander])

    began = time.process_time()
    with pytest.raises(vtloop.LivelockError) as raised:
        loop.run_until_complete(main())
    took = time.process_time() - began
    assert raised.value.data["spinning"] == ["spinner-a", "spinner-b"]
    assert "bystander" not in str(raised.value)
    assert "spinner-a" in str(raised.value)
    assert "spinner-b" in str(raised.value)
    assert took < 2  # the promise is 1 s on a machine that does nothing else
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_ready()


@pytest.mark.slow
def test_polling_without_autojump_is_a_livelock_even_with_a_timer() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(1, lambda: None)
        while True:
            await asyncio.sleep(0)

    with vtloop.EventLoop(autojump=False) as loop:
        with pytest.raises(vtloop.LivelockError):
            loop.run_until_complete(main())
        assert loop.time() == 0.0
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_ready()
