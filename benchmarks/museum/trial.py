"""What is done with one case: find the bug, shrink it, play it back in a fresh process, run the fixed release.

Every question is asked in a process of its own inside the environment of its side.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.museum.cases import Case
from benchmarks.museum.environments import Environments, NotAvailable, Unbuildable

__all__ = ["Outcome", "Plan", "try_case"]

LEVELS = ("timing", "wakeups", "tasks")
"""The levels of interleaving, weakest first."""

_CHILD = Path(__file__).resolve().parent / "child.py"
_STOCK_PATIENCE = 60.0
_PATIENCE = 1800.0


@dataclass(frozen=True, slots=True)
class Plan:
    """How hard to try.

    Attributes:
        runs: Within how many runs the bug has to be found.
        fixed_runs: How many runs of the fixed release have to stay clean.
        seed: The base seed of the first exploration, and of the runs of the fixed release.
        base_seeds: From how many base seeds, ``seed`` and those after it, the bug is looked for.
        python: The interpreter for cases that do not name one.
    """

    runs: int
    fixed_runs: int
    seed: int
    base_seeds: int
    python: str


@dataclass(slots=True)
class Outcome:
    """What came of one case.

    Attributes:
        case: The case.
        versions: The interpreter of each side.
        not_run: Why it was not tried, or not to the end; None when it was.
        absent: Whether it was not tried because an interpreter is not there, which is nobody's fault.
        stock: For each side what one run on the interpreter's own loop ended with; None when it passed.
        found: For each base seed the number of runs it took, None for one without a find.
        failures: What was found, shrunk, for each base seed that found it.
        replayed: What the token of the first failure gave in a fresh process.
        fixed: The failure of the fixed release, if any; `fixed_runs` says how many runs there were.
    """

    case: Case
    versions: dict[str, str] = field(default_factory=dict)
    not_run: str | None = None
    absent: bool = False
    stock: dict[str, dict[str, Any] | None] = field(default_factory=dict)
    found: list[int | None] = field(default_factory=list)
    failures: list[dict[str, Any]] = field(default_factory=list)
    replayed: dict[str, Any] | None = None
    fixed: dict[str, Any] | None = None
    fixed_runs: int = 0

    @property
    def failure(self) -> dict[str, Any] | None:
        """The first failure: error, level, lag, stretch, time, step, token, choices, seconds of shrinking."""
        return self.failures[0] if self.failures else None

    @property
    def hits(self) -> list[int]:
        """The run numbers of the base seeds that found it, smallest first."""
        return sorted(runs for runs in self.found if runs is not None)

    @property
    def median(self) -> float | None:
        """The median run number over all base seeds; None when most of them found nothing."""
        whole = [float("inf") if runs is None else float(runs) for runs in self.found]
        middle = statistics.median(whole) if whole else float("inf")
        return None if middle == float("inf") else middle

    @property
    def choices(self) -> list[int]:
        """To how many choices each failure was shrunk."""
        return [len(failure["choices"]) for failure in self.failures]

    @property
    def exact(self) -> bool:
        """Whether the fresh process raised the same error, type and message, at the same virtual time and step."""
        if self.failure is None or self.replayed is None:
            return False
        return all(self.replayed[key] == self.failure[key] for key in ("error", "time", "step"))

    @property
    def clean(self) -> bool:
        """Whether the fixed release, if there is one, ran and never failed."""
        return self.fixed is None and (self.fixed_runs > 0 or not self.case.has_fixed)

    @property
    def labelled(self) -> bool:
        """Whether the weakest label among the findings is the level that the case needs.

        Some bugs show in several ways, one of which needs a stronger level and is labelled with that.
        """
        found = [LEVELS.index(failure["level"]) for failure in self.failures if failure["level"] in LEVELS]
        return len(found) == len(self.failures) > 0 and LEVELS[min(found)] == self.case.level

    @property
    def shown(self) -> bool:
        """Found from every base seed, played back exactly, and the fixed release clean."""
        everywhere = bool(self.found) and None not in self.found
        return self.not_run is None and everywhere and self.exact and self.clean

    def as_data(self) -> dict[str, Any]:
        """All of it as plain data."""
        return {
            "id": self.case.identity,
            "package": self.case.package,
            "level": self.case.level,
            "shown": self.shown,
            "versions": self.versions,
            "not_run": self.not_run,
            "stock": self.stock,
            "found": self.found,
            "median": self.median,
            "failures": self.failures,
            "replayed": self.replayed,
            "exact": self.exact,
            "fixed_runs": self.fixed_runs,
            "fixed_failure": self.fixed,
        }


class _Broken(Exception):
    """A child gave no answer; the message says what it said instead."""


def _ask(python: Path, case: Case, ask: str, **question: Any) -> dict[str, Any]:
    question |= {"ask": ask, "scenario": str(case.scenario)}
    clean = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    try:
        done = subprocess.run(
            [python, "-P", _CHILD, json.dumps(question)], capture_output=True, text=True, timeout=_PATIENCE, env=clean
        )
    except subprocess.TimeoutExpired as slow:
        raise _Broken(f"{ask}: no answer after {slow.timeout:.0f} s") from slow
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        raise _Broken(f"{ask}: {said[-1]}")
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def _try_buggy(outcome: Outcome, python: Path, plan: Plan) -> None:
    case = outcome.case
    outcome.stock["buggy"] = _ask(python, case, "stock", patience=_STOCK_PATIENCE)["error"]
    # One process for each base seed, so that what a failing run leaves behind can not help or hinder the next.
    for seed in range(plan.seed, plan.seed + plan.base_seeds):
        answer = _ask(python, case, "explore", runs=plan.runs, seed=seed, options=case.options, shrink=True)
        failure = answer["failure"]
        outcome.found.append(None if failure is None else answer["runs"])
        if failure is not None:
            outcome.failures.append(failure)
    if outcome.failure is not None and outcome.failure["token"]:
        outcome.replayed = _ask(python, case, "replay", token=outcome.failure["token"])


def _try_fixed(outcome: Outcome, python: Path, plan: Plan) -> None:
    case = outcome.case
    outcome.stock["fixed"] = _ask(python, case, "stock", patience=_STOCK_PATIENCE)["error"]
    options = {**case.options, "interleave": case.level}
    answer = _ask(python, case, "explore", runs=plan.fixed_runs, seed=plan.seed, options=options, shrink=False)
    outcome.fixed, outcome.fixed_runs = answer["failure"], answer["runs"]


def try_case(case: Case, environments: Environments, plan: Plan) -> Outcome:
    """Do all of it for one case; whatever goes wrong is in the outcome."""
    outcome = Outcome(case)
    try:
        python, outcome.versions["buggy"] = environments.python(case, "buggy", plan.python)
        fixed: Path | None = None
        if case.has_fixed:
            fixed, outcome.versions["fixed"] = environments.python(case, "fixed", plan.python)
        _try_buggy(outcome, python, plan)
        if fixed is not None:
            _try_fixed(outcome, fixed, plan)
    except NotAvailable as reason:
        outcome.not_run, outcome.absent = str(reason), True
    except (Unbuildable, _Broken) as reason:
        outcome.not_run = str(reason)
    return outcome
