"""Patterns around calls: retries, debouncing, batching, caches, single flight, rates, answers found by number."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, defaultdict
from collections.abc import Awaitable, Callable
from typing import Any

from .corpus import healthy


@healthy(quick=False)
async def retry_with_backoff_for_hours() -> None:
    attempts: list[float] = []

    async def flaky() -> str:
        await asyncio.sleep(0.1)
        if len(attempts) < 8:
            raise ConnectionError
        return "up"

    delay = 60.0
    while True:
        attempts.append(delay)
        try:
            result = await flaky()
            break
        except ConnectionError:
            await asyncio.sleep(delay)
            delay = min(delay * 2, 3600)
    assert (result, len(attempts)) == ("up", 8)


@healthy()
async def debounce_runs_once_after_the_last_call() -> None:
    loop = asyncio.get_running_loop()
    fired: list[int] = []
    quiet = asyncio.Event()
    timer: asyncio.TimerHandle | None = None

    def fire(value: int) -> None:
        fired.append(value)
        quiet.set()

    def debounced(value: int) -> None:
        nonlocal timer
        if timer is not None:
            timer.cancel()
        timer = loop.call_later(0.005, fire, value)

    for value in range(5):
        debounced(value)
        await asyncio.sleep(0)
    await quiet.wait()
    while fired[-1] != 4:
        await asyncio.sleep(0.001)
    assert fired == sorted(fired)


@healthy()
async def calls_gathered_into_batches() -> None:
    loop = asyncio.get_running_loop()
    waiting: list[tuple[int, asyncio.Future[int]]] = []
    batches: list[int] = []

    def flush() -> None:
        batch = waiting[:]
        waiting.clear()
        batches.append(len(batch))
        for number, future in batch:
            if not future.done():
                future.set_result(number * 2)

    async def load(number: int) -> int:
        future = loop.create_future()
        if not waiting:
            loop.call_later(0.002, flush)
        waiting.append((number, future))
        return int(await future)

    assert await asyncio.gather(*(load(n) for n in range(6))) == [0, 2, 4, 6, 8, 10]
    assert sum(batches) == 6


class Cache:
    """The newest results of a coroutine function; callers at the same time share one call."""

    def __init__(self, load: Callable[[str], Awaitable[str]], size: int) -> None:
        self._load, self._size = load, size
        self._futures: OrderedDict[str, asyncio.Future[str]] = OrderedDict()

    async def get(self, key: str) -> str:
        future = self._futures.get(key)
        if future is None:
            future = self._futures[key] = asyncio.ensure_future(self._load(key))
            while len(self._futures) > self._size:
                self._futures.popitem(last=False)
        self._futures.move_to_end(key)
        return await asyncio.shield(future)


@healthy()
async def cache_of_futures_in_a_dictionary() -> None:
    loads: defaultdict[str, int] = defaultdict(int)

    async def load(key: str) -> str:
        await asyncio.sleep(0.001)
        loads[key] += 1
        return key.upper()

    cache = Cache(load, size=2)
    first = await asyncio.gather(cache.get("a"), cache.get("a"), cache.get("b"))
    again = await cache.get("a")
    await cache.get("c")
    assert (first, again) == (["A", "A", "B"], "A")
    assert loads == {"a": 1, "b": 1, "c": 1}


@healthy()
async def single_flight_whose_leader_is_cancelled() -> None:
    flights: dict[str, asyncio.Task[str]] = {}
    begun = asyncio.Event()
    calls = 0

    async def fetch() -> str:
        nonlocal calls
        calls += 1
        begun.set()
        await asyncio.sleep(0.002)
        return "value"

    async def get(key: str) -> str:
        if key not in flights:
            flights[key] = asyncio.create_task(fetch())
            flights[key].add_done_callback(lambda _: flights.pop(key))
        return await asyncio.shield(flights[key])

    leader = asyncio.create_task(get("x"))
    follower = asyncio.create_task(get("x"))
    await begun.wait()
    leader.cancel()
    assert await follower == "value"
    await asyncio.wait([leader])
    assert calls in (1, 2)


@healthy()
async def answers_matched_to_requests_by_number() -> None:
    waiting: dict[int, asyncio.Future[str]] = {}
    wire: asyncio.Queue[tuple[int, str]] = asyncio.Queue()
    loop = asyncio.get_running_loop()

    async def reader() -> None:
        while True:
            number, answer = await wire.get()
            waiting.pop(number).set_result(answer)

    async def call(number: int) -> str:
        waiting[number] = future = loop.create_future()
        loop.call_later(0.001 * (3 - number), wire.put_nowait, (number, f"answer {number}"))
        return str(await future)

    reading = asyncio.create_task(reader())
    answers = await asyncio.gather(*(call(n) for n in range(3)))
    reading.cancel()
    assert answers == ["answer 0", "answer 1", "answer 2"]
    assert waiting == {}


@healthy()
async def tokens_refilled_by_a_task() -> None:
    bucket = asyncio.Semaphore(2)
    sent: list[int] = []

    async def refill() -> None:
        while True:
            await asyncio.sleep(0.001)
            bucket.release()

    async def send(number: int) -> None:
        await bucket.acquire()
        sent.append(number)

    refilling = asyncio.create_task(refill())
    await asyncio.gather(*(send(n) for n in range(6)))
    refilling.cancel()
    assert sorted(sent) == list(range(6))


@healthy()
async def rate_limited_by_timers_that_give_permits_back() -> None:
    loop = asyncio.get_running_loop()
    permits = asyncio.BoundedSemaphore(2)
    times: list[float] = []

    async def call() -> None:
        await permits.acquire()
        times.append(loop.time())
        loop.call_later(0.003, permits.release)

    await asyncio.gather(*(call() for _ in range(6)))
    assert len(times) == 6


@healthy()
async def circuit_breaker_opens_and_closes() -> None:
    loop = asyncio.get_running_loop()
    failures, opened_at, calls = 0, 0.0, 0
    log: list[str] = []

    async def backend() -> str:
        nonlocal calls
        calls += 1
        await asyncio.sleep(0)
        if calls <= 2:
            raise OSError
        return "ok"

    while "ok" not in log:
        if failures >= 2:
            if loop.time() - opened_at < 0.005:
                log.append("open")
                await asyncio.sleep(0.002)
                continue
            failures = 0
        try:
            log.append(await backend())
        except OSError:
            failures, opened_at = failures + 1, loop.time()
            log.append("failed")
    assert log.count("failed") == 2


@healthy()
async def hedged_request_takes_the_first_answer() -> None:
    async def ask(delay: float, name: str) -> str:
        await asyncio.sleep(delay)
        return name

    first = asyncio.create_task(ask(0.02, "slow"))
    done, _ = await asyncio.wait([first], timeout=0.003)
    tasks = {first} if done else {first, asyncio.create_task(ask(0.001, "hedge"))}
    done, pending = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    for task in pending:
        task.cancel()
    assert done.pop().result() in ("slow", "hedge")


@healthy()
async def memoised_awaitable_read_by_many() -> None:
    made = 0

    async def connect() -> dict[str, int]:
        nonlocal made
        made += 1
        await asyncio.sleep(0.001)
        return {"connection": made}

    connection = asyncio.ensure_future(connect())

    async def use() -> int:
        return (await connection)["connection"]

    assert await asyncio.gather(use(), use(), use()) == [1, 1, 1]


@healthy()
async def publish_and_subscribe_with_queues() -> None:
    topics: defaultdict[str, set[asyncio.Queue[Any]]] = defaultdict(set)
    seen: defaultdict[str, list[int]] = defaultdict(list)

    async def subscribe(name: str, queue: asyncio.Queue[Any]) -> None:
        while (item := await queue.get()) is not None:
            seen[name].append(item)

    queues: dict[str, asyncio.Queue[Any]] = {name: asyncio.Queue() for name in ("x", "y")}
    for queue in queues.values():
        topics["news"].add(queue)
    tasks = [asyncio.create_task(subscribe(name, queue)) for name, queue in queues.items()]
    for item in (1, 2, 3, None):
        for queue in topics["news"]:
            await queue.put(item)
    await asyncio.gather(*tasks)
    assert seen == {"x": [1, 2, 3], "y": [1, 2, 3]}


@healthy()
async def leader_election_by_renewed_lease() -> None:
    loop = asyncio.get_running_loop()
    lease: dict[str, Any] = {"owner": None, "until": 0.0}
    terms: list[str] = []

    async def candidate(name: str, renewals: int) -> None:
        while True:
            if lease["owner"] is None or loop.time() >= lease["until"]:
                lease.update(owner=name, until=loop.time() + 0.004)
                terms.append(name)
                break
            await asyncio.sleep(0.001)
        for _ in range(renewals):
            await asyncio.sleep(0.001)
            if lease["owner"] != name:
                return
            lease["until"] = loop.time() + 0.004
        # Stops renewing: another takes over when the lease has run out.

    await asyncio.gather(*(candidate(name, 2) for name in "abc"))
    assert sorted(terms) == ["a", "b", "c"]


@healthy()
async def saga_undone_backwards() -> None:
    log: list[str] = []

    async def step(name: str, fails: bool = False) -> None:
        await asyncio.sleep(0)
        if fails:
            raise RuntimeError(name)
        log.append(name)

    undo: list[str] = []
    try:
        for name in ("flight", "hotel", "car"):
            await step(name, fails=name == "car")
            undo.append(name)
    except RuntimeError:
        while undo:
            await step(f"cancel {undo.pop()}")
    assert log == ["flight", "hotel", "cancel hotel", "cancel flight"]
