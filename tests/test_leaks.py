"""What a run leaves behind: coroutines never awaited, and tasks that survive their cancel."""

from __future__ import annotations

import asyncio
import gc
import sys
import threading
import warnings
import weakref
from contextlib import suppress
from unittest.mock import AsyncMock

import pytest

import vtloop
from vtloop.errors import LeakError
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import execute, place_of

HERE = "test_leaks.py"


async def fetch(value=0):
    return value


def line_of(function, text):
    """The line of a function's source on which ``text`` stands."""
    with open(__file__, encoding="utf-8") as file:
        lines = file.read().splitlines()
    first = function.__code__.co_firstlineno
    return next(number for number, line in enumerate(lines[first - 1 :], first) if text in line)


def leak_of(main, **options):
    with pytest.raises(LeakError) as caught:
        vtloop.run(main, **options)
    return caught.value


def outcome_of(main, **options):
    return execute(main, resolve(RUN_DEFAULTS, **options))


# -- coroutines that the source forgets --------------------------------------------------------------------------------


async def statement():
    fetch()


async def assigned():
    answer = fetch()  # noqa: F841
    await asyncio.sleep(1)


async def truth():
    if fetch():
        await asyncio.sleep(1)


async def asserted():
    answer = fetch()
    await asyncio.sleep(1)
    assert answer is not None


async def compared():
    return fetch() == 3


async def printed():
    print(f"{fetch()!s:.5}")


async def in_a_list():
    [fetch() for _ in range(3)]
    await asyncio.sleep(1)


async def in_a_lambda():
    make = lambda: fetch()  # noqa: E731
    make()


def passed_on():
    return fetch()


async def through_a_function():
    passed_on()


async def in_a_finally():
    try:
        await asyncio.sleep(1)
    finally:
        fetch()


async def of_a_task_that_is_cancelled_in_the_end():
    async def worker():
        try:
            await asyncio.Event().wait()
        finally:
            fetch()

    asyncio.create_task(worker())
    await asyncio.sleep(1)


async def in_a_cycle():
    class Node:
        pass

    def make(node):
        node.me = node
        node.coro = fetch()

    make(Node())
    mine = fetch()  # noqa: F841
    ring = []
    ring.append((ring, sys._getframe()))
    await asyncio.sleep(1)


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize(
    ("main", "where", "text"),
    [
        (statement, "statement", "fetch()"),
        (assigned, "assigned", "fetch()"),
        (truth, "truth", "fetch()"),
        (asserted, "asserted", "fetch()"),
        (compared, "compared", "fetch()"),
        (printed, "printed", "fetch()"),
        (in_a_lambda, "in_a_lambda", "make()"),
        (through_a_function, "through_a_function", "passed_on()"),
        (in_a_finally, "in_a_finally", " fetch()"),
        (of_a_task_that_is_cancelled_in_the_end, "worker", " fetch()"),
        (in_a_cycle, "in_a_cycle", "mine = fetch()"),
    ],
)
def test_a_forgotten_coroutine_fails_the_run_and_its_line_is_named(main, where, text, seed):
    error = leak_of(main, seed=seed)
    line = line_of(main, text)
    assert str(error).startswith("1 coroutine was never awaited: fetch() made at ")
    assert str(error).endswith(f"{HERE}:{line} in {where}")
    assert place_of(error) == f"{HERE}:{line} in {where}"
    assert "\n" not in str(error)
    assert "write `await fetch(...)`" in error.report()


def test_several_are_one_error_by_line_with_counts():
    async def main():
        for number in range(3):
            fetch(number)
        await asyncio.sleep(2)
        other()

    async def other():
        pass

    error = leak_of(main)
    assert str(error).startswith("4 coroutines were never awaited: fetch() made at ")
    assert "(3 times) and main.<locals>.other()" in str(error) or "(3 times) and other()" in str(error)
    lines = error.report().splitlines()
    assert lines[0] == "LEAK at t=2 s, step 4"
    assert "    first dropped at t=0 s by Task-1" in lines
    assert "    dropped at t=2 s by Task-1" in lines
    assert [(leak["kind"], leak["count"], leak["time_ns"]) for leak in error.to_dict()["leaks"]] == [
        ("coroutine", 3, 0),
        ("coroutine", 1, 2_000_000_000),
    ]


