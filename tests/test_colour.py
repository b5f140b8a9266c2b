"""Colour on a terminal, and nowhere else."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import vtloop
from vtloop import cli
from vtloop.colour import is_wanted, painted

PROGRAM = """\
import asyncio

async def take(one, other):
    async with one:
        await asyncio.sleep(1)
        async with other:
            pass

async def main():
    a, b = asyncio.Lock(), asyncio.Lock()
    await asyncio.gather(take(a, b), take(b, a))
"""


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture(autouse=True)
def no_wishes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "PYTHON_COLORS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    (tmp_path / "app.py").write_text(PROGRAM)
    monkeypatch.chdir(tmp_path)
    return "app.py:main"


@pytest.mark.parametrize(
    ("stream", "environ", "wanted"),
    [
        (Terminal(), {}, True),
        (Terminal(), {"TERM": "dumb"}, False),
        (Terminal(), {"NO_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": "1", "FORCE_COLOR": "1"}, False),
        (Terminal(), {"NO_COLOR": ""}, True),
        (io.StringIO(), {}, False),
        (io.StringIO(), {"FORCE_COLOR": "1"}, True),
        (io.StringIO(), {"FORCE_COLOR": "1", "TERM": "dumb"}, True),
        (None, {}, False),
    ],
)
def test_a_terminal_is_coloured_unless_told_otherwise(stream: object, environ: dict[str, str], wanted: bool) -> None:
    assert is_wanted(stream, {"TERM": "xterm"} | environ) is wanted


def test_a_closed_stream_is_no_terminal() -> None:
    stream = open(os.devnull)
    stream.close()
    assert not is_wanted(stream, {"TERM": "xterm"})


@pytest.mark.parametrize(
    ("line", "coloured"),
    [
        ("DEADLOCK at t=1 s, step 6", "DEADLOCK at t=1 s, step 6"),
        ("WAITING FOR THREADS at t=0 s", "WAITING FOR THREADS at t=0 s"),
        ("FAILED", "FAILED"),
        ("vtloop.errors.DeadlockError: deadlock at t=0 s", "vtloop.errors.DeadlockError"),
        ("AssertionError", "AssertionError"),
        ("ExceptionGroup: two (2 sub-exceptions)", "ExceptionGroup"),
        ("hint: take them in one order", "hint:"),
        ("cycle: a waits for Lock b", "cycle:"),
        ("vtloop: warning: a stuck task", "vtloop: warning:"),
        ("  app.py:3 in main: hint: no", ""),
        ("  | AssertionError: what the program printed", ""),
        ("Errors are fine", ""),
        ("vtloop replay vt1.abc app.py:main", ""),
        ("", ""),
    ],
)
def test_only_what_should_stand_out_is_coloured(line: str, coloured: str) -> None:
    text = painted(line)
    if not coloured:
        assert text == line
    else:
        before, start, rest = text.partition("\033[")
        assert (before, start) == ("", "\033[")
        assert rest.partition("m")[2] == f"{coloured}\033[0m{line[len(coloured) :]}"


def test_the_command_line_colours_a_terminal(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = Terminal(), Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setattr(sys, "stderr", err)
    assert cli.main(["run", program]) == 1
    coloured = [line for line in out.getvalue().split("\n") if "\033[" in line]
    assert [
        line.partition("m")[2].partition(":")[0].partition(" ")[0].removesuffix("\033[0m") for line in coloured
    ] == [
        "vtloop.errors.DeadlockError",
        "DEADLOCK",
        "cycle",
        "hint",
    ]


def test_json_is_plain_on_a_terminal_too(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    out = Terminal()
    monkeypatch.setattr(sys, "stdout", out)
    monkeypatch.setenv("FORCE_COLOR", "1")
    assert cli.main(["run", program, "--json"]) == 1
    assert "\033" not in out.getvalue() and "\\u001b" not in out.getvalue()
    json.loads(out.getvalue())


def test_pipes_and_captures_are_plain(program: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", program]) == 1
    captured = capsys.readouterr()
    assert "DEADLOCK at" in captured.out
    assert "\033" not in captured.out + captured.err


def test_the_error_itself_is_plain_whatever_the_environment_says(
    program: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    scope: dict[str, object] = {}
    exec(compile(PROGRAM, "app.py", "exec"), scope)
    with pytest.raises(vtloop.DeadlockError) as raised:
        vtloop.run(scope["main"])  # type: ignore[arg-type]
    error = raised.value
    assert "\033" not in str(error) + error.report() + json.dumps(error.to_dict()) + "".join(error.__notes__)


@pytest.mark.slow
def test_a_real_pipe_is_plain_and_can_be_forced(program: str) -> None:
    command = [sys.executable, "-m", "vtloop", "run", program]
    plain = subprocess.run(command, capture_output=True, text=True, check=False)
    assert "DEADLOCK at" in plain.stdout
    assert "\033" not in plain.stdout + plain.stderr
    forced = subprocess.run(
        command, capture_output=True, text=True, check=False, env={**os.environ, "FORCE_COLOR": "1"}
    )
    assert "\033[1;31mDEADLOCK at" in forced.stdout
