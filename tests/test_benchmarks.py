"""The benchmark command: shape of the table, target lines, options.  No figure is asserted, machines differ."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

import pytest

from benchmarks.__main__ import main
from benchmarks.contenders import CONTENDERS, Contender, NotInstalled
from benchmarks.measure import Results, measure
from benchmarks.replays import __main__ as replays
from benchmarks.rows import ROWS, Row
from benchmarks.steps import scenario
from benchmarks.targets import TIME_ROWS, verdicts

MARKS = {"step-10000": [pytest.mark.slow]}
FAST = ["--quick", "--only", "make-run-close,bytes-timer", "--loops", "stock,fifo,random"]


def test_prints_one_table_and_a_line_for_each_target(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(FAST) == 0
    heading, rounds, blank, header, *rest = capsys.readouterr().out.splitlines()
    assert heading.startswith("CPython ")
    assert rounds.startswith("2 rounds")
    assert not blank
    assert header.split() == ["row", "unit", "stock", "fifo", "random", "fifo/uvloop"]
    assert [line.split()[:2] for line in rest[:2]] == [["make-run-close", "ns"], ["bytes-timer", "bytes"]]
    targets = rest[rest.index("targets") + 1 :]
    assert len(targets) == 7
    judged = [line for line in targets if "not measured" not in line]
    assert len(judged) == 1
    assert judged[0].lstrip().startswith("make-run-close / stock")
    assert "fifo" in judged[0]


def test_json_is_written_whole_under_its_final_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "figures.json"
    assert main([*FAST, "--json", str(target)]) == 0
    capsys.readouterr()
    assert [path.name for path in tmp_path.iterdir()] == ["figures.json"]
    data = json.loads(target.read_text(encoding="utf-8"))
    assert list(data["rows"]) == ["make-run-close", "bytes-timer"]
    assert len(data["rows"]["make-run-close"]["loops"]["fifo"]["samples"]) == data["rounds"] == 2
    assert len(data["targets"]) == 7


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--only", "swich"], "there is no row 'swich'; there are switch-1, switch-1000, "),
        (["--loops", "stock,trio"], "there is no loop 'trio'; there are stock, uvloop, "),
        (["--quick", "--json", "nowhere/there/f.json"], "--json nowhere/there/f.json: there is no directory "),
    ],
)
def test_wrong_name_is_one_sentence_and_status_2(
    arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    out, error = capsys.readouterr()
    assert not out
    assert len(error.splitlines()) == 1
    assert error.startswith(f"python -m benchmarks: {sentence}")


def test_wrong_option_is_status_2(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--fast"])
    assert stopped.value.code == 2
    assert "--fast" in capsys.readouterr().err


def test_missing_peer_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def absent() -> type[asyncio.AbstractEventLoop]:
        raise ImportError

    monkeypatch.setitem(CONTENDERS, "uvloop", Contender("uvloop", "", "uvloop", True, absent))
    assert main(["--quick", "--only", "make-run-close", "--loops", "stock,uvloop"]) == 0
    assert "missing: uvloop (uvloop is not installed)" in capsys.readouterr().out
    assert main(["--quick", "--only", "make-run-close", "--loops", "uvloop"]) == 2


def test_failing_row_is_said_and_the_others_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(make: object, real: bool, size: int) -> float:
        raise ValueError("boom\nmore")

    def half(make: object, real: bool, size: int) -> float:
        raise NotInstalled("vtloop.explore")

    def whole(make: object, real: bool, size: int) -> float:
        return size

    rows = [Row(name, "time", "ns", 7, 1, sample) for name, sample in (("a", broken), ("b", half), ("c", whole))]
    results = measure(rows, {"stock": asyncio.SelectorEventLoop}, rounds=2)
    assert results.failed == {("a", "stock"): "ValueError: boom", ("b", "stock"): "vtloop.explore is missing"}
    assert results.samples == {"c": {"stock": {0: 7, 1: 7}}}


@pytest.mark.parametrize("name", ["stock", "fifo", "random"])
@pytest.mark.parametrize(
    "row", [pytest.param(row, marks=MARKS.get(row.name, ()), id=row.name) for row in ROWS.values()]
)
def test_every_row_costs_something_on_every_loop_it_is_for(row: Row, name: str) -> None:
    if not row.loops or name in row.loops:
        assert row.sample(CONTENDERS[name].maker(), CONTENDERS[name].real, 10) > 0
    assert row.title.endswith(".")


def test_targets_are_judged_from_the_median_of_paired_ratios() -> None:
    results = Results()
    for name in TIME_ROWS:
        for number, noise in enumerate((1.0, 5.0, 1.0)):
            results.add(name, "stock", number, 100 * noise)
            results.add(name, "uvloop", number, (200 if name == "make-run-close" else 50) * noise)
            results.add(name, "fifo", number, (20 if name == "make-run-close" else 75) * noise)
            results.add(name, "random", number, (20 if name == "make-run-close" else 140) * noise)
    results.add("step-10", "random", 0, 1000)
    results.add("step-10000", "random", 0, 1400)
    results.add("runs-explore", "random", 0, 1e9 / 4000)
    assert [(target.verdict, target.note) for target in verdicts(results)] == [
        ("met", "without make-run-close 0.75"),
        ("met", "without make-run-close 1.50"),
        ("NOT met (1.10)", "without make-run-close 1.40"),
        ("met", "fifo 0.20, random 0.20"),
        ("NOT met (1.40)", ", ".join(f"random {name} 1.40" for name in TIME_ROWS if name != "make-run-close")),
        ("met", ""),
        ("NOT met (4,000)", "by vtloop.explore"),
    ]


def test_scenario_has_30_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    steps = 0
    run = asyncio.Handle._run

    def count(handle: asyncio.Handle) -> None:
        nonlocal steps
        steps += 1
        run(handle)

    monkeypatch.setattr(asyncio.Handle, "_run", count)
    loop = asyncio.SelectorEventLoop()
    loop.run_until_complete(scenario())
    loop.close()
    assert steps == 30


@pytest.mark.slow
def test_tokens_play_back_exactly_in_fresh_processes(capsys: pytest.CaptureFixture[str]) -> None:
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert replays.main(["--tries", "24", "--python", version]) == 0
    assert capsys.readouterr().out.endswith("24 of 24 replays came back exactly\n")


def test_a_python_that_is_not_there_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert replays.main(["--tries", "3", "--python", "3.2"]) == 1
    assert (
        capsys.readouterr().out == "Python 3.2: no CPython 3.2 on PATH or in pyenv\n0 of 0 replays came back exactly\n"
    )
