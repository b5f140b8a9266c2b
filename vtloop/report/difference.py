"""The first difference between two stories: what both did, and the event in which they part.

A failing run beside a passing one shows in one line what the failure hangs on.  Ends of turns and asyncio's own
callbacks are left out: they differ without meaning anything.  It must never say that two runs are the same when one of
them is not told whole.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from vtloop.clock import seconds_text
from vtloop.report.cells import clipped, padded
from vtloop.report.choices import Told, did, first_line, line_text, told_choices, woken
from vtloop.report.story import Moment, Story, when
from vtloop.wording import counted

__all__ = ["Difference", "compare", "difference_lines", "parting_lines"]

NEXT = 6
"""How many events behind the first difference are shown of each run."""

WIDTH = 100

_Key = tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """Where two runs part.

    Attributes:
        common: How many events they share.
        until_ns: The virtual time of the last of those.
        a: The first event of the first run that the second does not have there; None when it ended.
        b: The same of the second run.
        next_a: That event and a few behind it.
        next_b: The same of the second run.
        same: Whether the two runs are the same, their ends included.
    """

    common: int
    until_ns: int
    a: Moment | None
    b: Moment | None
    next_a: tuple[Moment, ...]
    next_b: tuple[Moment, ...]
    same: bool

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-ready values: the numbers are those of the events in each story."""
        return {
            "same": self.same,
            "common_events": self.common,
            "until_ns": self.until_ns,
            "first_of_a": self.a.number if self.a is not None else None,
            "first_of_b": self.b.number if self.b is not None else None,
        }


def compare(a: Story, b: Story) -> Difference:
    """The first difference of two stories; where early events were dropped, of what both still hold."""
    since = max(story.moments[0].number if story.moments else 0 for story in (a, b))
    mine, yours = _events(a, since), _events(b, since)
    common = 0
    for one, other in zip(mine, yours, strict=False):
        if _key(a, one) != _key(b, other):
            break
        common += 1
    next_a, next_b = tuple(mine[common : common + NEXT]), tuple(yours[common : common + NEXT])
    until = mine[common - 1].time_ns if common else 0
    same = not next_a and not next_b and (a.error, a.value, a.time_ns) == (b.error, b.value, b.time_ns)
    same = same and not (a.dropped or b.dropped)
    first_a, first_b = (next_a[0] if next_a else None), (next_b[0] if next_b else None)
    return Difference(common, until, first_a, first_b, next_a, next_b, same)


def _events(story: Story, since: int) -> list[Moment]:
    """What is compared: steps, callbacks of the program, and choices of other kinds."""
    kept = story.moments[bisect_left(story.moments, since, key=lambda moment: moment.number) :]
    return [m for m in kept if m.kind in ("step", "choice") or (m.kind == "callback" and not m.internal)]


def _key(story: Story, moment: Moment) -> _Key:
    if moment.kind == "choice":
        most = story.options.get(moment.who)  # of a lag or a stretch, which the index is a part of
        return ("choice", moment.who, moment.index, moment.options, most)
    nth = moment.nth if moment.kind == "step" else 0
    return (moment.kind, moment.who, nth, moment.time_ns, moment.end, moment.error)


# -- in words --------------------------------------------------------------------------------------------------------


def difference_lines(a: Story, b: Story, found: Difference) -> list[str]:
    """The difference for a terminal."""
    if found.same:
        return [f"the same run: all {found.common:,} events, up to t={when(found.until_ns)}, and the same end"]
    lines = [_common(found)]
    for story in (a, b):
        if story.dropped:
            lines.append(f"note: of {'A' if story is a else 'B'} the first {story.dropped:,} events are not compared")
    if found.a is None and found.b is None:
        if _end(a) == _end(b):
            return [*lines, "no event differs of those that are compared, and the end is the same:", *_ends(a, b)]
        return [*lines, "no event differs; they ended in different ways:", *_ends(a, b)]
    lines += ["then they part:", f"  A  {_first(a, found.a)}", f"  B  {_first(b, found.b)}"]
    lines += _because(a, found.a, "A") + _because(b, found.b, "B")
    lines += ["", *_beside(a, b, found), "", *_ends(a, b)]
    return lines


