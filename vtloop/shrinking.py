"""The command ``shrink``: a recorded failure made small, once more or for the first time.

Called by `vtloop.cli`.  Explorations shrink what they find; this is for failures recorded otherwise, and for a larger
budget.  It must never lose the old trace before the new one is written.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vtloop.api import replay_outcome
from vtloop.collector import frozen_heap
from vtloop.commands import Quiet, Request
from vtloop.console import failure_text
from vtloop.errors import UsageError
from vtloop.explaining import explain
from vtloop.finding import Failure, failure_from
from vtloop.keeping import keep
from vtloop.options import Options
from vtloop.replaying import program
from vtloop.run import Outcome
from vtloop.shrink import check_budget, shrunk_failure
from vtloop.store import FOLDER
from vtloop.targets import PytestTarget, Target
from vtloop.trace import TOKEN_PREFIX, read

__all__ = ["shrink"]


def shrink(request: Request) -> int:
    """``vtloop shrink TRACE|TOKEN [TARGET]``."""
    given, console = request.given, request.console
    check_budget(given.replays, given.seconds)
    trace = read(given.trace)
    with program(request, trace) as target:
        if isinstance(target, PytestTarget):
            raise UsageError(
                f"shrink makes runs of functions and scripts; {target.text!r} is a pytest test: its explorations "
                "(pytest with --vtloop-runs N) shrink what they find"
            )
        with Quiet(target, False, console.json) as quieted:
            outcome = replay_outcome(trace, quieted.execute)
            if isinstance(outcome.error, (UsageError, KeyboardInterrupt)):
                raise outcome.error
            if outcome.error is None:
                console.say("the recorded run does not fail any more: there is nothing to shrink")
                console.data({"command": "shrink", "target": target.text, "failure": None})
                return 0
            found = failure_from(outcome, trace.found.get("run", 0), target.text)
            draw = console.replays(given.replays, given.seconds)

            def replay(options: Options, *, record: bool, **how: Any) -> Outcome:
                draw()
                return quieted.execute(options, record=record, **how)

            with frozen_heap(many=False):
                small = shrunk_failure(found, outcome, replay, replays=given.replays, seconds=given.seconds)
                explain(small, quieted.execute)
        console.clear()
        path = _stored(request, target, small)
        return _told(request, found, small, quieted.printed, path)


def _stored(request: Request, target: Target, small: Failure) -> Path | None:
    """Write the shrunk trace and set the command; an old one in this project's store goes when the new one is there."""
    given, source = request.given, request.given.trace
    if given.output is not None:
        path: Path | None = small.trace.save(given.output)
        keep(small, target)
        return path
    path = keep(small, target, always=True)
    old = None if source.startswith(TOKEN_PREFIX) else Path(source)
    ours = old is not None and Path(FOLDER).resolve() in old.resolve().parents
    if path is not None and old is not None and ours and old.resolve() != path.resolve():
        old.unlink(missing_ok=True)
    return path


def _told(request: Request, found: Failure, small: Failure, printed: str, path: Path | None) -> int:
    console = request.console
    before, after = len(found.choices), len(small.choices)
    if small.shrunk:
        line = f"{_counted(before)} became {after}, in {small.replays} replays"
        line += "" if small.minimal else "; not everything was tried, --replays and --seconds give it more"
    else:
        line = small.note or "asyncio's own order fails: there is nothing to leave out"
    where = f"stored: {path}" if path is not None else f"not stored: {FOLDER}/ cannot be written to"
    console.say(line, "FAILED", *failure_text(small, printed), where)
    console.say(*([small.command] if small.command else []))
    data = {"command": "shrink", "target": small.trace.target, "choices_before": before, "failure": small.to_dict()}
    console.data({**data, "path": str(path) if path is not None else None, "printed": printed})
    return 1


def _counted(many: int) -> str:
    return "1 choice" if many == 1 else f"{many} choices"
