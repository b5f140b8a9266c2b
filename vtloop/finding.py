"""A failing run as people get it: the error, what the finding rests on, and the command that plays it back.

Made from the outcome of a run by `failure_from`; hangs on the error itself, where `failure_of` finds it.  It must
never run anything.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from vtloop.background import message_of
from vtloop.diagnosis.mistakes import HINT, hints_of
from vtloop.errors import VtloopError
from vtloop.options import Options
from vtloop.run import Command, Outcome
from vtloop.trace import REPLAY, Choice, Trace

__all__ = ["Failure", "failure_from", "failure_of"]


@dataclass(slots=True)
class Failure:
    """A failing run, confirmed by playing it back.

    Attributes:
        error: What the run failed with.
        seed: The seed of the run that found it (None: asyncio's own order).
        trace: The run, to be replayed; after a shrink the small one.
        run: Its number in the exploration, counted from 0.
        time: The virtual time of its end, in seconds.
        step: How many callbacks had run.
        command: The command that plays it back, if there is one.
        found: The options of the run that found it, when the trace is a smaller one; else None.
        shrunk: Whether the trace was shrunk.
        minimal: Whether none of its choices can be left out; False when the shrink could not try everything.
        replays: How many runs the shrink made.
        passing: The nearest run that does not fail, if the shrink met one.
        note: What else there is to know about the shrink; empty when all went well.
        told: The choices in words with the lines of the program, when the run was explained (`vtloop.explaining`).
        table: The run as a table, a column for each task; empty when it was not explained.
        difference: Where the passing run parts from it, in words; empty when there is none.
    """

    error: BaseException
    trace: Trace
    run: int = 0
    time: float = 0.0
    step: int = 0
    command: str | None = None
    found: Options | None = None
    shrunk: bool = False
    minimal: bool = False
    replays: int = 0
    passing: Trace | None = None
    note: str = ""
    told: tuple[str, ...] = ()
    table: tuple[str, ...] = ()
    difference: tuple[str, ...] = ()

    @property
    def seed(self) -> int | None:
        """The seed of the run that found it; None: asyncio's own order fails."""
        return (self.found or self.trace.options).seed

    @property
    def choices(self) -> tuple[Choice, ...]:
        """The choices that deviate from asyncio's own order; none when the run was not recorded."""
        return self.trace.choices or ()

    @property
    def level(self) -> str:
        """The level that the run needs; ``"fifo"`` when asyncio's own order fails by itself."""
        options = self.trace.options
        return "fifo" if options.scheduler == "fifo" else options.interleave

    @property
    def token(self) -> str | None:
        """The trace as text for a command line; None when it is too long for one."""
        return self.trace.token()

    def label(self) -> str:
        """What the finding rests on, in one line."""
        options = self.trace.options
        if self.level == "fifo":
            return "asyncio's own order fails: no interleaving is needed"
        lag, stretch = self._needed("lag", options.lag), self._needed("stretch", options.stretch)
        needs = []
        if lag:
            needs.append(f"with steps that take up to {lag:g} s of virtual time")
        if stretch:
            needs.append(f"needs other durations: sleeps that last up to {100 * stretch:g} % longer")
        if needs:
            needs[-1] += " (asserting exact times? exact_time=True leaves this out)"
        victims = dict.fromkeys(choice.task for choice in self.choices if choice.kind.startswith("cancel"))
        if victims:
            needs.append(f"with a cancellation of {' and '.join(victims)}")
        kinds = {choice.kind for choice in self.choices}
        asked = [f"{name}()" for name in ("choose", "latency", "sometimes") if name in kinds]
        if asked:
            needs.append(f"with other answers of {' and '.join(asked)}")
        return "; ".join([f"level {options.interleave!r}: {_LEVELS[options.interleave]}", *needs])

    def _needed(self, kind: str, most: float) -> float:
        """How much of the option ``kind`` the choices really use."""
        used = [choice.index / max(choice.options - 1, 1) for choice in self.choices if choice.kind == kind]
        return most * max(used, default=0.0)

    def summary(self) -> list[str]:
        """At most eleven lines: what failed, when, on what it rests, and the command to paste."""
        found = self.found or self.trace.options
        message = message_of(self.error).split("\n", 1)[0]
        scheduler = self._scheduler()
        by = f", scheduler {scheduler}" if scheduler != REPLAY else ""
        swept = by.removeprefix(", ") if by and self.level != "fifo" else "no seed"
        who = f"seed {found.seed}{by}" if found.seed is not None else swept
        lines = [
            f"{type(self.error).__name__}: {message}"[:200],
            f"{self._which_run()}{who}, t={self.time:g} s, step {self.step}{self._about_shrink()}",
            self.label(),
            *self._told_choices(),
        ]
        if len(lines) + len(self.difference) < MOST_LINES:
            lines += self.difference
        if self.command:
            lines.append(f"replay: {self.command}")
        return lines

    def _which_run(self) -> str:
        """The number of the run, unless it is a shrunk one that came as a token: those do not say it."""
        unknown = self.trace.options.scheduler == REPLAY and "run" not in self.trace.found
        return "" if unknown else f"run {self.run}, "

    def _scheduler(self) -> str:
        """What found the run, as far as it is known."""
        known = self.trace.found.get("scheduler")
        return str(known or _name((self.found or self.trace.options).scheduler))

    def _about_shrink(self) -> str:
        if not self.shrunk:
            return f"; {self.note}" if self.note else ""
        return f"; shrunk in {self.replays} replays{'' if self.minimal else ', not to the end'}"

    def _told_choices(self) -> list[str]:
        """The choices in words: all of them, or the last where there are many."""
        choices = self.told or tuple(choice.told for choice in self.choices)
        if not choices:
            return []
        many = "1 choice" if len(choices) == 1 else f"{len(choices)} choices"
        shown = choices if len(choices) <= MOST_CHOICES else choices[-3:]
        last = ":" if shown is choices else "; the last of them:"
        return [
            f"asyncio's own order, except {many}{last}",
            *(f"  {words}" if len(words) <= LONGEST else f"  {words[: LONGEST - 3]}..." for words in shown),
        ]

    def report(self) -> str:
        """Everything about the failure as text; the command to paste comes last."""
        *lines, last = self.summary()
        full = self.error.report() if isinstance(self.error, VtloopError) else "\n".join(hints_of(self.error))
        command = [last] if self.command else []
        lines += ([] if self.command else [last]) + ([full] if full else [])
        return "\n".join([*lines, *(["", *self.table, ""] if self.table else []), *command])

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-ready values."""
        error = self.error.to_dict() if isinstance(self.error, VtloopError) else None
        return {
            "error": type(self.error).__name__,
            "message": message_of(self.error),
            "verdict": error,
            "run": self.run,
            "seed": self.seed,
            "level": self.level,
            "lag": self.trace.options.lag,
            "stretch": self.trace.options.stretch,
            "label": self.label(),
            "shrunk": self.shrunk,
            "minimal": self.minimal,
            "replays": self.replays,
            "passing": self.passing.token() if self.passing is not None else None,
            "scheduler": self._scheduler(),
            "time": self.time,
            "step": self.step,
            "token": self.token,
            "command": self.command,
            "choices": [dataclasses.asdict(choice) for choice in self.choices],
            "told": list(self.told),
            "difference": list(self.difference),
            "hints": error.get("hints", []) if error else [one.removeprefix(HINT) for one in hints_of(self.error)],
        }


MOST_CHOICES = 6
"""Choices up to which all are told."""

MOST_LINES = 11
LONGEST = 260
"""The most lines of a summary, and the most characters of a choice in it."""

_LEVELS = {
    "timing": "only what stock asyncio does on a slower or faster machine",
    "wakeups": "tasks whose awaited futures are done resume in another order than stock's queue gives",
    "tasks": "any ready task may run next: first steps and bare yields may be overtaken",
}


def _name(scheduler: Any) -> str:
    return scheduler if isinstance(scheduler, str) else type(scheduler).__name__


def failure_of(error: BaseException) -> Failure | None:
    """The `Failure` that ``error`` came out of, or None."""
    found = getattr(error, "__vtloop_failure__", None)
    return found if isinstance(found, Failure) else None


def failure_from(outcome: Outcome, run: int = 0, target: str | None = None, command: Command | None = None) -> Failure:
    """The failure of a run that failed; it hangs on the error from now on."""
    error = outcome.error
    assert error is not None
    trace = outcome.trace(target)
    known = trace.found.get("run")
    run = known if not run and isinstance(known, int) else run
    failure = Failure(error, trace, run, outcome.time_ns / 1e9, outcome.steps)
    token = failure.token
    if command is not None and token is not None:
        failure.command = command(token)
    error.__vtloop_failure__ = failure  # type: ignore[attr-defined]
    return failure
