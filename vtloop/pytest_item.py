"""An async test as pytest sees it: an item that looks like a plain function and makes its runs on virtual loops.

Made by the plugin out of pytest's own items, so that ids, parameters and marks stay what they are.  Other asyncio
plugins recognise their tests by coroutine functions; ours shows them a plain one.  It must never print: what there is
to say goes into the report.
"""

from __future__ import annotations

import functools
import inspect
import platform
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from _pytest._code.code import Traceback
from _pytest.logging import caplog_handler_key

from vtloop.diagnosis.leak import traceback_at
from vtloop.errors import ReplayError, VtloopWarning
from vtloop.explaining import explain, tell
from vtloop.explore import Campaign
from vtloop.finding import Failure, failure_from
from vtloop.loop import EventLoop
from vtloop.options import Options
from vtloop.plan import for_an_example
from vtloop.playback import replay_loosely, replay_outcome
from vtloop.pytest_debugger import stopping
from vtloop.pytest_fixtures import Fixtures
from vtloop.pytest_main import MainTask
from vtloop.pytest_report import PASSED_ON, Account, describe, own_frames, replay_command, test_id
from vtloop.pytest_settings import Settings
from vtloop.pytest_stored import StoredFailures
from vtloop.report.telling import hand_over, recorder_for, refuse, story_of, wanted
from vtloop.run import Outcome, execute
from vtloop.store import Store
from vtloop.trace import REPLAY, Trace
from vtloop.warned import Warned, emit_at

__all__ = ["VtloopFunction", "inner_test", "is_async_test", "plain_version"]


def inner_test(function: Any) -> Any:
    """The function below Hypothesis's ``@given``; None for any other function."""
    return function.hypothesis.inner_test if getattr(function, "is_hypothesis_test", False) else None


def is_async_test(function: Any) -> bool:
    """Whether a test function is a coroutine function, or one below ``@given``."""
    function = getattr(function, "__func__", function)
    inner = inner_test(function)
    return inspect.iscoroutinefunction(_unhidden(inner) if inner is not None else function)


def _unhidden(inner: Any) -> Any:
    return getattr(inner, "vtloop_hides", inner)


