"""Recording a run: who ran when, in words, and the choices that deviate, under keys that survive edits.

Watches the ready line (`vtloop.ready.Observer`).  Used where a person will read about the run: single runs, the
confirming run of an exploration, replays.  It must never hold a task or a callback: that would change when objects
die.
"""

from __future__ import annotations

import asyncio
import hashlib
import itertools
import marshal
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any

from vtloop.clock import VirtualClock, seconds_text
from vtloop.ready import Entry, Item, ReadyLine, task_of
from vtloop.trace import Choice

__all__ = ["Event", "Key", "Recording"]

Key = tuple[str, int]
"""``(task, its step)``; for plain callbacks ``("callback", n)``, for the end of a turn ``("turn", n)``."""

Event = tuple[int, int, str, int, int]
"""``(step, counted from 1, time in ns, what ran, index picked, options)``."""


class Recording:
    """The record of one run.

    Attributes:
        choices: The deviations so far, in order.
        events: The events, at most ``keep`` of them, newest last.
    """

    def __init__(self, clock: VirtualClock, keep: int | None = 200) -> None:
        self._clock = clock
        self._digest = hashlib.sha256()
        self.choices: list[Choice] = []
        self.events: deque[Event] = deque(maxlen=keep)
        self._names: dict[Any, str] = {}
        self._used: dict[str, int] = {}
        self._steps: dict[str, int] = {}
        self._callbacks = itertools.count(1)
        self._turns = itertools.count(1)
        self._after: Key = ("start", 0)
        self._nth: dict[str, int] = {}
        self._line: ReadyLine | None = None
        self._ran = 0
        self._undigested: list[Event] = []
        self._arrived: list[Item] = []
        self.on_named: Callable[[Item, Key], None] | None = None

    def attach(self, line: ReadyLine) -> None:
        """Called with the line that is watched."""
        self._line = line

    def follow(self, clock: VirtualClock) -> None:
        """Go on with a further loop of the same run, whose tasks are other tasks even under equal numbers and names."""
        self._clock = clock
        self._names.clear()

    # -- the observer's part ------------------------------------------------------------------------------------

    def key(self, entry: Entry) -> Key | None:
        """The identity of an arriving entry; None for a task, which may not have its name yet (see `key_of`)."""
        callback = entry[1]
        if callback is None:
            return ("turn", next(self._turns))
        return ("callback", next(self._callbacks)) if task_of(callback) is None else None

    def admitted(self, item: Item) -> None:
        """An item has joined the line."""
        if self.on_named is not None:
            self._arrived.append(item)

    def settle(self) -> None:
        """Name what has arrived: called when the step that let it arrive is over (`KeyedReplay` waits for it)."""
        if self._arrived and self.on_named is not None:
            arrived, self._arrived = self._arrived, []
            for item in arrived:
                self.on_named(item, self.key_of(item))

    def key_of(self, item: Item) -> Key:
        """The identity of an item that stands in the line: a task has one step there at most."""
        key: Key | None = item[5]
        if key is not None:
            return key
        task = task_of(item[3])
        assert task is not None
        name = self._name(task)
        return (name, self._steps.get(name, 0) + 1)

    def taken(self, item: Item, index: int, options: int) -> None:
        """An item is about to run."""
        assert self._line is not None
        if self._arrived:
            self.settle()
        key: Key = item[5] or self.key_of(item)
        if item[5] is None:
            self._steps[key[0]] = key[1]
        label = self._words(key, item)
        if index:
            before = ", ".join(self.label(other) for other in self._line.items[:3])
            words = f"{label} ran before {before}" + (", ..." if index > 3 else "")
            age = self._line.takes - item[1]
            self.choices.append(Choice("step", key[0], key[1], age, index, options, words))
        self._after = key
        if self._nth:
            self._nth.clear()
        if item[3] is not None:
            self._ran += 1
            self._note(label, index, options)

    def chosen(self, kind: str, index: int, options: int) -> None:
        """A choice other than the next step was made."""
        nth = self._nth[kind] = self._nth.get(kind, -1) + 1
        if index:
            task, step = self._after
            words = f"{kind}: {index} of {options} after {_step_words(self._after)}"
            self.choices.append(Choice(kind, task, step, nth, index, options, words))
        self._note(kind, index, options)

    def place(self, kind: str) -> tuple[str, str, int, int]:
        """The key and ordinal that the next choice of ``kind`` will have."""
        return (kind, *self._after, self._nth.get(kind, -1) + 1)

    def recent(self) -> Iterable[str]:
        """The last events in words, oldest first."""
        for step, time_ns, what, index, options in list(self.events)[-10:]:
            choice = f" (picked {index} of 0-{options - 1})" if index else ""
            yield f"step {step} t={seconds_text(time_ns)}: {what}{choice}"

    def label(self, item: Item) -> str:
        """An item of the line in words: ``Task-2 step 3``, or the name of the callback."""
        return self._words(self.key_of(item), item)

    @staticmethod
    def _words(key: Key, item: Item) -> str:
        if key[0] == "callback":
            callback = item[3]
            inner = getattr(callback.__self__, "_callback", None) or callback
            return f"callback {getattr(inner, '__qualname__', type(inner).__name__)}"
        return _step_words(key)

    def digest(self) -> str:
        """SHA-256 over all events so far, in hexadecimal."""
        whole = self._digest.copy()
        whole.update(marshal.dumps(self._undigested, 0))
        return whole.hexdigest()

    # -- parts --------------------------------------------------------------------------------------------------

    def _note(self, what: str, index: int, options: int) -> None:
        event = (self._ran, self._clock.ns, what, index, options)
        self.events.append(event)
        self._undigested.append(event)
        if len(self._undigested) > 255:
            self._update_digest()

    def _update_digest(self) -> None:
        # Hot: one call for many events.  Format 0 writes values alone, no references, the same on every Python.
        self._digest.update(marshal.dumps(self._undigested, 0))
        self._undigested.clear()

    def _name(self, task: asyncio.Future[Any]) -> str:
        """The name of ``task`` when it was first seen; a second task of that name is told by a number."""
        number = getattr(task, "_number", None)
        known: Any = number if number is not None else task
        name = self._names.get(known)
        if name is None:
            given = task.get_name() if isinstance(task, asyncio.Task) else "task"
            count = self._used[given] = self._used.get(given, 0) + 1
            name = self._names[known] = given if count == 1 else f"{given}#{count}"
        return name


def _step_words(key: Key) -> str:
    task, step = key
    if task == "turn":
        return f"the end of turn {step}"
    return "the start" if task == "start" else f"{task} step {step}"
