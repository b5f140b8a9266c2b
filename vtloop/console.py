"""The terminal: what the command line prints, where, and how a failure looks there.

Findings go to standard output, refusals and progress to standard error.  It must never decide anything, and never
fail because nobody reads.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, TextIO

from vtloop.colour import is_wanted, painted
from vtloop.diagnosis.verdict import EVENTS
from vtloop.errors import VtloopError
from vtloop.finding import Failure
from vtloop.run import Outcome
from vtloop.warned import Warned

if TYPE_CHECKING:
    from vtloop.explore import Exploration

__all__ = ["Console", "failure_text", "outcome_data", "quiet", "traceback_text"]

REDRAW = 0.1
"""Seconds between two pictures of the progress line."""

OUTPUT_LINES = 20
"""The most lines shown of what a failing run of an exploration printed."""

_OWN = os.path.dirname(__file__) + os.sep
_ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep


class Console:
    """Standard output and standard error of one command.

    Attributes:
        json: Whether standard output takes one JSON document and nothing else.
    """

    def __init__(self) -> None:
        self.json = False
        self._began = time.perf_counter()
        self._drawn = 0.0
        self._shows_progress = False
        self._terminal = bool(sys.stderr is not None and sys.stderr.isatty())

    def say(self, *lines: str) -> None:
        """Print findings; nothing with ``--json``."""
        if not self.json:
            self._write(sys.stdout, self._text("".join(f"{line}\n" for line in lines), sys.stdout))

    def data(self, document: Any) -> None:
        """Print the JSON document, if that is what was asked for."""
        if self.json:
            self._write(sys.stdout, json.dumps(document, indent=2, default=repr) + "\n")

    def note(self, line: str) -> None:
        """Print a line that is no finding, to standard error."""
        self.clear()
        self._write(sys.stderr, self._text(f"vtloop: {line}\n", sys.stderr))

    def warn(self, warned: Iterable[Warned]) -> None:
        """Print warnings, to standard error."""
        for one in warned:
            self.note(f"warning: {one}")

    def progress(self, total: int, budget: float | None = None) -> Callable[[Exploration], None]:
        """What to call with what was found up to now; draws one line on a terminal, nothing in a pipe."""
        began = self._began = time.perf_counter()
        before: int | None = None

        def draw(found: Exploration) -> None:
            nonlocal before
            if before is None:
                before = max(found.runs - 1, 0)
            if not self._is_due():
                return
            now = self._drawn
            rate = (found.runs - before) / max(now - began, 1e-9)
            of = f" of {total:,}" if budget is None else ""
            left = "" if budget is None else f", {max(budget - (now - began), 0.0):.0f} s left"
            line = f"{found.runs:,}{of} runs, {rate:,.0f} runs/s, {found.distinct:,} distinct orders{left}"
            self._write(sys.__stderr__, f"\r\033[K{line}")

        return draw

    def replays(self, most: int, seconds: float | None) -> Callable[[], None]:
        """What to call before each replay of a shrink; draws as `progress` does."""
        began, made = time.perf_counter(), 0

        def draw() -> None:
            nonlocal made
            made += 1
            if self._is_due():
                left = "" if seconds is None else f", {max(seconds - (self._drawn - began), 0.0):.0f} s left"
                self._write(sys.__stderr__, f"\r\033[K{made:,} of at most {most:,} replays{left}")

        return draw

    def _is_due(self) -> bool:
        """Whether a progress line is to be drawn now."""
        now = time.perf_counter()
        if not self._terminal or now - self._drawn < REDRAW:
            return False
        self._drawn, self._shows_progress = now, True
        return True

    def clear(self) -> None:
        """Take the progress line away."""
        if self._shows_progress:
            self._shows_progress = False
            self._write(sys.__stderr__, "\r\033[K")

    def close(self) -> None:
        """Flush; whatever the interpreter still wants to write to a closed pipe goes nowhere."""
        self.clear()
        for stream in (sys.stdout, sys.stderr):
            self._write(stream, "")

    @staticmethod
    def _text(text: str, stream: Any) -> str:
        return painted(text) if is_wanted(stream, os.environ) else text

    def _write(self, stream: Any, text: str) -> None:
        if stream is None:
            return
        try:
            stream.write(text)
            stream.flush()
        except UnicodeEncodeError:
            stream.write(text.encode("ascii", "backslashreplace").decode())
        except OSError as exc:
            # From now on, also what the interpreter flushes at its end goes nowhere.
            with contextlib.suppress(OSError, ValueError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, stream.fileno())
                os.close(nowhere)
            if not isinstance(exc, BrokenPipeError) and stream is not sys.stderr:
                self.note(f"standard output cannot be written to: {exc.strerror}")
        except ValueError:
            pass  # the program has closed the stream


@contextlib.contextmanager
def quiet(into: TextIO) -> Iterator[None]:
    """Send what a program prints to ``into``."""
    with contextlib.redirect_stdout(into), contextlib.redirect_stderr(into):
        yield


def failure_text(failure: Failure, printed: str = "") -> list[str]:
    """A failure for a terminal: the traceback, what the run printed, then the verdict's report or the summary."""
    lines = traceback_text(failure.error)
    if printed:
        kept = printed.rstrip("\n").split("\n")
        more = f", the last {OUTPUT_LINES} of {len(kept)} lines" if len(kept) > OUTPUT_LINES else ""
        lines += [f"the failing run printed{more}:", *(f"  | {line}" for line in kept[-OUTPUT_LINES:])]
    # The message stands in the traceback already.
    summary = [line for line in failure.summary()[1:] if not line.startswith("replay: ")]
    report = failure.error.report().split("\n") if isinstance(failure.error, VtloopError) else []
    if failure.table:
        report = _without_events(report)
    verdict = [*report, ""] if len(report) > 1 else []
    return [*lines, "", *verdict, *summary, *(["", *failure.table, ""] if failure.table else [])]


