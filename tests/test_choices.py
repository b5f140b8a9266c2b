"""Choices for code under test: latency, slow, sometimes, may_cancel; cancels from outside; stretched sleeps."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Coroutine
from unittest.mock import AsyncMock

import pytest

import vtloop
from vtloop.schedulers.odds import CANCEL_AFTER, CANCEL_BEFORE, Odds

SEEDS = range(120)


async def now():
    return asyncio.get_running_loop().time()


# -- outside a run, and in asyncio's own order -----------------------------------------------------------------------


async def plainly():
    log = []
    await vtloop.latency(0.0, 5.0)
    log.append(vtloop.sometimes("fault", p=1.0))
    log.append(vtloop.choose(5))
    log.append(await vtloop.slow(AsyncMock(return_value="page"), 0, 3)())
    log.append(await vtloop.may_cancel(asyncio.sleep(0, "value")))
    return log


PLAIN = [False, 0, "page", vtloop.Outcome(False, None, "value", None)]


def test_choices_take_their_plainest_option_on_another_loop():
    assert asyncio.run(plainly()) == PLAIN


def test_choices_take_their_plainest_option_in_asyncios_own_order():
    assert vtloop.run(plainly) == PLAIN


def test_the_synchronous_choices_work_without_any_loop():
    assert (vtloop.choose(3), vtloop.sometimes("x", p=1)) == (0, False)


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: vtloop.sometimes(3), "needs a text as its name, got 3"),
        (lambda: vtloop.sometimes("x", p=1.5), "probability from 0 to 1, got 1.5"),
        (lambda: vtloop.sometimes("x", p=True), "probability from 0 to 1, got True"),
        (lambda: vtloop.sometimes("x", p=float("nan")), "probability from 0 to 1, got nan"),
        (lambda: vtloop.slow(7, 0, 1), "needs something to call, got 7"),
        (lambda: vtloop.slow(now, 2, 1), "0 <= low <= high, got low=2 and high=1"),
        (lambda: asyncio.run(vtloop.latency(-1, 1)), "0 <= low <= high, got low=-1 and high=1"),
        (lambda: asyncio.run(vtloop.latency(0, float("inf"))), "finite numbers of seconds, got inf"),
        (lambda: asyncio.run(vtloop.may_cancel(now)), "may_cancel.coro. needs a coroutine, got"),
        (lambda: asyncio.run(vtloop.slow(lambda: 1, 0, 0)()), "gave 1, which is no awaitable"),
    ],
)
def test_a_bad_argument_is_refused_in_one_sentence(make, said):
    with pytest.raises(vtloop.UsageError, match=said):
        make()


# -- latency, slow, sometimes ----------------------------------------------------------------------------------------


def test_latency_takes_every_eighth_of_its_range():
    async def main():
        await vtloop.latency(1, 5)
        return await now()

    taken = Counter(vtloop.run(main, seed=seed) for seed in range(200))
    assert sorted(taken) == [1 + eighth / 2 for eighth in range(9)]
    assert min(taken.values()) > 8


def test_slow_lets_calls_of_a_mock_overtake_each_other():
    async def main():
        order = []
        fetch = vtloop.slow(AsyncMock(side_effect=order.append), 0, 1)
        await asyncio.gather(fetch(1), fetch(2))
        return tuple(order)

    assert {vtloop.run(main, seed=seed) for seed in SEEDS} == {(1, 2), (2, 1)}


def test_slow_passes_exceptions_and_arguments_through_and_keeps_the_name():
    async def fetch(key, *, times):
        """Fetches."""
        raise KeyError(key * times)

    slowed = vtloop.slow(fetch, 1, 1)
    assert (slowed.__name__, slowed.__doc__) == ("fetch", "Fetches.")
    with pytest.raises(KeyError, match="aa"):
        vtloop.run(lambda: slowed("a", times=2))


def test_a_cancellation_does_not_wait_for_the_answer_of_what_is_slow():
    async def main():
        async def fetch():
            await asyncio.sleep(30)

        with pytest.raises(TimeoutError):
            async with asyncio.timeout(20):
                await vtloop.slow(fetch, 4, 8)()
        return await now()

    assert {vtloop.run(main, seed=seed) for seed in range(20)} == {20.0}


def test_sometimes_is_enabled_in_a_quarter_of_the_runs_and_fires_there_with_its_probability():
    async def main():
        return sum(vtloop.sometimes("fault", p=0.5) for _ in range(40))

    fired = [vtloop.run(main, seed=seed) for seed in range(400)]
    enabled = [count for count in fired if count]
    assert 70 < len(enabled) < 130
    assert 18 < sum(enabled) / len(enabled) < 22


def test_names_of_sometimes_are_enabled_independently():
    async def main():
        return tuple(any(vtloop.sometimes(name, p=0.9) for _ in range(9)) for name in ("a", "b"))

    assert len({vtloop.run(main, seed=seed) for seed in SEEDS}) == 4


def test_choices_are_replayed_exactly():
    async def main():
        await vtloop.latency(0, 1)
        seen = (vtloop.sometimes("x", p=0.9), vtloop.choose(100), await now())
        if seen[0] and seen[2] > 0.5:
            raise ValueError(seen)

    failure = vtloop.explore(main, runs=300).failure
    with pytest.raises(ValueError) as again:
        vtloop.replay(failure.token, main)
    assert again.value.args == failure.error.args


# -- may_cancel ------------------------------------------------------------------------------------------------------


async def steps(log):
    try:
        await asyncio.sleep(1)
        log.append("slept")
        await asyncio.sleep(0)
        log.append("yielded")
        return "value"
    finally:
        log.append("out")


def test_the_explorer_cancels_at_every_await_and_at_both_moments():
    seen = Counter()

    async def main():
        log = []
        outcome = await vtloop.may_cancel(steps(log))
        seen[(tuple(log), outcome.cancelled, await now())] += 1
        assert outcome.cancelled == (outcome.where is not None) == (outcome.error is not None)
        assert outcome.value == (None if outcome.cancelled else "value")

    vtloop.explore(main, runs=400, exact_time=True).check()
    assert set(seen) == {
        (("slept", "yielded", "out"), False, 1.0),
        (("out",), True, 0.0),  # while the sleep was pending
        (("out",), True, 1.0),  # before the wake-up, the sleep being over
        (("slept", "out"), True, 1.0),
    }


def test_a_swallowed_cancellation_shows_as_cancelled_with_a_value():
    async def stubborn():
        try:
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            return "stayed"
        return "undisturbed"

    async def main():
        outcome = await vtloop.may_cancel(stubborn())
        assert outcome.cancelled == (outcome.value == "stayed")
        assert outcome.error is None
        assert not outcome.cancelled or outcome.where.endswith(" in stubborn")
        return outcome.cancelled

    assert {vtloop.run(main, seed=seed) for seed in SEEDS} == {True, False}


def test_an_ordinary_exception_comes_out_of_may_cancel():
    async def broken():
        await asyncio.sleep(1)
        raise KeyError("x")

    with pytest.raises(KeyError):
        vtloop.run(lambda: vtloop.may_cancel(broken()))


def test_a_cancellation_of_the_caller_is_passed_on_and_comes_out():
    async def main():
        log = []
        caller = asyncio.create_task(vtloop.may_cancel(steps(log)))
        await asyncio.sleep(0.5)
        caller.cancel()
        await asyncio.wait([caller])
        assert caller.cancelled()
        return log

    assert vtloop.run(main) == ["out"]


# -- cancel= from outside --------------------------------------------------------------------------------------------


async def services():
    """Three tasks, of which each notes how far it got."""
    log = {}

    async def serve(name):
        log[name] = 0
        for _ in range(3):
            await asyncio.sleep(1)
            log[name] += 1

    tasks = [asyncio.create_task(serve(name), name=name) for name in ("victim-1", "victim-2", "other")]
    ended = await asyncio.gather(*tasks, return_exceptions=True)
    return tuple(log.get(name) for name in ("victim-1", "victim-2", "other")), [e is not None for e in ended]


def ends(seeds=SEEDS, **options):
    return {str(vtloop.run(services, seed=seed, **options)) for seed in seeds}


def test_only_tasks_that_a_glob_names_are_cancelled():
    found = {vtloop.run(services, seed=seed, cancel="victim-*")[0] for seed in range(300)}
    assert {progress[2] for progress in found} == {3}
    assert {progress[0] for progress in found} == {0, 1, 2, 3}
    assert any(a < 3 and b < 3 for a, b, _ in found), "several victims in one run"
    assert (3, 3, 3) in found


def test_nothing_is_cancelled_in_asyncios_own_order_or_without_the_option():
    assert vtloop.run(services, cancel="*")[0] == (3, 3, 3)
    assert {vtloop.run(services, seed=seed)[0] for seed in range(20)} == {(3, 3, 3)}


def test_a_glob_names_tasks_by_their_coroutines_too():
    assert len({vtloop.run(services, seed=seed, cancel="*serve")[0] for seed in range(60)}) > 3


def test_a_task_is_not_cancelled_before_its_first_step():
    async def main():
        begun = []

        async def work():
            begun.append(1)
            await asyncio.sleep(1)

        await asyncio.gather(asyncio.create_task(work(), name="v"), return_exceptions=True)
        return begun

    assert {tuple(vtloop.run(main, seed=seed, cancel="v", interleave="tasks")) for seed in SEEDS} == {(1,)}


class LikeACoroutine(Coroutine):
    """What a compiled coroutine or aiohttp's request is: it says nothing of its state."""

    def __init__(self, coro):
        self.send, self.throw, self.close, self.__await__ = coro.send, coro.throw, coro.close, coro.__await__

    send = throw = close = __await__ = None


