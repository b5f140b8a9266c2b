"""The command ``explore``: a campaign on a terminal, with processes, a budget, and a place to go on from.

Takes a `Request` and returns an exit status.  Called by `vtloop.cli`, which turns our errors into sentences.  Nothing
is imported but the target that the command line names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from vtloop.chunks import Execute
from vtloop.commands import NO_LOOP, Quiet, Request, check_exact, left
from vtloop.console import Console, failure_text
from vtloop.entropy import RUNS_PER_SEED
from vtloop.errors import UsageError
from vtloop.explore import Campaign, Exploration, Resources
from vtloop.keeping import keep, settle, stored_for
from vtloop.novelty import Earlier
from vtloop.plan import Plan
from vtloop.pytest_target import run_pytest
from vtloop.resuming import Bookmark
from vtloop.scripts import ScriptTarget
from vtloop.store import FOLDER, Store
from vtloop.targets import PytestTarget, Target, opened
from vtloop.wording import counted

__all__ = ["explore"]

RUNS = 1000
"""How many runs an exploration makes when it is told neither a number nor a time."""


def explore(request: Request) -> int:
    """``vtloop explore TARGET``."""
    given, console, options = request.given, request.console, dict(request.options)
    check_exact(request)
    runs = given.runs
    plan = Plan.of(
        runs=runs if runs is not None else RUNS if given.budget is None else RUNS_PER_SEED,
        seed=options.pop("seed", 0),
        scheduler=options.pop("scheduler", "portfolio"),
        interleave=options.pop("interleave", None),
        exact_time=given.exact_time or None,
        shrink=not given.no_shrink,
        **options,
    )
    if plan.bound and given.resume:
        raise UsageError(f"--resume and --scheduler {plan.scheduler}: it begins with the first schedule every time")
    with opened(given.target, request.arguments) as target:
        if isinstance(target, PytestTarget):
            _refuse_for_pytest(given)
            passed_on = {"seed": plan.seed, **request.options, **({} if plan.shrink else {"shrink": False})}
            return run_pytest(console, target.text, runs=plan.runs, given=passed_on)
        program = _Elsewhere(given.target, tuple(request.arguments), given.show_output, console.json)
        resources = Resources(given.jobs, None, given.budget, program)
        return _explore(request, target, plan, resources)


def _refuse_for_pytest(given: Any) -> None:
    if given.exact_time:
        raise UsageError("--exact-time is not passed on to pytest; set exact_time=True in the test's marker")
    if given.jobs != 1:
        raise UsageError("-j is not passed on to pytest; pytest-xdist runs tests in several processes (pytest -n)")
    for flag, wanted in (("--budget", given.budget is not None), ("--resume", given.resume)):
        if wanted:
            raise UsageError(f"{flag} is not passed on to pytest; give a number of runs (-n)")


def _explore(request: Request, target: Target, plan: Plan, resources: Resources) -> int:
    console = request.console
    data = {"command": "explore", "target": target.text}
    bookmark = Bookmark(Store(Path()).path(target.text).with_suffix(".explored"), target.text, plan)
    earlier, words = bookmark.load() if request.given.resume else (Earlier(), "")
    plan = dataclasses.replace(plan, runs=min(plan.runs, RUNS_PER_SEED - earlier.upto))
    with Quiet(target, request.given.show_output, console.json) as quieted:
        stored = stored_for(target.text, plan)
        draw = console.progress(earlier.upto + plan.runs, resources.budget)

        def progress(found: Exploration) -> None:
            draw(found)
            if bookmark.is_due():
                _save(bookmark, campaign)

        campaign = Campaign(
            plan,
            quieted.execute,
            target=target.text,
            stored=[one.trace for one in stored],
            progress=progress,
            resources=resources,
            count_orders=True,
            earlier=earlier,
        )
        campaign.found.notes += [words] if words else []
        if not plan.runs:
            campaign.found.notes.append("all runs of this base seed are made: take another --seed")
        try:
            found = campaign.search()
        except (KeyboardInterrupt, SystemExit) as exc:
            console.clear()
            return _interrupted(request, target, campaign.found, exc)
        finally:
            _save(bookmark, campaign)
            console.clear()
    found.notes += settle(stored, campaign.passed, campaign.misfits, campaign.failed)
    returned = stored[campaign.failed].path if campaign.failed is not None else None
    return _explored(console, target, found, quieted.printed, data, returned)


def _interrupted(request: Request, target: Target, found: Exploration, exc: BaseException) -> int:
    """Say how far it came; a failure that was being played back or made small is kept as it was found."""
    console, made, failure = request.console, found.runs, found.failure
    runs = counted(made, "run")
    if failure is None:
        console.say(f"{runs}, no failure found up to here")
    else:
        path = keep(failure, target, always=True)
        console.say(f"{runs}, a failure found: {type(failure.error).__name__}", f"stored as it was found: {path}")
        console.say(*([failure.command] if failure.command else []))
    data = {"command": "explore", "target": target.text, **found.to_dict()}
    return left(console, exc, f"run {made}", data)


def _save(bookmark: Bookmark, campaign: Campaign) -> None:
    """Keep the place, once there is one."""
    if campaign.upto and not campaign.plan.bound:
        with suppress(OSError):  # a read-only folder
            Store(Path()).make_folder()
            bookmark.save(campaign.done())


def _explored(
    console: Console, target: Target, found: Exploration, printed: str, data: dict[str, Any], returned: Path | None
) -> int:
    """Print what was found; a failure takes the place of the stored one that ``returned``."""
    failure = found.failure
    console.warn(found.warnings)
    if failure is None:
        if not found.distinct and isinstance(target, ScriptTarget):
            found.notes.append(NO_LOOP)
        console.say(found.headline(), *found.notes, "no failure found")
        console.data({**data, **found.to_dict()})
        return 0
    path = keep(failure, target, always=True, instead_of=returned)
    where = f"stored: {path}" if path is not None else f"not stored: {FOLDER}/ cannot be written to"
    console.say(found.headline(), *found.notes, "FAILED", *failure_text(failure, printed), where)
    console.say(*([failure.command] if failure.command else []))
    console.data({**data, **found.to_dict(), "path": str(path) if path is not None else None, "printed": printed})
    return 1


@dataclasses.dataclass(frozen=True, slots=True)
class _Elsewhere:
    """The target for another process, which opens it by its name."""

    text: str
    arguments: tuple[str, ...]
    loud: bool
    json: bool

    @contextmanager
    def opened(self) -> Iterator[Execute]:
        """Import the target; gives what makes one run."""
        with opened(self.text, self.arguments) as target, Quiet(target, self.loud, self.json) as quieted:
            yield quieted.execute
