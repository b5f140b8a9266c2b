"""A failure explained: its choices with lines, the table, and the nearest run that passes."""

from __future__ import annotations

import asyncio

import pytest
from told_programs import EXAMPLES, loaded

import vtloop
from vtloop.console import failure_text


async def evicted():
    cache, loaded = {}, asyncio.Event()

    async def read():
        await loaded.wait()
        return cache["user"]

    async def evict():
        await loaded.wait()
        cache.clear()

    async def load():
        await asyncio.sleep(30)
        cache["user"] = "ann"
        loaded.set()

    await asyncio.gather(load(), read(), evict())


async def always_broken():
    await asyncio.sleep(1)
    raise KeyError("always")


def test_choices_are_told_with_the_two_lines_that_changed_places():
    failure = vtloop.explore(evicted).failure
    assert [words.partition(": ")[0] for words in failure.told] == [
        "Task-3 (read) step 2 ran after Task-4 (evict) step 2"
    ]
    assert "cache.clear() before" in failure.told[0] and 'return cache["user"]' in failure.told[0]
    assert any(failure.told[0] in line for line in failure.summary())


def test_the_nearest_passing_run_stands_beside_it():
    failure = vtloop.explore(evicted).failure
    first, here, there = failure.difference
    assert first == "the nearest run that passes: 5 events in common, up to t=30 s, then"
    assert here.startswith("  here   Task-4 (evict) step 2 at t=30 s, returned")
    assert there.startswith("  there  Task-3 (read) step 2 at t=30 s, returned")
    assert failure.to_dict()["difference"] == list(failure.difference)


def test_the_report_has_the_table_and_ends_with_the_command():
    report = vtloop.explore(evicted).failure.report().split("\n")
    assert report[-1].startswith("replay: vtloop.replay(")
    assert any(line.startswith("** choice 1: ") for line in report)
    assert any("raised KeyError: 'user'" in line for line in report)


def test_a_failure_of_asyncios_own_order_has_a_table_and_nothing_beside_it():
    failure = vtloop.explore(always_broken).failure
    assert (failure.told, failure.difference) == ((), ())
    assert any("raised" in line for line in failure.table)


def test_what_is_not_shrunk_is_not_explained():
    failure = vtloop.explore(evicted, shrink=False).failure
    assert (failure.told, failure.table, failure.difference) == ((), (), ())
    assert any(" ran " in line or "stood back" in line for line in failure.summary())


def test_a_shrink_by_hand_explains_too():
    found = vtloop.explore(evicted, shrink=False).failure
    assert vtloop.shrink(found, evicted).table


def test_a_summary_has_at_most_eleven_lines_whatever_is_told():
    failure = vtloop.explore(evicted).failure
    failure.told = tuple(f"choice {number}" for number in range(6))
    assert len(failure.summary()) == 11
    failure.told = tuple(f"choice {number}" for number in range(2))
    assert len(failure.summary()) == 10
    assert list(failure.difference) == failure.summary()[-4:-1]


def test_explaining_changes_nothing_of_what_was_found():
    plain, told = vtloop.explore(evicted, shrink=False).failure, vtloop.explore(evicted).failure
    assert (plain.run, plain.seed, type(plain.error)) == (told.run, told.seed, type(told.error))
    with pytest.raises(KeyError):
        vtloop.replay(told.token, evicted)


def test_the_last_events_of_a_verdict_are_left_to_the_table_where_there_is_one():
    failure = vtloop.explore(loaded(EXAMPLES / "abba_deadlock.py").main, runs=1).failure
    lines = failure_text(failure)
    assert failure.table[0] in lines
    assert not [line for line in lines if line == "last events:" or line.startswith("  step 1 t=0")]
    at = lines.index("run 0, no seed, t=0.1 s, step 7")
    assert (lines[at - 2][:5], lines[at - 1]) == ("again", "")
    failure.table = ()
    lines = failure_text(failure)
    assert lines[lines.index("last events:") + 1] == "  step 1 t=0: Task-1 step 1"


def test_a_choice_that_is_too_long_for_a_line_says_that_it_goes_on():
    failure = vtloop.explore(loaded(EXAMPLES / "evicted_cache.py").main, runs=9).failure
    failure.told = ("x" * 300,)
    assert f"  {'x' * 257}..." in failure.summary()


def test_a_label_says_that_the_answers_of_the_program_s_own_choices_are_needed():
    async def main():
        assert not (vtloop.choose(2) and vtloop.sometimes("fault", p=0.5))

    assert vtloop.explore(main, runs=200).failure.label() == (
        "level 'timing': only what stock asyncio does on a slower or faster machine; "
        "with other answers of choose() and sometimes()"
    )
