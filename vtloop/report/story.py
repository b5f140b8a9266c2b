"""The story of one run as data: every event, with what made it ready, what it ran, and what it waits for afterwards.

Made by `vtloop.report.teller`, read by everything else in this package; its JSON twin travels between processes.
Strings and numbers only.  It must never hold anything of the program it tells about.
"""

from __future__ import annotations

import dataclasses
from bisect import bisect_left
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from vtloop.clock import seconds_text
from vtloop.cpython import SLEEP_WAKEUP
from vtloop.diagnosis.chains import Place, one_line
from vtloop.errors import TraceError
from vtloop.trace import Choice

__all__ = [
    "FORMAT",
    "LATENCY",
    "TIMEOUT",
    "TIMER",
    "Lane",
    "Left",
    "Moment",
    "Spot",
    "Story",
    "fitted",
    "spot_of",
    "when",
]

FORMAT = 1
"""The version of the JSON twin."""

_KIND = "vtloop story"

LONGEST_NAME = 44
"""How much people see of the name of a task; libraries give dotted ones."""


@dataclass(frozen=True, slots=True)
class Spot:
    """A line of the program.

    Attributes:
        file: The file, relative to the working folder where it lies below it.
        line: The line, counted from 1.
        function: The function around it.
        source: The line itself, without indentation; empty where it cannot be read.
    """

    file: str
    line: int
    function: str
    source: str

    @property
    def short(self) -> str:
        """``name.py:12``."""
        return f"{self.file.replace(chr(92), '/').rpartition('/')[2]}:{self.line}"

    @property
    def place(self) -> str:
        """``src/name.py:12`` below the working folder, ``package/name.py:12`` of an installed one; else as `short`."""
        file = self.file.replace(chr(92), "/")
        packages = next((part for part in ("/site-packages/", "/dist-packages/") if part in file), None)
        if packages is not None:
            return f"{file.rpartition(packages)[2]}:{self.line}"
        return self.short if file.startswith("/") or ":" in file else f"{file}:{self.line}"


def spot_of(place: Place | None) -> Spot | None:
    """A place of a wait-for graph as a spot."""
    return None if place is None else Spot(place.file, place.line, place.function, place.source)


@dataclass(slots=True)
class Moment:
    """One event: a step of a task, a callback, the end of a turn, or a choice of another kind.

    Attributes:
        number: Its place in the story, counted from 1 over the whole run.
        step: How many callbacks had run, this one included.
        time_ns: The virtual time at which it began.
        kind: ``"step"``, ``"callback"``, ``"turn"`` or ``"choice"``.
        who: The task, the callback, ``"turn"``, or what kind of choice.
        nth: Which step of that task, which callback, which turn; for a choice, which of its kind in this step.
        index: The index picked.
        options: Out of how many.
        born: Its number of arrival in the line of what is ready; -1 for a choice.
        by: The number of the event during which it became ready; for a choice, of the event that it belongs to.
        passed: The numbers of arrival of what was passed over for it, oldest first.
        lines: The lines of the program that it ran, each once, the first and last ones of many.
        more_lines: How many further lines there were.
        stands: Where the task stands afterwards, or where it raised.
        waits: What it waits for afterwards, in words; empty when it has ended or only let others go first.
        end: ``"returned"``, ``"raised"``, ``"cancelled"``; empty when it goes on.
        error: What it raised, in a line.
        cancelled: ``"by it"`` when it resumed because what made it ready cancelled it, ``"later"`` when a cancellation
            came after it had become ready; else empty.
        internal: Whether it is a callback of asyncio's or vtloop's own.
    """

    number: int
    step: int
    time_ns: int
    kind: str
    who: str
    nth: int
    index: int = 0
    options: int = 1
    born: int = -1
    by: int | None = None
    passed: tuple[int, ...] = ()
    lines: tuple[Spot, ...] = ()
    more_lines: int = 0
    stands: Spot | None = None
    waits: str = ""
    end: str = ""
    error: str = ""
    cancelled: str = ""
    internal: bool = False


