"""Stops of a replay under pytest: the debugger opens before a given step, with pytest's capturing out of the way.

Used by the item for ``--vtloop-until``; where a test fails, pytest's own ``--pdb`` opens.  It must never change what
runs next.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

import _pytest
import pluggy
import pytest

from vtloop.debugging import Debugger, Stops
from vtloop.options import Options
from vtloop.run import Outcome

__all__ = ["stopping"]

_PYTEST = tuple(os.path.dirname(module.__file__) + os.sep for module in (_pytest, pluggy) if module.__file__)


def stopping(config: pytest.Config, run_once: Callable[..., Outcome]) -> Callable[..., Outcome]:
    """``run_once``, stopped before the step that was asked for; as it is when none was."""
    until: int | None = config.getoption("vtloop_until", None)
    if until is None:
        return run_once
    stops = Stops(until=until, failing=False, debugger=_PytestDebugger(config))
    play = stops.around(run_once)

    def stopped(options: Options, **how: Any) -> Outcome:
        outcome = play(options, **how)
        if not stops.reached:
            pytest.exit(f"--vtloop-until {until}: the run has {outcome.steps} steps; give a number up to that", 2)
        return outcome

    return stopped


class _PytestDebugger(Debugger):
    """The debugger, on the terminal that pytest keeps from the test."""

    def __init__(self, config: pytest.Config) -> None:
        super().__init__()
        self._capture: Any = config.pluginmanager.getplugin("capturemanager")
        self._free = False

    def is_foreign(self, code: CodeType) -> bool:
        return super().is_foreign(code) or code.co_filename.startswith(_PYTEST)

    def message(self, msg: str, end: str = "\n") -> None:
        with self._on_terminal():
            print(msg, end=end, file=self.stdout)

    def interaction(self, frame: FrameType | None, *trace: Any) -> None:
        with self._on_terminal():
            super().interaction(frame, *trace)

    @contextmanager
    def _on_terminal(self) -> Iterator[None]:
        if self._free or self._capture is None:
            yield
            return
        self._free = True
        self._capture.suspend(in_=True)
        self.stdin, self.stdout = sys.stdin, sys.stdout
        try:
            yield
        finally:
            self._capture.resume()
            self._free = False
