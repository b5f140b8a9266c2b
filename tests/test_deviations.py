"""Who ran early and who stood back: ways of telling one run, each of which gives it back exactly."""

from __future__ import annotations

import asyncio
import dataclasses
from functools import partial

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from replay_program import acted, facts

import vtloop
from vtloop.deviations import fewest, holds
from vtloop.errors import ReplayError
from vtloop.keys import Keys
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.playback import replay_outcome
from vtloop.run import execute
from vtloop.schedulers.replay import KeyedReplay
from vtloop.trace import REPLAY, Choice, read


def recorded(main, **options):
    return execute(main, resolve(RUN_DEFAULTS, max_steps=20_000, **options))


def listed(trace, choices):
    """``trace`` as one whose choices are listed."""
    return dataclasses.replace(
        trace, options=dataclasses.replace(trace.options, scheduler=REPLAY), choices=tuple(choices)
    )


def played(main, level, choices, strict=True):
    """A run with ``choices``, and the scheduler that made them."""
    made = []

    def scheduler(recording):
        made.append(KeyedReplay(level, choices, recording, strict))
        return made[0]

    options = dataclasses.replace(resolve(RUN_DEFAULTS, seed=0, interleave=level), scheduler=REPLAY)
    return execute(main, options, scheduler=scheduler), made[0]


class Last:
    """Picks the last of the window, up to ``often`` times."""

    def __init__(self, often=1_000):
        self.often = often

    def pick(self, window):
        self.often -= 1
        return len(window) - 1 if self.often >= 0 else 0


def waiters(count):
    """``count`` tasks woken together, each of which writes its name down."""

    async def main():
        loop, order, start = asyncio.get_running_loop(), [], asyncio.Event()

        async def one(name):
            await start.wait()
            order.append(name)

        tasks = [loop.create_task(one(name), name=name) for name in "abcdefgh"[:count]]
        await asyncio.sleep(1)
        start.set()
        await asyncio.gather(*tasks)
        return "".join(order)

    return main


# -- the same run ----------------------------------------------------------------------------------------------------

SCHEDULERS = ("random", "pct:depth=1", "pct:depth=3")
LEVELS = ("timing", "wakeups", "tasks")


@pytest.mark.slow
@settings(max_examples=120, derandomize=True, deadline=None, database=None)
@given(
    number=st.integers(0, 100_000),
    seed=st.integers(0, 10_000),
    scheduler=st.sampled_from(SCHEDULERS),
    level=st.sampled_from(LEVELS),
    lag=st.sampled_from((0.0, 0.01, 1.0)),
)
def test_each_way_of_telling_a_run_gives_it_back(number, seed, scheduler, level, lag):
    outcome = recorded(acted(number), seed=seed, scheduler=scheduler, interleave=level, lag=lag)
    whole, trace = facts(outcome), outcome.trace()
    few, back = fewest(outcome.recording), holds(outcome.recording)
    assert len(few) <= min(len(back), len(trace.choices))
    for choices in (trace.choices, back, few):
        told = listed(trace, choices)
        again = replay_outcome(told, partial(execute, acted(number)))
        assert facts(again) == whole
        assert [(one.key, one.age) for one in again.trace().choices] == [(one.key, one.age) for one in choices]
        token = told.token()
        if token is not None:
            from_token = replay_outcome(read(token), partial(execute, acted(number)))
            assert facts(from_token) == whole
            assert from_token.trace().token() == token


