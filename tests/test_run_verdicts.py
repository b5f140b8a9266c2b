"""Verdicts of a run: raised soon, written before anything is cancelled, the same object while they unwind."""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time

import pytest

import vtloop


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog):
    """No run of these tests may leave a line in asyncio's log, not even when the garbage is collected."""
    yield
    gc.collect()
    assert [record.getMessage() for record in caplog.get_records("call")] == []


async def for_ever():
    await asyncio.Event().wait()


async def cross():
    """Two tasks that take two locks in opposite order, and clean up slowly."""
    first, second = asyncio.Lock(), asyncio.Lock()

    async def take(one, other):
        async with one:
            await asyncio.sleep(1)
            try:
                async with other:
                    pass
            finally:
                await asyncio.sleep(100)

    async with asyncio.TaskGroup() as group:
        group.create_task(take(first, second), name="ann")
        group.create_task(take(second, first), name="bob")


# -- deadlock --------------------------------------------------------------------------------------------------------


def test_a_deadlock_is_told_in_one_line_and_in_a_report_and_as_json():
    with pytest.raises(vtloop.DeadlockError) as caught:
        vtloop.run(cross)
    error = caught.value
    assert "\n" not in str(error)
    assert "ann" in str(error)
    assert "bob" in str(error)
    assert str(error).startswith("deadlock at t=1 s: ")
    assert error.report() in error.__notes__
    assert len(error.report().splitlines()) <= 60
    assert json.loads(json.dumps(error.to_dict()))["message"] == str(error)


def test_the_report_is_written_before_anything_is_cancelled():
    with pytest.raises(vtloop.DeadlockError) as caught:
        vtloop.run(cross)
    report = caught.value.report()
    # Cleaning up took 100 s of virtual time and let every lock go.
    assert "DEADLOCK at t=1 s" in report
    assert "3 pending tasks" in report
    assert "cycle: ann" in report
    assert "cancelled" not in report.replace("_set_result_unless_cancelled", "")


def test_the_traceback_of_a_deadlock_is_mains_await_chain():
    async def main():
        await inner()

    async def inner():
        await for_ever()

    with pytest.raises(vtloop.DeadlockError) as caught:
        vtloop.run(main)
    names = [entry.name for entry in caught.traceback]
    assert [name for name in names if name in ("main", "inner", "for_ever")] == ["main", "inner", "for_ever"]


@pytest.mark.parametrize("seed", [None, 1])
@pytest.mark.parametrize("tasks", [1, 100])
def test_a_deadlock_is_raised_within_fifty_milliseconds_of_the_last_step(seed, tasks):
    last = []

    async def waiter():
        last.append(time.perf_counter())
        await for_ever()

    async def main():
        await asyncio.gather(*(waiter() for _ in range(tasks)))

    def once():
        with pytest.raises(vtloop.DeadlockError), asyncio.Runner(loop_factory=vtloop.loop_factory(seed=seed)) as runner:
            try:
                runner.run(main())
            finally:
                taken = time.perf_counter() - last[-1]
        return taken

    # The least of three: the promise is about the loop, not about what else this machine does.
    assert min(once() for _ in range(3)) < 0.05


def test_a_program_may_catch_nothing_of_a_deadlock_before_it_is_raised():
    log = []

    async def main():
        try:
            await for_ever()
        except Exception as error:
            log.append(type(error))
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    with pytest.raises(vtloop.DeadlockError):
        vtloop.run(main)
    assert log == ["cancelled"]


@pytest.mark.parametrize("options", [{}, {"seed": 1}, {"seed": 2, "interleave": "tasks"}])
def test_under_asyncios_runner_the_verdict_is_one_object_however_tasks_resist(options):
    raised = []

    class Watched(vtloop.EventLoop):
        def run_until_complete(self, future):
            try:
                return super().run_until_complete(future)
            except vtloop.VtloopError as error:
                raised.append(error)
                raise

    async def swallows():
        while True:
            try:
                await for_ever()
            except asyncio.CancelledError:
                pass

    async def main():
        tasks = [asyncio.create_task(swallows()) for _ in range(3)]
        await asyncio.gather(*tasks)

    with (
        pytest.raises(vtloop.DeadlockError) as caught,
        asyncio.Runner(loop_factory=lambda: Watched(**options)) as runner,
    ):
        runner.run(main())
    assert len(raised) >= 2
    assert all(error is caught.value for error in raised)
    assert caught.value.__context__ is None
    assert caught.value.__cause__ is None


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.run takes a loop_factory from 3.12 on")
def test_asyncio_run_raises_the_verdict_too():
    with pytest.raises(vtloop.DeadlockError):
        asyncio.run(cross(), loop_factory=vtloop.EventLoop)


