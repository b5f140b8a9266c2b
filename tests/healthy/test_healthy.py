"""Shown here: on healthy programs vtloop is silent, whatever the order, with every part of the diagnosis switched on.

To add a program: write it as plain asyncio into the module of its family (`pools`, `locks`, `waking`, ...), put
``@healthy()`` above it, and let it assert what holds in every order that asyncio allows, however long a step takes
(`lag` gives a step up to 0.2 s).  ``quick=False`` if it needs much time on a real clock, ``threads=True`` if it uses
an executor, ``virtual=True`` if it uses vtloop.  A new family is named in `FAMILIES`.

Every program is run in asyncio's own order and over many seeds at every level; on the standard loop as well, with a
clock that jumps (all that need no threads) and with the real one (the quick ones).  A program that is found wrong here
is wrong on asyncio; otherwise it is a false alarm, and vtloop is what must be mended.
"""

from __future__ import annotations

import asyncio
import itertools
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from differential.oracle import OracleLoop

import vtloop
from vtloop import stalled
from vtloop.cpython_waits import future_waited_for
from vtloop.diagnosis.judge import judge
from vtloop.idle import IdleRules
from vtloop.options import RUN_DEFAULTS, Options, resolve
from vtloop.plan import Plan
from vtloop.run import Outcome, execute

from . import (
    anyio_programs,
    locks,
    outside,
    patterns,
    pools,
    races,
    services,
    streams,
    supervision,
    timeouts,
    virtual,
    waking,
    waking_more,
    waking_odd,
    weak,
)
from .corpus import PROGRAMS, Program, length

FAMILIES = (
    anyio_programs,
    locks,
    outside,
    patterns,
    pools,
    races,
    services,
    streams,
    supervision,
    timeouts,
    virtual,
    waking,
    waking_more,
    waking_odd,
    weak,
)
SCHEDULERS = ("random", "pct:depth=3", "urw", "pos")
LEVELS = ("timing", "wakeups", "tasks")
LAG = 0.02
LONG, SHORT = 1_500, 25  # ticks of the programs that wait for something slow
LOOK = 20  # steps before the first looks at whether main can still be woken; in earnest it is 800
IN_EARNEST = 2_500  # ticks after which main has been looked at several times without any help


ENDED_BY_THE_COLLECTOR = ("waking_odd.by_the_collector", "waking_odd.by_the_callback_of_a_weak_reference_to_a_task")
"""Programs that go on when something is collected or let go of, which a look at main does."""

LEFT_BEHIND = {"task", "transport"}
"""What a program may leave behind without a word, unless it is asked to be strict."""

HELD_BY_THE_ORACLE = (
    "waking_odd.by_the_callback_of_a_weak_reference_to_a_task",
    "weak.told_when_nobody_holds_a_finished_task",
)
"""Programs that need a done task to die, which the registry of the oracle keeps."""

every_program = pytest.mark.parametrize("name", PROGRAMS)


def plans(seeds: int, **options: Any) -> Iterator[tuple[str, int, Options]]:
    """The runs to make, as name, number and options: asyncio's own order, ``seeds`` at every level, an exploration."""
    yield "asyncio's own order", 0, resolve(RUN_DEFAULTS, **options)
    for level in LEVELS:
        for seed in range(seeds):
            inexact = {"lag": LAG} if level == "timing" or seed % 2 else {}
            scheduler = SCHEDULERS[seed % len(SCHEDULERS)]
            given = {"seed": seed, "scheduler": scheduler, "interleave": level, **inexact, **options}
            yield f"{level}, seed {seed}, {scheduler}", seed, resolve(RUN_DEFAULTS, **given)
    plan = Plan.of(runs=seeds, seed=1, **options)
    for index in range(seeds):
        yield f"run {index} of an exploration", index, plan.options_of(index)


def said_of(outcome: Outcome) -> list[str]:
    """All that vtloop has to say about a run."""
    said = [f"warning: {one}" for one in outcome.warnings]
    if outcome.error is not None:
        said.insert(0, f"{type(outcome.error).__name__}: {outcome.error}")
        said += getattr(outcome.error, "__notes__", [])
    return said


