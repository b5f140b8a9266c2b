"""The mix: shares, cycles that meet in every way, ceilings, and what a plan makes of them."""

from __future__ import annotations

from math import gcd

import pytest

from vtloop import mix
from vtloop.mix import LAGS, STRETCHES, first_row, row
from vtloop.options import check_scheduler
from vtloop.plan import Plan
from vtloop.ready import LEVELS

CYCLES = (len(mix._DOWN), len(mix._SCHEDULERS), len(mix._TIMES))


def test_every_level_meets_every_scheduler_and_every_time() -> None:
    assert [gcd(a, b) for a, b in ((CYCLES[0], CYCLES[1]), (CYCLES[1], CYCLES[2]), (CYCLES[0], CYCLES[2]))] == [1] * 3
    rows = [row(position, "tasks") for position in range(792)]
    times = {(entry.lag, entry.stretch) for entry in rows}
    assert {(entry.level, entry.scheduler, entry.lag, entry.stretch) for entry in rows} == {
        (level, scheduler, *time) for level in LEVELS for scheduler in set(mix._SCHEDULERS) for time in times
    }


def test_each_rung_of_the_ladders_is_taken_and_a_third_of_the_runs_are_exact() -> None:
    rows = [row(position, "tasks") for position in range(99)]
    assert {entry.lag for entry in rows} == {0.0, *LAGS}
    assert {entry.stretch for entry in rows} == {0.0, *STRETCHES}
    assert sum(not entry.lag and not entry.stretch for entry in rows) == 36


def test_schedulers_are_those_that_a_run_can_have() -> None:
    for entry in (*(row(position, "tasks") for position in range(9)), first_row("tasks")):
        assert check_scheduler(entry.scheduler) == entry.scheduler


@pytest.mark.parametrize("ceiling", LEVELS)
def test_no_row_is_above_the_ceiling_and_most_are_at_it(ceiling: str) -> None:
    levels = [row(position, ceiling).level for position in range(80)]
    assert set(levels) == set(LEVELS[: LEVELS.index(ceiling) + 1])
    assert levels.count(ceiling) >= 60
    assert LEVELS.index(first_row(ceiling).level) <= LEVELS.index(ceiling)


def test_the_portfolio_begins_with_asyncios_own_order_and_then_each_turn_backwards() -> None:
    plan = Plan.of(runs=10)
    assert [plan.options_of(run).scheduler for run in range(4)] == ["fifo", "reversed", "urw", "pos"]
    assert plan.options_of(0).lag == plan.options_of(0).stretch == 0.0


def test_another_scheduler_has_the_levels_and_times_of_the_mix_from_its_first_run() -> None:
    plan = Plan.of(runs=10, scheduler="pos")
    assert {plan.options_of(run).scheduler for run in range(10)} == {"pos"}
    for run in range(10):
        entry, options = row(run, "tasks"), plan.options_of(run)
        assert (options.interleave, options.lag, options.stretch) == (entry.level, entry.lag, entry.stretch)


def test_exact_time_and_a_test_runner_leave_times_out_of_the_mix() -> None:
    exact = Plan.of(runs=30, exact_time=True)
    assert {(options.lag, options.stretch) for options in map(exact.options_of, range(30))} == {(0.0, 0.0)}
    tests = Plan.of(runs=30, stretches=False)
    assert {options.stretch for options in map(tests.options_of, range(30))} == {0.0}
    assert len({options.lag for options in map(tests.options_of, range(30))}) == len(LAGS) + 1


def test_a_lag_or_stretch_that_is_given_stands_in_every_run_but_the_first() -> None:
    plan = Plan.of(runs=30, lag=0.5, stretch=0.25)
    assert {(options.lag, options.stretch) for options in map(plan.options_of, range(1, 30))} == {(0.5, 0.25)}
