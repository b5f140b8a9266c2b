"""The whole story of a run that was played back: what the teller saw, and how it ended.

Used by whoever plays a run back for people: the command line, and the pytest plugin, which hands the story over to the
command line through a file.  It must never run anything.
"""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import json
import os
from typing import Any

from vtloop.background import place_of
from vtloop.deviations import fewest
from vtloop.errors import ReplayError, VtloopError
from vtloop.finding import Failure
from vtloop.options import RUN_DEFAULTS
from vtloop.report.story import Story
from vtloop.report.teller import MOST_MOMENTS, Teller, in_a_line
from vtloop.run import Outcome, Recorder
from vtloop.trace import REPLAY, Trace
from vtloop.writing import write_whole

__all__ = ["WANTED", "hand_over", "handed_over", "recorder_for", "refuse", "story_of", "wanted"]

WANTED = "VTLOOP_STORY"
"""The environment variable by which the command line asks pytest for the story of a replay: the file to write."""

LONGEST_VALUE = 200


def recorder_for(trace: Trace, keep: int = MOST_MOMENTS) -> Recorder:
    """A teller for the replay of ``trace``; of a very long run it looks closely only at what it is going to keep."""
    steps = trace.outcome.get("step")
    since = steps - keep if isinstance(steps, int) else 0
    return functools.partial(Teller, keep=keep, since=since)


def story_of(outcome: Outcome, trace: Trace, target: str, command: str) -> Story:
    """The story of ``outcome``, which was recorded by a teller when ``trace`` was played back.

    Args:
        outcome: The run.
        trace: What was played back; the choices it lists are the ones that are told.
        target: What was run, as one writes it.
        command: The command that plays it back.
    """
    teller = outcome.recording
    # A script that made no loop of ours was never recorded.
    story = teller.story if isinstance(teller, Teller) else Story()
    if trace.options.scheduler == REPLAY and trace.choices is not None:
        story.choices = list(trace.choices)
    elif isinstance(teller, Teller):
        story.choices = fewest(teller)
    changed = trace.options.changed(RUN_DEFAULTS)
    if trace.options.scheduler != "fifo":
        changed["interleave"] = trace.options.interleave
    story.options = {name: _plain(value) for name, value in changed.items()}
    story.target, story.command = target, command
    story.time_ns, story.steps = outcome.time_ns, outcome.steps
    if outcome.error is not None:
        error = outcome.error
        story.error, story.place = in_a_line(error), place_of(error)
        story.report = error.report().split("\n") if isinstance(error, VtloopError) else []
        if isinstance(error, Exception):  # Ctrl-C and sys.exit() are no findings
            listed = dataclasses.replace(trace, choices=tuple(story.choices))
            story.label = Failure(error, listed, time=outcome.time_ns / 1e9, step=outcome.steps).label()
    elif outcome.value is not None:
        value = repr(outcome.value)
        story.value = value if len(value) <= LONGEST_VALUE else f"{value[: LONGEST_VALUE - 3]}..."
    if not outcome.reproducible:
        story.notes.append("real threads took part: the run may not come back exactly")
    return story


def _plain(value: Any) -> Any:
    if isinstance(value, tuple):
        return list(value)
    return value if value is None or isinstance(value, (str, int, float, bool)) else type(value).__name__


# -- from pytest to the command line ---------------------------------------------------------------------------------


def wanted() -> str | None:
    """The file into which the story of a replay is to be written; None when nobody asked for it."""
    return os.environ.get(WANTED) or None


def hand_over(path: str, story: Story) -> None:
    """Write a story for `handed_over`."""
    with contextlib.suppress(OSError):  # whoever asked will say that there is none
        write_whole(path, json.dumps({"story": story.to_dict()}))


def refuse(path: str, error: ReplayError) -> None:
    """Write why there is no story: the trace does not fit."""
    with contextlib.suppress(OSError):
        write_whole(path, json.dumps({"replay_error": str(error), "data": error.data}, default=repr))


def handed_over(path: str) -> Story | None:
    """What `hand_over` wrote; None when nothing was.

    Raises:
        ReplayError: The trace does not fit the test.
    """
    try:
        with open(path, encoding="utf-8") as file:
            data = json.load(file)
    except (OSError, ValueError):
        return None
    if "replay_error" in data:
        raise ReplayError(data["replay_error"], data=data["data"])
    return Story.from_dict(data["story"])
