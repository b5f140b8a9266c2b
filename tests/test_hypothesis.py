"""Hypothesis draws the order: found, shrunk, told in words, and played back without it."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, Verbosity, given, seed, settings, target
from hypothesis import strategies as st
from hypothesis.database import InMemoryExampleDatabase
from hypothesis.errors import Unsatisfiable
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule, run_state_machine_as_test

import vtloop
from vtloop import UsageError
from vtloop.hypothesis import Schedule, schedules

PLAIN = settings(
    deadline=None, database=None, derandomize=True, phases=(Phase.generate, Phase.shrink), print_blob=False
)


async def in_order(count=3):
    """Passes in asyncio's own order, fails in most others."""
    log, go = [], asyncio.Event()

    async def worker(number):
        await go.wait()
        log.append(number)

    tasks = [asyncio.create_task(worker(number)) for number in range(count)]
    await asyncio.sleep(1)
    go.set()
    await asyncio.gather(*tasks)
    assert log == sorted(log)
    return log


def failing(test):
    """What a test fails with."""
    with pytest.raises(BaseException) as caught:
        test()
    return caught.value


def told(error):
    return "\n".join(error.__notes__)


def order_of(error):
    """The deviations that a failing example tells."""
    return re.search(r"^order: asyncio's own, except:\n((?:  .*\n?)+)", told(error), re.MULTILINE)[1].splitlines()


def test_the_order_is_found_and_shrunk_together_with_the_data():
    @PLAIN
    @given(schedule=schedules(), count=st.integers(0, 9))
    def test(schedule, count):
        schedule.run(lambda: in_order(count))

    error = failing(test)
    assert isinstance(error, AssertionError)
    assert "count=2" in told(error)
    assert "schedule=Schedule(interleave='wakeups')" in told(error)
    order = re.findall(r"^order: .*(?:\n  .*)*", told(error), re.MULTILINE)
    assert order == [
        "order: asyncio's own, except:\n  Task-2 step 2 stood back while Task-3 step 2 ran",
    ]
    assert "level 'wakeups': " in told(error)


def test_a_failing_example_has_a_command_that_needs_no_hypothesis():
    @PLAIN
    @given(schedule=schedules(interleave="tasks"))
    def test(schedule):
        schedule.run(in_order)

    error = failing(test)
    token = re.search(r"^without Hypothesis: vtloop\.replay\('(vt1\.\S+)', main\)$", told(error), re.MULTILINE)
    with pytest.raises(AssertionError):
        vtloop.replay(token[1], in_order)
    assert vtloop.failure_of(error).token == token[1]


def test_data_that_fail_in_asyncios_own_order_say_so():
    @PLAIN
    @given(schedule=schedules(), number=st.integers(0, 100))
    def test(schedule, number):
        async def main():
            await asyncio.sleep(number)
            assert number < 7

        schedule.run(main)

    error = failing(test)
    assert "number=7" in told(error)
    assert "\norder: asyncio's own\nwithout" in told(error)


def test_what_fails_after_the_run_is_told_its_order_too():
    @PLAIN
    @given(schedule=schedules(interleave="tasks"))
    def test(schedule):
        async def main():
            try:
                return await in_order()
            except AssertionError:
                return None

        assert schedule.run(main) == [0, 1, 2]

    assert "order: asyncio's own, except:\n  Task-" in told(failing(test))


def test_a_weaker_level_is_simpler():
    levels = set()

    @PLAIN
    @given(schedule=schedules(interleave="tasks"))
    def test(schedule):
        levels.add(re.search(r"interleave='(\w+)'", repr(schedule))[1])
        schedule.run(in_order)

    assert "interleave='wakeups'" in told(failing(test))
    assert levels == {"timing", "wakeups", "tasks"}


def test_a_deadlock_is_found_and_its_report_is_there():
    async def main():
        one, two = asyncio.Lock(), asyncio.Lock()

        async def take(first, second):
            async with first:
                await asyncio.sleep(0)
                async with second:
                    pass

        start = asyncio.Event()

        async def late():
            await start.wait()
            await take(two, one)

        other = asyncio.create_task(late())
        await asyncio.sleep(1)
        start.set()
        await asyncio.sleep(0)
        await take(one, two)
        await other

    @PLAIN
    @given(schedule=schedules(interleave="tasks"))
    def test(schedule):
        schedule.run(main)

    error = failing(test)
    assert isinstance(error, vtloop.DeadlockError)
    assert "order: asyncio's own" in told(error)


def test_a_program_without_choices_passes_in_two_examples_at_most():
    runs = []

    @PLAIN
    @given(schedule=schedules(interleave="timing"))
    def test(schedule):
        runs.append(schedule.run(lambda: asyncio.sleep(1, "slept")))

    test()
    assert set(runs) == {"slept"}
    assert len(runs) <= 2


