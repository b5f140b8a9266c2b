"""What only BlockBuster sees: methods of C types, with our rules and our error."""

from __future__ import annotations

import _thread
import asyncio
import contextlib
import os
import queue
import select
import socket
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import blockbuster
import pytest

import vtloop
from vtloop import blocking_buster

ROOT = str(Path(vtloop.__file__).parents[1])


def run(call: Callable[[], Any], **options: Any) -> Any:
    async def main() -> Any:
        return call()

    return vtloop.run(main, **options)


def refused(call: Callable[[], Any]) -> str:
    with pytest.raises(vtloop.BlockingCallError) as caught:
        run(call, watchdog=5.0)
    assert f"{os.path.basename(__file__)}:" in str(caught.value)
    return str(caught.value)


@contextlib.contextmanager
def pair(connected: bool = True) -> Iterator[Any]:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.socket() as client:
        if not connected:
            yield server
            return
        client.connect(server.getsockname())
        other, _ = server.accept()
        with other:
            yield client


@contextlib.contextmanager
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    try:
        yield read, write
    finally:
        os.close(read)
        os.close(write)


@contextlib.contextmanager
def held(lock: Any) -> Iterator[Any]:
    """``lock``, which another thread holds."""
    taken, release = threading.Event(), threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            release.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    try:
        yield lock
    finally:
        release.set()
        thread.join()


def test_it_is_at_work_from_the_first_run_on() -> None:
    run(lambda: None)
    assert blockbuster.__file__
    assert blocking_buster._active
    assert blocking_buster.is_installed()


@pytest.mark.parametrize("name", ["recv", "send", "sendall", "recv_into"])
def test_a_blocking_call_over_a_network_is_refused(name: str) -> None:
    calls: dict[str, Callable[[Any], Any]] = {
        "recv": lambda one: one.recv(1),
        "recv_into": lambda one: one.recv_into(bytearray(1)),
        "send": lambda one: one.send(b"x"),
        "sendall": lambda one: one.sendall(b"x"),
    }
    with pair() as one:
        assert refused(lambda: calls[name](one)).startswith(f"socket.socket.{name}() was called by Task-1")
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            run(lambda: calls[name](one))


def test_accepting_is_refused() -> None:
    with pair(connected=False) as server:
        assert refused(server.accept).startswith("socket.socket.accept() was called by Task-1")


def test_a_pair_of_sockets_blocks_only_where_it_would_wait() -> None:
    here, there = socket.socketpair()
    with here, there:

        def talk() -> bytes:
            here.send(b"x")
            return there.recv(1)

        assert run(talk) == b"x"
        assert refused(lambda: there.recv(1)).startswith("socket.socket.recv()")


def test_a_datagram_is_sent_without_waiting() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        assert run(lambda: one.sendto(b"x", ("127.0.0.1", 9))) == 1


def test_pipes_block_only_where_they_would_wait(tmp_path: Path) -> None:
    with pipe() as (read, write):

        def talk() -> bytes:
            os.write(write, b"x")
            return os.read(read, 1)

        assert run(talk) == b"x"
        assert refused(lambda: os.read(read, 1)).startswith("os.read() was called by Task-1")
    (tmp_path / "file").write_bytes(b"x")
    with open(tmp_path / "file", "rb") as file:
        assert run(lambda: os.read(file.fileno(), 1)) == b"x"


def test_a_poll_is_refused_when_nothing_is_ready() -> None:
    with pipe() as (read, write):
        poll = select.poll()
        poll.register(read, select.POLLIN)
        assert run(lambda: poll.poll(0)) == []
        assert refused(lambda: poll.poll(60_000)).startswith("select.poll.poll() was called by Task-1")
        os.write(write, b"x")
        assert len(run(lambda: poll.poll(60_000))) == 1


LOCKS = pytest.mark.parametrize("name", ["Lock", "RLock"])


def enter(lock: Any) -> None:
    with lock:
        pass


@LOCKS
def test_a_lock_that_is_held_is_refused(name: str) -> None:
    with held(getattr(threading, name)()) as lock:
        for call in (lambda: lock.acquire(), lambda: lock.acquire(timeout=60), lambda: enter(lock)):
            assert refused(call).startswith(f"threading.{name}.acquire() was called by Task-1")
        assert run(lambda: lock.acquire(blocking=False)) is False
        assert run(lambda: lock.acquire(timeout=0)) is False