def parting_lines(failing: Story, passing: Story, found: Difference) -> list[str]:
    """The difference in three lines, for a failure that the nearest passing run stands beside."""
    if found.same or (found.a is None and found.b is None):
        return []
    dropped = max(failing.dropped, passing.dropped)
    if dropped and not found.common:
        return []  # they parted before what is kept
    shared = f"{counted(found.common, 'event')} in common" if found.common else "nothing in common"
    if dropped:
        shared = f"the last {counted(found.common, 'event')} before they part are the same"
    until = f", up to t={when(found.until_ns)}" if found.common else ""
    here, there = _first(failing, found.a), _first(passing, found.b)
    made = _made_there(failing, found)
    return [
        f"the nearest run that passes: {shared}{until}, then",
        f"  here   {clipped(made or here, 160)}",
        f"  there  {clipped(there, 160)}",
    ]


def _made_there(story: Story, found: Difference) -> str:
    """The choice by which the same step, at the same line, came to another end; empty when it is not that."""
    a, b = found.a, found.b
    if a is None or b is None or a.kind != "step" or (a.who, a.nth, a.lines[:1]) != (b.who, b.nth, b.lines[:1]):
        return ""
    return next((one.text for one in told_choices(story) if _within(story, one, a)), "")


def _within(story: Story, told: Told, step: Moment) -> bool:
    moment = story.at(told.moment)
    return moment is not None and moment.kind == "choice" and moment.by == step.number


def _common(found: Difference) -> str:
    if not found.common:
        return "nothing in common: the first events differ"
    return f"in common: {counted(found.common, 'event')}, up to t={when(found.until_ns)}"


def _first(story: Story, moment: Moment | None) -> str:
    if moment is None:
        return "has ended"
    told = next((one for one in told_choices(story) if one.moment == moment.number), None)
    if moment.kind == "choice":
        return told.text if told is not None else f"{moment.who}: {moment.index} of {moment.options}"
    spot = first_line(story, moment)
    ended = f", {did(moment)}" if moment.end else ""
    text = f"{story.name(moment)} at t={when(moment.time_ns)}{ended}"
    return f"{text}: {line_text(spot)}" if spot is not None else text


def _because(story: Story, moment: Moment | None, side: str) -> list[str]:
    """The choice with which the first event shows, and why it was ready."""
    if moment is None or moment.kind == "choice":
        return []
    lines = [f"  {side} by choice {one.number}: {one.words}" for one in _choices_at(told_choices(story), moment)]
    why = woken(story, moment)[0]
    return lines if lines or not why.startswith(("woken", "cancelled")) else [f"  {side} {why}"]


def _choices_at(told: Sequence[Told], moment: Moment) -> list[Told]:
    return [one for one in told if moment.number in (one.at, one.moment)][:3]


def _beside(a: Story, b: Story, found: Difference) -> list[str]:
    """What each did next, side by side."""
    width = (WIDTH - 3) // 2
    left = [line for moment in found.next_a for line in _short(a, moment)] or ["(ended)"]
    right = [line for moment in found.next_b for line in _short(b, moment)] or ["(ended)"]
    lines = [f"{'A went on':<{width}} | B went on", f"{'-' * width}-+-{'-' * width}"]
    for number in range(max(len(left), len(right))):
        mine = left[number] if number < len(left) else ""
        yours = right[number] if number < len(right) else ""
        lines.append(f"{padded(clipped(mine, width), width)} | {clipped(yours, width)}".rstrip())
    return lines


def _short(story: Story, moment: Moment) -> list[str]:
    """An event in one or two lines."""
    if moment.kind == "choice":
        return [_first(story, moment)]
    spot = first_line(story, moment)
    lines = [f"{seconds_text(moment.time_ns)} s  {story.name(moment)}"]
    came_to = did(moment)
    rest = [line_text(spot, spot.short)] if spot is not None else []
    return lines + [f"    {text}" for text in (*rest, came_to) if text]


def _ends(a: Story, b: Story) -> list[str]:
    return [f"A ended: {_end(a)}", f"B ended: {_end(b)}"]


def _end(story: Story) -> str:
    at = f"t={when(story.time_ns)}, step {story.steps:,}"
    if story.error:
        return f"{clipped(story.error, 160)}{f' at {story.place}' if story.place else ''}, {at}"
    return f"no failure{f', returned {story.value}' if story.value else ''}, {at}"
