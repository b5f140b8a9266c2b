"""Exceptions nobody caught: asyncio's handler protocol, and the list of background failures of a run.

A part of the loop.  Outside a run (``vtloop.run``, ``explore``, the plugin) it does what asyncio does: log.  During a
run it collects, and the run fails as what it collected.  It must never read a task's exception: that would silence
asyncio's own "never retrieved".
"""

from __future__ import annotations

import traceback
from asyncio import CancelledError
from collections.abc import Callable
from typing import Any

from vtloop import cpython
from vtloop.state import LoopState

__all__ = ["ExceptionHandling"]

Context = dict[str, Any]
ExceptionHandler = Callable[[Any, Context], object]


class ExceptionHandling(LoopState):
    """``call_exception_handler`` and its relatives.

    Attributes:
        background: During a run, the exceptions that reached the default handler, in order; None outside.
    """

    _exception_handler: ExceptionHandler | None = None
    _current_handle: Any = None

    def get_exception_handler(self) -> ExceptionHandler | None:
        """The handler set by the program, or None for the default one."""
        return self._exception_handler

    def set_exception_handler(self, handler: ExceptionHandler | None) -> None:
        """Set the callable ``handler(loop, context)``; None brings the default back.

        Raises:
            TypeError: ``handler`` is neither callable nor None.
        """
        if handler is not None and not callable(handler):
            raise TypeError(f"A callable object or None is expected, got {handler!r}")
        self._exception_handler = handler

    def default_exception_handler(self, context: Context) -> None:
        """Log ``context`` as asyncio does; in a run, note its exception instead, for the run to fail with."""
        exception = context.get("exception")
        if self.background is not None and exception is not None:
            if isinstance(exception, CancelledError) and "future" in context:
                return  # of a `gather` that nobody awaits a child was cancelled: asyncio logs that, but nothing failed
            if not any(exception is known for known in self.background):
                self.background.append(exception)
            return
        if "source_traceback" not in context and self._current_handle is not None:
            made = self._current_handle._source_traceback
            if made:
                context["handle_traceback"] = made
        lines = [context.get("message") or "Unhandled exception in event loop"]
        for key in sorted(context):
            if key in ("message", "exception"):
                continue
            value = context[key]
            if key in ("source_traceback", "handle_traceback"):
                what = "Object" if key == "source_traceback" else "Handle"
                stack = "".join(traceback.format_list(value)).rstrip()
                lines.append(f"{key}: {what} created at (most recent call last):\n{stack}")
            else:
                lines.append(f"{key}: {value!r}")
        info = (type(exception), exception, exception.__traceback__) if exception is not None else False
        cpython.logger().error("\n".join(lines), exc_info=info)

    def call_exception_handler(self, context: Context) -> None:
        """Hand ``context`` to the program's handler, in the context of its task or handle, or to the default one.

        A handler that fails itself is reported through the default handler; only ``SystemExit`` and
        ``KeyboardInterrupt`` come out of here.
        """
        handler = self._exception_handler
        if handler is None:
            self._guarded_default(context, "Exception in default exception handler")
            return
        try:
            owner: Any = context.get("task") or context.get("future") or context.get("handle")
            where = owner.get_context() if hasattr(owner, "get_context") else None
            if where is not None and hasattr(where, "run"):
                where.run(handler, self, context)
            else:
                handler(self, context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._guarded_default(
                {"message": "Unhandled error in exception handler", "exception": exc, "context": context},
                "Exception in default exception handler while handling an unexpected error in custom exception handler",
            )

    def _guarded_default(self, context: Context, complaint: str) -> None:
        try:
            self.default_exception_handler(context)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException:
            # The program may have replaced the default handler by a broken one.
            cpython.logger().error(complaint, exc_info=True)
