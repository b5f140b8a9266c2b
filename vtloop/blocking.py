"""Blocking calls: which are held against the program, and what becomes of one.

The calls themselves are seen by `vtloop.blocking_calls`, `vtloop.blocking_acts` and `vtloop.blocking_buster`, which ask
here.  A call counts only in the thread of a running loop whose ``blocking`` option is not "allow", when the program
made it during a step: not vtloop's own waits, not what a debugger, an import, a finalizer or the start of a thread
does.  It must never look at anything while no call is seen: a run that blocks nowhere pays nothing.
"""

from __future__ import annotations

import asyncio
import os
import sys
import sysconfig
import threading
from collections.abc import Iterable
from dataclasses import replace
from types import FrameType
from typing import Any, NamedTuple

from vtloop.debuggers import debugging
from vtloop.diagnosis.blocked import blocking_call, let_through_text, place_of_frame, task_label
from vtloop.diagnosis.chains import Place
from vtloop.errors import BlockingCallError
from vtloop.state import LoopState
from vtloop.warned import Warned

__all__ = ["ALLOWED", "blocked", "guarded", "in_memory", "is_library", "let_through", "program_frames", "swallowed"]

ALLOWED: tuple[tuple[str, tuple[str, ...]], ...] = (
    # What a module does when it is imported happens once a process: a second run would not see it.
    ("<frozen importlib._bootstrap>", ("_find_and_load",)),
    # The same: these ask the system once, by a subprocess or a lookup, and remember.
    ("/platform.py", ()),
    ("/uuid.py", ()),
    ("/ctypes/util.py", ()),
    # Waits until a new thread or process has begun, which nothing in the loop can hold up.
    ("/threading.py", ("start", "_shutdown")),
    ("/concurrent/futures/thread.py", ("submit",)),
    ("/concurrent/futures/process.py", ("submit",)),
    ("/multiprocessing/process.py", ("start",)),
    ("/multiprocessing/resource_tracker.py", ()),
    # Locks held for a moment.
    ("/logging/__init__.py", ("acquire", "_acquireLock")),
    ("/linecache.py", ()),
    # Finalizers run wherever the collector comes by.
    ("/weakref.py", ("__call__", "_exitfunc", "_commit_removals")),
    # A person at a debugger's prompt.
    ("/pdb.py", ()),
    ("/bdb.py", ()),
    ("/cmd.py", ()),
    ("/code.py", ()),
    ("/pydevd.py", ()),
    ("/IPython/", ()),
    # Tools that look at a program while it runs.
    ("/coverage/", ()),
    ("/execnet/", ()),
    ("/xdist/", ()),
    ("/hypothesis/", ()),
    ("/_pytest/assertion/", ()),
    ("/_pytest/capture.py", ()),
)
"""Where blocking is nothing to speak of: the end of a file's name or a folder in it, and functions (none: all)."""

