"""The commands ``show`` and ``diff``: what they print, write and answer, for functions, scripts and pytest tests."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import pytest
from told_programs import EXAMPLES, READ_LATE, listed

from vtloop.cli import main
from vtloop.report.story import Story
from vtloop.report.telling import WANTED
from vtloop.trace import Choice

TARGET = "evicted_cache.py:main"


@pytest.fixture
def cli(tmp_path, monkeypatch, capsys):
    """Run a command line in a folder with the examples: exit status, standard output, standard error."""
    monkeypatch.chdir(tmp_path)
    for example in EXAMPLES.glob("*.py"):
        shutil.copy(example, tmp_path)

    def run(*words):
        capsys.readouterr()
        status = main([str(word) for word in words])
        captured = capsys.readouterr()
        assert "Traceback" not in captured.err
        return status, captured.out, captured.err

    return run


@pytest.fixture
def trace(tmp_path):
    """A trace of the evicted cache in this project's own store."""
    made = listed(READ_LATE, level="wakeups")
    object.__setattr__(made, "target", TARGET)
    return made.save(tmp_path / ".vtloop" / "evicted.json")


# -- show ------------------------------------------------------------------------------------------------------------


def test_show_without_a_target_runs_nothing(cli, trace):
    Path("evicted_cache.py").write_text("raise SystemExit('imported')")
    status, out, _ = cli("show", trace)
    assert status == 0
    assert "target   evicted_cache.py:main" in out
    assert "of which 1 deviates from asyncio's own order" in out


def test_show_with_a_target_tells_choices_with_their_lines_and_the_table(cli, trace):
    status, out, err = cli("show", trace, TARGET)
    assert (status, err) == (0, "")
    lines = out.splitlines()
    at = lines.index("choices  2, of which 1 deviates from asyncio's own order")
    assert lines[at + 1] == (
        "  1  Task-3 (read) step 2 ran after Task-4 (evict) step 2: "
        'evicted_cache.py:21 cache.clear() before evicted_cache.py:17 return cache["user"]'
    )
    assert "** choice 1: Task-3 (read) step 2 ran after Task-4 (evict) step 2" in lines
    assert lines[-1] == "KeyError: 'user' at evicted_cache.py:17 in read"


def test_show_writes_a_page_and_a_file_for_perfetto(cli, trace):
    status, out, err = cli("show", trace, "--html", "run.html", "--perfetto", "new/folder/run.json")
    assert status == 0
    assert err == "vtloop: written: run.html\nvtloop: written: new/folder/run.json\n"
    page = Path("run.html").read_text()
    assert page.startswith("<!doctype html>")
    assert "vtloop replay vt1." in page
    assert json.loads(Path("new/folder/run.json").read_text())["traceEvents"]
    assert sorted(path.name for path in Path("new/folder").iterdir()) == ["run.json"]


def test_show_says_why_a_file_cannot_be_written(cli, trace):
    Path("folder").mkdir()
    status, _, err = cli("show", trace, "--html", "folder")
    assert status == 2
    assert "--html 'folder' cannot be written to: " in err


def test_show_as_json_has_the_story(cli, trace):
    status, out, _ = cli("show", trace, TARGET, "--json")
    data = json.loads(out)
    assert status == 0
    story = Story.from_dict(data["story"])
    assert story.error == "KeyError: 'user'"
    said = [line for line in cli("show", trace, TARGET)[1].splitlines() if line.startswith("  1  ")]
    assert data["told"] == [line[5:] for line in said]
    assert "story" not in json.loads(cli("show", trace, "--json")[1])


def test_show_of_a_script(cli, trace):
    made = listed(READ_LATE, level="wakeups")
    token = made.token()
    status, out, _ = cli("show", token, "evicted_cache.py", "--html", "run.html")
    assert status == 0
    assert "Task-3 (read) step 2 ran after Task-4 (evict) step 2" in out
    assert f"vtloop replay {token} evicted_cache.py" in Path("run.html").read_text()


def test_show_of_a_trace_that_does_not_fit(cli, trace):
    status, out, _ = cli("show", trace, "abba_deadlock.py:main")
    assert status == 3
    assert out.startswith("ReplayError: the recorded choices do not fit this program")


def test_show_of_a_script_without_a_loop(cli):
    Path("plain.py").write_text("print(1)")
    status, out, _ = cli("show", listed().token(), "plain.py")
    assert status == 0
    assert out.splitlines()[-1] == "no task took a step"


POOL = "test_pool.py::test_pool_lends_to_three_clients_in_every_order"


@pytest.fixture
def own_pytest(monkeypatch):
    """pytest in a process of its own, as a user calls it."""
    for name in [name for name in os.environ if name.startswith(("PYTEST_", "COV_"))]:
        monkeypatch.delenv(name)
    Path("pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\nmarkers = slow\n")


