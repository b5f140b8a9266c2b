"""The command ``show``: a trace in words, and with its program what ran when, why, and in which order.

Called by `vtloop.cli`.  Reading a trace runs nothing; playing it back needs the program to be named.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from vtloop.clock import seconds_text
from vtloop.commands import Request, clipped
from vtloop.errors import UsageError
from vtloop.options import OPTION_NAMES, RUN_DEFAULTS
from vtloop.replaying import is_stored, program
from vtloop.report.choices import Told, told_choices
from vtloop.report.html import page
from vtloop.report.perfetto import trace_events_text
from vtloop.report.story import Story
from vtloop.report.table import table
from vtloop.store import is_fixed
from vtloop.telling import Played, command_of, play
from vtloop.trace import Trace, read
from vtloop.writing import write_whole

__all__ = ["EVENT_FIELDS", "event_words", "show"]

MOST_CHOICES = 40
"""How many choices are told on a terminal, the last ones."""

EVENT_FIELDS = ("step", "time_ns", "what", "index", "options")


def event_words(event: Any) -> str:
    """An event in one line."""
    step, time_ns, what, index, options = event
    picked = f" (picked {index} of {options})" if options > 1 else ""
    return f"step {step} t={seconds_text(time_ns)}: {what}{picked}"


def show(request: Request) -> int:
    """``vtloop show TRACE``."""
    given, console = request.given, request.console
    trace = read(given.trace)
    played: Played | None = None
    if given.target is not None or given.events or given.html is not None or given.perfetto is not None:
        played = _play(request, trace)
        trace = played.trace
    console.say(*_header(given.trace, trace))
    data = _data(trace)
    if played is None:
        console.say(*_choices(trace), "more     with a TARGET or --html FILE it is played back: lines, table, timeline")
    else:
        told = told_choices(played.story)
        console.say(*_told(trace, told), "", *table(played.story, told))
        if given.events:
            console.say("", *_table(played.events))
            data["events"] = [dict(zip(EVENT_FIELDS, event, strict=True)) for event in played.events]
        data["told"] = [one.text for one in told]
        data["story"] = played.story.to_dict()
        data["written"] = _write(request, played.story, told)
    console.data(data)
    return 0


def _play(request: Request, trace: Trace) -> Played:
    with program(request, trace) as target:
        return play(trace, target, command_of(request.given.trace, trace, target.text))


def _write(request: Request, story: Story, told: Sequence[Told]) -> list[str]:
    """The files that were asked for; their names.

    Raises:
        UsageError: One cannot be written.
    """
    written = []
    for flag, text in (("html", page), ("perfetto", trace_events_text)):
        path = getattr(request.given, flag)
        if path is None:
            continue
        try:
            write_whole(path, text(story, told))
        except OSError as exc:
            raise UsageError(f"--{flag} {path!r} cannot be written to: {exc.strerror}") from None
        request.console.note(f"written: {path}")
        written.append(path)
    return written


def _data(trace: Trace) -> dict[str, Any]:
    """The trace as JSON-ready values."""
    return {
        "options": {name: value for name, value in dataclasses.asdict(trace.options).items() if name != "scheduler"},
        "scheduler": trace.options.scheduler,
        "target": trace.target,
        "check": trace.check,
        "outcome": dict(trace.outcome),
        "made_by": dict(trace.made_by),
        "choices": None if trace.choices is None else [dataclasses.asdict(choice) for choice in trace.choices],
    }


def _header(source: str, trace: Trace) -> list[str]:
    made, end, options = trace.made_by, trace.outcome, trace.options
    changed = options.changed(RUN_DEFAULTS)
    shown = {name: getattr(options, name) for name in OPTION_NAMES if name in changed or name in ("seed", "scheduler")}
    lines = [f"trace    {clipped(source, 100)}", f"target   {trace.target or 'not named'}"]
    if made:
        lines.append(
            f"made by  vtloop {made.get('vtloop')}, Python {made.get('python')}, hash seed {made.get('hash_seed')}"
        )
    lines.append("options  " + ", ".join(f"{name}={value!r}" for name, value in shown.items()))
    if options.scheduler != "fifo" and "interleave" not in shown:
        lines[-1] += f", interleave={options.interleave!r}"
    kind = end.get("type")
    at = f" at {end['place']}" if end.get("place") else ""
    when = (
        f", t={seconds_text(end['time_ns'])} s, step {end.get('step')}" if isinstance(end.get("time_ns"), int) else ""
    )
    lines.append(f"outcome  {kind or 'no failure'}{at}{when}")
    if is_stored(source):
        lines.append(f"stored   {'marked fixed' if is_fixed(Path(source)) else 'failing'}")
    return lines


def _choices(trace: Trace) -> list[str]:
    """What a trace itself says of its choices."""
    if trace.choices is None and trace.options.scheduler != "fifo":
        count = trace.check.partition("/")[2] or "0"
        return [f"choices  {count}, drawn from the seed; with a TARGET they are shown in words"]
    lines = [_count(trace)]
    return lines + [f"  {clipped(choice.told)}" for choice in trace.choices or ()]


def _told(trace: Trace, told: Sequence[Told]) -> list[str]:
    """The choices of a run that was played back, with their lines."""
    missing = len(told) - MOST_CHOICES
    lines = [_count(trace)]
    if missing > 0:
        lines.append(f"  ... {missing} earlier ones ...")
    return lines + [f"  {one.number}  {clipped(one.text)}" for one in told[-MOST_CHOICES:]]


def _count(trace: Trace) -> str:
    count = trace.check.partition("/")[2] or "0"
    if trace.options.scheduler == "fifo":
        return f"choices  {count}, all as asyncio's own order has them"
    deviate = len(trace.choices or ())
    return f"choices  {count}, of which {deviate} deviate{'s' if deviate == 1 else ''} from asyncio's own order"


def _table(events: list[Any]) -> list[str]:
    lines = [f"{'step':>6}  {'time':>12}  {'picked':>9}  what"]
    for step, time_ns, what, index, options in events:
        picked = f"{index} of {options}" if options > 1 else ""
        lines.append(f"{step:>6}  {seconds_text(time_ns):>12}  {picked:>9}  {what}")
    return lines
