"""What fails in the background of a run: callbacks, tasks whose exception nobody reads, threads.

Used by whatever makes runs.  Such a failure fails the run as itself; several as an ``ExceptionGroup``.  It must never
touch a task that is not done.
"""

from __future__ import annotations

import asyncio
import threading
import traceback

from vtloop.blocking import swallowed
from vtloop.loop import EventLoop

__all__ = ["background_failures", "join_background", "message_of", "place_of"]


_collecting: dict[int, list[BaseException]] = {}  # what failed in the background of each run that goes on, oldest first
_hook_lock = threading.Lock()
_outer_hook = threading.excepthook


class background_failures:
    """Collect what fails in the background: callbacks, tasks nobody reads, threads; a context manager."""

    __slots__ = ("_collected",)

    def __init__(self, loop: EventLoop) -> None:
        loop.background = self._collected = list[BaseException]()

    def __enter__(self) -> None:
        global _outer_hook
        with _hook_lock:  # runs may go on in several threads, and end in any order
            _collecting[id(self._collected)] = self._collected
            if threading.excepthook is not _thread_failed:
                _outer_hook, threading.excepthook = threading.excepthook, _thread_failed

    def __exit__(self, *exc: object) -> None:
        with _hook_lock:
            del _collecting[id(self._collected)]
            if not _collecting and threading.excepthook is _thread_failed:
                threading.excepthook = _outer_hook


def _thread_failed(args: threading.ExceptHookArgs) -> None:
    """Let the newest run fail with what a thread raised: whose thread it is cannot be known."""
    collected = next(reversed(_collecting.values()), None)
    if collected is None:
        _outer_hook(args)
    elif args.exc_value is not None and args.exc_type is not SystemExit:
        if args.thread is not None:
            args.exc_value.add_note(f"raised in thread {args.thread.name}")
        collected.append(args.exc_value)


def join_background(loop: EventLoop, error: BaseException | None) -> BaseException | None:
    """``error``, or what failed in the background; several background failures as a group."""
    collected = loop.background
    assert collected is not None
    for task in loop._tasks.unread():
        # Reading it marks it as read: asyncio will not log what the run fails with.
        failure = task.exception()
        if failure is None or failure is error or any(failure is known for known in collected):
            continue
        if loop.get_exception_handler() is None:
            failure.add_note(f"raised in {task.get_name()}, whose result nobody read")
            collected.append(failure)
        else:
            # What asyncio does when the task is freed.
            message = f"{type(task).__name__} exception was never retrieved"
            loop.call_exception_handler({"message": message, "exception": failure, "future": task})
    for refusal in swallowed(loop, [error, *collected]):
        refusal.add_note("the program caught this error and went on")
        collected.append(refusal)
    others = [failure for failure in collected if failure is not error]
    if error is None:
        if len(others) < 2:
            return others[0] if others else None
        if all(isinstance(failure, Exception) for failure in others):
            return ExceptionGroup("several background failures", others)  # type: ignore[type-var]
        return BaseExceptionGroup("several background failures", others)
    for failure in others:
        what = f"{type(failure).__name__}: {message_of(failure)} ({place_of(failure)})"
        error.add_note(f"also failed in the background: {what}")
    return error


def place_of(error: BaseException) -> str:
    """The innermost line of ``error`` that is neither asyncio's nor vtloop's, as ``file.py:12 in f``."""
    frames = traceback.extract_tb(error.__traceback__)
    own = [f for f in frames if not f.filename.startswith(_INTERNAL)]
    if not own:
        return ""
    last = own[-1]
    return f"{last.filename.replace(chr(92), '/').rpartition('/')[2]}:{last.lineno} in {last.name}"


def message_of(error: BaseException) -> str:
    """``str(error)``, whatever a program's own exceptions make of it."""
    try:
        return str(error)
    except Exception as exc:
        return f"(its str() raised {type(exc).__name__})"


_INTERNAL = (asyncio.__file__.rpartition("/")[0], __file__.rpartition("/")[0])
