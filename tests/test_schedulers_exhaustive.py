"""Exhaustive search: every schedule with few deviations, each once, fewest first."""

from __future__ import annotations

import asyncio
import itertools
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

import vtloop
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import Outcome, execute
from vtloop.schedulers import Scheduler, enumeration
from vtloop.schedulers.enumeration import Deviations, Enumeration
from vtloop.schedulers.exhaustive import ExhaustiveScheduler

Tree = Callable[[Sequence[int]], int]
"""How many options the choice after these has; 0 at the end."""


def run_of(tree: Tree, deviations: Deviations) -> tuple[list[int], list[int]]:
    """What a program with this tree of choices chooses and offers."""
    scheduler = ExhaustiveScheduler("tasks", deviations)
    indices, sizes = list[int](), list[int]()
    while options := tree(indices):
        sizes.append(options)
        indices.append(scheduler.choose("any", options))
    return indices, sizes


def all_of(tree: Tree, chosen: tuple[int, ...] = ()) -> Iterator[tuple[int, ...]]:
    """Every list of choices, by brute force."""
    options = tree(chosen)
    if not options:
        yield chosen
    for index in range(options):
        yield from all_of(tree, (*chosen, index))


def enumerated(tree: Tree, bound: int) -> tuple[list[tuple[int, ...]], Enumeration]:
    found = []
    them = Enumeration(bound)
    for deviations in them:
        indices, sizes = run_of(tree, deviations)
        them.ran(deviations, sizes)
        found.append(tuple(indices))
    return found, them


def made_up(seed: int) -> Tree:
    """A tree of three to six choices, of two to four options, which depend on what was chosen before."""
    known: dict[tuple[int, ...], int] = {}

    def tree(chosen: Sequence[int]) -> int:
        key = tuple(chosen)
        if key not in known:
            drawn = random.Random(f"{seed}/{key}")
            end = len(key) == 6 or (len(key) > 2 and drawn.random() < 0.2)
            known[key] = 0 if end else drawn.randint(2, 4)
        return known[key]

    return tree


# -- the enumeration -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [1, 2, 3, 6])
def test_every_schedule_with_few_deviations_comes_once_and_no_other(bound):
    for seed in range(4):
        tree = made_up(seed)
        found, them = enumerated(tree, bound)
        wanted = [chosen for chosen in all_of(tree) if sum(map(bool, chosen)) <= bound]
        assert sorted(found) == sorted(wanted)
        assert (them.complete, them.count) == (True, len(wanted))


def test_those_with_fewer_deviations_come_first():
    found, _ = enumerated(made_up(1), 3)
    counts = [sum(map(bool, chosen)) for chosen in found]
    assert counts == sorted(counts)
    assert set(counts) == {0, 1, 2, 3}


def test_the_first_schedule_is_asyncios_own_order_and_early_choices_come_first():
    found, _ = enumerated(lambda chosen: 3 if len(chosen) < 2 else 0, 1)
    assert found == [(0, 0), (1, 0), (2, 0), (0, 1), (0, 2)]


def test_a_program_without_a_choice_has_one_schedule():
    found, them = enumerated(lambda chosen: 0, 2)
    assert (found, them.complete, them.count, them.depth) == ([()], True, 1, 0)


def test_a_small_tree_ends_before_the_bound():
    found, them = enumerated(lambda chosen: 2 if not chosen else 0, 1000)
    assert (found, them.complete, them.depth) == ([(0,), (1,)], True, 1)


def test_an_enumeration_that_is_left_is_not_complete():
    them = Enumeration(2)
    for deviations in itertools.islice(them, 5):
        them.ran(deviations, run_of(made_up(0), deviations)[1])
    assert (them.complete, them.count) == (False, 5)


def test_a_run_that_was_not_told_leaves_the_enumeration_incomplete():
    them = Enumeration(1)
    for deviations in them:
        if not deviations:
            them.ran(deviations, [2, 2])
    assert (them.complete, them.count) == (False, 3)


def test_the_runs_of_a_level_may_be_told_in_any_order():
    found = []
    them = Enumeration(3)
    for level in them.levels():
        made = [(deviations, *run_of(made_up(4), deviations)) for deviations in level]
        for deviations, indices, sizes in reversed(made):
            them.ran(deviations, sizes)
            found.append(tuple(indices))
    assert them.complete
    assert sorted(found) == sorted(enumerated(made_up(4), 3)[0])


def test_schedules_are_made_when_they_are_asked_for():
    """A level of 10^9 schedules costs nothing until then."""
    them = Enumeration(1)
    schedules = iter(them)
    them.ran(next(schedules), [100_001] * 10_000)
    assert list(itertools.islice(schedules, 3)) == [((0, 1, 100_001),), ((0, 2, 100_001),), ((0, 3, 100_001),)]


def test_what_does_not_fit_into_memory_goes_to_a_file(monkeypatch):
    monkeypatch.setattr(enumeration, "IN_MEMORY", 100)
    wanted = enumerated(made_up(2), 4)[0]
    assert len(wanted) > 100
    them = Enumeration(4)
    for deviations in itertools.islice(them, 100):
        them.ran(deviations, run_of(made_up(2), deviations)[1])
    del them  # left in the middle, it closes its file
    monkeypatch.undo()
    assert enumerated(made_up(2), 4)[0] == wanted


def test_a_run_costs_a_few_dozen_bytes_when_it_is_kept():
    them = Enumeration(2)
    sizes = [2, 3, 2, 4] * 250
    for deviations in itertools.islice(them, 500):
        them.ran(deviations, sizes)
    assert them._next.file.tell() / 499 < 100


