"""The pytest plugin: which tests are ours, their options, their reports.

Loaded by pytest through the entry point ``vtloop``.  Tests with ``@pytest.mark.vtloop`` run on virtual loops, and with
``--vtloop`` every async test does; all others, whatever plugin they belong to, are left as they are.  Hooks only: what
an item does is in ``pytest_item``, what a run's fixtures are in ``pytest_fixtures``, options in ``pytest_settings``.

The plugin must not implement pytest-asyncio's loop-factory hook: that would take every suite over.  A suite that wants
its pytest-asyncio tests on a virtual loop does so in its ``conftest.py``::

    def pytest_asyncio_loop_factories(config, item):
        return {"vtloop": vtloop.loop_factory()}
"""

from __future__ import annotations

import asyncio
import functools
import unittest
from collections.abc import Generator, Iterator, Sequence
from contextlib import suppress
from typing import Any

import pytest

from vtloop.api import loop_factory
from vtloop.blocking_buster import MISSING, is_installed
from vtloop.errors import UsageError, VtloopError
from vtloop.loop import EventLoop
from vtloop.pytest_fixtures import note_broken
from vtloop.pytest_item import VtloopFunction, inner_test, is_async_test, plain_version
from vtloop.pytest_report import quoted_id
from vtloop.pytest_settings import Settings, add_options, drawn_seed, from_command_line, settings_of
from vtloop.store import FOLDER, Store
from vtloop.trace import Trace, read

_REPLAY = pytest.StashKey[Trace]()

