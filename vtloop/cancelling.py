"""Cancellations by the explorer: which tasks it may cancel, and the two moments at each of their awaits.

A part of the loop.  Anybody may cancel a task at any time, so a program must stand it at any await.  There are two
moments, and each shows bugs that the other cannot: just before a task resumes with what it waited for (the future is
done, the task does not know yet), and just after it began to wait.  A task is cancelled once at most, never before its
first step, and never if it is the main task.  Each moment is a choice; it must never cancel without one.
"""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Iterator
from fnmatch import fnmatchcase
from types import CoroutineType
from typing import Any

from vtloop.diagnosis.chains import Places, await_chain
from vtloop.ready import Item, ReadyLine, task_of
from vtloop.schedulers.odds import CANCEL_AFTER, CANCEL_BEFORE
from vtloop.state import LoopState

__all__ = ["Cancelling"]


class Cancelling(LoopState):
    """Offers the cancellations of a run.

    Attributes:
        cancelled_at: Where each task that the explorer cancelled was waiting, by the task's number.
    """

    _cancelling = False  # some task of this run may be cancelled
    _victims: dict[int, bool] | None = None  # what is known of each task, by number: may it still be cancelled?
    _seen: frozenset[int] = frozenset()  # victims that are no plain coroutines, once a step of theirs came
    cancelled_at: dict[int, str] = {}  # shared while empty

    def may_cancel(self, task: asyncio.Task[Any]) -> None:
        """Let the explorer cancel ``task``, whatever its name, from its next await on."""
        if self._line is not None and self._scheduler is not None:
            if self._victims is None:
                self._victims = {}
            self._victims[hash(task)] = True
            self._cancelling = self._attend = True  # the stream changes at the end of this turn

    def _with_cancels(self, line: ReadyLine) -> Iterator[Item]:
        """The items of ``line`` as they run, with the choices before and after each step of a victim."""
        for item in line.stream:
            task = self._victim(item)
            if task is None:
                yield item
                continue
            if self._has_begun(task):
                self._offer_cancel(CANCEL_BEFORE, task)
            yield item
            if not task.done():
                self._offer_cancel(CANCEL_AFTER, task)

    def _victim(self, item: Item) -> Any:
        """The task whose step ``item`` is, if it may be cancelled still; else None."""
        task: Any = task_of(item[3]) if item[3] is not None else None
        if task is None or task is self._main or task.done():
            return None
        if self._victims is None:
            self._victims = {}
        known = self._victims.get(hash(task))
        if known is None:
            names = (task.get_name(), getattr(task.get_coro(), "__qualname__", ""))
            known = any(fnmatchcase(name, glob) for glob in self.options.cancel for name in names)
            self._victims[hash(task)] = known
        return task if known else None

    def _has_begun(self, task: asyncio.Task[Any]) -> bool:
        """Whether ``task``, which may be cancelled, has run its first step."""
        coro: Any = task.get_coro()
        if type(coro) is CoroutineType:
            return inspect.getcoroutinestate(coro) != inspect.CORO_CREATED
        # Objects that only behave as coroutines do (compiled ones, aiohttp's requests) do not say.
        begun = hash(task) in self._seen
        if not begun:
            self._seen = self._seen | {hash(task)}
        return begun

    def _offer_cancel(self, kind: str, task: asyncio.Task[Any]) -> None:
        assert self._victims is not None
        if self._victims[hash(task)] and self.choose(kind, 2):
            self._victims[hash(task)] = False
            self.cancelled_at = {**self.cancelled_at, hash(task): _where(task)}
            task.cancel()


def _where(task: asyncio.Task[Any]) -> str:
    """The innermost line of the program at which ``task`` waits, as ``file.py:12 in f``."""
    places = Places()
    chain = await_chain(task.get_coro())
    own = [link for link in chain if not places.is_internal(link.code)] or chain
    return str(places.of_frame(own[-1])) if own else ""
