"""CPython's own scheduler on a virtual clock: what `vtloop.EventLoop` under ``fifo`` must agree with.

`OracleLoop` runs `BaseEventLoop._run_once` of the running interpreter, unchanged.  Only what it stands on is
replaced: the selector moves a clock instead of waiting, and a deadline that ties with another sorts by creation
(the stock heap is not stable).  It never imports the loop under test; it does use the same `Task` class, because
the order inside a set of tasks follows their hashes, and with address hashes even two oracles disagree.
"""

from __future__ import annotations

import asyncio
import itertools
from typing import Any

from vtloop.tasks import Task, TaskRegistry

__all__ = ["OneCallbackTurns", "OracleLoop", "Quiescent", "ReversedLine", "ReversedTies"]


class Quiescent(Exception):
    """Nothing is ready and no timer is set: the loop would wait for ever."""


class _Deadline(float):
    """A float deadline that compares by (value, creation), so that a heap of timers becomes stable."""

    __slots__ = ("order",)
    order: int

    def __lt__(self, other: float) -> bool:
        if self == other and isinstance(other, _Deadline):
            return self.order < other.order
        return float.__lt__(self, other)


class _JumpingSelector:
    """A selector without files: waiting means that the clock has moved."""

    def __init__(self, loop: OracleLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Quiescent
        self._loop.now += timeout
        return []


def _lazy_factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    return Task(coro, loop=loop, **options)


class OracleLoop(asyncio.BaseEventLoop):
    """Stock order, virtual time from 0, equal deadlines in order of creation, `Quiescent` instead of waiting for ever.

    Times are exact as long as every delay is a dyadic fraction of a second.
    """

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self._selector = _JumpingSelector(self)
        self._timer_numbers = itertools.count()
        self._tasks = TaskRegistry()  # what `Task` asks of its loop: a number, and to be held
        self.set_task_factory(None)

    def time(self) -> float:
        return self.now

    def call_at(self, when: float, callback: Any, *args: Any, context: Any = None) -> asyncio.TimerHandle:
        deadline = _Deadline(when)
        deadline.order = self._timer_order()
        return super().call_at(deadline, callback, *args, context=context)

    def set_task_factory(self, factory: Any) -> None:
        """As stock, but ``None`` and the eager factory make our `Task`."""
        if factory is None:
            factory = _lazy_factory
        elif factory is getattr(asyncio, "eager_task_factory", None):
            factory = asyncio.create_eager_task_factory(Task)
        super().set_task_factory(factory)

    def _timer_order(self) -> int:
        return next(self._timer_numbers)

    def _process_events(self, event_list: list[Any]) -> None:
        pass

    def _write_to_self(self) -> None:
        pass


class ReversedLine(OracleLoop):
    """Wrong on purpose: runs each turn's callbacks last to first."""

    def _run_once(self) -> None:
        self._ready.reverse()
        super()._run_once()


class ReversedTies(OracleLoop):
    """Wrong on purpose: equal deadlines fire latest-made first."""

    def _timer_order(self) -> int:
        return -super()._timer_order()


class OneCallbackTurns(OracleLoop):
    """Wrong on purpose: one ready callback a turn, so that timers already due join too early."""

    def _run_once(self) -> None:
        line = self._ready
        rest = [line.pop() for _ in range(len(line) - 1)]
        super()._run_once()
        line.extendleft(rest)
