"""A failing run is made small: it still fails, in the same way, and rests on no more than it needs."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import shrink_program
from replay_program import acted
from shrink_program import PROGRAMS, Broken, facts, late_lock, long, opposite, slow, told, two_holds

import vtloop
from vtloop.attempts import Candidate, likeness, pattern
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.playback import replay_outcome
from vtloop.run import execute
from vtloop.shrink import Shrinker, shrunk_failure
from vtloop.trace import REPLAY, Choice, read

ROOT = Path(vtloop.__file__).parents[1]


def found(main, seed=0, **options):
    failure = vtloop.explore(main, seed=seed, **options).failure
    assert failure is not None
    return failure


def recorded(main, **options):
    return execute(main, resolve(RUN_DEFAULTS, max_steps=20_000, **options))


def first_failing(main, **options):
    """The first seed whose run fails, recorded."""
    for seed in range(500):
        outcome = recorded(main, seed=seed, **options)
        if outcome.error is not None:
            return outcome
    raise AssertionError("no seed fails")


# -- small -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_one_pair_of_wake_ups_is_one_choice(seed):
    failure = found(late_lock, seed)
    assert (failure.level, len(failure.choices), failure.shrunk, failure.minimal) == ("wakeups", 1, True, True)
    assert failure.trace.options.lag == failure.trace.options.stretch == 0
    [choice] = failure.choices
    assert choice.words in ("bob step 2 stood back while cat step 2 ran", "cat step 2 ran before bob step 2")


@pytest.mark.parametrize("seed", range(6))
def test_two_independent_pairs_are_two_choices(seed):
    failure = found(two_holds, seed, runs=3000)
    assert (failure.level, len(failure.choices)) == ("wakeups", 2)
    assert {choice.task[1] for choice in failure.choices} == {"0", "1"}


def test_a_single_choice_is_taken_as_near_to_asyncios_order_as_still_fails():
    async def main():
        picked = vtloop.choose(9)
        await asyncio.sleep(0)
        if picked >= 3:
            raise Broken(f"picked {picked}")

    for seed in range(5):
        failure = found(main, seed)
        assert [(choice.kind, choice.index) for choice in failure.choices] == [("choose", 3)]
        assert (failure.level, str(failure.error)) == ("timing", "picked 3")


def test_a_step_stands_back_no_longer_than_it_must():
    async def main():
        order, start = [], asyncio.Event()

        async def one(number):
            await start.wait()
            order.append(number)

        tasks = [asyncio.create_task(one(number), name=f"t{number}") for number in range(8)]
        await asyncio.sleep(1)
        start.set()
        await asyncio.gather(*tasks)
        if order.index(0) >= 3:
            raise Broken

    for seed in range(4):
        [choice] = found(main, seed, interleave="wakeups").choices
        assert (choice.kind, choice.task, choice.age) == ("hold", "t0", 3)


def test_asyncios_own_order_that_fails_is_left_as_it_is():
    async def main():
        raise Broken

    failure = found(main)
    assert (failure.level, failure.shrunk, failure.minimal, failure.replays, failure.choices) == (
        "fifo",
        False,
        True,
        0,
        (),
    )


def test_a_run_that_needs_no_choice_at_all_becomes_asyncios_own_order():
    async def main():
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(5)))
        raise Broken

    failure = found(main, scheduler="random", interleave="tasks")
    assert (failure.level, failure.choices, failure.trace.options.scheduler) == ("fifo", (), "fifo")
    assert failure.seed == failure.found.seed is not None
    with pytest.raises(Broken):
        vtloop.replay(failure.token, main)


# -- what it rests on ------------------------------------------------------------------------------------------------


def test_the_weakest_level_that_fails_is_taken():
    # Of these runs at "tasks", what matters is that two wake-ups change places.
    outcome = first_failing(late_lock, interleave="tasks", lag=0.01)
    made = Shrinker(functools.partial(execute, late_lock)).shrink(outcome)
    assert made.outcome.options.interleave == "wakeups"
    assert made.outcome.options.lag == 0


def test_a_run_in_which_no_step_is_out_of_order_is_of_the_weakest_level():
    options = resolve(RUN_DEFAULTS, seed=1, interleave="tasks", lag=0.01)
    slow_step, early = Choice("lag", "Task-1", 1, 0, 3, 9), Choice("step", "Task-2", 1, -1, 1, 3)
    assert Candidate.of(options, [early, slow_step]).options.interleave == "tasks"
    assert Candidate.of(options, [early, slow_step]).having([slow_step]).options.interleave == "timing"


def test_another_run_of_a_weaker_level_is_taken_if_it_fails_in_the_same_way():
    async def main():
        # At "tasks" two first steps change places; at "timing" the same comes of a choice.
        order = []

        async def one(number):
            order.append(number)

        swapped = vtloop.choose(2)
        await asyncio.gather(one(0), one(1))
        if order == [1, 0] or swapped:
            raise Broken

    outcome = first_failing(main, scheduler="pct:depth=1", interleave="tasks")
    while any(choice.kind == "choose" for choice in outcome.trace().choices):
        seed = outcome.options.seed + 1
        outcome = recorded(main, seed=seed, scheduler="pct:depth=1", interleave="tasks")
        while outcome.error is None:
            seed += 1
            outcome = recorded(main, seed=seed, scheduler="pct:depth=1", interleave="tasks")
    made = Shrinker(functools.partial(execute, main)).shrink(outcome)
    assert made.outcome.options.interleave == "timing"
    assert [choice.kind for choice in made.outcome.listed] == ["choose"]
    assert made.outcome.options.seed == outcome.options.seed


def test_lag_is_as_small_as_still_fails_and_the_label_says_how_much():
    for seed in range(4):
        failure = found(slow, seed)
        assert [choice.kind for choice in failure.choices] == ["lag"]
        assert (failure.level, failure.trace.options.lag) == ("timing", 0.02)
        needed = failure.choices[0].index / 8 * 0.02
        assert 0.011 <= needed < 0.011 + 0.02 / 8
        assert f"steps that take up to {needed:g} s of virtual time" in failure.label()
        assert "asserting exact times? exact_time=True" in failure.label()


@pytest.mark.parametrize("lag", [0.0015, 0.02])
def test_no_run_has_more_lag_than_was_asked_for(lag):
    async def main():
        loop = asyncio.get_running_loop()
        done = loop.create_future()
        loop.call_later(0.001, done.set_result, None)
        loop.call_later(0.0011, lambda: done.done() or done.cancel())
        await asyncio.sleep(0.0012)
        for _ in range(4):
            await asyncio.sleep(0.5)
        if loop.time_ns() > 2_001_200_000 + 500_000:
            raise Broken

    asked = []

    def noted(options, **how):
        asked.append(options.lag)
        return execute(main, options, **how)

    outcome = first_failing(main, interleave="tasks", lag=lag)
    made = Shrinker(noted).shrink(outcome)
    assert made.outcome.options.interleave == "timing"
    assert max(asked) <= lag


def test_stretch_is_as_small_as_still_fails_and_the_label_calls_it_other_durations():
    outcome = first_failing(told, interleave="wakeups", stretch=1.0)
    failure = vtloop.shrink(outcome.trace(), told)
    assert failure.trace.options.stretch == 0.05
    assert "needs other durations: sleeps that last up to 3.125 % longer" in failure.label()
    assert "exact_time=True" in failure.label()


def test_a_cancellation_that_is_not_needed_is_left_out_and_one_that_is_stays():
    async def main(needed):
        leaked = []

        async def work():
            leaked.append(1)
            await asyncio.sleep(1)
            leaked.pop()

        swapped = vtloop.choose(2)
        task = asyncio.create_task(work(), name="victim")
        await asyncio.wait([task])
        if (leaked if needed else swapped) and not (needed and swapped):
            raise Broken

    for needed in (False, True):
        program = functools.partial(main, needed)
        outcome = first_failing(program, interleave="tasks", cancel=("victim",))
        failure = vtloop.shrink(outcome.trace(), program)
        kinds = [choice.kind for choice in failure.choices]
        assert kinds in ((["cancel before"], ["cancel after"]) if needed else (["choose"],))
        assert ("with a cancellation of victim" in failure.label()) is needed
        assert failure.trace.options.cancel == (("victim",) if needed else ())


# -- the same failure ------------------------------------------------------------------------------------------------


def test_only_the_same_error_at_the_same_place_counts():
    async def main():
        first, second = vtloop.choose(2), vtloop.choose(2)
        if first and second:
            raise Broken("both")
        if second:
            raise Broken("second alone")

    outcome = first_failing(main)
    while str(outcome.error) != "both":
        outcome = recorded(main, seed=outcome.options.seed + 1)
    failure = vtloop.shrink(outcome.trace(), main)
    assert str(failure.error) == "both"
    assert len(failure.choices) == 2


def test_the_members_of_a_group_count():
    def group(*errors):
        return ExceptionGroup("several", errors)

    assert likeness(group(ValueError(), KeyError())) == likeness(group(KeyError(), ValueError()))
    assert likeness(group(ValueError())) != likeness(group(KeyError()))
    assert likeness(None) is None


def test_a_deadlock_stays_a_deadlock():
    for seed in range(4):
        failure = found(opposite, seed)
        assert isinstance(failure.error, vtloop.DeadlockError)
        assert 1 <= len(failure.choices) <= 3
        assert failure.token in failure.error.report()


# -- it can be trusted -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROGRAMS)
@pytest.mark.parametrize("seed", [0, 1])
def test_what_is_printed_fails_again_in_the_same_way(name, seed, tmp_path):
    main = PROGRAMS[name]
    failure = found(main, seed)
    for source in (failure.trace, failure.token, failure.trace.save(tmp_path / "t.json")):
        with pytest.raises(type(failure.error)) as caught:
            vtloop.replay(source, main)
        again = vtloop.failure_of(caught.value)
        assert likeness(again.error) == likeness(failure.error)
        assert (again.token, again.time, again.step) == (failure.token, failure.time, failure.step)
        assert again.trace.choices == failure.trace.choices
        assert again.trace.outcome["digest"] == failure.trace.outcome["digest"]


@pytest.mark.parametrize("name", PROGRAMS)
def test_no_choice_of_a_minimal_failure_can_be_left_out(name):
    main = PROGRAMS[name]
    failure = found(main)
    assert failure.minimal
    for choice in failure.choices:
        rest = tuple(one for one in failure.choices if one != choice)
        trace = dataclasses.replace(failure.trace, choices=rest, outcome={})
        try:
            outcome = replay_outcome(trace, functools.partial(execute, main))
        except vtloop.ReplayError:
            continue
        assert likeness(outcome.error) != likeness(failure.error)


@pytest.mark.parametrize("name", PROGRAMS)
def test_the_nearest_passing_run_passes_and_lacks_one_choice(name):
    main = PROGRAMS[name]
    failure = found(main)
    assert failure.passing is not None
    assert len(failure.passing.choices) < max(len(failure.choices), 2)
    assert vtloop.replay(failure.passing, main) is None
    assert failure.passing.outcome["type"] == ""


@pytest.mark.slow
def test_random_failures_of_random_programs_shrink_to_runs_that_fail_alike():
    shrunk = 0
    for number in range(60):
        options = {"seed": number, "interleave": ("wakeups", "tasks")[number % 2], "lag": 0.01 * (number % 3)}
        outcome = recorded(acted(number), **options)
        if outcome.error is None:
            continue
        run_once = functools.partial(execute, acted(number))
        made = Shrinker(run_once, seconds=None).shrink(outcome)
        assert made.outcome is not None, (number, made.note)
        assert likeness(made.outcome.error) == likeness(outcome.error)
        assert len(made.outcome.listed or ()) <= len(outcome.recording.choices)
        again = replay_outcome(made.outcome.trace(), run_once)
        assert (again.check, again.steps, again.time_ns) == (
            made.outcome.check,
            made.outcome.steps,
            made.outcome.time_ns,
        )
        shrunk += made.outcome.options.scheduler == REPLAY
    assert shrunk > 5


def test_a_shrunk_run_that_does_not_come_back_is_shown_as_it_was_found():
    outcome = first_failing(late_lock, interleave="wakeups")
    strict = []

    def forgetful(options, *, record, scheduler=None, command=None):
        made = execute(late_lock, options, record=record, scheduler=scheduler, command=command)
        if record and command is not None:
            strict.append(options)
            made.error = None
        return made

    failure = vtloop.finding.failure_from(outcome)
    kept = shrunk_failure(failure, outcome, forgetful, command=lambda token: token)
    assert kept is failure
    assert len(strict) == 1
    assert not kept.shrunk
    assert "did not come back" in kept.note
    assert "did not come back" in "\n".join(kept.summary())


# -- the budget ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("replays", [1, 2, 3, 5, 8, 13])
def test_a_budget_that_is_spent_gives_what_was_reached(replays):
    outcome = first_failing(two_holds, interleave="tasks")
    failure = vtloop.shrink(outcome.trace(), two_holds, replays=replays)
    assert failure.replays <= replays + 1
    assert str(failure.error) == "both rounds"
    assert len(failure.choices) <= len(outcome.trace().choices)
    assert vtloop.shrink(failure, two_holds).minimal
    if not failure.minimal:
        assert "not to the end" in "\n".join(failure.summary())


def test_ctrl_c_ends_a_shrink_with_what_was_reached():
    outcome = first_failing(two_holds, interleave="tasks")
    made = 0

    def interrupted(options, **how):
        nonlocal made
        made += 1
        if made == 4:
            raise KeyboardInterrupt
        return execute(two_holds, options, **how)

    result = Shrinker(interrupted).shrink(outcome)
    assert not result.minimal
    assert likeness(result.outcome.error) == likeness(outcome.error)


def test_what_a_test_runner_raises_through_a_run_is_no_failure_of_the_same_kind():
    class Skipped(BaseException):
        """As pytest's."""

    outcome = first_failing(late_lock, interleave="wakeups")

    def skipping(options, *, record, **how):
        if not record:
            raise Skipped
        return execute(late_lock, options, record=record, **how)

    result = Shrinker(skipping).shrink(outcome)
    assert likeness(result.outcome.error) == likeness(outcome.error)


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ({"replays": 0}, "replays must be a whole number, 1 or more, got 0"),
        ({"replays": 2.5}, "replays must be a whole number"),
        ({"seconds": 0}, "seconds must be a number above 0, or None, got 0"),
        ({"seconds": "2"}, "seconds must be a number above 0"),
    ],
)
def test_a_budget_is_checked(budget, words):
    with pytest.raises(vtloop.UsageError, match=words):
        vtloop.shrink(found(late_lock), late_lock, **budget)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_a_run_of_three_thousand_steps_is_shrunk_to_one_choice_in_few_replays(seed):
    # How long that takes: python -m benchmarks.shrinking.
    failure = found(long(), seed, shrink=False)
    assert failure.step > 2800
    small = vtloop.shrink(failure, long(), seconds=None)
    assert (len(small.choices), small.minimal) == (1, True)
    assert small.replays < 150