_OWN = os.path.dirname(__file__) + os.sep
_WAITING = tuple(_OWN + name for name in ("threads.py", "handover.py", "watchdog.py"))  # where the loop itself waits
_TURNS = _OWN + "turns.py"
_CALLS = (_OWN + "blocking_calls.py", _OWN + "blocking_acts.py")
_STDLIB = os.path.dirname(threading.__file__) + os.sep
_PACKAGES = tuple({sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")})
_LIBRARY, _PACKAGE, _PROGRAM = "library", "package", "program"


class _File(NamedTuple):
    """What is known of a file of code: whose it is, and the functions in which blocking is allowed (empty: all)."""

    whose: str
    allowed: tuple[str, ...] | None


_files: dict[str, _File] = {}


def guarded() -> LoopState | None:
    """The loop that runs in this thread, if it minds blocking calls."""
    loop: Any = asyncio._get_running_loop()
    return loop if loop is not None and getattr(loop, "_blocking", None) is not None else None


def program_frames(frame: FrameType | None) -> list[FrameType] | None:
    """The frames of the step at work, innermost first, vtloop's own left out; None where blocking is allowed."""
    if debugging():
        return None
    found: list[FrameType] = []
    while frame is not None:
        name, file = frame.f_code.co_name, frame.f_code.co_filename
        if file.startswith(_OWN):
            if file == _TURNS or (not found and file in _WAITING):
                break
            if found and file in _CALLS:
                return None  # a call that is seen as a whole, at work
        else:
            allowed = (_files.get(file) or _look_at(file)).allowed
            if name == "__del__" or (allowed is not None and (not allowed or name in allowed)):
                return None
            found.append(frame)
        frame = frame.f_back
    return None if not found and frame is not None and frame.f_code.co_filename != _TURNS else found


def _look_at(file: str) -> _File:
    path = file.replace("\\", "/")
    allowed = [
        functions for place, functions in ALLOWED if path.endswith(place) or (place[-1] == "/" and place in path)
    ]
    whose = _PROGRAM
    if file.startswith(_PACKAGES):
        whose = _PACKAGE
    elif file.startswith(_STDLIB) or file[:1] == "<":
        whose = _LIBRARY
    _files[file] = known = _File(whose, allowed[0] if allowed else None)
    return known


def is_library(frame: FrameType) -> bool:
    """Whether the code of ``frame`` is the standard library's."""
    return _look_at(frame.f_code.co_filename).whose is _LIBRARY


def in_memory(database: Any) -> bool:
    """Whether this argument of ``sqlite3.connect`` names no file."""
    return isinstance(database, str) and (database in ("", ":memory:") or "mode=memory" in database)


def _own_line(frames: Iterable[FrameType]) -> FrameType | None:
    """The innermost frame of the program; of an installed package, or of anything, when there is none."""
    for whose in ((_PROGRAM,), (_PACKAGE,), (_LIBRARY,)):
        for frame in frames:
            if _look_at(frame.f_code.co_filename).whose in whose:
                return frame
    return None


class _Let(NamedTuple):
    """A call that was let through, by its place."""

    call: str
    who: str
    place: Place | None
    instead: str


def blocked(
    loop: LoopState, frames: list[FrameType], call: str, instead: str, shown: str = "", never: str | None = None
) -> None:
    """A call that blocks is being made in a step of ``loop``: refuse it, or note that it is let through.

    Args:
        loop: The loop of this thread.
        frames: What `program_frames` gave.
        call: The function that was called.
        instead: What to write in its place.
        shown: The call with its arguments, as far as they help.
        never: Why it would never return at all, if that is certain; then it is never let through.

    Raises:
        BlockingCallError: ``blocking="raise"``, or it would never return.
    """
    owner = _own_line(frames)
    place = place_of_frame(owner) if owner is not None else None
    who = task_label(asyncio.current_task(loop))
    if loop._blocking == "raise" or never is not None:
        stack = [place_of_frame(f) for f in reversed(frames) if _look_at(f.f_code.co_filename).whose is not _LIBRARY]
        snapshot = loop._snapshot()
        if loop._line is None:  # its steps are counted by the turn
            snapshot = replace(snapshot, step=None)
        error = blocking_call(snapshot, call, shown or f"{call}()", who, place, stack, instead, never)
        loop._refused += (error,)
        raise error
    notes = loop._let_through
    if notes is None:
        notes = loop._let_through = {}
    key = (place.file, place.line) if place is not None else (call, 0)
    note = _Let(shown or f"{call}()", who, place, instead)
    count, known = notes.get(key, (0, note))
    # One line of the program may wait twice, as that of `subprocess.run` does; the first says it.
    notes[key] = (count + (note.call == known.call), known)


def let_through(loop: LoopState) -> list[Warned]:
    """What a run is warned of: one warning for each place at which a call was let through, in order."""
    found = []
    for count, note in (loop._let_through or {}).values():
        text, data = let_through_text(note.call, note.who, note.place, count, note.instead)
        found.append(Warned("blocking call", text, data=data))
    return found


def swallowed(loop: LoopState, known: Iterable[BaseException | None]) -> list[BlockingCallError]:
    """The refusals that the program caught and did not pass on in any of the ``known`` errors, as they were."""
    if not loop._refused:
        return []
    passed_on: set[int] = set()
    todo = [error for error in (*known, sys.exception()) if error is not None]  # one may be on its way out
    while todo:
        error = todo.pop()
        if id(error) not in passed_on:
            passed_on.add(id(error))
            inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
            todo += [one for one in (error.__cause__, error.__context__, *inner) if one is not None]
    return [error for error in loop._refused if id(error) not in passed_on]
