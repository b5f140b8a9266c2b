"""``time.sleep`` in an executor call takes virtual time: the call sleeps, the loop goes on, one thing at a time."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

import vtloop
from vtloop.handover import SLEEPERS
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import Outcome, execute

MODES = pytest.mark.parametrize("blocking", ["raise", "virtual"])


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = set(threading.enumerate())
    yield
    for thread in threading.enumerate():
        if thread not in before and thread.name != "vtloop-watchdog":
            thread.join(5)
            assert not thread.is_alive(), f"{thread.name} is left over"
    assert not SLEEPERS


def outcome_of(main: Any, **options: Any) -> Outcome:
    return execute(main, resolve(RUN_DEFAULTS, **options))


@MODES
def test_a_sleeping_call_takes_virtual_time_while_other_tasks_run(blocking: str) -> None:
    async def main() -> list[Any]:
        loop, log = asyncio.get_running_loop(), []

        async def beat() -> None:
            for _ in range(3):
                await asyncio.sleep(2)
                log.append(("beat", loop.time()))

        beating = asyncio.create_task(beat())
        await asyncio.to_thread(time.sleep, 5)
        log.append(("slept", loop.time()))
        await beating
        return log

    outcome = outcome_of(main, blocking=blocking)
    assert outcome.value == [("beat", 2.0), ("beat", 4.0), ("slept", 5.0), ("beat", 6.0)]
    assert outcome.reproducible
    assert outcome.warnings == []


def sleepers(log: list[Any]) -> Callable[[], Any]:
    async def main() -> None:
        loop = asyncio.get_running_loop()

        def work(name: str, seconds: float) -> None:
            for _ in range(2):
                time.sleep(seconds)
                log.append((name, loop.time()))

        await asyncio.gather(*(asyncio.to_thread(work, name, s) for name, s in (("a", 2), ("b", 1), ("c", 1.5))))

    return main


def test_several_calls_sleep_at_once_and_wake_in_the_order_of_time() -> None:
    log: list[Any] = []
    outcome = outcome_of(sleepers(log))
    assert log == [("b", 1.0), ("c", 1.5), ("a", 2.0), ("b", 2.0), ("c", 3.0), ("a", 4.0)]
    assert (outcome.time_ns, outcome.reproducible) == (4_000_000_000, True)


def test_every_run_of_a_seed_is_the_same() -> None:
    def run(seed: int) -> Any:
        log: list[Any] = []
        outcome = outcome_of(sleepers(log), seed=seed)
        assert outcome.reproducible
        assert outcome.recording is not None
        return log, outcome.recording.digest()

    first = [run(seed) for seed in range(8)]
    assert [run(seed) for seed in range(8)] == first
    assert len({str(log) for log, _ in first}) > 1


def test_explorations_replay_what_sleeping_calls_did() -> None:
    async def main() -> None:
        order: list[int] = []

        def work(number: int) -> None:
            time.sleep(1)
            order.append(number)

        await asyncio.gather(*(asyncio.to_thread(work, number) for number in range(3)))
        assert order != [2, 1, 0]

    found = vtloop.explore(main, runs=100)
    assert found.failure is not None
    for _ in range(3):
        with pytest.raises(AssertionError):
            vtloop.replay(found.failure.trace, main)


def test_a_timeout_cuts_the_wait_for_a_sleeping_call() -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(3):
                await asyncio.to_thread(time.sleep, 10)
        return asyncio.get_running_loop().time()

    assert vtloop.run(main) == 3.0


def test_a_run_may_end_while_calls_sleep() -> None:
    ended: list[float] = []

    async def main() -> str:
        loop = asyncio.get_running_loop()

        def work() -> None:
            time.sleep(1000)
            ended.append(loop.time())

        for _ in range(3):
            loop.run_in_executor(None, work)
        await asyncio.sleep(1)
        return "done"

    assert vtloop.run(main, leaks="allow") == "done"
    assert ended == [1000.0] * 3  # the end of a run waits for calls, as asyncio.run does


@pytest.mark.slow
def test_a_call_that_sleeps_for_ever_is_ended_with_the_run() -> None:
    log: list[str] = []

    def work() -> None:
        try:
            while True:
                try:
                    time.sleep(60)
                except Exception:
                    log.append("swallowed")
        finally:
            log.append("ended")

    async def main() -> str:
        asyncio.get_running_loop().run_in_executor(None, work)
        await asyncio.sleep(600)
        return "done"

    began = time.perf_counter()
    assert vtloop.run(main, leaks="allow") == "done"
    assert log == ["ended"]
    assert time.perf_counter() - began < 5


def test_a_closed_loop_ends_its_sleeping_calls() -> None:
    log: list[str] = []

    def work() -> None:
        try:
            time.sleep(60)
        finally:
            log.append("ended")

    with vtloop.EventLoop(blocking="raise") as loop:
        loop.run_in_executor(None, work)
        loop.run_ready()
        assert log == []
    assert log == ["ended"]


def test_a_sleeping_call_is_no_deadlock_but_a_hang_after_it_is() -> None:
    async def main() -> None:
        event = asyncio.Event()
        await asyncio.to_thread(time.sleep, 5)
        await event.wait()

    with pytest.raises(vtloop.DeadlockError, match=r"^deadlock at t=5 s"):
        vtloop.run(main)


def test_the_clock_moved_by_hand_wakes_sleeping_calls() -> None:
    with vtloop.EventLoop(blocking="virtual") as loop:
        call = loop.run_in_executor(None, time.sleep, 5)
        loop.advance(4.5)
        assert not call.done()
        loop.advance(0.5)
        assert call.done()
        assert loop.time() == 5.0
        loop.run_in_executor(None, time.sleep, 5)
        loop.run_until_idle()
        assert loop.time() == 10.0


def test_a_clock_that_stands_still_is_told_while_a_call_sleeps() -> None:
    async def main() -> None:
        await asyncio.to_thread(time.sleep, 5)

    with pytest.raises(vtloop.HangError, match="the clock stands still"):
        vtloop.run(main, autojump=False)


def test_a_daemons_sleeping_call_keeps_nobody_waiting() -> None:
    def work() -> None:
        while True:
            time.sleep(1)

    async def main() -> float:
        vtloop.daemon(asyncio.create_task(asyncio.to_thread(work)))
        await asyncio.sleep(3)
        await vtloop.run_until_idle()
        return asyncio.get_running_loop().time()

    assert vtloop.run(main) == 3.0


def test_a_call_that_calls_back_may_sleep_too() -> None:
    async def main() -> tuple[float, float]:
        loop, event = asyncio.get_running_loop(), asyncio.Event()

        def work() -> float:
            loop.call_soon_threadsafe(event.set)
            time.sleep(5)
            return loop.time()

        call = asyncio.create_task(asyncio.to_thread(work))
        await event.wait()
        return loop.time(), await call

    assert vtloop.run(main) == (0.0, 5.0)


def test_a_loop_of_its_own_runs_in_a_call() -> None:
    def work() -> float:
        async def inner() -> float:
            await asyncio.sleep(0.000_1)
            time.sleep(3)
            return outer.time()

        return asyncio.run(inner())

    async def main() -> float:
        nonlocal outer
        outer = asyncio.get_running_loop()
        return await asyncio.to_thread(work)

    outer: Any = None
    assert vtloop.run(main) == 3.0


def test_other_blocking_calls_in_a_call_are_no_error() -> None:
    def work() -> bool:
        return threading.Event().wait(0.01)

    async def main() -> bool:
        return await asyncio.to_thread(work)

    outcome = outcome_of(main, blocking="raise")
    assert (outcome.value, outcome.error, outcome.warnings) == (False, None, [])


def test_a_call_that_fails_after_its_sleep_fails_where_it_is_awaited() -> None:
    def work() -> None:
        time.sleep(2)
        raise ValueError("tired")

    async def main() -> float:
        with pytest.raises(ValueError, match="tired"):
            await asyncio.to_thread(work)
        return asyncio.get_running_loop().time()

    assert vtloop.run(main) == 2.0


def test_a_thread_that_a_call_has_started_sleeps_really() -> None:
    async def main() -> float:
        def work() -> None:
            thread = threading.Thread(target=time.sleep, args=(0.01,))
            thread.start()
            thread.join()

        await asyncio.to_thread(work)
        return asyncio.get_running_loop().time()

    assert vtloop.run(main) == 0.0


def test_a_sleep_of_nothing_does_not_give_the_turn_away() -> None:
    async def main() -> list[str]:
        log: list[str] = []

        def work(name: str) -> None:
            log.append(name)
            time.sleep(0)
            log.append(name)

        await asyncio.gather(asyncio.to_thread(work, "a"), asyncio.to_thread(work, "b"))
        return log

    assert vtloop.run(main) == ["a", "a", "b", "b"]


def test_allowed_calls_sleep_really() -> None:
    async def main() -> float:
        await asyncio.to_thread(time.sleep, 0.01)
        return asyncio.get_running_loop().time()

    assert vtloop.run(main, blocking="allow") == 0.0


def test_a_call_that_has_taken_long_may_sleep_virtually_later() -> None:
    async def main() -> float:
        def work() -> None:
            until = time.perf_counter() + 0.1
            while time.perf_counter() < until:
                pass
            time.sleep(5)

        await asyncio.to_thread(work)
        return asyncio.get_running_loop().time()

    outcome = outcome_of(main)
    assert (outcome.value, outcome.error, outcome.reproducible) == (5.0, None, False)
