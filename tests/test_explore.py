"""Exploring: what it finds, that it finds the same everywhere, and what it tells."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

import vtloop
from vtloop.mix import LAGS
from vtloop.plan import Plan

HERE = Path(__file__)


class Broken(Exception):
    """What programs raise on purpose."""


# -- programs with famous bugs ---------------------------------------------------------------------------------------


async def check_then_act():
    """A withdrawal that looks before an await and leaps after it; asyncio's own order is lucky."""
    balance, opened = 100, asyncio.Event()

    async def deposit():
        await opened.wait()
        nonlocal balance
        balance += 50

    async def withdraw():
        nonlocal balance
        await opened.wait()
        seen = balance
        await asyncio.sleep(0)
        balance = seen - 100

    async def audit():
        await opened.wait()
        opened.clear()

    tasks = [asyncio.create_task(work()) for work in (deposit, withdraw, audit)]
    await asyncio.sleep(1)
    opened.set()
    await asyncio.gather(*tasks)
    if balance != 50:
        raise Broken(f"balance is {balance}")


async def opposite_locks():
    """Two locks taken in opposite orders; in asyncio's own order the first task is through in time."""
    first, second, start = asyncio.Lock(), asyncio.Lock(), asyncio.Event()

    async def forth():
        await start.wait()
        async with first, second:
            await asyncio.sleep(0)

    async def back():
        await start.wait()
        await asyncio.sleep(0)
        async with second:
            await asyncio.sleep(0)
            async with first:
                pass

    tasks = [asyncio.create_task(work()) for work in (forth, back)]
    await asyncio.sleep(1)
    start.set()
    await asyncio.gather(*tasks)


async def lost_wake_up():
    """A consumer that looks at the queue, then waits to be told; what is put between the two is never told."""
    items, told, start = [], asyncio.Event(), asyncio.Event()

    async def consume():
        await start.wait()
        if not items:
            await asyncio.sleep(0)
            told.clear()
            await told.wait()
        return items.pop()

    async def produce():
        await start.wait()
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        items.append(1)
        told.set()

    tasks = [asyncio.create_task(work()) for work in (consume, produce)]
    await asyncio.sleep(1)
    start.set()
    await asyncio.gather(*tasks)


BUGS = [(check_then_act, Broken), (opposite_locks, vtloop.DeadlockError), (lost_wake_up, vtloop.DeadlockError)]
bugs = pytest.mark.parametrize(("main", "error"), BUGS, ids=lambda case: getattr(case, "__name__", None))


@bugs
@pytest.mark.filterwarnings("ignore:suspicion. locks")
def test_famous_bugs_are_found_though_asyncios_own_order_is_lucky(main, error):
    vtloop.run(main)
    found = vtloop.explore(main)
    assert type(found.failure.error) is error
    assert 1 <= found.failure.run < 200
    assert found.runs == found.failure.run + 1


@bugs
@pytest.mark.parametrize("scheduler", ["random", "pct:depth=1", "pct:depth=3"])
def test_each_scheduler_finds_them_alone(main, error, scheduler):
    assert type(vtloop.explore(main, scheduler=scheduler).failure.error) is error


@bugs
def test_many_base_seeds_find_them(main, error):
    runs = [vtloop.explore(main, seed=seed, runs=300).failure for seed in range(5)]
    assert all(failure is not None for failure in runs)
    assert len({failure.seed for failure in runs}) == 5


# -- a run is a function of base seed, number and options ------------------------------------------------------------


def told(found):
    """All that an exploration says but for its real time."""
    whole = found.to_dict()
    del whole["elapsed"]
    return whole


@bugs
def test_the_same_base_seed_gives_the_same_result(main, error):
    assert told(vtloop.explore(main, seed=3)) == told(vtloop.explore(main, seed=3))


@pytest.mark.slow
def test_another_hash_seed_gives_the_same_result():
    script = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import test_explore as t\n"
        "import vtloop; print(json.dumps([t.told(vtloop.explore(main, seed=5)) for main, _ in t.BUGS]))"
    )
    outputs = []
    for hash_seed in ("1", "77"):
        env = dict(os.environ, PYTHONHASHSEED=hash_seed, PYTHONPATH=str(Path(vtloop.__file__).parents[1]))
        command = [sys.executable, "-c", script, str(HERE.parent)]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        outputs.append(json.loads(done.stdout))
    assert outputs[0] == outputs[1]
    assert [found["failure"]["token"] for found in outputs[0]] == [
        vtloop.explore(main, seed=5).failure.token for main, _ in BUGS
    ]


