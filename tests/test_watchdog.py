"""The watchdog: a step that never returns is cut; a step that returns is never touched."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
import threading
import time
import weakref
from collections.abc import Callable
from typing import Any

import pytest

import vtloop
from vtloop import watchdog
from vtloop.debuggers import debugging
from vtloop.errors import StepCut

SECONDS = 0.2

pytestmark = pytest.mark.slow  # each waits for the watchdog, in real time


def busy(seconds: float) -> None:
    until = time.perf_counter() + seconds
    while time.perf_counter() < until:
        pass


async def spins() -> None:
    await asyncio.sleep(1)
    while True:
        pass


async def sleeps() -> None:
    await asyncio.sleep(1)
    time.sleep(100)


def cut(main: Callable[[], Any], **options: Any) -> vtloop.HangError:
    """Run ``main``, which must be cut, and soon."""
    began = time.perf_counter()
    with pytest.raises(vtloop.HangError) as raised:
        vtloop.run(main, watchdog=SECONDS, blocking="allow", **options)
    assert time.perf_counter() - began < 5
    assert type(raised.value) is vtloop.HangError
    return raised.value


def in_a_thread(call: Callable[[], Any]) -> Any:
    outcome: list[Any] = []

    def work() -> None:
        try:
            outcome.append(call())
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join(20)
    assert not thread.is_alive()
    return outcome[0]


# -- cut ------------------------------------------------------------------------------------------------------------


async def waits() -> None:
    await asyncio.sleep(1)
    threading.Event().wait(100)


@pytest.mark.parametrize("options", [{}, {"seed": 1}, {"seed": 1, "interleave": "tasks"}], ids=str)
@pytest.mark.parametrize("main", [spins, sleeps])
def test_step_that_never_returns_is_cut_and_shown(main: Callable[[], Any], options: dict[str, Any]) -> None:
    error = cut(main, **options)
    assert str(error) == "a step of Task-1 did not return within 0.2 s of real time, cut at t=1 s"
    assert error.data["task"] == "Task-1"
    assert error.data["stack"][-1]["function"] == main.__name__
    assert any(line in error.report() for line in ("time.sleep(100)", "pass", "while True:"))


def test_what_stands_in_for_blocking_calls_is_not_shown() -> None:
    vtloop.run(asyncio.sleep(0))
    error = cut(waits)
    assert [place["function"] for place in error.data["stack"]][-3:] == ["waits", "wait", "wait"]
    assert "vtloop/blocking" not in error.report()


def test_callback_that_never_returns_is_cut() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_soon(time.sleep, 100)
        await asyncio.sleep(1)

    assert str(cut(main)).startswith("a step of a callback did not return within 0.2 s of real time, cut at t=0 s")


def test_except_exception_does_not_swallow_the_cut() -> None:
    log: list[str] = []

    async def main() -> None:
        try:
            time.sleep(100)
        except Exception:
            log.append("swallowed")
        finally:
            log.append("finally")

    cut(main)
    assert log == ["finally"]


def test_step_that_swallows_base_exceptions_is_cut_again_and_still_judged() -> None:
    log: list[str] = []

    async def main() -> str:
        for _ in range(3):
            try:
                time.sleep(100)
            except BaseException as error:
                log.append(type(error).__name__)
        return "survived"

    cut(main)
    assert log == ["StepCut"] * 3


def test_loop_in_another_thread_is_cut_too() -> None:
    error = in_a_thread(lambda: vtloop.run(spins, watchdog=SECONDS))
    assert type(error) is vtloop.HangError
    assert str(error).startswith("a step of Task-1 did not return within 0.2 s")


def test_other_tasks_are_unwound_after_a_cut() -> None:
    log: list[str] = []

    async def bystander() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            log.append("unwound")

    async def main() -> None:
        task = asyncio.create_task(bystander())
        await spins()
        await task

    cut(main)
    assert log == ["unwound"]


def test_exploration_reports_the_cut_as_a_failure() -> None:
    found = vtloop.explore(spins, runs=3, watchdog=SECONDS)
    assert found.failure is not None
    assert type(found.failure.error) is vtloop.HangError


# -- left alone -----------------------------------------------------------------------------------------------------


def test_long_run_of_short_steps_is_never_cut() -> None:
    async def main() -> str:
        for _ in range(30):
            busy(0.02)
            await asyncio.sleep(0)
        return "done"

    assert vtloop.run(main, watchdog=SECONDS) == "done"
    assert vtloop.run(main, watchdog=SECONDS, seed=1) == "done"


def test_timer_that_sets_itself_again_is_never_cut() -> None:
    def tick(left: int) -> None:
        busy(0.02)
        if left:
            asyncio.get_running_loop().call_later(1, tick, left - 1)

    async def main() -> str:
        tick(0)
        asyncio.get_running_loop().call_soon(tick, 30)
        await asyncio.sleep(100)
        return "done"

    assert vtloop.run(main, watchdog=SECONDS) == "done"


def test_blocking_executor_call_is_no_step() -> None:
    async def main() -> str:
        await asyncio.to_thread(time.sleep, 3 * SECONDS)
        return "done"

    assert vtloop.run(main, watchdog=SECONDS, blocking="allow") == "done"
    assert vtloop.run(main, watchdog=SECONDS, blocking="allow", seed=1) == "done"


def test_waiting_for_a_thread_is_no_step() -> None:
    async def main() -> str:
        loop = asyncio.get_running_loop()
        future = loop.create_future()

        def work() -> None:
            time.sleep(3 * SECONDS)
            loop.call_soon_threadsafe(future.set_result, "done")

        threading.Thread(target=work).start()
        result: str = await future
        return result

    assert vtloop.run(main, watchdog=SECONDS) == "done"


def test_no_watchdog_unless_asked_for_on_a_bare_loop() -> None:
    async def main() -> str:
        busy(2 * SECONDS)
        return "done"

    assert vtloop.run(main, watchdog=None) == "done"
    with vtloop.EventLoop() as loop:
        assert loop.run_until_complete(main()) == "done"


def trace(frame: Any, event: str, arg: Any) -> Any:
    """What a debugger installs: it stays with every frame."""
    return trace


def test_off_while_a_debugger_traces() -> None:
    async def main() -> str:
        busy(3 * SECONDS)
        return "done"

    outer = sys.gettrace()
    sys.settrace(trace)
    try:
        assert debugging()
        assert vtloop.run(main, watchdog=SECONDS) == "done"
    finally:
        sys.settrace(outer)


def test_debugger_that_begins_within_a_step_stops_the_watchdog() -> None:
    async def main() -> str:
        sys.settrace(trace)
        try:
            busy(3 * SECONDS)  # the user sits at the prompt of breakpoint()
        finally:
            sys.settrace(None)
        return "done"

    if sys.gettrace() is not None:
        pytest.skip("traced already")
    assert vtloop.run(main, watchdog=SECONDS) == "done"


@pytest.mark.skipif(sys.version_info < (3, 12), reason="sys.monitoring begins with 3.12")
def test_off_while_a_debugger_monitors() -> None:
    monitoring: Any = getattr(sys, "monitoring", None)
    if monitoring.get_tool(monitoring.DEBUGGER_ID) is None:
        monitoring.use_tool_id(monitoring.DEBUGGER_ID, "a debugger")
        try:
            assert debugging()
        finally:
            monitoring.free_tool_id(monitoring.DEBUGGER_ID)
    assert not debugging()


def test_coverage_tracer_is_no_debugger() -> None:
    class Tracer:
        __module__ = "coverage.pytracer"

        def __call__(self, *args: Any) -> None:
            return None

    outer = sys.gettrace()
    sys.settrace(Tracer())
    try:
        assert not debugging()
    finally:
        sys.settrace(outer)


# -- nothing leaks --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("elsewhere", [False, True], ids=["main thread", "other thread"])
def test_later_code_is_not_cut(elsewhere: bool) -> None:
    async def fine() -> str:
        for _ in range(10):
            busy(0.01)
            await asyncio.sleep(1)
        return "done"

    def twice() -> str:
        cut(spins)
        busy(2 * SECONDS)
        result = vtloop.run(fine, watchdog=SECONDS)
        busy(2 * SECONDS)
        return result

    assert (in_a_thread(twice) if elsewhere else twice()) == "done"


def test_signal_handlers_are_those_from_before() -> None:
    before = [signal.getsignal(number) for number in signal.valid_signals()]
    cut(sleeps)
    vtloop.run(asyncio.sleep(1), watchdog=SECONDS)
    assert [signal.getsignal(number) for number in signal.valid_signals()] == before


def test_cut_is_no_exception_that_programs_catch() -> None:
    assert not issubclass(StepCut, Exception)


def test_one_thread_serves_all_runs() -> None:
    async def fine() -> None:
        await asyncio.sleep(1)

    for _ in range(50):
        vtloop.run(fine)
    assert sum(thread.name == "vtloop-watchdog" for thread in threading.enumerate()) == 1


def test_pytest_that_explains_a_failed_assertion_at_length_is_not_cut() -> None:
    namespace: dict[str, Any] = {"__name__": "_pytest.assertion.util", "time": time}
    exec("def explain(until):\n    while time.perf_counter() < until: pass", namespace)

    async def main() -> str:
        namespace["explain"](time.perf_counter() + 0.5)
        return "whole"

    assert vtloop.run(main, watchdog=0.1) == "whole"


def test_a_run_that_was_looked_at_does_not_live_on():
    seen = []

    async def main():
        seen.append(weakref.ref(asyncio.get_running_loop()))
        before = time.perf_counter()
        while time.perf_counter() - before < 0.15:  # longer than the nap between two looks
            pass

    vtloop.run(main)
    gc.collect()
    assert seen[0]() is None


def test_what_a_step_has_run_is_not_kept_alive_by_who_looks_at_it() -> None:
    class Thing:
        pass

    def look_from_another_thread(thing: Thing) -> None:
        looking = threading.Thread(target=lambda: [dog.look() for dog in list(watchdog._the_guard().watched)])
        looking.start()
        looking.join()

    async def main() -> object:
        thing = Thing()
        reference = weakref.ref(thing)
        asyncio.get_running_loop().call_soon(look_from_another_thread, thing)
        del thing
        await asyncio.sleep(1)
        return reference()

    for seed in (None, 1):
        assert vtloop.run(main, seed=seed, blocking="allow") is None
