"""A pytest test as a target: pytest runs it in a process of its own, with our plugin and its flags.

Used by the command line.  It must never import pytest: the process that reads the command line has vtloop loaded
already, which pytest would want to load itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any
from xml.etree import ElementTree

from vtloop.console import Console
from vtloop.errors import ReplayError, UsageError

__all__ = ["pytest_words", "run_pytest"]

_FLAGS = ("seed", "scheduler", "interleave")
"""What has a flag of its own; everything else is a ``--vtloop-option``."""

_STATUS = {0: 0, 1: 1, 130: 130}
"""pytest's exit status and ours; the others (interrupted, internal error, usage, no tests) are 2."""

_MISFIT = f"{ReplayError.__module__}.{ReplayError.__name__}"


def pytest_words(
    nodeid: str, runs: int = 1, given: Mapping[str, Any] | None = None, trace: str | None = None
) -> list[str]:
    """The arguments for pytest: the test, and what the plugin is to do with it."""
    words = [nodeid]
    plugins = entry_points(group="pytest11")
    if not any(point.value == "vtloop.pytest_plugin" for point in plugins):
        words += ["-p", "vtloop.pytest_plugin"]
    if trace is not None:
        return [*words, "--vtloop-replay", trace]
    words += ["--vtloop", "--vtloop-runs", str(runs)]
    for name, value in (given or {}).items():
        if name in _FLAGS:
            words += [f"--vtloop-{name}", str(value)]
        else:
            words += ["--vtloop-option", f"{name}={value!r}"]
    return words


def run_pytest(
    console: Console,
    nodeid: str,
    *,
    runs: int,
    given: Mapping[str, Any],
    trace: str | None = None,
    debugger: bool = False,
    until: int | None = None,
) -> int:
    """Let pytest run the test; its exit status as ours.

    Raises:
        UsageError: pytest is not installed.
    """
    if find_spec("pytest") is None:
        raise UsageError(f"target {nodeid!r} is a pytest test, and pytest is not installed here")
    words = pytest_words(nodeid, runs, given, trace) + ["--pdb"] * debugger
    words += ["--vtloop-until", str(until)] if until is not None else []
    with tempfile.TemporaryDirectory(prefix="vtloop-") as folder:
        results = os.path.join(folder, "results.xml")
        status = _pytest(console, words if trace is None else [*words, f"--junitxml={results}"])
        found = _STATUS.get(status, 2)
        if found == 1 and trace is not None and _misfit(results):
            found = 3
    console.data({"command": "pytest", "target": nodeid, "arguments": words, "pytest_status": status, "status": found})
    return found


def _pytest(console: Console, words: list[str]) -> int:
    # Standard output belongs to the JSON document.
    out = sys.stderr if console.json else None
    with subprocess.Popen([sys.executable, "-m", "pytest", *words], stdout=out) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.wait()  # the terminal sends Ctrl-C to pytest as well: it reports and ends
            raise


def _misfit(results: str) -> bool:
    """Whether the test failed because the trace does not fit it: pytest's exit status does not tell, its results do."""
    try:
        failures = list(ElementTree.parse(results).iter("failure"))
    except (OSError, ElementTree.ParseError):
        return False
    return any(failure.get("message", "").startswith(_MISFIT) for failure in failures)
