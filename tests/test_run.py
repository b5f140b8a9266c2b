"""``vtloop.run``: what comes out of a run, whatever goes wrong in it, and how it is unwound afterwards."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import threading
import time

import pytest

import vtloop

where = contextvars.ContextVar("where", default="outside")


class Broken(Exception):
    """What programs raise on purpose."""


@pytest.fixture(autouse=True)
def nothing_is_logged(caplog):
    """No run of these tests may leave a line in asyncio's log, not even when the garbage is collected."""
    yield
    gc.collect()
    assert [record.getMessage() for record in caplog.get_records("call")] == []


def notes(error):
    return "\n".join(getattr(error, "__notes__", ()))


async def fail(text="task"):
    raise Broken(text)


async def for_ever():
    await asyncio.Event().wait()


def fail_now(text="callback"):
    raise Broken(text)


# -- values ----------------------------------------------------------------------------------------------------------


async def slow_value():
    await asyncio.sleep(3600)
    return 42


@pytest.mark.parametrize("options", [{}, {"seed": 1}, {"scheduler": "random"}, {"scheduler": "pct:depth=3", "seed": 2}])
def test_a_run_returns_what_main_returns_at_once(options):
    began = time.perf_counter()
    assert vtloop.run(slow_value, **options) == 42
    assert time.perf_counter() - began < 1


def test_a_run_takes_a_coroutine_as_asyncio_run_does():
    assert vtloop.run(slow_value()) == 42


def test_a_run_takes_any_callable_that_gives_a_coroutine():
    assert vtloop.run(lambda: asyncio.sleep(5, "slept")) == "slept"


@pytest.mark.parametrize("main", [5, None, "main", lambda: 5, lambda: None])
def test_what_is_no_program_is_refused(main):
    with pytest.raises(vtloop.UsageError, match="coroutine"):
        vtloop.run(main)


def test_a_run_inside_a_running_loop_is_refused_and_leaves_nothing_unawaited():
    async def outer():
        with pytest.raises(vtloop.UsageError, match="while an event loop is running"):
            vtloop.run(slow_value)

    vtloop.run(outer)


def test_runs_follow_each_other_and_each_begins_at_zero():
    async def main():
        await asyncio.sleep(7)
        return asyncio.get_running_loop().time()

    assert [vtloop.run(main) for _ in range(3)] == [7.0, 7.0, 7.0]
    assert vtloop.run(main, start=1e9) == 1e9 + 7


def test_main_sees_the_context_of_its_caller_and_changes_a_copy():
    async def main():
        before = where.get()
        where.set("inside")
        return before

    context = contextvars.copy_context()
    context.run(where.set, "caller")
    assert context.run(vtloop.run, main) == "caller"
    assert context[where] == "caller"


# -- exceptions ------------------------------------------------------------------------------------------------------


def test_a_run_raises_what_main_raises_with_mains_own_traceback():
    async def main():
        await fail("main")

    with pytest.raises(Broken, match="main") as caught:
        vtloop.run(main)
    assert [entry.name for entry in caught.traceback][-2:] == ["main", "fail"]
    assert notes(caught.value) == ""


def test_a_seeded_run_says_how_to_play_the_failure_back():
    with pytest.raises(Broken) as caught:
        vtloop.run(fail, seed=3)
    token = vtloop.failure_of(caught.value).token
    assert f"vtloop.replay('{token}', main)" in notes(caught.value)


@pytest.mark.parametrize("error", [SystemExit, KeyboardInterrupt])
def test_exit_and_interrupt_pass_through_from_main_tasks_and_callbacks(error):
    def stop():
        raise error("bye")

    async def in_main():
        stop()

    async def in_task():
        task = asyncio.create_task(in_main())
        await asyncio.sleep(9)
        await task

    async def in_callback():
        asyncio.get_running_loop().call_soon(stop)
        await asyncio.sleep(9)

    for main in (in_main, in_task, in_callback):
        for seed in (None, 1):
            with pytest.raises(error, match="bye"):
                vtloop.run(main, seed=seed)


def test_a_cancelled_main_raises_cancelled_error():
    async def main():
        asyncio.current_task().cancel("enough")
        await asyncio.sleep(1)

    with pytest.raises(asyncio.CancelledError, match="enough"):
        vtloop.run(main)


# -- failures in the background --------------------------------------------------------------------------------------


@pytest.mark.parametrize("held", [True, False])
@pytest.mark.parametrize("seed", [None, 1])
def test_a_task_whose_exception_nobody_read_fails_the_run_as_itself(held, seed):
    async def main():
        task = asyncio.create_task(fail(), name="worker")
        if not held:
            del task
        await asyncio.sleep(1)

    with pytest.raises(Broken, match="task") as caught:
        vtloop.run(main, seed=seed)
    assert "raised in worker, whose result nobody read" in notes(caught.value)


