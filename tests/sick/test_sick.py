"""Every sick program gets its verdict, and the verdict names the cause: task, primitive, holder, line."""

from __future__ import annotations

import gc
import json
import re
import warnings
from dataclasses import dataclass
from typing import Any

import pytest

import vtloop
from vtloop.errors import VtloopError
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import execute

from . import blocking, deadlocks, endless, hangs, left_behind, mistakes, orders, partial, suspected, through_anyio
from .case import Case, Stuck, catalogue
from .missed import MISSED

FAMILIES = (blocking, deadlocks, endless, hangs, left_behind, mistakes, orders, partial, suspected, through_anyio)

LEAST_RECALL = 0.95

MOST_STEPS = 100_000
"""Enough for every verdict but a livelock; a run whose cause is not seen ends here, with "budget spent"."""


def params(cases: list[Case]) -> list[Any]:
    """Each case, marked as slow where it is, and as missed where it is."""
    found = []
    for case in cases:
        marks: list[pytest.MarkDecorator] = [pytest.mark.slow] if case.slow else []
        if case.name in MISSED:
            marks.append(pytest.mark.xfail(reason=MISSED[case.name], strict=True))
        found.append(pytest.param(case, id=f"{case.family}-{case.name}", marks=marks))
    return found


PLAIN = [case for case in catalogue.values() if not case.explored]
EXPLORED = [case for case in catalogue.values() if case.explored]


@dataclass
class Told:
    """What was said of a program: by an error, or by one warning."""

    first_line: str
    report: str
    data: dict[str, Any]


def by_error(error: BaseException) -> Told:
    """The words of an error; those of an exception that is not ours with its notes and the lines it came from."""
    if isinstance(error, VtloopError):
        return Told(str(error), error.report(), error.to_dict())
    notes = getattr(error, "__notes__", [])
    lines, traceback = [], error.__traceback__
    while traceback is not None:
        lines.append(f"{traceback.tb_frame.f_code.co_filename}:{traceback.tb_lineno} in")
        traceback = traceback.tb_next
    return Told(str(error), "\n".join([str(error), *notes, *lines]), {})


def run(case: Case, **options: Any) -> BaseException | None:
    """What `vtloop.run` raises; a warning of ours is an error here."""
    most = None if case.family == "endless" else MOST_STEPS
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        warnings.simplefilter("error", vtloop.VtloopWarning)
        try:
            vtloop.run(case.program, **{"max_steps": most, **case.options, **options})
        except Exception as error:
            return error
        finally:
            gc.collect()  # a coroutine that was never awaited, held by the error's traceback alone
    return None


def check(case: Case, told: Told) -> None:
    """The cause stands there: in words, and as data."""
    assert case.family == "endless" or "budget" not in told.first_line
    for word in case.says:
        assert word in told.first_line
    for word in case.shows:
        assert word in told.report
    for mark in case.here:
        assert re.search(rf"\b{case.file}:{case.line(mark)}\b", told.report)
    for number, stuck in enumerate(case.stuck):
        check_stuck(case, stuck, told, first=number == 0)
    json.dumps(told.data)
    if len(told.data.get("tasks", ())) <= 10:
        assert len(told.report.splitlines()) <= 60


def check_stuck(case: Case, stuck: Stuck, told: Told, first: bool) -> None:
    """One task is shown with what it waits for, who holds that, and where."""
    tasks = [t for t in told.data["tasks"] if (t["main"] if stuck.task == "main" else t["name"] == stuck.task)]
    assert len(tasks) == 1
    task = tasks[0]
    waits = task["waits_for"]
    assert waits["kind"] == stuck.kind
    if stuck.name is not None:
        assert waits["name"] == stuck.name
    if stuck.holder is not None:
        names = {t["task"]: "main" if t["main"] else t["name"] for t in told.data["tasks"]}
        assert [names[label] for label in waits["holders"]] == [stuck.holder]
    line = case.line(stuck.here)
    assert line in [p["line"] for p in told.data["stacks"][task["stack"]]["frames"] if p["file"].endswith(case.file)]
    assert f"{case.file}:{line} in" in told.report
    if first:
        assert task["task"] in told.first_line
        assert stuck.name is None or stuck.name in told.first_line


@pytest.mark.parametrize("case", params([case for case in PLAIN if case.error is not None]))
def test_a_sick_program_gets_its_verdict_and_cause(case: Case) -> None:
    error = run(case)
    assert error is not None
    assert type(error) in (case.error if isinstance(case.error, tuple) else (case.error,)), repr(error)
    check(case, by_error(error))


@pytest.mark.parametrize("case", params([case for case in PLAIN if case.error is None]))
def test_a_sick_program_that_passes_is_warned_of(case: Case) -> None:
    outcome = execute(case.program, resolve(RUN_DEFAULTS, **case.options))
    assert outcome.error is None
    assert len(outcome.warnings) == 1
    warned = outcome.warnings[0]
    check(case, Told(warned.text, "\n".join([warned.text, warned.report]), warned.data))
    with pytest.warns(vtloop.VtloopWarning) as caught:
        vtloop.run(case.program, **case.options)
    assert [str(one.message) for one in caught] == [str(warned)]


@pytest.mark.parametrize("case", params(EXPLORED))
def test_a_sick_program_that_passes_in_asyncios_order_is_found_by_an_exploration(case: Case) -> None:
    plain = run(case)
    assert plain is None or isinstance(plain, vtloop.VtloopWarning)  # of the order of its locks, perhaps
    found = vtloop.explore(case.program, **case.options)
    assert found.failure is not None
    assert type(found.failure.error) is case.error
    check(case, by_error(found.failure.error))


@pytest.mark.slow
@pytest.mark.parametrize(
    "case",
    params([case for case in PLAIN if case.error and case.family != "endless" and case.name not in MISSED]),
)
def test_other_orders_do_not_hide_the_defect(case: Case) -> None:
    for seed in range(3 if case.family == "hangs" else 10):
        error = run(case, seed=seed)
        assert type(error) in (case.error if isinstance(case.error, tuple) else (case.error,)), (seed, error)
        assert case.family == "endless" or "budget" not in str(error), seed


def test_there_are_enough_programs_and_few_are_missed() -> None:
    assert len(catalogue) >= 60
    assert {case.family for case in catalogue.values()} == {module.__name__.rpartition(".")[2] for module in FAMILIES}
    assert set(MISSED) <= set(catalogue)
    assert 1 - len(MISSED) / len(catalogue) >= LEAST_RECALL
