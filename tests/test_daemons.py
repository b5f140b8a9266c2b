"""Daemons, and when a run is idle: background work keeps nobody waiting, endless foreground work is named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

import vtloop

Log = list[Any]


@pytest.fixture(params=[None, 1], ids=["fifo", "random"])
def loop(request: pytest.FixtureRequest) -> Iterator[vtloop.EventLoop]:
    with vtloop.EventLoop(seed=request.param) as loop:
        yield loop
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_ready()


async def ticking(log: Log, every: float) -> None:
    loop = asyncio.get_running_loop()
    while True:
        await asyncio.sleep(every)
        log.append(loop.time())


def test_daemons_do_not_keep_run_until_idle_waiting(loop: vtloop.EventLoop) -> None:
    log: Log = []
    vtloop.daemon(loop.create_task(ticking(log, 1)))
    work = loop.create_task(asyncio.sleep(2.5))
    loop.run_until_idle()
    assert (work.done(), loop.time(), log) == (True, 2.5, [1.0, 2.0])


def test_daemons_do_not_hold_back_the_deadlock_verdict(loop: vtloop.EventLoop) -> None:
    async def main() -> None:
        vtloop.daemon(asyncio.create_task(ticking([], 1), name="heartbeat"))
        await asyncio.sleep(3)
        await asyncio.Event().wait()

    with pytest.raises(vtloop.DeadlockError) as raised:
        loop.run_until_complete(main())
    assert loop.time() == 3.0
    assert "heartbeat" not in str(raised.value)


def test_tasks_made_by_a_daemon_are_daemons(loop: vtloop.EventLoop) -> None:
    async def supervisor() -> None:
        await asyncio.sleep(0)
        asyncio.create_task(ticking([], 1))
        await asyncio.Event().wait()

    vtloop.daemon(loop.create_task(supervisor()))
    loop.run_until_idle()
    assert loop.time() == 0.0


@pytest.mark.parametrize("glob", ["heart*", "*ticking", "*"])
def test_daemons_may_be_named_by_globs_over_names_and_coroutines(glob: str) -> None:
    async def main() -> float:
        asyncio.create_task(ticking([], 1), name="heartbeat")
        await vtloop.run_until_idle()
        return asyncio.get_running_loop().time()

    assert vtloop.run(main, daemons=glob) < 1
    assert vtloop.run(main, daemons=["nothing", glob]) < 1


def test_glob_that_names_everything_leaves_main_alone() -> None:
    async def main() -> float:
        asyncio.create_task(ticking([], 1))
        await asyncio.sleep(2.5)
        return asyncio.get_running_loop().time()

    assert vtloop.run(main, daemons="*") == 2.5


def test_task_may_become_a_daemon_while_it_sleeps(loop: vtloop.EventLoop) -> None:
    task = loop.create_task(ticking([], 1000))
    loop.run_ready()
    vtloop.daemon(task)
    loop.run_until_idle()
    assert loop.time() == 0.0


def test_daemons_are_cancelled_at_the_end_of_a_run() -> None:
    log: Log = []

    async def heartbeat() -> None:
        try:
            await ticking([], 1)
        finally:
            log.append("ended")

    async def main() -> None:
        vtloop.daemon(asyncio.create_task(heartbeat()))
        await asyncio.sleep(3)

    vtloop.run(main)
    assert log == ["ended"]


def test_daemon_gives_the_task_back_and_refuses_others(loop: vtloop.EventLoop) -> None:
    task = loop.create_task(asyncio.sleep(0))
    assert vtloop.daemon(task) is task
    with pytest.raises(vtloop.UsageError, match=r"daemon\(task\) needs an asyncio.Task, got 3"):
        vtloop.daemon(3)  # type: ignore[arg-type]


def test_daemon_does_nothing_on_another_loop() -> None:
    async def main() -> int:
        task = asyncio.create_task(asyncio.sleep(0, 5))
        return await vtloop.daemon(task)

    with asyncio.Runner() as runner:
        assert runner.run(main()) == 5


@pytest.mark.slow
@pytest.mark.parametrize("inside", [True, False])
def test_tasks_that_set_timers_for_ever_are_named(loop: vtloop.EventLoop, inside: bool) -> None:
    async def main() -> None:
        await vtloop.run_until_idle()

    for name in ("ticker", "tocker"):
        loop.create_task(ticking([], 1), name=name)
    loop.create_task(asyncio.Event().wait(), name="waiter")
    with pytest.raises(vtloop.HangError) as raised:
        if inside:
            loop.run_until_complete(main())
        else:
            loop.run_until_idle()
    assert str(raised.value) == (
        "never idle at t=100000 s: after 100,000 jumps of the clock ticker and tocker still set new timers"
    )
    assert raised.value.data["tasks_with_timers"] == ["ticker", "tocker"]