def test_a_report_of_very_many_has_at_most_sixty_lines():
    source = "async def fetch():\n    pass\n\nasync def main():\n" + "    fetch()\n" * 200
    names = {}
    exec(compile(source, "many.py", "exec"), names)
    error = leak_of(names["main"])
    assert str(error).startswith("200 coroutines were never awaited: ")
    assert len(error.report().splitlines()) <= 60
    assert len(error.to_dict()["leaks"]) == 200


@pytest.mark.parametrize("how", ["call_soon", "call_later", "add_done_callback", "lambda"])
def test_a_coroutine_function_as_a_plain_callback_is_named(how):
    async def callback(*arguments):
        pass

    async def main():
        loop = asyncio.get_running_loop()
        if how == "call_soon":
            loop.call_soon(callback)
        elif how == "call_later":
            loop.call_later(1, callback)
        elif how == "lambda":
            loop.call_soon(lambda: callback())
        else:
            asyncio.create_task(asyncio.sleep(1)).add_done_callback(callback)
        await asyncio.sleep(2)

    error = leak_of(main)
    assert str(error).startswith("1 coroutine was never awaited: callback() called by the loop, defined at ")
    assert place_of(error).startswith(f"{HERE}:{line_of(callback, 'async def callback')} in")
    assert "create_task" in error.report()


@pytest.mark.parametrize("kept", [False, True])
def test_an_async_mock_that_is_not_awaited_is_named_by_its_call(kept):
    client = AsyncMock()

    async def dropped():
        client.close()

    async def assigned():
        answer = client.close()
        assert answer
        await asyncio.sleep(1)

    main = assigned if kept else dropped
    error = leak_of(main)
    assert str(error).startswith("1 coroutine was never awaited: client.close() made at ")
    assert place_of(error) == f"{HERE}:{line_of(main, 'client.close()')} in {main.__name__}"
    assert "an AsyncMock was called and not awaited" in error.report()


def test_a_run_that_fails_by_itself_has_a_note():
    async def main():
        fetch()
        raise KeyError("mine")

    with pytest.raises(KeyError) as caught:
        vtloop.run(main)
    notes = [note for note in caught.value.__notes__ if "never awaited" in note]
    assert [note.partition(" made")[0] for note in notes] == [
        "also left behind: 1 coroutine was never awaited: fetch()"
    ]


def test_a_deadlock_stays_a_deadlock_and_says_what_was_forgotten():
    async def main():
        event = asyncio.Event()

        async def setter():
            event.set()

        setter()
        await event.wait()

    with pytest.raises(vtloop.DeadlockError) as caught:
        vtloop.run(main)
    assert any("1 coroutine was never awaited: setter()" in note for note in caught.value.__notes__)


# -- coroutines that an exception or a cancel kept from being awaited --------------------------------------------------


async def limited(gate, coro):
    async with gate:
        return await coro


async def timeout_around_limited_calls():
    gate = asyncio.Semaphore(1)
    with suppress(TimeoutError):
        async with asyncio.timeout(1):
            await asyncio.gather(*(limited(gate, asyncio.sleep(2)) for _ in range(3)))


async def a_task_cancelled_before_it_began():
    task = asyncio.create_task(asyncio.wait_for(fetch(), 5))
    task.cancel()
    with suppress(asyncio.CancelledError):
        await task


async def an_exception_among_the_arguments():
    def bad():
        raise ValueError

    with suppress(ValueError):
        await asyncio.gather(fetch(), bad())


async def an_exception_before_the_second():
    async def fails():
        raise ValueError

    coros = [fails(), fetch(), fetch()]
    with suppress(ValueError):
        for coro in coros:
            await coro


def no_answer():
    raise ZeroDivisionError


async def an_exception_after_adding_it():
    coros = []
    with suppress(ZeroDivisionError):
        coros += [fetch()]
        no_answer()
        await asyncio.gather(*coros)


async def an_exception_after_an_operator():
    class Pipe:
        def __ror__(self, coro):
            self.coro = coro
            return self

    with suppress(ZeroDivisionError):
        pipe = fetch() | Pipe()
        no_answer()
        await pipe.coro


