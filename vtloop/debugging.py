"""A replay that stops: in the failing step, or before a given step, in Python's own debugger.

Used by ``vtloop replay --pdb`` and ``--until``.  The run is made as ever; when it has failed, or when a step is about
to run, the debugger opens in the program's own frames while every task stands where it stood.  It must never change
what runs next: leaving the debugger by ``c`` gives the same run as without it.
"""

from __future__ import annotations

import bdb
import inspect
import os
import pdb
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from types import CodeType, FrameType, TracebackType
from typing import Any

from vtloop.background import message_of
from vtloop.clock import seconds_text
from vtloop.diagnosis.chains import Places, await_chain
from vtloop.errors import ReplayError, UsageError
from vtloop.options import Options
from vtloop.ready import Item, task_of
from vtloop.recording import Recording
from vtloop.run import Outcome
from vtloop.schedulers import Scheduler, make_scheduler

__all__ = ["Debugger", "Stops"]

_LIBRARY = os.path.dirname(os.__file__) + os.sep
_INSTALLED = ("site-packages", "dist-packages")

_NO_FAILURE = (KeyboardInterrupt, SystemExit, UsageError, ReplayError)


class Stops:
    """Where a run stops; made for one run.

    Args:
        until: The number of the step before which it stops; None for none.
        failing: Whether it stops where the run failed.
        recorded: How the recorded run ended, as in its trace: a script may survive other errors.
        debugger: What opens; None for Python's own on this terminal.

    Attributes:
        reached: Whether the step was reached.
    """

    def __init__(
        self,
        *,
        until: int | None,
        failing: bool,
        recorded: Mapping[str, Any] | None = None,
        debugger: Debugger | None = None,
    ) -> None:
        self._until, self._failing, self._recorded = until, failing, recorded or {}
        self._shown: BaseException | None = None
        self._debugger = Debugger() if debugger is None else debugger
        self._beginning: _Beginning | None = None
        self.reached = False

    def around(self, execute: Callable[..., Outcome]) -> Callable[..., Outcome]:
        """``execute``, which makes a run, with the stops in it and no watchdog."""

        def run_once(options: Options, *, scheduler: Any = None, **how: Any) -> Outcome:
            def watched(recording: Recording) -> Scheduler:
                self._watch(recording)
                made: Scheduler = make_scheduler(options) if scheduler is None else scheduler(recording)
                return made

            if self._until is not None:
                how["scheduler"] = watched
            elif scheduler is not None:
                how["scheduler"] = scheduler
            if self._failing:
                how["interact"] = self._stand
            tracing = sys.gettrace()
            try:
                outcome = execute(replace(options, watchdog=None), **how)
            finally:
                sys.settrace(tracing)
            outcome.options = options
            if self._failing and outcome.error is not None and self._shown is not outcome.error:
                self._open(outcome.error, f"step {outcome.steps}; the program has ended")
            return outcome

        return run_once

    # -- where the run failed -----------------------------------------------------------------------------------

    def _stand(self, error: BaseException) -> None:
        """The run has failed with ``error``, and everything stands as it did then."""
        if type(error).__name__ == self._recorded.get("type", type(error).__name__):
            self._shown = error
            self._open(error, "everything stands as it failed")

    def _open(self, error: BaseException, where: str) -> None:
        if isinstance(error, _NO_FAILURE) or error.__traceback__ is None:
            return
        self._debugger.message(f"{type(error).__name__}: {message_of(error)}\n({where})")
        self._debugger.examine(error.__traceback__)

    # -- before a step ------------------------------------------------------------------------------------------

    def _watch(self, recording: Recording) -> None:
        def on_step(step: int, label: str, item: Item) -> None:
            where = f"t={seconds_text(recording._clock.ns)} s, before step {step}: {label}"
            if step == self._until:
                self.reached = True
                self._beginning = _Beginning(self._debugger, item, where)
                sys.settrace(self._beginning)
            elif self._beginning is not None and self._beginning.waits:
                self._beginning.pass_on(item, where)

        recording.on_step = on_step