@pytest.mark.slow
def test_a_spin_is_shrunk_without_waiting_for_the_whole_watchdog_each_time():
    async def main():
        ready = []

        async def first():
            ready.append(1)

        async def second():
            while not ready:
                pass

        await asyncio.gather(first(), second())

    outcome = first_failing(main, interleave="tasks", watchdog=0.4)
    failure = vtloop.shrink(outcome.trace(), main, seconds=None)
    assert isinstance(failure.error, vtloop.HangError)
    assert len(failure.choices) == 1


# -- the same everywhere ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_another_process_with_another_hash_seed_shrinks_to_the_same():
    here = [facts(found(main, seed)) for main in PROGRAMS.values() for seed in range(3)]
    for hash_seed in ("0", "4242"):
        env = dict(os.environ, PYTHONHASHSEED=hash_seed, PYTHONPATH=str(ROOT))
        command = [sys.executable, shrink_program.__file__]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        there = json.loads(done.stdout)
        for ours, theirs in zip(here, there, strict=True):
            assert ours[:4] == theirs[:4]
            mine, other = json.loads(ours[4])["trace"], json.loads(theirs[4])["trace"]
            for trace in (mine, other):
                trace.pop("made_by")
            assert mine == other


# -- what people get -------------------------------------------------------------------------------------------------


