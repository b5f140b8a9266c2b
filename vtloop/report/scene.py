"""What of a story is shown: which tasks have a lane, which events are rows, and which of a long run are folded away.

Shared by the table and the page, so that both tell the same.  It must never make text.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from vtloop.report.choices import Told, woken
from vtloop.report.story import Left, Moment, Story

__all__ = ["Fold", "Scene", "scene_of"]

AROUND, FIRST, LAST = 4, 3, 12
"""How many events of a long run are shown around a deviating choice, at the beginning and at the end."""


@dataclass(frozen=True, slots=True)
class Fold:
    """A stretch of events that are left out.

    Attributes:
        events: How many.
        from_ns: The virtual time of the first.
        to_ns: That of the last.
    """

    events: int
    from_ns: int
    to_ns: int


@dataclass(slots=True)
class Scene:
    """What is shown.

    Attributes:
        lanes: The tasks that are shown, in order of their first step.
        stars: Those of them that the deviating choices are about, and those that raised.
        hidden: How many others there are.
        hidden_events: How many events those have.
        rows: Events, and folds where some are left out.
        marks: The deviating choices that show with an event, by its number.
    """

    lanes: list[str]
    stars: set[str] = field(default_factory=set)
    hidden: int = 0
    hidden_events: int = 0
    rows: list[Moment | Fold] = field(default_factory=list)
    marks: dict[int, list[Told]] = field(default_factory=dict)


def scene_of(story: Story, told: Sequence[Told], *, lanes: int, rows: int) -> Scene:
    """The scene with at most ``lanes`` tasks; a run of more than ``rows`` events is folded."""
    marks: dict[int, list[Told]] = {}
    for one in told:
        if one.at is not None:
            marks.setdefault(one.at, []).append(one)
    shown = _lanes(story, told, lanes)
    within = set(shown)
    named = {number for one in told for number in (one.moment, one.at)}
    events = [m for m in story.moments if _matters(m, within, named)]
    stars = {moment.who for one in told for moment in _about(story, one) if moment.kind == "step"}
    raisers: dict[str, str] = {}  # who raised it first: whoever awaits that task only passes it on
    for moment in story.moments:
        if moment.end == "raised":
            raisers.setdefault(moment.error, moment.who)
    stars |= set(raisers.values())
    others = {m.who for m in story.moments if m.kind == "step"} - within
    scene = Scene(shown, stars & within, len(others), marks=marks)
    scene.hidden_events = sum(m.kind == "step" and m.who not in within for m in story.moments)
    scene.rows = list(events) if len(events) <= rows else _folded(events, named, rows)
    return scene


def _matters(moment: Moment, lanes: set[str], named: set[int | None]) -> bool:
    if moment.number in named:
        return moment.kind != "step" or moment.who in lanes
    if moment.kind == "step":
        return moment.who in lanes
    return moment.kind == "callback" and not moment.internal


def _lanes(story: Story, told: Sequence[Told], most: int) -> list[str]:
    """Those that the deviating choices are about, those that failed or wait at the end, and those that woke them."""
    ran = {moment.who for moment in story.moments if moment.kind == "step"}
    ran |= {moment.who for one in told for moment in _about(story, one)}
    if len(ran) <= most:
        return [name for name in story.lanes if name in ran]
    weight: Counter[str] = Counter()
    for one in told[-50:]:
        for moment in _about(story, one):
            if moment.kind == "step":
                weight[moment.who] += 1_000_000
                maker = woken(story, moment)[1] if isinstance(moment, Moment) else None
                if maker is not None:
                    weight[maker.who] += 20_000
    last = [m for m in story.moments if m.kind == "step"]
    for moment in last:
        if moment.end == "raised":
            weight[moment.who] += 100_000
    for name, lane in story.lanes.items():
        if lane.waits:
            weight[name] += 10_000 if "held by" in lane.waits else 1_000
    for moment in last[-200:]:
        if moment.who in weight:
            maker = woken(story, moment)[1]
            if maker is not None and maker.kind == "step":
                weight[maker.who] += 100
    for age, moment in enumerate(last[-most:], 1):
        weight[moment.who] += age
    first = next(iter(story.lanes))
    weight[first] += 500
    heaviest = [name for name, _ in weight.most_common() if name in ran][:most]
    return [name for name in story.lanes if name in heaviest]


def _about(story: Story, told: Told) -> Iterable[Moment | Left]:
    """The steps that a choice put into another order."""
    moment = story.at(told.moment)
    if moment is None:
        return ()
    if told.kind == "step":
        return [moment, *story.passed_over(moment)[:3]]
    if told.kind == "hold":
        return [moment, *story.went_first(moment)[-3:]]
    owner = story.at(moment.by) if moment.kind == "choice" else moment
    return [owner] if owner is not None else []


def _folded(events: list[Moment], named: set[int | None], rows: int) -> list[Moment | Fold]:
    """The first and last events, and those around what is named, the latest of them as long as there is room."""
    keep = {*range(min(FIRST, len(events))), *range(max(len(events) - LAST, 0), len(events))}
    for at in reversed([at for at, moment in enumerate(events) if moment.number in named]):
        near = range(max(at - AROUND, 0), min(at + AROUND + 1, len(events)))
        if len(keep | set(near)) > rows:
            break
        keep |= set(near)
    shown: list[Moment | Fold] = []
    at = 0
    while at < len(events):
        if at in keep:
            shown.append(events[at])
            at += 1
            continue
        end = at
        while end < len(events) and end not in keep:
            end += 1
        if end - at < 3:
            shown += events[at:end]
        else:
            shown.append(Fold(end - at, events[at].time_ns, events[end - 1].time_ns))
        at = end
    return shown
