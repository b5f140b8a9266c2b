"""Attempts of a shrink: a part of the choices of a failing run, played back; does it still fail, and in the same way?

Used by `vtloop.shrink`, which decides what to try.  An attempt makes what it can of the choices it is given and leaves
out what does not come to pass; what was really done is what is kept.  It must never keep a run that is not legal: the
ready line alone says what may be picked, as in every run.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from vtloop.background import place_of
from vtloop.deviations import fewest
from vtloop.errors import ReplayError, VtloopError
from vtloop.keys import ANY_NUMBER, Keys
from vtloop.lowering import mark
from vtloop.options import Options, with_values
from vtloop.ready import LEVELS
from vtloop.recording import Recording
from vtloop.run import Command, Outcome
from vtloop.schedulers.replay import FlatReplay, KeyedReplay
from vtloop.trace import REPLAY, Choice, Trace

__all__ = ["STUCK", "WATCHDOG", "Attempts", "Candidate", "Execute", "Spent", "likeness", "pattern"]

Execute = Callable[..., Outcome]
"""Makes one run: ``execute(options, record=..., scheduler=..., command=...) -> Outcome``."""

MORE_STEPS, STEPS_TIMES = 10_000, 4
"""An attempt may take so many steps more than the failing run, after so many times as many: others may spin."""

WATCHDOG, WATCHDOG_STUCK = 1.0, 0.25
"""Real seconds after which a step of an attempt is cut; and where such a step is the very failure."""

STUCK = "stuck step"


class Spent(Exception):
    """The budget is spent."""


def likeness(error: BaseException | None) -> Any:
    """What makes two failures the same: type, verdict and place of the error, and those of a group's members."""
    if error is None:
        return None
    members = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    verdict = error.data.get("verdict", "") if isinstance(error, VtloopError) else ""
    return (type(error).__name__, verdict, place_of(error), sorted(map(likeness, members)))


def pattern(name: str, other: str) -> str | None:
    """What two names of one task have in common, if they differ in numbers alone; None if they do not differ so."""
    parts, others = re.split(r"(\d+)", name), re.split(r"(\d+)", other)
    if name == other or parts[::2] != others[::2]:
        return None
    return "".join(one if one == another else ANY_NUMBER for one, another in zip(parts, others, strict=True))


@dataclass(frozen=True, slots=True)
class Candidate:
    """Choices, and the options they need.

    Attributes:
        options: The options of the run.
        choices: Its deviations.
    """

    options: Options
    choices: tuple[Choice, ...]

    @classmethod
    def of(cls, options: Options, choices: Iterable[Choice]) -> Candidate:
        """A candidate without the options that its choices do not use."""
        made = tuple(choices)
        kinds = {choice.kind for choice in made}
        return cls(
            with_values(
                options,
                scheduler=REPLAY,
                interleave=options.interleave if kinds & {"step", "hold"} else LEVELS[0],
                lag=options.lag if "lag" in kinds else 0.0,
                stretch=options.stretch if "stretch" in kinds else 0.0,
                cancel=options.cancel if any(kind.startswith("cancel") for kind in kinds) else (),
            ),
            made,
        )

    def having(self, choices: Iterable[Choice]) -> Candidate:
        """The same with other choices."""
        return Candidate.of(self.options, choices)

    @property
    def needs(self) -> tuple[bool, bool, int, bool]:
        """What the run rests on, the strongest assumption first: a cancellation, stretch, the level, lag."""
        kinds = {choice.kind for choice in self.choices}
        cancels = any(kind.startswith("cancel") for kind in kinds)
        return (cancels, "stretch" in kinds, LEVELS.index(self.options.interleave), "lag" in kinds)

    @property
    def cost(self) -> tuple[Any, ...]:
        """What the shrinker makes smaller: first what is needed, then how many choices, then how large they are."""
        sizes = sum(choice.index for choice in self.choices)
        return (self.needs, len(self.choices), self.options.lag, self.options.stretch, sizes)

    @property
    def key(self) -> tuple[Any, ...]:
        """What makes two candidates the same run."""
        options = self.options
        marks = tuple((*choice.key, choice.age, choice.index) for choice in self.choices)
        return (options.interleave, options.lag, options.stretch, options.cancel, marks)


