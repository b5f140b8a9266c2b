"""What a failure means: played back once more with its whole story, beside the nearest run that does not fail.

Called by explorations and by ``vtloop.shrink`` when a failure is confirmed, and by ``vtloop replay``.  Adds to the
`Failure` what a person reads: its choices with the lines of the program, the table of the run, and where the passing
run parts from it.  It must never change what was found; where the story does not come back, the plain words stay.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any

from vtloop.attempts import STUCK, WATCHDOG, likeness
from vtloop.chunks import Execute
from vtloop.errors import NondeterminismError, ReplayError
from vtloop.finding import Failure
from vtloop.playback import replay_outcome
from vtloop.report.choices import told_choices
from vtloop.report.difference import compare, parting_lines
from vtloop.report.story import Story
from vtloop.report.table import table
from vtloop.report.teller import Teller
from vtloop.report.telling import recorder_for, story_of
from vtloop.run import Outcome
from vtloop.trace import Trace

__all__ = ["explain", "tell"]


def explain(failure: Failure, execute: Execute) -> Failure:
    """``failure`` with `told`, `table` and `difference` filled in, as far as its run can be told.

    Args:
        failure: A confirmed failure.
        execute: Makes one run (as `vtloop.run.execute` without the program).
    """
    # The passing run first: what the program prints in the failing one is kept by the command line.
    passing = _told(failure.passing, execute, "") if failure.passing is not None else None
    trace = failure.trace
    if likeness(failure.error)[1] == STUCK and trace.options.watchdog:
        # The run lasts as long as the watchdog, and had its full time when it was confirmed.
        trace = replace(trace, options=replace(trace.options, watchdog=min(trace.options.watchdog, WATCHDOG)))
    story = _told(trace, execute, type(failure.error).__name__)
    if story is not None:
        _fill_in(failure, story)
        if passing is not None:
            failure.difference = tuple(parting_lines(story, passing, compare(story, passing)))
    return failure


def tell(failure: Failure, outcome: Outcome) -> Failure:
    """``failure`` with `told` and `table` filled in, if its run was recorded with its story."""
    if isinstance(outcome.recording, Teller):
        _fill_in(failure, story_of(outcome, failure.trace, failure.trace.target or "", ""))
    return failure


def _fill_in(failure: Failure, story: Story) -> None:
    told = told_choices(story)
    failure.told = tuple(one.text for one in told)
    failure.table = tuple(table(story, told))


def _told(trace: Trace, execute: Execute, ends_with: str) -> Story | None:
    """The story of a run; None when it does not come back, or ends with another error."""
    run_once: Any = functools.partial(execute, recorder=recorder_for(trace))
    try:
        outcome = replay_outcome(trace, run_once)
    except (ReplayError, NondeterminismError):
        return None
    ended = type(outcome.error).__name__ if outcome.error is not None else ""
    return story_of(outcome, trace, trace.target or "", "") if ended == ends_with else None
