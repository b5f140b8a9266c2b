"""Exploring: many runs of one program, the first failure kept, confirmed and made readable.

Stored failures first, then seeds.  Run ``i`` is a pure function of (base seed, ``i``, options): nothing is learnt from
one run for the next.  A failure is played back once with full recording before it is shown; a failure that does not
come back is reported as what it is, nondeterminism.
"""

from __future__ import annotations

import dataclasses
import gc
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from vtloop.clock import seconds_text
from vtloop.entropy import draw, run_seed, uniforms
from vtloop.errors import NondeterminismError, ReplayError, UsageError, VtloopError
from vtloop.options import RUN_DEFAULTS, Options, check_level, resolve, with_values
from vtloop.ready import LEVELS
from vtloop.recording import Recording
from vtloop.run import Command, Outcome, message_of
from vtloop.schedulers.replay import SUSPECTS, FlatReplay
from vtloop.trace import Trace

__all__ = ["Campaign", "Execute", "Exploration", "Failure", "Plan", "failure_of"]

LAGS = (0.001, 0.02, 0.2)
"""The ladder of lags in seconds; a real machine's slow step, a garbage collection, a page fault under load."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to explore.

    Attributes:
        runs: How many runs at most.
        seed: The base seed.
        scheduler: ``"portfolio"`` for the mix, else the scheduler of every run.
        ceiling: The strongest level; weaker ones are mixed in.
        exact_time: Whether no run has lag.
        options: The options of every run.
    """

    runs: int = 1000
    seed: int = 0
    scheduler: Any = "portfolio"
    ceiling: str = "tasks"
    exact_time: bool = False
    options: Options = RUN_DEFAULTS

    @classmethod
    def of(
        cls,
        *,
        runs: int = 1000,
        seed: int = 0,
        scheduler: Any = "portfolio",
        interleave: str | None = None,
        exact_time: bool | None = None,
        ceiling: str = "tasks",
        **options: Any,
    ) -> Plan:
        """A plan from the arguments of ``explore``, checked.

        Raises:
            UsageError: A value out of range or an unknown option; the message says what is allowed.
        """
        if isinstance(runs, bool) or not isinstance(runs, int) or runs < 1:
            raise UsageError(f"runs must be a whole number, 1 or more, got {runs!r}")
        if isinstance(seed, bool) or not isinstance(seed, int):
            raise UsageError(f"seed must be an int, got {seed!r}")
        if exact_time not in (None, True, False):
            raise UsageError(f"exact_time must be True, False or None, got {exact_time!r}")
        check_level(interleave)
        if scheduler == "portfolio":
            # Run 0, in asyncio's own order, is exact; a lag that is given belongs to all others.
            lag = resolve(RUN_DEFAULTS, seed=seed, lag=options.pop("lag", 0.0)).lag
            base = dataclasses.replace(resolve(RUN_DEFAULTS, **options), lag=lag)
        else:
            base = resolve(RUN_DEFAULTS, seed=seed, scheduler=scheduler, interleave=interleave, **options)
        return cls(runs, seed, scheduler, interleave or ceiling, bool(exact_time), base)

    def options_of(self, index: int, **extra: Any) -> Options:
        """The options of run ``index``: scheduler, level and lag are drawn from its own seed, ``extra`` is kept."""
        if index == 0 and self.scheduler == "portfolio":
            return dataclasses.replace(self.options, lag=0.0)
        seed = run_seed(self.seed, index)
        uniform = uniforms(seed, "plan").__next__
        level = self._level(uniform)
        scheduler = self._scheduler(uniform) if self.scheduler == "portfolio" else self.scheduler
        if scheduler == "fifo":
            return self.options
        lag = self.options.lag
        if not lag and not self.exact_time and uniform() < 0.4:
            lag = LAGS[draw(uniform, len(LAGS))]
        return with_values(self.options, seed=seed, scheduler=scheduler, interleave=level, lag=lag, **extra)

    def _level(self, uniform: Callable[[], float]) -> str:
        below = LEVELS[: LEVELS.index(self.ceiling) + 1]
        drawn = uniform()
        if drawn < 0.125:
            return below[0]
        if drawn < 0.5 and len(below) > 2:
            return below[1]
        return below[-1]

    @staticmethod
    def _scheduler(uniform: Callable[[], float]) -> str:
        drawn = uniform()
        if drawn < 0.5:
            return "pct:depth=1"
        return "pct:depth=3" if drawn < 0.75 else "random"


Execute = Callable[..., Outcome]
"""Makes one run: ``execute(options, record=..., scheduler=..., command=...) -> Outcome``."""


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