class Attempts:
    """Makes the runs of one shrink, within a budget, and keeps the best.

    Args:
        execute: Makes one run.
        first: The failing run, recorded.
        replays: How many runs may be made.
        seconds: How much real time they may take; None for no limit.

    Attributes:
        best: The smallest that fails in the same way.
        recording: The record of its run.
        made: How many runs were made.
        passed: The candidates that did not fail, in order.
    """

    def __init__(self, execute: Execute, first: Outcome, replays: int, seconds: float | None) -> None:
        assert first.recording is not None
        self._execute = execute
        self._goal = likeness(first.error)
        self._replays, self._seconds = replays, seconds
        self._began = time.perf_counter()
        self._known: dict[Any, bool] = {}
        self._patterns: tuple[str, ...] = ()
        self._stuck = self._goal[1] == STUCK  # each failing run takes as long as the watchdog
        self._last: tuple[Candidate, Outcome] | None = None
        options = first.options
        self.best = Candidate.of(options, fewest(first.recording))
        self.recording: Recording = first.recording
        self.made = 0
        self.passed: list[Candidate] = []
        self._limits: dict[str, Any] = {}
        steps = STEPS_TIMES * first.steps + MORE_STEPS
        if options.max_steps is None or (first.steps < options.max_steps and steps < options.max_steps):
            self._limits["max_steps"] = steps
        if options.watchdog:
            self._limits["watchdog"] = min(options.watchdog, WATCHDOG_STUCK if self._stuck else WATCHDOG)

    def steady_names(self, first: Outcome) -> None:
        """Tell tasks apart by what stays the same: some names have a number that is another in every run.

        Raises:
            Spent: No more runs may be made.
        """
        names = self.recording.named
        if all(name.startswith("Task-") or not any(map(str.isdigit, name)) for name in names):
            return
        again = self._again(first.options, first)
        others = again.recording.named if again.recording is not None else names
        self._patterns = tuple(dict.fromkeys(filter(None, map(pattern, names, others))))
        if self._patterns:
            again = self._again(first.options, first)
            if again.recording is not None and likeness(again.error) == self._goal:
                self.best, self.recording = Candidate.of(first.options, fewest(again.recording)), again.recording

    def fails(self, candidate: Candidate) -> bool:
        """Whether the candidate fails in the same way; one run, or none if it was asked before.

        Raises:
            Spent: No more runs may be made.
        """
        known = self._known.get(candidate.key)
        if known is None:
            outcome = self._run(candidate, record=self._stuck)
            self._last = (candidate, outcome)
            known = self._known[candidate.key] = likeness(outcome.error) == self._goal
            if outcome.error is None:
                self.passed.append(candidate)
        return known

    def adopt(self, candidate: Candidate) -> bool:
        """Whether the candidate fails in the same way and is smaller than the best: what it really did is the new best.

        Raises:
            Spent: No more runs may be made.
        """
        return self.fails(candidate) and self._recorded(candidate) is not None

    def record(self, candidate: Candidate) -> Recording | None:
        """The record of a candidate that fails in the same way, and the new best if it is smaller; else None."""
        if not self.fails(candidate):
            return None
        return self._recorded(candidate, always=True)

    def search(self, options: Options) -> bool | None:
        """Whether a run drawn from a seed fails in the same way, and is smaller; None: it had nothing to choose.

        Raises:
            Spent: No more runs may be made.
        """
        outcome = self._count(options, record=False)
        if likeness(outcome.error) != self._goal:
            return False if outcome.indices else None
        again = self._again(options, outcome)
        if likeness(again.error) != self._goal or again.recording is None:
            return False
        return self._keep(options, again.recording)

    def _again(self, options: Options, outcome: Outcome) -> Outcome:
        """The run of ``outcome`` once more, choice by choice, recorded."""
        patterns = self._patterns

        def scheduler(recording: Recording) -> FlatReplay:
            recording.take_patterns(patterns)
            return FlatReplay(options.interleave, outcome.indices, outcome.sizes, recording)

        return self._count(options, record=True, scheduler=scheduler)

    def confirmed(self, command: Command | None) -> Outcome | None:
        """The best run, played back to the letter, whatever the budget; None when it does not come back.

        Args:
            command: Makes the command that plays a run back, for reports.
        """
        options, level, choices = self.best.options, self.best.options.interleave, self.best.choices
        made: list[KeyedReplay] = []

        def scheduler(recording: Recording) -> KeyedReplay:
            made.append(KeyedReplay(level, choices, recording))
            return made[0]

        if not choices and level == LEVELS[0]:
            plain = {"seed": None, "scheduler": "fifo"}
            outcome = self._execute(with_values(options, **plain), record=True, command=command)
        else:
            outcome = self._execute(options, record=True, scheduler=scheduler, command=command)
        if likeness(outcome.error) != self._goal:
            return None
        try:
            for replay in made:
                replay.finish()
        except ReplayError:
            return None
        return outcome

    def nearest_passing(self) -> Trace | None:
        """The run without a failure that has most in common with the best; of equals the one that parts last."""
        best, marks = self.best, [mark(choice) for choice in self.best.choices]

        def apart(candidate: Candidate) -> tuple[int, int]:
            others = {mark(choice) for choice in candidate.choices}
            missing = [at for at, one in enumerate(marks) if one not in others]
            options = candidate.options
            other = (options.interleave, options.lag, options.stretch) != (
                *(best.options.interleave, best.options.lag, best.options.stretch),
            )
            differences = len(missing) + len(others.difference(marks)) + other
            return (differences, -(missing[0] if missing else len(marks)))

        if not self.passed:
            return None
        candidate = min(self.passed, key=apart)
        try:
            outcome = self._play(candidate)
        except Spent:
            return None
        if outcome.error is not None or outcome.recording is None:
            return None
        return replace(outcome.trace(), options=candidate.options, choices=tuple(fewest(outcome.recording)))

    # -- parts --------------------------------------------------------------------------------------------------

    def _play(self, candidate: Candidate) -> Outcome:
        """A recorded run of a candidate, whatever the budget."""
        self._replays, self._seconds = self.made + 1, None
        return self._run(candidate, record=True)

    def _recorded(self, candidate: Candidate, always: bool = False) -> Recording | None:
        known = self._last
        outcome = known[1] if known is not None and known[0] is candidate and self._stuck else None
        if outcome is None:
            outcome = self._run(candidate, record=True)
        recording = outcome.recording
        if recording is None or likeness(outcome.error) != self._goal:
            return None
        return recording if self._keep(candidate.options, recording) or always else None

    def _keep(self, options: Options, recording: Recording) -> bool:
        found = Candidate.of(with_values(options, seed=self.best.options.seed), fewest(recording))
        if found.cost >= self.best.cost:
            return False
        self.best, self.recording = found, recording
        self._known[found.key] = True
        return True

    def _run(self, candidate: Candidate, *, record: bool) -> Outcome:
        return self._count(candidate.options, record=record, scheduler=self._scheduler(candidate))

    def _scheduler(self, candidate: Candidate) -> Callable[[Recording | None], KeyedReplay]:
        level, choices, patterns = candidate.options.interleave, candidate.choices, self._patterns

        def scheduler(recording: Recording | None) -> KeyedReplay:
            keys = recording if recording is not None else Keys()
            keys.take_patterns(patterns)
            return KeyedReplay(level, choices, keys, strict=False)

        return scheduler

    def _count(self, options: Options, **how: Any) -> Outcome:
        spent = self._seconds is not None and time.perf_counter() - self._began > self._seconds
        if spent or self.made >= self._replays:
            raise Spent
        self.made += 1
        try:
            outcome = self._execute(self._bounded(options), **how)
        except BaseException as exc:  # what a test runner passes on: a skip, the user's Ctrl-C
            outcome = Outcome(options, error=exc)
        if isinstance(outcome.error, (KeyboardInterrupt, SystemExit)):
            raise Spent
        return outcome

    def _bounded(self, options: Options) -> Options:
        return replace(options, **self._limits)