def test_a_shrunk_failure_says_who_found_it_and_what_is_left():
    failure = found(late_lock, 3)
    assert failure.found.scheduler != REPLAY
    assert failure.trace.options.scheduler == REPLAY
    assert failure.seed == failure.found.seed
    assert failure.trace.outcome["found"] == {
        "run": failure.run,
        "seed": failure.seed,
        "scheduler": failure.found.scheduler,
        "interleave": failure.found.interleave,
    }
    lines = failure.summary()
    assert f"run {failure.run}, seed {failure.seed}, scheduler {failure.found.scheduler}" in lines[1]
    assert lines[1].endswith(f"; shrunk in {failure.replays} replays")
    assert lines[3] == "asyncio's own order, except 1 choice:"
    assert lines[4] == f"  {failure.told[0]}"
    assert lines[5:8] == list(failure.difference)
    assert lines[8] == f"replay: vtloop.replay('{failure.token}', main)"
    whole = json.loads(json.dumps(failure.to_dict()))
    assert (whole["shrunk"], whole["minimal"], whole["replays"]) == (True, True, failure.replays)
    assert whole["label"] == failure.label()
    assert whole["scheduler"] == failure.found.scheduler


def test_exploring_without_shrinking_gives_the_run_as_it_was_found():
    plain = found(late_lock, 3, shrink=False)
    assert (plain.shrunk, plain.found, plain.passing, plain.replays) == (False, None, None, 0)
    assert plain.trace.options.scheduler != REPLAY
    small = vtloop.shrink(plain, late_lock)
    assert facts(small)[0] == facts(found(late_lock, 3))[0]
    with pytest.raises(vtloop.UsageError, match="shrink must be True or False, got 1"):
        vtloop.explore(late_lock, shrink=1)


