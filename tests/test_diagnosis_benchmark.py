"""The benchmark of diagnosis: its programs get the verdict that is timed, and the command judges and refuses."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks.diagnosis.__main__ import PARTS, main, rows_of
from benchmarks.diagnosis.hotpath import run_ratio, step_ratio
from benchmarks.diagnosis.reaching import BESIDE, reach_ms
from benchmarks.diagnosis.reaching import main as reach_in_a_process
from benchmarks.diagnosis.row import Row, measure
from benchmarks.diagnosis.table import as_data, as_text
from benchmarks.diagnosis.verdicts import SHAPES, deadlock_ms, hang_seconds


def row(value: float, aim: float | None = 1.0, name: str = "a row") -> Row:
    return Row("verdict", name, "ms", aim, lambda: value, [value])


@pytest.mark.parametrize("shape", SHAPES)
def test_a_shape_ends_in_a_deadlock_that_is_timed(shape: str) -> None:
    assert 0 < deadlock_ms(shape, 10) < 10_000


@pytest.mark.parametrize(
    "heavy", [pytest.param(False, id="light"), pytest.param(True, id="heavy", marks=pytest.mark.slow)]
)
def test_main_stuck_beside_tickers_is_timed(heavy: bool) -> None:
    assert 0 < hang_seconds(2, heavy) < 10


@pytest.mark.parametrize("beside", [pytest.param(b, marks=[] if b == "nothing" else pytest.mark.slow) for b in BESIDE])
def test_reachability_finds_the_stuck_half(beside: str) -> None:
    assert 0 < reach_ms(20, beside) < 10_000


@pytest.mark.slow
def test_a_sample_of_reachability_is_a_process_that_prints_it(capsys: pytest.CaptureFixture[str]) -> None:
    assert reach_in_a_process(["20", "nothing"]) == 0
    assert float(capsys.readouterr().out) > 0


def test_the_ratio_of_the_hot_path_is_of_like_and_like() -> None:
    assert 0.1 < step_ratio("step-10", 500) < 10
    assert 0.1 < run_ratio(3, True) < 10


def test_the_figure_is_the_median_and_rows_take_turns() -> None:
    log: list[str] = []
    numbers = iter([3.0, 9.0, 1.0])

    def first() -> float:
        log.append("a")
        return next(numbers)

    def second() -> float:
        log.append("b")
        return 1.0

    rows = [Row("verdict", "a", "ms", 2.5, first), Row("verdict", "b", "ms", None, second)]
    measure(rows, 3)
    assert "".join(log) == "ababab"
    assert (rows[0].value, rows[0].met, rows[1].met) == (3.0, False, None)


def test_the_table_and_its_data_say_whether_an_aim_is_met() -> None:
    rows = [row(0.5), row(2.0), row(7.0, None)]
    lines = as_text(rows, 1, True).splitlines()
    assert [line.split()[-1] for line in lines[3:6]] == ["met", "met", "ms"]
    assert "NOT met" in lines[4]
    assert lines[-1] == "aims met: 1 of 2"
    assert [one["met"] for one in as_data(rows, 1, True)["rows"]] == [True, False, None]


@pytest.mark.parametrize("part", PARTS)
def test_every_part_has_rows_with_aims(part: str) -> None:
    assert {one.part for one in rows_of(part, quick=False)} == {part}
    assert any(one.aim is not None for one in rows_of(part, quick=False))


@pytest.mark.slow
def test_the_command_measures_and_writes_every_sample(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "figures.json"
    status = main(["--quick", "--only", "verdict,hang", "--json", str(file)])
    data = json.loads(file.read_text())
    assert {one["part"] for one in data["rows"]} == {"verdict", "hang"}
    assert all(len(one["samples"]) == 1 for one in data["rows"])
    assert status == (1 if any(one["met"] is False for one in data["rows"]) else 0)
    assert "aims met: " in capsys.readouterr().out


@pytest.mark.parametrize("words", [["--only", "speed"], ["--json", "/no/such/folder/f.json"]])
def test_what_cannot_be_followed_is_refused_in_a_sentence(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert capsys.readouterr().err.startswith("python -m benchmarks.diagnosis: ")
