"""The benchmark of search: its programs are what they say, and the command counts, judges and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

import vtloop
from benchmarks.search.__main__ import SCHEDULERS, main
from benchmarks.search.aims import aims
from benchmarks.search.catalogue import SHAPES
from benchmarks.search.measure import Effort, Results, measure
from benchmarks.search.table import as_text
from vtloop.ready import LEVELS

EFFORT = Effort(repetitions=2, runs=50, fixed_runs=50)

each_shape = pytest.mark.parametrize("name", SHAPES)


@each_shape
@pytest.mark.parametrize("repaired", [False, True], ids=["planted", "repaired"])
def test_a_program_passes_in_asyncios_own_order(name: str, repaired: bool) -> None:
    vtloop.run(SHAPES[name].main(repaired)())


@each_shape
def test_the_defect_is_found(name: str) -> None:
    found = vtloop.explore(SHAPES[name].main(), runs=1000, shrink=False, **SHAPES[name].options)
    assert found.failure is not None
    assert isinstance(found.failure.error, (AssertionError, KeyError, vtloop.DeadlockError))


@pytest.mark.slow
@each_shape
def test_the_repaired_program_never_fails(name: str) -> None:
    shape = SHAPES[name]
    vtloop.explore(shape.main(repaired=True), runs=2000, seed=1, **shape.options).check()


@pytest.mark.slow
@each_shape
def test_the_level_is_the_weakest_that_shows_the_defect(name: str) -> None:
    shape = SHAPES[name]
    found = vtloop.explore(shape.main(), runs=2000, interleave=shape.level, shrink=False, **shape.options)
    assert found.failure is not None
    if shape.level != LEVELS[0]:
        below = LEVELS[LEVELS.index(shape.level) - 1]
        vtloop.explore(shape.main(), runs=1000, interleave=below, **shape.options).check()


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.needs in ("lag", "stretch")])
def test_a_shape_that_needs_other_times_shows_nothing_in_exact_time(name: str) -> None:
    vtloop.explore(SHAPES[name].main(), runs=300, exact_time=True).check()


@pytest.mark.parametrize("name", [name for name, shape in SHAPES.items() if shape.needs == "cancel"])
def test_a_shape_that_needs_a_cancel_shows_nothing_without_one(name: str) -> None:
    vtloop.explore(SHAPES[name].main(), runs=300).check()


def test_there_are_enough_shapes_and_they_know_nothing_of_vtloop() -> None:
    assert len(SHAPES) >= 14
    folder = Path(measure.__code__.co_filename).parent / "shapes"
    assert [path.name for path in folder.glob("*.py") if "vtloop" in path.read_text()] == []


@pytest.mark.slow
def test_figures_do_not_depend_on_the_number_of_processes() -> None:
    names = ["lost-update", "deadline-tie"]
    alone = measure(names, ["portfolio", "random"], EFFORT)
    assert measure(names, ["portfolio", "random"], EFFORT, jobs=2) == alone
    assert list(alone.found) == [(name, scheduler) for scheduler in ("portfolio", "random") for name in names]


def test_runs_are_counted_as_explore_counts_them() -> None:
    counted = measure(["ab-ba"], ["pct:depth=2"], EFFORT).found["ab-ba", "pct:depth=2"]
    for seed, runs in enumerate(counted):
        found = vtloop.explore(SHAPES["ab-ba"].main(), runs=50, seed=seed, scheduler="pct:depth=2", shrink=False)
        assert (found.runs if found.failure else None) == runs


def made(**found: list[int | None]) -> Results:
    results = Results(Effort(repetitions=2, runs=1000, fixed_runs=2000))
    for name, counts in found.items():
        shape = name.replace("_", "-")
        results.found[shape, "portfolio"] = counts
        results.fixed[shape] = None
    return results


def test_a_search_that_finds_nothing_counts_as_all_its_runs() -> None:
    results = made(ab_ba=[10, None])
    assert results.mean("ab-ba", "portfolio") == 505
    assert results.missed("ab-ba", "portfolio") == 1
    assert "505*" in as_text(results, ["ab-ba"], ["portfolio"], 0.0)


@pytest.mark.parametrize(
    ("results", "met"),
    [
        (made(ab_ba=[10, 20], sentinel=[30, 40], stampede=[5, 5]), [True, True, True, True]),
        (made(ab_ba=[10, 20], sentinel=[30, 40], stampede=[50, 50]), [False, True, True, True]),
        (made(ab_ba=[10, 20], sentinel=[200, 40], stampede=[5, 5]), [True, False, True, True]),
        (Results(EFFORT), [None, None, None, None]),
    ],
)
def test_aims_are_judged_by_the_median_and_the_worst_of_the_means(results: Results, met: list[bool | None]) -> None:
    assert [aim.met for aim in aims(results)] == met


def test_a_repaired_or_a_plain_program_that_fails_is_an_aim_not_met() -> None:
    results = made(ab_ba=[1, 1])
    results.fixed["ab-ba"] = 7
    results.broken["ab-ba"] = "DeadlockError: ..."
    assert [aim.met for aim in aims(results)] == [True, True, False, False]
    assert "FAILS at 7" in as_text(results, ["ab-ba"], ["portfolio"], 0.0)


def test_prints_the_table_and_a_line_for_each_aim(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "figures.json"
    arguments = ["--quick", "--jobs", "1", "--only", "deadline-tie,lost-update", "--schedulers", "random,portfolio"]
    assert main([*arguments, "--json", str(file)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[3].split() == ["shape", "level", "needs", "random", "portfolio", "repaired"]
    assert [line.split()[0] for line in lines[4:6]] == ["lost-update", "deadline-tie"]
    judged = lines[lines.index("aims") + 1 :]
    assert len(judged) == 4
    assert all("met" in line and "NOT" not in line for line in judged)
    data = json.loads(file.read_text(encoding="utf-8"))
    assert len(data["shapes"]["lost-update"]["found"]["random"]) == 3
    assert [aim["met"] for aim in data["aims"]] == [True] * 4


def test_an_aim_that_is_not_met_is_status_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("benchmarks.search.aims.MEDIAN", 0)
    assert main(["--quick", "--jobs", "1", "--only", "deadline-tie", "--schedulers", "portfolio"]) == 1
    assert "<= 0    NOT met" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "nope"], "there is no shape 'nope'; there are stampede, "),
        (["--schedulers", "best"], "unknown scheduler 'best'; "),
        (["--json", "nowhere/f.json"], "--json nowhere/f.json: there is no directory 'nowhere'"),
    ],
)
def test_a_wrong_name_is_one_sentence_and_status_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert not out
    assert error.startswith(f"python -m benchmarks.search: {sentence}")


@pytest.mark.parametrize("arguments", [["--fast"], ["--runs", "0"], ["--repetitions", "many"]])
def test_a_wrong_option_is_status_2(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(arguments)
    assert stopped.value.code == 2


def test_all_schedulers_are_measured_when_none_is_asked_for() -> None:
    assert {name.partition(":")[0] for name in SCHEDULERS} >= {"random", "pct", "pos", "urw", "delay", "portfolio"}