def test_shrink_takes_a_failure_a_trace_a_token_and_a_path(tmp_path):
    plain = found(late_lock, 3, shrink=False)
    sources = (plain, plain.trace, plain.token, plain.trace.save(tmp_path / "t.json"), str(tmp_path / "t.json"))
    assert len({vtloop.shrink(source, late_lock).token for source in sources}) == 1


def test_what_is_shrunk_already_stays_as_it_is():
    failure = found(two_holds, runs=3000)
    again = vtloop.shrink(failure, two_holds)
    assert (again.token, again.seed, again.found) == (failure.token, failure.seed, failure.found)
    assert read(again.token).choices == read(failure.token).choices


def test_a_program_that_does_not_fail_any_more_has_nothing_to_shrink():
    async def fixed():
        return None

    failure = found(late_lock)
    with pytest.raises(vtloop.ReplayError, match="do not fit"):
        vtloop.shrink(failure, fixed)
    nothing = dataclasses.replace(failure.trace, choices=())
    with pytest.raises(vtloop.ReplayError, match="does not fail any more"):
        vtloop.shrink(nothing, fixed)


def test_vtloop_test_shrinks_too():
    with pytest.raises(Broken) as caught:
        vtloop.test(runs=300)(late_lock)()
    assert len(vtloop.failure_of(caught.value).choices) == 1
    with pytest.raises(Broken) as caught:
        vtloop.test(runs=300, shrink=False)(late_lock)()
    assert not vtloop.failure_of(caught.value).shrunk


