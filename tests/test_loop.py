"""The life of a loop, and what is put into it: asyncio's behaviour, word for word, with and without a seed."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import os
import signal
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import vtloop

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="outside")


@pytest.fixture(params=[None, 1], ids=["fifo", "random"])
def loop(request: pytest.FixtureRequest) -> Iterator[vtloop.EventLoop]:
    with vtloop.EventLoop(seed=request.param) as loop:
        yield loop


async def number(value: int = 7) -> int:
    await asyncio.sleep(0)
    return value


# -- what it is -----------------------------------------------------------------------------------------------------


def test_loop_is_an_abstract_event_loop_and_no_base_event_loop() -> None:
    assert asyncio.AbstractEventLoop in vtloop.EventLoop.__bases__
    assert not issubclass(vtloop.EventLoop, asyncio.BaseEventLoop)


def test_loop_needs_no_thread_and_no_file_descriptor() -> None:
    fds = "/proc/self/fd" if os.path.isdir("/proc/self/fd") else "/dev/fd"
    before = (threading.active_count(), len(os.listdir(fds)))
    with vtloop.EventLoop() as loop:
        loop.run_until_complete(asyncio.sleep(5))
        assert (threading.active_count(), len(os.listdir(fds))) == before


def test_attributes_may_be_set_on_a_loop(loop: vtloop.EventLoop) -> None:
    loop.my_own = 3  # type: ignore[attr-defined]
    assert loop.my_own == 3  # type: ignore[attr-defined]


def test_repr_says_the_state(loop: vtloop.EventLoop) -> None:
    assert repr(loop) == "<EventLoop running=False closed=False debug=False time=0.0>"


def test_unclosed_loop_is_warned_of() -> None:
    loop = vtloop.EventLoop()
    with pytest.warns(ResourceWarning, match="unclosed event loop <EventLoop running=False closed=False"):
        del loop
        gc.collect()


def test_loop_that_was_refused_its_options_is_not_warned_of() -> None:
    with pytest.raises(vtloop.UsageError):
        vtloop.EventLoop(no_such_option=1)
    gc.collect()


# -- running --------------------------------------------------------------------------------------------------------


def test_loop_is_the_running_one_only_while_it_runs(loop: vtloop.EventLoop) -> None:
    async def main() -> tuple[bool, bool]:
        return asyncio.get_running_loop() is loop, loop.is_running()

    assert not loop.is_running()
    assert loop.run_until_complete(main()) == (True, True)
    assert not loop.is_running()
    with pytest.raises(RuntimeError, match="no running event loop"):
        asyncio.get_running_loop()


def test_result_comes_out_of_run_until_complete(loop: vtloop.EventLoop) -> None:
    assert loop.run_until_complete(number(3)) == 3


def test_future_and_task_can_be_run_to_completion(loop: vtloop.EventLoop) -> None:
    future = loop.create_future()
    loop.call_later(2, future.set_result, "done")
    assert loop.run_until_complete(future) == "done"
    assert loop.run_until_complete(loop.create_task(number(4))) == 4


def test_awaitable_object_can_be_run_to_completion(loop: vtloop.EventLoop) -> None:
    class Awaitable:
        def __await__(self) -> Any:
            return number(5).__await__()

    assert loop.run_until_complete(Awaitable()) == 5


def test_what_is_no_awaitable_is_refused(loop: vtloop.EventLoop) -> None:
    with pytest.raises(TypeError, match="An asyncio.Future, a coroutine or an awaitable is required"):
        loop.run_until_complete("coro")


def test_future_of_another_loop_is_refused(loop: vtloop.EventLoop) -> None:
    with vtloop.EventLoop() as other, pytest.raises(ValueError, match="belongs to a different loop"):
        loop.run_until_complete(other.create_future())


def test_loop_is_usable_after_an_exception_came_out(loop: vtloop.EventLoop) -> None:
    async def fail() -> None:
        await asyncio.sleep(1)
        raise LookupError("lost")

    with pytest.raises(LookupError, match="lost"):
        loop.run_until_complete(fail())
    assert loop.run_until_complete(number(3)) == 3
    assert loop.time() == 1.0


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupt_in_a_callback_comes_out_at_once_and_the_rest_waits(
    loop: vtloop.EventLoop, error: type[BaseException]
) -> None:
    log: list[str] = []

    def interrupt() -> None:
        raise error

    loop.call_soon(log.append, "before")
    loop.call_soon(interrupt)
    loop.call_soon(log.append, "after")
    with pytest.raises(error):
        loop.run_until_complete(asyncio.sleep(1))
    assert log == ["before"]
    assert not loop.is_running()
    loop.run_ready()
    assert log == ["before", "after"]
    for task in asyncio.all_tasks(loop):
        task.cancel()
    loop.run_ready()


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
def test_interrupt_in_main_does_not_stop_the_next_run(loop: vtloop.EventLoop, error: type[BaseException]) -> None:
    async def interrupt() -> None:
        raise error

    with pytest.raises(error):
        loop.run_until_complete(interrupt())
    assert loop.run_until_complete(number(8)) == 8


def test_several_runs_on_one_loop_keep_one_clock(loop: vtloop.EventLoop) -> None:
    times = []
    for _ in range(3):
        loop.run_until_complete(asyncio.sleep(1.5))
        times.append(loop.time())
    assert times == [1.5, 3.0, 4.5]


def test_stop_lets_the_turn_end_and_no_more(loop: vtloop.EventLoop) -> None:
    log: list[str] = []
    loop.call_soon(lambda: loop.call_soon(log.append, "next turn"))
    loop.call_soon(loop.stop)
    loop.call_soon(log.append, "same turn")
    loop.run_forever()
    assert log == ["same turn"]
    loop.call_soon(loop.stop)
    loop.run_forever()
    assert log == ["same turn", "next turn"]


def test_stop_before_the_run_lets_one_turn_pass(loop: vtloop.EventLoop) -> None:
    log: list[str] = []
    loop.call_soon(log.append, "ready")
    loop.call_later(1, log.append, "later")
    loop.stop()
    loop.run_forever()
    assert (log, loop.time()) == (["ready"], 0.0)


def test_stop_before_main_is_done_is_an_error_in_asyncios_words(loop: vtloop.EventLoop) -> None:
    loop.call_later(1, loop.stop)
    sleeping = loop.create_task(asyncio.sleep(2))
    with pytest.raises(RuntimeError, match="^Event loop stopped before Future completed.$"):
        loop.run_until_complete(sleeping)
    loop.run_until_complete(sleeping)
    assert loop.time() == 2.0


def test_loop_cannot_run_twice_at_once(loop: vtloop.EventLoop) -> None:
    async def main() -> None:
        with pytest.raises(RuntimeError, match="^This event loop is already running$"):
            loop.run_forever()
        with pytest.raises(RuntimeError, match="^This event loop is already running$"):
            loop.run_until_complete(loop.create_future())
        with vtloop.EventLoop() as other:
            with pytest.raises(RuntimeError, match="^Cannot run the event loop while another loop is running$"):
                other.run_forever()

    loop.run_until_complete(main())


# -- closing --------------------------------------------------------------------------------------------------------


def test_running_loop_cannot_be_closed(loop: vtloop.EventLoop) -> None:
    async def main() -> None:
        loop.close()

    with pytest.raises(RuntimeError, match="^Cannot close a running event loop$"):
        loop.run_until_complete(main())
    assert not loop.is_closed()


def test_closing_twice_does_nothing(loop: vtloop.EventLoop) -> None:
    loop.close()
    loop.close()
    assert loop.is_closed()


def test_closed_loop_refuses_everything_in_asyncios_words(loop: vtloop.EventLoop) -> None:
    future = loop.create_future()
    loop.close()
    coro = number()
    attempts = [
        loop.run_forever,
        lambda: loop.run_until_complete(future),
        lambda: loop.call_soon(print),
        lambda: loop.call_soon_threadsafe(print),
        lambda: loop.call_later(1, print),
        lambda: loop.call_at(1, print),
        lambda: loop.create_task(coro),
        lambda: loop.run_in_executor(None, print),
    ]
    for attempt in attempts:
        with pytest.raises(RuntimeError, match="^Event loop is closed$"):
            attempt()
    coro.close()


def test_what_was_ready_or_set_is_forgotten_when_the_loop_closes(loop: vtloop.EventLoop) -> None:
    log: list[str] = []
    handles = [loop.call_soon(log.append, "soon"), *(loop.call_later(n, log.append, "later") for n in range(200))]
    loop.close()
    for handle in handles:
        handle.cancel()
    assert log == []


# -- callbacks ------------------------------------------------------------------------------------------------------


def test_callbacks_run_in_order_with_their_arguments(loop: vtloop.EventLoop) -> None:
    log: list[Any] = []
    loop.call_soon(log.append, 1)
    loop.call_soon_threadsafe(log.append, 2)
    loop.call_soon(lambda *args: log.append(args), 3, 4)
    loop.run_ready()
    assert log == [1, 2, (3, 4)]


def test_callback_put_in_by_a_callback_runs_in_the_next_turn(loop: vtloop.EventLoop) -> None:
    log: list[str] = []

    def first() -> None:
        loop.call_soon(log.append, "third")
        log.append("first")

    loop.call_soon(first)
    loop.call_soon(log.append, "second")
    loop.run_ready()
    assert log == ["first", "second", "third"]


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_cancelled_handle_does_not_run(loop: vtloop.EventLoop, method: str) -> None:
    log: list[str] = []
    put: Any = getattr(loop, method)
    when = (1,) if method in ("call_later", "call_at") else ()
    kept = put(*when, log.append, "kept")
    gone = put(*when, log.append, "gone")
    gone.cancel()
    assert (gone.cancelled(), kept.cancelled()) == (True, False)
    loop.run_until_idle()
    assert log == ["kept"]


@pytest.mark.parametrize("method", ["call_soon", "call_soon_threadsafe", "call_later", "call_at"])
def test_callback_runs_in_the_context_of_its_making_or_the_one_given(loop: vtloop.EventLoop, method: str) -> None:
    log: list[str] = []
    put: Any = getattr(loop, method)
    when, later = ((1,), (2,)) if method in ("call_later", "call_at") else ((), ())
    given = contextvars.copy_context()
    given.run(VAR.set, "given")

    def look() -> None:
        log.append(VAR.get())
        VAR.set("changed")

    def make() -> None:
        VAR.set("made")
        put(*when, look)
        put(*later, look, context=given)

    contextvars.copy_context().run(make)
    loop.run_until_idle()
    assert (log, VAR.get(), given[VAR]) == (["made", "given"], "outside", "changed")


def test_handles_are_asyncios_and_print_as_such(loop: vtloop.EventLoop) -> None:
    soon, later = loop.call_soon(number), loop.call_later(1.5, number)
    assert isinstance(soon, asyncio.Handle)
    assert isinstance(later, asyncio.TimerHandle)
    assert later.when() == 1.5
    assert repr(soon).startswith("<Handle number() at ")
    assert repr(later).startswith("<TimerHandle when=1.5 number() at ")
    soon.cancel()
    later.cancel()
    assert (repr(soon), repr(later)) == ("<Handle cancelled>", "<TimerHandle cancelled when=1.5>")


def test_timer_handles_compare_by_deadline(loop: vtloop.EventLoop) -> None:
    first, second = loop.call_at(1, print), loop.call_at(2, print)
    assert first < second
    assert first <= second
    assert not first == second
    assert {first, second} == {second, first}
    assert sorted([second, first]) == [first, second]


def test_delay_that_is_none_is_refused_in_asyncios_words(loop: vtloop.EventLoop) -> None:
    with pytest.raises(TypeError, match="^delay must not be None$"):
        loop.call_later(None, print)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="^when cannot be None$"):
        loop.call_at(None, print)  # type: ignore[arg-type]


def test_callback_from_a_signal_handler_runs(loop: vtloop.EventLoop) -> None:
    log: list[str] = []
    outer = signal.signal(signal.SIGINT, lambda *_: loop.call_soon_threadsafe(log.append, "signalled"))
    try:

        async def main() -> None:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(0)

        loop.run_until_complete(main())
    finally:
        signal.signal(signal.SIGINT, outer)
    assert log == ["signalled"]


def test_automatic_collection_is_off_while_the_loop_runs(loop: vtloop.EventLoop) -> None:
    async def main() -> bool:
        return gc.isenabled()

    assert gc.isenabled()
    assert loop.run_until_complete(main()) is False
    assert gc.isenabled()


@pytest.mark.slow
def test_cycles_are_collected_in_long_runs_at_the_same_steps_every_time(loop: vtloop.EventLoop) -> None:
    class Knot:
        def __init__(self, number: int) -> None:
            self.itself = self
            self.number = number

        def __del__(self) -> None:
            dropped.append(self.number)

    async def main(steps: int) -> int:
        for number in range(steps):
            Knot(number)
            await asyncio.sleep(0)
        return len(dropped)

    counts = []
    for _ in range(2):
        dropped: list[int] = []
        with vtloop.EventLoop(seed=loop.options.seed) as other:
            counts.append(other.run_until_complete(main(60_000)))
        gc.collect()
    assert counts[0] == counts[1] > 50_000