def test_a_second_run_in_the_same_process_is_untouched_by_a_verdict():
    with pytest.raises(vtloop.DeadlockError):
        vtloop.run(for_ever)
    assert vtloop.run(lambda: asyncio.sleep(1, "fine")) == "fine"


def test_waiting_for_a_timer_without_autojump_is_a_verdict_that_says_so():
    with pytest.raises(vtloop.HangError, match="autojump"):
        vtloop.run(lambda: asyncio.sleep(1), autojump=False)


# -- budgets and livelock --------------------------------------------------------------------------------------------


async def ticks():
    while True:
        await asyncio.sleep(1)


@pytest.mark.parametrize("seed", [None, 1])
def test_a_spent_budget_says_budget_spent_and_names_the_option(seed):
    with pytest.raises(vtloop.HangError, match=r"^budget spent .*max_steps=1,000 steps") as steps:
        vtloop.run(ticks, max_steps=1000, seed=seed)
    with pytest.raises(vtloop.HangError, match=r"^budget spent .*max_time=90 s") as virtual:
        vtloop.run(ticks, max_time=90, seed=seed)
    for caught in (steps, virtual):
        assert type(caught.value) is vtloop.HangError
        assert "hang" not in str(caught.value)
        assert "in ticks" in caught.value.report()
    assert vtloop.failure_of(virtual.value).time == 90


def test_what_fits_into_a_budget_is_left_alone():
    async def main():
        for _ in range(30):
            await asyncio.sleep(1)
        return asyncio.get_running_loop().time()

    assert vtloop.run(main, max_time=30, max_steps=100) == 30


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, 1])
def test_a_livelock_names_the_tasks_that_spin_and_is_raised_within_a_second(seed):
    flags = []

    async def spins():
        while not flags:
            await asyncio.sleep(0)

    async def main():
        async with asyncio.TaskGroup() as group:
            group.create_task(spins(), name="spinner")

    began = time.perf_counter()
    with pytest.raises(vtloop.LivelockError, match="spinner kept running") as caught:
        vtloop.run(main, seed=seed)
    assert time.perf_counter() - began < 3
    assert "the main task" in caught.value.report()


@pytest.mark.slow
def test_a_step_that_never_returns_is_cut_by_the_watchdog_and_shown():
    log = []

    def spin():
        while True:
            log.append(None)
            log.clear()

    async def stuck():
        spin()

    async def main():
        try:
            await asyncio.gather(asyncio.create_task(stuck(), name="stuck"))
        finally:
            log.append("unwound")

    with pytest.raises(vtloop.HangError, match="stuck") as caught:
        vtloop.run(main, watchdog=0.3)
    assert "spin" in caught.value.report()
    assert log == ["unwound"]


# -- options ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "allowed"),
    [
        ({"sede": 1}, "'seed', 'scheduler', 'interleave'"),
        ({"interleave": "tasks"}, "needs a seed or a scheduler"),
        ({"seed": 1, "interleave": "everything"}, "'timing', 'wakeups', 'tasks'"),
        ({"scheduler": "best"}, "'fifo', 'random', .*'pct:depth=N'"),
        ({"scheduler": 3}, r"pick\(window\)"),
        ({"seed": "7"}, "an int or None"),
        ({"seed": True}, "an int or None"),
        ({"lag": 0.1}, "needs a seed"),
        ({"seed": 1, "lag": -1}, "0 or more"),
        ({"max_steps": 1.5}, "whole number, 0 or more or None"),
        ({"max_steps": -1}, "whole number, 0 or more or None"),
        ({"max_time": float("nan")}, "finite number of seconds"),
        ({"watchdog": "10"}, "finite number of seconds"),
        ({"autojump": 1}, "True or False"),
        ({"threads": "raise"}, "'patience', 'daemons'"),
        ({"blocking": "maybe"}, "unknown blocking='maybe'; allowed: 'raise', 'virtual', 'allow'"),
        ({"leaks": "raise"}, "unknown leaks='raise'; allowed: 'error', 'warn', 'soft', 'allow', None"),
    ],
)
def test_an_option_out_of_range_is_refused_with_what_is_allowed(options, allowed):
    for entrance in (
        lambda: vtloop.run(for_ever, **options),
        lambda: vtloop.EventLoop(**options),
        lambda: vtloop.loop_factory(**options),
    ):
        with pytest.raises(vtloop.UsageError, match=allowed) as caught:
            entrance()
        assert isinstance(caught.value, ValueError)
        name = next(reversed(options))
        assert name in str(caught.value)


def test_none_means_no_limit_where_the_default_has_one():
    assert vtloop.run(lambda: asyncio.sleep(1, 1), max_steps=None, watchdog=None, patience=None) == 1
