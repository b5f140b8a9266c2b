"""The run as a file for Perfetto and other viewers of the Chrome trace-event format.

A thread for each task, a slice for each step and each wait, an arrow from each step to those it woke, an instant for
each deviating choice.  Steps take no virtual time, so each is given a small extent, in the order in which they ran;
the file says so in ``otherData``.  It must never move a step beyond the next instant of the clock.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from vtloop.report.choices import Told, did, first_line, line_text, waiting, woken
from vtloop.report.story import Moment, Story

__all__ = ["trace_events", "trace_events_text"]

_PROCESS, _CALLBACKS = 1, 0

_NOTE = (
    "times are virtual; a step takes no virtual time and is drawn with a small extent, in the order in which steps "
    "ran; the extents at one instant end before the next instant"
)


def trace_events_text(story: Story, told: Sequence[Told]) -> str:
    """The content of the file."""
    return json.dumps(trace_events(story, told), separators=(",", ":"))


def trace_events(story: Story, told: Sequence[Told]) -> dict[str, Any]:
    """The document as JSON-ready values."""
    threads = {name: number for number, name in enumerate(story.lanes, 1)}
    shown = [m for m in story.moments if m.kind == "step" or (m.kind == "callback" and not m.internal)]
    extents = _extents(shown)
    events = _names(story, threads)
    before: dict[str, tuple[float, str]] = {}
    for moment in shown:
        thread = threads.get(moment.who, _CALLBACKS) if moment.kind == "step" else _CALLBACKS
        start, length = extents[moment.number]
        if moment.kind == "step" and moment.who in before:
            ended, waits = before[moment.who]
            if waits and start > ended:
                events.append(_slice(waits, "wait", ended, start - ended, thread, {}))
        events.append(_slice(_name(story, moment), "step", start, length, thread, _arguments(story, moment)))
        before[moment.who] = (start + length, waiting(moment.waits))
        events += _arrow(story, moment, extents, threads)
    end = max((start + length for start, length in extents.values()), default=0.0)
    for name, (ended, waits) in before.items():
        if waits and end > ended and name in threads:
            events.append(_slice(waits, "wait", ended, end - ended, threads[name], {}))
    events += _choices(story, told, extents, threads)
    about: dict[str, Any] = {"note": _NOTE, "target": story.target, "error": story.error, "command": story.command}
    about |= {"dropped_events": story.dropped, "options": {k: repr(v) for k, v in story.options.items()}}
    return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": about}


def _extents(moments: Sequence[Moment]) -> dict[int, tuple[float, float]]:
    """Start and length of each event in microseconds."""
    instants: dict[int, list[Moment]] = {}
    for moment in moments:
        instants.setdefault(moment.time_ns, []).append(moment)
    times = list(instants)
    whole = (times[-1] - times[0]) / 1_000 if times else 0.0
    found: dict[int, tuple[float, float]] = {}
    for place, time_ns in enumerate(times):
        here = instants[time_ns]
        room = (times[place + 1] - time_ns) / 1_000 if place + 1 < len(times) else max(whole / 20, 1.0)
        length = min(room / (2 * len(here)), max(whole / 400, 1.0))
        for number, moment in enumerate(here):
            found[moment.number] = (time_ns / 1_000 + number * length, length)
    return found


def _names(story: Story, threads: dict[str, int]) -> list[dict[str, Any]]:
    """What the viewer calls the process and its threads, and their order."""
    named: list[tuple[str, int, dict[str, Any]]] = [("process_name", _CALLBACKS, {"name": story.target or "vtloop"})]
    named += [
        ("thread_name", _CALLBACKS, {"name": "callbacks"}),
        ("thread_sort_index", _CALLBACKS, {"sort_index": 10_000}),
    ]
    for name, thread in threads.items():
        named.append(("thread_name", thread, {"name": story.label_of(name)}))
        named.append(("thread_sort_index", thread, {"sort_index": thread}))
    return [{"ph": "M", "name": kind, "pid": _PROCESS, "tid": thread, "args": args} for kind, thread, args in named]


def _slice(name: str, kind: str, start: float, length: float, thread: int, args: dict[str, Any]) -> dict[str, Any]:
    times: dict[str, Any] = {"ts": round(start, 4), "dur": round(length, 4)}
    return {"ph": "X", "name": name, "cat": kind, "pid": _PROCESS, "tid": thread, **times, "args": args}


def _name(story: Story, moment: Moment) -> str:
    spot = first_line(story, moment) if moment.kind == "step" else None
    return spot.source if spot is not None and spot.source else story.name(moment)


def _arguments(story: Story, moment: Moment) -> dict[str, Any]:
    """What the viewer shows of a chosen slice."""
    args: dict[str, Any] = {"event": moment.number, "what": story.name(moment), "time_s": moment.time_ns / 1e9}
    if moment.options > 1:
        args["picked"] = f"{moment.index} of {moment.options}"
    why = woken(story, moment)[0]
    rest = {"made ready by": why, "lines": [line_text(spot) for spot in moment.lines], "then": did(moment)}
    return args | {key: value for key, value in rest.items() if value}


def _arrow(
    story: Story, moment: Moment, extents: dict[int, tuple[float, float]], threads: dict[str, int]
) -> list[dict[str, Any]]:
    """From the step that woke this one."""
    maker = woken(story, moment)[1]
    if maker is None or maker.number not in extents or moment.kind != "step" or maker.kind != "step":
        return []
    start, length = extents[maker.number]
    common: dict[str, Any] = {"name": "wakes", "cat": "wake", "id": moment.number, "pid": _PROCESS}
    return [
        {"ph": "s", **common, "tid": threads[maker.who], "ts": round(start + length / 2, 4)},
        {"ph": "f", "bp": "e", **common, "tid": threads[moment.who], "ts": round(extents[moment.number][0], 4)},
    ]


def _choices(
    story: Story, told: Sequence[Told], extents: dict[int, tuple[float, float]], threads: dict[str, int]
) -> list[dict[str, Any]]:
    """An instant for each choice, on the thread of the event with which it shows."""
    events = []
    for one in told:
        moment = story.at(one.at)
        if moment is not None and moment.kind == "choice":
            moment = story.at(moment.by) or moment
        if moment is None:
            continue
        start = extents[moment.number][0] if moment.number in extents else moment.time_ns / 1_000
        thread = threads.get(moment.who, _CALLBACKS) if moment.kind == "step" else _CALLBACKS
        place: dict[str, Any] = {"pid": _PROCESS, "tid": thread, "ts": round(start, 4), "s": "t"}
        events.append(
            {"ph": "i", "name": f"choice {one.number}", "cat": "choice", **place, "args": {"words": one.text}}
        )
    return events