async def noted(log):
    log.append("begun")
    await asyncio.sleep(1)
    log.append("woken")
    await asyncio.sleep(1)


@pytest.mark.parametrize("how", ["glob", "may_cancel"])
def test_an_object_that_only_behaves_as_a_coroutine_is_cancelled_at_its_awaits(how):
    seen = set()

    async def main():
        log = []
        try:
            if how == "glob":
                await asyncio.get_running_loop().create_task(LikeACoroutine(noted(log)), name="victim")
            else:
                await vtloop.may_cancel(LikeACoroutine(noted(log)))
        finally:
            seen.add((*log, await now()))

    explored = vtloop.explore(main, scheduler="exhaustive:bound=1", interleave="timing", cancel="victim")
    explored.check()
    ways = {("begun", 0.0), ("begun", 1.0), ("begun", "woken", 1.0), ("begun", "woken", 2.0)}
    assert seen == ways
    assert explored.runs == 5


def test_the_main_task_is_never_cancelled():
    async def main():
        await asyncio.sleep(1)
        return "done"

    assert {vtloop.run(main, seed=seed, cancel="*") for seed in SEEDS} == {"done"}


def test_a_program_that_passes_the_cancellation_on_has_not_failed():
    async def main():
        await asyncio.create_task(asyncio.sleep(1), name="v")

    assert vtloop.explore(main, runs=100, cancel="v").failure is None


