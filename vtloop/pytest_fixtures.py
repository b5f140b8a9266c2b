"""Fixtures made anew for every run, and the task in which the async ones and the test live.

pytest resolves fixtures in plain code; async fixtures and the test belong into one task of the run's loop.  So the
loop runs in pieces: whenever pytest comes to something async, the loop runs until the main task has done that piece,
and stops again.  Sync fixtures therefore see no running loop, may depend on async ones, and everything is set up and
torn down in pytest's own order.

What is not public API of pytest is used here and nowhere else: ``SetupState.stack`` (the finalizers of a test),
``FixtureRequest._fixture_defs``, ``FixtureDef.cached_result``/``func``/``_finalizers``,
``Function._request``/``_fixtureinfo``, ``resolve_fixture_function`` and ``tmppath_result_key``.  Seen on pytest 8.0
to 9.2; ``tests/test_pytest_plugin_fixtures.py`` guards them.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import shutil
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import suppress
from types import SimpleNamespace
from typing import Any

import pytest
from _pytest.fixtures import FixtureDef, SubRequest, resolve_fixture_function
from _pytest.scope import Scope
from _pytest.tmpdir import tmppath_result_key

from vtloop.errors import VtloopError
from vtloop.loop import EventLoop

__all__ = ["Fixtures", "MainTask", "is_async"]

UNWIND_STEPS = 10_000
"""Steps that the main task may take to end after a verdict."""

_MISSING: Any = object()
_MADE_BY_RUN: Any = SimpleNamespace(scope="run", _scope=Scope.Session)


class MainTask:
    """The one task of a run in which its async fixtures and its test run, piece by piece, from outside the loop.

    Args:
        loop: The loop of the run; it must not be running.
        note_end: Keeps what the run came to, before an unwinding adds to it.
        title: What reports call the task's coroutine: the test.
        interact: Called with a failure of the last piece before anything of the run is unwound.
    """

    def __init__(
        self,
        loop: EventLoop,
        note_end: Callable[[], None],
        title: str,
        interact: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._loop = loop
        self._note_end = note_end
        self._title = title
        self._interact = interact
        self._task: asyncio.Task[None] | None = None
        self._context = contextvars.copy_context()
        self._seen = dict(self._context)
        self._piece: Coroutine[Any, Any, Any] | None = None
        self._busy = False
        self._resume: asyncio.Future[None] | None = None
        self._value: Any = None
        self._error: BaseException | None = None
        self._stuck: BaseException | None = None

    def call(self, piece: Coroutine[Any, Any, Any], *, last: bool = False) -> Any:
        """Run ``piece`` in the task; its value, or what it raises, or the verdict that ended it."""
        __tracebackhide__ = True
        if self._stuck is not None:
            piece.close()
            raise self._stuck
        self._piece, self._value, self._error, self._busy = piece, None, None, True
        self._take_over_context()
        if self._task is None or self._task.done():
            serve: Any = self._serve()
            serve.__qualname__ = self._title  # what reports name the task by
            self._task = self._loop.create_task(serve, context=self._context)
        else:
            assert self._resume is not None
            self._resume.set_result(None)
        try:
            self._turn()
            if self._busy:
                raise RuntimeError("Event loop stopped before Future completed.")
        except BaseException as exc:
            if last and self._interact is not None:
                self._interact(exc)
            self._abandon(exc)
            raise
        if self._error is not None:
            error, self._error = self._error, None
            if last and self._interact is not None:
                self._interact(error)
            raise error
        return self._value

    def finish(self) -> None:
        """Let the task end, if it can."""
        if self._task is not None and not self._task.done() and self._stuck is None:
            assert self._resume is not None
            self._busy = True
            self._resume.set_result(None)
            with suppress(VtloopError):
                self._turn()

    def _turn(self) -> None:
        """Let the loop run until the task has done its piece."""
        loop = self._loop
        outer, loop._main = loop._main, self._task
        try:
            loop.run_forever()
        finally:
            loop._main = outer

    async def _serve(self) -> None:
        while self._piece is not None:
            piece, self._piece = self._piece, None
            try:
                self._value = await piece
            except (KeyboardInterrupt, SystemExit):
                raise  # the loop lets these two out at once
            except BaseException as exc:
                self._error = exc
            self._busy = False
            # As run_until_complete does it: what stands ready now, and what that makes ready at once, still runs.
            self._loop.call_soon(self._loop.stop)
            await self._pause()
        self._loop.stop()

    async def _pause(self) -> None:
        """Wait for the next piece; a cancellation that comes meanwhile hits that piece at its first await."""
        cancelled = False
        while not self._busy:
            self._resume = self._loop.create_future()
            try:
                await self._resume
            except asyncio.CancelledError:
                cancelled = True
        task = asyncio.current_task()
        if cancelled and task is not None:
            task.uncancel()
            task.cancel()

    def _abandon(self, error: BaseException) -> None:
        """Cancel the piece that a verdict, Ctrl-C or a stop ended, so that fixtures can still be torn down."""
        assert self._task is not None
        if self._task.done():
            if not self._task.cancelled():
                self._task.exception()  # it is on its way out already
            return
        if not self._busy:
            return
        self._note_end()
        self._loop.calm(UNWIND_STEPS)
        self._task.cancel()
        with suppress(VtloopError):
            self._turn()
        self._error = None
        if self._busy:
            self._stuck = error

    def _take_over_context(self) -> None:
        """Bring context variables that sync fixtures have set since the last piece into the task's context."""
        now = contextvars.copy_context()
        for variable, value in now.items():
            if self._seen.get(variable, _MISSING) is not value:
                self._context.run(variable.set, value)
        self._seen = dict(now)

    def sync_version(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """A plain fixture function that does the async ``function`` in the task."""
        if not inspect.isasyncgenfunction(function):

            def plain(**arguments: Any) -> Any:
                __tracebackhide__ = True
                return self.call(function(**arguments))

            return plain

        def generator(**arguments: Any) -> Iterator[Any]:
            __tracebackhide__ = True
            values = function(**arguments)
            try:
                value = self.call(_first(values))
            except StopAsyncIteration:
                raise _broken(function, "ended without a yield") from None
            yield value
            if not self.call(_end(values)):
                raise _broken(function, "has more than one yield")

        return generator


async def _first(values: AsyncGenerator[Any, None]) -> Any:
    return await values.__anext__()


async def _end(values: AsyncGenerator[Any, None]) -> bool:
    """Run the rest of a fixture; False when it yields again."""
    try:
        await values.__anext__()
    except StopAsyncIteration:
        return True
    await values.aclose()
    return False


def _broken(function: Callable[..., Any], what: str) -> BaseException:
    return pytest.fail.Exception(
        f"the async fixture {getattr(function, '__qualname__', function)} {what}", pytrace=False
    )


def is_async(function: object) -> bool:
    """Whether a fixture function is a coroutine function or an async generator function."""
    return inspect.iscoroutinefunction(function) or inspect.isasyncgenfunction(function)


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
        """Remove the ``tmp_path`` of a run that passed: a thousand runs would leave a thousand folders."""
        folder = self._last_folder
        if folder is not None:
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
