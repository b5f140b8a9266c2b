"""``vtloop replay --pdb`` and ``--until``: the debugger opens in the program while everything stands."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

import vtloop
from vtloop.cli import main
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.playback import replay_outcome
from vtloop.targets import opened
from vtloop.trace import read

ROOT = str(Path(vtloop.__file__).parent.parent)

PROGRAM = """\
import asyncio, sys

async def worker(number, go, order):
    await go.wait()
    order.append(number)

async def race():
    go = asyncio.Event()
    order = []
    tasks = [asyncio.create_task(worker(number, go, order)) for number in range(2)]
    left = asyncio.create_task(stays())
    await asyncio.sleep(1)
    go.set()
    await asyncio.gather(*tasks)
    assert order == [0, 1], order

async def stays():
    try:
        await asyncio.sleep(100)
    finally:
        print("cancelled")

async def stuck():
    secret = 41
    await inner(secret + 1)

async def inner(secret):
    await asyncio.Event().wait()

async def fails_aside():
    async def bad():
        number = 7
        raise KeyError("bad")
    asyncio.create_task(bad())
    await asyncio.sleep(1)

async def cancels():
    async def victim():
        try:
            await asyncio.sleep(10)
        finally:
            done = True
    task = asyncio.create_task(victim())
    await asyncio.sleep(1)
    task.cancel()
    await asyncio.wait([task])
    asyncio.get_running_loop().call_soon(print, "called")
    asyncio.get_running_loop().call_soon(plain, 5)
    await asyncio.sleep(0)

def plain(number):
    print("plain", number)

async def fine():
    await asyncio.sleep(1)

async def missing():
    raise KeyError("missing")

if __name__ == "__main__":
    try:
        asyncio.run(globals()[sys.argv[1]]())
    except KeyError:
        print("caught")
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("program.py").write_text(PROGRAM)
    return tmp_path


@pytest.fixture
def typed(project, monkeypatch, capsys):
    """``typed(words, *lines)``: status, output and errors of a replay into whose debugger the lines are typed."""

    def run(words, *lines):
        monkeypatch.setattr(sys, "stdin", io.StringIO("".join(f"{line}\n" for line in lines)))
        tracing = sys.gettrace()
        status = main(["replay", *words])
        assert sys.gettrace() is tracing
        captured = capsys.readouterr()
        return status, captured.out, captured.err

    return run


@pytest.fixture
def token(project, capsys):
    """A token of a run of ``race`` in which the second worker comes first."""
    assert main(["explore", "program.py:race", "-n", "100"]) == 1
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])
    assert command[:2] == ["vtloop", "replay"]
    return command[2]


def steps(name, token=None):
    """The number of each event of the run of seed 1, or of a token."""
    with opened(f"program.py:{name}") as target:
        played = replay_outcome(read(token), target.execute) if token else target.execute(resolve(RUN_DEFAULTS, seed=1))
    return {what: str(step) for step, _, what, _, _ in played.recording.events}


def shown(out):
    """Where the debugger stood, and what was printed at its prompts."""
    return [line.removeprefix("(Pdb) ") for line in out.splitlines() if "program.py(" in line or "(Pdb)" in line]


def line_of(text):
    return PROGRAM.splitlines().index(text) + 1


# -- where it fails --------------------------------------------------------------------------------------------------


def test_pdb_opens_where_the_run_failed_before_anything_is_cancelled(typed, token):
    status, out, _ = typed([token, "program.py:race", "--pdb"], "p order", "p left.done(), left.cancelling()", "c")
    place = f"program.py({line_of('    assert order == [0, 1], order')})race()"
    assert status == 1
    assert shown(out)[0].endswith(place)
    assert shown(out)[1:3] == ["[1, 0]", "(False, 0)"]
    assert out.index("AssertionError: [1, 0]\n(everything stands as it failed)") < out.index("cancelled")
    assert out.splitlines()[-1] == f"vtloop replay {token} program.py:race"


def test_pdb_opens_in_the_innermost_line_of_main_in_a_deadlock(typed):
    status, out, _ = typed(["1", "program.py:stuck", "--pdb"], "p secret", "up", "p secret", "q")
    assert status == 1
    assert [line.rpartition("/")[2] for line in shown(out)] == [
        f"program.py({line_of('    await asyncio.Event().wait()')})inner()",
        "42",
        f"program.py({line_of('    await inner(secret + 1)')})stuck()",
        "41",
        shown(out)[-1],
    ]
    assert "DeadlockError: deadlock at t=0 s" in out


def test_pdb_opens_where_a_task_failed_in_the_background(typed):
    status, out, _ = typed(["1", "program.py:fails_aside", "--pdb"], "p number", "c")
    assert (status, shown(out)[1]) == (1, "7")


def test_pdb_does_not_open_in_a_run_that_passes(typed):
    assert typed(["1", "program.py:fine", "--pdb"])[:2] == (0, "")


def test_the_end_of_what_is_typed_ends_the_debugger(typed):
    assert typed(["1", "program.py:stuck", "--pdb"])[0] == 1


