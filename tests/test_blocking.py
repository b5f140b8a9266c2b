"""Blocking calls inside the loop: refused at the call, let through, or left alone."""

from __future__ import annotations

import asyncio
import concurrent.futures
import inspect
import io
import json
import linecache
import logging
import multiprocessing
import os
import pickle
import platform
import queue
import select
import selectors
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from time import sleep
from typing import Any
from unittest import mock

import pytest

import vtloop
from vtloop import blocking_calls
from vtloop.blocking import program_frames
from vtloop.options import RUN_DEFAULTS
from vtloop.run import Outcome, execute
from vtloop.warned import Warned

HERE = os.path.relpath(__file__)


def line_of(text: str) -> int:
    """The only line of this file that ends with ``text``."""
    (number,) = (n for n, line in enumerate(Path(__file__).read_text().splitlines(), 1) if line.endswith(text))
    return number


def refused(call: Callable[[], Any], **options: Any) -> vtloop.BlockingCallError:
    """What ``call`` is refused with when a coroutine makes it."""

    async def main() -> None:
        call()

    with pytest.raises(vtloop.BlockingCallError) as caught:
        vtloop.run(main, **options)
    return caught.value


def passes(call: Callable[[], Any], **options: Any) -> Any:
    """What ``call`` gives when a coroutine makes it."""

    async def main() -> Any:
        return call()

    return vtloop.run(main, **options)


def outcome_of(main: Any, **options: Any) -> Outcome:
    return execute(main, RUN_DEFAULTS.__class__(**{**{n: getattr(RUN_DEFAULTS, n) for n in NAMES}, **options}))


NAMES = tuple(RUN_DEFAULTS.__dataclass_fields__)


# -- what is refused ------------------------------------------------------------------------------------------------


def own_result() -> None:
    async def nothing() -> None: ...

    coro = nothing()
    try:
        asyncio.run_coroutine_threadsafe(coro, asyncio.get_running_loop()).result()
    finally:
        coro.close()


def full_queue() -> None:
    jobs: queue.Queue[int] = queue.Queue(1)
    jobs.put(1)
    jobs.put(2)


def unfinished_queue() -> None:
    jobs: queue.Queue[int] = queue.Queue()
    jobs.put(1)
    jobs.join()


def thread_at_work(how: Callable[[threading.Thread], Any]) -> Callable[[], None]:
    def call() -> None:
        gate = threading.Event()
        thread = threading.Thread(target=gate.wait)
        thread.start()
        try:
            how(thread)
        finally:
            gate.set()

    return call


def timer_joined() -> None:
    timer = threading.Timer(60, print)
    timer.start()
    try:
        timer.join()
    finally:
        timer.cancel()


def condition() -> None:
    waited = threading.Condition()
    with waited:
        waited.wait()


def connected() -> None:
    with socket.socket() as one:
        one.connect(("127.0.0.1", 9))


def shut_down() -> None:
    gate = threading.Event()
    pool = concurrent.futures.ThreadPoolExecutor(1)
    pool.submit(gate.wait)
    try:
        pool.shutdown()
    finally:
        gate.set()


def child(call: Callable[[Any], Any]) -> Callable[[], None]:
    """``call`` on a child process that was begun where it may be."""

    def made() -> None:
        process = CHILDREN.pop()
        try:
            call(process)
        finally:
            process.kill()

    return made


CHILDREN: list[Any] = []


@pytest.fixture
def children() -> Any:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], stdout=subprocess.PIPE) as process:
        CHILDREN.append(process)
        yield
        process.kill()


WAITS = {
    "threading.Event.wait": lambda: threading.Event().wait(),
    "threading.Condition.wait": condition,
    "threading.Semaphore.acquire": lambda: threading.Semaphore(0).acquire(),
    "threading.BoundedSemaphore.acquire": lambda: threading.BoundedSemaphore(1).acquire() and HELD.acquire(),
    "threading.Barrier.wait": lambda: threading.Barrier(2).wait(),
    "threading.Thread.join": thread_at_work(lambda thread: thread.join()),
    "threading.Timer.join": timer_joined,
    "queue.Queue.get": lambda: queue.Queue[int]().get(),
    "queue.LifoQueue.get": lambda: queue.LifoQueue[int]().get(timeout=60),
    "queue.Queue.put": full_queue,
    "queue.Queue.join": unfinished_queue,
    "concurrent.futures.Future.result": lambda: concurrent.futures.Future[int]().result(),
    "concurrent.futures.Future.exception": lambda: concurrent.futures.Future[int]().exception(timeout=60),
    "concurrent.futures.wait": lambda: concurrent.futures.wait([concurrent.futures.Future[int]()]),
    "concurrent.futures.as_completed": lambda: list(concurrent.futures.as_completed([concurrent.futures.Future()])),
    "concurrent.futures.ThreadPoolExecutor.shutdown": shut_down,
    "select.select": lambda: select.select([], [], [], 60),
    "selectors.SelectSelector.select": lambda: selectors.SelectSelector().select(60),
}
HELD = threading.BoundedSemaphore(1)
HELD.acquire()

