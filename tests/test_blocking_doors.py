"""``blocking=`` at every entrance: functions, the command line, pytest; what is said without BlockBuster."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from plugin_suite import Suite

import vtloop
from vtloop.blocking_buster import MISSING
from vtloop.cli import main as cli

pytest_plugins = ["plugin_suite"]

ROOT = str(Path(vtloop.__file__).parents[1])

SLEEPY = """
import asyncio, threading, time

async def sleepy():
    time.sleep(5)
    return asyncio.get_running_loop().time()

async def waits():
    threading.Event().wait(0.001)
"""


async def sleepy() -> float:
    time.sleep(5)
    return asyncio.get_running_loop().time()


# -- functions -------------------------------------------------------------------------------------------------------


def test_a_run_raises_by_default() -> None:
    with pytest.raises(vtloop.BlockingCallError):
        vtloop.run(sleepy)
    assert vtloop.run(sleepy, blocking="virtual") == 5.0


def test_an_exploration_raises_by_default() -> None:
    found = vtloop.explore(sleepy, runs=10)
    assert found.failure is not None
    assert isinstance(found.failure.error, vtloop.BlockingCallError)
    assert found.runs == 1
    assert vtloop.explore(sleepy, runs=10, blocking="virtual").failure is None


def test_a_decorated_test_raises_by_default() -> None:
    with pytest.raises(vtloop.BlockingCallError):
        vtloop.test(runs=5)(sleepy)()
    vtloop.test(runs=5, blocking="virtual")(sleepy)()


def test_a_bare_loop_allows_by_default() -> None:
    async def main() -> float:
        time.sleep(0.001)
        return asyncio.get_running_loop().time()

    with asyncio.Runner(loop_factory=vtloop.EventLoop) as runner:
        assert runner.run(main()) == 0.0
    with asyncio.Runner(loop_factory=vtloop.loop_factory(blocking="virtual")) as runner:
        assert runner.run(sleepy()) == 5.0


def test_an_exploration_warns_of_what_was_let_through() -> None:
    async def main() -> None:
        threading.Event().wait(0.001)

    with pytest.warns(vtloop.VtloopWarning, match=r"^threading.Event.wait\(\) was called by Task-1"):
        found = vtloop.explore(main, runs=3, blocking="virtual")
    assert len(found.warnings) == 1


# -- the command line ------------------------------------------------------------------------------------------------


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sleepy.py").write_text(SLEEPY)
    return tmp_path


def test_the_command_line_raises_by_default(project: Path, capsys: Any) -> None:
    assert cli(["run", "sleepy.py:sleepy"]) == 1
    out, err = capsys.readouterr()
    assert "time.sleep(5) was called by Task-1 (sleepy) at sleepy.py:5 in sleepy" in out + err
    assert cli(["run", "sleepy.py:sleepy", "--json", "--blocking", "virtual"]) == 0
    assert json.loads(capsys.readouterr().out)["time"] == 5.0


def test_the_command_line_shows_warnings(project: Path, capsys: Any) -> None:
    assert cli(["run", "sleepy.py:waits", "--blocking", "virtual"]) == 0
    err = capsys.readouterr().err
    assert "warning: threading.Event.wait() was called by Task-1 (waits) at sleepy.py:9 in waits" in err
    assert cli(["run", "sleepy.py:waits", "--blocking", "virtual", "--json"]) == 0
    (warned,) = json.loads(capsys.readouterr().out)["warnings"]
    assert (warned["warning"], warned["count"]) == ("blocking call", 1)


def test_the_command_of_a_report_finds_the_call_again(project: Path, capsys: Any) -> None:
    assert cli(["explore", "sleepy.py:sleepy", "-n", "5", "--json"]) == 1
    token = json.loads(capsys.readouterr().out)["failure"]["token"]
    assert cli(["replay", token, "sleepy.py:sleepy"]) == 1
    assert "time.sleep(5) was called by Task-1" in "".join(capsys.readouterr())


def test_a_script_is_looked_at_too(project: Path, capsys: Any) -> None:
    (project / "script.py").write_text(SLEEPY + "asyncio.run(sleepy())\n")
    assert cli(["run", "script.py"]) == 1
    err = "".join(capsys.readouterr())
    assert "time.sleep(5) was called by Task-1 (sleepy) at script.py:5 in sleepy" in err
    assert "went on" not in err
    (project / "script.py").write_text(SLEEPY + "asyncio.run(waits())\nprint(asyncio.run(sleepy()))\n")
    assert cli(["run", "script.py", "--blocking", "virtual"]) == 0
    out, err = capsys.readouterr()
    assert "5.0" in out
    assert err.count("warning: threading.Event.wait() was called by Task-1 (waits) at script.py:9 in waits") == 1


def test_another_word_is_refused(project: Path, capsys: Any) -> None:
    assert cli(["run", "sleepy.py:sleepy", "--blocking", "maybe"]) == 2
    assert "unknown blocking='maybe'; allowed: 'raise', 'virtual', 'allow'" in capsys.readouterr().err


# -- pytest ----------------------------------------------------------------------------------------------------------

TESTS = """
import asyncio, time, pytest, threading

