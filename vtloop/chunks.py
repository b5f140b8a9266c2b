"""A chunk: a stretch of an exploration's runs, made in whichever process, asked for and told as plain data.

`Maker` makes the runs of a plan, in the exploring process and in workers alike; `Job` and `work` are what travels to an
executor's workers.  Run ``i`` is a function of the plan and ``i`` alone, so it does not matter who makes it, nor in
chunks of which size.  A worker never reports a failure, only the number of the run: the exploring process makes that
run again.  It must never decide which runs are made.
"""

from __future__ import annotations

import os
import pickle
import sys
import threading
import time
from array import array
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

from vtloop.collector import frozen_heap
from vtloop.plan import Plan
from vtloop.trace import made_by
from vtloop.warned import Warned, distinct

if TYPE_CHECKING:
    from vtloop.run import Outcome

__all__ = ["Chunk", "Execute", "Job", "Made", "Maker", "Program", "Ready", "Result", "close_look", "work"]

Execute = Callable[..., "Outcome"]
"""Makes one run: ``execute(options, record=, scheduler=, command=, track_order=, quick=, note=) -> Outcome``."""


class Program(Protocol):
    """What is explored, as something that can be pickled and opened in another process."""

    def opened(self) -> AbstractContextManager[Execute]:
        """Import what is needed; gives what makes one run."""
        ...


@dataclass(frozen=True, slots=True)
class Ready:
    """A program that is open already."""

    execute: Execute

    def opened(self) -> AbstractContextManager[Execute]:
        """What makes one run."""
        return nullcontext(self.execute)


@dataclass(frozen=True, slots=True)
class Chunk:
    """Which runs to make.

    Attributes:
        first: The number of the first run.
        count: How many.
    """

    first: int
    count: int

    def __str__(self) -> str:
        last = self.first + self.count - 1
        return f"run {self.first:,}" if self.count == 1 else f"runs {self.first:,} to {last:,}"


@dataclass(frozen=True, slots=True)
class Made:
    """What came of a chunk.

    Attributes:
        orders: The orders of its runs, up to and including the first that failed.
        failed: Whether the last of them failed.
        signature: The type and place of that failure.
        seconds: Real seconds it took.
        worker: Python version and hash seed of the process that made it.
        pid: The number of that process.
        refused: Why the program could not be opened; None when it could.
        warnings: What its runs did not fail with and somebody should look at, each once.
    """

    orders: array[int]
    failed: bool
    signature: tuple[str, str]
    seconds: float
    worker: dict[str, Any]
    pid: int
    refused: str | None = None
    warnings: tuple[Warned, ...] = ()


Result = tuple[Chunk, Made | Exception]
"""A chunk, and what came of it; the exception when it did not come back."""


def close_look(index: int) -> bool:
    """Whether run ``index`` of an exploration is looked at closely, which takes time: the first ten, and ever fewer."""
    return index < 10 or not index & (index - 1)


class Maker:
    """Makes the runs of a plan, one by one.

    The watchdog is scaled to the longest run so far: a finding is confirmed with the full one.
    """

    def __init__(self, plan: Plan, execute: Execute) -> None:
        self._plan = plan
        self._execute = execute
        self._longest = 0.0

    def watchdog(self) -> float | None:
        """The watchdog of the next run."""
        full = self._plan.options.watchdog
        return min(full, max(2.0, 1000 * self._longest)) if full and self._longest else full

    def timed(self, options: Any, **how: Any) -> Outcome:
        """One unrecorded run."""
        began = time.perf_counter()
        outcome = self._execute(options, record=False, **how)
        self._longest = max(self._longest, time.perf_counter() - began)
        return outcome

    def make(self, index: int, **how: Any) -> Outcome:
        """Run ``index`` of the plan, unrecorded."""
        options = self._plan.options_of(index, watchdog=self.watchdog())
        if not close_look(index) and options.leaks in ("warn", None):
            how["quick"] = True
        if not index:
            how["note"] = True
        return self.timed(options, **how)

    def chunk(self, chunk: Chunk, note: Callable[[int], None] | None = None) -> Made:
        """The runs of ``chunk`` up to the first that fails; ``note`` is told the number of each before it is made."""
        orders = array("Q")
        began = time.perf_counter()
        signature = ("", "")
        failed = False
        warned: list[Warned] = []
        for index in range(chunk.first, chunk.first + chunk.count):
            if note is not None:
                note(index)
            outcome = self.make(index, track_order=True)
            orders.append((outcome.order or 0) & _MASK)
            warned += outcome.warnings
            if outcome.error is not None:
                failed, signature = True, outcome.signature
                break
        took = time.perf_counter() - began
        return Made(orders, failed, signature, took, made_by(), os.getpid(), warnings=tuple(distinct(warned)))


_MASK = (1 << 64) - 1


@dataclass(frozen=True, slots=True)
class Job:
    """One chunk for a worker of an executor.

    Attributes:
        plan: What is explored.
        program: The program; pickled, unless the executor's own pickling has to do it.
        paths: ``sys.path`` of the exploring process, to find the program's modules.
        chunk: Which runs.
    """

    plan: Plan
    program: Program | bytes
    paths: tuple[str, ...]
    chunk: Chunk


_one_at_a_time = threading.Lock()
"""A process may have several workers in its threads, as dask's do: runs share what is one per process."""


def work(job: Job) -> Made:
    """Make the runs of ``job``: called in a worker."""
    with _one_at_a_time:
        sys.path += [path for path in job.paths if path not in sys.path]
        try:
            program = pickle.loads(job.program) if isinstance(job.program, bytes) else job.program
        except Exception as exc:
            return Made(array("Q"), False, ("", ""), 0.0, made_by(), os.getpid(), f"{type(exc).__name__}: {exc}")
        with program.opened() as execute, frozen_heap(many=True, tidy=False):
            return Maker(job.plan, execute).chunk(job.chunk)
