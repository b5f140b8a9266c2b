"""Recording a run: who ran when, in words, and the choices that deviate, under keys that survive edits.

Watches the ready line (`vtloop.ready.Observer`).  Used where a person will read about the run: single runs, the
confirming run of an exploration, replays.  It must never hold a task or a callback: that would change when objects
die.
"""

from __future__ import annotations

import hashlib
import marshal
from collections import deque
from collections.abc import Callable, Iterable

from vtloop.clock import VirtualClock, seconds_text
from vtloop.keys import NO_TASK, Key, Keys
from vtloop.ready import Item, ReadyLine
from vtloop.trace import Choice, plain_words

__all__ = ["Event", "Recording"]

Event = tuple[int, int, str, int, int]
"""``(step, counted from 1, time in ns, what ran, index picked, options)``."""


class Recording(Keys):
    """The record of one run.

    Attributes:
        choices: The deviations so far, in order; who ran earlier than in asyncio's own order, and all other kinds.
        places: For each of them the take at which it was made and, for a step, the birth of its item (else -1).
        stood: Who was passed over, as ``(key, born, take)`` in the order in which they ran at last.
        standing: The same for those who had not run when the run ended, with the number of its takes.
        events: The events, at most ``keep`` of them, newest last.
        on_step: Called with number, name and item of every step when it is about to run.
    """

    def __init__(self, clock: VirtualClock, keep: int | None = 200) -> None:
        super().__init__()
        self._clock = clock
        self._digest = hashlib.sha256()
        self.choices: list[Choice] = []
        self.places: list[tuple[int, int]] = []
        self.stood: list[tuple[Key, int, int]] = []
        self.standing: list[tuple[Key, int, int]] = []
        self.events: deque[Event] = deque(maxlen=keep)
        self.on_step: Callable[[int, str, Item], None] | None = None
        self._ran = 0
        self._undigested: list[Event] = []
        self._before = 0  # takes on earlier lines of the run
        self._top = -1  # the latest birth among what has run

    def attach(self, line: ReadyLine) -> None:
        """Called with the line that is watched."""
        if self._line is not None:
            self.stood += self.standing
            self._before += self._line.takes + 1
            self._top, self.standing = -1, []
        super().attach(line)

    def follow(self, clock: VirtualClock) -> None:
        """Go on with a further loop of the same run, whose clock this is."""
        self._clock = clock

    # -- the observer's part ------------------------------------------------------------------------------------

    def taken(self, item: Item, index: int, options: int) -> None:
        """An item is about to run."""
        line = self._line
        assert line is not None
        if self._fresh:
            self.settle()
        key: Key = item[5] or self.key_of(item)
        label = self._words(key, item)
        born = item[1]
        if born > self._top:
            self._top = born
        else:
            # Something that arrived later has run already.
            self.stood.append((key, self._before + born, self._before + line.takes))
        if index:
            before = ", ".join(self.label(other) for other in line.items[:3])
            words = f"{label} ran before {before}" + (", ..." if index > 3 else "")
            self._deviation(Choice("step", key[0], key[1], line.takes - born, index, options, words), born)
        self._has_run(key)
        if item[3] is not None:
            self._ran += 1
            self._note(label, index, options)
            if self.on_step is not None:
                self.on_step(self._ran, label, item)

    def chosen(self, kind: str, index: int, options: int) -> None:
        """A choice other than the next step was made."""
        nth = self.place(kind)[3]
        super().chosen(kind, index, options)
        if index:
            task, step = self.step
            words = plain_words(kind, task, step, index, options)
            self._deviation(Choice(kind, task, step, nth, index, options, words), -1 - self._before)
        self._note(kind, index, options)

    def note_end(self) -> None:
        """The run is over, or seems to be: note who still stands back."""
        line = self._line
        if line is not None:
            takes = self._before + line.takes
            waiting = [(self.key_of(item), item[1]) for item in line.waiting() if item[1] < self._top]
            self.standing = [(key, self._before + born, takes) for key, born in waiting if key[0] not in NO_TASK]

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

    def _deviation(self, choice: Choice, born: int) -> None:
        assert self._line is not None
        self.choices.append(choice)
        self.places.append((self._before + self._line.takes, self._before + born))

    def _update_digest(self) -> None:
        # Hot: one call for many events.  Format 0 writes values alone, no references, the same on every Python.
        self._digest.update(marshal.dumps(self._undigested, 0))
        self._undigested.clear()


def _step_words(key: Key) -> str:
    task, step = key
    if task == "turn":
        return f"the end of turn {step}"
    return f"{task} step {step}"