# -- the choices that are no order ---------------------------------------------------------------------------------


def test_lag_is_drawn_and_shrunk():
    @PLAIN
    @given(schedule=schedules(interleave="timing", lag=0.5))
    def test(schedule):
        async def main():
            await asyncio.gather(asyncio.sleep(1), asyncio.sleep(1.2))
            assert asyncio.get_running_loop().time() == 1.2

        schedule.run(main)

    error = failing(test)
    assert order_of(error)
    assert "lag=0.5" in told(error)


def test_cancellations_are_drawn_at_late_awaits_too():
    async def main():
        async def victim():
            for _ in range(8):
                await asyncio.sleep(1)

        task = asyncio.create_task(victim(), name="victim")
        await asyncio.wait([task])
        assert not task.cancelled() or asyncio.get_running_loop().time() < 5

    @PLAIN
    @given(schedule=schedules(interleave="timing", cancel="victim"))
    def test(schedule):
        schedule.run(main)

    error = failing(test)
    assert len(order_of(error)) == 1 and re.search("cancel.*victim|victim.*cancel", order_of(error)[0])


def test_choices_of_the_program_shrink_as_well():
    @PLAIN
    @given(schedule=schedules())
    def test(schedule):
        async def main():
            drawn = [vtloop.choose(10) for _ in range(5)]
            assert sum(drawn) < 5

        schedule.run(main)

    error = failing(test)
    assert len(order_of(error)) == 1 and " 5 " in f"{order_of(error)[0]} "


# -- living with Hypothesis ------------------------------------------------------------------------------------------


def test_long_programs_end_in_asyncios_own_order():
    drawn = []

    @settings(PLAIN, max_examples=10)
    @given(schedule=schedules(interleave="tasks", choices=50))
    def test(schedule):
        async def main():
            for _ in range(60):
                drawn.append(vtloop.choose(2))
            return drawn[-10:]

        assert schedule.run(main) == [0] * 10

    test()
    assert 1 in drawn


@pytest.mark.slow
def test_examples_that_hypothesis_gives_up_leave_no_noise(caplog):
    """Too much data: Hypothesis cuts the example in the middle of the run."""
    cut = []

    @settings(PLAIN, max_examples=5, suppress_health_check=list(HealthCheck))
    @given(data=st.data(), schedule=schedules(interleave="tasks"))
    def test(data, schedule):
        for _ in range(10):
            data.draw(st.binary(min_size=800, max_size=800))

        async def worker():
            for _ in range(20):
                await asyncio.sleep(0)
                vtloop.choose(3)

        async def main():
            await asyncio.gather(*(worker() for _ in range(10)))

        try:
            schedule.run(main)
        except BaseException as exc:
            cut.append(type(exc).__name__)
            raise

    with pytest.raises(Unsatisfiable):
        test()
    assert set(cut) == {"StopTest"}
    assert caplog.records == []


def test_the_database_brings_a_failing_order_back_at_once():
    runs = []

    @settings(PLAIN, database=InMemoryExampleDatabase(), derandomize=False, phases=tuple(Phase)[1:4])
    @given(schedule=schedules())
    def test(schedule):
        runs.append(None)
        schedule.run(in_order)

    first, found = failing(test), len(runs)
    again = failing(test)
    assert told(first) == told(again)
    assert len(runs) - found < found


def test_an_example_is_a_function_of_the_seed():
    orders = []

    @seed(7)
    @settings(PLAIN, derandomize=False, max_examples=10)
    @given(schedule=schedules(interleave="tasks"), count=st.integers(2, 5))
    def test(schedule, count):
        async def main():
            log = []

            async def worker(number):
                await asyncio.sleep(1)
                log.append(number)

            await asyncio.gather(*map(worker, range(count)))
            orders.append(log)

        schedule.run(main)

    test()
    first, orders[:] = orders[:], []
    test()
    assert orders == first
    assert any(order != sorted(order) for order in orders)


def test_targets_and_assumptions_work_inside_the_program():
    @settings(PLAIN, max_examples=30, phases=(Phase.generate, Phase.target))
    @given(schedule=schedules(interleave="tasks"))
    def test(schedule):
        async def main():
            target(float(vtloop.choose(9)))

        schedule.run(main)

    test()