@contextmanager
def looked_at(often: bool) -> Iterator[None]:
    """Main is looked at early, and so in a run that is short, if ``often``."""
    with pytest.MonkeyPatch.context() as patches:
        if often:
            patches.setattr(stalled, "FIRST_LOOK", LOOK)
            patches.setattr(IdleRules, "_look_at", LOOK)
        yield


def run_all(program: Program, seeds: int) -> int:
    """Run it in every way; the number of runs made.

    A quarter of the runs is recorded and judged as a single run is, the others as those of an exploration are; some are
    looked at often, some are long.
    """
    number = 0
    for number, (how, seed, settings) in enumerate(plans(seeds), 1):
        length.ticks = LONG if seed % 100 == 99 else SHORT
        with looked_at(often=seed % 13 == 0):
            whole = seed % 16 < 4
            heard = said_in_a_run(program, settings, record=whole, quick=not whole)
        assert not heard, f"{program.name} ({how}): " + "\n".join(heard)
    return number


def said_in_a_run(program: Program, settings: Options, record: bool, quick: bool = False) -> list[str]:
    """What is said of one run, by vtloop or by anybody's warning."""
    with warnings.catch_warnings(record=True) as heard:
        warnings.simplefilter("always")
        outcome = execute(program.main, settings, record=record, quick=quick)
    return said_of(outcome) + [str(warning.message) for warning in heard]


def test_there_are_at_least_sixty_programs() -> None:
    assert len(PROGRAMS) >= 60
    assert {program.main.__module__ for program in PROGRAMS.values()} == {family.__name__ for family in FAMILIES}


@every_program
def test_nothing_is_said_of_a_healthy_program(name: str) -> None:
    run_all(PROGRAMS[name], 3 if name.startswith("waking") else 8)


@pytest.mark.slow
@every_program
def test_nothing_is_said_over_two_hundred_seeds(name: str) -> None:
    assert run_all(PROGRAMS[name], 200) == 801


@pytest.mark.slow
@every_program
def test_nothing_but_work_left_behind_is_named_when_every_leak_is_a_warning(name: str) -> None:
    length.ticks = SHORT
    for how, seed, settings in plans(20, leaks="warn"):
        outcome = execute(PROGRAMS[name].main, settings, record=seed % 4 == 0)
        assert outcome.error is None, how
        assert {warned.kind for warned in outcome.warnings} <= LEFT_BEHIND, (how, outcome.warnings)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in PROGRAMS if name.startswith("waking")])
@pytest.mark.parametrize("seed", [None, 1])
def test_nothing_is_said_of_a_main_that_waits_for_very_long(name: str, seed: int | None) -> None:
    length.ticks = IN_EARNEST
    assert said_in_a_run(PROGRAMS[name], resolve(RUN_DEFAULTS, seed=seed), record=False) == []


@pytest.mark.parametrize("name", [name for name, one in PROGRAMS.items() if not one.threads])
def test_the_diagnosis_changes_nothing(name: str) -> None:
    length.ticks = SHORT
    without = {"leaks": "allow", "blocking": "allow"}
    for seed in (None, 3):
        plain = execute(PROGRAMS[name].main, resolve(RUN_DEFAULTS, seed=seed, **without), record=False)
        with looked_at(often=True):
            looked = execute(PROGRAMS[name].main, resolve(RUN_DEFAULTS, seed=seed), record=False)
        if name not in ENDED_BY_THE_COLLECTOR:
            assert (looked.steps, looked.time_ns, looked.check) == (plain.steps, plain.time_ns, plain.check)


