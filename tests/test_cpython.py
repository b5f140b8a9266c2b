"""A contract test for every private name of CPython that the core leans on."""

from __future__ import annotations

import asyncio
import asyncio.base_events
import asyncio.constants
import asyncio.tasks
import concurrent.futures
import gc
import inspect
import logging
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from types import BuiltinMethodType
from typing import Any

import pytest

import vtloop
from vtloop import cpython
from vtloop.cpython_waits import frame_locals
from vtloop.handles import Handle, TimerHandle


class Recording(asyncio.AbstractEventLoop):
    """A loop that only writes down what it is asked for."""

    def __init__(self) -> None:
        self.put: list[Any] = []
        self.contexts: list[Any] = []
        self.complaints: list[str] = []

    def get_debug(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        self.put.append(callback)
        self.contexts.append(context)

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.complaints.append(context["message"])


@pytest.fixture
def recording() -> Any:
    return Recording()  # type: ignore[abstract]


async def waiting(future: asyncio.Future[Any]) -> Any:
    return await future


async def yielding() -> None:
    await asyncio.sleep(0)


def finish(task: asyncio.Task[Any]) -> None:
    """Let go of a task that never ran to its end, without complaint."""
    cpython.hush_destroyed(task)
    task.get_coro().close()  # type: ignore[union-attr]


# -- the callbacks of tasks -----------------------------------------------------------------------------------------


def test_first_step_and_bare_yield_are_of_the_step_type(recording: Any) -> None:
    task = asyncio.Task(yielding(), loop=recording)
    recording.put[0]()
    assert [type(callback) for callback in recording.put] == [cpython.STEP] * 2
    assert cpython.STEP.__name__ == "TaskStepMethWrapper"
    finish(task)


def test_cancelled_wait_is_resumed_by_a_wake_up(recording: Any) -> None:
    task = asyncio.Task(waiting(asyncio.Future(loop=recording)), loop=recording)
    recording.put.pop()()
    task.cancel()
    assert [callback.__name__ for callback in recording.put] == [cpython.WAKEUP_NAME]
    finish(task)


def test_wake_up_is_a_builtin_method_with_that_name(recording: Any) -> None:
    future: asyncio.Future[None] = asyncio.Future(loop=recording)
    task = asyncio.Task(waiting(future), loop=recording)
    recording.put.pop()()
    future.set_result(None)
    (callback,) = recording.put
    assert type(callback) is cpython.BUILTIN is BuiltinMethodType
    assert callback.__name__ == cpython.WAKEUP_NAME
    assert callback.__self__ is task
    finish(task)


def test_nothing_else_of_asyncio_looks_like_a_task(recording: Any) -> None:
    future: asyncio.Future[None] = asyncio.Future(loop=recording)
    future.add_done_callback(print)
    future.set_result(None)
    for callback in (*recording.put, [].append, future.cancel, len):
        assert type(callback) is not cpython.STEP
        assert getattr(callback, "__name__", "") != cpython.WAKEUP_NAME


def test_steps_and_wake_ups_always_bring_their_context(recording: Any) -> None:
    future: asyncio.Future[None] = asyncio.Future(loop=recording)
    task = asyncio.Task(waiting(future), loop=recording)
    recording.put[0]()
    future.set_result(None)
    assert len(recording.contexts) == 2
    assert None not in recording.contexts
    finish(task)


def test_tasks_do_not_need_a_handle_from_call_soon(recording: Any) -> None:
    """`call_soon` gives None back for steps and wake-ups; a task that kept it would fail here."""
    task = asyncio.Task(yielding(), loop=recording)
    for callback in recording.put:
        callback()
    assert task.done()


def test_pure_python_steps_are_known(recording: Any) -> None:
    future: asyncio.Future[None] = asyncio.Future(loop=recording)
    task = vars(asyncio.tasks)["_PyTask"](waiting(future), loop=recording)
    recording.put[0]()
    future.set_result(None)
    assert [cpython.python_task_step(callback) for callback in recording.put] == ["step", "wakeup"]
    assert [cpython.python_task_step(other) for other in (print, task.cancel, [].append)] == [None] * 3
    recording.put[1](future)


# -- futures and tasks ----------------------------------------------------------------------------------------------


def test_pending_task_can_be_kept_from_complaining(recording: Any) -> None:
    for hush in (False, True):
        task = asyncio.Task(yielding(), loop=recording)
        if hush:
            cpython.hush_destroyed(task)
        task.get_coro().close()  # type: ignore[union-attr]
        recording.put.clear()
        del task
        gc.collect()
    assert recording.complaints == ["Task was destroyed but it is pending!"]
    cpython.hush_destroyed(asyncio.Future(loop=recording))  # a plain future has nothing to hush


def test_unread_exception_is_seen_and_stays_unread(recording: Any) -> None:
    future: asyncio.Future[None] = asyncio.Future(loop=recording)
    assert cpython.exception_unread(future) is False
    future.set_exception(LookupError())
    assert cpython.exception_unread(future) is True
    assert cpython.exception_unread(future) is True
    future.exception()
    assert cpython.exception_unread(future) is False


def test_place_of_a_debug_task_is_the_users_line() -> None:
    async def main() -> list[str]:
        tasks = [asyncio.create_task(yielding()), asyncio.get_running_loop().create_task(yielding())]
        await asyncio.wait(tasks)
        return [task._source_traceback[-1].line for task in tasks]

    with vtloop.EventLoop() as loop:
        loop.set_debug(True)
        lines = loop.run_until_complete(main())
        plain = loop.create_task(yielding())
        before = len(plain._source_traceback)
        cpython.trim_creation(plain, 1)
        assert len(plain._source_traceback) == before - 1
        loop.run_ready()
    assert "create_task" in lines[0]
    assert "tasks = [" in lines[1]


def test_task_hashes_inside_its_constructor() -> None:
    """`Task` sets its number before asyncio's constructor, which registers, and so hashes, the task."""
    hashed: list[str] = []

    class Probe(asyncio.Task[Any]):
        def __hash__(self) -> int:
            hashed.append("hashed")
            return 1

    async def main() -> None:
        await Probe(yielding(), loop=asyncio.get_running_loop())

    with asyncio.Runner() as runner:
        runner.run(main())
    if sys.version_info < (3, 14):
        assert hashed


@pytest.mark.parametrize("name", ["_set_running_loop", "_get_running_loop", "_unregister_task"])
def test_half_public_functions_are_there(name: str) -> None:
    assert callable(getattr(asyncio, name))


def test_unregistered_task_is_no_longer_listed() -> None:
    async def main() -> None:
        task = asyncio.create_task(asyncio.sleep(1))
        assert task in asyncio.all_tasks()
        asyncio._unregister_task(task)  # type: ignore[attr-defined]
        assert task not in asyncio.all_tasks()
        asyncio._unregister_task(task)  # type: ignore[attr-defined] # twice is harmless
        task.cancel()

    with asyncio.Runner() as runner:
        runner.run(main())


# -- asyncio.tasks in a stable order --------------------------------------------------------------------------------


@pytest.fixture
def orderly() -> Iterator[None]:
    cpython.orderly_tasks_module(True)
    yield
    cpython.orderly_tasks_module(False)


def test_registry_of_tasks_is_a_weak_set_that_all_tasks_reads() -> None:
    name = vars(cpython)["_REGISTRY"]
    assert name == ("_scheduled_tasks" if sys.version_info >= (3, 12) else "_all_tasks")
    assert vars(asyncio.tasks)[name] is vars(cpython)["_PLAIN"]
    assert name in inspect.getsource(asyncio.all_tasks)


def test_module_is_put_back_when_the_last_loop_stops() -> None:
    before = dict(vars(asyncio.tasks))
    for on in (True, True, False):
        cpython.orderly_tasks_module(on)
        assert "set" in vars(asyncio.tasks)
    cpython.orderly_tasks_module(False)
    assert dict(vars(asyncio.tasks)) == before


def test_loops_put_the_module_back() -> None:
    before = dict(vars(asyncio.tasks))
    with pytest.raises(LookupError):

        async def main() -> None:
            raise LookupError

        with vtloop.EventLoop() as loop:
            loop.run_until_complete(main())
    with pytest.raises(vtloop.DeadlockError):
        vtloop.run(asyncio.Event().wait)
    assert dict(vars(asyncio.tasks)) == before


def test_coroutines_keep_their_order_and_lose_their_doubles(orderly: None) -> None:
    ordered = vars(asyncio.tasks)["set"]
    coros = [yielding() for _ in range(20)]
    assert list(ordered([*coros, coros[0]])) == coros
    for coro in coros:
        coro.close()


def test_everything_else_is_still_a_set(orderly: None) -> None:
    ordered = vars(asyncio.tasks)["set"]
    assert ordered([1, 2, 2]) == {1, 2}
    assert isinstance(ordered(), set)


def test_stock_loop_in_another_thread_is_not_disturbed() -> None:
    found: list[Any] = []

    async def stock() -> None:
        done, _ = await asyncio.wait([asyncio.create_task(asyncio.sleep(0, n)) for n in range(3)])
        found.append(sorted(task.result() for task in done))
        found.append(sorted([await task for task in asyncio.as_completed([asyncio.sleep(0, n) for n in range(3)])]))
        found.append(len(asyncio.all_tasks()))

    def other() -> None:
        with asyncio.Runner() as runner:
            runner.run(stock())

    async def main() -> None:
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()

    vtloop.run(main)
    assert found == [[0, 1, 2], [0, 1, 2], 1]


# -- logging, debug mode, names -------------------------------------------------------------------------------------


def test_logger_is_the_one_asyncio_looks_up(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpython.logger() is logging.getLogger("asyncio")
    other = logging.getLogger("another")
    monkeypatch.setattr(asyncio.base_events, "logger", other)
    assert cpython.logger() is other


def test_task_without_names_may_be_named() -> None:
    cpython.set_task_name(object(), "name")


@pytest.mark.parametrize("debug", [False, True])
def test_callback_is_described_as_in_asyncios_handles(debug: bool) -> None:
    with vtloop.EventLoop() as loop:
        loop.set_debug(debug)
        handle = loop.call_soon(len, 12)
        described = cpython.callback_source(handle)
        assert described == "len(12)" if debug else described in ("len(12)", "len()")
        assert described in repr(asyncio.Handle(len, (12,), loop))


@pytest.mark.slow
@pytest.mark.parametrize(("flags", "debug"), [(["-X", "dev"], True), ([], False)])
def test_debug_mode_is_that_of_the_interpreter(flags: list[str], debug: bool) -> None:
    code = "from vtloop import cpython; print(cpython.debug_mode())"
    env = {"PYTHONPATH": str(Path(vtloop.__file__).parent.parent)}
    done = subprocess.run([sys.executable, *flags, "-c", code], capture_output=True, text=True, check=True, env=env)
    assert done.stdout == f"{debug}\n"


def test_ssl_module_is_the_one_asyncio_uses(monkeypatch: pytest.MonkeyPatch) -> None:
    assert cpython.ssl_module().SSLContext
    monkeypatch.setattr("asyncio.sslproto.ssl", None)
    assert cpython.ssl_module() is None


def test_sendfile_modes_are_those_of_asyncio() -> None:
    class Transport:
        _sendfile_compatible: Any = None

    transport = Transport()
    assert cpython.sendfile_mode(transport) == cpython.sendfile_mode(object()) == "UNSUPPORTED"
    for mode in vars(asyncio.constants)["_SendfileMode"]:
        transport._sendfile_compatible = mode
        assert cpython.sendfile_mode(transport) == mode.name
    assert {mode.name for mode in vars(asyncio.constants)["_SendfileMode"]} == {"UNSUPPORTED", "TRY_NATIVE", "FALLBACK"}


def test_datagram_sockets_are_called_as_asyncio_calls_them() -> None:
    async def main() -> None:
        with socket.socket() as stream:
            loop = asyncio.get_running_loop()
            await loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=stream)

    with asyncio.Runner() as runner, pytest.raises(ValueError, match=f"A {cpython.DATAGRAM_SOCKET} was expected"):
        runner.run(main())


# -- handles --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["_callback", "_args", "_context", "_loop", "_source_traceback", "_repr"])
def test_handles_of_asyncio_keep_this_in_a_slot(name: str) -> None:
    assert name in asyncio.Handle.__slots__


def test_timer_handles_of_asyncio_keep_their_deadline_in_a_slot() -> None:
    assert "_when" in asyncio.TimerHandle.__slots__


def test_handles_print_and_compare_with_only_what_the_loop_fills_in() -> None:
    soon, later = Handle.__new__(Handle), TimerHandle.__new__(TimerHandle)
    for handle in (soon, later):
        handle._callback, handle._args = yielding, ()
    later._when = 2.5
    assert repr(soon).startswith("<Handle yielding() at ")
    assert repr(later).startswith("<TimerHandle when=2.5 yielding() at ")
    assert later == later
    assert later <= later
    assert not later < later


# -- coroutines that are never awaited -------------------------------------------------------------------------------


def test_the_hook_is_told_of_each_coroutine_that_dies_unawaited_and_where() -> None:
    told: list[tuple[str, bool, Any]] = []

    async def fetch(*arguments: Any, **named: Any) -> None:
        pass

    def hook(coro: Any) -> None:
        told.append((coro.__name__, cpython.value_dropped(sys._getframe(1)), coro.cr_origin))

    def forgetful() -> None:
        fetch()  # type: ignore[unused-coroutine]
        fetch(1, named=2)  # type: ignore[unused-coroutine]
        fetch(*[1])  # type: ignore[unused-coroutine]
        if fetch():  # type: ignore[truthy-bool]
            pass
        bool(not fetch())  # type: ignore[truthy-bool]
        coro = fetch()
        del coro
        [fetch()]
        fetch().close()

    before = cpython.on_unawaited(hook)
    try:
        forgetful()
    finally:
        assert cpython.on_unawaited(before) is hook
    assert before is cpython.PYTHONS_OWN
    assert told == [("fetch", dropped, None) for dropped in [True] * 5 + [False] * 2]
    coro = fetch()
    with pytest.warns(RuntimeWarning, match="coroutine '.*fetch' was never awaited"):
        cpython.PYTHONS_OWN(coro)
    coro.close()


def test_an_asyncio_future_is_found_from_the_concurrent_one_that_it_stands_for() -> None:
    source: concurrent.futures.Future[int] = concurrent.futures.Future()
    assert cpython.destination_of(source) is None
    loop = vtloop.EventLoop()
    future = asyncio.wrap_future(source, loop=loop)
    assert cpython.destination_of(source) is future
    loop.close()


# -- the rule itself ------------------------------------------------------------------------------------------------


def test_a_sleep_ends_by_a_callback_that_nothing_else_of_its_kind_has() -> None:
    put: list[Any] = []

    class Noting(asyncio.SelectorEventLoop):
        def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
            put.append(callback)
            return super().call_later(delay, callback, *args, context=context)

    async def main() -> None:
        await asyncio.sleep(0.001)
        async with asyncio.timeout(1):
            await asyncio.wait([asyncio.ensure_future(asyncio.sleep(0))], timeout=1)

    loop = Noting()
    loop.run_until_complete(main())
    loop.close()
    assert [callback is cpython.SLEEP_WAKEUP for callback in put] == [True, *[False] * (len(put) - 1)]
    assert len(put) >= 2


def test_every_name_of_the_file_is_tested_here() -> None:
    text = Path(__file__).read_text(encoding="utf-8")
    assert [name for name in cpython.__all__ if f"cpython.{name}" not in text] == []


def test_a_program_keeps_the_locals_it_has_asked_for() -> None:
    # CPython before 3.13: `locals()` and `frame.f_locals` give the same dict.
    def paused() -> Iterator[dict[str, int]]:
        number = 5
        yield locals()
        assert number

    suspended = paused()
    mine = next(suspended)
    seen = frame_locals(suspended.gi_frame)  # type: ignore[attr-defined]
    assert (seen["number"], mine["number"]) == (5, 5)
