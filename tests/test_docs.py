"""The README and the pages of ``docs/``: everything they show is run, and every name they list is held to the code."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import inspect
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import doc_blocks
import pytest
from doc_blocks import PAGES, ROOT

import vtloop
from vtloop import cli, errors, pytest_plugin
from vtloop.options import FACTORY_DEFAULTS, OPTION_NAMES, RUN_DEFAULTS

REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
EXAMPLES = sorted((ROOT / "docs" / "examples").glob("*.py"))


def section(title: str) -> str:
    """A section of the reference, without its headline."""
    found = re.search(rf"^## {title}\n(.*?)(?=^## |\Z)", REFERENCE, re.MULTILINE | re.DOTALL)
    assert found is not None, title
    return found[1]


def rows(text: str) -> list[list[str]]:
    """The rows of the tables in ``text``, without headlines."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    found = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]
    ruled = [n for n, row in enumerate(found) if set(row[0]) <= {"-"} and row[0]]
    return [row for n, row in enumerate(found) if n not in ruled and n + 1 not in ruled]


def code(cell: str) -> list[str]:
    """What stands in backticks."""
    return [text.replace("\\|", "|") for text in re.findall(r"`([^`]+)`", cell)]


# -- what is shown is run -----------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_blocks_of_a_page_print_what_it_says(page: Path, tmp_path: Path) -> None:
    place = doc_blocks.Place(tmp_path, page)
    wrong = [problem for one in doc_blocks.shown(page, place) for problem in doc_blocks.differences(one, tmp_path)]
    assert not wrong, "\n\n".join(wrong) + "\n\nwrite the pages anew: python tests/doc_blocks.py --write"


@pytest.mark.slow
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda example: example.name)
def test_example_runs_as_a_program(example: Path, tmp_path: Path) -> None:
    """On virtual time, in asyncio's own order: only the hangs show."""
    place = doc_blocks.Place(tmp_path, example)
    name = str(example.relative_to(ROOT))
    if example.name.startswith("test_"):
        printed, status = place.run("pytest", "-q", name)
        assert status == int(example.stem == "test_pool"), printed
        return
    if example.stem == "on_dask":
        pytest.importorskip("distributed", reason="the extra 'dask' is not installed")
        printed, status = place.run("python", name)
        assert (status, printed.splitlines()[-1]) == (0, "no failure found"), printed
        return
    hangs = example.stem in ("abba_deadlock", "heartbeat_service")
    printed, status = place.run("vtloop", "run", name, "--daemons", "heartbeat")
    assert status == int(hangs), printed
    assert ("DeadlockError" in printed) == hangs


EXPLORED = {
    "abba_deadlock": "DeadlockError",
    "cache_stampede": "AssertionError: 2 queries for one key",
    "evicted_cache": "KeyError: 'user'",
    "lost_wakeup": "DeadlockError",
    "timeout_race": "AssertionError: the lock is still taken",
}


@pytest.mark.parametrize("name", EXPLORED)
def test_example_fails_when_it_is_explored_and_its_command_plays_it_back(name: str, tmp_path: Path) -> None:
    place = doc_blocks.Place(tmp_path, ROOT / "docs")
    printed, status = place.run("vtloop", "explore", f"docs/examples/{name}.py:main")
    assert status == 1
    assert EXPLORED[name] in printed
    command = printed.rstrip().rpartition("\n")[2]
    assert command.startswith("vtloop replay vt1.")
    again, status = place.run("bash", "-c", command)
    assert status == 1
    assert EXPLORED[name] in again
    assert again.rstrip().rpartition("\n")[2] == command


def test_every_example_is_shown_or_listed() -> None:
    assert {path.stem for path in EXAMPLES} == {
        *EXPLORED,
        "heartbeat_service",
        "virtual_time",
        "on_dask",
        "impatient_client",
        "test_backoff",
        "test_pool",
    }


def test_every_program_of_a_stuck_test_is_shown() -> None:
    page = (ROOT / "docs" / "stuck-tests.md").read_text(encoding="utf-8")
    titles = {Path(block.title).name for block in doc_blocks.blocks(page) if block.title is not None}
    assert titles == {path.name for path in (ROOT / "docs" / "examples" / "stuck").glob("*.py")}


# -- the set-up commands ------------------------------------------------------------------------------------------


def setup_commands() -> list[str]:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    return [
        command
        for block in doc_blocks.blocks(page)
        if block.language == "console" and block.info == "setup"
        for command, _ in doc_blocks.commands(block.body)
    ]


