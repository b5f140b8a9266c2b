"""Playing a trace back for people, wherever its program lives: in this process, or in pytest's.

Used by the commands ``show`` and ``diff``.  What the program prints is dropped.  It must never decide what is shown.
"""

from __future__ import annotations

import functools
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import Any

from vtloop.console import quiet
from vtloop.errors import UsageError
from vtloop.playback import replay_outcome
from vtloop.pytest_target import pytest_words
from vtloop.recording import Event
from vtloop.report.story import Story
from vtloop.report.teller import MOST_MOMENTS
from vtloop.report.telling import WANTED, handed_over, recorder_for, story_of
from vtloop.run import Outcome
from vtloop.targets import PytestTarget, Target, split
from vtloop.trace import Trace

__all__ = ["Played", "command_of", "play"]


@dataclass(frozen=True, slots=True)
class Played:
    """What came of playing a trace back.

    Attributes:
        story: The story of the run.
        trace: The trace, with what the replay adds to it.
        events: Every event as `vtloop.recording.Event`.
    """

    story: Story
    trace: Trace
    events: list[Event]


def play(trace: Trace, target: Target, command: str, keep: int = MOST_MOMENTS) -> Played:
    """Play ``trace`` back in the program ``target``; ``command`` is how a person does that.

    Of a function or script ``keep`` events are told, the last ones; of a pytest test the usual number.

    Raises:
        ReplayError: The trace does not fit the program.
        UsageError: The program cannot be run, or pytest tells no story of the test.
    """
    if isinstance(target, PytestTarget):
        story = replace(_from_pytest(trace, target.text), target=target.text)
        return Played(story, replace(trace, target=target.text, choices=tuple(story.choices)), _events(story))
    run_once: Any = functools.partial(target.execute, recorder=recorder_for(trace, keep))
    with open(os.devnull, "w", encoding="utf-8") as nowhere, quiet(nowhere):
        outcome: Outcome = replay_outcome(trace, run_once)
    if isinstance(outcome.error, UsageError):
        raise outcome.error
    story = story_of(outcome, trace, target.text, command)
    made = outcome.trace(target.text)
    end = dict(trace.outcome) if len(trace.outcome) > 1 else made.outcome
    whole = replace(trace, choices=tuple(story.choices), target=target.text, check=made.check, outcome=end)
    return Played(story, whole, list(outcome.recording.events) if outcome.recording is not None else [])


def _events(story: Story) -> list[Event]:
    """The events as a recording has them."""
    found: list[Event] = []
    for moment in story.moments:
        if moment.kind != "turn":
            what = {"step": f"{moment.who} step {moment.nth}", "choice": moment.who}
            what["callback"] = f"callback {moment.who}"
            found.append((moment.step, moment.time_ns, what[moment.kind], moment.index, moment.options))
    return found


def _from_pytest(trace: Trace, nodeid: str) -> Story:
    """Let pytest play the test back with our plugin, which leaves the story in a file."""
    if find_spec("pytest") is None:
        raise UsageError(f"target {nodeid!r} is a pytest test, and pytest is not installed here")
    with tempfile.TemporaryDirectory(prefix="vtloop-") as folder:
        path, recorded = os.path.join(folder, "story.json"), os.path.join(folder, "trace.json")
        trace.save(recorded)
        words = [sys.executable, "-m", "pytest", *pytest_words(nodeid, trace=recorded), "-q", "-p", "no:cacheprovider"]
        environment = {**os.environ, WANTED: path}
        ran = subprocess.run(words, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        story = handed_over(path)
    if story is None:
        last = [line for line in ran.stdout.splitlines() if line.strip()][-3:]
        raise UsageError(
            f"pytest told no story of {nodeid!r} (a test below @given has none); it ended with: {' / '.join(last)}"
        )
    return story


def command_of(source: str, trace: Trace, target: str) -> str:
    """The command that plays a trace back: with its token, if it has one that is short enough, else as it was given."""
    text, arguments = split(target)
    rest = f" -- {shlex.join(arguments)}" if arguments else ""
    return f"vtloop replay {trace.token() or shlex.quote(source)} {shlex.quote(text)}{rest}"
