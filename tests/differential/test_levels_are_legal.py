"""A seeded order breaks no order that its level keeps: properties of random programs at every level."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pytest

import vtloop

from .programs import TICK, Line, Program, act

LEVELS = ("timing", "wakeups", "tasks")
SCHEDULERS = ("random", "pct:depth=3", "pos", "urw", "delay:bound=5", "reversed")
PROGRAMS = 120


@dataclass
class Plain:
    """A plain callback that ran: the how-manieth it was to be scheduled, and when that was."""

    number: int
    made: float


@dataclass
class Timer:
    """A timer that fired."""

    number: int
    made: float
    when: float
    delay: float | None  # None: made by call_at
    fired: float


class Watched(vtloop.EventLoop):
    """Keeps the plain callbacks and timers of a run, in the order in which they ran."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.ran: list[Plain | Timer] = []
        self._numbers = itertools.count()

    def _plain(self, callback: Any) -> Any:
        item = Plain(next(self._numbers), self.time())

        def run(*args: Any) -> None:
            self.ran.append(item)
            callback(*args)

        return run

    def _timer(self, when: float, delay: float | None, callback: Any) -> Any:
        item = Timer(next(self._numbers), self.time(), when, delay, 0.0)

        def run(*args: Any) -> None:
            item.fired = self.time()
            self.ran.append(item)
            callback(*args)

        return run

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:
        if drives_a_task(callback):
            return super().call_soon(callback, *args, context=context)
        return super().call_soon(self._plain(callback), *args, context=context)

    def call_soon_threadsafe(self, callback: Any, *args: Any, context: Any = None) -> Any:
        return super().call_soon_threadsafe(self._plain(callback), *args, context=context)

    def call_later(self, delay: float, callback: Any, *args: Any, context: Any = None) -> Any:
        timer = self._timer(self.time() + delay, delay, callback)
        return super().call_later(delay, timer, *args, context=context)

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> Any:
        return super().call_at(when, self._timer(when, None, callback), *args, context=context)


def drives_a_task(callback: Any) -> bool:
    return type(callback).__name__ == "TaskStepMethWrapper" or isinstance(
        getattr(callback, "__self__", None), asyncio.Task
    )


def illegal(ran: Sequence[Plain | Timer]) -> str | None:
    """The first order in ``ran`` that no level allows, or None.  Time passes only while nothing is ready (no lag)."""
    for later, item in enumerate(ran):
        if isinstance(item, Timer) and item.fired != max(item.when, item.made):
            return f"{item} fired too early or too late"
        for earlier in ran[:later]:
            if not may_precede(earlier, item):
                return f"{item} ran after {earlier}"
    return None


def may_precede(a: Plain | Timer, b: Plain | Timer) -> bool:
    """Whether ``a`` may run before ``b``; True where this cannot be decided."""
    match a, b:
        case Plain(), Plain():
            return a.number < b.number
        case Plain(), Timer():
            # The clock had moved on from b's time when a was put in: b had run by then.
            return not max(b.when, b.made) < a.made
        case Timer(), Plain():
            # b stood in the line before a's time came.
            return not b.made < a.when
        case Timer(), Timer():
            if b.when == a.when and b.made < b.when and a.made < a.when:
                # Real time cannot invert timers made at the same moment for the same delay.
                same = a.delay is not None and a.delay == b.delay
                return a.number < b.number or not same
            return not (b.when < a.when and b.made < a.when)


def watched_run(program: Program, seed: int, level: str, scheduler: str = "random") -> tuple[Watched, list[Line]]:
    loop = Watched(seed=seed, scheduler=scheduler, interleave=level)
    return loop, act(program, loop, vtloop.DeadlockError)


def begun_in_order(log: list[Line]) -> bool:
    """Whether the tasks that were spawned, and that began, began in the order in which they were spawned."""
    spawned = [line[3][0] for line in log if line[2] == "spawn"]
    begun = [line[1] for line in log if line[2] == "begin" and line[1] in spawned]
    return begun == sorted(begun, key=spawned.index)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("first", range(0, PROGRAMS, 40))
def test_plain_callbacks_and_timers_keep_their_order(level: str, first: int) -> None:
    for seed in range(first, first + 40):
        loop, _ = watched_run(Program(seed), seed, level)
        assert (seed, illegal(loop.ran)) == (seed, None)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("scheduler", SCHEDULERS[1:])