async def an_exception_before_it_is_used_by_its_name_alone():
    with suppress(ZeroDivisionError):
        coro = fetch()  # noqa: F841
        no_answer()
        await locals()["coro"]


async def a_group_that_takes_no_more():
    async def late(group):
        with suppress(asyncio.CancelledError):
            await asyncio.sleep(5)
        coro = fetch()
        try:
            group.create_task(coro)
        except RuntimeError:
            pass

    async def fails():
        raise ValueError

    with suppress(ExceptionGroup):
        async with asyncio.TaskGroup() as group:
            group.create_task(late(group))
            group.create_task(fails())


async def wait_for_nothing():
    with suppress(TimeoutError):
        await asyncio.wait_for(fetch(), 0)


async def handed_to_a_background_task():
    async def later(coro):
        await asyncio.Event().wait()
        await coro

    asyncio.create_task(later(fetch()))
    await asyncio.sleep(1)


async def closed_on_purpose():
    coro = fetch()
    coro.close()


async def a_timer_that_never_fires():
    coro = fetch()
    asyncio.get_running_loop().call_later(60, lambda: asyncio.ensure_future(coro))


@pytest.mark.filterwarnings("ignore:coroutine '.*' was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("seed", [None, *range(5)])
@pytest.mark.parametrize(
    "main",
    [
        timeout_around_limited_calls,
        a_task_cancelled_before_it_began,
        an_exception_among_the_arguments,
        an_exception_before_the_second,
        an_exception_after_adding_it,
        an_exception_after_an_operator,
        an_exception_before_it_is_used_by_its_name_alone,
        a_group_that_takes_no_more,
        wait_for_nothing,
        handed_to_a_background_task,
        closed_on_purpose,
        a_timer_that_never_fires,
    ],
)
def test_a_coroutine_that_may_have_been_dropped_by_an_exception_is_no_leak(main, seed):
    outcome = outcome_of(main, seed=seed)
    assert outcome.error is None
    assert outcome.warnings == []


def test_pythons_own_warning_stays_for_those():
    with pytest.warns(RuntimeWarning, match="coroutine 'fetch' was never awaited") as caught:
        vtloop.run(an_exception_before_the_second)
    assert [str(one.message).count(HERE) for one in caught] == [1, 1]


def test_what_the_end_of_a_run_drops_is_warned_of_by_nobody():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        vtloop.run(handed_to_a_background_task)
        gc.collect()


# -- whose coroutines ----------------------------------------------------------------------------------------------


def hook():
    return vars(warnings)["_warn_unawaited_coroutine"]


def test_hook_and_origin_tracking_are_as_before_after_a_run():
    before = hook(), sys.get_coroutine_origin_tracking_depth(), list(gc.callbacks)

    async def main():
        assert hook() is not before[0]
        return sys.get_coroutine_origin_tracking_depth()

    assert vtloop.run(main) > 0
    assert (hook(), sys.get_coroutine_origin_tracking_depth(), list(gc.callbacks)) == before
    assert vtloop.run(main, leaks="warn") > 0
    with suppress(LeakError):
        vtloop.run(statement)
    assert (hook(), sys.get_coroutine_origin_tracking_depth(), list(gc.callbacks)) == before


@pytest.mark.parametrize("leaks", ["allow"])
def test_nothing_looks_where_leaks_are_allowed(leaks):
    before = hook()

    async def main():
        assert hook() is before
        assert sys.get_coroutine_origin_tracking_depth() == 0
        fetch()

    with pytest.warns(RuntimeWarning, match="coroutine 'fetch' was never awaited"):
        vtloop.run(main, leaks=leaks)


def test_nothing_looks_in_a_bare_loop():
    with pytest.warns(RuntimeWarning, match="coroutine 'fetch' was never awaited"):
        with asyncio.Runner(loop_factory=vtloop.EventLoop) as runner:
            runner.run(statement())


def test_garbage_from_before_the_run_is_not_the_runs():
    class Ring:
        def __init__(self):
            self.me, self.coro = self, fetch()

    async def collects():
        gc.collect()

    async def does_not():
        pass

    for main in (collects, does_not):
        Ring()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)
            vtloop.run(main)


