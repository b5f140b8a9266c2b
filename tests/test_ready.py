"""The ready line: which items a scheduler may pick, and which it may not."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vtloop.handles import Handle
from vtloop.ready import LEVELS, MARK, PATIENCE, Entry, ReadyLine

CONTEXT = contextvars.copy_context()


class StubLoop(asyncio.AbstractEventLoop):
    """Catches what tasks and futures want to be called."""

    def __init__(self) -> None:
        self.put: list[Entry] = []

    def get_debug(self) -> bool:
        return False

    def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
        self.put.append((context, callback, args))

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        pass


STUB: Any = StubLoop()  # type: ignore[abstract]


async def waiting(future: asyncio.Future[None]) -> None:
    await future


def begin(kind: type[asyncio.Task[Any]] = asyncio.Task) -> tuple[asyncio.Future[None], Entry]:
    """A task, and the entry by which it takes its first step."""
    future: asyncio.Future[None] = asyncio.Future(loop=STUB)
    kind(waiting(future), loop=STUB)
    return future, STUB.put.pop()


def step() -> Entry:
    """The first step of a task."""
    future, entry = begin()
    kept.append((entry, future))
    return entry


def wakeup() -> Entry:
    """The wake-up of a task whose awaited future is done."""
    future, (context, callback, args) = begin()
    context.run(callback, *args)
    future.set_result(None)
    entry = STUB.put.pop()
    kept.append((entry, future))
    return entry


def handled(entry: Entry) -> Entry:
    """What ``call_soon`` makes of anything but the steps of C tasks: a handle."""
    handle = Handle.__new__(Handle)
    handle._context, handle._callback, handle._args = entry
    return (handle._context, handle._fire, ())


def plain() -> Entry:
    """A callback of ``call_soon``."""
    return handled((CONTEXT, print, ()))


kept: list[tuple[Entry, asyncio.Future[None]]] = []
"""The tasks begun, which must be run to their end, or they complain."""


@pytest.fixture(autouse=True)
def _end_tasks() -> Iterator[None]:
    yield
    for (context, callback, args), future in kept:
        if not future.done():
            future.set_result(None)
        context.run(callback, *args)
    kept.clear()
    for context, callback, args in STUB.put:
        context.run(callback, *args)
    STUB.put.clear()


MAKERS: dict[str, Callable[[], Entry]] = {"p": plain, "s": step, "w": wakeup, "m": lambda: MARK}


class Bench:
    """A line whose items are named by kind and number (``w0``), and a log of the windows it offers."""

    def __init__(self, level: str, picks: Callable[[int], int] = lambda options: 0, mark_matters: bool = True) -> None:
        self.windows: list[str] = []
        self.names: dict[int, str] = {}
        self.entries: list[Entry] = []
        self.picks = picks
        self.line = ReadyLine(level, self._pick, lambda: mark_matters)

    def _pick(self, items: Sequence[Any], options: int) -> int:
        self.windows.append(" ".join(self.name(item) for item in items[:options]))
        return self.picks(options)

    def name(self, item: Any) -> str:
        return "m" if item[3] is None else self.names[id(item[3])]

    def add(self, kinds: str) -> None:
        for kind in kinds:
            self.put(MAKERS[kind](), f"{kind}{len(self.entries)}")

    def put(self, entry: Entry, name: str) -> None:
        self.names[id(entry[1])] = name
        self.entries.append(entry)
        self.line.arrive(entry)

    def take(self) -> str:
        return self.name(self.line.take())

    def drain(self) -> str:
        return " ".join(self.take() for _ in range(len(self.line)))


# -- the window -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("level", "kinds", "window"),
    [
        ("timing", "ww", None),
        ("timing", "ss", None),
        ("timing", "pp", None),
        ("wakeups", "www", "w0 w1 w2"),
        ("wakeups", "wwpw", "w0 w1 p2"),
        ("wakeups", "pw", None),
        ("wakeups", "wwsw", "w0 w1"),
        ("wakeups", "ws", None),
        ("wakeups", "sw", None),
        ("wakeups", "ss", None),
        ("tasks", "sws", "s0 w1 s2"),
        ("tasks", "swpw", "s0 w1 p2"),
        ("tasks", "pp", None),
        ("wakeups", "wmw", "w0 m"),
        ("tasks", "smp", "s0 m"),
        ("tasks", "m", None),
    ],
)
def test_window_reaches_to_the_first_barrier_or_fence(level: str, kinds: str, window: str | None) -> None:
    bench = Bench(level)
    bench.add(kinds)
    bench.take()
    assert bench.windows == ([] if window is None else [window])


@pytest.mark.parametrize("level", LEVELS)
def test_picking_index_0_gives_arrival_order(level: str) -> None:
    bench = Bench(level)
    bench.add("wspwmswp")
    assert bench.drain() == "w0 s1 p2 w3 m s5 w6 p7"


def test_at_timing_nothing_is_asked_and_nothing_recorded() -> None:
    bench = Bench("timing", picks=lambda options: options - 1)
    bench.add("wswwsspwm")
    assert bench.drain() == "w0 s1 w2 w3 s4 s5 p6 w7 m"
    assert (bench.line.indices, bench.line.sizes) == ([], [])


def test_fence_runs_only_when_it_is_the_oldest() -> None:
    bench = Bench("wakeups", picks=lambda options: options - 1)
    bench.add("wwsw")
    assert bench.drain() == "w1 w0 s2 w3"
    assert bench.windows == ["w0 w1"]


def test_barrier_may_overtake_but_not_be_overtaken() -> None:
    bench = Bench("wakeups", picks=lambda options: options - 1)
    bench.add("wwpw")
    assert bench.drain() == "p2 w3 w1 w0"
    assert bench.windows == ["w0 w1 p2", "w0 w1 w3", "w0 w1"]


def test_a_window_of_one_is_neither_asked_nor_recorded() -> None:
    bench = Bench("tasks")
    bench.add("ppsp")
    assert bench.drain() == "p0 p1 s2 p3"
    assert bench.windows == ["s2 p3"]
    assert (bench.line.indices, bench.line.sizes) == ([0], [2])


def test_each_choice_is_recorded_with_its_number_of_options() -> None:
    bench = Bench("tasks", picks=lambda options: options - 1)
    bench.add("sss")
    bench.drain()
    assert (bench.line.indices, bench.line.sizes) == ([2, 1], [3, 2])


def test_late_arrivals_widen_the_window() -> None:
    bench = Bench("tasks", picks=lambda options: options - 1)
    bench.add("ss")
    assert bench.take() == "s1"
    bench.add("w")
    assert bench.take() == "w2"
    assert bench.windows == ["s0 s1", "s0 w2"]


@pytest.mark.parametrize(("level", "windows"), [("wakeups", ["w0 woken"]), ("tasks", ["w0 first", "w0 woken"])])
def test_pure_python_tasks_follow_the_same_rules(level: str, windows: list[str]) -> None:
    future, entry = begin(vars(asyncio.tasks)["_PyTask"])
    first = handled(entry)
    bench = Bench(level)
    bench.add("w")
    bench.put(first, "first")
    assert bench.drain() == "w0 first"
    first[0].run(first[1])
    future.set_result(None)
    woken = handled(STUB.put.pop())
    again = Bench(level)
    again.add("w")
    again.put(woken, "woken")
    assert again.drain() == "w0 woken"
    assert bench.windows + again.windows == windows
    woken[0].run(woken[1])


# -- the mark -------------------------------------------------------------------------------------------------------


def test_mark_at_the_end_is_no_choice_when_it_would_change_nothing() -> None:
    bench = Bench("tasks", mark_matters=False)
    bench.add("ssm")
    assert bench.drain() == "s0 s1 m"
    assert bench.windows == ["s0 s1"]


def test_mark_at_the_end_is_a_choice_when_timers_could_join() -> None:
    bench = Bench("tasks", mark_matters=True)
    bench.add("ssm")
    bench.drain()
    assert bench.windows == ["s0 s1 m", "s1 m"]


def test_mark_before_other_items_is_a_choice_always() -> None:
    bench = Bench("tasks", mark_matters=False)
    bench.add("sms")
    bench.drain()
    assert bench.windows == ["s0 m"]


def test_dropping_the_mark_leaves_everything_else() -> None:
    bench = Bench("tasks", picks=lambda options: 1)
    bench.add("ssmsp")
    assert bench.take() == "s1"
    bench.line.drop_mark()
    assert bench.drain() == "s3 p4 s0"
    assert bench.windows == ["s0 s1 m", "s0 s3 p4", "s0 p4"]


def test_dropping_the_mark_without_one_does_nothing() -> None:
    bench = Bench("tasks")
    bench.add("ss")
    bench.take()
    bench.line.drop_mark()
    assert bench.drain() == "s1"


# -- fairness -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("start", ["w", "ww", "wwwww"])
def test_no_item_is_passed_over_more_than_the_bound(start: str) -> None:
    bench = Bench("wakeups", picks=lambda options: options - 1)
    bench.add(start)
    overtaken = 0
    while True:
        bench.add("w")
        if bench.take() == "w0":
            break
        overtaken += 1
    assert PATIENCE == 200
    assert overtaken == PATIENCE


def test_item_that_has_aged_is_alone_in_the_window_and_no_choice() -> None:
    bench = Bench("wakeups", picks=lambda options: options - 1)
    bench.add("w")
    for _ in range(PATIENCE):
        bench.add("w")
        bench.take()
    asked = len(bench.windows)
    bench.add("ww")
    assert bench.take() == "w0"
    assert len(bench.windows) == asked == len(bench.line.indices)


def test_waiting_behind_others_is_not_being_passed_over() -> None:
    bench = Bench("wakeups")
    bench.add("w" * (PATIENCE + 50))
    bench.drain()
    assert len(bench.windows) == PATIENCE + 49


# -- any line against a naive model ---------------------------------------------------------------------------------


def naive_window(level: str, kinds: str) -> int:
    """How many items from the front may be picked: the contract's words, nothing clever."""
    barriers = {"timing": "pmsw", "wakeups": "pm", "tasks": "pm"}[level]
    fences = {"timing": "", "wakeups": "s", "tasks": ""}[level]
    for place, kind in enumerate(kinds):
        if kind in barriers:
            return place + 1
        if kind in fences:
            return max(place, 1)
    return len(kinds)


