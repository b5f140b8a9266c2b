"""The ready line: what stands ready to run, and the only definition of what may be reordered.

Used by the loop when something other than plain asyncio order is asked for.  Everything ready stands in one line in
order of arrival, the end of the turn (the mark) included.  Index 0 is what stock asyncio would run.  A scheduler may
pick any index of the *window*; this file alone decides how far the window reaches.  It must never run a callback.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from types import MethodType
from typing import Any, Protocol

from vtloop.cpython import BUILTIN, STEP, WAKEUP_NAME, python_task_step
from vtloop.handles import TimerHandle

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
    "may_swap",
    "order_ties",
]

Entry = tuple[Any, ...]
"""A ready item as the loop makes it: ``(context, callback, args)``."""

Item = tuple[Any, ...]
"""An item in the line: ``(rule, born, context, callback, args, key)``."""

FREE, BARRIER, FENCE = 0, 1, 2

LEVELS = ("timing", "wakeups", "tasks")
"""The strengths of interleaving, weakest first (contract, section 2)."""

# What each kind of item is at each level: (plain callback or mark, step of a task, wake-up of a task).
# A *step* is a task's first step or a bare yield; a *wake-up* follows an awaited future that is done.
_RULES = {
    "timing": (BARRIER, BARRIER, BARRIER),
    "wakeups": (BARRIER, FENCE, FREE),
    "tasks": (BARRIER, FREE, FREE),
}

MARK: Entry = (None, None, ())
"""The end of the turn: when its place in the line is reached, the timers now due join."""

PATIENCE = 200
"""How often an item may be passed over; then it alone is the window."""


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

    Invariant: the first ``_free`` items of the line are free; what stands behind them is unknown, a barrier or a
    fence.
    Invariant: an item's ``born`` is the number of the take at which stock asyncio would run it, so ``takes - born``
    is how often it was passed over while at the head of the line (its *age*).

    Attributes:
        incoming: New entries, in order; the loop appends to it directly.
        takes: How many items were taken so far.
        indices: The recorded choices: for each window with more than one item, the index picked.
        sizes: The number of options of each of these choices.
    """

    __slots__ = (
        "_free",
        "_mark_matters",
        "_observer",
        "_pick",
        "_plain",
        "_step",
        "_wakeup",
        "incoming",
        "indices",
        "items",
        "sizes",
        "takes",
    )

    def __init__(
        self,
        level: str,
        pick: Callable[[Sequence[Item], int], int],
        mark_matters: Callable[[], bool],
        observer: Observer | None = None,
    ) -> None:
        self._plain, self._step, self._wakeup = _RULES[level]
        self._pick = pick
        self._mark_matters = mark_matters
        self._observer = observer
        self.incoming: list[Entry] = []
        self.items: list[Item] = []
        self.indices: list[int] = []
        self.sizes: list[int] = []
        self.takes = 0
        self._free = 0

    def take(self) -> Item:
        """Remove and return the item to run next, asking the scheduler if there is a choice.

        The line must not be empty (the loop keeps a mark in it).
        """
        if self.incoming:
            self._admit()
        items = self.items
        count = len(items)
        free = self._free
        while free < count and not items[free][0]:
            free += 1
        # The window: everything free, then a barrier, or a fence if it is the oldest.
        options = free + 1 if free < count and (items[free][0] == BARRIER or not free) else free
        if free and free == count - 1 and items[free][3] is None and not self._mark_matters():
            options = free  # ending the turn would change nothing: not a choice
        index = 0
        if options > 1 and self.takes - items[0][1] < PATIENCE:
            index = self._pick(items, options)
            self.indices.append(index)
            self.sizes.append(options)
        item = items.pop(index)
        self._free = free - 1 if index < free else free
        if self._observer is not None:
            self._observer.taken(item, index, options)
        self.takes += 1
        return item

    def _admit(self) -> None:
        """Let the new entries join the line, each under the rule for its kind."""
        items, observer = self.items, self._observer
        born = self.takes + len(items)
        # Other threads may append meanwhile: take what is there now, leave the rest.
        count = len(self.incoming)
        arrived = self.incoming[:count]
        del self.incoming[:count]
        for entry in arrived:
            context, callback, args = entry
            kind = type(callback)
            if kind is STEP:
                rule = self._step
            elif kind is BUILTIN and callback.__name__ == WAKEUP_NAME:
                rule = self._wakeup
            elif callback is None:
                rule = BARRIER
            else:
                rule = self._rule_of_other(callback)
            if observer is None:
                items.append((rule, born, context, callback, args))
            else:
                item = (rule, born, context, callback, args, observer.key(entry))
                items.append(item)
                observer.admitted(item)
            born += 1

    def _rule_of_other(self, callback: Any) -> int:
        """The rule for a handle's callback: plain, unless it drives a pure-Python task."""
        inner = callback.__self__._callback
        if type(inner) is MethodType:
            role = python_task_step(inner)
            if role is not None:
                return self._step if role == "step" else self._wakeup
        return self._plain

    def calm(self) -> None:
        """From now on asyncio's own order, and nothing is recorded."""
        self._plain = self._step = self._wakeup = BARRIER
        self._observer = None
        self._pick = _first
        self.indices, self.sizes = [], []

    def drop_mark(self) -> None:
        """Take a mark that an interrupted turn left behind out of the line."""
        for index, item in enumerate(self.items):
            if item[3] is None:
                del self.items[index]
                self._free = min(self._free, index)
                return

    def __len__(self) -> int:
        """How many items stand in the line, the mark included."""
        return len(self.items) + len(self.incoming)

    def clear(self) -> None:
        """Forget everything that stands ready, and keep the records."""
        self.items.clear()
        self.incoming.clear()
        self._free = 0


def _first(items: Sequence[Item], options: int) -> int:
    return 0


def may_swap(older: TimerHandle, newer: TimerHandle) -> bool:
    """Whether real time could fire ``newer`` before ``older``, though both are due at the same virtual instant.

    True for two equal ``call_at`` values (the stock heap is not stable), and when the newer timer was made at a later
    instant and has the shorter delay (on a slow machine the older one was set late).
    """
    if newer._made_ns > older._made_ns:
        return True
    return newer._absolute and older._absolute and newer._when == older._when


def order_ties(due: list[TimerHandle], choose: Callable[[str, int], int]) -> list[TimerHandle]:
    """Timers that fall due together, in an order drawn by ``choose`` from those that real time allows.

    ``due`` is in (deadline, creation) order, which is also the result when every choice is 0.  Only timers with the
    same deadline change places, and only with the next 16 of them.
    """
    if not any(a._when_ns == b._when_ns and may_swap(a, b) for a, b in pairwise(due)):
        return due
    waiting, ordered = list(due), []
    while waiting:
        first = waiting[0]
        open_now = [0]
        for index in range(1, min(len(waiting), 16)):
            newer = waiting[index]
            if newer._when_ns != first._when_ns:
                break
            if all(may_swap(older, newer) for older in waiting[:index]):
                open_now.append(index)
        index = open_now[choose("timer", len(open_now))] if len(open_now) > 1 else 0
        ordered.append(waiting.pop(index))
    return ordered
