"""What pytest prints about a failing test of ours: its own frames, and one section that ends in a command.

Called by the item when its report is made.  It must never run anything.
"""

from __future__ import annotations

import asyncio
import bdb
import os
import shlex
import threading
import unittest
from concurrent.futures import thread
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import _pytest
import pluggy
import pytest
from _pytest._code.code import Traceback
from _pytest.outcomes import Exit, Skipped, XFailed

from vtloop.errors import VtloopError
from vtloop.finding import Failure
from vtloop.store import Store
from vtloop.warned import Warned

__all__ = ["PASSED_ON", "Account", "describe", "own_frames", "quoted_id", "replay_command", "test_id"]

PASSED_ON = (Exit, Skipped, XFailed, unittest.SkipTest, bdb.BdbQuit, KeyboardInterrupt, SystemExit)
"""What ends a test at once and is no finding, in whichever run it comes."""

LONGEST_SECTION = 12

_FOLDERS = (asyncio.__file__, _pytest.__file__, pluggy.__file__, os.path.abspath(__file__))
_HIDDEN = (*(os.path.dirname(file) + os.sep for file in _FOLDERS if file), threading.__file__, thread.__file__)


@dataclass(slots=True)
class Account:
    """What came of the runs of one test.

    Attributes:
        runs: How many were made.
        failure: The failure found, if any.
        notes: What became of a stored failure.
        replayed: Whether this was a replay that the user asked for.
        warnings: What the runs did not fail with and somebody should look at.
    """

    runs: int = 0
    failure: Failure | None = None
    notes: list[str] = field(default_factory=list)
    replayed: bool = False
    warnings: list[Warned] = field(default_factory=list)


def own_frames(item: pytest.Item, excinfo: pytest.ExceptionInfo[BaseException]) -> Traceback:
    """The program's own frames: those of asyncio, vtloop and pytest are left out where others remain."""
    traceback = excinfo.traceback
    if item.config.getoption("fulltrace", False):
        return traceback
    # Other asyncio plugins stand between pytest and a fixture, too.
    own = [e for e in traceback if not str(e.path).startswith(_HIDDEN) and e.name != "pytest_fixture_setup"]
    shown = Traceback(own).filter(excinfo)
    if not shown and not isinstance(excinfo.value, BaseExceptionGroup):  # the members of a group have their own
        short = isinstance(excinfo.value, VtloopError)
        shown = Traceback(entry.with_repr_style("short") if short else entry for entry in traceback[-1:])
    if item.config.getoption("tbstyle", "auto") == "auto" and len(shown) > 2:
        shown = Traceback([shown[0], *(entry.with_repr_style("short") for entry in shown[1:-1]), shown[-1]])
    return shown


def replay_command(item: pytest.Item, trace: str) -> str:
    """The command that plays a run of ``item`` back, for the folder in which pytest was called."""
    return f"pytest {quoted_id(item)} --vtloop-replay {trace}"


def test_id(item: pytest.Item) -> str:
    """The node id by which a test is stored and called; pytest-xdist appends its group to it."""
    groups = {str(mark.args[0] if mark.args else mark.kwargs.get("name")) for mark in item.iter_markers("xdist_group")}
    return item.nodeid.removesuffix(f"@{'_'.join(sorted(groups))}") if groups else item.nodeid


def quoted_id(item: pytest.Item) -> str:
    """The node id of ``item`` for the folder in which pytest was called, as one types it into a shell."""
    path, colons, rest = test_id(item).partition("::")
    here, root = item.config.invocation_params.dir, item.config.rootpath
    if here != root or not (root / path).exists():  # a --rootdir elsewhere: the id is of no folder then
        path = os.path.relpath(item.path, here).replace(os.sep, "/")
    node = f"{path}{colons}{rest}"
    return shlex.quote(node) if "'" in node else f"'{node}'"


def describe(
    report: pytest.TestReport, error: BaseException, item: Any, account: Account, store: Store | None, again: str
) -> list[tuple[str, object]]:
    """Add the section to the report of a failed test, and store the failure; gives the properties to tell others.

    Args:
        report: The report of the failed call.
        error: What the test failed with.
        item: The test.
        account: What came of its runs.
        store: Where its failure is kept; None for nowhere.
        again: The flags that make the same runs again.
    """
    failure = account.failure
    if failure is None or isinstance(error, PASSED_ON):
        if isinstance(error, VtloopError) and not account.replayed:
            _add_section(report, item, [f"pytest {quoted_id(item)} {again}".rstrip()])
        return []
    told: list[tuple[str, object]] = [("vtloop_seed", failure.seed), ("vtloop_token", failure.token)]
    path = store.save(test_id(item), failure.trace) if store is not None else None
    if path is not None:
        told.append(("vtloop_stored", path.name))
        if failure.command is None:
            failure.command = replay_command(item, shlex.quote(_shown(path, item)))
    _add_section(report, item, _lines(failure))
    return [(name, value) for name, value in told if value is not None]


def _lines(failure: Failure) -> list[str]:
    lines = [line for line in failure.summary()[1:] if not line.startswith("replay: ")]
    if isinstance(failure.error, VtloopError):
        lines = lines[1:]  # its report, above, has the rest
    return [*lines[: LONGEST_SECTION - 1], failure.command] if failure.command is not None else lines


def _add_section(report: pytest.TestReport, item: pytest.Item, lines: list[str]) -> None:
    text = "\n".join(lines)
    details: Any = report.longrepr
    if item.config.getoption("showcapture", "all") == "all" or not hasattr(details, "addsection"):
        report.sections.append(("vtloop", text))
    else:
        details.addsection("vtloop", text)  # pytest leaves the sections of the report itself out then


def _shown(path: Path, item: pytest.Item) -> str:
    here = item.config.invocation_params.dir
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
