"""Fixtures made anew for every run, in pytest's own order, whether sync or async.

pytest itself resolves them; this file says which of them all runs share, stands in for async fixture functions, and
undoes after a run what the run set up.

What is not public API of pytest is used here and nowhere else: ``SetupState.stack`` (the finalizers of a test),
``FixtureRequest._fixture_defs``, ``FixtureDef.cached_result``/``func``/``_finalizers``,
``Function._request``/``_fixtureinfo``, ``resolve_fixture_function`` and ``tmppath_result_key``.  Seen on pytest 8.0
to 9.2; ``tests/test_pytest_plugin_fixtures.py`` guards them.
"""

from __future__ import annotations

import asyncio
import inspect
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.fixtures import FixtureDef, SubRequest, resolve_fixture_function
from _pytest.scope import Scope
from _pytest.tmpdir import tmppath_result_key

from vtloop.pytest_main import MainTask

__all__ = ["Fixtures", "is_async", "note_broken"]

_MADE_BY_RUN: Any = SimpleNamespace(scope="run", _scope=Scope.Session)


def is_async(function: object) -> bool:
    """Whether a fixture function is a coroutine function or an async generator function."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


def note_broken(definition: FixtureDef[Any], request: SubRequest, error: BaseException) -> None:
    """Let pytest finish a fixture whose set-up a cancellation or Ctrl-C ended: it knows of exceptions only."""
    if definition.cached_result is None:
        definition.cached_result = (None, definition.cache_key(request), (error, error.__traceback__))


class Fixtures:
    """The fixtures of one test: what is kept between its runs, and what every run makes anew.

    Kept are fixtures of wider scope than a function.  An async fixture of wider scope, and what depends on it, is
    made anew for every run all the same: it lives on a loop, and every run has its own.

    Args:
        item: The test.
        fresh: ``"all"``, or ``"async"`` to keep function-scoped sync fixtures that need no async one.
    """

    def __init__(self, item: pytest.Function, fresh: str) -> None:
        self._item: Any = item
        self._fresh = fresh
        self._async: dict[str, bool] = {}
        self._wide: list[tuple[FixtureDef[Any], SubRequest]] = []
        self._aside: list[tuple[FixtureDef[Any], Any, list[Any]]] = []
        self._kept: dict[str, Any] = {}
        self.main: MainTask | None = None

    def set_up_kept(self) -> None:
        """Make what all runs share: pytest's set-up phase."""
        item = self._item
        for name in item.fixturenames:
            if name not in item.funcargs and self._is_kept(name):
                item.funcargs[name] = item._request.getfixturevalue(name)
        self._kept = dict(item.funcargs)

    def announce(self, on: bool) -> None:
        """Tell Hypothesis, before a test under ``@given``, that fixtures yet to be made are none of its worries.

        It looks for function-scoped fixtures, because elsewhere they last for all examples.
        """
        known = self._item._request._fixture_defs
        for name in self._item.fixturenames:
            if on and name not in known and name not in self._kept:
                known[name] = _MADE_BY_RUN
            elif not on and known.get(name) is _MADE_BY_RUN:
                del known[name]

    def run(self, main: MainTask, body: Callable[[dict[str, Any]], Any]) -> Any:
        """Make the fixtures of one run, give ``body`` its arguments, and tear down again whatever happens."""
        __tracebackhide__ = True
        item = self._item
        finalizers = item.session._setupstate.stack[item][0]
        kept = len(finalizers)
        self.main = main
        self._set_aside()
        error: BaseException | None = None
        try:
            item.funcargs.clear()
            item.funcargs.update(self._kept)
            for name in item.fixturenames:
                if name not in item.funcargs:
                    item.funcargs[name] = item._request.getfixturevalue(name)
            value = body({name: item.funcargs[name] for name in item._fixtureinfo.argnames})
        except BaseException as exc:
            error = exc
        item.stash.setdefault(tmppath_result_key, {})["call"] = error is None
        failed = self._tear_down(finalizers, kept)
        self.main = None
        error = _merged(error, failed)
        if error is not None:
            raise error
        return value

    def drop_folder(self) -> None:
        """Remove the ``tmp_path`` of a run that passed: a thousand runs would leave a thousand folders.

        Not one that the test went into and did not leave: without a working folder the next run could do nothing.
        """
        folder = self._last_folder
        if folder is None:
            return
        with suppress(OSError):  # the working folder is gone already
            here = Path.cwd()
            if folder not in (here, *here.parents):
                shutil.rmtree(folder, ignore_errors=True)

    _last_folder: Any = None

    def _tear_down(self, finalizers: list[Callable[[], object]], kept: int) -> list[BaseException]:
        item = self._item
        failed: list[BaseException] = []

        def attempt(finalizer: Callable[[], object]) -> None:
            try:
                finalizer()
            except BaseException as exc:
                failed.append(exc)

        self._last_folder = item.funcargs.get("tmp_path") if "tmp_path" not in self._kept else None
        while len(finalizers) > kept:
            attempt(finalizers.pop())
        for definition, request in reversed(self._wide):
            attempt(lambda definition=definition, request=request: definition.finish(request))  # type: ignore[misc]
        self._wide.clear()
        item.funcargs.clear()
        item.funcargs.update(self._kept)
        made = item._request._fixture_defs
        places = getattr(item._request, "_arg2index", {})  # pytest 8.0 and 8.1 count requests of a name there
        for name in [name for name, definition in made.items() if definition.cached_result is None]:
            del made[name]
            places.pop(name, None)
        for definition, cached, ends in self._aside:
            definition.cached_result = cached
            definition._finalizers.extend(ends)
        self._aside.clear()
        return failed

    def _set_aside(self) -> None:
        """Wider async fixtures that another plugin has made for other tests live on a foreign loop: ours come anew."""
        for name, definitions in self._item._fixtureinfo.name2fixturedefs.items():
            if self._needs_loop(name):
                for definition in definitions:
                    if definition.scope != "function" and definition.cached_result is not None:
                        self._aside.append((definition, definition.cached_result, list(definition._finalizers)))
                        definition.cached_result = None
                        definition._finalizers.clear()

    def replacement(self, definition: FixtureDef[Any], request: SubRequest) -> Callable[..., Any] | None:
        """What pytest is to call in place of an async fixture function; None for a sync one.

        Raises:
            UsageError: The fixture was asked for where no run is, or while its loop runs.
        """
        if not is_async(definition.func):
            return None
        if self.main is None:
            raise pytest.UsageError(
                f"the async fixture {definition.argname!r} is needed before the run of {self._item.nodeid} begins; "
                "name it as an argument of the fixture that asks for it by request.getfixturevalue()"
            )
        if asyncio._get_running_loop() is not None:
            raise pytest.UsageError(
                f"the async fixture {definition.argname!r} cannot be made by request.getfixturevalue() while the loop "
                "runs; name it as an argument of the test or fixture"
            )
        if definition.scope != "function":
            self._wide.append((definition, request))
        return self.main.sync_version(resolve_fixture_function(definition, request))

    def _is_kept(self, name: str) -> bool:
        definitions = self._item._fixtureinfo.name2fixturedefs.get(name)
        if not definitions:
            return True  # "request", or a name that pytest is about to refuse
        if self._needs_loop(name):
            return False
        definition = definitions[-1]
        if definition.func.__name__ == "get_direct_param_fixture_func":
            return True  # a parametrized argument, not a fixture
        return definition.scope != "function" or self._fresh == "async"

    def _needs_loop(self, name: str) -> bool:
        """Whether a fixture of this name is async or depends on one."""
        known = self._async.get(name)
        if known is None:
            self._async[name] = False  # a fixture that overrides one of its own name asks for itself
            definitions = self._item._fixtureinfo.name2fixturedefs.get(name) or ()
            known = any(
                is_async(definition.func) or any(self._needs_loop(other) for other in definition.argnames)
                for definition in definitions
            )
            self._async[name] = known
        return known


def _merged(error: BaseException | None, failed: list[BaseException]) -> BaseException | None:
    """What a run failed with: the test's error first, unless it is only the cancellation that a teardown explains."""
    failed = [exc for exc in failed if exc is not error]
    if not failed:
        return error
    if error is None or isinstance(error, asyncio.CancelledError):
        if len(failed) > 1:
            return BaseExceptionGroup("several fixtures failed in teardown", failed)
        return failed[0]
    for exc in failed:
        error.add_note(f"a fixture also failed in teardown: {type(exc).__name__}: {exc}")
    return error
