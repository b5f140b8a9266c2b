"""Tasks that hash by creation number, so that sets of tasks have one order in every run.

Made by the loop's ``create_task`` and by its eager factory.  A task must never look at the ready line.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
from collections.abc import Iterator
from contextlib import suppress
from types import CodeType, FrameType
from typing import Any, TypeVar

from vtloop.cpython import exception_unread, hush_destroyed

__all__ = ["Origin", "Task", "TaskRegistry", "origin_above"]

T = TypeVar("T")
Origin = tuple[tuple[CodeType, int], ...]


def origin_above(frame: FrameType | None) -> Origin:
    """``(code, last instruction)`` of up to three frames, innermost first: cheap now, resolved only for a report."""
    if frame is None:
        return ()
    first = (frame.f_code, frame.f_lasti)
    back = frame.f_back
    if back is None:
        return (first,)
    second = (back.f_code, back.f_lasti)
    back = back.f_back
    if back is None:
        return (first, second)
    if back.f_code.co_name == "start_soon" and back.f_back is not None:  # anyio's task group stands in between
        back = back.f_back
    return (first, second, (back.f_code, back.f_lasti))


class Task(asyncio.Task[T]):
    """An asyncio task with a number.

    The number counts the tasks of one loop from 1; it is the hash, which makes the order of every set of tasks
    (``asyncio.wait``, ``TaskGroup``, ``all_tasks``) the same in every run.  Two tasks are equal only if they are
    the same object.
    """

    __slots__ = ("_number", "_origin")

    def __init__(self, coro: Any, *, loop: Any, name: str | None = None, **kwargs: Any) -> None:
        # The number comes first: registering the task hashes it inside the constructor.
        tasks: TaskRegistry = loop._tasks
        self._number: int = tasks.count()
        caller = sys._getframe(1)
        self._origin: Origin = origin_above(caller.f_back or caller)
        super().__init__(coro, loop=loop, name=f"Task-{self._number}" if name is None else name, **kwargs)
        tasks.add(self)

    def __hash__(self) -> int:
        return self._number


class TaskRegistry:
    """The tasks of one loop, held strongly until they are done.

    An unreferenced pending task would otherwise be destroyed by the garbage collector at a moment that depends on
    unrelated allocations.  Done tasks are swept out now and then, but for those with an exception nobody has read:
    they are judged at the end of the run.
    """

    __slots__ = ("_sweep_at", "_tasks", "count", "made")

    def __init__(self) -> None:
        self.count = itertools.count(1).__next__  # numbers the tasks of this loop
        self.made = 0  # how many were added
        self._tasks: list[asyncio.Task[Any]] = []
        self._sweep_at = 64

    def add(self, task: asyncio.Task[Any]) -> None:
        """Hold ``task``; amortised O(1)."""
        self._tasks.append(task)
        self.made += 1
        if len(self._tasks) > self._sweep_at:
            self.sweep()

    def sweep(self, cancelled: bool = True) -> None:
        """Let go of the done tasks, so that what their end brings about can happen; ``cancelled`` ones too, or not."""
        kept = []
        for held in self._tasks:
            if not held.done() or exception_unread(held) or (not cancelled and held.cancelled()):
                kept.append(held)
            else:
                asyncio._unregister_task(held)
        self._tasks = kept
        self._sweep_at = 2 * len(kept) + 64

    def pending(self) -> list[asyncio.Task[Any]]:
        """The tasks that are not done, in order of creation."""
        return [task for task in self._tasks if not task.done()]

    def abandon(self) -> None:
        """Drop what is still pending without a word, while the loop still takes what closing coroutines put in."""
        outer = asyncio._get_running_loop()
        for task in self._tasks:  # closing may append to it
            if not task.done():
                hush_destroyed(task)
                coro: Any = task.get_coro()
                # With its loop running, a coroutine that awaits again suspends, which ends the closing; without, every
                # await raises at once, and one that swallows everything would spin for ever.
                asyncio._set_running_loop(task.get_loop())
                with suppress(BaseException):  # whatever its finally blocks raise: it had its cancel
                    coro.close()
        asyncio._set_running_loop(outer)

    def unread(self) -> list[asyncio.Task[Any]]:
        """The failed tasks whose exception nobody has read, in order of creation."""
        return [task for task in self._tasks if task.done() and exception_unread(task)]

    def read(self) -> None:
        """Mark every exception as read: what the run fails with is settled."""
        for task in self.unread():
            task.exception()

    def clear(self) -> None:
        """Let go of every task.

        asyncio's own registry, a set for the whole process, is told as well: tasks of other loops with the same
        numbers, and so the same hashes, would make it slow.
        """
        for task in self._tasks:
            asyncio._unregister_task(task)
        self._tasks = []

    def __iter__(self) -> Iterator[asyncio.Task[Any]]:
        return iter(list(self._tasks))
