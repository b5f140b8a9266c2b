"""What a run leaves behind, in words: the `LeakError`, and one line of it for each kind.

Called by `vtloop.leaks`, which decides what a leak is.  Works on plain values.  The traceback of the error ends at the
line that leaks, so that Python, pytest and debuggers show it.  It must never keep an object of the run alive.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any

from vtloop.diagnosis.chains import shown_path
from vtloop.diagnosis.describe import listed
from vtloop.diagnosis.targets import seconds as in_seconds
from vtloop.errors import LeakError
from vtloop.wording import counted

__all__ = ["Leak", "error_of", "headline", "report_of", "shown", "traceback_at"]

_MOST_LINES = 56
_MOST_IN_HEADLINE = 3


@dataclass(frozen=True, slots=True)
class Leak:
    """One thing left behind, or several at one place.

    Attributes:
        kind: One of the kinds of `vtloop.leaks`.
        text: What and where, in a few words: ``"fetch() made at app.py:12 in main"``.
        lines: Further lines of the report.
        place: File, line and function, for the traceback of the error; None when not known.
        hint: What to do about it; empty when there is nothing to say.
        count: How many there are.
        data: The facts as JSON-ready values.
        soft: Whether runs that look less closely do not see it: it never decides where the error is.
    """

    kind: str
    text: str
    lines: tuple[str, ...] = ()
    place: tuple[str, int, str] | None = None
    hint: str = ""
    count: int = 1
    data: dict[str, Any] = field(default_factory=dict)
    soft: bool = False


_HEADS = {
    "coroutine": ("coroutine was never awaited", "coroutines were never awaited"),
    "survivor": ("task survived its cancel", "tasks survived their cancel"),
    "task": ("task was left behind", "tasks were left behind"),
    "stuck task": ("task could never run again", "tasks could never run again"),
    "async generator": ("async generator was left open", "async generators were left open"),
    "executor call": ("executor call was still going", "executor calls were still going"),
    "transport": ("transport was left open", "transports were left open"),
    "lock": ("lock was still held", "locks were still held"),
}


def shown(place: tuple[str, int, str]) -> str:
    """``app.py:12 in main``."""
    file, line, function = place
    return f"{shown_path(file, os.getcwd())}:{line}" + (f" in {function}" if function else "")


def headline(leaks: Sequence[Leak], cause: str = "") -> str:
    """What is left behind, in one line; the leaks are of one kind; ``cause`` says it better where they are stuck."""
    count = sum(leak.count for leak in leaks)
    one, many = _HEADS[leaks[0].kind]
    what = (cause if leaks[0].kind == "stuck task" else "") or listed(
        [_placed(leak) for leak in leaks], _MOST_IN_HEADLINE
    )
    return f"{count:,} {one if count == 1 else many}: {what}"


def _placed(leak: Leak) -> str:
    """Its text; of a task also where it stands, which other texts say themselves."""
    return f"{leak.text}, at {shown(leak.place)}" if leak.kind in _TASKS and leak.place is not None else leak.text


_TASKS = ("survivor", "task", "stuck task")


def _by_kind(leaks: Sequence[Leak]) -> list[list[Leak]]:
    kinds = dict.fromkeys(leak.kind for leak in leaks)
    return [[leak for leak in leaks if leak.kind == kind] for kind in kinds]


def report_of(leaks: Sequence[Leak], head: str, command: str | None = None) -> str:
    """The whole text, at most 60 lines."""
    hints = list(dict.fromkeys(leak.hint for leak in leaks if leak.hint))[:2]
    end = [f"hint: {hint}" for hint in hints] + ([f"again: {command}"] if command else [])
    body: list[str] = []
    for group in _by_kind(leaks):
        count = sum(leak.count for leak in group)
        body.append(f"{count:,} {_HEADS[group[0].kind][count != 1]}:")
        for leak in group:
            body += [f"  {leak.text}", *(f"    {line}" for line in leak.lines)]
    room = _MOST_LINES - len(end)
    if len(body) > room:
        body = [*body[:room], f"  and {counted(len(body) - room, 'more line')}: see error.to_dict()"]
    return "\n".join([head, *body, *end])


def error_of(
    leaks: Sequence[Leak], time_ns: int, step: int, seed: int | None, command: str | None, cause: str = ""
) -> LeakError:
    """The error for what was left behind; the first kind gives its message, the others follow it."""
    message = "; ".join(headline(group, cause) for group in _by_kind(leaks))
    head = f"LEAK at t={in_seconds(time_ns)}, step {step:,}" + (f", seed {seed}" if seed is not None else "")
    data = {
        "verdict": "leak",
        "time": time_ns / 1e9,
        "time_ns": time_ns,
        "step": step,
        "seed": seed,
        "leaks": [{"kind": leak.kind, "count": leak.count, "text": leak.text, **leak.data} for leak in leaks],
        "hints": list(dict.fromkeys(leak.hint for leak in leaks if leak.hint))[:2],
        "command": command,
    }
    error = LeakError(message, report=report_of(leaks, head, command), data=data)
    placed = [leak.place for leak in sorted(leaks, key=lambda leak: leak.soft) if leak.place is not None]
    return error.with_traceback(traceback_at(*placed[0])) if placed else error


def traceback_at(file: str, line: int, function: str) -> TracebackType | None:
    """A traceback that ends at a line of the program, though nothing was raised there."""
    name = function or "<module>"
    code = compile("raise ValueError", file, "exec").replace(co_name=name, co_qualname=name, co_firstlineno=line)
    try:
        exec(code, {"__name__": name})
    except ValueError as exc:
        return exc.__traceback__.tb_next if exc.__traceback__ is not None else None
    return None