ACTS = {
    "time.sleep": lambda: time.sleep(60),
    "subprocess.run": lambda: subprocess.run([sys.executable, "-c", "1/0"]),
    "subprocess.check_output": lambda: subprocess.check_output([sys.executable, "-c", "1/0"]),
    "subprocess.Popen": lambda: subprocess.Popen([sys.executable, "-c", "1/0"]),
    "os.popen": lambda: os.popen("exit 1"),
    "os.system": lambda: os.system("exit 1"),
    "socket.socket.connect": connected,
    "socket.getaddrinfo": lambda: socket.getaddrinfo("localhost", 80),
    "socket.gethostbyname": lambda: socket.gethostbyname("localhost"),
    "socket.gethostbyaddr": lambda: socket.gethostbyaddr("127.0.0.1"),
    "socket.getnameinfo": lambda: socket.getnameinfo(("127.0.0.1", 80), 0),
    "input": lambda: input("name? "),
    "sqlite3.connect": lambda: sqlite3.connect("a.db"),
}

each_refused = pytest.mark.parametrize("name", [*WAITS, *ACTS])


@each_refused
def test_a_blocking_call_is_refused_with_its_task_and_line(name: str, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    error = refused({**WAITS, **ACTS}[name], watchdog=5.0)
    assert str(error).startswith(f"{name}(")
    assert "was called by Task-1 (" in str(error)
    assert f"{os.path.basename(__file__)}:" in str(error)
    assert error.data["call"] == name
    assert error.data["place"]["file"].endswith(os.path.basename(__file__))
    assert "Instead: " in str(error)
    assert "\n" not in str(error)
    assert json.loads(json.dumps(error.to_dict()))["instead"]
    assert not list(tmp_path.iterdir()), "it must come before the call has any effect"


@pytest.mark.parametrize("name", [name for name in WAITS if name.startswith("queue.")])
def test_what_to_write_instead_names_the_same_method_of_a_queue(name: str) -> None:
    error = refused(WAITS[name], watchdog=5.0)
    assert f"await asyncio.to_thread(queue.{name.rpartition('.')[2]}" in str(error)


@pytest.mark.parametrize("name", ["wait", "communicate", "with", "waitpid"])
def test_waiting_for_a_child_process_is_refused(children: None, name: str) -> None:
    calls = {
        "wait": ("subprocess.Popen.wait", lambda process: process.wait()),
        "communicate": ("subprocess.Popen.communicate", lambda process: process.communicate()),
        "with": ("with subprocess.Popen", lambda process: process.__exit__(None, None, None)),
        "waitpid": ("os.waitpid", lambda process: os.waitpid(process.pid, 0)),
    }
    call, how = calls[name]
    assert str(refused(child(how))).startswith(f"{call}() was called by Task-1")


def test_multiprocessing_is_refused_where_it_waits() -> None:
    context = multiprocessing.get_context("fork")
    process = context.Process(target=time.sleep, args=(60,))
    process.start()
    try:
        assert str(refused(lambda: process.join(60))).startswith("multiprocessing.")
    finally:
        process.kill()
        process.join()


def test_the_whole_report_names_the_way_to_the_call() -> None:
    async def fetch() -> None:
        await asyncio.sleep(1.5)
        time.sleep(5)  # the call

    async def main() -> None:
        await asyncio.create_task(fetch(), name="fetcher")

    with pytest.raises(vtloop.BlockingCallError) as caught:
        vtloop.run(main, seed=3)
    error = caught.value
    site = f"{HERE}:{line_of('# the call')} in "
    assert str(error) == (
        f"time.sleep(5) was called by fetcher at {site}fetch, t=1.5 s: it blocks the loop. "
        "Instead: await asyncio.sleep(5)"
    )
    report = error.report().splitlines()
    assert report[:5] == [
        "BLOCKING CALL at t=1.5 s, step 4, seed 3",
        "time.sleep(5) was called by fetcher. While it lasts no other task can run and no timer can fire.",
        "It was here:",
        f"    {site}fetch: time.sleep(5)  # the call",
        "hint: await asyncio.sleep(5).",
    ]
    assert report[-1].startswith("again: vtloop.replay(")
    assert error.to_dict()["time_ns"] == 1_500_000_000


def test_it_replays_to_the_same_call_at_the_same_time() -> None:
    async def waiter(number: int) -> None:
        await asyncio.sleep(number)
        if vtloop.choose(5) == 4:
            time.sleep(number)

    async def main() -> None:
        await asyncio.gather(*(waiter(number) for number in range(1, 6)))

    found = vtloop.explore(main, runs=200)
    assert found.failure is not None
    assert isinstance(found.failure.error, vtloop.BlockingCallError)
    with pytest.raises(vtloop.BlockingCallError) as caught:
        vtloop.replay(found.failure.trace, main)
    assert str(caught.value) == str(found.failure.error)


def test_a_name_bound_before_is_refused_too() -> None:
    assert str(refused(lambda: sleep(7))).startswith("time.sleep(7) was called")


def test_a_plain_callback_is_refused_too() -> None:
    async def main() -> None:
        asyncio.get_running_loop().call_later(1, time.sleep, 5)
        await asyncio.sleep(2)

    with pytest.raises(vtloop.BlockingCallError, match=r"^time.sleep\(5\) was called by a callback, t=1 s: "):
        vtloop.run(main)


def test_the_line_is_the_programs_not_the_librarys() -> None:
    error = refused(lambda: socket.create_connection(("localhost", 80)))  # mine
    assert f"{HERE}:{line_of('# mine')} in <lambda>" in str(error)


def test_a_wait_for_ones_own_loop_is_told_to_be_for_ever() -> None:
    for mode in ("raise", "virtual"):
        error = refused(own_result, blocking=mode)
        assert "it would never return, for what it waits for runs in this very loop" in str(error)
        assert error.data["never_returns"]


def test_a_task_that_made_a_future_of_its_own_loop_is_found_out_later_too() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        future = asyncio.run_coroutine_threadsafe(asyncio.sleep(5), loop)
        await asyncio.sleep(1)
        future.result()

    with pytest.raises(vtloop.BlockingCallError, match="it would never return"):
        vtloop.run(main, blocking="virtual")


# -- a refusal that the program catches -------------------------------------------------------------------------------


def test_a_swallowed_refusal_fails_the_run_all_the_same() -> None:
    async def main() -> str:
        try:
            time.sleep(5)
        except Exception:
            pass
        return "done"

    with pytest.raises(vtloop.BlockingCallError, match=r"^time.sleep\(5\)") as caught:
        vtloop.run(main)
    assert "the program caught this error and went on" in caught.value.__notes__


def test_a_refusal_in_gathered_exceptions_fails_the_run() -> None:
    async def one() -> None:
        time.sleep(5)

    async def main() -> None:
        await asyncio.gather(one(), return_exceptions=True)

    with pytest.raises(vtloop.BlockingCallError):
        vtloop.run(main)


def test_a_refusal_that_is_passed_on_in_another_error_is_told_once() -> None:
    async def main() -> None:
        try:
            time.sleep(5)
        except vtloop.BlockingCallError as exc:
            raise ValueError("wrapped") from exc

    with pytest.raises(ValueError, match="wrapped") as caught:
        vtloop.run(main)
    assert not any("background" in note for note in getattr(caught.value, "__notes__", ()))


def test_a_swallowed_refusal_stands_beside_another_error() -> None:
    async def main() -> None:
        try:
            time.sleep(5)
        except Exception:
            pass
        raise ValueError("other")

    with pytest.raises(ValueError, match="other") as caught:
        vtloop.run(main)
    assert any("also failed in the background: BlockingCallError: time.sleep(5)" in n for n in caught.value.__notes__)


def test_a_group_carries_the_refusal() -> None:
    async def one() -> None:
        time.sleep(5)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(one())

    with pytest.raises(ExceptionGroup) as caught:
        vtloop.run(main)
    assert [type(exc) for exc in caught.value.exceptions] == [vtloop.BlockingCallError]
    assert not any("background" in note for note in getattr(caught.value, "__notes__", ()))


# -- what is not refused ---------------------------------------------------------------------------------------------


def done_future() -> concurrent.futures.Future[int]:
    future = concurrent.futures.Future[int]()
    future.set_result(1)
    return future


def set_event() -> threading.Event:
    event = threading.Event()
    event.set()
    return event


def filled() -> queue.Queue[int]:
    jobs: queue.Queue[int] = queue.Queue()
    jobs.put(1)
    return jobs


def raises(kind: type[BaseException], call: Callable[[], Any]) -> Callable[[], None]:
    def made() -> None:
        with pytest.raises(kind):
            call()

    return made


def quick_thread() -> None:
    log: list[int] = []
    thread = threading.Thread(target=log.append, args=(1,))
    thread.start()
    thread.join()
    assert log == [1]


def quick_pool() -> None:
    with concurrent.futures.ThreadPoolExecutor(2) as pool:
        assert pool.submit(abs, -1).result() == 1
        assert list(pool.map(abs, [-1, -2])) == [1, 2]


def handed_over() -> None:
    jobs: queue.Queue[int] = queue.Queue()
    threading.Thread(target=jobs.put, args=(1,)).start()
    assert jobs.get() == 1


def unblocking_socket() -> None:
    with socket.socket() as one:
        one.setblocking(False)
        try:
            one.connect(("127.0.0.1", 9))
        except OSError:
            pass


def datagram() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        one.connect(("127.0.0.1", 9))  # how a program learns its own address; nothing is sent


def own_file(path: str) -> Callable[[], None]:
    def call() -> None:
        with open(path, "w") as file:
            file.write("x")
        assert Path(path).read_text() == "x"
        os.stat(path)
        os.listdir(os.path.dirname(path))
        os.remove(path)

    return call


def database_in_memory() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table t (a)")
    assert connection.execute("select * from t").fetchall() == []
    connection.close()


def closing_finalizer() -> None:
    class Late:
        def __del__(self) -> None:
            time.sleep(0.000_1)
            threading.Event().wait(0.000_1)

    Late()


def locks() -> None:
    for lock in (threading.Lock(), threading.RLock(), threading.Semaphore(), threading.Condition()):
        with lock:  # type: ignore[attr-defined]
            pass
        assert lock.acquire()  # type: ignore[attr-defined]
        lock.release()  # type: ignore[attr-defined]


def fresh_import() -> None:
    for name in ("platform", "uuid", "ctypes.util"):
        sys.modules.pop(name, None)
    import ctypes.util
    import platform as platform_again
    import uuid

    platform_again.processor()
    uuid.getnode()
    ctypes.util.find_library("c")


def logged() -> None:
    logging.getLogger("vtloop.tests").warning("to the handlers")


def warned_of() -> None:
    with warnings.catch_warnings(record=True):
        warnings.simplefilter("always")
        warnings.warn("of nothing", stacklevel=1)


SILENT: dict[str, Callable[[], Any]] = {
    "sleep of nothing": lambda: time.sleep(0),
    "sleep refused by Python": raises(ValueError, lambda: time.sleep(-1)),
    "sleep of a string": raises(TypeError, lambda: time.sleep("1")),  # type: ignore[arg-type]
    "event that is set": lambda: set_event().wait(),
    "event not waited for": lambda: threading.Event().wait(0),
    "condition not waited for": lambda: threading.Condition(threading.RLock()).acquire(blocking=False),
    "queue with an item": lambda: filled().get(),
    "queue not waited for": raises(queue.Empty, lambda: queue.Queue[int]().get_nowait()),
    "queue without patience": raises(queue.Empty, lambda: queue.Queue[int]().get(timeout=0)),
    "simple queue with an item": lambda: queue.SimpleQueue[int]().put(1),
    "simple queue not waited for": raises(queue.Empty, lambda: queue.SimpleQueue[int]().get_nowait()),
    "future that is done": lambda: done_future().result(),
    "future without patience": raises(TimeoutError, lambda: concurrent.futures.Future[int]().result(timeout=0)),
    "futures that are done": lambda: concurrent.futures.wait([done_future()]),
    "locks that are free": locks,
    "lock that is tried": lambda: (lambda lock: lock.acquire() and lock.acquire(blocking=False))(threading.Lock()),
    "lock without patience": lambda: (lambda lock: lock.acquire() and lock.acquire(timeout=0))(threading.Lock()),
    "select that polls": lambda: select.select([], [], [], 0),
    "selector that polls": lambda: selectors.DefaultSelector().select(0),
    "thread that is started": quick_thread,
    "thread that has ended": lambda: (lambda thread: (thread.start(), thread.join(0)))(threading.Thread()),
    "pool of threads": quick_pool,
    "item from a thread": handed_over,
    "socket that does not block": unblocking_socket,
    "datagram socket": datagram,
    "address, no name": lambda: socket.getaddrinfo("127.0.0.1", 80, type=socket.SOCK_STREAM),
    "address of version 6": lambda: socket.getaddrinfo("::1", 80, flags=socket.AI_NUMERICHOST),
    "every address": lambda: socket.getaddrinfo(None, 80),
    "database in memory": database_in_memory,
    "finalizer": closing_finalizer,
    "import": fresh_import,
    "logging": logged,
    "warning": warned_of,
    "printing": lambda: print("x", flush=True),
    "source lines": lambda: linecache.checkcache() or linecache.getlines(__file__),
    "text in memory": lambda: io.StringIO("x").read(),
    "signals": lambda: signal.getsignal(signal.SIGINT),
    "name of the machine": platform.node,
    "waitpid that polls": raises(ChildProcessError, lambda: os.waitpid(-1, os.WNOHANG)),
}


@pytest.mark.parametrize("name", SILENT)
@pytest.mark.parametrize("mode", ["raise", "virtual"])
def test_what_does_not_block_is_left_alone(name: str, mode: str) -> None:
    async def main() -> None:
        SILENT[name]()

    outcome = outcome_of(main, blocking=mode)
    if outcome.error is not None:
        raise outcome.error
    assert outcome.warnings == []


def test_plain_file_access_is_allowed(tmp_path: Any) -> None:
    passes(own_file(str(tmp_path / "a.txt")))


def test_a_debuggers_prompt_is_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    def prompt() -> str:
        namespace: dict[str, Any] = {}
        exec(compile("def ask():\n    return input('(Pdb) ')\n", os.path.join(STDLIB, "pdb.py"), "exec"), namespace)
        answer: str = namespace["ask"]()
        return answer

    monkeypatch.setattr(sys, "stdin", io.StringIO("n\n"))
    assert passes(prompt) == "n"


STDLIB = os.path.dirname(threading.__file__)


def test_nothing_is_refused_under_a_debugger(monkeypatch: pytest.MonkeyPatch) -> None:
    def tracer(frame: Any, event: str, arg: Any) -> Any:
        return None

    def traced() -> None:
        outer = sys.gettrace()
        sys.settrace(tracer)
        try:
            threading.Event().wait(0.01)
            assert program_frames(sys._getframe()) is None
        finally:
            sys.settrace(outer)

    passes(traced)


def test_code_outside_the_loop_is_left_alone() -> None:
    async def main() -> None: ...

    vtloop.run(main)
    assert threading.Event().wait(0.001) is False
    with pytest.raises(queue.Empty):
        queue.Queue[int]().get(timeout=0.001)
    time.sleep(0.000_1)
    assert subprocess.run([sys.executable, "-c", ""]).returncode == 0


def test_other_loops_are_left_alone() -> None:
    passes(lambda: None)

    async def main() -> None:
        time.sleep(0.000_1)
        threading.Event().wait(0.000_1)

    asyncio.run(main())
    with vtloop.EventLoop() as loop:
        loop.run_until_complete(main())
    vtloop.run(main, blocking="allow")


def test_other_threads_are_left_alone() -> None:
    def work() -> str:
        time.sleep(0.001)
        threading.Event().wait(0.001)
        return "worked"

    async def main() -> str:
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        thread = threading.Thread(target=lambda: loop.call_soon_threadsafe(done.set_result, work()))
        thread.start()
        result: str = await done
        thread.join()
        return result

    for mode in ("raise", "virtual"):
        assert vtloop.run(main, blocking=mode) == "worked"


# -- "virtual" and "allow" ---------------------------------------------------------------------------------------------


def test_virtual_sleep_stalls_the_loop_as_the_real_one_would() -> None:
    async def main() -> list[Any]:
        loop, log = asyncio.get_running_loop(), []

        async def beat() -> None:
            for _ in range(3):
                await asyncio.sleep(1)
                log.append(("beat", loop.time()))

        beating = asyncio.create_task(beat())
        await asyncio.sleep(0)
        time.sleep(5)
        log.append(("awake", loop.time()))
        await beating
        return log

    expected = [("awake", 5.0), ("beat", 5.0), ("beat", 6.0), ("beat", 7.0)]
    assert vtloop.run(main, blocking="virtual") == expected


def test_virtual_sleep_in_a_callback_and_by_a_bound_name() -> None:
    async def main() -> float:
        asyncio.get_running_loop().call_soon(time.sleep, 2)
        await asyncio.sleep(0)
        sleep(0.5)
        return asyncio.get_running_loop().time()

    assert vtloop.run(main, blocking="virtual") == 2.5


def test_other_calls_are_let_through_and_told_once_a_place() -> None:
    async def main() -> str:
        for _ in range(3):
            threading.Event().wait(0.001)  # thrice
        socket.getaddrinfo("localhost", 80)
        return "done"

    outcome = outcome_of(main, blocking="virtual")
    assert outcome.value == "done"
    assert [warned.kind for warned in outcome.warnings] == ["blocking call", "blocking call"]
    first: Warned = outcome.warnings[0]
    assert str(first) == (
        f"threading.Event.wait() was called by Task-1 (main) at {HERE}:{line_of('# thrice')} in main 3 times and "
        "really blocked the loop. Instead: an asyncio.Event, or await asyncio.to_thread(event.wait)"
    )
    assert first.to_dict()["count"] == 3
    assert str(outcome.warnings[1]).startswith("socket.getaddrinfo('localhost') was called by Task-1 (main) at ")


def test_a_wait_that_is_let_through_keeps_its_meaning() -> None:
    def setting() -> bool:
        event = threading.Event()
        timer = threading.Timer(0.1, event.set)
        timer.start()
        return event.wait(5)

    with pytest.warns(vtloop.VtloopWarning, match=r"^threading.Event.wait\(\)"):
        assert passes(setting, blocking="virtual") is True
    with pytest.warns(vtloop.VtloopWarning, match=r"^subprocess.run\("):
        made = passes(
            lambda: subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True), blocking="virtual"
        )
    assert made.stdout.split() == [b"1"]
    with pytest.warns(vtloop.VtloopWarning, match=r"^select.select\(\)"):
        assert passes(lambda: select.select([], [], [], 0.06), blocking="virtual") == ([], [], [])


