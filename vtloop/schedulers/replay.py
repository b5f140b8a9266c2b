"""Replay: the recorded choices, fed back, and compared on the way.

`FlatReplay` takes the whole list of a run made a moment ago; `KeyedReplay` takes the deviations of a trace, found
again by task, step and age, so that an edit elsewhere does not shift them.  Both say where the program parted from
the record.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vtloop.errors import NondeterminismError, ReplayError
from vtloop.ready import Item, ReadyLine
from vtloop.recording import Key, Recording
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

    Raises:
        ReplayError: A deviation cannot be made any more.
    """

    def __init__(self, level: str, choices: Sequence[Choice], recording: Recording) -> None:
        super().__init__(level)
        self._recording = recording
        self._steps = {choice.key: choice for choice in choices if choice.kind == "step"}
        self._others = {(*choice.key, choice.age): choice for choice in choices if choice.kind != "step"}
        self._due: dict[int, tuple[Item, Choice]] = {}
        self._line: ReadyLine | None = None
        recording.on_named = self._named

    def attach(self, line: ReadyLine) -> None:
        self._line = line

    def _named(self, item: Item, key: Key) -> None:
        choice = self._steps.get(("step", *key))
        if choice is not None:
            self._due[item[1] + choice.age] = (item, choice)

    def pick(self, items: Sequence[Any], options: int) -> int:
        assert self._line is not None
        self._recording.settle()
        due = self._due.pop(self._line.takes, None)
        if due is None:
            return 0
        item, choice = due
        for index in range(options):
            if items[index] is item:
                del self._steps[choice.key]
                return index
        now = ", ".join(self._recording.label(other) for other in items[:options][:6])
        raise _misfit(choice, f"now it cannot run at step {self._line.takes}; ready: {now}")

    def choose(self, kind: str, options: int, name: str = "", p: float | None = None) -> int:
        choice = self._others.pop(self._recording.place(kind), None)
        if choice is None:
            return 0
        if choice.index >= options:
            raise _misfit(choice, f"now there are only {options} options")
        return choice.index

    def finish(self) -> None:
        """At the end of a run: every deviation must have been made.

        Raises:
            ReplayError: One was not; it names the first.
        """
        for choice in (*self._steps.values(), *self._others.values()):
            raise _misfit(choice, "now the run ended without it")


def _misfit(choice: Choice, now: str) -> ReplayError:
    return ReplayError(
        f"the recorded choices do not fit this program: recorded: {choice.words or choice.key}; {now}; the code or a "
        f"library has changed, or the run depends on something that is not recorded ({SUSPECTS})",
        data={"choice": choice.words, "kind": choice.kind, "task": choice.task, "step": choice.step},
    )
