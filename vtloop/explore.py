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
from vtloop.errors import NondeterminismError, ReplayError, UsageError
from vtloop.finding import Failure, failure_from
from vtloop.options import Options
from vtloop.plan import Plan
from vtloop.recording import Recording
from vtloop.run import Command, Outcome
from vtloop.schedulers.replay import SUSPECTS, FlatReplay
from vtloop.trace import Trace

__all__ = ["Campaign", "Execute", "Exploration"]

Execute = Callable[..., Outcome]
"""Makes one run: ``execute(options, record=..., scheduler=..., command=...) -> Outcome``."""


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