def test_run_zero_is_asyncios_own_order():
    orders = []

    async def main():
        order = []

        async def one(number):
            await asyncio.sleep(0)
            order.append(number)

        await asyncio.gather(*(one(number) for number in range(4)))
        orders.append(order)

    found = vtloop.explore(main, runs=40, scheduler="portfolio")
    assert orders[0] == [0, 1, 2, 3]
    assert len({tuple(order) for order in orders}) > 5
    assert found.runs == 40
    assert 5 < found.distinct <= 40


def test_a_failure_in_run_zero_needs_no_interleaving():
    async def main():
        raise Broken

    failure = vtloop.explore(main).failure
    assert (failure.run, failure.seed, failure.level) == (0, None, "fifo")
    assert "no interleaving is needed" in failure.label()


@pytest.mark.parametrize("level", ["timing", "wakeups", "tasks"])
def test_no_run_goes_above_the_ceiling(level):
    plan = Plan.of(runs=300, interleave=level)
    below = ("timing", "wakeups", "tasks")[: ("timing", "wakeups", "tasks").index(level) + 1]
    drawn = [plan.options_of(run).interleave for run in range(1, 300)]
    assert set(drawn) == set(below)
    assert drawn.count(level) > 120


def test_the_ceiling_is_tasks_for_explore_and_wakeups_for_a_test():
    async def first_steps():
        order = []

        async def one(number):
            order.append(number)

        await asyncio.gather(one(0), one(1))
        if order == [1, 0]:
            raise Broken

    assert vtloop.explore(first_steps).failure.level == "tasks"
    assert vtloop.explore(first_steps, interleave="wakeups").failure is None
    vtloop.test()(first_steps)()
    with pytest.raises(Broken):
        vtloop.test(interleave="tasks")(first_steps)()


def test_runs_mix_schedulers_and_lags_and_exact_time_leaves_lag_out():
    plan = Plan.of(runs=300)
    options = [plan.options_of(run) for run in range(1, 300)]
    assert {option.scheduler for option in options} >= {"reversed", "random", "pct:depth=3", "pos", "urw"}
    assert {option.lag for option in options} == {0.0, *LAGS}
    exact = Plan.of(runs=300, exact_time=True)
    assert {exact.options_of(run).lag for run in range(300)} == {0.0}
    fixed = Plan.of(runs=300, lag=0.5, scheduler="random")
    assert {fixed.options_of(run).lag for run in range(300)} == {0.5}


def test_a_run_depends_on_its_number_alone_and_not_on_how_many_there_are():
    few, many = Plan.of(runs=10, seed=4), Plan.of(runs=1000, seed=4)
    assert [few.options_of(run) for run in range(10)] == [many.options_of(run) for run in range(10)]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"runs": 0}, "1 or more"),
        ({"runs": 2.5}, "whole number"),
        ({"seed": None}, "seed must be an int"),
        ({"exact_time": "yes"}, "True, False or None"),
        ({"interleave": "all"}, "'timing', 'wakeups', 'tasks'"),
        ({"scheduler": "best"}, "'portfolio'"),
        ({"threads": 1}, "unknown option 'threads'"),
    ],
)
def test_options_of_an_exploration_are_checked(options, words):
    with pytest.raises(vtloop.UsageError, match=words):
        vtloop.explore(check_then_act, **options)


def test_a_coroutine_object_cannot_be_explored():
    coro = check_then_act()
    with pytest.raises(vtloop.UsageError, match="a new coroutine for every run"):
        vtloop.explore(coro)
    coro.close()


# -- lag -------------------------------------------------------------------------------------------------------------


async def slow_machine():
    """Right as long as no step takes time: a step that takes a while lets both timers fall due in one turn."""
    done = asyncio.Event()
    asyncio.get_running_loop().call_later(0.010, done.set)
    try:
        async with asyncio.timeout(0.011):
            await done.wait()
    except TimeoutError:
        raise Broken("too slow") from None


def test_lag_finds_what_a_slow_machine_shows_and_the_label_says_so():
    failure = vtloop.explore(slow_machine, interleave="timing").failure
    assert type(failure.error) is Broken
    assert failure.level == "timing"
    assert failure.trace.options.lag > 0
    assert "asserting exact times? exact_time=True leaves this out" in failure.label()
    assert "slower or faster machine" in failure.label()


def test_with_exact_time_it_is_not_found():
    assert vtloop.explore(slow_machine, exact_time=True).failure is None


