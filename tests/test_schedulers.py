"""Schedulers: who picks an index, how evenly, and what a scheduler of the user's own gets to see."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Callable, Sequence
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
from task_orders import orders

import vtloop
from vtloop.options import check_scheduler, resolve
from vtloop.schedulers import Scheduler, make_scheduler
from vtloop.schedulers.custom import CustomScheduler, WindowItem
from vtloop.schedulers.delay import DelayScheduler
from vtloop.schedulers.names import SCHEDULERS, parse
from vtloop.schedulers.pct import PctScheduler
from vtloop.schedulers.pos import PosScheduler
from vtloop.schedulers.random import RandomScheduler
from vtloop.schedulers.reversed import ReversedScheduler
from vtloop.schedulers.urw import UrwScheduler

SEEDS = range(200)
SEARCHING = (PctScheduler, PosScheduler, UrwScheduler, DelayScheduler, ReversedScheduler)


# -- by name ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("fifo", Scheduler),
        ("random", RandomScheduler),
        ("reversed", ReversedScheduler),
        ("pct", PctScheduler),
        ("pct:depth=1", PctScheduler),
        ("pos", PosScheduler),
        ("urw", UrwScheduler),
        ("delay", DelayScheduler),
        ("delay:bound=1000", DelayScheduler),
    ],
)
def test_a_scheduler_is_made_by_name_at_the_level_of_the_options(name, kind):
    seed = None if name == "fifo" else 4
    level = None if name == "fifo" else "tasks"
    scheduler = make_scheduler(resolve(seed=seed, scheduler=name, interleave=level))
    assert type(scheduler) is kind
    assert scheduler.level == (level or "timing")


@pytest.mark.parametrize(
    "name",
    [
        *("Random", "random:x", "random:", "pos:depth=1", "urw:1", "reversed:bound=1", "", "replay", 7),
        *("pct:depth=0", "pct:depth=-1", "pct:depth=", "pct:3", "pct:bound=3", "pct:depth=1001", "pct:depth=3:depth=3"),
        *("delay:bound=0", "delay:depth=2", "delay:bound=1.5", "exhaustive:bound=x", "exhaustive:2", "pct:depth= 3"),
    ],
)
def test_an_unknown_scheduler_is_refused_with_those_allowed(name):
    with pytest.raises(vtloop.UsageError, match=r"pick\(window\)") as caught:
        vtloop.EventLoop(seed=1, scheduler=name)
    assert repr(name) in str(caught.value)
    if isinstance(name, str):
        assert all(repr(known) in str(caught.value) for known in SCHEDULERS)
        assert "N from 1 to 1000" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "full"),
    [
        ("pct", "pct:depth=3"),
        ("delay", "delay:bound=2"),
        ("pct:depth=03", "pct:depth=3"),
        ("delay:bound=7", "delay:bound=7"),
        ("urw", "urw"),
    ],
)
def test_the_options_have_the_number_of_a_scheduler_filled_in(name, full):
    assert resolve(seed=1, scheduler=name).scheduler == full


@pytest.mark.parametrize("name", ["portfolio", "exhaustive", "exhaustive:bound=1"])
def test_a_scheduler_of_explorations_is_refused_for_a_single_run(name):
    for make in (vtloop.EventLoop, vtloop.loop_factory, lambda **options: vtloop.run(print, **options)):
        with pytest.raises(vtloop.UsageError, match=rf"'{name}' is for explorations \(vtloop\.explore") as caught:
            make(scheduler=name)
        assert "\n" not in str(caught.value)


def test_a_scheduler_of_explorations_is_checked_too():
    assert check_scheduler("exhaustive", exploring=True) == "exhaustive:bound=2"
    assert check_scheduler("portfolio", exploring=True) == "portfolio"
    with pytest.raises(vtloop.UsageError, match="unknown scheduler 'exhaustive:bound=0'"):
        check_scheduler("exhaustive:bound=0", exploring=True)


def test_every_name_that_is_shown_can_be_given():
    for shown in SCHEDULERS:
        kind, _ = parse(shown.replace("=N", "=5"))
        assert check_scheduler(shown.replace("=N", "=5"), exploring=True) == shown.replace("=N", "=5")
        assert check_scheduler(kind, exploring=True).startswith(kind)


def test_the_reference_lists_every_scheduler_and_its_number():
    page = (Path(__file__).parents[1] / "docs" / "reference.md").read_text(encoding="utf-8")
    section = page.split("\n## Schedulers\n")[1].split("\n## ")[0]
    listed = re.findall(r"^\| `([^`]+)`(?: \((\d+)\))? \|", section, re.MULTILINE)
    assert [name for name, _ in listed] == list(SCHEDULERS)
    for name, number in listed:
        assert parse(name.partition(":")[0]) == (name.partition(":")[0], int(number or 0))


def test_the_base_scheduler_is_asyncios_own_order():
    plain = Scheduler()
    assert (plain.level, plain.pick([None] * 9, 9), plain.choose("timer", 4)) == ("timing", 0, 0)


# -- random ----------------------------------------------------------------------------------------------------------


def test_random_takes_every_index_of_a_window_equally_often():
    scheduler = RandomScheduler(1, "tasks")
    for options in (2, 3, 7, 50):
        count = Counter(scheduler.pick((), options) for _ in range(400 * options))
        assert sorted(count) == list(range(options))
        assert 280 < min(count.values()) and max(count.values()) < 520


def test_random_is_a_function_of_its_seed():
    def picks(seed: int) -> list[int]:
        scheduler = RandomScheduler(seed, "tasks")
        return [scheduler.pick((), 10) for _ in range(50)]

    assert picks(1) == picks(1)
    assert len({tuple(picks(seed)) for seed in SEEDS}) == len(SEEDS)


def test_random_reaches_every_order_of_three_tasks():
    found = Counter(orders("random", seed=seed) for seed in SEEDS)
    assert set(found) == set(permutations(range(3)))
    assert min(found.values()) > 10


@pytest.mark.parametrize("kind", [RandomScheduler, *SEARCHING])
def test_half_of_all_lags_are_none_and_the_rest_take_every_size(kind):
    scheduler = kind(1, "timing")
    count = Counter(scheduler.choose("lag", 9) for _ in range(9000))
    assert sorted(count) == list(range(9))
    assert 4200 < count[0] < 4800
    assert 450 < min(count.values())
    other = Counter(scheduler.choose("timer", 4) for _ in range(4000))
    assert 880 < min(other.values()) and max(other.values()) < 1120


# -- a scheduler of the user's own -----------------------------------------------------------------------------------


class Watcher:
    """Keeps what it is shown, and answers with what ``answer`` says."""

    def __init__(self, answer: Callable[[Sequence[WindowItem]], Any] = lambda window: 0) -> None:
        self.windows: list[tuple[WindowItem, ...]] = []
        self._answer = answer

    def pick(self, window: tuple[WindowItem, ...]) -> Any:
        self.windows.append(window)
        return self._answer(window)


def test_a_custom_scheduler_that_always_takes_the_oldest_gives_asyncios_own_order():
    assert orders(Watcher()) == (0, 1, 2)


def test_a_custom_scheduler_decides_the_order():
    newest_task = Watcher(lambda window: max(i for i, item in enumerate(window) if item.kind != "turn"))
    assert orders(newest_task) == (2, 1, 0)


def test_a_custom_scheduler_sees_who_could_run():
    watcher = Watcher()

    async def main() -> None:
        async def one() -> None:
            await asyncio.sleep(0)

        tasks = [asyncio.create_task(one(), name=name) for name in ("ann", "bob")]
        asyncio.get_running_loop().call_soon(asyncio.Event().set)
        await asyncio.gather(*tasks)

    vtloop.run(main, scheduler=watcher, interleave="tasks")
    first = watcher.windows[0]
    assert [(item.kind, item.task, item.label) for item in first] == [
        ("task", "ann", "ann"),
        ("task", "bob", "bob"),
        ("callback", None, "Event.set"),
    ]
    assert any(
        item.kind == "turn" and item.label == "the end of the turn" for window in watcher.windows for item in window
    )
    with pytest.raises(AttributeError):
        first[0].age = 3


def test_the_age_of_an_item_says_how_often_it_was_passed_over():
    watcher = Watcher(lambda window: len(window) - 1)
    orders(watcher, tasks=4)
    ages = [{item.task: item.age for item in window}["Task-2"] for window in watcher.windows[:3]]
    assert ages == [0, 1, 2]


def test_a_custom_scheduler_answers_choices_other_than_the_next_step_too():
    watcher = Watcher(lambda window: len(window) - 1 if window[0].kind == "choose" else 0)

    async def main() -> int:
        return vtloop.choose(5)

    assert vtloop.run(main, scheduler=watcher) == 4
    assert [item.label for item in watcher.windows[0]] == [f"choose {index}" for index in range(5)]


@pytest.mark.parametrize("answer", [-1, 99, None, "0", True, 0.0])
def test_an_answer_outside_the_window_is_refused_with_the_range(answer):
    with pytest.raises(vtloop.UsageError, match=r"Watcher\.pick\(window\) must return an index from 0 to \d") as caught:
        orders(Watcher(lambda window: answer))
    assert repr(answer) in str(caught.value)


def test_what_a_custom_scheduler_raises_comes_out_of_the_run():
    def fail(window: Sequence[WindowItem]) -> int:
        raise LookupError("no idea")

    with pytest.raises(LookupError, match="no idea"):
        orders(Watcher(fail))


def test_a_custom_scheduler_is_asked_only_when_there_is_a_choice():
    watcher = Watcher()

    async def main() -> None:
        await asyncio.sleep(1)
        vtloop.choose(1)

    vtloop.run(main, scheduler=watcher, interleave="tasks")
    assert watcher.windows == []


def test_a_custom_scheduler_stays_inside_the_level():
    log: list[str] = []

    async def main() -> None:
        loop = asyncio.get_running_loop()
        for name in "abc":
            loop.call_soon(log.append, name)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    for level in ("timing", "wakeups", "tasks"):
        vtloop.run(main, scheduler=Watcher(lambda window: len(window) - 1), interleave=level)
    assert log == list("abc") * 3


def test_custom_scheduler_is_one_class_that_wraps_the_users_object():
    assert isinstance(make_scheduler(resolve(scheduler=Watcher())), CustomScheduler)
