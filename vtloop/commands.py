"""The command ``run``, and what commands share.

A command takes a `Request` and returns an exit status.  Called by `vtloop.cli`, which turns our errors into sentences.
Nothing is imported but the target that the command line names.
"""

from __future__ import annotations

import argparse
import io
import os
import sys
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any, TextIO

from vtloop.clock import seconds_text
from vtloop.console import Console, failure_text, outcome_data, quiet
from vtloop.errors import UsageError
from vtloop.explaining import tell
from vtloop.finding import failure_from
from vtloop.keeping import keep
from vtloop.options import RUN_DEFAULTS, Options, resolve
from vtloop.pytest_target import run_pytest
from vtloop.run import Outcome
from vtloop.scripts import ScriptExit
from vtloop.targets import FunctionTarget, PytestTarget, Target, opened

__all__ = [
    "NO_LOOP",
    "Quiet",
    "Request",
    "check_exact",
    "clipped",
    "ended",
    "left",
    "options_of_one",
    "output_of",
    "run",
]

NO_LOOP = "the script made no event loop by asyncio.run() or asyncio.Runner()"


@dataclass(frozen=True, slots=True)
class Request:
    """A command line, read.

    Attributes:
        given: What argparse made of it.
        options: The options of a run that were given.
        arguments: What stood behind ``--``.
        words: The command line itself.
        console: Where to print.
    """

    given: argparse.Namespace
    options: dict[str, Any]
    arguments: list[str]
    words: list[str]
    console: Console


def options_of_one(request: Request, **defaults: Any) -> Options:
    """The options of a single run.

    Raises:
        UsageError: A value out of range, or one that only an exploration takes.
    """
    given = {**defaults, **request.options}
    if given.get("scheduler") == "portfolio":
        raise UsageError("--scheduler portfolio is the mix of an exploration; a single run takes another one, or none")
    check_exact(request)
    return resolve(RUN_DEFAULTS, **given)


def check_exact(request: Request) -> None:
    """Refuse exact time together with what makes it inexact."""
    for name in ("lag", "stretch"):
        given = request.options.get(name)
        if request.given.exact_time and given:
            raise UsageError(f"--exact-time and --{name} {given:g} contradict each other; give one of them")


# -- run -------------------------------------------------------------------------------------------------------------


def run(request: Request) -> int:
    """``vtloop run TARGET``."""
    options = options_of_one(request)
    with opened(request.given.target, request.arguments) as target:
        return _run_once(request, target, options)


def _run_once(request: Request, target: Target, options: Options) -> int:
    console = request.console
    if isinstance(target, PytestTarget):
        return run_pytest(console, target.text, runs=1, given=request.options)
    with output_of(console):
        outcome = target.execute(options)
    return ended(console, target, outcome, {"command": "run", "target": target.text})


def ended(console: Console, target: Target, outcome: Outcome, data: dict[str, Any]) -> int:
    """Say how a single run ended; the exit status."""
    error = outcome.error
    data |= outcome_data(outcome)
    console.warn(outcome.warnings)
    if error is None:
        passed = seconds_text(outcome.time_ns - round(outcome.options.start * 1e9))
        took = f"{passed} s of virtual time, {outcome.steps} steps"
        value = f", returned {clipped(repr(outcome.value))}" if outcome.value is not None else ""
        console.note(f"ok, {took}{value}")
        if outcome.steps == 0 and not isinstance(target, FunctionTarget):
            console.note(NO_LOOP)
        console.data(data)
        return 0
    if isinstance(error, (KeyboardInterrupt, SystemExit)):
        return left(console, error, f"t={seconds_text(outcome.time_ns)} s, step {outcome.steps}", data)
    if isinstance(error, UsageError):
        raise error
    failure = tell(failure_from(outcome, 0, target.text), outcome)
    if isinstance(error, ScriptExit) and data["command"] == "run":
        if error.text:
            console.note(error.text)
        if failure.level == "fifo":
            console.data({**data, "status": error.status})
            return error.status
    keep(failure, target)
    console.say(*failure_text(failure), *([failure.command] if failure.command else []))
    console.data({**data, "failure": failure.to_dict()})
    return error.status if isinstance(error, ScriptExit) and data["command"] == "run" else 1


def left(console: Console, error: BaseException, done: str, data: dict[str, Any]) -> int:
    """The run was left by Ctrl-C or ``sys.exit``: never a finding."""
    if isinstance(error, KeyboardInterrupt):
        console.note(f"interrupted at {done}")
        console.data({**data, "interrupted": True})
        return 130
    code = error.code if isinstance(error, SystemExit) else None
    status = code if isinstance(code, int) else int(code is not None)
    console.note(f"the program called sys.exit({'' if code is None else clipped(repr(code))}) at {done}")
    console.data({**data, "status": status})
    return status


def output_of(console: Console) -> Any:
    """Where a program prints: standard output, unless that belongs to the JSON document."""
    return quiet(sys.stderr) if console.json else nullcontext()


def clipped(text: str, most: int = 200) -> str:
    """``text``, cut off after ``most`` characters."""
    return text if len(text) <= most else f"{text[: most - 3]}..."


class Quiet:
    """Makes the runs of an exploration; what the program prints is dropped, but for the run that is shown.

    Attributes:
        printed: What the failing run printed when it was played back.
    """

    def __init__(self, target: Target, loud: bool, json: bool) -> None:
        self._target: Any = target
        self._loud, self._json = loud, json
        self.printed = ""
        self._nowhere: TextIO

    def __enter__(self) -> Quiet:
        self._nowhere = open(os.devnull, "w", encoding="utf-8")
        return self

    def __exit__(self, *exc: object) -> None:
        self._nowhere.close()

    def execute(self, options: Options, *, record: bool, **how: Any) -> Outcome:
        """One run; a recorded one is the confirming run of a failure."""
        if self._loud:
            with quiet(sys.stderr) if self._json else nullcontext():
                return self._target.execute(options, record=record, **how)  # type: ignore[no-any-return]
        kept = io.TextIOWrapper(io.BytesIO(), encoding="utf-8", write_through=True) if record else None
        with quiet(kept if kept is not None else self._nowhere):
            outcome: Outcome = self._target.execute(options, record=record, **how)
        if kept is not None and not kept.closed:
            kept.seek(0)
            self.printed = kept.read()
        return outcome