def test_pdb_opens_in_a_script_before_its_runner_cancels(typed, project, capsys):
    assert main(["explore", "program.py", "-n", "100", "--", "race"]) == 1
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])[2:]
    status, out, _ = typed([*command[:2], "--pdb", *command[2:]], "p order, left.done()", "c")
    assert status == 1
    assert shown(out)[1] == "([1, 0], False)"
    assert out.index("([1, 0], False)") < out.index("cancelled")


def test_an_error_that_a_script_survives_is_not_stopped_at(typed, project, capsys):
    (project / "program.py").write_text(PROGRAM + "    asyncio.run(stuck())\n")
    main(["run", "program.py", "--", "missing"])
    command = shlex.split(capsys.readouterr().out.splitlines()[-1])[2:]
    status, out, _ = typed([*command[:2], "--pdb", *command[2:]], "p secret", "c")
    assert (status, shown(out)[1]) == (1, "42")
    assert out.count("everything stands as it failed") == 1


# -- before a step ---------------------------------------------------------------------------------------------------


def test_until_stops_before_a_wake_up_at_its_await(typed, token):
    number = steps("race", token)["Task-2 step 2"]
    status, out, _ = typed([token, "program.py:race", "--until", number], "p number, order", "n", "s", "p order", "c")
    assert status == 1
    assert f"t=1 s, before step {number}: Task-2 step 2\n" in out
    lines = [line.rpartition("/")[2] for line in shown(out)]
    assert lines[:4] == [
        f"program.py({line_of('    await go.wait()')})worker()",
        "(0, [1])",
        f"program.py({line_of('    order.append(number)')})worker()",
        "--Return--",
    ]
    assert "[1, 0]" in lines


def test_until_stops_before_a_first_step_at_its_first_line(typed, token):
    status, out, _ = typed([token, "program.py:race", "--until", "1"], "n", "p go", "c")
    assert status == 1
    assert "t=0 s, before step 1: Task-1 step 1\n" in out
    assert shown(out)[0].endswith(f"program.py({line_of('    go = asyncio.Event()')})race()")
    assert shown(out)[2].startswith("<asyncio.locks.Event object")


def test_until_stops_before_a_cancellation_arrives(typed):
    number = steps("cancels")["Task-2 step 2"]
    status, out, _ = typed(["1", "program.py:cancels", "--until", number], "n", "n", "n", "c")
    assert status == 0
    assert shown(out)[0].endswith(f"program.py({line_of('            await asyncio.sleep(10)')})victim()")
    assert "asyncio.exceptions.CancelledError" in out
    assert f"program.py({line_of('            done = True')})victim()" in out


def test_until_stops_before_a_plain_callback_of_the_program(typed):
    number = steps("cancels")["callback plain"]
    status, out, _ = typed(["1", "program.py:cancels", "--until", number], "p number", "c")
    place = line_of('    print("plain", number)')
    assert status == 0
    assert shown(out)[:2] == [shown(out)[0], "5"]
    assert shown(out)[0].endswith(f"program.py({place})plain()")


def test_a_step_without_code_of_the_program_says_so_and_stops_after_it(typed):
    number = int(steps("cancels")["callback print"])
    status, out, _ = typed(["1", "program.py:cancels", "--until", str(number)], "c")
    assert status == 0
    assert f"before step {number}: callback print; no code of the program runs there\n" in out
    assert f"before step {number + 1}: callback plain\n" in out
    assert shown(out)[0].endswith("plain()")


def test_stepping_goes_from_task_to_task_through_the_program_alone(typed, token):
    out = typed([token, "program.py:race", "--until", "1"], *["s"] * 60, "c")[1]
    places = re.findall(r"^(?:\(Pdb\) )?> ([^(\n]+)\(\d+\)([^(\n]+)\(", out, re.MULTILINE)
    hypothesis_counts_collections = {"junkdrawer.py"}  # where its own tests ran in this process before
    assert {Path(file).name for file, _ in places} - hypothesis_counts_collections == {"program.py"}
    functions = {function for _, function in places}
    assert {"race", "worker", "stays"} <= functions


def test_until_and_pdb_together_stop_twice(typed, token):
    status, out, _ = typed([token, "program.py:race", "--until", "1", "--pdb"], "c", "p order", "c")
    assert status == 1
    assert out.index("before step 1") < out.index("everything stands as it failed")
    assert "[1, 0]" in shown(out)


def test_until_stops_in_a_script(typed, project):
    status, out, _ = typed(["1", "program.py", "--until", "1", "--", "fine"], "c")
    assert status == 0
    assert shown(out)[0].endswith(f"program.py({line_of('async def fine():') + 1})fine()")


def test_leaving_the_debugger_is_as_ctrl_c(typed, token):
    status, out, err = typed([token, "program.py:race", "--until", "3"], "q")
    assert (status, err) == (130, "vtloop: interrupted at t=0 s, step 3\n")