@LOCKS
def test_a_lock_that_is_free_or_soon_will_be_is_taken(name: str) -> None:
    lock = getattr(threading, name)()

    def take() -> None:
        for _ in range(2):
            enter(lock)
            assert lock.acquire()
            lock.release()

    run(take)
    taken = threading.Event()

    def hold() -> None:
        with lock:
            taken.set()
            time.sleep(0.005)

    thread = threading.Thread(target=hold)
    thread.start()
    taken.wait()
    run(lambda: enter(lock))
    thread.join()


def test_a_lock_held_across_an_await_is_found_at_the_second_task() -> None:
    lock = threading.Lock()

    async def worker() -> None:
        with lock:  # held
            await asyncio.sleep(1)

    async def main() -> None:
        await asyncio.gather(worker(), worker())

    with pytest.raises(vtloop.BlockingCallError, match=r"^threading.Lock.acquire\(\) was called by Task-3"):
        vtloop.run(main)


def test_a_simple_queue_is_refused_when_empty() -> None:
    jobs: queue.SimpleQueue[int] = queue.SimpleQueue()
    assert refused(jobs.get).startswith("queue.SimpleQueue.get() was called by Task-1")
    assert refused(lambda: jobs.get(timeout=60)).startswith("queue.SimpleQueue.get()")
    with pytest.raises(queue.Empty):
        run(lambda: jobs.get(block=False))
    jobs.put(1)
    assert run(jobs.get) == 1


def test_a_database_in_a_file_is_refused_and_one_in_memory_not(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "a.db")) as stored:
        assert refused(lambda: stored.execute("select 1")).startswith("sqlite3.Connection.execute()")
    with contextlib.closing(sqlite3.connect(":memory:")) as fleeting:
        assert run(lambda: fleeting.execute("select 1").fetchall()) == [(1,)]
        assert run(lambda: fleeting.cursor().execute("select 2").fetchone()) == (2,)


def test_files_are_allowed_as_ever(tmp_path: Path) -> None:
    def work() -> str:
        (tmp_path / "a").write_text("x")
        os.listdir(tmp_path)
        os.rename(tmp_path / "a", tmp_path / "b")
        os.stat(tmp_path / "b")
        return (tmp_path / "b").read_text()

    assert run(work) == "x"


def test_other_loops_and_plain_code_are_left_alone() -> None:
    run(lambda: None)

    async def main() -> bytes:
        with pair() as one:
            one.settimeout(0.001)
            with pytest.raises(TimeoutError):
                one.recv(1)
        with pipe() as (read, write):
            os.write(write, b"x")
            return os.read(read, 1)

    assert asyncio.run(main()) == b"x"
    vtloop.run(main, blocking="allow")
    with held(threading.Lock()) as lock:
        assert lock.acquire(timeout=0.001) is False


def test_virtual_lets_them_through_and_warns() -> None:
    with pipe() as (read, write):
        timer = threading.Timer(0.05, os.write, (write, b"x"))
        timer.start()
        with pytest.warns(vtloop.VtloopWarning, match=r"^os.read\(\) was called by Task-1"):
            assert run(lambda: os.read(read, 1), blocking="virtual") == b"x"
        timer.join()


@pytest.mark.slow
def test_a_process_that_used_it_ends_quietly(tmp_path: Path) -> None:
    code = (
        "import asyncio, threading, vtloop, _thread, logging\n"
        "async def main(): threading.Lock().acquire()\n"
        "vtloop.run(main)\n"
        "threading.Thread(target=lambda: None).start()\n"
        "class Late:\n"
        "    def __del__(self):\n"
        "        with self.lock: self.lock2.acquire()\n"
        "late = Late(); late.lock, late.lock2 = threading.Lock(), threading.Lock()\n"
    )
    env = {**os.environ, "PYTHONPATH": ROOT}
    command = [sys.executable, "-X", "dev", "-c", code]
    made = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert (made.returncode, made.stdout, made.stderr) == (0, "", "")


def test_locks_work_as_before_for_everybody_else() -> None:
    run(lambda: None)
    lock = _thread.allocate_lock()
    with lock as entered:
        assert entered is True
        assert lock.locked()
    again = threading.RLock()
    with again, again:
        assert again._is_owned()  # type: ignore[attr-defined]
    assert not again._is_owned()  # type: ignore[attr-defined]
