"""Keys: what stands in the ready line under a name that survives edits, ``(task, its step)``.

Watches the line (`vtloop.ready.Observer`), counts, and keeps nothing else, so that a run which only needs its choices
found again stays cheap; `vtloop.recording.Recording` adds the words.  It must never hold a task or a callback longer
than the line itself does: that would change when objects die.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Collection, Iterable
from typing import Any

from vtloop.cpython import BUILTIN, STEP
from vtloop.ready import Entry, Item, ReadyLine, task_of

__all__ = ["ANY_NUMBER", "NO_TASK", "START", "Key", "Keys"]

Key = tuple[str, int]
"""``(task, its step)``; for plain callbacks ``("callback", n)``, for the end of a turn ``("turn", n)``."""

START: Key = ("start", 0)
"""The key of what comes before the first step."""

ANY_NUMBER = "*"
"""In the name of a task: a number that is another in every run."""

NO_TASK = ("callback", "turn")
"""In the place of a task: what is none."""


class Keys:
    """Names the items of a line, in the order in which they arrive.

    A task is named by the name it has when its first step has arrived and the step that made it is over; a second task
    of that name is told by a number.  Its n-th arrival is its step n, because nothing leaves the line but by running.

    Attributes:
        wanted: The keys whose items are told to ``on_named`` as they arrive.
        on_named: Called with ``(item, key)``.
        after: The key of what ran last.
        step: The key of the last step of a task: what other choices are named after.
        counts_all: Whether `old_place` is asked for.
        named: The names that tasks had when they were named, in that order.
    """

    def __init__(self) -> None:
        self.wanted: Collection[Key] = frozenset()
        self.on_named: Callable[[Item, Key], None] | None = None
        self.after = self.step = START
        self.counts_all = False
        self.named: list[str] = []
        self._patterns: dict[str, re.Pattern[str]] = {}
        self._known: dict[Any, list[Any]] = {}  # the name of each task and how many of its steps have arrived
        self._used: dict[str, int] = {}
        self._fresh: list[Item] = []  # arrived, not named yet
        self._callbacks = self._turns = 0
        self._nth: dict[str, int] = {}
        self._old_nth: dict[str, int] = {}
        self._line: ReadyLine | None = None

    def take_patterns(self, names: Iterable[str]) -> None:
        """From now on tasks are called by the pattern of ``names`` that fits: ``*`` stands for a number.

        For names out of a counter of the whole process, which are others in every run: ``pool-*-worker-0``.
        """
        for name in names:
            pattern = re.sub(r"#\d+$", "", name)
            if ANY_NUMBER in pattern:
                self._patterns[pattern] = re.compile(r"\d+".join(map(re.escape, pattern.split(ANY_NUMBER))))

    def attach(self, line: ReadyLine) -> None:
        """Called with the line that is watched; a further line holds other tasks, even under the same names."""
        self._line = line
        self._known.clear()
        self._fresh.clear()

    # Hot: called for everything that arrives in a run that is watched.
    def key(self, entry: Entry) -> Key | None:
        """The identity of an arriving entry; None for the first step of a task, which may not have its name yet."""
        callback = entry[1]
        kind = type(callback)
        if kind is STEP or kind is BUILTIN:
            task = callback.__self__
        elif callback is None:
            self._turns += 1
            return ("turn", self._turns)
        else:
            task = task_of(callback)
            if task is None:
                self._callbacks += 1
                return ("callback", self._callbacks)
        known = self._known.get(getattr(task, "_number", task))
        if known is None:
            return None
        known[1] += 1
        return (known[0], known[1])

    def admitted(self, item: Item) -> None:
        """An item has joined the line."""
        key = item[5]
        if key is None:
            self._fresh.append(item)
        elif key in self.wanted and self.on_named is not None:
            self.on_named(item, key)

    def settle(self) -> None:
        """Name what has arrived for the first time: the step that made it is over."""
        fresh, self._fresh = self._fresh, []
        for item in fresh:
            key = self.key_of(item)
            if key in self.wanted and self.on_named is not None:
                self.on_named(item, key)

    def key_of(self, item: Item) -> Key:
        """The identity of an item that stands in the line, or is on its way out."""
        key: Key | None = item[5]
        if key is not None:
            return key
        task: Any = task_of(item[3])
        number = getattr(task, "_number", task)
        known = self._known.get(number)
        if known is None:
            given = task.get_name() if isinstance(task, asyncio.Task) else "task"
            self.named.append(given)
            given = next((name for name, fits in self._patterns.items() if fits.fullmatch(given)), given)
            count = self._used[given] = self._used.get(given, 0) + 1
            known = self._known[number] = [given if count == 1 else f"{given}#{count}", 1]
        return (known[0], 1)

    def taken(self, item: Item, index: int, options: int) -> None:
        """An item is about to run."""
        if self._fresh:
            self.settle()
        self._has_run(item[5] or self.key_of(item))

    def _has_run(self, key: Key) -> None:
        self.after = key
        if key[0] not in NO_TASK:
            self.step = key
            if self._nth:
                self._nth.clear()
        if self.counts_all:
            self._old_nth.clear()

    def chosen(self, kind: str, index: int, options: int) -> None:
        """A choice other than the next step was made."""
        self._nth[kind] = self._nth.get(kind, -1) + 1
        if self.counts_all:
            self._old_nth[kind] = self._old_nth.get(kind, -1) + 1

    def place(self, kind: str) -> tuple[str, str, int, int]:
        """The key and ordinal that the next choice of ``kind`` will have."""
        return (kind, *self.step, self._nth.get(kind, -1) + 1)

    def old_place(self, kind: str) -> tuple[str, str, int, int]:
        """The same as traces of format 1 have it: after callbacks and ends of turns as well, counted over the run."""
        return (kind, *self.after, self._old_nth.get(kind, -1) + 1)

    def recent(self) -> Iterable[str]:
        """The last events, in words: there are none."""
        return ()
