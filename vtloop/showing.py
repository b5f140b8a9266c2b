"""The command ``show``: a trace in words, and with its program every event of the run.

Called by `vtloop.cli`.  Reading a trace runs nothing; playing it back needs the program to be named.
"""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

from vtloop.api import replay_outcome
from vtloop.clock import seconds_text
from vtloop.commands import Request, clipped
from vtloop.console import quiet
from vtloop.errors import UsageError
from vtloop.options import OPTION_NAMES, RUN_DEFAULTS, Options
from vtloop.replaying import program
from vtloop.run import Outcome
from vtloop.targets import PytestTarget
from vtloop.trace import Trace, read

__all__ = ["EVENT_FIELDS", "event_words", "show"]

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
    events: list[Any] | None = None
    if given.target is not None or given.events:
        trace, events = _played(request, trace)
    console.say(*_header(given.trace, trace), *_choices(trace))
    if events is not None and given.events:
        console.say(*_table(events))
    data = {
        "options": {name: value for name, value in dataclasses.asdict(trace.options).items() if name != "scheduler"},
        "scheduler": trace.options.scheduler,
        "target": trace.target,
        "check": trace.check,
        "outcome": dict(trace.outcome),
        "made_by": dict(trace.made_by),
        "choices": None if trace.choices is None else [dataclasses.asdict(choice) for choice in trace.choices],
    }
    if given.events:
        data["events"] = [dict(zip(EVENT_FIELDS, event, strict=True)) for event in events or ()]
    console.data(data)
    return 0


def _played(request: Request, trace: Trace) -> tuple[Trace, list[Any]]:
    """The trace with what a replay adds: choices in words, and the events."""
    with program(request, trace) as target, open(os.devnull, "w", encoding="utf-8") as nowhere:
        if isinstance(target, PytestTarget):
            raise UsageError(f"show plays back functions and scripts; for a test: vtloop replay {request.given.trace}")
        execute: Callable[..., Outcome] = target.execute

        def run_once(options: Options, **how: Any) -> Outcome:
            return execute(options, keep=None, **how)

        with quiet(nowhere):
            outcome = replay_outcome(trace, run_once)
        if isinstance(outcome.error, UsageError):
            raise outcome.error
        recording = outcome.recording
        whole = outcome.trace(target.text)
        known = dict(trace.outcome) if len(trace.outcome) > 1 else whole.outcome
        trace = dataclasses.replace(
            trace, choices=whole.choices, target=trace.target or target.text, check=whole.check, outcome=known
        )
        return trace, list(recording.events) if recording is not None else []


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
    return lines


def _choices(trace: Trace) -> list[str]:
    count = trace.check.partition("/")[2] or "0"
    if trace.options.scheduler == "fifo":
        return [f"choices  {count}, all as asyncio's own order has them"]
    if trace.choices is None:
        return [f"choices  {count}, drawn from the seed; with a TARGET they are shown in words"]
    lines = [f"choices  {count}, of which {len(trace.choices)} deviate from asyncio's own order"]
    return lines + [f"  {clipped(choice.words or ' '.join(map(str, choice.key)))}" for choice in trace.choices]


def _table(events: list[Any]) -> list[str]:
    lines = [f"{'step':>6}  {'time':>12}  {'picked':>9}  what"]
    for step, time_ns, what, index, options in events:
        picked = f"{index} of {options}" if options > 1 else ""
        lines.append(f"{step:>6}  {seconds_text(time_ns):>12}  {picked:>9}  {what}")
    return lines
