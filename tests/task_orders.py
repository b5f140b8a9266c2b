"""The order in which a scheduler runs a few tasks: what tests of schedulers look at."""

from __future__ import annotations

import asyncio
from typing import Any

import vtloop

__all__ = ["orders"]


def orders(scheduler: Any, tasks: int = 3, **options: Any) -> tuple[int, ...]:
    """The order in which tasks that stand ready together run."""
    log: list[int] = []

    async def main() -> None:
        async def one(number: int) -> None:
            log.append(number)

        await asyncio.gather(*(one(number) for number in range(tasks)))

    vtloop.run(main, scheduler=scheduler, interleave="tasks", **options)
    return tuple(log)