def test_there_are_two_set_up_commands_of_one_line_each_and_ci_runs_the_second() -> None:
    run, test = setup_commands()
    assert "\n" not in run + test
    pattern = re.search(r'grep -m 1 -E "([^"]+)" README.md', (ROOT / ".ci" / "run").read_text(encoding="utf-8"))
    assert pattern is not None
    assert re.match(pattern[1].replace("\\\\$", "\\$"), f"$ {test}")
    assert not re.match(pattern[1].replace("\\\\$", "\\$"), f"$ {run}")
    assert os.access(ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.slow
def test_set_up_commands_work_in_a_fresh_clone(tmp_path: Path) -> None:
    """In fresh environments; the second command with one file of tests, because it would run this very test."""
    clone = tmp_path / "clone"
    left_out = shutil.ignore_patterns(
        ".git", ".*_cache", ".ci-env", ".venv*", "build", "*.egg-info", "__pycache__", ".vtloop"
    )
    shutil.copytree(ROOT, clone, ignore=left_out)
    python = tmp_path / "programs" / "python3"
    python.parent.mkdir()
    base = getattr(sys, "_base_executable", sys.executable)
    python.write_text(f'#!/bin/sh\nexec "{base}" "$@"\n')
    python.chmod(0o755)
    dropped = ("PYTEST_", "PYTHON", "COV_", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(dropped)}
    environment |= {"PATH": f"{python.parent}{os.pathsep}{os.environ['PATH']}", "PIP_QUIET": "2"}

    def run(command: str, **more: str) -> tuple[str, int]:
        made = subprocess.run(
            ["bash", "-c", command],
            cwd=clone,
            env=environment | more,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        return made.stdout, made.returncode

    explore, test = setup_commands()
    printed, status = run(explore)
    assert status == 1, printed
    assert "KeyError: 'user'" in printed
    replay = printed.rstrip().rpartition("\n")[2]
    again, status = run(f".venv/bin/{replay}")
    assert status == 1, again
    assert "KeyError: 'user'" in again
    printed, status = run(test, PYTEST_ADDOPTS="tests/test_clock.py")
    assert status == 0, printed
    assert re.search(r"=+ \d+ passed in ", printed), printed


# -- the reference lists what there is ----------------------------------------------------------------------------


def headed() -> dict[str, str]:
    """Names with a headline of their own, and what stands behind them."""
    return {found[1]: found[2] for found in re.finditer(r"^### `([A-Za-z_]+)([^`]*)`$", REFERENCE, re.MULTILINE)}


def test_reference_lists_every_public_name_and_no_other() -> None:
    listed = set(headed()) | {code(row[0])[0] for row in rows(section("Errors"))}
    assert listed == set(vtloop.__all__)


def test_reference_gives_the_signatures_of_the_code() -> None:
    for name, said in headed().items():
        thing = getattr(vtloop, name)
        if name in ("Outcome", "Exploration", "Failure", "Trace"):
            assert not said
            continue
        signature = inspect.signature(thing)
        plain = signature.replace(
            parameters=[p.replace(annotation=p.empty) for p in signature.parameters.values()],
            return_annotation=signature.empty,
        )
        assert said == str(plain), name


def test_reference_lists_errors_with_their_bases() -> None:
    for name, base, _ in rows(section("Errors")):
        kind = getattr(vtloop, code(name)[0])
        assert kind.__bases__[0].__name__ == code(base)[0]
    assert "reserved" not in section("Errors"), "all are raised: say when"
    public = {name for name in errors.__all__ if name not in ("StepCut", "allowed")}
    assert public == {code(row[0])[0] for row in rows(section("Errors"))}


@pytest.mark.parametrize("kind", [vtloop.Exploration, vtloop.Failure], ids=lambda kind: kind.__name__)
def test_reference_lists_the_attributes_of_results(kind: Any) -> None:
    listed = re.findall(rf"^\| `{kind.__name__}\.(\w+)(\(\))?`", section("Results"), re.MULTILINE)
    there = {name for name in dir(kind) if not name.startswith("_")} | {f.name for f in dataclasses.fields(kind)}
    assert {name for name, _ in listed} == there
    for name, called in listed:
        assert bool(called) == inspect.isfunction(getattr(kind, name, None)), name


def test_reference_lists_the_options_with_their_defaults() -> None:
    table = rows(section("Options"))
    assert [code(row[0])[0] for row in table] == list(OPTION_NAMES)
    for row in table:
        name = code(row[0])[0]
        assert code(row[1]) == [repr(getattr(RUN_DEFAULTS, name))], name
        assert code(row[2]) == [repr(getattr(FACTORY_DEFAULTS, name))], name


def test_reference_lists_the_methods_that_asyncio_loops_do_not_have() -> None:
    listed = set(re.findall(r"^\| `loop\.(\w+)\(", section("The loop"), re.MULTILINE))
    methods = {name for name in dir(vtloop.EventLoop) if callable(getattr(vtloop.EventLoop, name))}
    own = {name for name in methods if not name.startswith("_") and not hasattr(asyncio.BaseEventLoop, name)}
    assert listed - own == {"time"}
    # Of use to other parts of vtloop only.
    inner = {"calm", "own_scheduler", "use_scheduler", "with_options", "has_asyncgens", "has_calls", "choose"}
    inner |= {"recent_events", "may_cancel"}
    assert own - listed <= inner, own - listed - inner


def subparsers() -> dict[str, argparse.ArgumentParser]:
    action = next(a for a in cli._parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(action.choices)


def test_reference_lists_every_command_and_flag_and_no_other() -> None:
    table = rows(section("Command line"))
    parts = subparsers()
    commands = [code(row[0])[0] for row in table if code(row[0]) and code(row[0])[0].startswith("vtloop ")]
    assert [command.split()[1] for command in commands] == list(parts)
    flags: dict[str, set[str]] = {}
    for name, part in parts.items():
        for action in part._actions:
            for flag in action.option_strings:
                if action.help != argparse.SUPPRESS and action.dest != "help":
                    flags.setdefault(flag, set()).add(name)
    listed: dict[str, set[str]] = {}
    for row in table:
        for text in code(row[0]):
            if text.startswith("-") and text.split()[0] not in ("--", "-h", "--help", "--version"):
                listed[text.split()[0]] = set(parts) if row[1] == "all" else set(row[1].split(", "))
    assert listed == flags


def test_reference_lists_the_exit_statuses() -> None:
    listed = {int(row[0]) for row in rows(section("Command line")) if row[0].isdecimal()}
    assert listed == {cli.OK, cli.FOUND, cli.USAGE, cli.MISFIT, cli.INTERRUPTED}


def test_reference_lists_what_the_pytest_plugin_adds(pytestconfig: pytest.Config) -> None:
    table = rows(section("pytest"))
    flags = {code(row[0])[0].split()[0] for row in table}
    keys = {code(row[1])[0] for row in table if code(row[1])}
    parser = pytestconfig._parser
    options = [option for group in (parser._anonymous, *parser._groups) for option in group.options]
    assert flags == {name for option in options for name in option.names() if name.startswith("--vtloop")}
    assert keys == {name for name in parser._inidict if name.startswith("vtloop")}
    markers = " ".join(pytest_plugin._MARKERS)
    marker = re.search(r"^`@pytest.mark.(vtloop\([^`]*\))`", section("pytest"), re.MULTILINE)
    assert marker is not None
    assert marker[1].replace("\n", " ") in markers
    assert "`@pytest.mark.no_vtloop`" in section("pytest")
    assert "### The fixture `vt_loop`" in section("pytest")


def test_reference_lists_the_keys_of_a_trace_file() -> None:
    failure = vtloop.explore(_failing, runs=1).failure
    assert failure is not None
    body = json.loads(failure.trace.to_json())["trace"]
    assert {code(row[0])[0] for row in rows(section("Traces and tokens"))} == set(body)


async def _failing() -> None:
    raise ValueError


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pages_name_nothing_that_does_not_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for name in re.findall(r"\bvtloop\.([A-Za-z]\w*)\b(?![\w.]*\.json)", re.sub(r"\.vtloop\b", "", text)):
        known = hasattr(vtloop, name) or name in ("errors", "options", "hypothesis")
        assert known or (ROOT / "vtloop" / name).exists(), name
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", text):
        assert target.startswith("https://") or (page.parent / target).exists(), target
    headlines = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    anchors = {re.sub(r"[^\w -]", "", headline).lower().replace(" ", "-") for headline in headlines}
    assert set(re.findall(r"\]\(#([^)]+)\)", text)) <= anchors
    for number, line in enumerate(re.sub(r"(?s)```.*?```", _blank, text).splitlines(), 1):
        assert len(line) <= 120 or line.startswith(("|", "### `")), f"{page.name}:{number} is {len(line)} long"


def _blank(found: re.Match[str]) -> str:
    return "\n" * found[0].count("\n")


@pytest.mark.parametrize("path", [*PAGES, *EXAMPLES], ids=lambda path: path.name)
def test_pages_name_no_place_of_a_machine(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert not re.search(r"/(root|home|tmp|work|usr|Users|opt)/|0x[0-9a-f]{6,}|[A-Z]:\\\\", text)


def test_changelog_has_the_version() -> None:
    text = (ROOT / "docs" / "changelog.md").read_text(encoding="utf-8")
    assert re.search(rf"^## \[{re.escape(vtloop.__version__)}\]", text, re.MULTILINE)
    assert f'version = "{vtloop.__version__}"' in (ROOT / "pyproject.toml").read_text(encoding="utf-8")
