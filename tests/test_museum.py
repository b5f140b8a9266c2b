"""The museum's machinery, and one of its cases without an environment."""

from __future__ import annotations

import dataclasses
import importlib.util
import platform
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

import vtloop
from benchmarks.museum import __main__ as command
from benchmarks.museum import environments, trial
from benchmarks.museum.aims import aims
from benchmarks.museum.cases import CASES, SIDES, Case, load
from benchmarks.museum.environments import Environments, NotAvailable, find_interpreter
from benchmarks.museum.table import as_data, as_text
from benchmarks.museum.trial import Outcome, Plan
from vtloop.ready import LEVELS

PLAN = Plan(runs=1000, fixed_runs=2000, seed=0, base_seeds=2, python=sys.executable)
FAILURE = {
    "error": {"type": "E", "message": "m"},
    "level": "tasks",
    "lag": 0.02,
    "stretch": 0.0,
    "time": 1.5,
    "step": 7,
    "token": "vt1.x",
    "choices": ["b ran before a"],
    "found_choices": 40,
    "shrinking": 0.25,
}
REPLAYED = {"error": {"type": "E", "message": "m"}, "time": 1.5, "step": 7}


def case_of(identity: str) -> Case:
    return load()[identity]


def outcome_that_shows(**changes: object) -> Outcome:
    outcome = Outcome(
        case_of("anyio-limiter-overgrant"),
        versions={"buggy": "3.12.1", "fixed": "3.12.1"},
        found=[4, 9],
        failures=[FAILURE, FAILURE],
        replayed=REPLAYED,
        fixed_runs=2000,
    )
    return dataclasses.replace(outcome, **changes)


def test_every_folder_is_in_the_index_and_every_case_has_its_files() -> None:
    cases = load()
    assert sorted(cases) == sorted(path.name for path in CASES.iterdir() if path.is_dir())
    for case in cases.values():
        assert case.scenario.is_file()
        assert all(case.requirements(side).is_file() for side in SIDES)
        assert case.level in LEVELS


def test_there_are_sixteen_cases() -> None:
    assert len(load()) == 16


def test_a_scenario_that_names_victims_says_so_in_its_needs() -> None:
    for case in load().values():
        assert "VICTIMS" not in case.scenario.read_text() or "cancel" in case.needs


def test_a_case_pins_releases_or_names_interpreters() -> None:
    for case in load().values():
        pinned = [line for line in case.requirements("buggy").read_text().splitlines() if "==" in line]
        assert bool(pinned) != bool(case.interpreters), case.identity


def test_scenarios_know_nothing_of_vtloop() -> None:
    assert [case.identity for case in load().values() if "vtloop" in case.scenario.read_text()] == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--no-such-option"], "unrecognized arguments"),
        (["--runs", "0"], "wanted 1 or more"),
        (["--seed", "first"], "invalid int value"),
    ],
)
def test_a_bad_option_ends_with_2(arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        command.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err


def test_an_unknown_case_ends_with_2_and_names_those_there_are(capsys: pytest.CaptureFixture[str]) -> None:
    assert command.main(["--only", "nope"]) == 2
    said = capsys.readouterr().err
    assert "'nope'" in said
    assert "janus-join-livelock" in said


def test_a_file_for_environments_ends_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "taken").touch()
    assert command.main(["--envs", str(tmp_path / "taken")]) == 2
    assert "not a directory" in capsys.readouterr().err


def test_an_interpreter_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "_candidates", lambda wanted: iter([sys.executable]))
    with pytest.raises(NotAvailable, match=r"no CPython 3\.2 or 3\.1 on PATH"):
        find_interpreter(["3.2", "3.1"])


def test_the_running_interpreter_is_preferred() -> None:
    wanted = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert find_interpreter([wanted])[1] == platform.python_version()


def test_an_absent_interpreter_is_not_run_and_not_a_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "_candidates", lambda wanted: iter(()))
    outcome = trial.try_case(case_of("cpython-condition-notify-lost"), Environments(tmp_path), PLAN)
    assert outcome.absent
    assert "no CPython 3.11 or 3.12" in as_text([outcome], PLAN)
    assert command._status([outcome, outcome_that_shows(found=[4, 5])], PLAN) == 0
    assert command._status([outcome], PLAN) == 1


def test_a_case_is_shown_when_found_replayed_and_clean_when_fixed() -> None:
    outcome = outcome_that_shows()
    assert outcome.shown
    text = as_text([outcome], PLAN)
    assert "run 4" in text
    assert "tasks  0.02 s  no       1        0.2 s" in text
    assert "choice: b ran before a" in text
    assert "1 of 1 shown" in text
    assert as_data([outcome], PLAN)["cases"][0]["median"] == 6.5


