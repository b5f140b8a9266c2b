"""Playing a trace back, and saying so when it does not fit the program any more.

Called by every entrance that replays: ``vtloop.replay``, the command line, the pytest plugin, and explorations, which
begin with stored failures.  It must never decide what to do with what comes of it.
"""

from __future__ import annotations

from collections.abc import Callable

from vtloop.errors import ReplayError
from vtloop.recording import Recording
from vtloop.run import Command, Outcome
from vtloop.schedulers.replay import SUSPECTS, KeyedReplay
from vtloop.trace import Trace

__all__ = ["replay_loosely", "replay_outcome"]


def replay_outcome(trace: Trace, run_once: Callable[..., Outcome], command: Command | None = None) -> Outcome:
    """Play ``trace`` back through ``run_once`` (as `execute`, without the program).

    Raises:
        ReplayError: The recorded choices do not fit, and the failure did not come back either.
    """
    replays: list[KeyedReplay] = []
    scheduler = None
    choices = trace.choices
    if choices is not None and trace.options.scheduler != "fifo":

        def scheduler(recording: Recording) -> KeyedReplay:
            replays.append(KeyedReplay(trace.options.interleave, choices, recording))
            return replays[0]

    outcome = run_once(trace.options, record=True, scheduler=scheduler, command=command)
    outcome.found = trace.found
    if isinstance(outcome.error, ReplayError):
        raise outcome.error
    if isinstance(outcome.error, KeyboardInterrupt):
        return outcome  # cut short: what was not made does not count
    kind, place = outcome.signature
    same = bool(kind) and kind == trace.outcome.get("type")
    if not same or place != trace.outcome.get("place", place):
        for made in replays:
            made.finish()
    if not same and not replays and trace.check and outcome.check != trace.check:
        recorded = trace.outcome.get("type") or "no failure"
        raise ReplayError(
            "the recorded choices do not fit this program: the recorded run made "
            f"{_count(trace.check)} choices and ended with {recorded}, now it "
            f"makes {_count(outcome.check)} and ends with {kind or 'no failure'}; the code or a library has changed, "
            f"or the run depends on something that is not recorded ({SUSPECTS})",
            data={"recorded": trace.check, "now": outcome.check},
        )
    return outcome


def replay_loosely(trace: Trace, run_once: Callable[..., Outcome], command: Command | None = None) -> Outcome:
    """Make those of the recorded choices that come up: the program has other data than it had."""
    choices = trace.choices
    if choices is None or trace.options.scheduler == "fifo":
        return run_once(trace.options, record=True, command=command)

    def scheduler(recording: Recording) -> KeyedReplay:
        return KeyedReplay(trace.options.interleave, choices, recording, strict=False)

    return run_once(trace.options, record=True, scheduler=scheduler, command=command)


def _count(check: str) -> str:
    return check.partition("/")[2] or "0"
