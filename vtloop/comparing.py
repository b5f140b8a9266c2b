"""The command ``diff``: two runs of one program side by side, up to the event in which they part.

Called by `vtloop.cli`.  A run is named by a trace, a token, a seed, or the word ``fifo`` for asyncio's own order.  Both
are played back here, one after the other; a stored trace alone says too little.
"""

from __future__ import annotations

import dataclasses
import re
from typing import Any

from vtloop.commands import Request, clipped, options_of_one
from vtloop.errors import UsageError
from vtloop.replaying import named_by
from vtloop.report.difference import compare, difference_lines
from vtloop.targets import opened
from vtloop.telling import command_of, play
from vtloop.trace import TOKEN_PREFIX, Trace, read

__all__ = ["FIFO", "diff"]

FIFO = "fifo"
"""The run in asyncio's own order."""

MOST_MOMENTS = 200_000
"""How many events of a run are compared, the last ones."""


def diff(request: Request) -> int:
    """``vtloop diff A B [TARGET]``: 0 when the runs are the same, 1 when they differ."""
    given, console = request.given, request.console
    sources = (given.a, given.b)
    traces = _traces(request, sources)
    text, arguments = _target(request, sources, traces)
    with opened(text, arguments) as target:
        a, b = (
            play(trace, target, command_of(source, trace, text), MOST_MOMENTS).story
            for source, trace in zip(sources, traces, strict=True)
        )
    found = compare(a, b)
    for side, source, trace in zip("AB", sources, traces, strict=True):
        console.say(f"{side}  {_header(source, trace)}")
    console.say("", *difference_lines(a, b, found))
    data: dict[str, Any] = {"command": "diff", "target": text, **found.to_dict()}
    console.data(data | {"a": a.to_dict(), "b": b.to_dict()})
    return 0 if found.same else 1


def _traces(request: Request, sources: tuple[str, str]) -> tuple[Trace, Trace]:
    """Both runs as traces; of a seed, and of asyncio's own order, only the options are known."""
    seeded = [source == FIFO or _is_seed(source) for source in sources]
    if not any(seeded) and (request.options or request.given.exact_time):
        names = ", ".join(f"--{name.replace('_', '-')}" for name in request.options) or "--exact-time"
        raise UsageError(f"a trace holds the options of its run; {names} can only be given with a seed or {FIFO!r}")
    if "seed" in request.options:
        raise UsageError(f"diff compares runs that are named; give the seed {request.options['seed']} as A or B")
    known = [None if plain else read(source) for source, plain in zip(sources, seeded, strict=True)]
    found = [
        trace if trace is not None else Trace(_options(request, source, next(filter(None, known), None)))
        for source, trace in zip(sources, known, strict=True)
    ]
    return found[0], found[1]


def _options(request: Request, source: str, other: Trace | None) -> Any:
    """The options of a run that is named by its seed, or is in asyncio's own order."""
    if source != FIFO:
        asked = Request(request.given, {**request.options, "seed": int(source)}, [], [], request.console)
        return options_of_one(asked)
    if other is not None:
        calm = dataclasses.replace(other.options, seed=None, scheduler=FIFO, interleave="timing", lag=0.0, stretch=0.0)
        return dataclasses.replace(calm, cancel=())
    kept = {name: value for name, value in request.options.items() if name not in _CHOSEN}
    return options_of_one(Request(request.given, kept, [], [], request.console))


_CHOSEN = ("scheduler", "interleave", "lag", "stretch", "cancel")
"""The options that only a run with a seed has."""


def _is_seed(source: str) -> bool:
    return re.fullmatch(r"[+-]?\d+", source) is not None


def _target(request: Request, sources: tuple[str, str], traces: tuple[Trace, Trace]) -> tuple[str, tuple[str, ...]]:
    """The program: the one given, or the one that a stored trace among the two names."""
    if request.given.target is not None:
        return request.given.target, tuple(request.arguments)
    for source, trace in zip(sources, traces, strict=True):
        if source != FIFO and not _is_seed(source) and not source.startswith(TOKEN_PREFIX):
            return named_by(source, trace)
    raise UsageError(f"runs of which program? give the TARGET: diff {clipped(sources[0], 20)} ... TARGET")


def _header(source: str, trace: Trace) -> str:
    if source == FIFO:
        return "fifo: asyncio's own order"
    options = trace.options
    words = [f"seed {options.seed}"] if options.seed is not None else []
    words.append(f"scheduler {options.scheduler}")
    if options.scheduler != FIFO:
        words.append(f"level {options.interleave!r}")
    return f"{clipped(source, 40)}: {', '.join(words)}"
