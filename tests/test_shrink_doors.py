"""Shrinking at the doors: the command line and pytest store and print the small failure, and never lose the old one."""

from __future__ import annotations

import io
import json
import os
import shlex
import sys
import textwrap
from pathlib import Path

import pytest
from plugin_suite import section

from vtloop.cli import main
from vtloop.trace import REPLAY, Trace, read

pytest_plugins = ["plugin_suite"]

PROGRAM = """
    import asyncio

    async def race():
        order, start = [], asyncio.Event()

        async def one(name):
            await start.wait()
            order.append(name)

        tasks = [asyncio.create_task(one(name), name=name) for name in ("ann", "bob", "cat", "dan")]
        await asyncio.sleep(1)
        start.set()
        await asyncio.gather(*tasks)
        print("order", *order)
        assert order.index("cat") > order.index("bob"), order

    async def fails():
        raise ValueError("always")

    async def fine():
        pass
"""


@pytest.fixture
def project(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "program.py").write_text(textwrap.dedent(PROGRAM))
    return tmp_path


def stored():
    return sorted(Path(".vtloop").glob("*.json"))


def token_of(out: str) -> str:
    return shlex.split(out.rstrip("\n").rpartition("\n")[2])[2]


WORDS = (
    "bob step 2 stood back while cat step 2 ran",
    "cat step 2 ran before bob step 2",
    "bob step 2 ran after cat step 2",
)


# -- explore ---------------------------------------------------------------------------------------------------------


def test_explore_prints_and_stores_the_shrunk_run(cli):
    status, out, _ = cli("explore", "program.py:race")
    assert status == 1
    assert "asyncio's own order, except 1 choice:" in out
    assert any(words in out for words in WORDS)
    assert "; shrunk in " in out
    (path,) = stored()
    trace = read(path)
    assert trace.options.scheduler == REPLAY
    assert trace.token() == token_of(out)
    # What the run printed is what the shrunk one printed, once.
    assert out.count("| order ") == 1
    status, again, _ = cli("replay", token_of(out), "program.py:race")
    assert status == 1
    assert token_of(again) == token_of(out)


def test_a_stored_shrunk_run_comes_first_next_time(cli):
    _, first, _ = cli("explore", "program.py:race")
    status, second, _ = cli("explore", "program.py:race")
    assert status == 1
    assert token_of(second) == token_of(first)
    assert second.startswith("1 run, ")
    assert len(stored()) == 1
    # A run asked for with another scheduler than the one that found it looks for itself.
    by = read(stored()[0]).found["scheduler"]
    other = "random" if by != "random" else "pct:depth=1"
    assert not cli("explore", "program.py:race", "--scheduler", other)[1].startswith("1 run, ")


def test_no_shrink_leaves_the_run_as_it_was_found(cli):
    _, out, _ = cli("explore", "program.py:race", "--no-shrink")
    assert "shrunk" not in out
    assert read(token_of(out)).options.scheduler != REPLAY


# -- shrink ----------------------------------------------------------------------------------------------------------


def test_a_stored_failure_is_replaced_by_the_small_one(cli):
    cli("explore", "program.py:race", "--no-shrink")
    (old,) = stored()
    before = read(old)
    status, out, err = cli("shrink", str(old))
    assert (status, err) == (1, "")
    count = len(before.choices)
    assert out.startswith(f"{count} choice{'s' * (count > 1)} became 1, in ")
    assert any(words in out for words in WORDS)
    assert out.count("| order ") == 1
    (new,) = stored()
    assert f"stored: {new}" in out
    assert read(new).options.scheduler == REPLAY
    assert len(read(new).choices) == 1
    assert read(new).token() == token_of(out)
    assert cli("replay", str(new))[0] == 1


def test_the_old_trace_stays_when_the_new_one_cannot_be_written(cli, monkeypatch):
    cli("explore", "program.py:race", "--no-shrink")
    (old,) = stored()
    content = old.read_bytes()

    def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    status, out, _ = cli("shrink", str(old))
    assert status == 1
    assert "not stored" in out
    assert stored() == [old]
    assert old.read_bytes() == content
    assert read(token_of(out)).options.scheduler == REPLAY


