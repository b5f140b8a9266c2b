"""Exploring: many runs of one program, the first failure kept, confirmed and made readable.

Stored failures first, then the runs of the plan, here or in other processes.  Run ``i`` is a pure function of (base
seed, ``i``, options): nothing is learnt from one run for the next, and the failing run with the lowest number is the
one that is told, whoever made it.  A failure is played back once with full recording before it is shown; a failure that
does not come back is reported as what it is, nondeterminism.  What comes back is shrunk.
"""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from vtloop.chunks import Execute, Made, Maker, Ready
from vtloop.clock import seconds_text
from vtloop.collector import frozen_heap
from vtloop.diagnosis.lock_order import LOCK_ORDER
from vtloop.errors import HangError, NondeterminismError, ReplayError, UsageError
from vtloop.executors import Borrowed
from vtloop.explaining import explain
from vtloop.exploration import Exploration
from vtloop.finding import Failure, failure_from
from vtloop.novelty import Earlier
from vtloop.parallel import Crowd, Resources, in_order
from vtloop.plan import Plan
from vtloop.playback import replay_outcome
from vtloop.recording import Recording
from vtloop.run import Command, Outcome
from vtloop.schedulers.replay import SUSPECTS, FlatReplay
from vtloop.shrink import shrunk_failure
from vtloop.sweep import Sweep
from vtloop.trace import REPLAY, Trace, made_by
from vtloop.warned import distinct
from vtloop.workers import Processes

__all__ = ["Campaign", "Execute", "Exploration", "Resources"]

WARM_UP = 0.02
"""Real seconds of runs made here before other processes are asked: most failures show in them, and their pace."""