def test_a_program_that_cancels_itself_has_failed_all_the_same():
    async def main():
        await asyncio.create_task(asyncio.sleep(1), name="v")
        raise asyncio.CancelledError("mine")

    with pytest.raises(asyncio.CancelledError):
        vtloop.run(main, seed=1)


def test_an_eager_task_can_be_cancelled_too():
    factory = getattr(asyncio, "eager_task_factory", None)
    if factory is None:
        return  # Python 3.11 has none

    async def main():
        asyncio.get_running_loop().set_task_factory(factory)
        return await services()

    assert len({vtloop.run(main, seed=seed, cancel="victim-1")[0] for seed in range(60)}) > 2


def test_a_run_with_a_cancellation_is_replayed_exactly():
    async def main():
        progress, cancelled = await services()
        assert not any(cancelled), progress

    found = vtloop.explore(main, runs=100, cancel="victim-2")
    with pytest.raises(AssertionError) as again:
        vtloop.replay(found.failure.token, main)
    assert str(again.value) == str(found.failure.error)


@pytest.mark.parametrize("kind", [CANCEL_BEFORE, CANCEL_AFTER])
def test_a_run_cancels_at_one_of_the_two_moments_and_mostly_once(kind):
    counts = []
    for seed in range(400):
        odds = Odds(seed)
        counts.append(sum(odds.choose(kind, 2) for _ in range(100)))
    assert 110 < sum(count > 0 for count in counts) < 170, "about 35 %"
    assert sum(count == 1 for count in counts) > 3 * sum(count > 1 for count in counts)


# -- stretch ---------------------------------------------------------------------------------------------------------


def test_a_sleep_is_stretched_up_to_its_share_and_never_shortened():
    async def main():
        await asyncio.sleep(2)
        return await now()

    taken = Counter(vtloop.run(main, seed=seed, stretch=0.5) for seed in range(300))
    assert sorted(taken) == [2 + eighth / 8 for eighth in range(9)]
    assert 110 < taken[2.0] < 190


