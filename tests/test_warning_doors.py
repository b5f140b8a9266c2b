"""Where warnings of a run are shown: at the line of the test, also when the filters make errors of them."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import warnings
from typing import Any

import pytest
from plugin_suite import Suite

import vtloop
from vtloop.cli import main as cli
from vtloop.errors import LeakError, VtloopWarning

pytest_plugins = ["plugin_suite"]


async def crossed() -> None:
    one, other = asyncio.Lock(), asyncio.Lock()

    async def both(first: asyncio.Lock, second: asyncio.Lock) -> None:
        async with first:
            await asyncio.sleep(1)
            async with second:
                pass

    tasks = [asyncio.create_task(both(one, other), name="a"), asyncio.create_task(both(other, one), name="b")]
    await asyncio.sleep(10)
    assert not any(task.done() for task in tasks)


def test_a_decorated_test_is_named_not_its_runner() -> None:
    @vtloop.test(runs=1)
    async def decorated() -> None:
        await crossed()

    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("default")
        for _ in range(2):
            decorated()
    (warned,) = seen
    assert warned.category is VtloopWarning
    line = test_a_decorated_test_is_named_not_its_runner.__code__.co_firstlineno
    assert (warned.filename, warned.lineno) == (__file__, line + 1)


def test_an_error_about_tasks_in_a_circle_shows_the_circle_as_the_warning_does() -> None:
    with pytest.warns(VtloopWarning) as warned:
        vtloop.run(crossed)
    with pytest.raises(LeakError) as raised:
        vtloop.run(crossed, leaks="error")
    line = str(raised.value)
    assert line == str(warned[0].message).partition("\n")[0]
    assert " (held by b) -> b waits for Lock " in line


def test_none_is_a_word_of_the_command_line_where_it_is_a_value(tmp_path: Any, monkeypatch: Any, capsys: Any) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "app.py").write_text("async def fetch(): pass\nasync def main():\n    fetch()\n")
    assert cli(["run", "app.py:main", "--leaks", "warn"]) == 0
    assert cli(["run", "app.py:main", "--leaks", "none"]) == 1
    assert "LeakError: 1 coroutine was never awaited" in "".join(capsys.readouterr())
    assert cli(["run", "app.py:main", "--blocking", "none"]) == 2
    assert "unknown blocking='none'" in capsys.readouterr().err


@pytest.mark.slow
def test_a_warning_made_an_error_stands_at_the_test(suite: Suite) -> None:
    text = """
    import asyncio, pytest

    @pytest.mark.vtloop(leaks="warn")
    async def test_forgets():
        asyncio.sleep(1)
    """
    result = suite(text, "-W", "error::vtloop.VtloopWarning")
    result.assert_outcomes(failed=1)
    shown = result.stdout.str()
    assert "warned.py" not in shown
    assert re.search(r"^test_it\.py:\d+: VtloopWarning$", shown, re.MULTILINE)


BARE = """
import asyncio, vtloop

async def beat():
    while True:
        await asyncio.sleep(1)

async def main():
    tasks = [asyncio.create_task(beat(), name="beat")]
    await asyncio.Event().wait()

with vtloop.EventLoop(max_steps=100_000) as loop:
    try:
        loop.run_until_complete(main())
    except vtloop.HangError as error:
        print(error.to_dict()["verdict"], error.to_dict()["step"])
"""


@pytest.mark.slow
def test_a_bare_loop_alone_in_its_process_sees_that_main_is_stuck() -> None:
    # The loop's own dict may come to be only while it is looked at (CPython 3.11 and 3.12).
    result = subprocess.run([sys.executable, "-c", BARE], capture_output=True, text=True, timeout=60)
    assert result.stdout.split()[0] == "hang", result.stderr
