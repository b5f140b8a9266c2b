"""The command line's stored failures: which of them an exploration tries first, and what becomes of them.

Called by the commands that find or shrink failures; `vtloop.store` has the files.  It must never make a run.
"""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path

from vtloop.finding import Failure
from vtloop.plan import Plan
from vtloop.ready import LEVELS
from vtloop.store import Store, Stored
from vtloop.targets import Target, split
from vtloop.trace import REPLAY, Trace

__all__ = ["keep", "settle", "stored_for"]


def keep(failure: Failure, target: Target, always: bool = False, instead_of: Path | None = None) -> Path | None:
    """Set the command that plays ``failure`` back; store its trace if wanted, or if it does not fit into a token.

    None when nothing was stored.  The file that it stands ``instead_of`` goes when the new one is there.
    """
    token = failure.token
    path = None
    store = Store(Path())
    if always or token is None:
        path = store.add(target.text, failure.trace)  # None in a read-only folder: the token has to do
    if path is not None and instead_of is not None and instead_of != path:
        store.drop(instead_of)
    if token is None and path is None:
        return None
    failure.command = f"vtloop replay {token or shlex.quote(str(path))} {_quoted(target)}"
    return path


def _quoted(target: Target) -> str:
    """A target as one types it into a shell."""
    text, arguments = split(target.text)
    return shlex.quote(text) + (f" -- {shlex.join(arguments)}" if arguments else "")


def stored_for(text: str, plan: Plan) -> list[Stored]:
    """Earlier failures of the target that the plan could find again, those that failed last time first."""
    return [stored for stored in Store(Path()).failures(text) if _could_find(plan, stored.trace)]


def _could_find(plan: Plan, trace: Trace) -> bool:
    options, base = trace.options, plan.options
    within = LEVELS.index(options.interleave) <= LEVELS.index(plan.ceiling)
    same = base == dataclasses.replace(
        options,
        seed=base.seed,
        scheduler=base.scheduler,
        interleave=base.interleave,
        lag=base.lag,
        stretch=base.stretch,
        cancel=base.cancel if options.scheduler == REPLAY else options.cancel,
    )
    by = trace.found.get("scheduler", options.scheduler)
    inexact = bool(options.lag or options.stretch)
    return within and same and plan.scheduler in ("portfolio", by) and not (inexact and plan.exact_time)


def settle(stored: Sequence[Stored], passed: Sequence[int], misfits: Sequence[int], failed: int | None) -> list[str]:
    """Mark what passes as fixed, drop what no longer fits; gives what a reader should know.

    Args:
        stored: The failures that were tried, in order.
        passed: The places of those that passed.
        misfits: The places of those that no longer fit the program.
        failed: The place of the one that fails still, or again.
    """
    store = Store(Path())
    notes = []
    for place, one in enumerate(stored):
        if place in misfits:
            store.drop(one.path)
            notes.append(f"the stored failure {one.path} no longer fits the program and was dropped")
        elif place in passed and not one.fixed:
            fixed = store.mark_fixed(one)
            where = f" as {fixed}" if fixed is not None else ""
            notes.append(f"the stored failure {one.path} passes now: marked fixed{where}, and still tried first")
        elif place == failed:
            came = "was marked fixed and fails again" if one.fixed else "fails still"
            notes.append(f"the stored failure {one.path} {came}")
    return notes
