"""A scheduler of the user's own: an object with ``pick(window) -> index``.

Wraps it for the loop: shows read-only items instead of the loop's own tuples, and refuses an answer outside the window.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from vtloop.errors import UsageError
from vtloop.schedulers.base import Scheduler

if TYPE_CHECKING:
    from vtloop.ready import ReadyLine

__all__ = ["CustomScheduler", "WindowItem"]


@dataclass(frozen=True, slots=True)
class WindowItem:
    """One option of a choice, as a user's scheduler sees it.

    Attributes:
        kind: "task" (a step of a task), "callback", "turn" (the end of the turn), or the kind of another choice.
        task: The name of the task, or None.
        label: What would run, in words.
        age: How often it was passed over so far.
    """

    kind: str
    task: str | None
    label: str
    age: int


class CustomScheduler(Scheduler):
    """Asks the user's object."""

    def __init__(self, chooser: Any, level: str) -> None:
        super().__init__(level)
        self._chooser = chooser
        self._line: ReadyLine | None = None

    def attach(self, line: ReadyLine) -> None:
        self._line = line

    def pick(self, items: Sequence[Any], options: int) -> int:
        takes = self._line.takes if self._line is not None else 0
        return self._ask(tuple(_shown(item, takes) for item in items[:options]))

    def choose(self, kind: str, options: int, name: str = "", p: float | None = None) -> int:
        return self._ask(tuple(WindowItem(kind, None, f"{kind} {index}", 0) for index in range(options)))

    def _ask(self, window: tuple[WindowItem, ...]) -> int:
        index = self._chooser.pick(window)
        if isinstance(index, bool) or not isinstance(index, int) or not 0 <= index < len(window):
            raise UsageError(
                f"{type(self._chooser).__name__}.pick(window) must return an index from 0 to {len(window) - 1}, "
                f"got {index!r}"
            )
        return index


def _shown(item: Any, takes: int) -> WindowItem:
    callback = item[3]
    age = max(takes - item[1], 0)
    if callback is None:
        return WindowItem("turn", None, "the end of the turn", age)
    owner = getattr(callback, "__self__", None)
    if isinstance(owner, asyncio.Task):
        return WindowItem("task", owner.get_name(), owner.get_name(), age)
    inner = getattr(owner, "_callback", None) or callback
    return WindowItem("callback", None, getattr(inner, "__qualname__", type(inner).__name__), age)
