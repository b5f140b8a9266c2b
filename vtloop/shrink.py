"""Shrinking: from a run that fails to the fewest and smallest choices that make it fail in the same way.

After A. Zeller and R. Hildebrandt, "Simplifying and Isolating Failure-Inducing Input", IEEE TSE 28(2), 2002 (ddmin):
parts of the choices are left out, ever smaller ones, until no single one can be.  Ours differs in four ways.  Choices
are keyed by task and step, so that leaving one out does not shift the rest.  After each attempt that still fails, what
really happened in it is the new set.  The end of the run is cut off first, by bisection.  And what is smaller has an
order, as in Hypothesis (D. MacIver and A. Donaldson, "Test-Case Reduction via Test-Case Generation", ECOOP 2020): what
the run rests on first (no cancellation, no stretch, a weaker level, exact time), then fewer choices, then smaller ones.

Called by explorations for what they find, by ``vtloop.shrink`` and by the command line.  The result depends on the
failing run alone, unless the real time allowed is spent.  It must never show what it has not played back.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from typing import Any

from vtloop.attempts import Attempts, Candidate, Execute, Spent
from vtloop.deviations import holds
from vtloop.entropy import run_seed
from vtloop.errors import UsageError
from vtloop.finding import Failure, failure_from
from vtloop.lowering import a_step_later, grown, lowered, nearby, rescaled
from vtloop.options import Options, with_values
from vtloop.plan import LAGS, STRETCHES
from vtloop.ready import LEVELS
from vtloop.run import Command, Outcome
from vtloop.trace import Trace

__all__ = ["REPLAYS", "SECONDS", "Shrinker", "Shrunk", "check_budget", "shrunk_failure"]

REPLAYS, SECONDS = 200, 2.0
"""The budget of a shrink: replays, and real seconds, whichever are spent first."""

BELOW = 12
"""Runs of each weaker level that are tried for the same failure."""

DRAWN_BY = ("pct:depth=1", "random")
"""What draws them, in turn."""

MOST_MERGED = 5
"""Choices up to which pairs of them are tried as one."""

MOST_GATHERED = 12
"""Choices of lag, or of stretch, that are tried as one large one."""

MOST_HOLDS = 24
"""Holds up to which a run is shrunk once more with all of its order told as holds."""


@dataclass(frozen=True, slots=True)
class Shrunk:
    """What came of a shrink.

    Attributes:
        outcome: The shrunk run, recorded and played back to the letter; None when there is none.
        passing: The nearest run that does not fail; None when none was met.
        replays: How many runs were made.
        minimal: Whether none of the choices can be left out.
        note: What a reader should know; empty when all went well.
    """

    outcome: Outcome | None
    passing: Trace | None = None
    replays: int = 0
    minimal: bool = False
    note: str = ""


def shrunk_failure(
    failure: Failure,
    outcome: Outcome,
    execute: Execute,
    *,
    replays: int = REPLAYS,
    seconds: float | None = SECONDS,
    command: Command | None = None,
) -> Failure:
    """``failure`` made small; itself, with a note, when that is impossible.

    Args:
        failure: What was found.
        outcome: Its run, recorded.
        execute: Makes one run.
        replays: How many runs may be made.
        seconds: How much real time they may take; None for no limit.
        command: Makes the command that plays a run back.
    """
    made = Shrinker(execute, replays=replays, seconds=seconds).shrink(outcome, command)
    if made.outcome is None:
        failure.replays, failure.minimal, failure.note = made.replays, made.minimal, made.note
        return failure
    small = failure_from(made.outcome, failure.run, failure.trace.target, command)
    small.found = failure.found or failure.trace.options
    known = failure.trace.found
    small.shrunk, small.minimal, small.note = True, made.minimal, made.note
    small.passing, small.replays = made.passing, made.replays
    by = small.found.scheduler if isinstance(small.found.scheduler, str) else type(small.found.scheduler).__name__
    found = known or {"run": small.run, "seed": small.found.seed, "scheduler": by, "interleave": small.found.interleave}
    small.trace = replace(small.trace, outcome={**small.trace.outcome, "found": found})
    return small


def check_budget(replays: Any, seconds: Any) -> None:
    """Refuse a budget that is none.

    Raises:
        UsageError: A value out of range.
    """
    if isinstance(replays, bool) or not isinstance(replays, int) or replays < 1:
        raise UsageError(f"replays must be a whole number, 1 or more, got {replays!r}")
    number = isinstance(seconds, (int, float)) and not isinstance(seconds, bool)
    if seconds is not None and not (number and 0 < seconds < float("inf")):
        raise UsageError(f"seconds must be a number above 0, or None, got {seconds!r}")


class Shrinker:
    """Makes failing runs small.

    Args:
        execute: Makes one run (as `vtloop.run.execute` without the program).
        replays: How many runs may be made.
        seconds: How much real time they may take; None for no limit.
    """

    def __init__(self, execute: Execute, *, replays: int = REPLAYS, seconds: float | None = SECONDS) -> None:
        self._execute = execute
        self._replays, self._seconds = replays, seconds
        self._attempts: Attempts

    def shrink(self, first: Outcome, command: Command | None = None) -> Shrunk:
        """The smallest run found that fails as ``first`` does.

        Args:
            first: The failing run, recorded.
            command: Makes the command that plays a run back, for reports.
        """
        if first.options.scheduler == "fifo":
            return Shrunk(None, minimal=True)
        if not first.reproducible:
            return Shrunk(None, note="real threads took part: not shrunk")
        attempts = self._attempts = Attempts(self._execute, first, self._replays, self._seconds)
        minimal, note = False, ""
        try:
            self._stages(first)
            minimal = True
        except Spent:
            note = f"shrinking ended after {attempts.made} replays, before everything was tried"
        passing = attempts.nearest_passing()
        outcome = attempts.confirmed(command)
        if outcome is None:
            return Shrunk(None, None, attempts.made, note="the shrunk run did not come back: shown as it was found")
        return Shrunk(outcome, passing, attempts.made, minimal, note)

    # -- the stages ---------------------------------------------------------------------------------------------

    def _stages(self, first: Outcome) -> None:
        """All stages, the cheapest first, the last of them until nothing becomes smaller."""
        attempts = self._attempts
        attempts.steady_names(first)
        self._weaken()
        if self._look_below(first.options):
            self._weaken()
        self._truncate()
        self._keep_last()
        self._leave_out_groups()
        cost = None
        while attempts.best.cost != cost:
            cost = attempts.best.cost
            self._leave_out()
            self._weaken()  # what needed more has perhaps been left out
            self._gather()
            self._lower()
            self._tell_otherwise()
            self._merge()
            self._one_for_several()

    def _weaken(self) -> None:
        """The same choices, as far as they are allowed, where less is assumed; the weakest that fails is kept."""
        best = self._attempts.best
        both = (False, True)
        for needs in itertools.product(both, both, range(len(LEVELS)), both):
            if needs >= best.needs:
                return
            if any(need > had for need, had in zip(needs, best.needs, strict=True)):
                continue
            cancel, stretch, level, lag = needs
            left_out = {"stretch": not stretch, "lag": not lag, "step": not level, "hold": not level}
            left_out |= {"cancel before": not cancel, "cancel after": not cancel}
            kept = [choice for choice in best.choices if not left_out.get(choice.kind)]
            options = with_values(best.options, interleave=LEVELS[level])
            if self._attempts.adopt(Candidate.of(options, kept)):
                return
            # At a weaker level first steps do not change places; the wake-ups that follow them may, to the same end.
            later = [a_step_later(choice) for choice in kept] if level < best.needs[2] else kept
            if later != kept and self._attempts.adopt(Candidate.of(options, later)):
                return

    def _look_below(self, first: Options) -> bool:
        """Whether some run drawn from a seed fails in the same way and rests on less.

        Lag may take the place of what is left out where the failing run was allowed not to be exact.
        """
        options = self._attempts.best.options
        cancel, stretch, level, lag = self._attempts.best.needs
        highest = LEVELS.index(first.interleave) + 1
        most = first.lag or LAGS[-1]  # never more than was asked for
        lags = tuple(size for size in reversed(LAGS) if size <= most) or (most,) if stretch or lag else (0.0,)
        below: list[tuple[tuple[str, ...], str, tuple[float, ...]]]
        below = [((), at, lags) for at in LEVELS[: highest if cancel or stretch else level]]
        if options.cancel:
            below += [(options.cancel, at, lags) for at in LEVELS[: highest if stretch else level]]
        if lag and not stretch:
            below.append((options.cancel, options.interleave, (0.0,)))
        for cancels, at, sizes in below:
            for number in range(BELOW):
                drawn = {"seed": run_seed(options.seed or 0, number), "scheduler": DRAWN_BY[number % len(DRAWN_BY)]}
                drawn |= {"interleave": at, "lag": sizes[number % len(sizes)], "stretch": 0.0, "cancel": cancels}
                found = self._attempts.search(with_values(options, **drawn))
                if found:
                    return True
                if found is None:
                    break  # all these runs are the same
        return False

    def _truncate(self) -> None:
        """Asyncio's own order from some choice on: the earliest, by bisection."""
        attempts, low = self._attempts, 0
        while low < len(attempts.best.choices):
            middle = (low + len(attempts.best.choices)) // 2
            if not attempts.adopt(attempts.best.having(attempts.best.choices[:middle])):
                low = middle + 1

    def _keep_last(self) -> None:
        """Only the last choices, ever more of them: what comes before is often beside the point."""
        attempts, size = self._attempts, 1
        while size < len(attempts.best.choices):
            if attempts.adopt(attempts.best.having(attempts.best.choices[-size:])):
                return
            size *= 2

    def _leave_out_groups(self) -> None:
        """All choices of a kind, then, where there are many, all of a task."""
        attempts = self._attempts
        for kind in dict.fromkeys(choice.kind for choice in attempts.best.choices):
            attempts.adopt(attempts.best.having(one for one in attempts.best.choices if one.kind != kind))
        tasks = list(dict.fromkeys(choice.task for choice in attempts.best.choices))
        if 4 * len(tasks) < len(attempts.best.choices):
            for task in tasks:
                attempts.adopt(attempts.best.having(one for one in attempts.best.choices if one.task != task))

    def _leave_out(self) -> None:
        """Ever smaller parts of the choices, down to single ones, until none of these can be left out."""
        attempts = self._attempts
        size = max(1, len(attempts.best.choices) // 2)
        while True:
            smaller, end = False, len(attempts.best.choices)
            while end > 0:
                choices = attempts.best.choices
                start = max(0, end - size)
                if attempts.adopt(attempts.best.having(choices[:start] + choices[end:])):
                    smaller = True
                end = min(start, len(attempts.best.choices))
            if size == 1 and not smaller:
                return
            size = max(1, min(size // 2, len(attempts.best.choices) // 2))

    def _lower(self) -> None:
        """Less lag, less stretch, then each choice as near to asyncio's own order as still fails."""
        attempts = self._attempts
        for name, ladder in (("lag", LAGS), ("stretch", STRETCHES)):
            for size in ladder:
                had = getattr(attempts.best.options, name)
                if size < had:
                    choices = [rescaled(one, had / size) if one.kind == name else one for one in attempts.best.choices]
                    if attempts.adopt(Candidate.of(with_values(attempts.best.options, **{name: size}), choices)):
                        break
        at = 0
        while at < len(attempts.best.choices):
            self._lower_one(at)
            at += 1

    def _lower_one(self, at: int) -> None:
        """The choice number ``at`` as near to index 0 as still fails, by bisection."""
        attempts = self._attempts
        key, low, guess = attempts.best.choices[at].key, 1, 1
        while True:
            choices = attempts.best.choices
            if at >= len(choices) or choices[at].key != key or choices[at].index <= low:
                return
            smaller = lowered(choices[at], guess)
            if attempts.adopt(attempts.best.having((*choices[:at], smaller, *choices[at + 1 :]))):
                if guess == 1:
                    return
            else:
                low = guess + 1
            if at < len(attempts.best.choices):
                guess = (low + attempts.best.choices[at].index) // 2

    def _tell_otherwise(self) -> None:
        """The same with all of the order told as holds, of which fewer may do."""
        attempts = self._attempts
        if not any(choice.kind == "step" for choice in attempts.best.choices):
            return
        told = holds(attempts.recording)
        at = len(told) if len(told) <= MOST_HOLDS else 0
        while at > 0:
            at -= 1
            recording = attempts.record(attempts.best.having(told[:at] + told[at + 1 :]))
            if recording is not None:
                told = holds(recording)
                at = min(at, len(told))

    def _gather(self) -> None:
        """One large lag, or stretch, in place of several small ones: only the largest of one, or one for two."""
        attempts = self._attempts
        for kind in ("lag", "stretch"):
            small = [choice for choice in attempts.best.choices if choice.kind == kind]
            for one in small[:MOST_GATHERED] if len(small) > 1 else ():
                rest = [choice for choice in attempts.best.choices if choice.kind != kind or choice == one]
                if attempts.adopt(attempts.best.having(grown(rest, one, one.options))):
                    break
            else:
                for one, other in itertools.pairwise(reversed(small[:MOST_GATHERED])):
                    if {one, other} <= set(attempts.best.choices):
                        rest = [choice for choice in attempts.best.choices if choice != one]
                        attempts.adopt(attempts.best.having(grown(rest, other, one.index)))

    def _one_for_several(self) -> None:
        """A single hold in place of several: of the same tasks, a step nearby, for a while."""
        attempts = self._attempts
        choices = attempts.best.choices
        order = [choice for choice in choices if choice.kind in ("hold", "step")]
        if len(choices) > MOST_MERGED:
            return
        groups = [order, *map(list, itertools.combinations(order, 2))] if len(order) > 2 else [order]
        for group in groups if len(order) > 1 else ():
            rest = [choice for choice in choices if choice not in group]
            for one in nearby(group):
                if attempts.adopt(attempts.best.having([one, *rest])):
                    return

    def _merge(self) -> None:
        """One hold for two: one that lasts until the other's end."""
        attempts = self._attempts
        if len(attempts.best.choices) > MOST_MERGED:
            return
        ends = {key: (born, take) for key, born, take in (*attempts.recording.stood, *attempts.recording.standing)}
        back = [choice for choice in attempts.best.choices if choice.kind == "hold" and choice.key[1:] in ends]
        for one, other in itertools.permutations(back, 2):
            longer = ends[other.key[1:]][1] - ends[one.key[1:]][0]
            if longer > one.age:
                longest = replace(one, age=longer)
                choices = [longest if choice == one else choice for choice in attempts.best.choices if choice != other]
                if attempts.adopt(attempts.best.having(choices)):
                    return
