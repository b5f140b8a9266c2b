"""Supervision: children restarted, cancelled when stuck, failing in groups; groups in groups; exceptions in groups."""

from __future__ import annotations

import asyncio
from typing import Any

from .corpus import healthy


async def never() -> None:
    await asyncio.Event().wait()


@healthy()
async def supervisor_restarts_a_child_that_fails() -> None:
    attempts = 0

    async def child() -> str:
        nonlocal attempts
        attempts += 1
        await asyncio.sleep(0.001)
        if attempts < 4:
            raise ConnectionError(attempts)
        return "up"

    async def supervisor() -> str:
        while True:
            task = asyncio.create_task(child())
            try:
                return await task
            except ConnectionError:
                await asyncio.sleep(0.001)

    assert await asyncio.create_task(supervisor()) == "up"
    assert attempts == 4


@healthy()
async def supervisor_cancels_a_child_that_is_stuck() -> None:
    restarts = 0

    async def child() -> int:
        if restarts < 2:
            await never()  # nobody but the supervisor will end this
        return restarts

    while True:
        task = asyncio.create_task(child())
        done, _ = await asyncio.wait([task], timeout=0.01)
        if done:
            break
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            break
        restarts += 1
    # A child may be late (`wait` gives up first) though it is not stuck.
    assert task.result() == restarts
    assert restarts >= 2


@healthy()
async def watchdog_cancels_the_worker_that_stopped_beating() -> None:
    loop = asyncio.get_running_loop()
    last = loop.time()

    async def worker() -> None:
        nonlocal last
        for _ in range(3):
            await asyncio.sleep(0.002)
            last = loop.time()
        await never()

    task = asyncio.create_task(worker())

    async def watchdog() -> None:
        while not task.done():
            await asyncio.sleep(0.002)
            if loop.time() - last > 0.02:
                task.cancel()

    await asyncio.gather(task, watchdog(), return_exceptions=True)
    assert task.cancelled()


@healthy()
async def group_whose_child_fails_ends_its_siblings() -> None:
    ended: list[str] = []

    async def sibling(name: str) -> None:
        try:
            await never()
        finally:
            ended.append(name)

    async def failing() -> None:
        await asyncio.sleep(0.001)
        raise ValueError("boom")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(sibling("a"))
            group.create_task(sibling("b"))
            group.create_task(failing())
    except* ValueError as failures:
        assert [str(failure) for failure in failures.exceptions] == ["boom"]
    assert set(ended) <= {"a", "b"}


@healthy()
async def nested_groups_with_the_inner_failure_handled() -> None:
    log: list[str] = []

    async def failing() -> None:
        raise LookupError("inner")

    async def outer_child() -> None:
        try:
            async with asyncio.TaskGroup() as inner:
                inner.create_task(never())
                inner.create_task(failing())
        except* LookupError:
            log.append("handled")

    async def other() -> None:
        await asyncio.sleep(0.002)
        log.append("other")

    async with asyncio.TaskGroup() as outer:
        outer.create_task(outer_child())
        outer.create_task(other())
    assert sorted(log) == ["handled", "other"]


@healthy()
async def exception_group_split_by_kind() -> None:
    async def fail(error: Exception) -> None:
        try:
            await never()
        finally:
            raise error

    caught: dict[str, int] = {}
    started = asyncio.Barrier(4)

    async def begin(error: Exception) -> None:
        await started.wait()
        await fail(error)

    async def trigger() -> None:
        await started.wait()
        raise RuntimeError("first")

    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(begin(ValueError()))
            group.create_task(begin(ValueError()))
            group.create_task(begin(OSError()))
            group.create_task(trigger())
    except* ValueError as failures:
        caught["value"] = len(failures.exceptions)
    except* OSError as failures:
        caught["os"] = len(failures.exceptions)
    except* RuntimeError as failures:
        caught["runtime"] = len(failures.exceptions)
    # Who had not come past the barrier yet, or not into its `try`, is cancelled silently.
    assert caught["runtime"] == 1
    assert set(caught) <= {"value", "os", "runtime"}