@pytest.mark.slow
@settings(max_examples=120, derandomize=True, deadline=None, database=None)
@given(number=st.integers(0, 100_000), seed=st.integers(0, 10_000), data=st.data())
def test_any_part_of_the_choices_gives_a_run_with_no_others(number, seed, data):
    outcome = recorded(acted(number), seed=seed, interleave="tasks", lag=0.01)
    whole = fewest(outcome.recording)
    part = [choice for choice in whole if data.draw(st.booleans())]
    again, _ = played(acted(number), "tasks", part, strict=False)
    kinds = {choice.key: choice for choice in part}
    assert {choice.key for choice in again.recording.choices if choice.kind not in ("step", "hold")} <= kinds.keys()
    assert len(fewest(again.recording)) <= len(part)
    # What was really done is a trace of its own, to be played back to the letter.
    trace = listed(again.trace(), fewest(again.recording))
    assert facts(replay_outcome(trace, partial(execute, acted(number)))) == facts(again)


def test_a_light_replay_makes_the_same_run_as_a_recorded_one():
    for number in range(12):
        outcome = recorded(acted(number), seed=number, interleave="tasks", lag=0.01)
        level, choices = outcome.options.interleave, fewest(outcome.recording)
        light = execute(
            acted(number),
            outcome.options,
            record=False,
            scheduler=lambda _, level=level, choices=choices: KeyedReplay(level, choices, Keys(), False),
        )
        assert (light.check, light.steps, light.time_ns) == (outcome.check, outcome.steps, outcome.time_ns)


# -- the fewest ------------------------------------------------------------------------------------------------------


def test_one_task_past_many_ran_early_and_one_behind_many_stood_back():
    early = recorded(waiters(6), scheduler=Last(1), interleave="wakeups")
    assert early.value == "fabcde"
    [choice] = fewest(early.recording)
    assert (choice.kind, choice.task, choice.age, choice.index) == ("step", "f", -5, 5)
    assert len(holds(early.recording)) == 5

    class FirstLast(Last):
        def pick(self, window):
            self.often -= window[0].task == "a"
            return 1 if window[0].task == "a" and self.often >= 0 else 0

    late = recorded(waiters(6), scheduler=FirstLast(5), interleave="wakeups")
    assert late.value == "bcdefa"
    [choice] = fewest(late.recording)
    assert (choice.kind, choice.task, choice.step, choice.age) == ("hold", "a", 2, 5)
    assert choice.words == "a step 2 stood back while b step 2, c step 2, d step 2 and 2 more ran"
    assert len(late.trace().choices) == 5


def test_a_run_in_asyncios_own_order_has_nothing_to_tell():
    outcome = recorded(waiters(4), scheduler=Last(0), interleave="tasks")
    assert fewest(outcome.recording) == holds(outcome.recording) == list(outcome.trace().choices) == []


def test_who_never_ran_stood_back_for_good():
    async def main():
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def busy():
            loop.call_later(0, busy)  # so that the end of a turn always matters, and may pass the straggler

        async def straggler():
            await asyncio.sleep(1)

        async def other():
            await asyncio.sleep(1)
            done.set()

        task = loop.create_task(straggler(), name="straggler")
        loop.create_task(other())
        busy()
        await done.wait()
        return task.done()

    class Passing(Last):
        def pick(self, window):
            return 1 if window[0].task == "straggler" else 0

    outcome = recorded(main, scheduler=Passing(), interleave="tasks")
    choices = fewest(outcome.recording)
    assert outcome.value is False
    assert any(choice.words.startswith("straggler step 2 stood back for good while ") for choice in choices)
    again, scheduler = played(main, "tasks", choices)
    assert again.value is False
    scheduler.finish()


def test_tasks_of_one_name_are_told_apart_by_the_order_in_which_they_were_made():
    async def main():
        order = []

        async def one(number):
            order.append(number)

        await asyncio.gather(*(asyncio.get_running_loop().create_task(one(n), name="worker") for n in range(3)))
        return order

    outcome = recorded(main, scheduler=Last(1), interleave="tasks")
    assert outcome.value == [2, 0, 1]
    [choice] = fewest(outcome.recording)
    assert choice.words.startswith("worker#3 step 1 ran before worker step 1, worker#2 step 1")
    assert vtloop.replay(outcome.trace(), main) == [2, 0, 1]
    assert vtloop.replay(listed(outcome.trace(), [choice]), main) == [2, 0, 1]