def test_a_sleep_is_not_stretched_past_a_pending_timer_that_it_would_have_beaten():
    async def main():
        log = []
        asyncio.get_running_loop().call_at(1.2, log.append, "timer")
        async with asyncio.timeout(1.5):
            await asyncio.sleep(1)
            log.append("slept")
        return tuple(log), await now() < 1.2

    assert {vtloop.run(main, seed=seed, stretch=1.0, interleave="tasks") for seed in SEEDS} == {(("slept",), True)}


@pytest.mark.parametrize("start", [1.7e9, 1.712345678e9, 1e12])
def test_at_epoch_sized_times_a_sleep_is_not_stretched_onto_a_pending_timer(start):
    async def main():
        async with asyncio.timeout(1.3):
            await asyncio.sleep(1)

    for seed in range(40):
        vtloop.run(main, seed=seed, stretch=1.0, start=start)


def test_neither_lag_nor_stretch_moves_a_clock_that_only_advance_moves():
    async def main():
        fired = []
        asyncio.get_running_loop().call_later(0.1, fired.append, True)
        for _ in range(20):
            await asyncio.sleep(0)
        sleeping = asyncio.create_task(asyncio.sleep(0.1))
        assert await now() == 0.0
        await vtloop.advance(0.1)
        assert fired
        assert sleeping.done()

    vtloop.explore(main, runs=60, autojump=False, stretch=0.5, lag=0.02).check()


def test_a_sleep_may_be_stretched_past_a_timer_that_beat_it_anyway_and_past_one_made_later():
    async def main():
        log = []
        loop = asyncio.get_running_loop()
        loop.call_at(0.5, log.append, "early")
        loop.call_at(0.9, loop.call_later, 0.3, log.append, "late")
        await asyncio.sleep(1)
        log.append("slept")
        await asyncio.sleep(1)
        return tuple(log)

    assert {vtloop.run(main, seed=seed, stretch=0.5) for seed in SEEDS} == {
        ("early", "slept", "late"),
        ("early", "late", "slept"),
    }


def test_other_timers_are_not_stretched():
    async def main():
        done = asyncio.Event()
        asyncio.get_running_loop().call_later(1, done.set)
        await done.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await asyncio.Event().wait()
        await vtloop.latency(1, 1)
        return await now()

    assert {vtloop.run(main, seed=seed, stretch=1.0) for seed in range(30)} == {3.0}


def test_advancing_by_hand_switches_stretch_off():
    async def main():
        await vtloop.advance(1)
        await asyncio.sleep(1)
        return await now()

    assert {vtloop.run(main, seed=seed, stretch=1.0) for seed in range(30)} == {2.0}


def test_stretch_is_in_the_mix_of_explore_and_not_of_tests_or_exact_time():
    async def main():
        await asyncio.sleep(1)
        assert await now() == 1.0

    assert vtloop.explore(main, runs=300).failure is not None
    assert vtloop.explore(main, runs=300, exact_time=True).failure is None
    vtloop.test(runs=300)(main)()


@pytest.mark.parametrize("value", [-0.1, float("nan"), True, "much"])
def test_a_bad_stretch_is_refused(value):
    with pytest.raises(vtloop.UsageError, match="stretch must be a finite number, 0 or more, got"):
        vtloop.run(now, seed=1, stretch=value)


def test_stretch_without_a_seed_is_refused():
    with pytest.raises(vtloop.UsageError, match=r"stretch=0\.5 needs a seed"):
        vtloop.run(now, stretch=0.5)


@pytest.mark.parametrize("value", [3, [None], ("a", 1)])
def test_bad_globs_are_refused(value):
    with pytest.raises(vtloop.UsageError, match="cancel must be globs over names, got"):
        vtloop.run(now, seed=1, cancel=value)


# -- debug mode ------------------------------------------------------------------------------------------------------


def test_debug_mode_takes_the_same_choices(monkeypatch):
    def taken():
        return [vtloop.run(services, seed=seed, cancel="victim-*", interleave="tasks", lag=0.02) for seed in range(30)]

    plain = taken()
    monkeypatch.setenv("PYTHONASYNCIODEBUG", "1")
    with vtloop.EventLoop() as loop:
        assert loop.get_debug()
    assert taken() == plain
    assert len({str(one) for one in plain}) > 5