def test_the_output_goes_where_it_is_told_and_the_old_trace_stays(cli):
    cli("explore", "program.py:race", "--no-shrink")
    (old,) = stored()
    status, out, _ = cli("shrink", str(old), "-o", "deep/small.json")
    assert status == 1
    assert stored() == [old]
    assert read("deep/small.json").token() == token_of(out)
    assert f"stored: {Path('deep/small.json')}" in out


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_a_shrink_shows_progress_on_a_terminal_and_none_in_a_pipe(cli, monkeypatch):
    cli("explore", "program.py:race", "--no-shrink")
    (path,) = stored()
    assert cli("shrink", str(path), "-o", "small.json")[2] == ""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setattr(sys, "__stderr__", terminal)
    assert main(["shrink", str(path), "--seconds", "60"]) == 1
    assert terminal.getvalue().startswith("\r\033[K1 of at most 200 replays, 60 s left")
    assert terminal.getvalue().endswith("\r\033[K")


def test_a_token_is_shrunk_with_its_target(cli):
    _, out, _ = cli("explore", "program.py:race", "--no-shrink")
    token = token_of(out)
    for path in stored():
        path.unlink()
    status, out, _ = cli("shrink", token, "program.py:race")
    assert status == 1
    assert len(read(token_of(out)).choices) == 1
    assert len(stored()) == 1


def test_shrink_as_json(cli):
    cli("explore", "program.py:race", "--no-shrink")
    status, out, _ = cli("shrink", str(stored()[0]), "--json")
    data = json.loads(out)
    assert status == 1
    assert (data["command"], data["target"]) == ("shrink", "program.py:race")
    assert data["failure"]["shrunk"] is True
    assert len(data["failure"]["choices"]) == 1
    assert data["choices_before"] >= 1
    assert data["printed"].startswith("order ")
    assert data["path"] == str(stored()[0])


def test_a_small_budget_is_said_to_be_small(cli):
    cli("explore", "program.py:race", "--no-shrink", "--scheduler", "random", "--interleave", "tasks")
    status, out, _ = cli("shrink", str(stored()[0]), "--replays", "1", "--seconds", "none")
    assert status == 1
    assert "not everything was tried, --replays and --seconds give it more" in out


def test_a_failure_of_asyncios_own_order_has_nothing_to_leave_out(cli):
    cli("explore", "program.py:fails")
    status, out, _ = cli("shrink", str(stored()[0]))
    assert status == 1
    assert out.startswith("asyncio's own order fails: there is nothing to leave out\nFAILED\n")
    assert len(stored()) == 1


def test_a_failure_that_is_mended_has_nothing_to_shrink(cli, project):
    cli("explore", "program.py:race")
    text = (project / "program.py").read_text()
    (project / "program.py").write_text(text.replace("assert order", "assert True or order"))
    status, out, _ = cli("shrink", str(stored()[0]))
    assert (status, out) == (0, "the recorded run does not fail any more: there is nothing to shrink\n")
    assert len(stored()) == 1


def test_a_trace_that_does_not_fit_is_refused(cli):
    cli("explore", "program.py:race")
    status, out, _ = cli("shrink", str(stored()[0]), "program.py:fine")
    assert status == 3
    assert "do not fit" in out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["nothing.json"], "the trace 'nothing.json' cannot be read"),
        (["TOKEN"], "a token does not name its program; give the TARGET after it"),
        (["TOKEN", "test_x.py::test_y"], "shrink makes runs of functions and scripts; 'test_x.py::test_y' is a pytest"),
        (["TOKEN", "program.py:race", "--replays", "0"], "replays must be a whole number, 1 or more, got 0"),
        (["TOKEN", "program.py:race", "--seconds", "-1"], "seconds must be a number above 0, or None, got -1.0"),
        (["TOKEN", "program.py:race", "--seconds", "x"], "shrink: --seconds must be a number of seconds, 'none'"),
        (["TOKEN", "program.py:race", "--lag", "1"], "unknown arguments: --lag 1"),
    ],
)
def test_mistakes_are_told_in_one_sentence(cli, words, message):
    token = token_of(cli("explore", "program.py:race")[1])
    status, out, err = cli("shrink", *(token if word == "TOKEN" else word for word in words))
    assert (status, out) == (2, "")
    assert err.startswith(f"vtloop: {message}")


