"""What a loop may meet outside: executor calls, threads, files, logging, databases in memory, locks nobody holds."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextvars
import io
import itertools
import json
import logging
import queue
import sqlite3
import threading
import time
from pathlib import Path
from typing import Any

from .corpus import healthy

request_id: contextvars.ContextVar[str] = contextvars.ContextVar("request_id", default="none")


@healthy(threads=True)
async def blocking_call_in_a_thread() -> None:
    def work(number: int) -> int:
        time.sleep(0.000_01)
        return number * 2

    assert await asyncio.gather(*(asyncio.to_thread(work, n) for n in range(3))) == [0, 2, 4]


@healthy(threads=True)
async def failure_in_a_thread_handled() -> None:
    def fail() -> None:
        raise OSError("no such disk")

    try:
        await asyncio.to_thread(fail)
    except OSError as error:
        assert str(error) == "no such disk"


@healthy(threads=True)
async def context_goes_with_the_call() -> None:
    request_id.set("r-1")
    assert await asyncio.to_thread(request_id.get) == "r-1"


@healthy(threads=True)
async def executor_made_by_the_program() -> None:
    loop = asyncio.get_running_loop()
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        assert await loop.run_in_executor(pool, sum, [1, 2, 3]) == 6


@healthy(threads=True)
async def thread_that_calls_back() -> None:
    loop = asyncio.get_running_loop()
    answer = loop.create_future()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(answer.set_result, "from a thread"))
    thread.start()
    assert await answer == "from a thread"
    await asyncio.to_thread(thread.join)


@healthy(threads=True)
async def coroutine_run_for_a_thread() -> None:
    loop = asyncio.get_running_loop()

    async def double(number: int) -> int:
        await asyncio.sleep(0)
        return number * 2

    def work() -> int:
        return asyncio.run_coroutine_threadsafe(double(21), loop).result()

    assert await asyncio.to_thread(work) == 42


@healthy(threads=True)
async def lock_of_threads_shared_with_a_thread() -> None:
    lock = threading.Lock()
    total = 0

    def add() -> None:
        nonlocal total
        with lock:
            total += 1

    add()
    await asyncio.gather(*(asyncio.to_thread(add) for _ in range(3)))
    add()
    assert total == 5


@healthy()
async def thread_locks_that_nobody_holds() -> None:
    lock, again = threading.Lock(), threading.RLock()
    total = 0

    async def add() -> None:
        nonlocal total
        with lock:
            total += 1
        await asyncio.sleep(0)
        with again, again:
            total += 1

    await asyncio.gather(*(add() for _ in range(4)))
    assert total == 8


@healthy()
async def thread_safe_things_that_do_not_wait() -> None:
    things: queue.Queue[int] = queue.Queue()
    simple: queue.SimpleQueue[int] = queue.SimpleQueue()
    flag, permits = threading.Event(), threading.Semaphore(2)
    condition = threading.Condition()
    for number in range(3):
        things.put(number)
        simple.put(number)
        await asyncio.sleep(0)
    flag.set()
    assert flag.wait()
    with condition:
        condition.notify_all()
    assert permits.acquire(blocking=False)
    permits.release()
    assert [things.get_nowait() for _ in range(3)] == [simple.get_nowait() for _ in range(3)] == [0, 1, 2]
    assert [things.get(block=False) for _ in range(things.qsize())] == []


@healthy()
async def results_of_finished_calls_read() -> None:
    done: concurrent.futures.Future[int] = concurrent.futures.Future()
    done.set_result(5)
    await asyncio.sleep(0)
    assert done.result() == 5
    assert await asyncio.wrap_future(done) == 5


class Lines(logging.Handler):
    """Keeps what is logged."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


@healthy()
async def logging_from_many_tasks() -> None:
    logger = logging.getLogger("vtloop.tests.healthy")
    logger.propagate, logger.level = False, logging.INFO
    handler, stream = Lines(), io.StringIO()
    logger.handlers = [handler, logging.StreamHandler(stream)]

    async def work(number: int) -> None:
        logger.info("begin %d", number)
        await asyncio.sleep(0)
        logger.info("end %d", number)

    await asyncio.gather(*(work(n) for n in range(3)))
    logger.handlers = []
    assert len(handler.lines) == len(stream.getvalue().splitlines()) == 6


@healthy()
async def small_files_read() -> None:
    here = Path(__file__)
    with here.open(encoding="utf-8") as file:
        first = file.readline()
    await asyncio.sleep(0)
    assert here.read_text(encoding="utf-8").startswith(first)
    assert here.exists()
    assert here.stat().st_size > 0
    assert here.name in [path.name for path in here.parent.iterdir()]


@healthy()
async def database_in_memory() -> None:
    connection = sqlite3.connect(":memory:")
    connection.execute("create table account (name text, amount integer)")

    async def deposit(name: str, amount: int) -> None:
        await asyncio.sleep(0)
        with connection:
            connection.execute("insert into account values (?, ?)", (name, amount))

    await asyncio.gather(deposit("a", 1), deposit("b", 2))
    assert connection.execute("select sum(amount) from account").fetchone() == (3,)
    connection.close()


@healthy()
async def a_computation_that_takes_its_time() -> None:
    primes = [n for n in range(2, 200) if all(n % d for d in range(2, n))]
    await asyncio.sleep(0)
    text = json.dumps({"primes": primes})
    assert len(json.loads(text)["primes"]) == 46


@healthy()
async def real_clocks_read() -> None:
    began = time.monotonic(), time.time(), time.perf_counter()
    await asyncio.sleep(0.001)
    assert time.monotonic() >= began[0]
    assert began[1] > 0
    assert time.perf_counter() >= began[2]


@healthy(threads=True)
async def producer_in_a_thread_consumer_in_the_loop() -> None:
    loop = asyncio.get_running_loop()
    items: asyncio.Queue[int | None] = asyncio.Queue()

    def produce() -> None:
        for number in itertools.chain(range(4), [None]):
            loop.call_soon_threadsafe(items.put_nowait, number)

    producing = loop.run_in_executor(None, produce)
    got: list[Any] = []
    while (item := await items.get()) is not None:
        got.append(item)
    await producing
    assert got == [0, 1, 2, 3]


@healthy(threads=True)
async def loop_in_a_thread_of_its_own() -> None:
    async def inner() -> int:
        await asyncio.sleep(0)
        return 5

    assert await asyncio.to_thread(asyncio.run, inner()) == 5
