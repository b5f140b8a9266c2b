"""Programs with a known run each, and their stories: what the tests of reports show."""

from __future__ import annotations

import dataclasses
import importlib.util
import textwrap
from functools import partial
from pathlib import Path

from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.playback import replay_outcome
from vtloop.report.story import Story
from vtloop.report.teller import Teller, teller
from vtloop.report.telling import story_of
from vtloop.run import execute
from vtloop.trace import REPLAY, Choice, Trace

EXAMPLES = Path(__file__).parent.parent / "docs" / "examples"

READ_LATE = Choice("hold", "Task-3", 2, 1, 1, 2)
"""In docs/examples/evicted_cache.py: the reader comes after the evictor."""


def program(tmp_path, source, name="program.py"):
    """The functions of a program written to ``tmp_path``, as a namespace."""
    path = tmp_path / name
    path.write_text(textwrap.dedent(source))
    return loaded(path)


def loaded(path):
    spec = importlib.util.spec_from_file_location(Path(path).stem, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def listed(*choices, level="tasks", **options):
    """A trace that lists its choices."""
    resolved = resolve(RUN_DEFAULTS, seed=1, interleave=level, **options)
    return Trace(dataclasses.replace(resolved, scheduler=REPLAY), choices=tuple(choices))


def told(main, trace=None, recorder=teller, command="vtloop replay TOKEN program.py:main") -> Story:
    """The story of a run of ``main``: in asyncio's own order, or the one of ``trace``."""
    trace = trace or Trace(RUN_DEFAULTS)
    outcome = replay_outcome(trace, partial(execute, main, recorder=recorder))
    assert isinstance(outcome.recording, Teller)
    return story_of(outcome, trace, "program.py:main", command)


def evicted() -> Story:
    """The failing run of docs/examples/evicted_cache.py."""
    return told(loaded(EXAMPLES / "evicted_cache.py").main, listed(READ_LATE, level="wakeups"))


def deadlocked() -> Story:
    """docs/examples/abba_deadlock.py in asyncio's own order."""
    return told(loaded(EXAMPLES / "abba_deadlock.py").main)
