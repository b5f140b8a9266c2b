"""The order of a run as a number: what counts as another order, and what does not."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

import vtloop
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import execute

SEEDS = range(300)


def order(main, seed=None, **options):
    return execute(main, resolve(RUN_DEFAULTS, seed=seed, **options), record=False, track_order=True).order


def orders(main, seeds=SEEDS, **options):
    """The distinct orders over many seeds, asyncio's own among them."""
    return {order(main), *(order(main, seed, **{"interleave": "tasks", **options}) for seed in seeds)}


async def alone():
    for _ in range(3):
        await asyncio.sleep(1)


async def three_at_once():
    await asyncio.gather(*(asyncio.sleep(1) for _ in range(3)))


async def two_in_turn():
    """Two tasks that never stand ready together once they have begun."""

    async def work(delay):
        await asyncio.sleep(delay)
        await asyncio.sleep(10)

    tasks = [asyncio.create_task(work(1)), asyncio.create_task(work(2))]
    await asyncio.wait(tasks)


async def two_woken_together():
    tick = asyncio.Event()

    async def work():
        await tick.wait()

    tasks = [asyncio.create_task(work()) for _ in range(2)]
    await asyncio.sleep(1)
    tick.set()
    await asyncio.wait(tasks)


def test_a_program_of_one_task_has_one_order_whatever_time_passes():
    assert len(orders(alone)) == 1
    assert len(orders(alone, lag=0.2, stretch=1.0)) == 1


def test_asyncios_own_order_is_the_same_with_and_without_a_scheduler():
    for main in (alone, three_at_once, two_in_turn, two_woken_together):
        assert order(main) == order(main, 1, scheduler="random", interleave="timing")
        assert order(main) is not None


def test_every_order_of_tasks_that_stand_ready_together_counts():
    # Either may go on first; and what the first one's end calls back stands ready together with the second.
    assert len(orders(two_woken_together, interleave="wakeups")) == 4


def test_three_wake_ups_have_six_orders_and_more_with_what_their_ends_call_back():
    async def main():
        log.clear()
        await asyncio.gather(*(named(name) for name in "abc"))
        seen.add("".join(log))

    async def named(name):
        await asyncio.sleep(1)
        log.append(name)

    log, seen = [], set()
    found = orders(main, interleave="wakeups")
    assert len(seen) == 6 < len(found) < 60


def test_tasks_that_never_stand_ready_together_are_not_ordered():
    # The two may begin in either order; nothing that comes later can change places.
    assert len(orders(two_in_turn)) == 2


def test_runs_that_end_differently_have_different_orders():
    ends = {}

    async def main():
        log = []

        async def work(name):
            await asyncio.sleep(0)
            log.append(name)
            await asyncio.sleep(1)
            log.append(name)

        await asyncio.gather(work("a"), work("b"), work("c"))
        ends["now"] = tuple(log)

    known = {}
    for seed in SEEDS:
        number = order(main, seed, interleave="tasks")
        assert known.setdefault(number, ends["now"]) == ends["now"]
    assert len(set(known.values())) > 10


def test_a_run_that_nobody_asks_about_has_no_order():
    assert execute(alone, RUN_DEFAULTS, record=False).order is None


def test_tracking_changes_nothing_of_a_run():
    options = resolve(RUN_DEFAULTS, seed=4, interleave="tasks")
    tracked = execute(two_in_turn, options, record=False, track_order=True)
    plain = execute(two_in_turn, options, record=False)
    assert (tracked.indices, tracked.sizes, tracked.steps) == (plain.indices, plain.sizes, plain.steps)
    fifo = execute(three_at_once, RUN_DEFAULTS, record=False, track_order=True)
    assert fifo.check == execute(three_at_once, RUN_DEFAULTS, record=False).check


def test_a_wide_line_is_tracked_like_a_narrow_one():
    async def main():
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(600)))

    assert len({order(main, seed, interleave="tasks") for seed in range(5)}) == 5
    assert order(main, 3) == order(main, 3)


@pytest.mark.slow
def test_the_number_is_the_same_in_another_process():
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); import test_orders as t\n"
        "print(t.order(t.three_at_once, 5), t.order(t.two_in_turn, 6))"
    )
    words = [sys.executable, "-c", script, __file__.rpartition("/")[0]]
    found = {
        subprocess.run(words, env={"PYTHONHASHSEED": seed}, capture_output=True, text=True, check=True).stdout
        for seed in ("1", "2")
    }
    assert found == {f"{order(three_at_once, 5)} {order(two_in_turn, 6)}\n"}


def test_an_object_as_scheduler_is_tracked_too():
    class Last:
        def pick(self, window):
            return len(window) - 1

    assert order(two_woken_together, scheduler=Last(), interleave="wakeups") in orders(two_woken_together)
    with pytest.raises(vtloop.UsageError):
        order(two_woken_together, scheduler=object())
