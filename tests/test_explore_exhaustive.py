"""Exhaustive explorations: every schedule with few deviations, each once, and no more claimed than was run."""

from __future__ import annotations

import asyncio
import inspect

import pytest

import vtloop
from vtloop.cli import main as command_line
from vtloop.plan import Plan


class Broken(Exception):
    """What programs raise on purpose."""


async def three():
    """Three tasks that wait for one event."""
    told = asyncio.Event()
    tasks = [asyncio.create_task(told.wait()) for _ in range(3)]
    await asyncio.sleep(1)
    told.set()
    for task in tasks:
        await task


async def read_and_write():
    """Wrong when the second task begins before the first."""
    balance = 100

    async def take():
        nonlocal balance
        seen = balance
        await asyncio.sleep(0)
        balance = seen - 10

    async def look():
        nonlocal balance
        if balance != 90:
            raise Broken(balance)

    first = asyncio.create_task(take())
    await asyncio.sleep(0)
    await asyncio.gather(first, asyncio.create_task(look()))


NOT_COVERED = "not covered: orders that deviate more often, other lengths of sleeps and steps, other inputs"


def test_all_schedules_are_run_each_once_and_that_is_said():
    seen = []

    async def main():
        order = []

        async def one(number):
            order.append(number)

        await asyncio.gather(*(one(number) for number in range(3)))
        seen.append(tuple(order))

    found = vtloop.explore(main, scheduler="exhaustive:bound=2")
    assert found.notes == [
        f"all {found.runs} schedules with at most 2 deviations at level 'tasks' were run; {NOT_COVERED}"
    ]
    assert len(set(seen)) == 6
    assert seen[0] == (0, 1, 2)
    assert str(found).splitlines()[1:] == [*found.notes, "no failure found"]


def test_the_number_of_schedules_is_what_the_tree_says():
    counts = {}
    for level in ("timing", "wakeups", "tasks"):
        for bound in (1, 2, 3):
            found = vtloop.explore(three, scheduler=f"exhaustive:bound={bound}", interleave=level)
            assert found.runs <= 1000
            assert f"with at most {bound} deviation" in found.notes[0]
            counts[level, bound] = found.runs
    assert counts["timing", 3] == 1
    assert counts["wakeups", 1] < counts["wakeups", 2] < counts["tasks", 2] < counts["tasks", 3]


def test_one_schedule_is_told_in_the_singular():
    async def main():
        await asyncio.sleep(1)

    found = vtloop.explore(main, scheduler="exhaustive:bound=1")
    assert found.notes == [f"all 1 schedule with at most 1 deviation at level 'tasks' was run; {NOT_COVERED}"]


def test_it_stops_after_the_runs_given_and_says_how_far_it_came():
    whole = vtloop.explore(three, scheduler="exhaustive:bound=3")
    one = vtloop.explore(three, scheduler="exhaustive:bound=1").runs
    found = vtloop.explore(three, scheduler="exhaustive:bound=3", runs=one + 1)
    assert found.runs == one + 1
    of = "of more schedules with at most 3 deviations at level 'tasks'"
    assert found.notes == [f"stopped after {one + 1} {of}; all with at most 1 were run"]
    assert vtloop.explore(three, scheduler="exhaustive:bound=3", runs=whole.runs).notes == whole.notes
    few = vtloop.explore(three, scheduler="exhaustive:bound=3", runs=2).notes
    assert few == [
        "stopped after 2 of more schedules with at most 3 deviations at level 'tasks'; all with at most 0 were run"
    ]


def test_a_budget_ends_it_too():
    async def main():
        for _ in range(30):
            await three()

    found = vtloop.explore(main, scheduler="exhaustive:bound=3", budget=0.1)
    assert found.notes[0].startswith(f"stopped after {found.runs:,} of more schedules")
    assert found.notes[1] == "the budget of 0.1 s is spent"


def test_the_runs_of_a_sweep_are_no_sample_so_nothing_is_estimated():
    found = vtloop.explore(three, scheduler="exhaustive:bound=2")
    assert found.unseen is None
    assert found.distinct > 5


@pytest.mark.parametrize("shrink", [True, False])
def test_a_failure_has_a_trace_that_depends_on_no_seed(shrink):
    failures = [
        vtloop.explore(read_and_write, scheduler="exhaustive:bound=2", seed=seed, shrink=shrink).failure
        for seed in (0, 7)
    ]
    failure = failures[0]
    assert failures[1].token == failure.token
    assert failure.trace.options.scheduler == "replay"
    assert failure.seed is None
    assert len(failure.choices) == 1
    assert f"run {failure.run}, scheduler exhaustive:bound=2, t=0 s" in failure.summary()[1]
    assert failure.to_dict()["scheduler"] == "exhaustive:bound=2"
    for trace in (failure.token, failure.trace):
        with pytest.raises(Broken):
            vtloop.replay(trace, read_and_write)


def test_it_is_found_with_the_fewest_deviations():
    one = vtloop.explore(read_and_write, scheduler="exhaustive:bound=1").failure
    three = vtloop.explore(read_and_write, scheduler="exhaustive:bound=3").failure
    assert one.run == three.run