@pytest.mark.slow
@every_program
def test_no_task_goes_on_that_was_said_to_be_stuck(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    # Asked again and again while the program runs; the rest of the run must never give the lie to what was said.
    length.ticks, idle, stuck, asked = SHORT, IdleRules._idle, [], itertools.count()

    def idle_and_asked(loop: Any) -> None:
        if next(asked) % (40 if name.startswith("waking") else 6) == 0:
            stuck.extend((task, future_waited_for(task)) for task in judge(loop).stuck)
        idle(loop)

    async def main() -> None:
        await PROGRAMS[name].main()
        assert [task for task, future in stuck if future.done()] == []

    monkeypatch.setattr(IdleRules, "_idle", idle_and_asked)
    for how, seed, settings in plans(6):
        stuck.clear()
        assert said_of(execute(main, settings, record=seed % 4 == 0)) == [], how


ON_THE_ORACLE = [name for name, one in PROGRAMS.items() if not one.threads and not one.virtual]


@pytest.mark.parametrize("name", [name for name in ON_THE_ORACLE if name not in HELD_BY_THE_ORACLE])
def test_the_scheduler_of_asyncio_runs_it_to_its_end(name: str) -> None:
    length.ticks = SHORT
    with asyncio.Runner(loop_factory=OracleLoop) as runner:
        runner.run(PROGRAMS[name].main())


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, one in PROGRAMS.items() if one.quick])
def test_the_standard_loop_runs_it_to_its_end(name: str) -> None:
    asyncio.run(PROGRAMS[name].main())


@pytest.mark.parametrize(
    "name",
    [
        "patterns.hedged_request_takes_the_first_answer",
        "patterns.tokens_refilled_by_a_task",
        "races.first_failure_ends_the_wait",
        "services.task_cancelled_but_not_awaited_at_the_end",
    ],
)
def test_a_task_that_is_cancelled_when_main_returns_is_not_left_behind(name: str) -> None:
    for how, _, settings in plans(30, leaks="warn"):
        assert said_of(execute(PROGRAMS[name].main, settings)) == [], how


# -- programs that are driven from outside -----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", [None, *range(5)])
def test_a_waiter_is_woken_from_outside_a_running_loop(seed: int | None) -> None:
    # While the loop is driven by hand, whoever drives it may set the event at any time.
    with warnings.catch_warnings(), vtloop.EventLoop(seed=seed, leaks="error", blocking="raise") as loop:
        warnings.simplefilter("error")
        event = asyncio.Event()

        async def heartbeat() -> None:
            while True:
                await asyncio.sleep(0.5)

        heart = loop.create_task(heartbeat())
        waiting = loop.create_task(event.wait())
        loop.advance(2000)
        assert not waiting.done()
        event.set()
        loop.run_ready()
        assert waiting.done()
        heart.cancel()
        loop.run_until_idle()


@pytest.mark.parametrize("seed", [None, *range(5)])
def test_a_waiter_is_woken_between_two_runs_of_one_loop(seed: int | None) -> None:
    with warnings.catch_warnings(), vtloop.EventLoop(seed=seed, leaks="error", blocking="raise") as loop:
        warnings.simplefilter("error")
        event = asyncio.Event()
        waiting = loop.create_task(event.wait())
        loop.run_until_complete(asyncio.sleep(1000))
        event.set()
        assert loop.run_until_complete(waiting)


@pytest.mark.parametrize("seed", [None, *range(5)])
def test_one_runner_runs_several_programs(seed: int | None) -> None:
    names = [name for name, one in PROGRAMS.items() if not one.threads][:20]
    factory = vtloop.loop_factory(seed=seed, leaks="error", blocking="raise")
    with warnings.catch_warnings(), asyncio.Runner(loop_factory=factory) as runner:
        warnings.simplefilter("error")
        for name in names:
            runner.run(PROGRAMS[name].main())


@pytest.mark.slow
@pytest.mark.parametrize("seed", [None, *range(5)])
def test_nothing_is_said_of_ten_thousand_short_tasks(seed: int | None) -> None:
    async def main() -> int:
        done = 0

        async def short() -> None:
            nonlocal done
            await asyncio.sleep(0)
            done += 1

        async with asyncio.TaskGroup() as group:
            for _ in range(10_000):
                group.create_task(short())
        return done

    outcome = execute(main, resolve(RUN_DEFAULTS, seed=seed))
    assert (said_of(outcome), outcome.value) == ([], 10_000)