# -- pytest ----------------------------------------------------------------------------------------------------------

ORDER = """
    @pytest.mark.vtloop(runs=100, seed=3)
    async def test_order():
        await in_order()
"""


def the_stored(pytester) -> Trace:
    (path,) = (pytester.path / ".vtloop").glob("*.json")
    return read(path)


def test_pytest_stores_and_prints_the_shrunk_run(suite, pytester):
    first = suite(ORDER)
    first.assert_outcomes(failed=1)
    lines = section(first)
    assert "asyncio's own order, except 1 choice:" in lines
    assert lines[-1].startswith("pytest 'test_it.py::test_order' --vtloop-replay vt1.")
    trace = the_stored(pytester)
    assert trace.options.scheduler == REPLAY
    assert trace.token() == lines[-1].rpartition(" ")[2]
    # Stored failures run first, and are small already.
    second = suite(None)
    second.assert_outcomes(failed=1)
    second.stdout.fnmatch_lines(["vtloop: 1 test, 1 run*"])
    assert section(second)[-1] == lines[-1]
    suite(None, *shlex.split(lines[-1])[1:]).assert_outcomes(failed=1)


def test_playing_back_and_shrinking_are_no_runs_of_the_test(suite):
    result = suite(ORDER)
    shrunk = next(line for line in section(result) if "; shrunk in " in line)
    run = int(shrunk.partition(",")[0].removeprefix("run "))
    result.stdout.fnmatch_lines([f"vtloop: 1 test, {run + 1} runs*"])


@pytest.mark.parametrize("how", ["marker", "flag"])
def test_pytest_leaves_the_run_as_it_was_found_when_told_so(suite, pytester, how):
    source = ORDER.replace("seed=3", "seed=3, shrink=False") if how == "marker" else ORDER
    flags = ("--vtloop-option", "shrink=False") if how == "flag" else ()
    suite(source, *flags).assert_outcomes(failed=1)
    assert the_stored(pytester).options.scheduler != REPLAY


def test_a_skip_in_some_order_does_not_skip_the_failing_test(suite):
    source = """
        @pytest.mark.vtloop(runs=100, seed=3)
        async def test_order():
            log, go = [], asyncio.Event()

            async def worker(i):
                await go.wait()
                log.append(i)

            tasks = [asyncio.create_task(worker(i)) for i in range(4)]
            await asyncio.sleep(1)
            go.set()
            await asyncio.gather(*tasks)
            if log == [1, 0, 2, 3]:
                pytest.skip("this order only")
            assert log[0] != 1
    """
    suite(source).assert_outcomes(failed=1)


def test_shrunk_runs_have_fixtures_of_their_own(suite):
    source = """
        @pytest.fixture
        def made():
            return []

        @pytest.fixture
        async def started(made):
            made.append("started")
            yield
            made.append("ended")

        @pytest.mark.vtloop(runs=100, seed=3)
        async def test_order(made, started):
            assert made == ["started"]
            await in_order()
    """
    result = suite(source)
    result.assert_outcomes(failed=1)
    result.stdout.no_fnmatch_line("*assert made ==*E*")
    assert "asyncio's own order, except 1 choice:" in section(result)


def test_a_stored_failure_that_fails_still_is_told_as_such(cli):
    cli("explore", "program.py:race")
    (path,) = stored()
    status, out, _ = cli("explore", "program.py:race")
    assert status == 1
    assert f"the stored failure {path} fails still" in out
    assert stored() == [path]
