"""The task in which the async fixtures and the test of a run live.

pytest resolves fixtures in plain code; async fixtures and the test belong into one task of the run's loop.  So the
loop runs in pieces: whenever pytest comes to something async, the loop runs until the main task has done that piece,
and stops again.  Sync fixtures therefore see no running loop, may depend on async ones, and everything is set up and
torn down in pytest's own order.  It must never know what a piece is for.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from contextlib import suppress
from typing import Any

import pytest

from vtloop.errors import StepCut, VtloopError
from vtloop.loop import EventLoop

__all__ = ["MainTask"]

UNWIND_STEPS = 10_000
"""Steps that the main task may take to end after a verdict."""

_MISSING: Any = object()


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
        self._stopping = False

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
            late = self._stopping  # an error came out of the loop before the stop of the last piece
            self._turn()
            if self._busy and late and not self._stopping:
                self._turn()
            if self._busy:
                raise RuntimeError("Event loop stopped before Future completed.")
        except BaseException as exc:
            self._show_cut(exc)
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
            # As run_until_complete does it: who wants to know of the end of the task is told before.
            self._task.add_done_callback(lambda _: self._loop.stop())
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
            except (KeyboardInterrupt, SystemExit, StepCut):
                raise  # these end the run of the loop at once
            except BaseException as exc:
                self._error = exc
            self._busy = False
            # As run_until_complete does it: what stands ready now, and what that makes ready at once, still runs.
            self._stopping = True
            self._loop.call_soon(self._stop)
            await self._pause()

    def _stop(self) -> None:
        self._stopping = False
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

    def _show_cut(self, error: BaseException) -> None:
        """Give the verdict over a step that did not return the traceback of that step."""
        task = self._task
        if task is not None and task.done() and not task.cancelled() and isinstance(task.exception(), StepCut):
            error.__traceback__ = task.exception().__traceback__  # type: ignore[union-attr]

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
