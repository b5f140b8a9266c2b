"""What a shape is: a small program with one planted defect and a repaired twin; and what such programs wait for.

Used by the files in ``shapes/``.  Programs know nothing of vtloop: they are plain asyncio, as people write it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from functools import partial
from typing import Any

__all__ = ["Program", "Shape", "replies", "shape", "yields"]

Program = Callable[[bool], Coroutine[Any, Any, None]]
"""The program; called with True it is the repaired twin."""


@dataclass(frozen=True, slots=True)
class Shape:
    """One program.

    Attributes:
        name: What it is called in the table.
        title: The defect, in one sentence.
        program: The program, as a function of whether it is repaired.
        level: The weakest level at which the defect can show.
        needs: What it takes besides another order: "lag", "stretch", "cancel", or nothing.
        options: Options of ``explore``.
    """

    name: str
    title: str
    program: Program
    level: str
    needs: str = ""
    options: dict[str, Any] = field(default_factory=dict)

    def main(self, repaired: bool = False) -> Callable[[], Coroutine[Any, Any, None]]:
        """The program as a function without arguments."""
        return partial(self.program, repaired)


def shape(name: str, level: str, needs: str = "", **options: Any) -> Callable[[Program], Shape]:
    """Make a `Shape` of a program; its title is the first line of the docstring."""

    def made(program: Program) -> Shape:
        assert program.__doc__ is not None
        return Shape(name, program.__doc__.split("\n", 1)[0], program, level, needs, options)

    return made


async def replies(count: int = 1) -> None:
    """Wait for ``count`` answers, one after the other, which a peer gives at once.

    Each is a future that a plain callback sets, as a protocol does when its bytes come in.
    """
    loop = asyncio.get_running_loop()
    for _ in range(count):
        answer = loop.create_future()
        loop.call_soon(_set, answer)
        await answer


def _set(answer: asyncio.Future[None]) -> None:
    if not answer.done():
        answer.set_result(None)


async def yields(count: int = 1) -> None:
    """Let the others go ahead ``count`` times, as a long computation does."""
    for _ in range(count):
        await asyncio.sleep(0)