@dataclass(slots=True)
class Exploration:
    """What an exploration found.

    Attributes:
        runs: How many runs were made.
        failure: The first failure, or None.
        distinct: How many different lists of choices were taken.
        elapsed: Real seconds.
        notes: What else a reader should know.
    """

    runs: int = 0
    failure: Failure | None = None
    distinct: int = 0
    elapsed: float = 0.0
    notes: list[str] = field(default_factory=list)

    def check(self) -> Exploration:
        """Raise the failure's own error, with the summary as a note; the exploration itself when it is clean."""
        if self.failure is None:
            return self
        raise self.failure.error

    def __str__(self) -> str:
        rate = f"{self.runs / self.elapsed:,.0f} runs/s" if self.elapsed else ""
        head = f"{self.runs} runs, {self.distinct} distinct orders, {self.elapsed:.2f} s ({rate})"
        found = ["no failure found"] if self.failure is None else ["FAILED", self.failure.report()]
        return "\n".join([head, *self.notes, *found])

    def to_dict(self) -> dict[str, Any]:
        """The same as JSON-ready values."""
        return {
            "runs": self.runs,
            "distinct": self.distinct,
            "elapsed": self.elapsed,
            "notes": list(self.notes),
            "failure": self.failure.to_dict() if self.failure is not None else None,
        }


class Campaign:
    """The search: makes the runs of a plan through ``execute`` until one fails.

    Args:
        plan: What to explore.
        execute: Makes one run.
        target: What is run, for the trace.
        command: Makes the command that plays a failure back.
        stored: Traces of earlier failures, tried first.
        progress: Called after every run with its number, for a display.
    """

    def __init__(
        self,
        plan: Plan,
        execute: Execute,
        *,
        target: str | None = None,
        command: Command | None = None,
        stored: Sequence[Trace] = (),
        progress: Callable[[int], None] | None = None,
    ) -> None:
        self.plan = plan
        self._execute = execute
        self._target = target
        self._command = command
        self._stored = stored
        self._progress = progress
        self._longest = 0.0

    def search(self) -> Exploration:
        """Run until the first failure, or until the plan is done.

        Raises:
            NondeterminismError: A failing run did not come back when it was played back.
        """
        found = Exploration()
        orders: set[int] = set()
        began = time.perf_counter()
        with frozen_heap(many=self.plan.runs > 100):
            for index, options in self._runs(found):
                outcome = self._one(options, index)
                found.runs += 1
                orders.add(hash((tuple(outcome.indices), tuple(outcome.sizes))))
                if isinstance(outcome.error, (KeyboardInterrupt, SystemExit)):
                    raise outcome.error
                if outcome.error is not None:
                    found.failure = self._confirm(outcome, index)
                    break
                if self._progress is not None:
                    self._progress(found.runs)
        found.distinct = len(orders)
        found.elapsed = time.perf_counter() - began
        return found

    def _runs(self, found: Exploration) -> Iterator[tuple[int, Options]]:
        for trace in self._stored:
            if isinstance(trace.options.scheduler, str):
                yield -1, trace.options
        for index in range(self.plan.runs):
            yield index, self.plan.options_of(index, watchdog=self._watchdog())

    def _watchdog(self) -> float | None:
        """The watchdog, scaled to the longest run so far (a finding is confirmed with the full one)."""
        full = self.plan.options.watchdog
        return min(full, max(2.0, 1000 * self._longest)) if full and self._longest else full

    def _one(self, options: Options, index: int) -> Outcome:
        """One unrecorded run."""
        began = time.perf_counter()
        outcome = self._execute(options, record=False)
        self._longest = max(self._longest, time.perf_counter() - began)
        return outcome

    def _confirm(self, first: Outcome, index: int) -> Failure:
        """Play the failing run back with everything recorded."""
        if isinstance(first.error, UsageError):
            raise first.error
        options = dataclasses.replace(first.options, watchdog=self.plan.options.watchdog)
        scheduler = None
        if options.scheduler != "fifo":
            level, indices, sizes = options.interleave, first.indices, first.sizes

            def scheduler(recording: Recording) -> FlatReplay:
                return FlatReplay(level, indices, sizes, recording)

        second = self._execute(options, record=True, scheduler=scheduler, command=self._command)
        if isinstance(second.error, (NondeterminismError, ReplayError)):
            raise second.error
        if second.signature != first.signature and first.reproducible and second.reproducible:
            raise NondeterminismError(
                f"the same choices gave two different runs: first {_ending(first)}, then {_ending(second)}; {SUSPECTS}",
                data={"first": list(first.signature), "second": list(second.signature)},
            ) from first.error
        kept = second if second.error is not None else first
        return failure_from(kept, max(index, 0), self._target, self._command)


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


def _ending(outcome: Outcome) -> str:
    kind, place = outcome.signature
    at = f"t={seconds_text(outcome.time_ns)} s, step {outcome.steps}"
    return f"{kind} at {place or 'an unknown place'} ({at})" if kind else f"no failure ({at})"


@contextmanager
def frozen_heap(many: bool) -> Iterator[None]:
    """Keep the collector away from between the runs, and for ``many`` runs from all that was there before them."""
    collecting = gc.isenabled()
    if many:
        gc.collect()
        gc.freeze()
    gc.disable()
    try:
        yield
    finally:
        if many:
            gc.unfreeze()
        if collecting:
            gc.enable()