def test_the_coroutines_of_other_threads_are_not_the_runs():
    def elsewhere():
        fetch()

    async def main():
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()

    with pytest.warns(RuntimeWarning, match="coroutine 'fetch' was never awaited"):
        vtloop.run(main, blocking="allow")


def test_a_run_within_a_run_has_its_own():
    inner = []

    def call():
        with pytest.raises(LeakError) as caught:
            vtloop.run(statement)
        inner.append(str(caught.value))

    async def main():
        await asyncio.to_thread(call)

    vtloop.run(main)
    assert [text.partition(":")[0] for text in inner] == ["1 coroutine was never awaited"]


# -- tasks that survive their cancel -------------------------------------------------------------------------------


async def deaf(queue):
    while True:
        with suppress(asyncio.CancelledError):
            await queue.get()


async def leaves_a_deaf_worker():
    task = asyncio.create_task(deaf(asyncio.Queue()), name="worker")
    await asyncio.sleep(1)
    return task.get_name()


@pytest.mark.parametrize("seed", [None, 1, 2])
def test_a_task_that_swallows_its_cancel_fails_the_run_with_its_await_chain(seed):
    error = leak_of(leaves_a_deaf_worker, seed=seed)
    place = f"{HERE}:{line_of(deaf, 'queue.get')} in deaf"
    assert str(error).startswith("1 task survived its cancel: worker waits for Queue.get on queue (empty), at ")
    assert str(error).endswith(place)
    assert place_of(error) == f"{HERE}:{line_of(deaf, 'queue.get')} in deaf"
    assert f"{HERE}:{line_of(deaf, 'queue.get')} in deaf: await queue.get()" in error.report()
    assert "raise `CancelledError` again" in error.report()
    assert [leak["tasks"] for leak in error.to_dict()["leaks"]] == [["worker"]]


@pytest.mark.parametrize("delay", [0, 1])
def test_a_task_that_goes_on_after_its_cancel_is_one(delay):
    async def stubborn():
        while True:
            with suppress(asyncio.CancelledError):
                await asyncio.sleep(delay)

    async def main():
        asyncio.create_task(stubborn(), name="stubborn")
        await asyncio.sleep(3)

    assert str(leak_of(main)).startswith("1 task survived its cancel: stubborn ")


async def ends_by_return():
    async def worker():
        with suppress(asyncio.CancelledError):
            await asyncio.Event().wait()

    asyncio.create_task(worker())
    await asyncio.sleep(1)


async def takes_its_time():
    async def worker():
        try:
            await asyncio.Event().wait()
        finally:
            await asyncio.sleep(3600)

    asyncio.create_task(worker())
    await asyncio.sleep(1)


async def waits_for_work():
    queue = asyncio.Queue()
    asyncio.create_task(queue.get())
    asyncio.create_task(asyncio.sleep(100))
    await asyncio.sleep(1)
    assert queue.empty()


async def a_daemon_that_is_deaf():
    vtloop.daemon(asyncio.create_task(deaf(asyncio.Queue())))
    await asyncio.sleep(1)


@pytest.mark.parametrize("seed", [None, 1, 2])
@pytest.mark.parametrize("main", [ends_by_return, takes_its_time, waits_for_work, a_daemon_that_is_deaf])
def test_a_task_that_ends_after_its_cancel_is_no_leak(main, seed):
    outcome = outcome_of(main, seed=seed)
    assert outcome.error is None
    assert outcome.warnings == []


def test_a_cleaning_up_that_waits_for_a_clock_that_stands_is_no_leak():
    async def main():
        async def worker():
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(5)

        asyncio.create_task(worker())
        await vtloop.advance(1)

    outcome = outcome_of(main, autojump=False)
    assert outcome.error is None


# -- the option --------------------------------------------------------------------------------------------------------


def test_a_word_sets_all_kinds():
    outcome = outcome_of(statement, leaks="warn")
    assert outcome.error is None
    assert [(one.kind, one.text.partition(":")[0]) for one in outcome.warnings] == [
        ("coroutine", "1 coroutine was never awaited")
    ]
    assert outcome_of(waits_for_work).warnings == []
    told = outcome_of(waits_for_work, leaks="warn").warnings
    assert [one.text.partition(":")[0] for one in told] == ["2 tasks were left behind"]
    error = outcome_of(waits_for_work, leaks="error").error
    assert str(error).startswith("2 tasks were left behind: ")
    assert outcome_of(leaves_a_deaf_worker, leaks="allow").error is None


