"""Real threads beside a virtual clock: executor calls, call-backs, and what the loop waits for."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import socket
import threading
import time
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

import vtloop

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="outside")


@pytest.fixture(params=[None, 1], ids=["fifo", "random"])
def loop(request: pytest.FixtureRequest) -> Iterator[vtloop.EventLoop]:
    with vtloop.EventLoop(seed=request.param) as loop:
        yield loop
        for task in asyncio.all_tasks(loop):
            task.cancel()
        if not loop.is_closed():
            loop.run_ready()


@pytest.fixture(autouse=True)
def _no_thread_stays() -> Iterator[None]:
    before = {thread for thread in threading.enumerate() if thread.name != "vtloop-watchdog"}
    yield
    for thread in threading.enumerate():
        if thread not in before and thread.name != "vtloop-watchdog":
            thread.join(5)
            assert not thread.is_alive(), f"{thread.name} is left over"


# -- executor calls -------------------------------------------------------------------------------------------------


def test_call_runs_in_another_thread_and_takes_no_virtual_time(loop: vtloop.EventLoop) -> None:
    async def main() -> int:
        return await loop.run_in_executor(None, threading.get_ident)

    assert loop.run_until_complete(main()) != threading.get_ident()
    assert loop.time() == 0.0
    assert loop.reproducible


def test_arguments_and_exceptions_pass(loop: vtloop.EventLoop) -> None:
    async def main() -> int:
        with pytest.raises(ValueError, match="invalid literal"):
            await loop.run_in_executor(None, int, "x")
        return await loop.run_in_executor(None, int, "ff", 16)

    assert loop.run_until_complete(main()) == 255


def test_to_thread_carries_the_context(loop: vtloop.EventLoop) -> None:
    async def main() -> str:
        VAR.set("inside")
        return await asyncio.to_thread(VAR.get)

    assert loop.run_until_complete(main()) == "inside"


def test_given_executor_is_accepted_and_not_used(loop: vtloop.EventLoop) -> None:
    class Untouched(concurrent.futures.ThreadPoolExecutor):
        def submit(self, *args: Any, **kwargs: Any) -> Any:
            raise AssertionError("used")

    executor = Untouched()
    loop.set_default_executor(executor)

    async def main() -> list[int]:
        return [await loop.run_in_executor(which, abs, -3) for which in (executor, None)]

    assert loop.run_until_complete(main()) == [3, 3]


def test_default_executor_is_checked_as_in_asyncio(loop: vtloop.EventLoop) -> None:
    with pytest.raises(TypeError, match="^executor must be ThreadPoolExecutor instance$"):
        loop.set_default_executor(object())


def test_debug_mode_refuses_a_coroutine_function(loop: vtloop.EventLoop) -> None:
    async def coro() -> None: ...

    loop.set_debug(True)
    with pytest.raises(TypeError, match=r"^coroutines cannot be used with run_in_executor\(\)$"):
        loop.run_in_executor(None, coro)


async def four_calls() -> str:
    log: list[str] = []
    await asyncio.gather(*(asyncio.to_thread(log.append, name) for name in "abcd"))
    return "".join(log)


def test_without_a_seed_calls_end_in_the_order_they_were_made() -> None:
    assert vtloop.run(four_calls) == "abcd"


def test_with_a_seed_the_order_of_completion_is_a_choice_that_replays() -> None:
    orders = [vtloop.run(four_calls, seed=seed) for seed in range(12)]
    assert len(set(orders)) > 4
    assert [vtloop.run(four_calls, seed=seed) for seed in range(12)] == orders


def test_a_call_may_end_late_but_a_loop_that_waits_for_it_gets_it() -> None:
    turns = set()

    async def main() -> int:
        call = asyncio.create_task(asyncio.to_thread(abs, -1))
        count = 0
        while not call.done():
            await asyncio.sleep(0)
            count += 1
        return count

    for seed in range(20):
        turns.add(vtloop.run(main, seed=seed))
    assert len(turns) > 1


def test_cancelled_call_may_run_but_its_result_is_dropped(loop: vtloop.EventLoop) -> None:
    log: list[str] = []

    async def main() -> None:
        future = loop.run_in_executor(None, log.append, "ran")
        future.cancel()
        with pytest.raises(asyncio.CancelledError):
            await future
        await asyncio.sleep(1)

    loop.run_until_complete(main())
    assert log in ([], ["ran"])


def test_waiting_for_a_call_at_work_may_be_cancelled(loop: vtloop.EventLoop) -> None:
    gate = threading.Event()

    async def main() -> float:
        call = asyncio.create_task(asyncio.to_thread(gate.wait, 5))
        await asyncio.sleep(0)
        loop.call_soon(call.cancel)
        with pytest.raises(asyncio.CancelledError):
            await call
        gate.set()
        return loop.time()

    assert loop.run_until_complete(main()) == 0.0


def test_names_of_addresses_are_an_executor_call(loop: vtloop.EventLoop) -> None:
    flags = socket.NI_NUMERICHOST | socket.NI_NUMERICSERV
    assert loop.run_until_complete(loop.getnameinfo(("127.0.0.1", 80), flags)) == ("127.0.0.1", "80")


# -- calls that call back -------------------------------------------------------------------------------------------


def test_call_may_wait_for_a_coroutine_of_its_loop(loop: vtloop.EventLoop) -> None:
    async def answer() -> int:
        await asyncio.sleep(60)
        return 42

    def ask() -> int:
        return asyncio.run_coroutine_threadsafe(answer(), loop).result()

    async def main() -> int:
        return await asyncio.to_thread(ask)

    assert loop.run_until_complete(main()) == 42
    assert loop.time() == 60.0


def test_calls_that_wait_for_each_other_end(loop: vtloop.EventLoop) -> None:
    gate = threading.Event()

    async def main() -> list[bool | None]:
        return await asyncio.gather(asyncio.to_thread(gate.wait, 5), asyncio.to_thread(gate.set))

    assert loop.run_until_complete(main()) == [True, None]


@pytest.mark.parametrize("factory", [asyncio.SelectorEventLoop, vtloop.EventLoop])
def test_another_loop_may_run_inside_a_call(loop: vtloop.EventLoop, factory: Any) -> None:
    def run_one() -> int:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(asyncio.sleep(0.001, 5))

    async def main() -> int:
        return await asyncio.to_thread(run_one)

    assert loop.run_until_complete(main()) == 5
    assert loop.time() == 0.0


@pytest.mark.slow
def test_clock_never_overtakes_a_call_that_blocks(loop: vtloop.EventLoop) -> None:
    log: list[Any] = []

    async def ticker() -> None:
        for _ in range(3):
            await asyncio.sleep(1)
            log.append(loop.time())

    async def main() -> None:
        ticking = asyncio.create_task(ticker())
        await asyncio.to_thread(time.sleep, 0.2)
        log.append(("call ended", loop.time()))
        await ticking

    loop.run_until_complete(main())
    assert log == [("call ended", 0.0), 1.0, 2.0, 3.0]
    assert not loop.reproducible


@pytest.mark.slow
def test_timeout_does_not_cut_a_call_that_blocks(loop: vtloop.EventLoop) -> None:
    async def main() -> str:
        async with asyncio.timeout(0.01):
            await asyncio.to_thread(time.sleep, 0.2)
        return "in time"

    assert loop.run_until_complete(main()) == "in time"


# -- threads of the program -----------------------------------------------------------------------------------------


def test_thread_of_the_run_wakes_the_loop(loop: vtloop.EventLoop) -> None:
    async def main() -> str:
        future = loop.create_future()
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(future.set_result, "woken"))
        thread.start()
        result: str = await future
        thread.join()
        return result

    assert loop.run_until_complete(main()) == "woken"
    assert not loop.reproducible


def test_no_deadlock_is_called_while_a_thread_of_the_run_is_at_work(loop: vtloop.EventLoop) -> None:
    async def main() -> str:
        future = loop.create_future()

        def work() -> None:
            time.sleep(0.1)
            loop.call_soon_threadsafe(future.set_result, "woken")

        threading.Thread(target=work).start()
        result: str = await future
        return result

    assert loop.run_until_complete(main()) == "woken"


def test_deadlock_is_called_when_the_last_thread_of_the_run_has_ended(loop: vtloop.EventLoop) -> None:
    async def main() -> None:
        threading.Thread(target=time.sleep, args=(0.05,)).start()
        await asyncio.Event().wait()

    with pytest.raises(vtloop.DeadlockError):
        loop.run_until_complete(main())


def test_threads_from_before_the_run_do_not_hold_a_verdict_back(loop: vtloop.EventLoop) -> None:
    gate = threading.Event()
    thread = threading.Thread(target=gate.wait)
    thread.start()
    try:
        began = time.perf_counter()
        with pytest.raises(vtloop.DeadlockError):
            loop.run_until_complete(asyncio.Event().wait())
        assert time.perf_counter() - began < 1
    finally:
        gate.set()
        thread.join()


def test_thread_from_before_that_has_called_the_loop_is_waited_for(loop: vtloop.EventLoop) -> None:
    log: list[str] = []
    future = loop.create_future()
    begin = threading.Event()

    def work() -> None:
        begin.wait()
        loop.call_soon_threadsafe(log.append, "called")
        time.sleep(0.1)
        loop.call_soon_threadsafe(future.set_result, "woken")

    thread = threading.Thread(target=work)
    thread.start()

    async def main() -> str:
        begin.set()
        while not log:
            await asyncio.sleep(0)
            time.sleep(0.001)
        result: str = await future
        return result

    assert loop.run_until_complete(main()) == "woken"
    thread.join()


@pytest.mark.slow
def test_patience_ends_with_a_verdict_that_names_the_thread() -> None:
    gate = threading.Event()

    async def main() -> None:
        threading.Thread(target=gate.wait, name="the-slow-one").start()
        await asyncio.Event().wait()

    with pytest.raises(vtloop.HangError) as raised:
        try:
            vtloop.run(main, patience=0.2)
        finally:
            gate.set()
    assert not isinstance(raised.value, vtloop.DeadlockError)
    assert str(raised.value) == ("waited 0.2 s of real time at t=0 s for the-slow-one, which did not come back")
    assert raised.value.data["threads"][0]["name"] == "the-slow-one"
    assert "gate.wait" in raised.value.report() or "in wait" in raised.value.report()


@pytest.mark.slow
def test_patience_ends_for_an_executor_call_too() -> None:
    gate = threading.Event()

    async def main() -> None:
        loop = asyncio.get_running_loop()
        loop.call_later(1, print, "never")
        await asyncio.to_thread(gate.wait)

    with pytest.raises(vtloop.HangError, match=r"^waited 0.2 s of real time at t=0 s for vtloop-executor-1"):
        try:
            vtloop.run(main, patience=0.2)
        finally:
            gate.set()


def test_exception_in_a_thread_of_the_run_fails_the_run() -> None:
    def fail() -> None:
        raise LookupError("lost in a thread")

    async def main() -> None:
        thread = threading.Thread(target=fail)
        thread.start()
        thread.join()

    with pytest.raises(LookupError, match="lost in a thread"):
        vtloop.run(main)


@pytest.mark.slow
def test_callbacks_from_many_threads_all_run_and_each_threads_in_order(loop: vtloop.EventLoop) -> None:
    log: list[tuple[str, int]] = []

    def put(name: str) -> None:
        for number in range(500):
            loop.call_soon_threadsafe(log.append, (name, number))

    async def main() -> None:
        threads = [threading.Thread(target=put, args=(name,)) for name in "abc"]
        for thread in threads:
            thread.start()
        while len(log) < 1500:
            await asyncio.sleep(0.001)
        for thread in threads:
            thread.join()

    loop.run_until_complete(main())
    for name in "abc":
        assert [number for who, number in log if who == name] == list(range(500))


# -- the end --------------------------------------------------------------------------------------------------------


def test_executor_is_shut_down_without_a_warning_and_for_good(loop: vtloop.EventLoop) -> None:
    log: list[str] = []

    async def main() -> None:
        loop.run_in_executor(None, log.append, "ran")
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            await loop.shutdown_default_executor(300)
        with pytest.raises(RuntimeError, match="^Executor shutdown has been called$"):
            loop.run_in_executor(None, print)

    loop.run_until_complete(main())
    assert (log, loop.time()) == (["ran"], 0.0)


def test_helper_threads_end_with_their_loop() -> None:
    before = threading.active_count()
    for _ in range(3):
        with vtloop.EventLoop() as loop:
            loop.run_until_complete(asyncio.to_thread(abs, 1))
    assert threading.active_count() == before


def test_runner_shuts_the_executor_down(loop: vtloop.EventLoop) -> None:
    with asyncio.Runner(loop_factory=vtloop.EventLoop) as runner:
        assert runner.run(asyncio.to_thread(abs, -4)) == 4


def test_loop_can_be_closed_while_a_call_is_at_work() -> None:
    gate = threading.Event()
    loop = vtloop.EventLoop()
    loop.run_in_executor(None, gate.wait)
    loop.create_task(asyncio.sleep(0))
    loop.step()
    loop.close()
    gate.set()