class Debugger(pdb.Pdb):
    """Python's debugger, in the program's own frames; leaving it by ``q`` is as Ctrl-C."""

    def __init__(self) -> None:
        super().__init__(nosigint=True)
        self._places = Places()
        self._silent = False
        self.reset()

    def begin(self, frame: FrameType, outermost: FrameType, fresh: bool) -> Any:
        """Stop in ``frame``, which is about to go on; gives its trace function.

        Args:
            frame: The frame.
            outermost: The first one to show.
            fresh: It has not begun: its first line is where to stop.
        """
        self.reset()
        self.botframe = outermost
        self.set_step()
        sys.settrace(self.trace_dispatch)
        if fresh:
            return self.trace_dispatch
        self._silent = True
        return self.trace_dispatch(frame, "call", None)

    def is_foreign(self, code: CodeType) -> bool:
        """Whether the code is not the program's: asyncio, vtloop, the standard library, or made at run time."""
        file = code.co_filename
        if file.startswith("<") or self._places.is_internal(code):
            return True
        return file.startswith(_LIBRARY) and not file.startswith(_INSTALLED, len(_LIBRARY))

    def stop_here(self, frame: FrameType) -> bool:
        """Whether stepping stops in this frame."""
        return not self.is_foreign(frame.f_code) and super().stop_here(frame)

    def examine(self, trace: TracebackType) -> None:
        """Open where an exception was raised; what follows is the end of the run."""
        shown: TracebackType | None = trace
        while shown is not None and self.is_foreign(shown.tb_frame.f_code):
            shown = shown.tb_next
        sys.settrace(None)
        self.reset()
        self.interaction(None, shown or trace)

    def get_stack(self, f: FrameType | None, t: TracebackType | None) -> tuple[list[tuple[FrameType, int]], int]:
        """The frames, and the one to begin in: the innermost of the program."""
        stack, index = super().get_stack(f, t)
        if t is not None:
            own = [n for n, (frame, _) in enumerate(stack) if not self.is_foreign(frame.f_code)]
            index = own[-1] if own else index
        return stack, index

    def user_call(self, frame: FrameType, argument_list: None) -> None:
        """A frame begins or goes on; the first stop says nothing of that."""
        if self._silent:
            self._silent = False
            self.interaction(frame, None)
        else:
            super().user_call(frame, argument_list)

    def trace_dispatch(self, frame: FrameType, event: str, arg: Any) -> Any:
        """The trace function."""
        try:
            return super().trace_dispatch(frame, event, arg)
        except bdb.BdbQuit:
            sys.settrace(None)
            raise KeyboardInterrupt from None


class _Beginning:
    """A trace function that waits for the program's own code in a step, and hands over to the debugger there.

    Attributes:
        waits: It has not handed over yet.
    """

    def __init__(self, debugger: Debugger, item: Item, where: str) -> None:
        self._debugger = debugger
        self._asked = ""
        self.waits = True
        self._aim(item, where)

    def _aim(self, item: Item, where: str) -> None:
        self._where = where
        task: Any = task_of(item[3])
        coroutine = task.get_coro() if task is not None and not task.done() else None
        chain = await_chain(coroutine)
        self._chain = [link.frame for link in chain if not self._debugger.is_foreign(link.code)]
        self._fresh = inspect.iscoroutine(coroutine) and inspect.getcoroutinestate(coroutine) == inspect.CORO_CREATED

    def pass_on(self, item: Item, where: str) -> None:
        """The step ran no code of the program: this one may."""
        self._asked = self._asked or f"{self._where}; no code of the program runs there"
        self._aim(item, where)

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        if event != "call" or self._debugger.is_foreign(frame.f_code):
            return None
        if frame in self._chain[:-1]:
            return self._debugger.trace_dispatch  # the coroutine that it awaits goes on next
        self.waits = False
        for line in filter(None, (self._asked, self._where)):
            self._debugger.message(line)
        known = frame in self._chain
        return self._debugger.begin(frame, self._chain[0] if known else frame, self._fresh or not known)