def test_allowed_calls_are_not_touched() -> None:
    async def main() -> None:
        time.sleep(0.000_1)
        threading.Event().wait(0.000_1)
        socket.getaddrinfo("localhost", 80)

    outcome = outcome_of(main, blocking="allow")
    assert (outcome.error, outcome.warnings, outcome.time_ns) == (None, [], 0)


def test_a_bare_loop_minds_when_it_is_told_to() -> None:
    async def main() -> float:
        time.sleep(5)
        return asyncio.get_running_loop().time()

    with vtloop.EventLoop(blocking="virtual") as loop:
        assert loop.run_until_complete(main()) == 5.0
    with vtloop.EventLoop(blocking="raise") as loop, pytest.raises(vtloop.BlockingCallError):
        loop.run_until_complete(main())
    with pytest.raises(vtloop.UsageError, match="unknown blocking='no'; allowed: 'raise', 'virtual', 'allow'"):
        vtloop.EventLoop(blocking="no")


# -- the replacements --------------------------------------------------------------------------------------------------


def test_what_is_replaced_looks_as_before() -> None:
    passes(lambda: None)
    assert time.sleep.__name__ == "sleep"
    assert pickle.loads(pickle.dumps(time.sleep)) is time.sleep
    assert list(inspect.signature(threading.Event.wait).parameters) == ["self", "timeout"]
    assert list(inspect.signature(threading.Thread.join).parameters) == ["self", "timeout"]
    assert list(inspect.signature(subprocess.Popen.communicate).parameters) == ["self", "input", "timeout"]
    for owner, name, original, ours in blocking_calls._replaced:
        assert getattr(owner, name) is ours
        assert ours.__wrapped__ is original
        assert ours.__name__ == original.__name__


def test_a_mock_in_the_place_of_a_call_is_left_there() -> None:
    with mock.patch("time.sleep") as faked:
        passes(lambda: time.sleep(5))
        passes(lambda: time.sleep(6))
    assert [call.args for call in faked.call_args_list] == [(5,), (6,)]
    refused(lambda: time.sleep(5))


def test_a_loop_in_another_thread_is_minded_there() -> None:
    found: list[BaseException] = []

    def work() -> None:
        try:
            passes(lambda: time.sleep(5))
        except BaseException as exc:
            found.append(exc)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert [type(exc) for exc in found] == [vtloop.BlockingCallError]