def test_whoever_picks_plain_callbacks_and_timers_keep_their_order(scheduler: str, level: str) -> None:
    for seed in range(25):
        loop, _ = watched_run(Program(seed), seed, level, scheduler)
        assert (seed, illegal(loop.ran)) == (seed, None)


@pytest.mark.parametrize("level", ["timing", "wakeups"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_tasks_begin_in_order_of_creation_below_the_strongest_level(scheduler: str, level: str) -> None:
    for seed in range(PROGRAMS if scheduler == "random" else 25):
        program = Program(seed)
        program.eager = False
        _, log = watched_run(program, seed, level, scheduler)
        assert begun_in_order(log), (seed, level)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_tasks_begin_in_other_orders_at_the_strongest_level(scheduler: str) -> None:
    programs = [Program(seed) for seed in range(PROGRAMS if scheduler == "random" else 40)]
    orders = [begun_in_order(watched_run(p, p.seed, "tasks", scheduler)[1]) for p in programs if not p.eager]
    assert 0 < orders.count(False) < len(orders)


@pytest.mark.parametrize("level", ["wakeups", "tasks"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_seeded_order_is_not_always_asyncios(scheduler: str, level: str) -> None:
    different = 0
    for seed in range(40):
        plain = act(Program(seed), vtloop.EventLoop(), vtloop.DeadlockError)
        different += watched_run(Program(seed), seed, level, scheduler)[1] != plain
    assert different > (2 if scheduler.startswith("delay") else 10)


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_same_seed_gives_the_same_log(scheduler: str, level: str) -> None:
    for seed in range(20):
        once, again = (watched_run(Program(seed), seed, level, scheduler)[1] for _ in range(2))
        assert once == again


# What every asyncio test expects of sleep(0), among tasks that wake up all the time.


async def crowd(noise: int) -> list[asyncio.Task[None]]:
    async def restless(mine: asyncio.Semaphore, next_one: asyncio.Semaphore) -> None:
        while True:
            await mine.acquire()
            next_one.release()

    turns = [asyncio.Semaphore(1) for _ in range(noise)]
    pairs = zip(turns, turns[1:] + turns[:1], strict=True)
    tasks = [asyncio.create_task(restless(mine, next_one)) for mine, next_one in pairs]
    await asyncio.sleep(TICK)
    return tasks


async def children_begun(noise: int) -> list[str]:
    log: list[str] = []

    async def child(label: str) -> None:
        log.append(label)

    others = await crowd(noise) if noise else []
    children = [asyncio.create_task(child(label)) for label in "abc"]
    await asyncio.sleep(0)
    seen = list(log)
    for task in others:
        task.cancel()
    await asyncio.gather(*children, *others, return_exceptions=True)
    return seen


async def item_taken() -> str:
    queue: asyncio.Queue[str] = asyncio.Queue()
    taken = []

    async def consumer() -> None:
        taken.append(await queue.get())

    task = asyncio.create_task(consumer())
    await asyncio.sleep(TICK)
    queue.put_nowait("item")
    await asyncio.sleep(0)
    seen = "".join(taken)
    await task
    return seen


def outcomes(main: Any, level: str, scheduler: str = "random") -> list[Any]:
    found = []
    for seed in range(60):
        with vtloop.EventLoop(seed=seed, scheduler=scheduler, interleave=level) as loop:
            found.append(loop.run_until_complete(main()))
    return found


@pytest.mark.parametrize("level", ["timing", "wakeups"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_children_have_begun_after_one_bare_yield(scheduler: str, level: str) -> None:
    assert outcomes(lambda: children_begun(0), level, scheduler) == [["a", "b", "c"]] * 60


def test_children_may_not_have_begun_after_one_bare_yield_at_the_strongest_level() -> None:
    found = outcomes(lambda: children_begun(0), "tasks")
    assert ["a", "b", "c"] in found
    assert any(len(begun) < 3 for begun in found)
    assert any(begun[:2] == ["b", "a"] for begun in found)


@pytest.mark.parametrize("level", ["timing", "wakeups"])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_waiting_consumer_has_its_item_after_one_bare_yield(scheduler: str, level: str) -> None:
    assert outcomes(item_taken, level, scheduler) == ["item"] * 60


def test_a_waiting_consumer_may_lack_its_item_after_one_bare_yield_at_the_strongest_level() -> None:
    assert set(outcomes(item_taken, "tasks")) == {"item", ""}


class Unfair:
    """Runs the newest of the window, and never the oldest; counts how often the task "patient" was passed over."""

    passed = 0

    def pick(self, window: Sequence[Any]) -> int:
        tasks = [index for index, item in enumerate(window) if index and item.kind == "task"]
        index = tasks[-1] if tasks else len(window) - 1
        self.passed += any(item.task == "patient" for item in window[:index])
        return index


async def first_step_among_yields(scheduler: Unfair) -> None:
    begun = []

    async def patient() -> None:
        begun.append(True)

    async def restless() -> None:
        for _ in range(400):
            await asyncio.sleep(0)

    task = asyncio.create_task(patient(), name="patient")
    await asyncio.gather(task, *(restless() for _ in range(3)))


async def wakeup_among_wakeups(scheduler: Unfair) -> None:
    loop = asyncio.get_running_loop()
    first: asyncio.Future[None] = loop.create_future()

    async def patient() -> None:
        await first

    async def relay(mine: Sequence[asyncio.Future[None]], theirs: Sequence[asyncio.Future[None]]) -> None:
        for own, other in zip(mine, theirs, strict=True):
            await own
            other.set_result(None)

    lines = [[loop.create_future() for _ in range(300)] for _ in range(3)]
    relays = [relay(lines[0], lines[1]), relay(lines[1], lines[2]), relay(lines[2][:-1], lines[0][1:])]
    tasks = [asyncio.create_task(patient(), name="patient"), *map(asyncio.create_task, relays)]
    await asyncio.sleep(TICK)
    scheduler.passed = 0
    first.set_result(None)
    lines[0][0].set_result(None)
    await asyncio.gather(*tasks)


@pytest.mark.parametrize(
    ("program", "level"),
    [(first_step_among_yields, "tasks"), (wakeup_among_wakeups, "wakeups"), (wakeup_among_wakeups, "tasks")],
)
def test_no_item_is_passed_over_more_than_two_hundred_times(program: Any, level: str) -> None:
    scheduler = Unfair()
    with vtloop.EventLoop(scheduler=scheduler, interleave=level) as loop:
        loop.run_until_complete(program(scheduler))
    assert scheduler.passed == 200


# That the check can fail.


@pytest.mark.parametrize(
    "ran",
    [
        [Plain(1, 0.0), Plain(0, 0.0)],
        [Timer(0, 0.0, 2.0, 2.0, 1.0)],
        [Timer(0, 0.0, 2.0, 2.0, 2.0), Timer(1, 0.0, 1.0, 1.0, 2.0)],
        [Timer(0, 0.0, 2.0, 2.0, 2.0), Timer(1, 0.0, 1.0, 1.0, 1.0)],
        [Timer(1, 0.0, 1.0, 1.0, 1.0), Timer(0, 0.0, 1.0, 1.0, 1.0)],
        [Timer(0, 0.0, 1.0, 1.0, 1.0), Plain(1, 0.5)],
        [Plain(1, 1.5), Timer(0, 0.0, 1.0, 1.0, 1.0)],
    ],
    ids=["plain", "early", "late", "deadlines", "tie", "before its time", "after its time"],
)
def test_an_illegal_order_is_seen(ran: list[Plain | Timer]) -> None:
    assert illegal(ran) is not None


@pytest.mark.parametrize(
    "ran",
    [
        [Plain(0, 0.0), Plain(1, 0.0)],
        [Timer(1, 1.0, 0.5, -0.5, 1.0), Timer(0, 1.0, 1.0, 0.0, 1.0)],
        [Timer(1, 0.5, 1.0, 0.5, 1.0), Timer(0, 0.0, 1.0, 1.0, 1.0)],
        [Timer(1, 0.0, 1.0, None, 1.0), Timer(0, 0.0, 1.0, None, 1.0)],
        [Plain(1, 1.0), Timer(0, 1.0, 0.5, -0.5, 1.0)],
    ],
    ids=["plain", "negative delay", "shorter delay", "equal times", "undecidable"],
)
def test_a_legal_order_passes(ran: list[Plain | Timer]) -> None:
    assert illegal(ran) is None
