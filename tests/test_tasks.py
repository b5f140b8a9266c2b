"""Tasks: names, numbers, keyword arguments, factories, and the order of every set of them."""

from __future__ import annotations

import asyncio
import contextvars
import gc
import sys
import weakref
from collections.abc import Iterator
from typing import Any

import pytest

import vtloop
from vtloop.tasks import Task

VAR: contextvars.ContextVar[str] = contextvars.ContextVar("VAR", default="outside")

needs_eager = pytest.mark.skipif(sys.version_info < (3, 12), reason="eager tasks begin with 3.12")


@pytest.fixture(params=[None, 1], ids=["fifo", "random"])
def loop(request: pytest.FixtureRequest) -> Iterator[vtloop.EventLoop]:
    with vtloop.EventLoop(seed=request.param) as loop:
        yield loop


async def nothing() -> None:
    pass


# -- names and numbers ----------------------------------------------------------------------------------------------


def test_tasks_are_named_by_a_count_of_their_loop() -> None:
    async def main() -> list[str]:
        return [asyncio.create_task(nothing()).get_name() for _ in range(2)]

    for _ in range(2):
        with vtloop.EventLoop() as loop:
            assert loop.run_until_complete(main()) == ["Task-2", "Task-3"]


def test_name_given_is_kept_and_still_counted(loop: vtloop.EventLoop) -> None:
    tasks = [loop.create_task(nothing(), name=name) for name in ("worker", None, "Task-1")]
    assert [task.get_name() for task in tasks] == ["worker", "Task-2", "Task-1"]
    loop.run_ready()


def test_name_may_be_any_object_as_in_asyncio(loop: vtloop.EventLoop) -> None:
    assert loop.create_task(nothing(), name=12).get_name() == "12"
    loop.run_ready()


def test_tasks_hash_by_creation_number_and_equal_only_themselves(loop: vtloop.EventLoop) -> None:
    first, second = loop.create_task(nothing()), loop.create_task(nothing())
    with vtloop.EventLoop() as other:
        twin = other.create_task(nothing())
        assert [hash(task) for task in (first, second, twin)] == [1, 2, 1]
        assert first != twin
        assert len({first, twin}) == 2
        other.run_ready()
    loop.run_ready()


def test_task_is_an_asyncio_task_and_knows_where_it_was_made(loop: vtloop.EventLoop) -> None:
    task = loop.create_task(nothing())
    assert isinstance(task, asyncio.Task)
    assert task._origin[0][0] is sys._getframe().f_code
    loop.run_ready()


def test_pending_task_that_nobody_holds_is_not_lost(loop: vtloop.EventLoop) -> None:
    log: list[str] = []

    async def forgotten() -> None:
        await asyncio.sleep(5)
        log.append("done")

    async def main() -> None:
        asyncio.get_running_loop().create_task(forgotten())
        await asyncio.sleep(1)
        gc.collect()
        await asyncio.sleep(10)

    loop.run_until_complete(main())
    assert log == ["done"]


def test_done_tasks_are_let_go_now_and_then(loop: vtloop.EventLoop) -> None:
    done: list[weakref.ref[asyncio.Task[None]]] = []

    async def main() -> None:
        for _ in range(1000):
            task = asyncio.create_task(nothing())
            done.append(weakref.ref(task))
            await task

    loop.run_until_complete(main())
    assert sum(ref() is not None for ref in done) < 200


# -- sets of tasks --------------------------------------------------------------------------------------------------


def test_sets_of_tasks_iterate_in_order_of_creation(loop: vtloop.EventLoop) -> None:
    async def main() -> None:
        tasks = [asyncio.create_task(asyncio.sleep(1), name=f"t{n}") for n in range(50)]
        done, _ = await asyncio.wait(tasks)
        assert [task.get_name() for task in done] == [f"t{n}" for n in range(50)]

    loop.run_until_complete(main())


