"""A recorded run comes back exactly, from its token or its file, here or elsewhere, or it is refused by name."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import replay_program
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_program import acted, facts, played_back

import vtloop
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import execute
from vtloop.trace import read

ROOT = Path(vtloop.__file__).parents[1]
SCHEDULERS = ("random", "pct:depth=1", "pct:depth=3")
LEVELS = ("timing", "wakeups", "tasks")


class Broken(Exception):
    """What programs raise on purpose."""


def recorded(main, **options):
    return execute(main, resolve(RUN_DEFAULTS, **{"max_steps": 20_000, **options}))


# -- the property ----------------------------------------------------------------------------------------------------

seeded = st.fixed_dictionaries(
    {
        "seed": st.integers(-5, 10_000),
        "scheduler": st.sampled_from(SCHEDULERS),
        "interleave": st.sampled_from(LEVELS),
        "lag": st.sampled_from((0.0, 0.01, 1.0)),
    }
)


@pytest.mark.slow
@settings(max_examples=250, derandomize=True, deadline=None, database=None)
@given(number=st.integers(0, 100_000), options=st.one_of(st.just({}), seeded))
def test_playing_back_the_token_or_the_file_gives_the_same_run(tmp_path_factory, number, options):
    outcome = recorded(acted(number), **options)
    whole = facts(outcome)
    trace = outcome.trace()
    assert played_back(number, trace) == whole
    assert played_back(number, trace.token()) == whole
    path = trace.save(tmp_path_factory.getbasetemp() / "run.json")
    assert played_back(number, path) == whole
    assert played_back(number, str(path)) == whole


@pytest.mark.slow
def test_a_fresh_process_with_another_hash_seed_gives_the_same_run(tmp_path):
    cases, expected = [], []
    for number in range(40):
        options = {"seed": number, "scheduler": SCHEDULERS[number % 3], "interleave": LEVELS[number % 2 + 1]}
        outcome = recorded(acted(number), **options, lag=0.01 * (number % 3))
        trace = outcome.trace()
        expected += [facts(outcome)] * 2
        cases += [(number, trace.token()), (number, str(trace.save(tmp_path / f"{number}.json")))]
    (tmp_path / "cases").write_text(json.dumps(cases))
    for hash_seed in ("0", "4242"):
        env = dict(os.environ, PYTHONHASHSEED=hash_seed, PYTHONPATH=str(ROOT))
        command = [sys.executable, replay_program.__file__, str(tmp_path / "cases")]
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout) == expected
    assert len({whole[0] for whole in expected}) > 4, "the programs ended in too few ways to show anything"


# -- a race to play with ---------------------------------------------------------------------------------------------


def race(*, earlier=0, before=0, after=0, words="", fixed=False):
    """Two tasks woken together, of which the second must not come first; with room for edits around it."""

    async def main():
        loop = asyncio.get_running_loop()
        order, start = [], asyncio.Event()

        async def runner(name):
            await start.wait()
            order.append(name)

        strangers = [asyncio.create_task(asyncio.sleep(0.25)) for _ in range(earlier)]
        runners = [asyncio.create_task(runner(name), name=name) for name in ("ann", "bob", "cat")]
        await asyncio.sleep(1)
        for number in range(before):
            loop.call_soon(str, words)
            await asyncio.sleep(0.5)
            await asyncio.sleep(0 if number % 2 else 1)
        start.set()
        if fixed:
            for one in runners:
                await one
        await asyncio.gather(*runners)
        others = [asyncio.create_task(asyncio.sleep(number)) for number in range(after)]
        if order.index("bob") < order.index("ann") and not fixed:
            raise Broken(f"{' '.join(order)}{words}")
        for other in others + strangers:
            await other
        return order

    return main


@pytest.fixture(scope="module")
def failure():
    return vtloop.explore(race(), interleave="wakeups", exact_time=True).failure


def test_replay_raises_what_the_run_raised(failure, tmp_path):
    path = failure.trace.save(tmp_path / "deep" / "run.json")
    for source in (failure.trace, failure.token, path, str(path)):
        with pytest.raises(Broken) as caught:
            vtloop.replay(source, race())
        assert str(caught.value) == str(failure.error)
        again = vtloop.failure_of(caught.value)
        assert (again.time, again.step, again.token, again.level) == (
            failure.time,
            failure.step,
            failure.token,
            failure.level,
        )
        assert again.trace.choices == failure.trace.choices
    assert "bob" in str(failure.error)


def test_replay_returns_what_the_run_returned():
    outcome = recorded(race(), seed=3, scheduler="pct:depth=1", interleave="tasks")
    while outcome.error is not None:
        outcome = recorded(race(), seed=outcome.options.seed + 1, scheduler="pct:depth=1", interleave="tasks")
    assert vtloop.replay(outcome.trace(), race()) == outcome.value
    assert vtloop.replay(outcome.trace().token(), race()) == outcome.value


def test_replay_takes_a_coroutine_too(failure):
    with pytest.raises(Broken):
        vtloop.replay(failure.token, race()())


def test_a_replay_does_not_stop_at_its_own_verdict(tmp_path):
    async def cross():
        locks = [asyncio.Lock(), asyncio.Lock()]

        async def take(one, other):
            async with one:
                await asyncio.sleep(0)
                async with other:
                    pass

        await asyncio.gather(take(*locks), take(*reversed(locks)))

    outcome = recorded(cross, seed=2, interleave="tasks")
    while outcome.error is None:
        outcome = recorded(cross, seed=outcome.options.seed + 1, interleave="tasks")
    for source in (outcome.trace().token(), outcome.trace().save(tmp_path / "cross.json")):
        with pytest.raises(vtloop.DeadlockError) as caught:
            vtloop.replay(source, cross)
        assert str(caught.value) == str(outcome.error)
        assert without_command(caught.value.report()) == without_command(outcome.error.report())


def without_command(report):
    return re.sub(r"(?m)^(again|replay): .*$", "", report).strip()


# -- edits -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "edit",
    [
        {"earlier": 2},  # every number of a task moves; their names do not
        {"before": 3},
        {"before": 20},
        {"after": 5},
        {"words": "!"},
        {"earlier": 1, "before": 7, "after": 3, "words": " (edited)"},
    ],
    ids=str,
)
def test_a_trace_survives_edits_elsewhere_in_the_program(failure, edit):
    assert failure.trace.choices
    with pytest.raises(Broken) as caught:
        vtloop.replay(failure.trace, race(**edit))
    assert str(caught.value) == str(failure.error) + edit.get("words", "")


def test_a_fixed_program_returns_when_the_recorded_choices_still_fit(failure):
    async def lucky():
        try:
            return await race()()
        except Broken as error:
            return f"no longer an error: {error}"

    assert vtloop.replay(failure.trace, lucky) == f"no longer an error: {failure.error}"


def test_a_program_whose_steps_have_changed_is_refused_in_task_terms(failure):
    async def sequential():
        order = []

        async def runner(name):
            order.append(name)

        for name in ("ann", "bob", "cat"):
            await asyncio.create_task(runner(name))
        return order

    with pytest.raises(vtloop.ReplayError) as caught:
        vtloop.replay(failure.trace, sequential)
    text = str(caught.value)
    first = failure.trace.choices[0]
    assert text.startswith("the recorded choices do not fit this program: recorded: ")
    assert any(choice.words in text for choice in failure.trace.choices)
    assert re.search(r"(ann|bob|cat|Task-1) step \d", text)
    assert "; now " in text
    assert "the code or a library has changed" in text
    assert "PYTHONHASHSEED" in text
    assert caught.value.data["task"] in ("ann", "bob", "cat", "Task-1", "turn", "callback")
    assert caught.value.data["kind"] == first.kind


def test_a_step_that_can_no_longer_come_first_is_refused_with_what_stands_ready(failure):
    async def fewer_wake_ups():
        start = asyncio.Event()

        async def runner():
            await start.wait()

        async def sleeper(delay):
            await asyncio.sleep(delay)
            await asyncio.sleep(0)

        tasks = [asyncio.create_task(runner()), asyncio.create_task(sleeper(1)), asyncio.create_task(sleeper(3))]
        await asyncio.sleep(1)
        start.set()
        await asyncio.gather(*tasks)

    with pytest.raises(vtloop.ReplayError, match="now "):
        vtloop.replay(failure.trace, fewer_wake_ups)


def test_a_token_of_a_changed_program_is_refused_with_both_endings():
    found = vtloop.explore(race(), interleave="wakeups", exact_time=True, shrink=False).failure
    with pytest.raises(vtloop.ReplayError) as caught:
        vtloop.replay(found.token, race(before=1, fixed=True))
    assert "the recorded run made" in str(caught.value)
    assert "ended with Broken" in str(caught.value)
    assert "ends with no failure" in str(caught.value)


def test_an_unseeded_run_that_failed_and_is_fixed_now_says_so():
    async def broken():
        await asyncio.sleep(1)
        raise Broken

    async def mended():
        await asyncio.sleep(1)
        return "fine"

    trace = recorded(broken).trace()
    with pytest.raises(Broken):
        vtloop.replay(trace, broken)
    # Asyncio's own order is a program's own business: there is no choice that could fail to fit.
    assert vtloop.replay(trace, mended) == "fine"
    assert vtloop.replay(trace.token(), mended) == "fine"


# -- custom schedulers and choices -----------------------------------------------------------------------------------


def test_a_run_under_a_scheduler_object_is_replayed_without_it():
    class Last:
        def pick(self, window):
            return len(window) - 1

    outcome = recorded(race(), scheduler=Last(), interleave="tasks")
    assert outcome.trace().choices
    again = replay_program.replay_outcome(read(outcome.trace().token()), partial(execute, race()))
    assert type(again.error) is type(outcome.error)
    assert (again.value, again.time_ns, again.steps) == (outcome.value, outcome.time_ns, outcome.steps)
    assert again.recording.digest() == outcome.recording.digest()


def test_choices_of_the_program_are_played_back():
    async def main():
        picks = []
        for _ in range(5):
            picks.append(vtloop.choose(7))
            await asyncio.sleep(vtloop.choose(2))
        return picks

    outcome = recorded(main, seed=8)
    assert any(outcome.value)
    assert vtloop.replay(outcome.trace(), main) == vtloop.replay(outcome.trace().token(), main) == outcome.value


def test_a_choice_with_too_few_options_now_is_refused():
    async def main(options=9):
        await asyncio.sleep(1)
        return vtloop.choose(options)

    outcome = recorded(main, seed=1)
    while outcome.value < 5:
        outcome = recorded(main, seed=outcome.options.seed + 1)
    with pytest.raises(
        vtloop.ReplayError, match=r"recorded: choose: \d of 9 after Task-1 step \d; now there are only 3"
    ):
        vtloop.replay(outcome.trace(), partial(main, 3))


def test_an_earlier_failure_of_the_same_kind_does_not_pass_for_the_recorded_one():
    broken = []

    async def main():
        tick, log = asyncio.Event(), []

        async def one(name):
            await tick.wait()
            log.append(name)

        tasks = [asyncio.create_task(one(name), name=name) for name in "ab"]
        await asyncio.sleep(1)
        if broken:
            raise ValueError("too early")
        tick.set()
        await asyncio.gather(*tasks)
        if log != ["a", "b"]:
            raise ValueError(log)

    trace = vtloop.explore(main).failure.trace
    with pytest.raises(ValueError, match="'b', 'a'"):
        vtloop.replay(trace, main)
    broken.append(True)
    with pytest.raises(vtloop.ReplayError, match="step 2"):
        vtloop.replay(trace, main)