def _without_events(report: list[str]) -> list[str]:
    """The lines of a verdict but for its last events, which the table of the run tells better."""
    if EVENTS not in report:
        return report
    at = end = report.index(EVENTS)
    while end + 1 < len(report) and report[end + 1].startswith("  "):
        end += 1
    return report[:at] + report[end + 1 :]


def traceback_text(error: BaseException) -> list[str]:
    """The traceback as Python prints it, without our frames and without the frames of asyncio that lead to the user's.

    The report of a verdict, which hangs on the error as a note, is left out: it is printed by itself.
    """
    shown = traceback.TracebackException.from_exception(error)
    seen: set[int] = set()
    _trim(shown, error, seen)
    return "".join(shown.format()).rstrip("\n").split("\n")


def _trim(shown: traceback.TracebackException, error: BaseException | None, seen: set[int]) -> None:
    if id(shown) in seen:
        return
    seen.add(id(shown))
    frames = [frame for frame in shown.stack if not frame.filename.startswith(_OWN)]
    first = next((n for n, frame in enumerate(frames) if not _internal(frame.filename)), len(frames))
    # A script's own asyncio.run() stands before the frames of asyncio that lead from there to the program.
    frames = [frame for frame in frames[first:] if not frame.filename.startswith(_ASYNCIO + "runners.py")]
    shown.stack = traceback.StackSummary.from_list(frames)
    notes = getattr(shown, "__notes__", None)
    if isinstance(error, VtloopError) and notes:
        vars(shown)["__notes__"] = [note for note in notes if note != error.report()]
    for inner in (shown.__cause__, shown.__context__):
        if inner is not None:
            _trim(inner, None, seen)
    for member in getattr(shown, "exceptions", None) or ():
        _trim(member, None, seen)


def _internal(filename: str) -> bool:
    return filename.startswith((_OWN, _ASYNCIO, "<frozen "))


def outcome_data(outcome: Outcome) -> dict[str, Any]:
    """How a run ended, as JSON-ready values."""
    return {
        "ok": outcome.error is None,
        "value": None if outcome.value is None else repr(outcome.value),
        "seed": outcome.options.seed,
        "time": outcome.time_ns / 1e9,
        "steps": outcome.steps,
        "reproducible": outcome.reproducible,
        "warnings": [one.to_dict() for one in outcome.warnings],
    }
