"""Exceptions nobody caught, debug mode, and async generators: as asyncio does it outside a run."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import logging
import subprocess
import sys
import threading
from collections.abc import AsyncGenerator, Iterator
from typing import Any

import pytest

import vtloop

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="outside")


@pytest.fixture(params=[None, 1], ids=["fifo", "random"])
def loop(request: pytest.FixtureRequest) -> Iterator[vtloop.EventLoop]:
    with vtloop.EventLoop(seed=request.param) as loop:
        yield loop


@pytest.fixture
def contexts(loop: vtloop.EventLoop) -> list[dict[str, Any]]:
    seen: list[dict[str, Any]] = []
    loop.set_exception_handler(lambda loop, context: seen.append(context))
    return seen


def fail() -> None:
    raise LookupError("lost")


async def run_a_bit() -> None:
    await asyncio.sleep(1)


# -- exception handlers ---------------------------------------------------------------------------------------------


def test_failed_callback_is_logged_and_the_loop_goes_on(
    loop: vtloop.EventLoop, caplog: pytest.LogCaptureFixture
) -> None:
    loop.call_soon(fail)
    loop.run_until_complete(run_a_bit())
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("asyncio", logging.ERROR)
    first, second = record.getMessage().splitlines()
    assert first.startswith("Exception in callback fail() at ")
    assert second.startswith("handle: <Handle fail() at ")
    assert record.exc_info is not None
    assert record.exc_info[0] is LookupError


def test_failed_timer_is_logged_as_a_timer(loop: vtloop.EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    loop.call_later(0.5, fail)
    loop.run_until_complete(run_a_bit())
    assert caplog.records[0].getMessage().splitlines()[1].startswith("handle: <TimerHandle when=0.5 fail() at ")


def test_handler_gets_message_exception_and_handle(loop: vtloop.EventLoop, contexts: list[dict[str, Any]]) -> None:
    handle = loop.call_soon(fail)
    loop.run_until_complete(run_a_bit())
    (context,) = contexts
    assert sorted(context) == ["exception", "handle", "message"]
    assert isinstance(context["exception"], LookupError)
    assert context["handle"] is handle
    assert context["message"].startswith("Exception in callback fail()")


def test_handler_runs_in_the_context_of_the_callback(loop: vtloop.EventLoop) -> None:
    if sys.version_info < (3, 12):
        pytest.skip("Handle.get_context begins with 3.12")
    log: list[str] = []
    given = contextvars.copy_context()
    given.run(VAR.set, "given")
    loop.set_exception_handler(lambda loop, context: log.append(VAR.get()))
    loop.call_soon(fail, context=given)
    loop.run_until_complete(run_a_bit())
    assert log == ["given"]


def test_exception_nobody_reads_reaches_the_handler(loop: vtloop.EventLoop, contexts: list[dict[str, Any]]) -> None:
    async def failing() -> None:
        fail()

    async def main() -> None:
        asyncio.create_task(failing())
        await run_a_bit()

    loop.run_until_complete(main())
    loop._tasks.clear()
    gc.collect()
    assert [context["message"] for context in contexts] == ["Task exception was never retrieved"]


def test_handler_that_fails_is_logged(loop: vtloop.EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    def broken(loop: Any, context: Any) -> None:
        raise ZeroDivisionError

    loop.set_exception_handler(broken)
    loop.call_soon(fail)
    loop.run_until_complete(run_a_bit())
    assert [record.getMessage().splitlines()[0] for record in caplog.records] == [
        "Unhandled error in exception handler"
    ]


def test_default_handler_that_fails_is_logged(
    loop: vtloop.EventLoop, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(context: Any) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(loop, "default_exception_handler", broken)
    loop.call_exception_handler({"message": "hello"})
    assert [record.getMessage() for record in caplog.records] == ["Exception in default exception handler"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupt_in_a_handler_comes_out(loop: vtloop.EventLoop, error: type[BaseException]) -> None:
    def interrupt(loop: Any, context: Any) -> None:
        raise error

    loop.set_exception_handler(interrupt)
    with pytest.raises(error):
        loop.call_exception_handler({"message": "hello"})


def test_message_may_be_missing(loop: vtloop.EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    loop.call_exception_handler({"zeta": 1, "alpha": 2})
    assert caplog.records[0].getMessage() == "Unhandled exception in event loop\nalpha: 2\nzeta: 1"


def test_handler_must_be_callable_or_none(loop: vtloop.EventLoop) -> None:
    with pytest.raises(TypeError, match="^A callable object or None is expected, got 1$"):
        loop.set_exception_handler(1)  # type: ignore[arg-type]
    loop.set_exception_handler(print)
    assert loop.get_exception_handler() is print
    loop.set_exception_handler(None)
    assert loop.get_exception_handler() is None


# -- debug mode -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_debug_mode_refuses_what_cannot_be_called(loop: vtloop.EventLoop, method: str) -> None:
    loop.set_debug(True)
    put: Any = getattr(loop, method)
    when = (1,) if method in ("call_later", "call_at") else ()
    with pytest.raises(TypeError, match=rf"^coroutines cannot be used with {method}\(\)$"):
        put(*when, run_a_bit)
    with pytest.raises(TypeError, match=rf"^a callable object was expected by {method}\(\), got 3$"):
        put(*when, 3)


@pytest.mark.parametrize("method", ["call_soon", "call_later", "call_at"])
def test_debug_mode_refuses_calls_from_another_thread(loop: vtloop.EventLoop, method: str) -> None:
    loop.set_debug(True)
    log: list[str] = []
    when = (1,) if method in ("call_later", "call_at") else ()

    def other() -> None:
        try:
            getattr(loop, method)(*when, print)
        except RuntimeError as error:
            log.append(str(error))

    async def main() -> None:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    loop.run_until_complete(main())
    assert log == ["Non-thread-safe operation invoked on an event loop other than the current one"]


def test_debug_handles_know_where_they_were_made(loop: vtloop.EventLoop) -> None:
    loop.set_debug(True)
    made = [loop.call_soon(print), loop.call_later(1, print), loop.call_at(1, print), loop.call_soon_threadsafe(print)]
    for handle in made:
        assert handle._source_traceback[-1].filename == __file__
        assert repr(handle).rpartition(" created at ")[2].startswith(__file__)


def test_debug_mode_tracks_coroutine_origins_only_while_the_loop_runs(loop: vtloop.EventLoop) -> None:
    async def main() -> int:
        return sys.get_coroutine_origin_tracking_depth()

    loop.set_debug(True)
    assert loop.run_until_complete(main()) > 0
    assert sys.get_coroutine_origin_tracking_depth() == 0


def test_debug_mode_may_be_switched_while_the_loop_runs(loop: vtloop.EventLoop) -> None:
    async def main() -> list[bool]:
        depths = []
        for on in (True, False):
            loop.set_debug(on)
            await asyncio.sleep(0.1)
            depths.append(sys.get_coroutine_origin_tracking_depth() > 0)
        return depths

    assert loop.run_until_complete(main()) == [True, False]
    assert loop.get_debug() is False


def test_slow_callbacks_are_logged_in_debug_mode(loop: vtloop.EventLoop, caplog: pytest.LogCaptureFixture) -> None:
    loop.set_debug(True)
    loop.slow_callback_duration = 0.0
    with caplog.at_level(logging.WARNING, "asyncio"):
        loop.call_soon(str)
        loop.run_ready()
    assert [record.getMessage().split(" took ")[0][:22] for record in caplog.records] == ["Executing <Handle str("]


def test_environment_switches_debug_mode_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    with vtloop.EventLoop() as loop:
        assert loop.get_debug() is True


@pytest.mark.slow
def test_dev_mode_switches_debug_mode_on() -> None:
    code = "import vtloop; loop = vtloop.EventLoop(); print(loop.get_debug()); loop.close()"
    done = subprocess.run([sys.executable, "-X", "dev", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "True\n"


def test_program_runs_the_same_in_debug_mode(loop: vtloop.EventLoop) -> None:
    async def main() -> list[int]:
        async def one(number: int) -> int:
            await asyncio.sleep(number)
            return number

        return await asyncio.gather(*(one(n) for n in (3, 1, 2)))

    loop.set_debug(True)
    assert (loop.run_until_complete(main()), loop.time()) == ([3, 1, 2], 3.0)


# -- async generators -----------------------------------------------------------------------------------------------


async def counting(log: list[str], name: str) -> AsyncGenerator[int, None]:
    try:
        yield 1
        yield 2
    finally:
        await asyncio.sleep(0)
        log.append(f"{name} closed")


def test_generators_are_closed_in_the_order_of_their_first_use(loop: vtloop.EventLoop) -> None:
    log: list[str] = []
    living = [counting(log, f"g{n}") for n in range(20)]

    async def main() -> None:
        for generator in reversed(living):
            await anext(generator)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    assert sorted(log) == sorted(f"g{n} closed" for n in range(20))
    if loop.options.seed is None:
        assert log == [f"g{n} closed" for n in reversed(range(20))]


def test_generator_that_is_dropped_is_closed_by_the_loop(loop: vtloop.EventLoop) -> None:
    log: list[str] = []

    async def main() -> None:
        async for _ in counting(log, "g"):
            break
        await asyncio.sleep(1)

    loop.run_until_complete(main())
    gc.collect()
    loop.run_until_complete(run_a_bit())
    assert log == ["g closed"]


def test_generator_that_fails_to_close_reaches_the_handler(
    loop: vtloop.EventLoop, contexts: list[dict[str, Any]]
) -> None:
    async def broken() -> AsyncGenerator[int, None]:
        try:
            yield 1
        finally:
            fail()

    generator = broken()

    async def main() -> None:
        await anext(generator)

    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_asyncgens())
    (context,) = contexts
    assert context["asyncgen"] is generator
    assert context["message"] == f"an error occurred during closing of asynchronous generator {generator!r}"
    assert isinstance(context["exception"], LookupError)


def test_generator_begun_after_the_shutdown_is_warned_of(loop: vtloop.EventLoop) -> None:
    log: list[str] = []
    loop.run_until_complete(loop.shutdown_asyncgens())

    async def main() -> None:
        generator = counting(log, "late")
        with pytest.warns(ResourceWarning, match=r"was scheduled after loop.shutdown_asyncgens\(\) call"):
            await anext(generator)
        await generator.aclose()

    loop.run_until_complete(main())


def test_hooks_for_generators_are_put_back(loop: vtloop.EventLoop) -> None:
    outer = sys.get_asyncgen_hooks()
    loop.run_until_complete(run_a_bit())
    assert sys.get_asyncgen_hooks() == outer