@dataclass(slots=True)
class Lane:
    """One task.

    Attributes:
        name: Its name, unique in the run.
        coroutine: The coroutine function it runs.
        created: Where it was made.
        born: The number of arrival of its first step; lanes are in this order.
        stands: Where it stood when the run ended; None when it had ended.
        waits: What it waited for then, in words.
    """

    name: str
    coroutine: str
    created: Spot | None = None
    born: int = 0
    stands: Spot | None = None
    waits: str = ""

    @property
    def label(self) -> str:
        """The name, and the coroutine where the name is only a number; of a long dotted name its end."""
        if self.name.startswith("Task-") and self.coroutine:
            return f"{self.name} ({_short(self.coroutine)})"
        return _short(one_line(self.name).replace(".<locals>", ""))


@dataclass(frozen=True, slots=True)
class Left:
    """Something that still stood ready when the run ended."""

    born: int
    who: str
    nth: int
    kind: str = "step"
    by: int | None = None


@dataclass(slots=True)
class Story:
    """One run, told.

    Attributes:
        moments: The events, oldest first; of a very long run the last ones.
        lanes: The tasks, in the order in which they were made.
        choices: Those that deviate from asyncio's own order, in order.
        left: What still stood ready at the end.
        dropped: How many earlier events are left out.
        options: The options of the run that differ from the defaults.
        error: What the run failed with, in a line; empty when it did not.
        place: Where that was raised.
        value: What the program returned, in words; empty for nothing.
        report: The lines of a verdict (a deadlock, say), or nothing.
        label: What the finding rests on, in a line.
        target: What was run.
        command: The command that plays it back.
        time_ns: The virtual time of the end.
        steps: How many callbacks ran.
        notes: What else a reader should know.
    """

    moments: list[Moment] = field(default_factory=list)
    lanes: dict[str, Lane] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    dropped: int = 0
    options: dict[str, Any] = field(default_factory=dict)
    error: str = ""
    place: str = ""
    value: str = ""
    report: list[str] = field(default_factory=list)
    label: str = ""
    target: str = ""
    command: str = ""
    time_ns: int = 0
    steps: int = 0
    notes: list[str] = field(default_factory=list)
    _found: dict[tuple[str, str, int], Moment] = field(default_factory=dict, init=False, repr=False, compare=False)

    def at(self, number: int | None) -> Moment | None:
        """The event of that number; None when it was dropped or never was."""
        if number is None or not self.moments:
            return None
        index = number - self.moments[0].number
        return self.moments[index] if 0 <= index < len(self.moments) else None

    def main_file(self) -> str:
        """The file of most lines; empty where no lines were seen."""
        count = Counter(spot.file for moment in self.moments for spot in moment.lines)
        return count.most_common(1)[0][0] if count else ""

    def find(self, who: str, nth: int) -> Moment | None:
        """Step ``nth`` of task ``who``, callback or turn ``nth``; None when it is not told."""
        if not self._found:
            for moment in self.moments:
                name = moment.who if moment.kind == "step" else moment.kind
                self._found.setdefault((moment.kind, name, moment.nth), moment)
        return self._found.get((who if who in ("callback", "turn") else "step", who, nth))

    def label_of(self, who: str) -> str:
        """A task as people read it."""
        lane = self.lanes.get(who)
        return lane.label if lane is not None else who

    def name(self, moment: Moment | Left) -> str:
        """An event as people read it: ``Task-3 (read) step 2``."""
        if moment.kind == "callback":
            return self._callback(moment)
        if moment.kind == "turn":
            return f"the end of turn {moment.nth}"
        if moment.kind == "choice":
            return f"choice {moment.who}"
        return f"{self.label_of(moment.who)} step {moment.nth}"

    def _callback(self, moment: Moment | Left) -> str:
        if isinstance(moment, Left) or not moment.internal:
            return f"callback {moment.who}"
        if moment.who in _KNOWN:
            return _KNOWN[moment.who]
        woken = self.woke(moment)
        to_whom = f" for {self.label_of(woken.who)}" if woken is not None else ""
        return f"the timer{to_whom}" if moment.who in (TIMER, LATENCY) else f"callback {moment.who}{to_whom}"

    def woke(self, moment: Moment) -> Moment | None:
        """The first step that a callback made ready."""
        start = self._index_of(moment) + 1
        # It stands in the line at once, so it is near.
        near = self.moments[start : start + 200]
        return next((one for one in near if one.by == moment.number and one.kind == "step"), None)

    def chosen_in(self, moment: Moment) -> list[Moment]:
        """The deviating choices of other kinds that were made in an event."""
        found = []
        number = moment.number + 1
        while (choice := self.at(number)) is not None and choice.kind == "choice":
            found += [choice] if choice.by == moment.number else []
            number += 1
        return found

    def passed_over(self, moment: Moment) -> list[Moment | Left]:
        """What stood ready before ``moment`` and was passed over for it, oldest first, with its own later event."""
        if not moment.passed:
            return []
        wanted = set(moment.passed)
        found: list[Moment | Left] = [other for other in self.left if other.born in wanted]
        start = self._index_of(moment)
        found += [other for other in self.moments[start:] if other.born in wanted]
        return sorted(found, key=lambda other: other.born)

    def went_first(self, moment: Moment | Left) -> list[Moment]:
        """What had become ready after ``moment`` and yet ran before it, in the order in which it ran."""
        end = self._index_of(moment) if isinstance(moment, Moment) else len(self.moments)
        return [other for other in self.moments[:end] if other.born > moment.born]

    def _index_of(self, moment: Moment) -> int:
        return bisect_left(self.moments, moment.number, key=lambda other: other.number)

    # -- the JSON twin ------------------------------------------------------------------------------------------

    def to_dict(self) -> dict[str, Any]:
        """The story as JSON-ready values; every key is an attribute described above."""
        return {
            "kind": _KIND,
            "format": FORMAT,
            **{key: getattr(self, key) for key in _PLAIN},
            "lanes": [dataclasses.asdict(lane) for lane in self.lanes.values()],
            "moments": [dataclasses.asdict(moment) for moment in self.moments],
            "choices": [dataclasses.asdict(choice) for choice in self.choices],
            "left": [dataclasses.asdict(one) for one in self.left],
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Story:
        """The story that `to_dict` made.

        Raises:
            TraceError: It is none, or one of another version.
        """
        if data.get("kind") != _KIND or data.get("format") != FORMAT:
            raise TraceError(f"this is not a {_KIND} of format {FORMAT}: {data.get('kind')!r} {data.get('format')!r}")
        story = cls(**{key: data[key] for key in _PLAIN})
        story.choices = [Choice(**one) for one in data["choices"]]
        story.left = [Left(**one) for one in data["left"]]
        lanes = [
            Lane(**{**one, "created": _spot(one["created"]), "stands": _spot(one["stands"])}) for one in data["lanes"]
        ]
        story.lanes = {lane.name: lane for lane in lanes}
        story.moments = [
            Moment(
                **{
                    **one,
                    "passed": tuple(one["passed"]),
                    "lines": tuple(Spot(**line) for line in one["lines"]),
                    "stands": _spot(one["stands"]),
                }
            )
            for one in data["moments"]
        ]
        return story


TIMER, TIMEOUT, LATENCY = getattr(SLEEP_WAKEUP, "__qualname__", ""), "Timeout._on_timeout", "_wake"
"""asyncio's callbacks at the end of a sleep, and of a timeout; vtloop's at the end of a latency."""

_KNOWN = {TIMEOUT: "the timeout", "_stop_loop": "the end of the main task"}

_PLAIN = (
    *("dropped", "options", "error", "place", "value", "report", "label", "target", "command", "time_ns", "steps"),
    "notes",
)


def _spot(data: Mapping[str, Any] | None) -> Spot | None:
    return None if data is None else Spot(**data)


def _short(name: str) -> str:
    """Of a long dotted name the end, of another long one both ends."""
    if len(name) <= LONGEST_NAME:
        return name
    cut = name.find(".", len(name) - LONGEST_NAME)
    if cut > 0 and " " not in name:
        return f"...{name[cut + 1 :]}"
    half = LONGEST_NAME // 2 - 2
    return f"{name[:half]}...{name[-half:]}"


def fitted(label: str, most: int) -> str:
    """The name of a task in at most ``most`` characters: of one whose beginning is left out already the end."""
    if len(label) <= most:
        return label
    return (
        f"...{label[len(label) - most + 3 :].lstrip('.')}"
        if label.startswith("...")
        else f"{label[: max(most - 3, 0)]}..."
    )


def when(time_ns: int) -> str:
    """A virtual time as people read it: ``30 s``."""
    return f"{seconds_text(time_ns)} s"