def test_the_label_names_no_lag_when_no_step_took_time():
    async def without_timers():
        order = []

        async def one(number):
            order.append(number)

        await asyncio.gather(one(0), one(1))
        if order == [1, 0]:
            raise Broken

    failures = [vtloop.explore(without_timers, seed=seed, shrink=False).failure for seed in range(8)]
    assert any(failure.trace.options.lag > 0 for failure in failures)
    assert not any("exact_time" in failure.label() for failure in failures)


# -- what an exploration says ----------------------------------------------------------------------------------------


def test_check_raises_the_failures_own_error_with_a_note():
    found = vtloop.explore(check_then_act)
    with pytest.raises(Broken) as caught:
        found.check()
    assert caught.value is found.failure.error
    assert vtloop.failure_of(caught.value) is found.failure
    [note] = [note for note in caught.value.__notes__ if note.startswith("vtloop: ")]
    assert note.splitlines()[-1].strip() == f"replay: vtloop.replay('{found.failure.token}', main)"
    assert len(note.splitlines()) <= 12


def test_check_of_a_clean_exploration_is_the_exploration():
    async def main():
        await asyncio.sleep(1)

    found = vtloop.explore(main, runs=5)
    assert found.check() is found
    assert "5 runs, " in str(found)
    assert "no failure found" in str(found)
    assert found.failure is None


@bugs
def test_an_exploration_prints_as_a_report_and_as_json(main, error):
    found = vtloop.explore(main)
    failure = found.failure
    text = str(found)
    for part in (error.__name__, failure.token, failure.label(), f"seed {failure.seed}", "FAILED"):
        assert part in text
    whole = json.loads(json.dumps(found.to_dict()))
    assert whole["failure"]["error"] == error.__name__
    assert whole["failure"]["token"] == failure.token
    assert [choice["words"] for choice in whole["failure"]["choices"]] == [c.words for c in failure.trace.choices]
    assert (whole["failure"]["time"], whole["failure"]["step"]) == (failure.time, failure.step)
    assert len(failure.summary()) <= 11
    assert failure.report().startswith(f"{error.__name__}: {str(failure.error)[:20]}")


def test_failure_of_an_ordinary_error_is_none():
    assert vtloop.failure_of(ValueError("x")) is None


def test_a_failure_can_be_replayed_from_what_the_exploration_gave():
    for main, error in BUGS:
        failure = vtloop.explore(main).failure
        for trace in (failure.trace, failure.token):
            with pytest.raises(error) as caught:
                vtloop.replay(trace, main)
            assert str(caught.value) == str(failure.error)


# -- nondeterminism --------------------------------------------------------------------------------------------------


def test_a_failure_that_does_not_come_back_is_nondeterminism_with_suspects():
    rolls = random.Random(0)

    async def main():
        if rolls.random() < 0.1:
            raise Broken("the dice")
        await asyncio.sleep(0)

    with pytest.raises(vtloop.NondeterminismError, match="no failure") as caught:
        vtloop.explore(main)
    assert "Broken" in str(caught.value)
    assert "random" in str(caught.value)
    assert "PYTHONHASHSEED" in str(caught.value)
    assert isinstance(caught.value.__cause__, Broken)


@pytest.mark.parametrize("options", [{}, {"shrink": False, "scheduler": "fifo"}, {"scheduler": "exhaustive:bound=2"}])
def test_a_failure_of_the_first_order_that_passed_before_is_nondeterminism(options):
    made = []

    async def main():
        made.append(None)
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))
        if len(made) > 2:
            raise Broken("kept")

    with pytest.raises(
        vtloop.NondeterminismError, match="which passed as run 0: most likely something is kept"
    ) as caught:
        vtloop.explore(main, runs=9, **options)
    assert str(caught.value).startswith("run 2 ended with Broken at ")
    assert isinstance(caught.value.__cause__, Broken)


def test_runs_that_part_are_nondeterminism_in_task_terms():
    numbers = iter(range(2, 1000))

    async def main():
        async def one():
            await asyncio.sleep(0)

        await asyncio.gather(*(one() for _ in range(next(numbers))))
        raise Broken

    def first_level(seed):
        return Plan.of(scheduler="random", interleave="tasks", seed=seed).options_of(0).interleave

    seed = next(seed for seed in range(100) if first_level(seed) == "tasks")
    with pytest.raises(vtloop.NondeterminismError, match="parted at choice 1") as caught:
        vtloop.explore(main, scheduler="random", interleave="tasks", seed=seed)
    assert "Task-2 step 1" in str(caught.value)
    assert "random" in str(caught.value)
    first, second = caught.value.data["options"]
    assert (caught.value.data["choice"], second - first) == (0, 1)
