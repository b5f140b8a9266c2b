"""A failing run as people get it: the error, what the finding rests on, and the command that plays it back.

Made from the outcome of a run by `failure_from`; hangs on the error itself, where `failure_of` finds it.  It must
never run anything.
"""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass
from typing import Any

from vtloop.errors import VtloopError
from vtloop.run import Command, Outcome, message_of
from vtloop.trace import Trace

__all__ = ["Failure", "failure_from", "failure_of"]


@dataclass(slots=True)
class Failure:
    """A failing run, confirmed by playing it back.

    Attributes:
        error: What the run failed with.
        seed: The seed of that run (None: asyncio's own order).
        trace: The run, to be replayed.
        run: Its number in the exploration, counted from 0.
        time: The virtual time of its end, in seconds.
        step: How many callbacks had run.
        command: The command that plays it back, if there is one.
    """

    error: BaseException
    trace: Trace
    run: int = 0
    time: float = 0.0
    step: int = 0
    command: str | None = None

    @property
    def seed(self) -> int | None:
        """The seed of the failing run; None: asyncio's own order fails."""
        return self.trace.options.seed

    @property
    def level(self) -> str:
        """The level at which it was found; ``"fifo"`` when asyncio's own order fails by itself."""
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
        took_time = any(choice.kind == "lag" for choice in self.trace.choices or ())
        lag = f", and steps that take up to {options.lag:g} s of virtual time (exact_time=True leaves this out)"
        words = {
            "timing": "only what stock asyncio does on a slower or faster machine",
            "wakeups": "tasks whose awaited futures are done resume in another order than stock's queue gives",
            "tasks": "any ready task may run next: first steps and bare yields may be overtaken",
        }
        return f"level {options.interleave!r}: {words[options.interleave]}{lag if took_time else ''}"

    def summary(self) -> list[str]:
        """At most eleven lines: what failed, when, on what it rests, and the command to paste."""
        options = self.trace.options
        message = message_of(self.error).split("\n", 1)[0]
        who = f"seed {options.seed}, scheduler {_name(options.scheduler)}" if options.seed is not None else "no seed"
        lines = [
            f"{type(self.error).__name__}: {message}"[:200],
            f"run {self.run}, {who}, t={self.time:g} s, step {self.step}",
            self.label(),
        ]
        choices = self.trace.choices or ()
        if choices:
            deviate = "1 choice deviates" if len(choices) == 1 else f"{len(choices)} choices deviate"
            lines.append(f"{deviate} from asyncio's own order; the last of them:")
            lines += [f"  {choice.words}"[:160] for choice in choices[-3:]]
        if self.command:
            lines.append(f"replay: {self.command}")
        return lines

    def report(self) -> str:
        """Everything about the failure as text."""
        lines = self.summary()
        full = self.error.report() if isinstance(self.error, VtloopError) else None
        return "\n".join(lines + ([full] if full else []))

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
            "scheduler": _name(self.trace.options.scheduler),
            "time": self.time,
            "step": self.step,
            "token": self.token,
            "command": self.command,
            "choices": [dataclasses.asdict(choice) for choice in self.trace.choices or ()],
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
    failure = Failure(error, trace, run, outcome.time_ns / 1e9, outcome.steps)
    token = failure.token
    if command is not None and token is not None:
        failure.command = command(token)
    error.__vtloop_failure__ = failure  # type: ignore[attr-defined]
    return failure
