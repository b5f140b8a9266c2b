"""``asyncio.run`` and ``asyncio.Runner`` on a virtual loop."""

from __future__ import annotations

import asyncio
import signal
import sys
from typing import Any

import pytest

import vtloop


@pytest.mark.skipif(sys.version_info < (3, 12), reason="asyncio.run has no loop_factory before 3.12")
def test_asyncio_run_takes_the_class_as_factory() -> None:
    async def main() -> tuple[type, float]:
        await asyncio.sleep(3600)
        loop = asyncio.get_running_loop()
        return type(loop), loop.time()

    assert asyncio.run(main(), loop_factory=vtloop.EventLoop) == (vtloop.EventLoop, 3600.0)


def test_runner_keeps_one_loop_and_one_clock_and_closes_it() -> None:
    async def sleep() -> float:
        await asyncio.sleep(2)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=vtloop.loop_factory(seed=7)) as runner:
        assert [runner.run(sleep()), runner.run(sleep())] == [2.0, 4.0]
        loop = runner.get_loop()
    assert loop.is_closed()


def test_runner_turns_ctrl_c_into_keyboard_interrupt() -> None:
    log: list[str] = []

    async def main() -> None:
        try:
            signal.raise_signal(signal.SIGINT)
            await asyncio.sleep(1)
        except asyncio.CancelledError:
            log.append("cancelled")
            raise

    with asyncio.Runner(loop_factory=vtloop.EventLoop) as runner, pytest.raises(KeyboardInterrupt):
        runner.run(main())
    assert log == ["cancelled"]


def test_runner_cancels_what_is_left_and_closes_generators() -> None:
    log: list[str] = []

    async def left() -> None:
        try:
            await asyncio.sleep(100)
        finally:
            log.append("task ended")

    async def generator() -> Any:
        try:
            yield 1
        finally:
            log.append("generator closed")

    async def main() -> None:
        main.task = asyncio.create_task(left())  # type: ignore[attr-defined]
        main.generator = generator()  # type: ignore[attr-defined]
        await anext(main.generator)  # type: ignore[attr-defined]

    with asyncio.Runner(loop_factory=vtloop.EventLoop) as runner:
        runner.run(main())
    assert log == ["task ended", "generator closed"]