_MARKERS = (
    "vtloop(runs=1, seed=None, scheduler=None, interleave=None, exact_time=None, shrink=True, fresh='all', **options): "
    "run this async test on a virtual-time loop, `runs` times, each in another order.",
    "no_vtloop: leave this test alone under --vtloop.",
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """Register flags and ini keys."""
    add_options(parser)


def pytest_configure(config: pytest.Config) -> None:
    """Register the markers; refuse options that no test could use."""
    for line in _MARKERS:
        config.addinivalue_line("markers", line)
    drawn = drawn_seed(config)
    try:
        flags, ini = from_command_line(config)
        Settings.of(flags, {}, ini, drawn=drawn)
        if config.option.vtloop_replay is not None:
            config.stash[_REPLAY] = read(config.option.vtloop_replay)
        until = config.option.vtloop_until
        if until is not None and (until < 1 or config.option.vtloop_replay is None):
            raise UsageError(f"--vtloop-until takes the number of a step of a --vtloop-replay, 1 or more, got {until}")
    except UsageError as exc:
        raise pytest.UsageError(f"vtloop: {exc}") from None


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tell a worker of pytest-xdist the seed that was drawn."""
    node.workerinput["vtloop_drawn"] = drawn_seed(node.config)


def pytest_report_header(config: pytest.Config) -> list[str]:
    """Say which seed was drawn, and, where it may matter, what is not seen."""
    flags, ini = from_command_line(config)
    lines = []
    if flags.get("seed", ini.get("seed")) == "random":
        seed = drawn_seed(config)
        lines.append(f"vtloop: seed {seed}, drawn for this run (again: --vtloop-seed {seed})")
    minded = flags.get("blocking", ini.get("blocking")) != "allow"
    shown = config.option.vtloop or config.getini("vtloop") or config.get_verbosity() > 0
    if shown and minded and not is_installed():
        lines.append(f"vtloop: {MISSING}")
    return lines


# -- which tests are ours -----------------------------------------------------------------------------------------


@pytest.hookimpl(tryfirst=True)
def pytest_pycollect_makeitem(collector: pytest.Module | pytest.Class, name: str, obj: object) -> Any:
    """Make the items of a marked function before any other asyncio plugin sees it."""
    if not collector.istestfunction(obj, name) or _belongs_to_unittest(collector):
        return None
    function: Any = getattr(obj, "__func__", obj)
    own = [mark for mark in getattr(function, "pytestmark", ()) if getattr(mark, "name", None) == "vtloop"]
    if not own and collector.get_closest_marker("vtloop") is None:
        return None
    if not is_async_test(function):
        if own:
            raise collector.CollectError(_not_async(f"{collector.nodeid}::{name}"))
        return None
    if not hasattr(collector, "_genfunctions"):
        return None  # taken over after collection, then
    _forget_anyio(function)
    hidden = function if hasattr(function, "hypothesis") else plain_version(function)
    made = list(collector._genfunctions(name, hidden))
    for item in made:
        if _is_ours(item):
            try:
                _take_over(item)
            except UsageError as exc:
                raise collector.CollectError(f"{item.nodeid}: {exc}") from None
    return made


def _forget_anyio(function: Any) -> None:
    """Undo anyio's auto mode, which asks for its backends before it is known whose test this is."""
    marks = getattr(function, "pytestmark", None)
    if marks and "anyio_backend" not in _argument_names(function):
        function.pytestmark = [
            mark for mark in marks if not (mark.name == "usefixtures" and mark.args == ("anyio_backend",))
        ]


def _argument_names(function: Any) -> tuple[str, ...]:
    code = getattr(function, "__code__", None)
    return code.co_varnames[: code.co_argcount + code.co_kwonlyargcount] if code is not None else ()


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Take over what was marked late, and every async test under ``--vtloop``; select what is to be replayed."""
    everything = config.option.vtloop or config.getini("vtloop") or _REPLAY in config.stash
    for item in items:
        if isinstance(item, VtloopFunction) or not isinstance(item, pytest.Function):
            continue
        try:
            if item.get_closest_marker("vtloop") is not None or everything:
                if _is_ours(item):
                    _take_over(item)
                elif any(mark.name == "vtloop" for mark in item.own_markers) and not is_async_test(item.obj):
                    raise UsageError(_not_async(item.nodeid))
        except UsageError as exc:
            _refuse(config, [item], f"{item.nodeid}: {exc}")
    if _REPLAY in config.stash:
        _select_replayed(config, items)


def _select_replayed(config: pytest.Config, items: list[pytest.Item]) -> None:
    """A replay is of one test: the one that the trace names, or the only one selected."""
    target = config.stash[_REPLAY].target
    ours = [item for item in items if isinstance(item, VtloopFunction)]
    named = [item for item in ours if item.nodeid == target]
    chosen = named or ours
    if len(chosen) > 1:
        sentence = (
            f"vtloop: --vtloop-replay plays one test back, and {len(chosen)} are selected; name one, as in "
            f"pytest {quoted_id(chosen[0])} --vtloop-replay ..."
        )
        _refuse(config, chosen, sentence)
    elif chosen and config.option.vtloop_until is not None and inner_test(chosen[0].real) is not None:
        _refuse(config, chosen, "vtloop: --vtloop-until stops in one run; below @given each example has one")
    elif items and not chosen:
        _refuse(config, items, "vtloop: --vtloop-replay plays an async test back, and none is selected")
    elif chosen and len(chosen) < len(items):
        config.hook.pytest_deselected(items=[item for item in items if item is not chosen[0]])
        items[:] = chosen


def _refuse(config: pytest.Config, items: Sequence[pytest.Item], sentence: str) -> None:
    """A usage error; in a worker of pytest-xdist, which would take it for a crash, a failure of the tests."""
    if not hasattr(config, "workerinput"):
        raise pytest.UsageError(sentence)
    for item in items:
        item.setup = lambda: None  # type: ignore[method-assign]
        item.runtest = functools.partial(pytest.fail, sentence, pytrace=False)  # type: ignore[method-assign]


def _is_ours(item: pytest.Function) -> bool:
    """Whether an item is an async test that runs on our loop, if it is to run on one."""
    function = item.real if isinstance(item, VtloopFunction) else item.obj
    if not is_async_test(function) or _belongs_to_unittest(item) or item.get_closest_marker("no_vtloop") is not None:
        return False
    backend = getattr(getattr(item, "callspec", None), "params", {}).get("anyio_backend")
    backend = backend[0] if isinstance(backend, tuple) else backend
    return backend in (None, "asyncio") and item.get_closest_marker("trio") is None


def _take_over(item: pytest.Function) -> None:
    replays = item.config.stash.get(_REPLAY, None)
    VtloopFunction.take_over(item, settings_of(item), Store(item.config.rootpath), replays)


def _belongs_to_unittest(node: Any) -> bool:
    owner = node.getparent(pytest.Class)
    return owner is not None and isinstance(owner.obj, type) and issubclass(owner.obj, unittest.TestCase)


def _not_async(name: str) -> str:
    return f"{name}: @pytest.mark.vtloop needs an async def; a plain test gets a loop from the fixture vt_loop"


# -- running and reporting ----------------------------------------------------------------------------------------


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_fixture_setup(fixturedef: Any, request: Any) -> Generator[None, Any, Any]:
    """Make async fixtures of our tests on the loop of the run; outermost, so that other plugins see plain ones."""
    item = request._pyfuncitem
    if not isinstance(item, VtloopFunction):
        return (yield)
    function = fixturedef.func
    fixturedef.func = item.fixture_function(fixturedef, request) or function
    try:
        return (yield)
    except BaseException as exc:
        note_broken(fixturedef, request, exc)
        raise
    finally:
        fixturedef.func = function


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Outermost, so that it is known already whether a failure was expected."""
    report = yield
    if isinstance(item, VtloopFunction):
        item.finish_report(report, call)
    return report


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_teardown(item: pytest.Item) -> None:
    """The debugger that was held back during the report serves again."""
    if isinstance(item, VtloopFunction):
        item.bring_debugger_back()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """One line on how many runs there were, and a line for every stored failure that went."""
    runs: dict[str, int] = {}
    stored: set[str] = set()
    notes: list[str] = []
    for report in (report for reports in terminalreporter.stats.values() for report in reports):
        if getattr(report, "when", None) != "teardown":
            continue
        told = dict(report.user_properties)
        if "vtloop_runs" in told:
            runs[report.nodeid] = runs.get(report.nodeid, 0) + told["vtloop_runs"]
            (stored.add if "vtloop_stored" in told else stored.discard)(report.nodeid)
        notes += [text for name, text in report.user_properties if name == "vtloop_note"]
    for note in notes:
        terminalreporter.write_line(f"vtloop: {note}")
    if runs and (config.getoption("verbose") >= 0 or stored):
        kept = f", {_count(len(stored), 'failure')} stored in {FOLDER}/" if stored else ""
        terminalreporter.write_line(f"vtloop: {_count(len(runs), 'test')}, {_count(sum(runs.values()), 'run')}{kept}")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"


# -- the fixture --------------------------------------------------------------------------------------------------


@pytest.fixture
def vt_loop(request: pytest.FixtureRequest) -> Iterator[EventLoop]:
    """A virtual-time loop for plain tests: ``vt_loop.create_task(...)``, ``vt_loop.advance(5)``; closed afterwards."""
    if isinstance(request.node, VtloopFunction):
        raise pytest.UsageError("vt_loop is for plain tests; an async test has its loop: await vtloop.advance(...)")
    loop = loop_factory()()
    try:
        yield loop
        _cancel_all(loop)
    finally:
        loop.close()


def _cancel_all(loop: EventLoop) -> None:
    """End what a test left behind, as ``asyncio.run`` does."""
    if loop.is_closed():
        return
    left = loop._tasks.pending()
    for task in left:
        task.cancel()
    with suppress(VtloopError):
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