class Campaign:
    """The search: makes the runs of a plan through ``execute`` until one fails.

    Args:
        plan: What to explore.
        execute: Makes one run.
        target: What is run, for the trace.
        command: Makes the command that plays a failure back.
        stored: Traces of earlier failures, tried first.
        progress: Called now and then, at most once a run, with what was found up to now.
        resources: Processes and seconds.
        count_orders: Whether distinct orders are counted, which costs a tenth of the speed.
        earlier: What an earlier exploration of the same plan did: this one goes on behind it.

    Attributes:
        found: What was found; complete when `search` has returned, and true up to then.
        upto: The number behind the last run of the plan that was made.
        passed: The places of the stored failures that did not fail any more.
        misfits: The places of the stored failures that no longer fit the program.
        failed: The place of the stored failure that failed still; None when none did.

    Raises:
        UsageError: Several processes are asked for, and the scheduler is an object.
    """

    def __init__(
        self,
        plan: Plan,
        execute: Execute,
        *,
        target: str | None = None,
        command: Command | None = None,
        stored: Sequence[Trace] = (),
        progress: Callable[[Exploration], None] | None = None,
        resources: Resources | None = None,
        count_orders: bool = False,
        earlier: Earlier | None = None,
    ) -> None:
        self.plan = plan
        self._execute = execute
        self._target = target
        self._command = command
        self._stored = stored
        self._progress = progress
        self._resources = resources or Resources()
        self._how = {"track_order": True} if count_orders or not self._resources.alone else {}
        if not self._resources.alone and not isinstance(plan.scheduler, str):
            raise UsageError(
                "a scheduler object may keep something from run to run, so it explores in one process only"
            )
        if plan.bound and not self._resources.alone:
            raise UsageError(f"{plan.scheduler} learns from its runs which schedules there are: it takes no jobs")
        earlier = earlier or Earlier()
        self.upto = self._first = earlier.upto
        self._last = self.upto + plan.runs
        self._novelty = earlier.novelty
        self._before = earlier.elapsed
        self.found = Exploration(runs=self.upto)
        self.passed: list[int] = []
        self.misfits: list[int] = []
        self.failed: int | None = None
        self._maker = Maker(plan, execute)
        self._began, self._searching = time.perf_counter(), False

    def search(self) -> Exploration:
        """Run until the first failure, or until the plan is done.

        Raises:
            NondeterminismError: A failing run did not come back when it was played back.
            VtloopError: A worker died.
        """
        with frozen_heap(many=self.plan.runs > 100):
            self._began, self._searching = time.perf_counter(), True
            try:
                with self._crowd() as crowd:
                    self._play_stored()
                    failed = self._search_plan(crowd) if self.found.failure is None else None
            finally:
                self._tell()
                self._searching = False
            if failed is not None:
                try:
                    self.found.failure = self._confirm(*failed)
                except KeyboardInterrupt:
                    # Nothing is lost: a run that is not confirmed yet, or not small yet, is kept as it was found.
                    if self.found.failure is None and not self.plan.bound:
                        self.found.failure = failure_from(*failed, self._target, self._command)
                    raise
            elif self.found.failure is None and self.upto < self._last and not self._may_go_on():
                self.found.notes.append(f"the budget of {self._resources.budget:g} s is spent")
            if self.found.failure is not None and isinstance(self.found.failure.error, HangError):
                # What was suspected has come true, or hides behind what has.
                self.found.warnings = [one for one in self.found.warnings if one.kind != LOCK_ORDER]
        return self.found

    def done(self) -> Earlier:
        """What was done up to now, for an exploration that goes on behind it."""
        if self._searching:
            self._tell()
        return Earlier(self.upto, self._novelty, self.found.elapsed)

    # -- the runs ------------------------------------------------------------------------------------------------

    def _play_stored(self) -> None:
        """Stored failures first; one that fails still is the finding, and was made small when it was found."""
        for place, trace in enumerate(self._stored):
            failure = None
            try:
                if trace.options.scheduler == REPLAY:
                    outcome = replay_outcome(trace, self._execute, self._command)
                    if _ended_it(outcome):
                        failure = failure_from(outcome, 0, self._target, self._command)
                        self.found.failure, self.failed = failure, place
                        failure = explain(failure, self._execute) if self.plan.shrink else failure
                else:
                    outcome = self._maker.timed(trace.options)
                    failure = self._confirm(outcome, 0) if _ended_it(outcome) else None
            except ReplayError:
                self.misfits.append(place)
            else:
                if failure is None:
                    self.passed.append(place)
            self.found.runs += 1
            if failure is not None:
                self.found.failure, self.failed = failure, place
                return

    def _search_plan(self, crowd: Crowd | None) -> tuple[Outcome, int] | None:
        """The failing run of the plan with the lowest number, and that number."""
        if self.plan.bound:
            return self._sweep()
        first, began = self.upto, time.perf_counter()
        while self.upto < self._last and (self.upto == first or self._may_go_on()):
            if crowd is not None and self.upto > first and (took := time.perf_counter() - began) > WARM_UP:
                return self._search_elsewhere(crowd, took / (self.upto - first))
            outcome = self._maker.make(self.upto, **self._how)
            if self._ends_with(outcome):
                return outcome, self.upto - 1
        return None

    def _sweep(self) -> tuple[Outcome, int] | None:
        """The first of all schedules that fails."""
        sweep = Sweep(self.plan, self._maker, self.plan.bound)
        for deviations in sweep:
            if self.upto >= self._last or not self._may_go_on():
                break
            outcome = sweep.make(deviations, **self._how)
            if self._ends_with(outcome):
                return outcome, self.upto - 1
        self.found.notes.append(sweep.note())
        return None

    def _ends_with(self, outcome: Outcome) -> bool:
        """Count a run that was made here; whether the exploration ends with it."""
        failed = _ended_it(outcome)
        self._made(outcome.order)
        if outcome.warnings:
            self.found.warnings = distinct([*self.found.warnings, *outcome.warnings])
        if not failed and self._progress is not None:
            self._progress(self.found)
        return failed

    def _made(self, order: int | None) -> None:
        """Count one run."""
        self.upto += 1
        self.found.runs += 1
        if order is not None:
            self._novelty.add(order)
            self.found.distinct = self._novelty.distinct

    def _may_go_on(self) -> bool:
        """Whether a further run may begin."""
        budget = self._resources.budget
        return budget is None or time.perf_counter() - self._began < budget

    def _tell(self) -> None:
        """Bring the numbers of what was found up to date."""
        found, novelty = self.found, self._novelty
        found.distinct, found.since_new = novelty.distinct, novelty.since_new
        found.unseen = novelty.unseen if not self.plan.bound else None  # the runs of a sweep are no sample
        found.elapsed = self._before + time.perf_counter() - self._began

    # -- other processes -----------------------------------------------------------------------------------------

    def _search_elsewhere(self, crowd: Crowd, pace: float) -> tuple[Outcome, int] | None:
        """The rest of `_search_plan`, made by others; a run takes about ``pace`` seconds."""
        failed = None
        for made in in_order(crowd, self.upto, self._last, pace, self._may_go_on):
            if made is not None:
                for order in made.orders:
                    self._made(order)
                failed = made if made.failed else None
                if made.warnings:
                    self.found.warnings = distinct([*self.found.warnings, *made.warnings])
                self._note_worker(made)
            if self._progress is not None:
                self._progress(self.found)
        crowd.close()
        return self._again(failed) if failed is not None else None

    @contextmanager
    def _crowd(self) -> Iterator[Crowd | None]:
        """The workers, who end with the block; None when this process makes all runs.

        Made before the first run: a program may leave threads behind, and then this process cannot be forked.
        """
        have = self._resources
        if have.alone or self.plan.runs < 2:
            yield None
            return
        here = Ready(self._execute)
        crowd: Crowd
        if have.executor is not None:
            size = max(have.jobs, 2 * (os.cpu_count() or 1))
            crowd = Borrowed(have.executor, size, self.plan, have.program or here)
        else:
            crowd = Processes(min(have.jobs, self.plan.runs), self.plan, here, have.program or here)
        try:
            yield crowd
        finally:
            crowd.close()

    def _note_worker(self, made: Made) -> None:
        if made.pid == os.getpid() and _IN_THREADS not in self.found.notes:
            self.found.notes.append(_IN_THREADS)

    def _again(self, made: Made) -> tuple[Outcome, int]:
        """The failing run of a worker, made here: a run does not depend on who makes it."""
        index = self.upto - 1
        outcome = self._maker.make(index, **self._how)
        if _ended_it(outcome):
            return outcome, index
        kind, place = made.signature
        here = made_by()
        raise NondeterminismError(
            f"run {index} failed in a worker ({kind} at {place or 'an unknown place'}) and not here; the worker has "
            f"{_python(made.worker)}, this process {_python(here)}; {SUSPECTS}",
            data={"run": index, "worker": made.worker, "here": here, "first": [kind, place]},
        )

    # -- the failing run -----------------------------------------------------------------------------------------

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
        if isinstance(second.error, (KeyboardInterrupt, SystemExit, NondeterminismError, ReplayError)):
            raise second.error
        if second.signature != first.signature and first.reproducible and second.reproducible:
            raise NondeterminismError(
                f"the same choices gave two different runs: first {_ending(first)}, then {_ending(second)}; {SUSPECTS}",
                data={"first": list(first.signature), "second": list(second.signature)},
            ) from first.error
        if second.error is None:
            return failure_from(first, index, self._target, self._command)
        failure = failure_from(second, index, self._target, self._command)
        if self.plan.bound:
            by = {"run": index, "seed": None, "scheduler": self.plan.scheduler, "interleave": self.plan.ceiling}
            failure.trace = dataclasses.replace(failure.trace, outcome={**failure.trace.outcome, "found": by})
        self._check_against_the_first(failure, index, first)
        self.found.failure = failure
        if not self.plan.shrink:
            return failure
        small = shrunk_failure(failure, second, self._execute, command=self._command)
        self._check_against_the_first(small, index, first)
        return explain(small, self._execute)

    def _check_against_the_first(self, failure: Failure, index: int, found: Outcome) -> None:
        """Refuse a failure in asyncio's own order where the first run, in that very order, passed."""
        plan = self.plan
        was_plain = plan.bound or plan.options_of(0).scheduler == "fifo"
        if failure.level != "fifo" or not index or self._first or not was_plain or not found.reproducible:
            return
        raise NondeterminismError(
            f"run {index} ended with {_ending(found)}, and so does asyncio's own order now, which passed as run 0: "
            f"most likely something is kept from run to run (a global, a cache, a fixture of wider scope); {SUSPECTS}",
            data={"first": ["", ""], "second": list(found.signature)},
        ) from failure.error


_IN_THREADS = "the executor runs its jobs in threads of this process, one at a time: no faster than jobs=1"


def _ended_it(outcome: Outcome) -> bool:
    """Whether the exploration ends with this run: it failed.

    Raises:
        KeyboardInterrupt, SystemExit, UsageError, NondeterminismError: The run ended with it; never a finding.
    """
    if isinstance(outcome.error, (KeyboardInterrupt, SystemExit, UsageError, NondeterminismError)):
        raise outcome.error
    return outcome.error is not None


def _python(worker: dict[str, Any]) -> str:
    return f"Python {worker.get('python')} and PYTHONHASHSEED {worker.get('hash_seed')}"


def _ending(outcome: Outcome) -> str:
    kind, place = outcome.signature
    at = f"t={seconds_text(outcome.time_ns)} s, step {outcome.steps}"
    return f"{kind} at {place or 'an unknown place'} ({at})" if kind else f"no failure ({at})"
