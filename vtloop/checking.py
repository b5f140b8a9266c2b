"""The command ``check``: does one seed give one run?

The same run is made twice in this process and once each in two fresh processes with different hash seeds; the event
logs are compared, and the first difference is shown in terms of tasks.  Called by `vtloop.cli`.  It must never call a
program deterministic because two digests of an unrecorded run agree: every event is recorded.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from vtloop.commands import Request, options_of_one
from vtloop.console import quiet
from vtloop.errors import NondeterminismError, UsageError
from vtloop.options import Options
from vtloop.recording import Event
from vtloop.run import Outcome
from vtloop.showing import event_words
from vtloop.targets import PytestTarget, Target, opened

__all__ = ["check"]

HASH_SEEDS = ("1", "2")
"""The hash seeds of the two fresh processes."""

_CHILD = "import json, sys; sys.path[:] = json.loads(sys.argv.pop(1)); from vtloop.cli import main; sys.exit(main())"

_HASH = (
    "the order of sets (and of dicts built from them) of str, bytes or objects hashed by them: sort before iterating"
)
_WORLD = "the wall clock (time, datetime), random, uuid, os.urandom, id(), sets of objects without a hash of their own"
_STATE = "state kept between runs: module globals, caches, counters, class attributes"


@dataclass(frozen=True, slots=True)
class _Log:
    """What one run came to, and where it was made."""

    where: str
    digest: str
    events: Sequence[Event]
    ending: tuple[str, str]
    reproducible: bool = True

    def same(self, other: _Log) -> bool:
        return (self.digest, self.ending) == (other.digest, other.ending)


def check(request: Request) -> int:
    """``vtloop check TARGET``.

    Raises:
        NondeterminismError: Two of the runs differ; the message has the first difference and suspects.
    """
    given, console = request.given, request.console
    options = options_of_one(request, seed=0)
    path = list(sys.path)
    with opened(given.target, request.arguments) as target:
        if isinstance(target, PytestTarget):
            raise UsageError("check takes a function or a script; a pytest test is checked when a failure is confirmed")
        first = _here(target, options, "this process, first run")
        if given.events_to is not None:
            return _hand_over(first, given.events_to)
        second = _here(target, options, "this process, second run")
        if not first.same(second):
            raise _difference(first, second, f"{_STATE}; {_WORLD}; real threads")
        fresh = [_elsewhere(request, path, options, hash_seed) for hash_seed in HASH_SEEDS]
        if not fresh[0].same(fresh[1]):
            again = _elsewhere(request, path, options, HASH_SEEDS[0])
            only_hash = again.same(fresh[0])
            raise _difference(fresh[0], fresh[1], _HASH if only_hash else f"{_WORLD}; {_HASH}; real threads")
        if not first.same(fresh[0]):
            raise _difference(first, fresh[0], f"{_STATE} (imports too); {_HASH}; the environment; {_WORLD}")
    threads = "" if first.reproducible else "; real threads took part: other machines may differ"
    ending = (
        f"; each run ends with {first.ending[0]} at {first.ending[1] or 'an unknown place'}" if first.ending[0] else ""
    )
    console.say(f"deterministic: {len(first.events):,} events, digest {first.digest}{ending}{threads}")
    data = {"command": "check", "target": given.target, "deterministic": True, "events": len(first.events)}
    console.data({**data, "digest": first.digest, "seed": options.seed, "error": first.ending[0] or None})
    return 0


def _here(target: Target, options: Options, where: str) -> _Log:
    """One run in this process; what it prints is dropped."""
    assert not isinstance(target, PytestTarget)
    with open(os.devnull, "w", encoding="utf-8") as nowhere, quiet(nowhere):
        outcome: Outcome = target.execute(options, keep=None)
    if isinstance(outcome.error, (KeyboardInterrupt, UsageError)):
        raise outcome.error
    recording = outcome.recording
    if recording is None:
        return _Log(where, "none", (), outcome.signature)
    return _Log(where, recording.digest(), recording.events, outcome.signature, outcome.reproducible)


def _hand_over(log: _Log, path: str) -> int:
    """In a fresh process: leave the log for the process that asked."""
    body = {"digest": log.digest, "events": list(log.events), "ending": log.ending, "reproducible": log.reproducible}
    Path(path).write_text(json.dumps(body), encoding="utf-8")
    return 0


def _elsewhere(request: Request, path: list[str], options: Options, hash_seed: str) -> _Log:
    """One run in a fresh process, whose ``sys.path`` is ours."""
    words = request.words[: len(request.words) - len(request.arguments) - 1] if request.arguments else request.words
    with tempfile.TemporaryDirectory(prefix="vtloop-") as folder:
        log = os.path.join(folder, "log.json")
        command = [sys.executable, "-c", _CHILD, json.dumps(path), *words]
        command += ["--events-to", log, "--seed", str(options.seed), "--", *request.arguments]
        made = subprocess.run(
            command,
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        if not os.path.exists(log):
            said = made.stderr.strip().rpartition("\n")[2] or "it said nothing"
            raise UsageError(f"the run in a fresh process ended with exit status {made.returncode}: {said}")
        body: dict[str, Any] = json.loads(Path(log).read_text(encoding="utf-8"))
    kind, place = body["ending"]
    events = [tuple(event) for event in body["events"]]
    where = f"a fresh process, PYTHONHASHSEED={hash_seed}"
    return _Log(where, body["digest"], events, (kind, place), body["reproducible"])


def _difference(a: _Log, b: _Log, suspects: str) -> NondeterminismError:
    """The first event in which two logs differ, in task terms."""
    events_a, events_b = list(a.events), list(b.events)
    both = min(len(events_a), len(events_b))
    at = next((n for n in range(both) if events_a[n] != events_b[n]), both)
    lines = ["the same seed gave two different runs"]
    if at == len(events_a) == len(events_b):
        lines.append(f"all {at} events are equal, but the runs end differently:")
        lines += [f"  {log.where}: {' at '.join(filter(None, log.ending)) or 'no failure'}" for log in (a, b)]
    else:
        lines.append(f"they part at event {at + 1}:")
        for log, events in ((a, events_a), (b, events_b)):
            lines.append(f"  {log.where}: {event_words(events[at]) if at < len(events) else 'the run is over'}")
        if at:
            lines.append(f"  just before, in both: {event_words(events_a[at - 1])}")
    lines.append(f"suspects: {suspects}")
    data = {"event": at, "runs": [a.where, b.where], "digests": [a.digest, b.digest], "suspects": suspects}
    return NondeterminismError("\n".join(lines), data=data)