@healthy()
async def gather_gives_exceptions_back() -> None:
    async def fail(number: int) -> int:
        await asyncio.sleep(0)
        if number % 2:
            raise ValueError(number)
        return number

    results = await asyncio.gather(*(fail(n) for n in range(4)), return_exceptions=True)
    assert [type(result).__name__ for result in results] == ["int", "ValueError", "int", "ValueError"]


@healthy()
async def gather_fails_and_the_others_finish_their_work() -> None:
    finished: list[int] = []

    async def work(number: int) -> None:
        await asyncio.sleep(0.001 * number)
        finished.append(number)

    async def fail() -> None:
        raise ValueError("first")

    tasks = [asyncio.create_task(work(n)) for n in range(3)]
    try:
        await asyncio.gather(fail(), *tasks)
    except ValueError:
        pass
    await asyncio.wait(tasks)  # gather leaves them running
    assert sorted(finished) == [0, 1, 2]


@healthy()
async def cancelled_child_cleans_up_with_awaits() -> None:
    log: list[str] = []
    begun = asyncio.Event()

    async def child() -> None:
        begun.set()
        try:
            await never()
        except asyncio.CancelledError:
            log.append("cancelled")
            await asyncio.sleep(0.001)
            log.append("flushed")
            raise
        finally:
            await asyncio.sleep(0)
            log.append("closed")

    task = asyncio.create_task(child())
    await begun.wait()
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert log == ["cancelled", "flushed", "closed"]


@healthy()
async def cancellation_taken_back() -> None:
    begun = asyncio.Event()

    async def stubborn() -> str:
        begun.set()
        try:
            await never()
        except asyncio.CancelledError:
            task = asyncio.current_task()
            assert task is not None
            assert task.uncancel() == 0
        await asyncio.sleep(0.001)
        return "went on"

    task = asyncio.create_task(stubborn())
    await begun.wait()
    task.cancel()
    assert await task == "went on"


@healthy()
async def one_for_all_restarts_the_whole_group() -> None:
    rounds = 0
    starts: list[tuple[int, str]] = []

    async def member(name: str, fails: bool) -> None:
        starts.append((rounds, name))
        await asyncio.sleep(0.001)
        if fails:
            raise OSError(name)
        if rounds < 3:
            await never()

    while True:
        rounds += 1
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(member("a", fails=rounds < 3))
                group.create_task(member("b", fails=False))
        except* OSError:
            failed = True
        else:
            failed = False
        if not failed:
            break
    assert rounds == 3
    assert (3, "a") in starts


@healthy()
async def background_tasks_kept_in_a_set() -> None:
    background: set[asyncio.Task[Any]] = set()
    done: list[int] = []

    async def job(number: int) -> None:
        await asyncio.sleep(0.001)
        done.append(number)

    for number in range(5):
        task = asyncio.create_task(job(number))
        background.add(task)
        task.add_done_callback(background.discard)
    while background:
        await asyncio.wait(set(background))
    assert sorted(done) == list(range(5))


@healthy()
async def failure_logged_by_a_done_callback() -> None:
    logged: list[str] = []
    seen = asyncio.Event()

    def log(task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            logged.append(str(error))
            seen.set()

    async def fail() -> None:
        raise RuntimeError("logged, not raised")

    asyncio.create_task(fail()).add_done_callback(log)
    await seen.wait()
    assert logged == ["logged, not raised"]


@healthy()
async def children_cancelled_in_a_loop_and_gathered() -> None:
    async def child() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            await asyncio.sleep(0)

    children = [asyncio.create_task(child()) for _ in range(4)]
    await asyncio.sleep(0.001)
    for one in children:
        one.cancel()
    results = await asyncio.gather(*children, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)