@pytest.mark.parametrize(
    "changes",
    [
        {"found": [None, 9]},
        {"found": [4, None]},
        {"replayed": None},
        {"replayed": {**REPLAYED, "step": 8}},
        {"replayed": {**REPLAYED, "time": 1.25}},
        {"replayed": {**REPLAYED, "error": {"type": "E", "message": "n"}}},
        {"fixed": FAILURE},
        {"fixed_runs": 0},
        {"not_run": "the installer failed"},
    ],
)
def test_anything_less_is_not_shown(changes: dict[str, object]) -> None:
    outcome = outcome_that_shows(**changes)
    assert not outcome.shown
    assert "NOT SHOWN" in as_text([outcome], PLAN)
    assert command._status([outcome], PLAN) == 1


@pytest.mark.parametrize(
    ("changes", "short"),
    [
        ({"found": [5, 5]}, []),
        ({"found": [5, None]}, [0, 1, 2]),
        ({"found": [5, 6]}, [1]),
        ({"found": [300, 302]}, [1, 2]),
        ({"failures": [FAILURE, {**FAILURE, "choices": ["1", "2", "3", "4"]}]}, [1, 4]),
        ({"found": [5, 5], "failures": [FAILURE] * 4 + [{**FAILURE, "choices": ["1", "2", "3", "4"]}]}, []),
        ({"found": [5, 5], "failures": [{**FAILURE, "level": "wakeups"}, FAILURE], "replayed": None}, [3, 5]),
        ({"found": [5, 5], "failures": [{**FAILURE, "level": "fifo"}, FAILURE]}, [5]),
        ({"found": [5, 5], "fixed": FAILURE}, [6]),
    ],
)
def test_aims_are_judged_over_all_cases(changes: dict[str, object], short: list[int]) -> None:
    judged = aims([outcome_that_shows(**changes)], PLAN.runs)
    assert [number for number, aim in enumerate(judged) if not aim.met] == short
    assert command._status([outcome_that_shows(**changes)], PLAN) == bool(short)


def test_without_an_outcome_nothing_counts_as_measured() -> None:
    assert {aim.verdict for aim in aims([], PLAN.runs)} == {"not measured"}


def test_a_child_explores_with_the_victims_of_the_scenario_and_shrinks(tmp_path: Path) -> None:
    scenario = tmp_path / "scenario.py"
    scenario.write_text(
        "import asyncio\n"
        "VICTIMS = ['victim']\n"
        "async def scenario():\n"
        "    task = asyncio.create_task(asyncio.sleep(1), name='victim')\n"
        "    await asyncio.wait([task])\n"
        "    assert not task.cancelled(), 'the victim'\n"
    )
    case = SimpleNamespace(scenario=scenario)
    answer = trial._ask(Path(sys.executable), case, "explore", runs=100, seed=0, options={}, shrink=True)  # type: ignore[arg-type]
    assert answer["failure"]["error"] == {"type": "AssertionError", "message": "the victim"}
    assert answer["failure"]["level"] == "timing"
    assert len(answer["failure"]["choices"]) == 1


def test_a_child_that_breaks_is_reported(tmp_path: Path) -> None:
    here = SimpleNamespace(python=lambda case, side, default: (Path(sys.executable), "3"))
    broken = dataclasses.replace(case_of("janus-join-livelock"), identity="not-there")
    outcome = trial.try_case(broken, here, PLAN)  # type: ignore[arg-type]
    assert outcome.not_run is not None
    assert outcome.not_run.startswith("stock: ")


def test_wait_for_of_3_11_swallows_a_cancel_and_that_of_later_versions_does_not() -> None:
    specification = importlib.util.spec_from_file_location(
        "museum_scenario", case_of("cpython-wait-for-swallows-cancel").scenario
    )
    assert specification is not None
    module = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(module)  # type: ignore[union-attr]
    found = vtloop.explore(module.scenario, runs=200)
    if sys.version_info >= (3, 12):
        assert found.check().runs == 200
        return
    assert found.failure is not None
    assert found.failure.token is not None
    with pytest.raises(AssertionError, match="worker ignores an accepted cancel") as again:
        vtloop.replay(found.failure.token, module.scenario)
    replayed = vtloop.failure_of(again.value)
    assert replayed is not None
    assert (replayed.time, replayed.step) == (found.failure.time, found.failure.step)