def test_all_tasks_iterates_in_order_of_creation(loop: vtloop.EventLoop) -> None:
    async def main() -> None:
        made = [asyncio.create_task(asyncio.sleep(1)) for _ in range(50)]
        me = asyncio.current_task()
        assert list(asyncio.all_tasks()) == [me, *made]
        await asyncio.wait(made)
        assert asyncio.all_tasks() == {me}

    loop.run_until_complete(main())


def test_as_completed_starts_coroutines_in_the_order_given() -> None:
    log: list[int] = []

    async def one(number: int) -> int:
        log.append(number)
        return number

    async def main() -> list[int]:
        return [await next_one for next_one in asyncio.as_completed([one(n) for n in range(30)])]

    with vtloop.EventLoop() as loop:
        assert loop.run_until_complete(main()) == log == list(range(30))


def test_task_group_cancels_its_tasks_in_order_of_creation() -> None:
    log: list[int] = []

    async def one(number: int) -> None:
        try:
            await asyncio.sleep(100)
        finally:
            log.append(number)

    async def main() -> None:
        async with asyncio.TaskGroup() as group:
            for number in range(30):
                group.create_task(one(number))
            await asyncio.sleep(1)
            raise LookupError

    with vtloop.EventLoop() as loop, pytest.raises(ExceptionGroup):
        loop.run_until_complete(main())
    assert log == list(range(30))


# -- keyword arguments ----------------------------------------------------------------------------------------------


def test_task_runs_in_the_context_given(loop: vtloop.EventLoop) -> None:
    given = contextvars.copy_context()
    given.run(VAR.set, "given")

    async def look() -> str:
        before = VAR.get()
        VAR.set("changed")
        return before

    assert loop.run_until_complete(loop.create_task(look(), context=given)) == "given"
    assert (given[VAR], VAR.get()) == ("changed", "outside")


@needs_eager
def test_eager_start_runs_the_first_step_at_once(loop: vtloop.EventLoop) -> None:
    log: list[Any] = []

    async def eager() -> str:
        log.append("began")
        await asyncio.sleep(1)
        return "done"

    async def main() -> str:
        task = loop.create_task(eager(), eager_start=True, name="eager")
        log.append((type(task), hash(task), task.get_name()))
        result: str = await task
        return result

    assert loop.run_until_complete(main()) == "done"
    assert log == ["began", (Task, 2, "eager")]


def test_unknown_keyword_is_refused(loop: vtloop.EventLoop) -> None:
    coro = nothing()
    with pytest.raises(TypeError, match="colour"):
        loop.create_task(coro, colour="red")
    coro.close()


def test_what_is_no_coroutine_is_refused(loop: vtloop.EventLoop) -> None:
    with pytest.raises(TypeError, match="a coroutine was expected, got 3"):
        loop.create_task(3)
    assert loop.run_until_complete(nothing()) is None  # type: ignore[func-returns-value]


# -- factories ------------------------------------------------------------------------------------------------------


def test_factory_must_be_callable_or_none(loop: vtloop.EventLoop) -> None:
    with pytest.raises(TypeError, match="^task factory must be a callable or None$"):
        loop.set_task_factory(1)  # type: ignore[arg-type]