@pytest.mark.parametrize("sizes", [[3, 2], [3, 3, 2], []])
def test_a_run_that_does_not_get_to_its_deviation_is_nondeterminism(sizes):
    them = Enumeration(1)
    schedules = iter(them)
    them.ran(next(schedules), [3, 2, 4])
    at_the_third = next(one for one in schedules if one[0][0] == 2)
    with pytest.raises(vtloop.NondeterminismError, match=r"parted at choice 3: it had 4 options, and ") as caught:
        them.ran(at_the_third, sizes)
    assert caught.value.data["choice"] == 2


# -- one run ---------------------------------------------------------------------------------------------------------


def test_the_scheduler_takes_the_deviations_and_the_first_option_elsewhere():
    scheduler = ExhaustiveScheduler("tasks", ((1, 2, 3), (4, 1, 2)))
    assert [scheduler.choose("any", options) for options in (2, 3, 2, 5, 2, 9)] == [0, 2, 0, 0, 1, 0]
    assert scheduler.level == "tasks"


def test_picks_and_other_choices_are_counted_together():
    scheduler = ExhaustiveScheduler("tasks", ((1, 1, 2), (2, 1, 2)))
    assert [scheduler.choose("cancel before", 2), scheduler.pick((), 2), scheduler.choose("timer", 2)] == [0, 1, 1]


def test_a_choice_with_another_number_of_options_is_nondeterminism():
    scheduler = ExhaustiveScheduler("tasks", ((0, 2, 3),))
    with pytest.raises(vtloop.NondeterminismError, match="choice 1: it had 3 options, and has 2 now"):
        scheduler.choose("any", 2)


# -- programs --------------------------------------------------------------------------------------------------------


def outcome_of(main: Any, scheduler: Callable[[Any], Scheduler]) -> Outcome:
    options = resolve(RUN_DEFAULTS, seed=0, scheduler="random", interleave="tasks")
    return execute(main, options, record=False, scheduler=scheduler)


def searched(main: Any, bound: int) -> tuple[Counter[Any], Enumeration]:
    """What the program gives, with how many schedules each."""
    found: Counter[Any] = Counter()
    them = Enumeration(bound)
    for deviations in them:
        outcome = outcome_of(main, lambda recording, path=deviations: ExhaustiveScheduler("tasks", path))
        them.ran(deviations, outcome.sizes)
        assert [(at, index) for at, index in enumerate(outcome.indices) if index] == [one[:2] for one in deviations]
        found[outcome.value if outcome.error is None else type(outcome.error).__name__] += 1
    return found, them


class Follow(Scheduler):
    """Takes the choices given, and the first option behind them."""

    def __init__(self, choices: Sequence[int]) -> None:
        super().__init__("tasks")
        self._choices = iter(choices)

    def pick(self, items: Sequence[Any], options: int) -> int:
        return next(self._choices, 0)

    def choose(self, kind: str, options: int, name: str = "", p: float | None = None) -> int:
        return next(self._choices, 0)


def brute_force(main: Any) -> Counter[Any]:
    """The same with no bound: an odometer over the choices of the last run."""
    found: Counter[Any] = Counter()
    choices: list[int] = []
    while True:
        outcome = outcome_of(main, lambda recording, path=tuple(choices): Follow(path))
        found[outcome.value if outcome.error is None else type(outcome.error).__name__] += 1
        choices = outcome.indices
        while choices and choices[-1] + 1 == outcome.sizes[len(choices) - 1]:
            choices.pop()
        if not choices:
            return found
        choices[-1] += 1


async def three_tasks() -> str:
    log: list[str] = []

    async def one(name: str) -> None:
        log.append(name)

    await asyncio.gather(*map(one, "abc"))
    return "".join(log)


async def two_steps_each() -> str:
    log: list[str] = []

    async def one(name: str) -> None:
        log.append(name)
        await asyncio.sleep(0)
        log.append(name.upper())

    await asyncio.gather(one("a"), one("b"))
    return "".join(log)


async def of_every_kind() -> str:
    log: list[str] = []
    loop = asyncio.get_running_loop()
    loop.call_at(1.0, log.append, "x")
    loop.call_at(1.0, log.append, "y")
    outcome = await vtloop.may_cancel(asyncio.sleep(0.5))
    if outcome.cancelled:
        log.append("cancelled")
    log.append(str(vtloop.choose(3)))
    await asyncio.sleep(2)
    return " ".join(log)


@pytest.mark.parametrize("main", [three_tasks, two_steps_each, of_every_kind])
def test_a_small_program_is_searched_whole(main):
    found, them = searched(main, 1000)
    assert found == brute_force(main)
    assert them.complete
    assert them.count == found.total()


def test_all_orders_of_three_tasks_are_among_its_schedules():
    assert set(searched(three_tasks, 1000)[0]) == set(map("".join, itertools.permutations("abc")))


def test_all_orders_of_the_steps_of_two_tasks_are_among_its_schedules():
    orders = {"".join(order) for order in itertools.permutations("abAB")}
    legal = {order for order in orders if order.index("a") < order.index("A") and order.index("b") < order.index("B")}
    assert set(searched(two_steps_each, 1000)[0]) == legal


def test_every_kind_of_choice_is_a_deviation():
    found, _ = searched(of_every_kind, 1)
    assert {"0 x y", "0 y x", "1 x y", "2 x y", "cancelled 0 x y"} == set(found)


def test_with_a_bound_a_bug_is_found_or_known_not_to_be_there():
    async def main() -> None:
        log: list[str] = []

        async def one(name: str) -> None:
            log.append(name)

        await asyncio.gather(*map(one, "abc"))
        assert log != ["c", "b", "a"]

    assert searched(main, 1)[0]["AssertionError"] == 0
    assert searched(main, 2)[0]["AssertionError"] == 1
