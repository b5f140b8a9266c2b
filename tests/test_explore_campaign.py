"""Campaigns: numbers that people trust, a budget, going on where one ended, several processes on the command line."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

import vtloop
from vtloop.cli import main
from vtloop.plan import Plan
from vtloop.run import execute

PROGRAMS = '''\
import asyncio, os, time
import vtloop

async def three():
    """Six orders."""
    await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))

async def many():
    for _ in range(5):
        await asyncio.gather(*(asyncio.sleep(0) for _ in range(3)))

async def rare():
    await many()
    if vtloop.choose(300) == 7:
        raise ValueError("seven")

async def slow():
    await asyncio.sleep(1)
    time.sleep(0.001)

async def interrupted():
    await many()
    if vtloop.choose(50) == 7:
        raise KeyboardInterrupt

failures = 0

async def interrupted_when_it_failed():
    global failures
    await many()
    if vtloop.choose(50) == 7:
        failures += 1
        if failures == {}:
            raise KeyboardInterrupt
        raise ValueError("seven")
'''

ROOT = str(Path(vtloop.__file__).parents[1])


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    Path("programs.py").write_text(PROGRAMS)

    def call(*words):
        status = main(["explore", *words])
        out, err = capsys.readouterr()
        return status, out.splitlines(), err

    return call


def numbers(line):
    """The headline without its seconds."""
    return re.sub(r", [\d.]+ s( \([\d,]+ runs/s\))?$", "", line)


# -- numbers ---------------------------------------------------------------------------------------------------------


async def three():
    """Three tasks that wait for one event: six orders in which they resume."""
    told = asyncio.Event()
    tasks = [asyncio.create_task(told.wait()) for _ in range(3)]
    await asyncio.sleep(1)
    told.set()
    await asyncio.gather(*tasks)


def test_orders_are_counted_and_not_lists_of_choices():
    plan = Plan.of(runs=300, interleave="wakeups")
    found = vtloop.explore(three, runs=300, interleave="wakeups")
    runs = [execute(three, plan.options_of(number), record=False, track_order=True) for number in range(300)]
    assert found.distinct == len({run.order for run in runs}) >= 6
    assert found.distinct < len({(*run.indices, *run.sizes) for run in runs})
    assert found.unseen == sum(count == 1 for count in Counter(run.order for run in runs).values()) / 300


def test_the_headline_says_what_is_left():
    found = vtloop.Exploration(runs=1000, distinct=412, unseen=0.094, since_new=37, elapsed=0.52)
    assert found.headline() == (
        "1,000 runs, 412 distinct orders, about 9 % unseen, nothing new in the last 37 runs, 0.52 s (1,923 runs/s)"
    )
    found = vtloop.Exploration(runs=20, distinct=1, unseen=0.0, since_new=1)
    assert found.headline() == "20 runs, 1 distinct order, under 1 % unseen, nothing new in the last 1 run, 0.00 s"


def test_the_numbers_of_a_few_runs_hold_no_estimate():
    found = vtloop.explore(three, runs=9)
    assert found.unseen is None
    assert "unseen" not in found.headline()
    one = vtloop.explore(three, runs=1)
    assert numbers(one.headline()) == "1 run, 1 distinct order"


def test_the_numbers_stand_in_the_json_too():
    found = vtloop.explore(three, runs=50)
    told = found.to_dict()
    assert (told["runs"], told["distinct"], told["unseen"], told["since_new"]) == (
        50,
        found.distinct,
        found.unseen,
        found.since_new,
    )


def test_more_runs_continue_the_numbers_of_fewer():
    few, more = (vtloop.explore(three, runs=runs) for runs in (40, 80))
    assert few.distinct <= more.distinct
    assert more.since_new >= 40 if more.distinct == few.distinct else more.since_new < 40


def test_a_tested_function_counts_no_orders_since_nobody_sees_them():
    logs = []

    @vtloop.test(runs=3)
    async def program():
        logs.append(asyncio.get_running_loop()._line is not None and asyncio.get_running_loop()._line.log)

    program()
    assert [bool(log) for log in logs[1:]] == [False, False]  # the order of locks is judged in run 0, which needs one


# -- the budget ------------------------------------------------------------------------------------------------------


def test_a_budget_ends_an_exploration_that_has_no_number_of_runs():
    found = vtloop.explore(three, budget=0.05)
    assert found.notes == ["the budget of 0.05 s is spent"]
    assert found.elapsed >= 0.05
    assert found.runs >= 1


def test_a_budget_leaves_one_run_at_least():
    assert vtloop.explore(three, budget=1e-9).runs == 1


def test_a_number_of_runs_may_end_it_before_the_budget():
    found = vtloop.explore(three, budget=1000, runs=20)
    assert (found.runs, found.notes) == (20, [])


@pytest.mark.parametrize("budget", [0, -1, "30s", True, float("nan"), float("inf")])
def test_a_budget_is_a_number_of_seconds(budget):
    with pytest.raises(vtloop.UsageError, match="budget must be a number of seconds above 0, or None, got"):
        vtloop.explore(three, budget=budget)


def test_a_base_seed_has_a_million_runs():
    with pytest.raises(
        vtloop.UsageError, match="runs must be at most 1,000,000, as many as a base seed has, got 1,000,001"
    ):
        vtloop.explore(three, runs=1_000_001)
    assert Plan.of(runs=1_000_000).options_of(999_999).seed == 999_999


@pytest.mark.parametrize("text, seconds", [("0.03", 0.03), ("0.03s", 0.03), ("0.0005m", 0.03), (".00001h", 0.036)])
def test_a_budget_on_the_command_line_has_a_unit(cli, text, seconds):
    status, out, _ = cli("programs.py:three", "--budget", text)
    assert (status, out[-1]) == (0, "no failure found")
    assert out[1] == f"the budget of {seconds:g} s is spent"


@pytest.mark.parametrize("text", ["", "0", "0s", "-3", "3x", "s", "1h30m", "1e3", "inf", "nan"])
def test_another_budget_is_refused_in_one_sentence(cli, text):
    status, out, err = cli("programs.py:three", f"--budget={text}")
    assert (status, out) == (2, [])
    assert err == f"vtloop: explore: --budget must be a time above 0, like 30s, 5m or 1h, got {text!r}\n"


# -- going on where one ended ----------------------------------------------------------------------------------------


def test_an_exploration_goes_on_behind_the_last_run_of_the_earlier_one(cli):
    cli("programs.py:many", "-n", "100")
    status, out, _ = cli("programs.py:many", "-n", "150", "--resume")
    assert status == 0
    assert out[1] == "resumed at run 100"
    whole = cli("programs.py:many", "-n", "250")[1]
    assert numbers(out[0]) == numbers(whole[0])
    assert "no failure found" in out


@pytest.mark.slow
def test_it_goes_on_as_often_as_one_likes_and_finds_what_one_long_exploration_finds(cli):
    whole = json.loads("\n".join(cli("programs.py:rare", "-n", "5000", "--json")[1]))
    for path in Path(".vtloop").glob("*"):
        path.unlink()
    for _ in range(100):
        status, out, _ = cli("programs.py:rare", "-n", "57", "--json", "--resume")
        found = json.loads("\n".join(out))
        if status:
            break
    assert found["failure"]["run"] == whole["failure"]["run"] > 57
    assert [found[key] for key in ("runs", "distinct", "unseen", "since_new")] == [
        whole[key] for key in ("runs", "distinct", "unseen", "since_new")
    ]


@pytest.mark.slow
def test_behind_a_failure_it_goes_on_with_the_next_run(cli):
    _, out, _ = cli("programs.py:rare", "-n", "5000", "--json")
    failing = json.loads("\n".join(out))["failure"]["run"]
    Path("programs.py").write_text(PROGRAMS.replace("raise ValueError", "pass; ValueError"))
    _, out, _ = cli("programs.py:rare", "-n", "10", "--resume")
    assert f"resumed at run {failing + 1:,}" in out


@pytest.mark.parametrize(
    "words, said",
    [
        (["--seed", "3"], "seed 0, now 3"),
        (["--scheduler", "random"], "scheduler portfolio, now random"),
        (["--interleave", "wakeups"], "interleave tasks, now wakeups"),
        (["--exact-time"], "exact_time false, now true"),
        (["--lag", "0.5"], "lag as usual, now 0.5"),
        (["--cancel", "Task-*"], 'cancel as usual, now ["Task-*"]'),
    ],
)
def test_another_plan_is_said_and_begins_anew(cli, words, said):
    cli("programs.py:many", "-n", "20")
    _, out, _ = cli("programs.py:many", "-n", "10", "--resume", *words)
    assert out[0].startswith("10 runs, ")
    assert out[1] == f"the earlier exploration had another plan ({said}): began anew at run 0"


def test_the_number_of_runs_of_processes_and_the_budget_do_not_make_another_plan(cli):
    cli("programs.py:many", "-n", "20", "--budget", "1h")
    assert "resumed at run 20" in cli("programs.py:many", "-n", "7", "--resume", "--no-shrink")[1]


def test_without_an_earlier_exploration_it_begins_at_run_0_and_says_so(cli):
    out = cli("programs.py:many", "-n", "20", "--resume")[1]
    assert out[1] == "no earlier exploration of this target: began at run 0"


def test_what_cannot_be_read_is_said_and_begins_anew(cli):
    cli("programs.py:many", "-n", "20")
    (path,) = Path(".vtloop").glob("*.explored")
    whole = path.read_text()
    for text, words in (
        ("{", "cannot be read"),
        ("[]", "does not fit"),
        ("{}", "does not fit"),
        (whole.replace("programs.py:many", "programs.py:other"), "does not fit"),
        (whole.replace('"once": "', '"once": "AA'), "does not fit"),
    ):
        path.write_text(text)
        out = cli("programs.py:many", "-n", "20", "--resume")[1]
        assert out[0].startswith("20 runs")
        assert out[1] == f"what {path} says of an earlier exploration {words}: began at run 0"
        path.write_text(whole)


def test_the_folder_ignores_itself_and_holds_one_place_a_target(cli):
    for _ in range(2):
        cli("programs.py:many", "-n", "20")
        cli("programs.py:three", "-n", "20")
    names = sorted(os.listdir(".vtloop"))
    assert [name for name in names if name.startswith(".")] == [".gitignore"]
    assert len([name for name in names if name.endswith(".explored")]) == 2


def test_where_nothing_can_be_written_nothing_is_kept(cli):
    Path(".vtloop").write_text("not a folder")
    assert cli("programs.py:many", "-n", "20")[0] == 0
    assert Path(".vtloop").read_text() == "not a folder"


def test_an_interrupted_exploration_loses_nothing(cli):
    status, out, err = cli("programs.py:interrupted", "-n", "5000")
    assert status == 130
    made = int(out[0].split()[0])
    assert err == f"vtloop: interrupted at run {made}\n"
    Path("programs.py").write_text(PROGRAMS.replace("raise KeyboardInterrupt", "pass"))
    assert f"resumed at run {made}" in cli("programs.py:interrupted", "-n", "5", "--resume")[1]


def test_a_failure_is_not_lost_when_its_playing_back_is_interrupted(cli):
    Path("programs.py").write_text(PROGRAMS.replace("failures == {}", "failures == 2"))
    status, out, err = cli("programs.py:interrupted_when_it_failed", "-n", "5000")
    assert status == 130
    assert re.fullmatch(r"\d+ runs?, a failure found: ValueError", out[0])
    assert out[1].startswith("stored as it was found: .vtloop/")
    assert out[2].startswith("vtloop replay ")
    Path("programs.py").write_text(PROGRAMS)
    status, out, _ = cli("programs.py:interrupted_when_it_failed", "-n", "5000", "--resume")
    assert status == 1
    assert "FAILED" in out
    assert "ValueError: seven" in out


def test_ctrl_c_while_a_failure_is_made_small_ends_that_and_shows_it(cli):
    Path("programs.py").write_text(PROGRAMS.replace("failures == {}", "failures == 3"))
    status, out, _ = cli("programs.py:interrupted_when_it_failed", "-n", "5000")
    assert status == 1
    assert "ValueError: seven" in out
    assert out[-1].startswith("vtloop replay ")


def test_a_place_is_also_kept_on_the_way(cli, monkeypatch):
    monkeypatch.setattr("vtloop.resuming.EVERY", 0.0)
    monkeypatch.setattr("vtloop.resuming.SHARE", 0)
    seen = []
    replace = os.replace

    def noted(source, target):
        replace(source, target)
        seen.append(json.loads(Path(target).read_text())["upto"])

    monkeypatch.setattr("vtloop.writing.os.replace", noted)
    cli("programs.py:many", "-n", "4")
    assert seen == [1, 2, 3, 4, 4]


def test_when_all_runs_are_made_nothing_is_left_to_resume(cli):
    cli("programs.py:many", "-n", "20")
    (path,) = Path(".vtloop").glob("*.explored")
    path.write_text(path.read_text().replace('"upto": 20', '"upto": 1000000'))
    out = cli("programs.py:many", "--resume")[1]
    assert out[1:] == [
        "resumed at run 1,000,000",
        "all runs of this base seed are made: take another --seed",
        "no failure found",
    ]


# -- several processes -----------------------------------------------------------------------------------------------


def process(*words, cwd, **env):
    command = [sys.executable, "-W", "error", "-m", "vtloop", "explore", *words]
    env = {**os.environ, "PYTHONPATH": ROOT, **env}
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_several_processes_give_the_same_result_and_the_same_command(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "programs.py").write_text(PROGRAMS)
    first, second, third = (
        process("programs.py:rare", "-n", "5000", "--json", "-j", jobs, cwd=tmp_path / name)
        for jobs, name in (("1", "one"), ("2", "two"), ("2", "two"))
    )
    assert {(one.returncode, one.stderr) for one in (first, second, third)} == {(1, "")}
    alone, many, stored = (json.loads(one.stdout) for one in (first, second, third))
    assert stored["runs"] == 1, "a stored failure comes first, in this process"
    assert alone["failure"] == many["failure"]
    assert alone["runs"] == many["runs"] > 1


@pytest.mark.slow
def test_a_script_is_explored_by_several_processes_too(tmp_path):
    (tmp_path / "script.py").write_text(PROGRAMS + "\nasyncio.run(rare())\nprint('done')\n")
    results = []
    for jobs in ("1", "2"):
        made = process("script.py", "-n", "5000", "--json", "-j", jobs, cwd=tmp_path)
        assert (made.returncode, made.stderr) == (1, "")
        results.append(json.loads(made.stdout))
        for path in (tmp_path / ".vtloop").iterdir():
            path.unlink()
    for result in results:
        del result["elapsed"]
    assert results[0] == results[1]
    assert results[0]["distinct"] > 100


@pytest.mark.slow
@pytest.mark.parametrize("target", ["programs.py:rare", "script.py"])
def test_processes_that_cannot_be_forked_open_the_target_by_its_name(tmp_path, target):
    (tmp_path / "programs.py").write_text(PROGRAMS)
    (tmp_path / "script.py").write_text(PROGRAMS + "\nasyncio.run(rare())\nprint('done')\n")
    (tmp_path / "drive.py").write_text(
        "import sys, threading\nfrom vtloop.cli import main\n"
        "if __name__ == '__main__':\n"
        "    threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
        "    sys.exit(main(['explore', sys.argv[1], '-n', '5000', '--json', '-j', '2', '--seed', sys.argv[2]]))\n"
    )
    env = {**os.environ, "PYTHONPATH": ROOT}
    for seed in ("0", "1"):
        command = [sys.executable, "-W", "error", "drive.py", target, seed]
        made = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
        assert (made.returncode, made.stderr) == (1, "")
        many = json.loads(made.stdout)
        (path,) = (tmp_path / ".vtloop").glob("*.json")
        path.unlink()
        alone = json.loads(process(target, "-n", "5000", "--json", "--seed", seed, cwd=tmp_path).stdout)
        for name in (".vtloop", "__pycache__"):
            shutil.rmtree(tmp_path / name, ignore_errors=True)
        assert many["failure"]["token"] == alone["failure"]["token"]
        assert many["runs"] == alone["runs"]


@pytest.mark.slow
def test_progress_is_drawn_with_several_processes_too(tmp_path):
    (tmp_path / "programs.py").write_text(PROGRAMS)
    script = (
        "import io, sys\nclass Terminal(io.StringIO):\n    def isatty(self): return True\n"
        "sys.stderr = sys.__stderr__ = Terminal()\nfrom vtloop.cli import main\n"
        "main(['explore', 'programs.py:slow', '-j', '2', '--budget', '0.6', '--blocking', 'allow'])\n"
        "print(ascii(sys.stderr.getvalue()))"
    )
    env = {**os.environ, "PYTHONPATH": ROOT}
    command = [sys.executable, "-c", script]
    made = subprocess.run(command, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60)
    assert made.returncode == 0, made.stderr
    drawn = made.stdout.splitlines()[-1]
    assert re.search(r"\\r\\x1b\[K\d+ runs, \d+ runs/s, \d+ distinct orders?, [01] s left", drawn), drawn
    assert drawn.endswith("\\r\\x1b[K'")


@pytest.mark.parametrize(
    "words, said",
    [
        (["-j", "0"], "jobs must be a whole number, 1 or more, got 0"),
        (["-j", "9999"], "jobs must be at most 256, got 9,999; one for each processor is enough"),
        (["-j", "two"], "explore: -j/--jobs must be a whole number, got 'two'"),
    ],
)
def test_jobs_on_the_command_line_is_a_whole_number(cli, words, said):
    status, out, err = cli("programs.py:many", *words)
    assert (status, out, err) == (2, [], f"vtloop: {said}\n")


@pytest.mark.parametrize("words", [["-j", "2"], ["--budget", "3s"], ["--resume"]])
def test_what_pytest_does_not_take_is_refused_for_a_test(cli, words):
    Path("test_it.py").write_text("async def test_one(): pass\n")
    status, _, err = cli("test_it.py::test_one", *words)
    assert status == 2
    assert f"{words[0]} is not passed on to pytest; " in err
