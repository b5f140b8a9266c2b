"""A pytest plugin for the tests of ours: runs a small suite, with no other plugins than those named.

PYTEST_DONT_REWRITE: the tests import from here as well.
"""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parent.parent
PLUGINS = {"vtloop": "vtloop.pytest_plugin", "asyncio": "pytest_asyncio.plugin", "anyio": "anyio.pytest_plugin"}
PLUGINS["xdist"] = "xdist.plugin"

HEAD = """
import asyncio, pytest, vtloop

def on_virtual_time():
    return isinstance(asyncio.get_running_loop(), vtloop.EventLoop)

async def in_order(n=3):
    # Passes in asyncio's own order, fails in most others.
    log, go = [], asyncio.Event()

    async def worker(i):
        await go.wait()
        log.append(i)

    tasks = [asyncio.create_task(worker(i)) for i in range(n)]
    await asyncio.sleep(1)
    go.set()
    await asyncio.gather(*tasks)
    assert log == sorted(log)
"""

Suite = Callable[..., pytest.RunResult]


@pytest.fixture
def suite(pytester: pytest.Pytester, monkeypatch: pytest.MonkeyPatch) -> Suite:
    """``suite(source, *arguments, plugins=(), ini="", apart=False)``: pytest's result; None leaves the files alone."""
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("PYTEST_ADDOPTS", raising=False)

    def run(
        source: str | None, *args: str, plugins: tuple[str, ...] = (), ini: str = "", apart: bool = False
    ) -> pytest.RunResult:
        if source is not None:
            pytester.makepyfile(test_it=HEAD + textwrap.dedent(source))
            scope = "asyncio_default_fixture_loop_scope = function" if "asyncio" in plugins else ""
            pytester.makeini(f"[pytest]\n{scope}\n{textwrap.dedent(ini)}")
        loaded = [word for name in ("vtloop", *plugins) for word in ("-p", PLUGINS[name])]
        runner = pytester.runpytest_subprocess if apart else pytester.runpytest_inprocess
        return runner(*loaded, "-p", "no:cacheprovider", *args)

    return run


def section(result: pytest.RunResult) -> list[str]:
    """The lines of the last section "vtloop", which end in the command."""
    lines = result.stdout.lines
    start = max(i for i, line in enumerate(lines) if line.strip("-_ ") == "vtloop") + 1
    command = next(i for i in range(start, len(lines)) if lines[i].startswith("pytest "))
    return lines[start : command + 1]