def test_factory_makes_the_tasks_until_it_is_taken_back(loop: vtloop.EventLoop) -> None:
    class OwnTask(asyncio.Task[Any]):
        pass

    def factory(loop: Any, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        return OwnTask(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)
    assert loop.get_task_factory() is factory
    own = loop.create_task(nothing(), name="own")
    loop.set_task_factory(None)
    assert loop.get_task_factory() is None
    plain = loop.create_task(nothing())
    assert (type(own), own.get_name(), type(plain)) == (OwnTask, "own", Task)
    loop.run_ready()


def test_factory_gets_only_the_keywords_that_were_given(loop: vtloop.EventLoop) -> None:
    seen: list[Any] = []

    def factory(loop: Any, coro: Any, **kwargs: Any) -> asyncio.Task[Any]:
        seen.append(sorted(kwargs))
        return asyncio.Task(coro, loop=loop, **kwargs)

    loop.set_task_factory(factory)
    loop.create_task(nothing())
    loop.create_task(nothing(), context=None)
    loop.create_task(nothing(), context=contextvars.copy_context())
    loop.create_task(nothing(), name="named")
    loop.run_ready()
    named = ["name"] if sys.version_info >= (3, 13, 3) else []
    assert seen == [[], [], ["context"], named]


def test_factory_may_take_no_keywords_at_all(loop: vtloop.EventLoop) -> None:
    loop.set_task_factory(lambda loop, coro: asyncio.Task(coro, loop=loop))
    assert loop.run_until_complete(nothing()) is None  # type: ignore[func-returns-value]


def test_task_of_a_foreign_factory_is_held_until_it_is_done(loop: vtloop.EventLoop) -> None:
    loop.set_task_factory(lambda loop, coro, **kwargs: asyncio.Task(coro, loop=loop, **kwargs))
    test_pending_task_that_nobody_holds_is_not_lost(loop)


def test_pure_python_tasks_work(loop: vtloop.EventLoop) -> None:
    python_task = vars(asyncio.tasks)["_PyTask"]
    loop.set_task_factory(lambda loop, coro, **kwargs: python_task(coro, loop=loop, **kwargs))

    async def main() -> list[int]:
        async def one(number: int) -> int:
            await asyncio.sleep(number)
            return number

        return await asyncio.gather(*(one(n) for n in range(4)))

    assert loop.run_until_complete(main()) == [0, 1, 2, 3]
    assert loop.time() == 3.0


@needs_eager
def test_eager_factory_makes_tasks_that_still_hash_by_number(loop: vtloop.EventLoop) -> None:
    factory: Any = getattr(asyncio, "eager_task_factory", None)
    log: list[Any] = []

    async def eager(name: str) -> None:
        log.append(f"{name} began")
        await asyncio.sleep(1)

    async def main() -> None:
        loop.set_task_factory(factory)
        tasks = [asyncio.create_task(eager(name), name=name) for name in "ab"]
        log.append([(type(task), hash(task), task.get_name()) for task in tasks])
        done, _ = await asyncio.wait(tasks)
        log.append([task.get_name() for task in done])

    loop.run_until_complete(main())
    assert loop.get_task_factory() is factory
    assert log == ["a began", "b began", [(Task, 2, "a"), (Task, 3, "b")], ["a", "b"]]


@needs_eager
def test_eager_task_that_ends_at_once_is_done_when_it_is_given_back(loop: vtloop.EventLoop) -> None:
    loop.set_task_factory(getattr(asyncio, "eager_task_factory", None))

    async def main() -> bool:
        return asyncio.create_task(nothing()).done()

    assert loop.run_until_complete(main()) is True


@needs_eager
def test_eager_factory_of_another_class_is_called_as_any_factory(loop: vtloop.EventLoop) -> None:
    class OwnTask(asyncio.Task[Any]):
        pass

    make: Any = getattr(asyncio, "create_eager_task_factory", None)

    async def main() -> type:
        loop.set_task_factory(make(OwnTask))
        task = asyncio.create_task(asyncio.sleep(0), name="own")
        assert task.get_name() == "own"
        await task
        return type(task)

    assert loop.run_until_complete(main()) is OwnTask


# -- cancelling -----------------------------------------------------------------------------------------------------


def test_cancelled_sleep_leaves_no_timer(loop: vtloop.EventLoop) -> None:
    async def main() -> None:
        sleeping = asyncio.create_task(asyncio.sleep(1000))
        await asyncio.sleep(1)
        sleeping.cancel("enough")
        with pytest.raises(asyncio.CancelledError):
            await sleeping

    loop.run_until_complete(main())
    loop.run_until_idle()
    assert loop.time() == 1.0


def test_cancelled_main_raises_cancelled_error(loop: vtloop.EventLoop) -> None:
    sleeping = loop.create_task(asyncio.sleep(1000))
    loop.call_later(3, sleeping.cancel)
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(sleeping)
    assert loop.time() == 3.0


def test_timeout_wins_exactly_at_its_deadline(loop: vtloop.EventLoop) -> None:
    async def main() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(2.5):
                await asyncio.sleep(100)
        return loop.time()

    assert loop.run_until_complete(main()) == 2.5