def test_the_watchdog_is_off_and_the_command_still_has_it(typed, token, project):
    """A person takes longer than ten seconds; the run is told by its own options."""
    code = "next(o for o in __import__('gc').get_objects() if type(o).__name__ == 'EventLoop').options.watchdog"
    out = typed([token, "program.py:race", "--until", "2"], f"p {code}", "c")[1]
    assert shown(out)[1] == "None"
    assert out.splitlines()[-1] == f"vtloop replay {token} program.py:race"


# -- refusals --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["1", "program.py:fine", "--until", "99"], "--until 99: the run has 4 steps; give a number up to that"),
        (["1", "program.py:fine", "--until", "0"], "--until must be the number of a step, 1 or more, got 0"),
        (["1", "program.py:fine", "--until", "x"], "replay: --until must be a whole number, got 'x'"),
        (["1", "program.py:fine", "--pdb", "--json"], "--pdb talks on the terminal; give it without --json"),
        (["1", "program.py:fine", "--until", "1", "--json"], "--until talks on the terminal; give it without --json"),
        (["1", "t.py::test_x", "--until", "1"], "--until in a pytest test needs a trace or a token"),
    ],
)
def test_what_cannot_be_is_told_in_one_sentence(typed, words, message):
    status, out, err = typed(words)
    assert (status, out, err.count("\n")) == (2, "", 1)
    assert err.startswith(f"vtloop: {message}")


# -- processes -------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="a pseudo-terminal")
def test_the_debugger_talks_to_a_terminal(project, token):
    pty = pytest.importorskip("pty")
    parent, child = pty.openpty()
    command = [sys.executable, "-m", "vtloop", "replay", token, "program.py:race", "--pdb"]
    env = {**os.environ, "PYTHONPATH": ROOT, "TERM": "dumb"}
    with subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=env) as made:
        os.close(child)
        text = b""
        while b"(Pdb)" not in text:
            text += os.read(parent, 4096)
        os.write(parent, b"p 'order is', order\n")
        while b"[1, 0])" not in text:
            text += os.read(parent, 4096)
        os.write(parent, b"c\n")
        try:
            while made.poll() is None or True:
                text += os.read(parent, 4096)
        except OSError:  # the other end is closed
            pass
    os.close(parent)
    assert made.returncode == 1
    assert b"('order is', [1, 0])" in text
    assert f"vtloop replay {token}".encode() in text.replace(b"\r\n", b"")


@pytest.mark.slow
def test_pytest_gets_the_debugger(project):
    (project / "test_it.py").write_text(
        "import pytest\n\n@pytest.mark.vtloop\n"
        + textwrap.dedent("async def test_it():\n    secret = 41\n    assert 0\n")
    )
    (project / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    env = {**os.environ, "PYTHONPATH": ROOT}
    command = [sys.executable, "-m", "vtloop", "replay", "1", "test_it.py::test_it", "--pdb"]
    made = subprocess.run(command, input="p secret + 1\nq\n", env=env, capture_output=True, text=True)
    assert "\n(Pdb) 42\n" in made.stdout, made.stdout + made.stderr


@pytest.mark.slow
def test_a_replayed_pytest_test_stops_before_a_step(project):
    (project / "test_it.py").write_text(
        textwrap.dedent(
            """
            import asyncio, pytest

            @pytest.mark.vtloop(runs=100)
            async def test_it():
                go, order = asyncio.Event(), []

                async def worker(number):
                    await go.wait()
                    order.append(number)

                tasks = [asyncio.create_task(worker(number)) for number in range(2)]
                await asyncio.sleep(1)
                print("printed by the test")
                go.set()
                await asyncio.gather(*tasks)
                assert order == [0, 1]
            """
        )
    )
    (project / "pytest.ini").write_text("[pytest]\nasyncio_default_fixture_loop_scope = function\n")
    env = {**os.environ, "PYTHONPATH": ROOT}

    def run(*words, typed=""):
        command = [sys.executable, "-m", *words]
        return subprocess.run(command, input=typed, env=env, capture_output=True, text=True)

    token = re.search(r"--vtloop-replay (vt1\.\S+)", run("pytest", "test_it.py").stdout)[1]
    replay = ("vtloop", "replay", token, "test_it.py::test_it", "--until")
    made = run(*replay, "6", typed="n\np number, order\nc\n")
    assert made.returncode == 1
    before, _, after = made.stdout.partition("t=1 s, before step 6: Task-3 step 2\n")
    assert "printed by the test" not in before and "Captured stdout call" in after
    assert "\n(Pdb) (1, [])\n" in after
    stepped = run(*replay, "1", typed="s\n" * 90 + "c\n").stdout
    assert {Path(file).name for file in re.findall(r"^(?:\(Pdb\) )?> (\S+)\(\d+\)", stepped, re.MULTILINE)} == {
        "test_it.py"
    }
    made = run(*replay, "99")
    assert made.returncode == 2
    assert re.search(r"--vtloop-until 99: the run has \d+ steps; give a number up to that", made.stdout)
    made = run("pytest", "test_it.py", "--vtloop-until", "3")
    assert made.returncode == 4
    assert "vtloop: --vtloop-until takes the number of a step of a --vtloop-replay, 1 or more, got 3" in made.stderr