@pytest.mark.slow
def test_state_machines_drive_one_loop_from_rule_to_rule():
    class Machine(RuleBasedStateMachine):
        runner = None

        @initialize(schedule=schedules())
        def begin(self, schedule):
            self.runner = asyncio.Runner(loop_factory=schedule.loop)
            self.queue, self.sent, self.seen = asyncio.Queue(), [], []
            for _ in range(2):
                self.runner.get_loop().create_task(self.consume())

        async def consume(self):
            while True:
                item = await self.queue.get()
                await asyncio.sleep(0.5)
                self.seen.append(item)

        @rule(item=st.integers(0, 9))
        def put(self, item):
            self.runner.run(self.queue.put(item))
            self.sent.append(item)

        @rule()
        def settle(self):
            self.runner.get_loop().advance(10)
            assert self.seen == self.sent

        def teardown(self):
            if self.runner is not None:
                self.runner.close()

    error = failing(lambda: run_state_machine_as_test(Machine, settings=PLAIN))
    lines = [line.strip() for line in told(error).splitlines()]
    assert "state.begin(schedule=Schedule(interleave='wakeups'))" in lines
    assert lines.count("state.put(item=0)") + lines.count("state.put(item=1)") >= 2
    assert "order: asyncio's own, except:" in lines
    assert re.search(r"^ +Task-1 step \d+ stood back while Task-2 step \d+ ran", told(error), re.MULTILINE)


def test_a_schedule_may_be_the_scheduler_of_a_run():
    @PLAIN
    @given(schedule=schedules(), level=st.sampled_from(["wakeups", "tasks"]))
    def test(schedule, level):
        vtloop.run(in_order, scheduler=schedule, interleave=level)

    error = failing(test)
    assert "asyncio's own order, except 1 choice:\n    Task-" in told(error)
    token = re.search(r"vtloop\.replay\('(vt1\.\S+)', main\)", told(error))[1]
    with pytest.raises(AssertionError):
        vtloop.replay(token, in_order)


def test_below_given_an_exploration_says_its_data_and_its_seed():
    @settings(PLAIN, max_examples=30)
    @given(count=st.integers(2, 6))
    @vtloop.test(runs=20)
    async def test(count):
        await in_order(count)

    error = failing(test)
    assert "count=2" in told(error)
    assert re.search(r"seed \d+, scheduler ", told(error))
    assert re.search(r"vtloop\.replay\('vt1\.\S+', main\)", told(error))


def test_below_given_only_the_example_that_is_shown_is_made_small():
    made = []

    @settings(PLAIN, max_examples=30)
    @given(count=st.integers(2, 6))
    @vtloop.test(runs=20)
    async def test(count):
        made.append(count)
        await in_order(count if count > 3 else 1)

    error = failing(test)
    assert "shrunk in" in told(error)
    tried = [(count, len(list(runs))) for count, runs in itertools.groupby(made)]
    fails = [runs for count, runs in tried if count > 3]
    assert max(fails[:-1]) < 10 < fails[-1]


# -- what is refused -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given_, message",
    [
        ({"interleave": "any"}, "unknown level 'any' for interleave"),
        ({"choices": 10**6}, "choices must be a whole number from 0 to 3000, got 1000000"),
        ({"choices": True}, "choices must be a whole number from 0 to 3000, got True"),
        ({"seed": 1}, "schedules() takes no seed: Hypothesis draws every choice, got 1"),
        ({"scheduler": "pct"}, "schedules() takes no scheduler: Hypothesis draws every choice, got 'pct'"),
        ({"lagg": 1}, "unknown option 'lagg'"),
        ({"lag": -1}, "lag must be a finite number of seconds, 0 or more, got -1"),
    ],
)
def test_options_that_cannot_be_are_refused_when_the_strategy_is_made(given_, message):
    with pytest.raises(UsageError, match=re.escape(message)):
        schedules(**given_)


def test_a_run_inside_a_running_loop_is_refused():
    @settings(PLAIN, max_examples=1)
    @given(schedule=schedules())
    def test(schedule):
        async def main():
            schedule.run(in_order)

        schedule.run(main)

    error = failing(test)
    assert isinstance(error, UsageError)
    assert "while an event loop is running" in str(error)


def test_the_type_is_public():
    @settings(PLAIN, max_examples=1, verbosity=Verbosity.quiet)
    @given(schedule=schedules(max_time=5))
    def test(schedule):
        assert isinstance(schedule, Schedule)
        assert repr(schedule) == "Schedule(interleave='timing', max_time=5.0)"

    test()


def test_the_reference_gives_the_signature_of_the_code():
    signature = inspect.signature(schedules)
    plain = signature.replace(
        parameters=[one.replace(annotation=one.empty) for one in signature.parameters.values()],
        return_annotation=signature.empty,
    )
    page = (Path(__file__).parent.parent / "docs" / "reference.md").read_text(encoding="utf-8")
    assert f"`schedules{plain}`" in page
    for name in ("run", "loop"):
        assert f"| `schedule.{name}(" in page and callable(getattr(Schedule, name))