def test_a_candidate_has_only_the_options_that_it_uses():
    options = resolve(RUN_DEFAULTS, seed=3, interleave="tasks", lag=0.2, stretch=1.0, cancel="w*")
    plain = Candidate.of(options, [])
    assert (plain.options.lag, plain.options.stretch, plain.options.cancel) == (0, 0, ())
    for kind, name in (("lag", "lag"), ("stretch", "stretch"), ("cancel after", "cancel")):
        used = Candidate.of(options, [Choice(kind, "Task-1", 1, 0, 1, 2)])
        assert getattr(used.options, name) == getattr(options, name)
        assert used.needs > plain.needs
        assert used.cost > plain.cost


# -- names that are others in every run ------------------------------------------------------------------------------

counter = iter(range(7, 1_000_000))


async def pool():
    """Workers named by a counter of the whole process, as some libraries have it."""
    number, order, start = next(counter), [], asyncio.Event()

    async def worker(name):
        await start.wait()
        order.append(name)

    for name in range(4):
        asyncio.create_task(worker(name), name=f"pool-{number}-worker-{name}")
    await asyncio.sleep(1)
    start.set()
    await asyncio.sleep(1)
    if order[0] == 2:
        raise Broken


def test_tasks_whose_names_have_a_number_of_the_process_are_found_again():
    for seed in range(4):
        failure = found(pool, seed, interleave="wakeups", exact_time=True)
        assert (failure.shrunk, failure.minimal, len(failure.choices)) == (True, True, 1)
        assert failure.choices[0].task == "pool-*-worker-2"
        for source in (failure.trace, failure.token):
            with pytest.raises(Broken) as caught:
                vtloop.replay(source, pool)
            assert vtloop.failure_of(caught.value).token == failure.token


def test_what_two_names_have_in_common_is_a_pattern():
    assert pattern("pool-13-worker-0", "pool-43-worker-0") == "pool-*-worker-0"
    assert pattern("pool-13", "pool-13") is None
    assert pattern("pool-13", "tool-14") is None
    assert pattern("job-1-2", "job-3-4") == "job-*-*"
