"""The ready line: what stands ready to run, and the only definition of what may be reordered.

Used by the loop when something other than plain asyncio order is asked for.  Everything ready stands in one line in
order of arrival, the end of the turn (the mark) included.  Index 0 is what stock asyncio would run.  A scheduler may
pick any index of the *window*; this file alone decides how far the window reaches.  It must never run a callback.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from math import trunc
from types import MethodType
from typing import Any, Protocol

from vtloop.cpython import BUILTIN, STEP, WAKEUP_NAME, python_task_step
from vtloop.handles import Handle
from vtloop.orders import Take

__all__ = [
    "BARRIER",
    "FENCE",
    "FREE",
    "LEVELS",
    "MARK",
    "Entry",
    "Item",
    "Observer",
    "ReadyLine",
    "task_of",
]

Entry = tuple[Any, ...]
"""A ready item as the loop makes it: ``(context, callback, args)``."""

Item = tuple[Any, ...]
"""An item in the line: ``(rule, born, context, callback, args, key)``."""

FREE, BARRIER, FENCE = 0, 1, 2

LEVELS = ("timing", "wakeups", "tasks")
"""The strengths of interleaving, weakest first (contract, section 2)."""

# What steps and wake-ups of tasks are at each level; a plain callback and the mark are barriers at every level.
# A *step* is a task's first step or a bare yield; a *wake-up* follows an awaited future that is done.
_RULES = {
    "timing": (BARRIER, BARRIER),
    "wakeups": (FENCE, FREE),
    "tasks": (FREE, FREE),
}

MARK: Entry = (None, None, ())
"""The end of the turn: when its place in the line is reached, the timers now due join."""

PATIENCE = 200
"""How often an item may be passed over; then it alone is the window."""


WIDE = 256
"""Items from which on the head of a line is given away lazily."""


class Observer(Protocol):
    """Watches a line to name its items; only in runs whose events are recorded."""

    def attach(self, line: ReadyLine) -> None:
        """Called once, with the line of the run."""

    def key(self, entry: Entry) -> Any:
        """The identity of an arriving item that survives edits: ``(task, its step)``."""

    def admitted(self, item: Item) -> None:
        """Called when ``item`` has joined the line."""

    def taken(self, item: Item, index: int, options: int) -> None:
        """Called when ``item`` is about to run, picked at ``index`` out of ``options``."""

    def chosen(self, kind: str, index: int, options: int) -> None:
        """Called when another choice than the next step was made."""

    def recent(self) -> Iterable[str]:
        """The last events, in words."""


class ReadyLine:
    """Items in order of arrival, and the window over them.

    Taking an item costs O(1) amortised plus one ``list.pop(index)`` (a memmove); nothing is scanned twice.

    Invariant: ``takes`` plus the length of the line is the number of arrivals.  So an item's ``born``, its number of
    arrival, is the take at which stock asyncio would run it, and for the head of the line ``takes - born`` is how
    often it was passed over (its *age*).

    Attributes:
        items: What stands in the line; the loop's hot path appends to it directly, everything else through `arrive`.
        arrivals: The counter of arrivals.
        stream: Gives the items in the order in which they run.
        takes: How many items were taken so far.
        indices: The recorded choices: for each window with more than one item, the index picked.
        sizes: The number of options of each of these choices.
        log: For each take three numbers, for `vtloop.orders.order_of`; None where nobody asked.
        step_rule: The rule for first steps and bare yields of tasks.
        wakeup_rule: The rule for tasks whose awaited future is done.
        uniform: Draws from [0, 1), set by a scheduler that picks uniformly, to spare a call per step.
    """

    __slots__ = (
        "_mark_matters",
        "_observer",
        "_pick",
        "arrivals",
        "indices",
        "items",
        "log",
        "sizes",
        "step_rule",
        "stream",
        "takes",
        "uniform",
        "wakeup_rule",
    )

    def __init__(
        self,
        level: str,
        pick: Callable[[Sequence[Item], int], int],
        mark_matters: Callable[[], bool],
        observer: Observer | None = None,
    ) -> None:
        self.step_rule, self.wakeup_rule = _RULES[level]
        self._pick = pick
        self._mark_matters = mark_matters
        self._observer = observer
        self.uniform: Callable[[], float] | None = None
        self.items: list[Any] = []
        self.arrivals = itertools.count()
        self.indices: list[int] = []
        self.sizes: list[int] = []
        self.log: list[Take] | None = None
        self.takes = 0
        self.stream: Iterator[Item] = self._stream()

    def take(self) -> Item:
        """Remove and return the item to run next, asking the scheduler if there is a choice.

        The line must not be empty (the loop keeps a mark in it).
        """
        return next(self.stream)

    # Hot: every step under a scheduler.  A generator, because its local variables live from step to step; the head of
    # a wide line is given away lazily, because a list moves all its items when it loses the first.  Measured by the
    # column "random" of the benchmarks.
    def _stream(self) -> Iterator[Item]:
        items, observer, mark_matters = self.items, self._observer, self._mark_matters
        pop, picked, offered, note = items.pop, self.indices.append, self.sizes.append, _noting(self.log)
        free = head = 0  # Invariant: items[:head] are gone, items[head:free] are free
        stop: Any = None  # Invariant: items[free] where known: the first item that is not free
        wide = False
        while True:
            if stop is None:
                count = len(items)
                while free < count and not items[free][0]:
                    free += 1
                stop = items[free] if free < count else None
                wide = count > WIDE and observer is None and self.uniform is not None
            index, options = 0, free - head
            if options:
                # The window: everything free, then a barrier; but ending the turn is no choice where it would change
                # nothing.
                if (
                    stop is not None
                    and stop[0] == BARRIER
                    and (stop[3] is not None or free + 1 < len(items) or mark_matters())
                ):
                    options += 1
                if options > 1 and self.takes - items[head][1] < PATIENCE:
                    uniform = self.uniform
                    index = trunc(uniform() * options) if uniform is not None else self._pick(items, options)
                    picked(index)
                    offered(options)
            else:
                # A barrier or a fence at the head runs alone.
                options, stop = 1, None
                free += 1
            if index:
                at = head + index
                item = pop(at)
                if at < free:
                    free -= 1
                else:
                    stop = None
            elif wide:
                item, items[head] = items[head], None
                head += 1
                if head > WIDE or item[3] is None:
                    del items[:head]
                    free -= head
                    head = 0
            elif head:
                item = items[head]
                del items[: head + 1]
                free -= head + 1
                head = 0
            else:
                item = pop(0)
                free -= 1
            if observer is not None:
                observer.taken(item, index, options)
            if note is not None:
                note(item, len(items) - head)
            self.takes += 1
            yield item

    def arrive(self, entry: Entry) -> None:
        """Let an entry join the line, under the rule for its kind."""
        context, callback, args = entry
        kind = type(callback)
        if kind is STEP:
            rule = self.step_rule
        elif kind is BUILTIN and callback.__name__ == WAKEUP_NAME:
            rule = self.wakeup_rule
        elif callback is None:
            rule = BARRIER
        else:
            inner = callback.__self__._callback
            rule = BARRIER if type(inner) is not MethodType else self.rule_of(inner)
        observer = self._observer
        if observer is None:
            self.items.append((rule, next(self.arrivals), context, callback, args))
        else:
            item = (rule, next(self.arrivals), context, callback, args, observer.key(entry))
            self.items.append(item)
            observer.admitted(item)

    def rule_of(self, callback: Any) -> int:
        """The rule for the callback of a handle: a barrier, unless it drives a pure-Python task."""
        role = python_task_step(callback)
        if role is None:
            return BARRIER
        return self.step_rule if role == "step" else self.wakeup_rule

    def calm(self) -> None:
        """From now on asyncio's own order, and nothing is recorded."""
        self.step_rule = self.wakeup_rule = BARRIER
        self._observer = self.uniform = None
        self._pick = _first
        self.indices, self.sizes, self.log = [], [], None
        self._restart()

    def drop_mark(self) -> bool:
        """Take a mark that an interrupted turn left behind out of the line; whether there was one."""
        if not self.items:
            return False
        self._restart()
        for index, item in enumerate(self.items):
            if item[3] is None:
                del self.items[index]
                self.takes += 1
                return True
        return False

    def waiting(self) -> list[Item]:
        """What stands in the line, in order of arrival."""
        return [item for item in self.items if item is not None]

    def _restart(self) -> None:
        self.items[:] = self.waiting()
        self.stream = self._stream()

    def __len__(self) -> int:
        """How many items stand in the line, the mark included."""
        return len(self.waiting())

    def clear(self) -> None:
        """Forget everything that stands ready, and keep the records."""
        self.takes += len(self)
        self.items.clear()
        self.stream = iter(())
        # They hold the loop and the scheduler, and would keep them alive until a garbage collection.
        self._mark_matters, self._pick = bool, _first


def _first(items: Sequence[Item], options: int) -> int:
    return 0


def task_of(callback: Any) -> asyncio.Future[Any] | None:
    """The task whose step or wake-up ``callback`` is, or None for a plain callback."""
    kind = type(callback)
    owner = getattr(callback, "__self__", None)
    if kind is STEP or kind is BUILTIN:
        return owner
    if isinstance(owner, Handle) and python_task_step(owner._callback) is not None:
        driver: Any = owner._callback
        task: asyncio.Future[Any] = driver.__self__
        return task
    return None


def _noting(log: list[Take] | None) -> Callable[[Item, int], None] | None:
    """What notes a take in ``log`` for `vtloop.orders.order_of`, given the item and how many stand behind it."""
    if log is None:
        return None
    append = log.append

    # Hot: every step of an exploration; measured by the row "runs-explore" of the benchmarks.
    def note(item: Item, left: int) -> None:
        callback = item[3]
        kind = type(callback)
        if kind is STEP or kind is BUILTIN:
            try:
                append((item[1], left, callback.__self__._number))
            except AttributeError:  # a task of another kind
                append((item[1], left, 0))
        else:
            append((item[1] if callback is not None else ~item[1], left, 0))

    return note