@pytest.mark.slow
def test_show_plays_a_pytest_test_back_through_pytest(cli, own_pytest):
    made = listed(Choice("hold", "Task-3", 2, 1, 1, 2), level="wakeups")
    made.save("pool.json")
    status, out, _ = cli("show", "pool.json", POOL, "--html", "run.html")
    assert status == 0
    assert "test_pool.py:18 self.free -= 1" in out
    assert out.splitlines()[-2].startswith(
        "AssertionError: the connection was lent twice at test_pool.py:19 in acquire"
    )
    assert "--vtloop-replay vt1." in Path("run.html").read_text()
    assert WANTED not in os.environ


@pytest.mark.slow
def test_show_of_a_pytest_test_that_the_trace_does_not_fit(cli, own_pytest):
    listed(Choice("hold", "Task-99", 2, 1, 1, 2), level="wakeups").save("pool.json")
    status, out, _ = cli("show", "pool.json", POOL)
    assert status == 3
    assert out.startswith("ReplayError: the recorded choices do not fit this program")


@pytest.mark.slow
def test_show_of_a_pytest_test_that_is_not_there(cli, own_pytest):
    listed().save("pool.json")
    status, _, err = cli("show", "pool.json", "test_pool.py::test_nothing")
    assert status == 2
    assert "pytest told no story of 'test_pool.py::test_nothing'" in err


# -- diff ------------------------------------------------------------------------------------------------------------


def test_diff_of_a_failing_run_and_asyncios_own_order(cli, trace):
    status, out, err = cli("diff", trace, "fifo")
    assert (status, err) == (1, "")
    lines = out.splitlines()
    assert lines[0].startswith("A  ")
    assert lines[0].endswith(": seed 1, scheduler replay, level 'wakeups'")
    assert lines[1:7] == [
        "B  fifo: asyncio's own order",
        "",
        "in common: 5 events, up to t=30 s",
        "then they part:",
        "  A  Task-4 (evict) step 2 at t=30 s, returned: evicted_cache.py:21 cache.clear()",
        '  B  Task-3 (read) step 2 at t=30 s, returned: evicted_cache.py:17 return cache["user"]',
    ]
    assert lines[-2:] == [
        "A ended: KeyError: 'user' at evicted_cache.py:17 in read, t=30 s, step 13",
        "B ended: no failure, returned 'ann', t=30 s, step 13",
    ]


def test_diff_of_a_run_with_itself(cli, trace):
    status, out, _ = cli("diff", trace, listed(READ_LATE, level="wakeups").token(), TARGET)
    assert status == 0
    assert out.splitlines()[-1] == "the same run: all 8 events, up to t=30 s, and the same end"


def test_diff_of_two_seeds_takes_options(cli):
    status, out, _ = cli("diff", "1", "2", TARGET, "--interleave", "tasks", "--scheduler", "pos")
    assert status in (0, 1)
    assert out.splitlines()[:2] == [
        "A  1: seed 1, scheduler pos, level 'tasks'",
        "B  2: seed 2, scheduler pos, level 'tasks'",
    ]


def test_diff_as_json(cli, trace):
    status, out, _ = cli("diff", trace, "fifo", "--json")
    data = json.loads(out)
    assert status == 1
    assert (data["same"], data["common_events"]) == (False, 5)
    a, b = Story.from_dict(data["a"]), Story.from_dict(data["b"])
    assert a.name(a.at(data["first_of_a"])) == "Task-4 (evict) step 2"
    assert b.name(b.at(data["first_of_b"])) == "Task-3 (read) step 2"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["1", "fifo"], "runs of which program? give the TARGET: diff 1 ... TARGET"),
        (["vt1.x", "fifo", TARGET], "the token 'vt1.x' is broken or cut off"),
        ([".vtloop/evicted.json", ".vtloop/evicted.json", "--lag", "1"], "a trace holds the options of its run; --lag"),
        (["1", "2", TARGET, "--seed", "3"], "diff compares runs that are named; give the seed 3 as A or B"),
        (["1"], "diff: the following arguments are required: B"),
    ],
)
def test_diff_refuses_in_one_sentence(cli, trace, words, sentence):
    status, _, err = cli("diff", *words)
    assert status == 2
    assert sentence in err
    assert err.count("\n") == 1


@pytest.mark.slow
def test_diff_plays_pytest_tests_back_through_pytest(cli, own_pytest):
    listed(Choice("hold", "Task-3", 2, 1, 1, 2), level="wakeups").save("pool.json")
    status, out, _ = cli("diff", "pool.json", "fifo", POOL)
    assert status == 1
    assert "  A  Task-4 (client) step 2 at t=1 s: test_pool.py:33 await pool.acquire()" in out.splitlines()