@pytest.fixture
def slow_fixture():
    time.sleep(0.001)
    yield
    time.sleep(0.001)

@pytest.fixture
async def sleepy_fixture():
    time.sleep(1)

@pytest.mark.vtloop
async def test_marked():
    time.sleep(5)

@pytest.mark.vtloop(runs=5)
async def test_explored():
    time.sleep(5)

@pytest.mark.vtloop(blocking="virtual")
async def test_virtual():
    time.sleep(5)
    assert asyncio.get_running_loop().time() == 5.0

@pytest.mark.vtloop
async def test_sync_fixtures_may_block(slow_fixture): pass

@pytest.mark.vtloop
async def test_async_fixtures_may_not(sleepy_fixture): pass

async def test_unmarked():
    time.sleep(5)
    assert asyncio.get_running_loop().time() == 5.0

async def test_warned():
    threading.Event().wait(0.001)
"""


@pytest.mark.slow
def test_marked_and_unmarked_tests(suite: Suite) -> None:
    result = suite(TESTS, "--vtloop", "-rA", "-W", "default")
    text = result.stdout.str()
    for name in ("virtual", "sync_fixtures_may_block", "unmarked", "warned"):
        assert f"PASSED test_it.py::test_{name}" in text
    for name in ("marked", "explored", "async_fixtures_may_not"):
        assert f"FAILED test_it.py::test_{name} - vtloop.errors.BlockingCallEr" in text
    assert "VtloopWarning: threading.Event.wait() was called by Task-1" in text


@pytest.mark.slow
def test_flags_and_ini_say_otherwise(suite: Suite) -> None:
    words = ["--vtloop", "--vtloop-option", "blocking=virtual"]
    result = suite(TESTS, *words, "-k", "marked or may_not")
    result.assert_outcomes(passed=3, deselected=4)


# -- what is said where BlockBuster is missing -------------------------------------------------------------------------

WITHOUT = """
import sys
sys.modules["blockbuster"] = None
import asyncio, threading, vtloop
"""


def without(code: str, *words: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "PYTHONPATH": ROOT, "COLUMNS": "500"}
    command = [sys.executable, "-c", WITHOUT + code, *words]
    return subprocess.run(command, cwd=cwd, env=env, capture_output=True, text=True, timeout=60)


@pytest.mark.slow
def test_the_watchdog_says_that_it_may_have_been_missed(tmp_path: Path) -> None:
    made = without(
        """
async def main():
    lock = threading.Lock()
    with lock:
        lock.acquire()
try:
    vtloop.run(main, watchdog=0.2)
except vtloop.HangError as error:
    print(error.report())
""",
        cwd=tmp_path,
    )
    assert f"note: {MISSING}" in made.stdout, made.stderr


@pytest.mark.slow
def test_the_help_says_so(tmp_path: Path) -> None:
    made = without("from vtloop.cli import main\nmain(['run', '--help'])", cwd=tmp_path)
    assert MISSING in " ".join(made.stdout.split())


@pytest.mark.slow
def test_the_header_says_so(tmp_path: Path) -> None:
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass\n")
    code = "import pytest\npytest.main(['-p', 'no:cacheprovider', *sys.argv[1:]])"
    assert f"vtloop: {MISSING}" in without(code, "--vtloop", cwd=tmp_path).stdout
    assert "blockbuster" not in without(code, cwd=tmp_path).stdout


@pytest.mark.slow
def test_all_that_python_shows_is_seen_without_it(tmp_path: Path) -> None:
    made = without(
        """
import queue, time
for call in (lambda: time.sleep(5), lambda: queue.Queue().get()):
    async def main(): call()
    try: vtloop.run(main)
    except vtloop.BlockingCallError as error: print(error)
""",
        cwd=tmp_path,
    )
    assert [line.partition("(")[0] for line in made.stdout.splitlines()] == ["time.sleep", "queue.Queue.get"]