# -- what does not fit -----------------------------------------------------------------------------------------------


def hold(task, step, age):
    return Choice("hold", task, step, age, 1, 2, f"{task} step {step} stood back")


@pytest.mark.parametrize(
    ("choice", "now"),
    [
        (hold("nobody", 1, 3), "now it was not passed"),
        (hold("a", 7, 3), "now it was not passed"),
        (hold("a", 2, 99), "now it ran 5 steps after its place, not 99"),
        (Choice("step", "c", 9, -1, 1, 3, "c step 9 ran early"), "now the run ended without it"),
    ],
    ids=lambda value: getattr(value, "task", None),
)
def test_a_deviation_that_cannot_be_kept_is_named(choice, now):
    outcome, scheduler = played(waiters(3), "wakeups", [choice])
    with pytest.raises(ReplayError) as caught:
        scheduler.finish()
    assert f"recorded: {choice.words}; {now}" in str(caught.value)
    assert caught.value.data["task"] == choice.task
    trace = dataclasses.replace(listed(outcome.trace(), [choice]), outcome={"type": "Broken"})
    with pytest.raises(ReplayError):
        vtloop.replay(trace, waiters(3))
    assert played(waiters(3), "wakeups", [choice], strict=False)[0].error is None


def test_the_first_that_does_not_fit_is_named():
    _, scheduler = played(waiters(3), "wakeups", [hold("b", 2, 1), hold("x", 1, 1), hold("y", 1, 1)])
    with pytest.raises(ReplayError, match="x step 1 stood back"):
        scheduler.finish()


def test_a_hold_survives_edits_elsewhere():
    def program(edited):
        async def main():
            for _ in range(3 * edited):
                asyncio.get_running_loop().call_soon(str)
                await asyncio.sleep(0.5)
            return await waiters(4)()

        return main

    choice = hold("b", 2, 2)
    assert played(program(False), "wakeups", [choice])[0].value == "acdb"
    outcome, scheduler = played(program(True), "wakeups", [choice])
    assert outcome.value == "acdb"
    scheduler.finish()


def test_nobody_may_ask_for_the_scheduler_of_a_trace():
    with pytest.raises(vtloop.UsageError, match="unknown scheduler 'replay'"):
        vtloop.run(waiters(2), scheduler=REPLAY, seed=1)
    with pytest.raises(vtloop.UsageError, match="unknown scheduler 'replay'"):
        vtloop.explore(waiters(2), scheduler=REPLAY)


# -- other choices ---------------------------------------------------------------------------------------------------


def rings(extra=0):
    """Callbacks of timers, after each of which the program chooses."""

    async def main():
        loop, chosen = asyncio.get_running_loop(), []
        for number in range(extra):
            loop.call_soon(str, number)
        for number in range(3):
            loop.call_later(1 + number, lambda: chosen.append(vtloop.choose(9)))
        await asyncio.sleep(5)
        return chosen

    return main


def test_a_choice_after_a_callback_is_named_after_the_last_step_of_a_task_and_survives_edits():
    outcome = recorded(rings(), seed=3)
    assert sorted(map(bool, outcome.value)) != [False] * 3
    keys = {(choice.task, choice.step) for choice in outcome.trace().choices if choice.kind == "choose"}
    assert keys == {("Task-1", 1)}
    assert vtloop.replay(outcome.trace(), rings()) == outcome.value
    assert vtloop.replay(outcome.trace(), rings(extra=4)) == outcome.value


def test_a_trace_of_the_first_format_names_it_after_the_callback_and_is_still_played_back():
    outcome = recorded(rings(), seed=3)
    old = [
        dataclasses.replace(choice, task="callback", step=choice.age + 1, age=0) for choice in outcome.trace().choices
    ]
    assert vtloop.replay(dataclasses.replace(outcome.trace(), choices=tuple(old)), rings()) == outcome.value