@pytest.mark.slow
@settings(max_examples=100, deadline=None)
@given(
    level=st.sampled_from(LEVELS),
    batches=st.lists(st.text("pswm", max_size=6), min_size=1, max_size=12),
    draws=st.lists(st.floats(0, 0.999), min_size=80, max_size=80),
)
def test_windows_are_those_of_the_naive_model(level: str, batches: list[str], draws: list[float]) -> None:
    drawn = iter(draws)
    bench = Bench(level, picks=lambda options: int(next(drawn) * options))
    model: list[str] = []
    taken: list[str] = []
    number = 0
    for batch in [*batches, "", "", ""]:
        bench.add(batch)
        for kind in batch:
            model.append("m" if kind == "m" else f"{kind}{number}")
            number += 1
        for _ in range(min(3, len(model)) if number < 60 else len(model)):
            options = naive_window(level, "".join(name[0] for name in model))
            asked = len(bench.windows)
            name = bench.take()
            expected = [" ".join(model[:options])] if options > 1 else []
            assert bench.windows[asked:] == expected
            assert name in model[:options]
            model.remove(name)
            taken.append(name)
    order = [int(name[1:]) for name in taken if name[0] == "p"]
    assert order == sorted(order), "plain callbacks changed places"


# -- calm, clear ----------------------------------------------------------------------------------------------------


def test_calm_line_gives_arrival_order_and_begins_new_records() -> None:
    bench = Bench("tasks", picks=lambda options: options - 1)
    bench.add("sss")
    assert bench.take() == "s2"
    recorded = bench.line.indices
    bench.line.calm()
    bench.add("wsw")
    assert bench.drain() == "s0 s1 w3 s4 w5"
    assert recorded == [2]


def test_cleared_line_is_empty_and_keeps_its_records() -> None:
    bench = Bench("tasks")
    bench.add("sss")
    bench.take()
    bench.add("p")
    bench.line.clear()
    assert len(bench.line) == 0
    assert bench.line.indices == [0]
