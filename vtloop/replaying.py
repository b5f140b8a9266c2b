"""The command ``replay``: a recorded run once more, with a debugger in it if that is asked for.

Called by `vtloop.cli`; `program` also serves ``vtloop show``.  Nothing is imported but the target that the command line
names, or the one named by a trace in this project's own ``.vtloop/``.
"""

from __future__ import annotations

import functools
import platform
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from vtloop.api import replay_outcome
from vtloop.commands import Request, ended, options_of_one, output_of
from vtloop.console import Console
from vtloop.debugging import Stops
from vtloop.errors import UsageError
from vtloop.options import Options
from vtloop.pytest_target import run_pytest
from vtloop.report.telling import recorder_for
from vtloop.run import Outcome, Recorder
from vtloop.store import FOLDER
from vtloop.targets import PytestTarget, Target, kind_of, opened, split
from vtloop.trace import TOKEN_PREFIX, Trace, read

__all__ = ["is_stored", "named_by", "program", "replay"]


def replay(request: Request) -> int:
    """``vtloop replay TRACE|TOKEN|SEED [TARGET]``."""
    given = request.given
    _check_stops(request)
    if re.fullmatch(r"[+-]?\d+", given.trace):
        if given.target is None:
            raise UsageError(f"seed {given.trace} of which program? give a TARGET: {given.trace} TARGET")
        if "seed" in request.options:
            raise UsageError(f"replay {given.trace} and --seed {request.options['seed']}: give one seed")
        request.options["seed"] = int(given.trace)
        options = options_of_one(request)
        with opened(given.target, request.arguments) as target:
            return _play_seed(request, target, options)
    trace = read(given.trace)
    if request.options or given.exact_time:
        names = ", ".join(f"--{name.replace('_', '-')}" for name in request.options) or "--exact-time"
        raise UsageError(f"a trace holds the options of its run; {names} can only be given with a seed")
    _warn_of_version(request.console, trace)
    with program(request, trace) as target:
        return _play(request, target, trace)


def _play_seed(request: Request, target: Target, options: Options) -> int:
    console = request.console
    if isinstance(target, PytestTarget):
        return _play_in_pytest(request, target, given=request.options)
    outcome = _stopping(request, target, {}, lambda execute: execute(options))
    return ended(console, target, outcome, {"command": "run", "target": target.text})


def _play(request: Request, target: Target, trace: Trace) -> int:
    console = request.console
    if isinstance(target, PytestTarget):
        return _play_in_pytest(request, target, trace=request.given.trace)
    recorder = recorder_for(trace)
    outcome = _stopping(request, target, trace.outcome, lambda execute: replay_outcome(trace, execute), recorder)
    recorded = trace.outcome.get("type")
    if recorded and not isinstance(outcome.error, KeyboardInterrupt):
        (now, place), there = outcome.signature, trace.outcome.get("place")
        moved = there and place and place != there
        if now != recorded or moved:
            ending = f"with {_at(now, place)}" if now else "without a failure"
            console.note(f"the recorded run ended with {_at(recorded, there)}, this one {ending}")
    return ended(console, target, outcome, {"command": "replay", "target": target.text, "recorded": recorded})


def _at(kind: str, place: str | None) -> str:
    return f"{kind} at {place}" if place else kind


# -- stops -----------------------------------------------------------------------------------------------------------


def _check_stops(request: Request) -> None:
    given = request.given
    if request.console.json and (given.pdb or given.until is not None):
        raise UsageError(f"{'--pdb' if given.pdb else '--until'} talks on the terminal; give it without --json")
    if given.until is not None and given.until < 1:
        raise UsageError(f"--until must be the number of a step, 1 or more, got {given.until}")


def _stopping(
    request: Request,
    target: Any,
    recorded: Mapping[str, Any],
    play: Callable[[Callable[..., Outcome]], Outcome],
    recorder: Recorder | None = None,
) -> Outcome:
    """Play a run back, with the stops that were asked for.

    Raises:
        UsageError: The run ended before the step at which it should stop.
    """
    given = request.given
    with output_of(request.console):
        if not given.pdb and given.until is None:
            return play(functools.partial(target.execute, recorder=recorder))
        stops = Stops(until=given.until, failing=given.pdb, recorded=recorded)
        outcome = play(stops.around(target.execute))
    if given.until is not None and not stops.reached and not isinstance(outcome.error, KeyboardInterrupt):
        raise UsageError(f"--until {given.until}: the run has {outcome.steps} steps; give a number up to that")
    return outcome


def _play_in_pytest(
    request: Request, target: PytestTarget, given: Mapping[str, Any] | None = None, trace: str | None = None
) -> int:
    debugger, until = bool(request.given.pdb), request.given.until
    if until is not None and trace is None:
        raise UsageError("--until in a pytest test needs a trace or a token, as a failing test prints it; got a seed")
    return run_pytest(
        request.console, target.text, runs=1, given=given or {}, trace=trace, debugger=debugger, until=until
    )


# -- the program -----------------------------------------------------------------------------------------------------


@contextmanager
def program(request: Request, trace: Trace) -> Iterator[Target]:
    """The target given; without one, the target that a trace in this project's own store names."""
    text, arguments = request.given.target, tuple(request.arguments)
    if text is None:
        if request.arguments:
            raise UsageError("arguments after -- belong to a script; give it as TARGET")
        text, arguments = named_by(request.given.trace, trace)
    with opened(text, arguments) as target:
        yield target


def named_by(source: str, trace: Trace) -> tuple[str, tuple[str, ...]]:
    """The target, and the arguments of a script, that a trace in this project's own store names.

    Raises:
        UsageError: It names none, or is kept elsewhere.
    """
    if source.startswith(TOKEN_PREFIX):
        raise UsageError("a token does not name its program; give the TARGET after it")
    if trace.target is None:
        raise UsageError(f"the trace {source!r} names no program; give the TARGET after it")
    if not is_stored(source):
        raise UsageError(
            f"the trace {source!r} is not in this project's {FOLDER}/, so what it names is not imported; "
            f"give the TARGET after it (it says {trace.target!r})"
        )
    text, arguments = split(trace.target)
    kind_of(text)
    return text, arguments


def is_stored(source: str) -> bool:
    """Whether ``source`` is a file in this project's own store."""
    return not source.startswith(TOKEN_PREFIX) and Path(FOLDER).resolve() in Path(source).resolve().parents


def _warn_of_version(console: Console, trace: Trace) -> None:
    made = str(trace.made_by.get("python", ""))
    here = platform.python_version()
    if made and made.split(".")[:2] != here.split(".")[:2]:
        console.note(f"recorded under Python {made}, this is {here}: the run may differ")