def test_when_asyncios_own_order_fails_that_is_what_is_told():
    async def main():
        raise Broken

    failure = vtloop.explore(main, scheduler="exhaustive:bound=1").failure
    assert (failure.run, failure.level, failure.seed) == (0, "fifo", None)
    assert "no interleaving is needed" in failure.label()


def test_may_cancel_is_swept_over_every_await():
    seen = []

    async def work(queue, lock):
        await asyncio.sleep(1)
        await queue.get()
        async with lock:
            await asyncio.sleep(2)

    async def main():
        queue, lock = asyncio.Queue(), asyncio.Lock()
        await lock.acquire()
        loop = asyncio.get_running_loop()
        loop.call_later(3, queue.put_nowait, 1)
        loop.call_later(5, lock.release)
        outcome = await vtloop.may_cancel(work(queue, lock))
        seen.append((loop.time(), outcome.where))

    found = vtloop.explore(main, scheduler="exhaustive:bound=1", interleave="timing")
    lines, first = inspect.getsourcelines(work)
    awaits = [first + number for number, line in enumerate(lines) if "await" in line or "async with" in line]
    there = [where for _, where in seen if where is not None]
    assert {int(where.rpartition(":")[2].split()[0]) for where in there} == set(awaits)
    # At each of the four, both before it would have resumed and while it still waits.
    assert len(there) == 8
    assert found.runs == 9
    assert seen[0] == (7.0, None)


def test_choices_of_the_program_are_swept():
    seen = []

    async def main():
        seen.append((vtloop.choose(3), vtloop.choose(2)))

    vtloop.explore(main, scheduler="exhaustive:bound=1")
    assert seen == [(0, 0), (1, 0), (2, 0), (0, 1)]
    seen.clear()
    vtloop.explore(main, scheduler="exhaustive:bound=2")
    assert sorted(seen) == [(a, b) for a in range(3) for b in range(2)]


def test_a_program_that_is_not_reproducible_is_nondeterminism():
    rounds = iter(range(100))

    async def main():
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(2 + next(rounds) % 2)]
        await asyncio.wait(tasks)

    with pytest.raises(vtloop.NondeterminismError, match="two runs with the same choices parted at choice"):
        vtloop.explore(main, scheduler="exhaustive:bound=1")


# -- doors -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "options, words",
    [
        ({"jobs": 2}, "exhaustive:bound=2 learns from its runs which schedules there are: it takes no jobs"),
        ({"lag": 0.5}, "an exhaustive exploration has exact time; lag=0.5 leaves it"),
        ({"stretch": 0.5}, "an exhaustive exploration has exact time; stretch=0.5 leaves it"),
        ({"scheduler": "exhaustive:bound=0"}, "unknown scheduler 'exhaustive:bound=0'"),
    ],
)
def test_what_does_not_go_with_it_is_refused(options, words):
    with pytest.raises(vtloop.UsageError, match=words):
        vtloop.explore(three, **{"scheduler": "exhaustive", **options})


def test_a_plan_has_its_bound_and_exact_time():
    plan = Plan.of(scheduler="exhaustive", interleave="wakeups")
    assert (plan.scheduler, plan.bound, plan.ceiling, plan.exact_time) == ("exhaustive:bound=2", 2, "wakeups", True)
    assert (plan.options.interleave, plan.options.seed) == ("wakeups", None)
    assert Plan.of().bound == Plan.of(scheduler="delay:bound=3").bound == 0


def test_a_decorated_test_may_be_exhaustive():
    runs = []

    @vtloop.test(scheduler="exhaustive:bound=1")
    async def program():
        runs.append(1)
        await three()

    program()
    assert len(runs) > 1
    with pytest.raises(Broken):
        vtloop.test(scheduler="exhaustive:bound=1", interleave="tasks")(read_and_write)()


PROGRAMS = """\
import asyncio

async def right():
    async def one():
        await asyncio.sleep(0)
    await asyncio.gather(one(), one())

async def wrong():
    order = []
    async def one(number):
        order.append(number)
    await asyncio.gather(one(0), one(1))
    assert order == [0, 1], order
"""


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "programs.py").write_text(PROGRAMS)

    def call(*words):
        status = command_line(list(words))
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return call


def test_the_command_line_sweeps_stores_and_plays_back(cli, tmp_path):
    words = ("explore", "programs.py:wrong", "--scheduler", "exhaustive:bound=1")
    status, out, _ = cli(*words)
    assert status == 1
    token = out[-1].split()[2]
    assert cli("replay", token, "programs.py:wrong")[0] == 1
    status, again, _ = cli(*words)
    assert (status, again[0].startswith("1 run, ")) == (1, True), "the stored failure comes first"
    assert again[-1] == out[-1]
    assert list(tmp_path.glob(".vtloop/*.explored")) == []


def test_the_command_line_says_what_was_covered(cli):
    status, out, err = cli("explore", "programs.py:right", "--scheduler", "exhaustive")
    assert (status, err) == (0, "")
    assert out[1].startswith("all ")
    assert out[1].endswith(NOT_COVERED)
    assert cli("explore", "programs.py:right", "--scheduler", "exhaustive", "--resume") == (
        2,
        [],
        "vtloop: --resume and --scheduler exhaustive:bound=2: it begins with the first schedule every time\n",
    )
