"""Replay: the recorded choices, fed back, and compared on the way.

`FlatReplay` takes the whole list of a run made a moment ago; `KeyedReplay` takes the deviations of a trace, found
again by task, step and age, so that an edit elsewhere does not shift them, and for the shrinker any part of them.  Both
say where the program parted from the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vtloop.errors import NondeterminismError, ReplayError
from vtloop.keys import ANY_NUMBER, NO_TASK, Key, Keys
from vtloop.ready import Item, ReadyLine
from vtloop.recording import Recording
from vtloop.schedulers.base import Scheduler
from vtloop.trace import Choice

__all__ = ["SUSPECTS", "FlatReplay", "KeyedReplay"]

SUSPECTS = (
    "suspects: sets of strings (PYTHONHASHSEED) or of objects without a hash of their own, the wall clock, random, "
    "uuid and os.urandom, state kept between runs, real threads"
)


class FlatReplay(Scheduler):
    """Every choice of a run, by position.

    Raises:
        NondeterminismError: A choice has another number of options than it had.
    """

    def __init__(self, level: str, indices: Sequence[int], sizes: Sequence[int], recording: Recording) -> None:
        super().__init__(level)
        self._recording = recording
        self._indices, self._sizes = indices, sizes
        self._next = 0

    def pick(self, items: Sequence[Any], options: int) -> int:
        label = self._recording.label
        return self._take(options, lambda: "ready now: " + ", ".join(label(item) for item in items[:options][:6]))

    def choose(self, kind: str, options: int, name: str = "", p: float | None = None) -> int:
        return self._take(options, lambda: f"asked now: {kind}")

    def _take(self, options: int, now: Any) -> int:
        position = self._next
        self._next = position + 1
        had = self._sizes[position] if position < len(self._sizes) else 0
        if had != options:
            first = f"{had} options" if had else "no further choice"
            raise NondeterminismError(
                f"two runs of the same seed parted at choice {position + 1}: the first had {first}, the second "
                f"{options}; {now()}; {SUSPECTS}",
                data={"choice": position, "options": [had, options]},
            )
        return self._indices[position]


class KeyedReplay(Scheduler):
    """The deviations of a trace; everything else in asyncio's own order.

    Both ways of telling an order are played back, also mixed: a "step" runs at its place whatever stands before it, a
    "hold" stands back until its age, and of what is left the first in the window runs.

    Args:
        level: The level whose rules make the window.
        choices: The deviations.
        keys: Names what stands in the line of this run: its recording, if it has one.
        strict: Whether a deviation that cannot be made is an error; otherwise it is left out.

    Raises:
        ReplayError: A deviation cannot be made any more.
    """

    def __init__(self, level: str, choices: Sequence[Choice], keys: Keys, strict: bool = True) -> None:
        super().__init__(level)
        self.listed: tuple[Choice, ...] = tuple(choices)
        self.observer = keys
        self._strict = strict
        self._steps = {choice.key[1:]: choice for choice in choices if choice.kind == "step"}
        self._holds = {choice.key[1:]: choice for choice in choices if choice.kind == "hold"}
        kinds = ("step", "hold")
        self._others = {(*choice.key, choice.age): choice for choice in choices if choice.kind not in kinds}
        self._due: dict[int, tuple[Item, Choice]] = {}  # by the take at which it is to run
        self._held: dict[int, int] = {}  # by birth: the take up to which it stands back
        self._line: ReadyLine | None = None
        self._keys = keys
        keys.counts_all = any(choice.task in NO_TASK for choice in self._others.values())
        keys.take_patterns(choice.task for choice in choices if ANY_NUMBER in choice.task)
        keys.wanted, keys.on_named = self._steps.keys() | self._holds.keys(), self._named

    def attach(self, line: ReadyLine) -> None:
        self._line = line
        self._due, self._held = {}, {}

    def _named(self, item: Item, key: Key) -> None:
        choice = self._steps.get(key)
        if choice is not None:
            self._due[item[1] + choice.age] = (item, choice)
        hold = self._holds.get(key)
        if hold is not None:
            self._held[item[1]] = item[1] + hold.age

    def pick(self, items: Sequence[Any], options: int) -> int:
        line, keys = self._line, self._keys
        assert line is not None
        if keys._fresh:
            keys.settle()
        if self._due:
            due = self._due.pop(line.takes, None)
            if due is not None:
                item, choice = due
                for index in range(options):
                    if items[index] is item:
                        del self._steps[choice.key[1:]]
                        return index
                if self._strict:
                    ready = ", ".join(_label(keys, other) for other in items[:options][:6])
                    raise _misfit(choice, f"now it cannot run at step {line.takes}; ready: {ready}")
        held = self._held
        if held:
            takes = line.takes
            for index in range(options):
                until = held.get(items[index][1])
                if until is None:
                    return index
                if until <= takes:
                    del held[items[index][1]]
                    return index
        return 0

    def choose(self, kind: str, options: int, name: str = "", p: float | None = None) -> int:
        if not self._others:
            return 0
        choice = self._others.pop(self._keys.place(kind), None)
        if choice is None and self._keys.counts_all:
            choice = self._others.pop(self._keys.old_place(kind), None)
        if choice is None:
            return 0
        if choice.index >= options:
            if not self._strict:
                return 0
            raise _misfit(choice, f"now there are only {options} options")
        return choice.index

    def finish(self) -> None:
        """At the end of a run: every deviation must have been made.

        Raises:
            ReplayError: One was not; it names the first.
        """
        recording = self._keys
        assert isinstance(recording, Recording)
        stood = {key: take - born for key, born, take in recording.stood}
        for_good = {key for key, _, _ in recording.standing}
        left = {(*choice.key, choice.age) for choice in (*self._steps.values(), *self._others.values())}
        for choice in self.listed:
            if (*choice.key, choice.age) in left:
                raise _misfit(choice, "now the run ended without it")
            key = choice.key[1:]
            if choice.kind == "hold" and key not in for_good and stood.get(key, 0) < choice.age:
                now = f"ran {stood[key]} steps after its place, not {choice.age}" if key in stood else "was not passed"
                raise _misfit(choice, f"now it {now}")


def _label(keys: Keys, item: Item) -> str:
    return keys.label(item) if isinstance(keys, Recording) else " step ".join(map(str, keys.key_of(item)))


def _misfit(choice: Choice, now: str) -> ReplayError:
    return ReplayError(
        f"the recorded choices do not fit this program: recorded: {choice.told}; {now}; the code or a "
        f"library has changed, or the run depends on something that is not recorded ({SUSPECTS})",
        data={"choice": choice.words, "kind": choice.kind, "task": choice.task, "step": choice.step},
    )