class VtloopFunction(pytest.Function):
    """A `pytest.Function` turned into ours by `take_over`; it lives as long as pytest's item."""

    settings: Settings
    store: Store
    replays: Trace | None
    account: Account
    _fixtures: Fixtures
    _plain: tuple[Any, Any] = (None, None)
    _interacting = False

    @classmethod
    def take_over(cls, item: pytest.Function, settings: Settings, store: Store, replays: Trace | None) -> None:
        """Make ``item`` ours."""
        item.__class__ = cls
        assert isinstance(item, cls)
        item.settings, item.store, item.replays = settings, store, replays
        item.account = Account()
        function = item.real
        inner = inner_test(function)
        if inner is not None and inspect.iscoroutinefunction(inner):
            function.hypothesis.inner_test = _hidden_inner(inner)

    # -- what pytest and its plugins look at --------------------------------------------------------------------

    @property
    def real(self) -> Any:
        """The test function itself, bound to its instance."""
        return super().obj

    @property
    def obj(self) -> Any:
        """A plain function in place of the coroutine function, for other plugins to see."""
        function = self.real
        if inner_test(function) is not None:
            return function
        if self._plain[0] is not function:
            self._plain = (function, plain_version(function))
        return self._plain[1]

    @obj.setter
    def obj(self, value: Any) -> None:
        self._obj = value

    def setup(self) -> None:
        """Make the fixtures that all runs share; the others belong to the runs."""
        self._fixtures = Fixtures(self, self.settings.fresh)
        self._fixtures.set_up_kept()
        self._fixtures.announce(inner_test(self.real) is not None)

    def fixture_function(self, definition: Any, request: Any) -> Callable[..., Any] | None:
        """What stands in for an async fixture function; None for a sync one."""
        return self._fixtures.replacement(definition, request)

    def _traceback_filter(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Traceback:
        """The program's own frames: those of asyncio, vtloop and pytest hidden where others are left."""
        return own_frames(self, excinfo)

    # -- the runs -----------------------------------------------------------------------------------------------

    def runtest(self) -> None:
        """Make the runs; raise what the first failing one failed with."""
        __tracebackhide__ = True
        self.account = Account()
        # Plugins that repeat a test use the item again.
        self.user_properties[:] = [told for told in self.user_properties if not told[0].startswith("vtloop_")]
        try:
            inner = inner_test(self.real)
            if inner is None:
                self._explore(lambda arguments: self.real(**arguments), stored=True)
            else:
                self._run_given(inner)
        finally:
            self.user_properties.append(("vtloop_runs", self.account.runs))
            self.user_properties += [("vtloop_note", note) for note in self.account.notes]

    def _run_given(self, inner: Any) -> None:
        """Under ``@given``: every example has runs, loops and function-scoped fixtures of its own."""
        __tracebackhide__ = True
        original = inner.vtloop_hides

        def one_example(*args: Any, **kwargs: Any) -> None:
            __tracebackhide__ = True
            # Hypothesis hands on what it was given below: for fixtures of a run, this is where they come in.
            self._explore(lambda arguments: original(*args, **{**kwargs, **arguments}), stored=False)

        names = self._fixtureinfo.argnames
        self._fixtures.announce(False)
        inner.vtloop_runs.append(one_example)
        try:
            self.real(**{name: self.funcargs.get(name) for name in names})
        finally:
            inner.vtloop_runs.pop()

    def _explore(self, body: Callable[[dict[str, Any]], Any], *, stored: bool) -> None:
        __tracebackhide__ = True
        run_once = functools.partial(self._run_once, body, interactive=stored)
        account, plan = self.account, self.settings.plan
        command = self._command
        account.failure, account.warnings = None, []
        known = self._known = None if self.replays is not None or not stored else self._stored_failures()
        if self.replays is not None:
            account.failure = self._replay(self.replays, run_once, exactly=stored)
        else:
            account.failure = self._stored_failure(known, run_once) if known is not None else None
            again = account.failure is not None
            if account.failure is None and plan is None:
                outcome = run_once(self.settings.options, record=True, command=command)
                account.warnings = outcome.warnings
                if outcome.error is not None:
                    account.failure = failure_from(outcome, 0, test_id(self), command)
            elif account.failure is None and plan is not None:
                if self.config.getoption("usepdb", False):
                    plan = replace(plan, shrink=False)  # the debugger comes in at once, where the run was found to fail
                before = account.runs
                found = Campaign(for_an_example(plan), run_once, target=test_id(self), command=command).search()
                account.failure, account.warnings = found.failure, found.warnings
                account.runs = before + found.runs  # playing back and shrinking are no runs of the test
            if known is not None and not again:
                known.ended(account.failure)
        self._warn(account.warnings, account.failure is not None)
        if account.failure is not None:
            raise account.failure.error

    def _warn(self, warnings: Sequence[Warned], failed: bool) -> None:
        """Warn of what the runs did not fail with, at the line of the test: there it fails with ``-W error``."""
        path, line, _ = self.location
        file, at = str(self.config.rootpath / path), (line or 0) + 1
        try:
            emit_at(warnings, file, at, failed)
        except VtloopWarning as exc:
            raise exc.with_traceback(traceback_at(file, at, self.originalname)) from None

    _known: StoredFailures | None = None

    def _stored_failures(self) -> StoredFailures:
        return StoredFailures(self.store, test_id(self), self.settings, self.account.notes)

    def _stored_failure(self, known: StoredFailures, run_once: Callable[..., Outcome]) -> Failure | None:
        """The stored failure that fails still, told like one that was found just now."""
        failure = known.play(run_once, self._command)
        if failure is not None and failure.trace.options.scheduler == REPLAY and not self._debugging:
            made = self.account.runs
            explain(failure, run_once)
            self.account.runs = made
        return failure

    @property
    def _debugging(self) -> bool:
        return bool(self.config.getoption("usepdb", False) or self.config.getoption("vtloop_until", None))

    def _run_once(
        self,
        body: Callable[[dict[str, Any]], Any],
        options: Options,
        *,
        record: bool = True,
        scheduler: Any = None,
        command: Any = None,
        interactive: bool = False,
        recorder: Any = None,
        quick: bool = False,
        note: bool = False,
    ) -> Outcome:
        """One run, its fixtures made for it."""
        __tracebackhide__ = True
        if self.account.runs:
            self._renew(record)
        self.account.runs += 1
        interact = self._interact if interactive and record and self.config.getoption("usepdb", False) else None
        fixtures = self._fixtures
        title = self.real.__qualname__

        def drive(loop: EventLoop, note_end: Callable[[], None]) -> Any:
            __tracebackhide__ = True
            main = MainTask(loop, note_end, title, interact)
            try:
                return fixtures.run(main, lambda arguments: main.call(body(arguments), last=True))
            finally:
                main.finish()

        # No command for the verdict's own report: the last line of our section is the command.
        how = {"record": record, "scheduler": scheduler, "recorder": recorder, "quick": quick, "note": note}
        outcome = execute(None, options, drive=drive, **how)
        if isinstance(outcome.error, PASSED_ON):
            raise outcome.error
        if outcome.error is None and self.settings.plan is not None:
            fixtures.drop_folder()
        return outcome

    def _renew(self, shown: bool) -> None:
        """Before any run but the first: a new instance, and no output of earlier runs in the way of the shown one."""
        if self.cls is not None:
            self._obj = None
            self.__dict__.pop("_instance", None)
        handler = self.stash.get(caplog_handler_key, None)
        if handler is not None:
            handler.clear()
        if shown:
            plugins = self.config.pluginmanager
            capture, logging = plugins.getplugin("capturemanager"), plugins.getplugin("logging-plugin")
            if capture is not None and capture.is_globally_capturing():
                capture.read_global_capture()
            if logging is not None:
                logging.report_handler.reset()

    def _replay(self, trace: Trace, run_once: Callable[..., Outcome], *, exactly: bool) -> Failure | None:
        """Play back what the user asked for; under ``@given`` what comes up of it, in every example."""
        self.account.replayed = True
        recorded, here = str(trace.made_by.get("python", "")), platform.python_version()
        if recorded and recorded.split(".")[:2] != here.split(".")[:2]:
            self.account.notes.append(f"the trace was recorded under Python {recorded}, this is {here}")
        command = self._command
        if not self._debugging:
            run_once = functools.partial(run_once, recorder=recorder_for(trace))
        if exactly and wanted() is not None:
            outcome = self._tell(trace, run_once)
        elif exactly:
            outcome = replay_outcome(trace, stopping(self.config, run_once), command)
        else:
            outcome = replay_loosely(trace, run_once, command)
        self.account.warnings = outcome.warnings
        if outcome.error is None:
            return None
        return tell(failure_from(outcome, 0, test_id(self), command), outcome)

    def _tell(self, trace: Trace, run_once: Callable[..., Outcome]) -> Outcome:
        """A replay whose story the command line asked for."""
        path = wanted() or ""
        try:
            outcome = replay_outcome(trace, run_once, self._command)
        except ReplayError as exc:
            refuse(path, exc)
            raise
        token = trace.token()
        hand_over(path, story_of(outcome, trace, test_id(self), self._command(token) if token is not None else ""))
        return outcome

    def _command(self, trace: str) -> str:
        return replay_command(self, trace)

    # -- the report ---------------------------------------------------------------------------------------------

    def finish_report(self, report: pytest.TestReport, call: pytest.CallInfo[Any]) -> None:
        """Store a failure and say how to play it back."""
        if self._interacting or report.when != "call" or not report.failed or call.excinfo is None:
            return
        given = inner_test(self.real) is not None
        store = None if given or self.account.replayed else self.store
        told = describe(report, call.excinfo.value, self, self.account, store, self.settings.command_options)
        if self._known is not None and "vtloop_stored" in dict(told):
            self._known.stored_anew()
        self.user_properties += told
        report.user_properties += told

    # -- the debugger -------------------------------------------------------------------------------------------

    def _interact(self, error: BaseException) -> None:
        """Let pytest's debugger in while everything still stands as it failed, and not once more afterwards."""
        debugger: Any = self.config.pluginmanager.getplugin("pdbinvoke")
        if debugger is None or isinstance(error, PASSED_ON):
            return
        with self._not_storing():
            call = pytest.CallInfo.from_call(functools.partial(_raise, error), when="call")
            report = self.ihook.pytest_runtest_makereport(item=self, call=call)
            if hasattr(report, "wasxfail"):
                return
            self.config.pluginmanager.unregister(debugger)
            self._debugger = debugger
            debugger.pytest_exception_interact(node=self, call=call, report=report)

    _debugger: Any = None

    @contextmanager
    def _not_storing(self) -> Generator[None, None, None]:
        self._interacting = True
        try:
            yield
        finally:
            self._interacting = False

    def bring_debugger_back(self) -> None:
        """After the report: pytest's debugger serves the teardown, and other tests, again."""
        debugger, self._debugger = self._debugger, None
        if debugger is not None:
            self.config.pluginmanager.register(debugger, "pdbinvoke")


def _raise(error: BaseException) -> None:
    __tracebackhide__ = True
    raise error


def plain_version(function: Any) -> Any:
    """A plain function with the name, signature and marks of a coroutine function."""

    @functools.wraps(function)
    def test(*args: Any, **kwargs: Any) -> None:
        raise RuntimeError("an async test of vtloop was called as if it were a plain function")

    bound_to = getattr(function, "__self__", None)
    if bound_to is not None:
        test.__self__ = bound_to  # type: ignore[attr-defined]
    return test


def _hidden_inner(inner: Any) -> Any:
    """A plain function for Hypothesis to call with each example; the item that runs says what it does."""

    @functools.wraps(inner)
    def example(*args: Any, **kwargs: Any) -> None:
        __tracebackhide__ = True
        example.vtloop_runs[-1](*args, **kwargs)  # type: ignore[attr-defined]

    example.vtloop_hides = inner  # type: ignore[attr-defined]
    example.vtloop_runs = []  # type: ignore[attr-defined]
    return example
