"""Doors to an exploration: ``@vtloop.test`` under any runner, choices of the program, scheduler objects, watchdog."""

from __future__ import annotations

import asyncio
import time
import unittest

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import vtloop


class Broken(Exception):
    """What programs raise on purpose."""


async def in_order():
    """Fails when two tasks that begin together do not run in the order of their creation."""
    order = []

    async def one(number):
        order.append(number)

    await asyncio.gather(one(0), one(1))
    if order != [0, 1]:
        raise Broken(str(order))


# -- the decorator ---------------------------------------------------------------------------------------------------


def test_a_decorated_function_is_a_plain_one_that_explores():
    runs = []

    @vtloop.test(runs=20)
    async def program(word, *, loud=False):
        """What it does."""
        runs.append((word, loud))
        await asyncio.sleep(3600)

    assert program("hello", loud=True) is None
    assert runs == [("hello", True)] * 20
    assert (program.__name__, program.__doc__) == ("program", "What it does.")
    assert not asyncio.iscoroutinefunction(program)


def test_without_arguments_it_makes_two_hundred_runs():
    runs = []

    @vtloop.test()
    async def program():
        runs.append(1)

    program()
    assert len(runs) == 200


def test_a_failure_comes_out_as_itself_with_the_command_as_a_note():
    with pytest.raises(Broken) as caught:
        vtloop.test(interleave="tasks")(in_order)()
    token = vtloop.failure_of(caught.value).token
    assert any(f"vtloop.replay('{token}', main)" in note for note in caught.value.__notes__)
    with pytest.raises(Broken):
        vtloop.replay(token, in_order)


def test_one_run_is_asyncios_own_order():
    vtloop.test(runs=1, interleave="tasks")(in_order)()


def test_what_it_cannot_decorate_is_refused():
    def plain():
        pass

    with pytest.raises(vtloop.UsageError, match="parentheses"):
        vtloop.test(in_order)
    with pytest.raises(vtloop.UsageError, match="async def"):
        vtloop.test()(plain)
    with pytest.raises(vtloop.UsageError, match="unknown option 'rums'"):
        vtloop.test(rums=3)


def test_it_works_under_unittest():
    class Case(unittest.TestCase):
        def setUp(self):
            self.base = 40

        @vtloop.test(runs=10)
        async def test_adds(self):
            await asyncio.sleep(1)
            self.assertEqual(self.base + 2, 42)

        @vtloop.test(runs=200, interleave="tasks")
        async def test_order(self):
            await in_order()

        @vtloop.test(runs=1)
        async def test_hangs(self):
            await asyncio.Event().wait()

    result = unittest.TestResult()
    unittest.defaultTestLoader.loadTestsFromTestCase(Case).run(result)
    assert result.testsRun == 3
    assert result.failures == []
    # In the order of their names: test_hangs, test_order.
    texts = [text for _, text in result.errors]
    assert ["DeadlockError" in text for text in texts] == [True, False]
    assert ["Broken" in text for text in texts] == [False, True]
    assert all("vtloop.replay('vt1." in text for text in texts)


@pytest.mark.slow
def test_it_works_under_hypothesis_and_shrinks():
    @settings(max_examples=30, database=None, deadline=None)
    @given(st.integers(0, 100), st.lists(st.integers()))
    @vtloop.test(runs=3)
    async def program(number, items):
        await asyncio.sleep(number)
        if number >= 7 and len(items) >= 1:
            raise Broken((number, items))

    with pytest.raises(Broken) as caught:
        program()
    assert caught.value.args == ((7, [0]),)


# -- choices of the program ------------------------------------------------------------------------------------------


def test_choices_of_the_program_are_explored_and_played_back():
    async def main():
        picks = [vtloop.choose(3) for _ in range(3)]
        if picks == [2, 1, 2]:
            raise Broken(str(picks))

    failure = vtloop.explore(main).failure
    assert str(failure.error) == "[2, 1, 2]"
    assert [(choice.kind, choice.index, choice.options) for choice in failure.trace.choices][-3:] == [
        ("choose", 2, 3),
        ("choose", 1, 3),
        ("choose", 2, 3),
    ]
    with pytest.raises(Broken, match="2, 1, 2"):
        vtloop.replay(failure.token, main)


@pytest.mark.parametrize("options", [0, -1, 1.5, "3", True, None])
def test_choose_needs_a_whole_number(options):
    with pytest.raises(vtloop.UsageError, match="1 or more"):
        vtloop.choose(options)


def test_choose_is_zero_outside_a_run_and_under_asyncios_own_order():
    async def main():
        return vtloop.choose(9)

    assert vtloop.choose(9) == 0
    assert vtloop.run(main) == 0
    assert asyncio.run(main()) == 0


# -- a scheduler object, the watchdog --------------------------------------------------------------------------------


def test_a_scheduler_object_explores_too():
    class Newest:
        def pick(self, window):
            return max(index for index, item in enumerate(window) if item.kind != "turn" or index == 0)

    failure = vtloop.explore(in_order, scheduler=Newest(), runs=5).failure
    assert type(failure.error) is Broken
    assert {choice.kind for choice in failure.choices} <= {"step", "hold"}
    assert failure.choices
    with pytest.raises(Broken):
        vtloop.replay(failure.token, in_order)


@pytest.mark.slow
@pytest.mark.parametrize("seed", [0, 1])
def test_a_step_that_never_returns_in_some_order_is_cut_and_shown(seed):
    async def main():
        ready = []

        async def first():
            ready.append(1)

        async def second():
            while not ready:  # waits for first, but lets nobody run
                pass

        await asyncio.gather(first(), second())

    began = time.perf_counter()
    found = vtloop.explore(main, watchdog=0.3, seed=seed)
    assert type(found.failure.error) is vtloop.HangError
    assert "second" in found.failure.error.report()
    assert found.failure.level == "tasks"
    assert time.perf_counter() - began < 5