def test_a_task_whose_exception_was_read_fails_nothing():
    async def main():
        task = asyncio.create_task(fail())
        await asyncio.wait([task])
        results = await asyncio.gather(asyncio.create_task(fail()), return_exceptions=True)
        return (str(task.exception()), str(results[0]))

    assert vtloop.run(main) == ("task", "task")


def test_a_callback_that_fails_fails_the_run_as_itself():
    async def main():
        asyncio.get_running_loop().call_later(1, fail_now)
        await asyncio.sleep(2)

    with pytest.raises(Broken, match="callback"):
        vtloop.run(main)


@pytest.mark.parametrize("seed", [None, 3])
def test_a_gather_that_nobody_awaits_and_that_is_cancelled_is_no_failure(seed):
    async def main():
        child = asyncio.create_task(asyncio.sleep(5))
        asyncio.gather(child, asyncio.sleep(5))
        asyncio.gather(asyncio.sleep(60), asyncio.sleep(60))
        await asyncio.sleep(1)
        child.cancel()
        await asyncio.sleep(1)
        return "done"

    assert vtloop.run(main, seed=seed) == "done"


def test_an_unread_future_and_an_unread_executor_call_fail_the_run():
    async def future():
        asyncio.get_running_loop().create_future().set_exception(Broken("future"))
        await asyncio.sleep(1)

    async def executor():
        asyncio.get_running_loop().run_in_executor(None, fail_now, "executor")
        await asyncio.sleep(1)

    for main in (future, executor):
        with pytest.raises(Broken, match=main.__name__):
            vtloop.run(main)


def test_a_thread_that_fails_fails_the_run_as_itself():
    outer = threading.excepthook

    async def main():
        thread = threading.Thread(target=fail_now, args=("thread",), name="helper")
        thread.start()
        thread.join()

    with pytest.raises(Broken, match="thread") as caught:
        vtloop.run(main)
    assert "raised in thread helper" in notes(caught.value)
    assert threading.excepthook is outer


def test_runs_in_several_threads_leave_the_hook_for_failing_threads_as_it_was():
    outer = threading.excepthook
    values = []
    both = threading.Barrier(2)

    async def main():
        both.wait(10)  # the first to begin is the first to end: they do not nest
        return "done"

    threads = [threading.Thread(target=lambda: values.append(vtloop.run(main))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert values == ["done", "done"]
    assert threading.excepthook is outer


def test_an_error_that_cannot_say_what_it_is_comes_out_all_the_same():
    class Mute(Exception):
        def __str__(self):
            raise RuntimeError

    async def in_background():
        asyncio.get_running_loop().call_soon(mute)
        await asyncio.sleep(0)
        raise Broken("main")

    async def in_main():
        mute()

    def mute():
        raise Mute

    with pytest.raises(Broken) as caught:
        vtloop.run(in_background)
    assert "Mute: (its str() raised RuntimeError)" in notes(caught.value)
    for search in (lambda: vtloop.run(in_main, seed=1), lambda: vtloop.explore(in_main).check()):
        with pytest.raises(Mute):
            search()


def test_several_background_failures_come_as_a_group_in_order():
    async def main():
        loop = asyncio.get_running_loop()
        loop.call_soon(fail_now, "first")
        loop.call_later(2, fail_now, "third")
        await asyncio.sleep(1)
        loop.call_soon(fail_now, "second")
        await asyncio.sleep(2)

    with pytest.raises(ExceptionGroup) as caught:
        vtloop.run(main)
    assert [str(error) for error in caught.value.exceptions] == ["first", "second", "third"]


def test_a_base_exception_among_them_makes_a_base_exception_group():
    class Stop(BaseException):
        pass

    def stop():
        raise Stop

    async def main():
        asyncio.get_running_loop().call_soon(fail_now)
        asyncio.get_running_loop().call_soon(stop)
        await asyncio.sleep(1)

    with pytest.raises(BaseExceptionGroup) as caught:
        vtloop.run(main)
    assert [type(error) for error in caught.value.exceptions] == [Broken, Stop]


def test_main_failing_as_well_is_what_is_raised_and_the_rest_is_noted():
    async def main():
        asyncio.get_running_loop().call_soon(fail_now)
        task = asyncio.create_task(fail())
        await asyncio.sleep(1)
        raise KeyError(task.get_name())

    with pytest.raises(KeyError) as caught:
        vtloop.run(main)
    assert "also failed in the background: Broken: callback (test_run.py:" in notes(caught.value)
    assert "also failed in the background: Broken: task (test_run.py:" in notes(caught.value)


def test_what_a_custom_exception_handler_took_fails_nothing():
    async def main():
        seen = []
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda loop, context: seen.append(str(context["exception"])))
        loop.call_soon(fail_now)
        await asyncio.sleep(0)
        asyncio.create_task(fail())
        await asyncio.sleep(1)
        return seen

    assert vtloop.run(main)[0] == "callback"