def test_with_a_word_a_task_that_survives_is_told_once():
    error = outcome_of(leaves_a_deaf_worker, leaks="error").error
    assert str(error).startswith("1 task survived its cancel: worker ")
    assert "left behind" not in error.report()


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_with_a_word_the_uncertain_count_as_well():
    error = outcome_of(an_exception_before_the_second, leaks="error").error
    assert str(error).startswith("2 coroutines were never awaited: fetch() made at ")


# -- explorations ------------------------------------------------------------------------------------------------------


async def forgets_in_a_rare_order():
    seen = []

    async def note(name):
        await asyncio.sleep(0)
        seen.append(name)

    await asyncio.gather(*(note(name) for name in "abcd"))
    if seen == list("dbca"):
        fetch()


def test_a_leak_in_a_rare_order_is_found_shrunk_and_replayed():
    found = vtloop.explore(forgets_in_a_rare_order, runs=2_000, exact_time=True)
    assert isinstance(found.failure.error, LeakError)
    assert found.failure.shrunk
    assert found.failure.run > 10
    line = line_of(forgets_in_a_rare_order, "        fetch()")
    assert place_of(found.failure.error) == f"{HERE}:{line} in forgets_in_a_rare_order"
    with pytest.raises(LeakError) as again:
        vtloop.replay(found.failure.token, forgets_in_a_rare_order)
    assert str(again.value) == str(found.failure.error)


async def forgets_two_ways():
    answer = fetch()  # noqa: F841
    await asyncio.sleep(1)
    fetch()


@pytest.mark.filterwarnings("ignore:coroutine 'fetch' was never awaited:RuntimeWarning")
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_runs_that_look_less_closely_name_the_same_place():
    options = resolve(RUN_DEFAULTS, seed=1)
    quick = execute(forgets_two_ways, options, record=False, quick=True)
    closely = execute(forgets_two_ways, options)
    assert quick.signature == closely.signature
    assert quick.signature[1].startswith(f"{HERE}:{line_of(forgets_two_ways, '    fetch()')} ")
    assert str(closely.error).startswith("2 coroutines")


def test_an_exploration_is_warned_of_what_its_runs_leave():
    with pytest.warns(vtloop.VtloopWarning, match="1 coroutine was never awaited"):
        found = vtloop.explore(statement, runs=20, leaks="warn")
    assert len(found.warnings) == 1
    assert found.failure is None


@pytest.mark.parametrize("leaks", [None, "warn", "error"])
def test_what_a_task_failed_with_is_gone_when_the_program_has_read_and_collected_it(leaks):
    class Big:
        pass

    async def fails(kept):
        big = Big()
        kept.append(weakref.ref(big))
        raise ValueError

    async def main():
        kept = []
        await asyncio.gather(fails(kept), fails(kept), return_exceptions=True)
        await asyncio.sleep(1)
        gc.collect()
        return [ref() for ref in kept]

    assert vtloop.run(main, leaks=leaks) == [None, None]


@pytest.mark.parametrize("leaks", [None, "warn", "error"])
def test_a_program_that_catches_pythons_warning_gets_it_and_has_no_leak(leaks):
    async def main():
        with pytest.warns(RuntimeWarning, match="coroutine 'fetch' was never awaited"):
            fetch()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            fetch()

    outcome = outcome_of(main, leaks=leaks)
    assert outcome.error is None
    assert not outcome.warnings


# -- the soft word ---------------------------------------------------------------------------------------------------


def test_soft_warns_of_what_is_an_error_by_default_and_says_nothing_of_a_worker():
    async def main():
        queue = asyncio.Queue()
        asyncio.create_task(queue.get(), name="worker")
        forgotten()

    async def forgotten():
        pass

    with pytest.warns(vtloop.VtloopWarning, match="1 coroutine was never awaited") as told:
        vtloop.run(main, leaks="soft")
    assert len(told) == 1
