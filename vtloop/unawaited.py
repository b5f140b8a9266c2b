"""Coroutines that died without ever having been awaited, in the thread and for the length of a run.

CPython tells a hook of each (`vtloop.cpython.on_unawaited`).  What is certain is kept, for the run to fail with: the
value of a call dropped on the spot, or forgotten by the source (`vtloop.diagnosis.forgotten`).  All others may have
been dropped because an exception or a cancel came between the call and its ``await``: for them Python's own warning
stays what it is, unless the run was told to count everything.  Used by `vtloop.leaks`.  It must never keep a coroutine
or a frame alive.
"""

from __future__ import annotations

import asyncio
import gc
import os
import sys
import threading
import traceback
import warnings
from types import CodeType, CoroutineType, FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from vtloop.cpython import PYTHONS_OWN, on_unawaited, value_dropped
from vtloop.cpython_mocks import MOCK_COROUTINE
from vtloop.diagnosis.chains import plain_name
from vtloop.diagnosis.forgotten import FORGOTTEN, RETURNED, fate_of_call

if TYPE_CHECKING:
    from vtloop.loop import EventLoop

__all__ = ["ORIGINS", "Unawaited", "Watch"]

ORIGINS, ORIGINS_OF_MOCKS = 1, 3
"""How many frames a coroutine remembers of where it was made, which costs 50 to 250 ns for each frame and coroutine:
so only where `Watch` is told to, and as many as a mock takes only where there are mocks."""

_OWN = os.path.dirname(os.path.abspath(__file__)) + os.sep
_ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep
_CALLERS = frozenset(_OWN + name for name in ("handles.py", "turns.py", "failures.py"))
"""Who calls the plain callbacks of a program."""

_MOCK = os.path.join("unittest", "mock.py")
_MOST = 1_000

_Line = tuple[str, int, str]


class Unawaited(NamedTuple):
    """One coroutine that was never awaited, as plain values."""

    name: str
    """What was called, as a person calls it: ``fetch``, ``client.close``."""
    function: str
    """The qualified name of the coroutine function."""
    file: str
    line: int
    where: str
    """The function in which the call stands; empty where the call's place is not known, but the function's is."""
    task: str
    """The task that dropped it, as far as one was running."""
    time_ns: int
    """When it was dropped."""
    by_loop: bool
    """Whether the loop itself called it, as a plain callback."""
    at_once: bool
    """Whether it died on the line of the call, which every run sees, whatever it remembers of places."""
    certain: bool


class Watch:
    """Watches over the coroutines of one run; a context manager, to be entered in the thread of the run.

    Args:
        loop: The loop of the run.
        places: Whether coroutines remember where they were made.
        everything: Whether the uncertain ones are kept as well.

    Attributes:
        found: What was found, in order of death.
        unwinding: What is dropped from now on is dropped by the end of the run; only what is certain counts.
    """

    def __init__(self, loop: EventLoop, places: bool, everything: bool) -> None:
        self._loop, self._places, self._everything = loop, places, everything
        self.found: list[Unawaited] = []
        loop.dropped = self.found
        self.unwinding = False
        self._filters = warnings.filters
        self._old = False  # a collection is at work that may meet what was there before the run
        self._depth = 0
        self._thread = 0

    def __enter__(self) -> Watch:
        # What is garbage already is not of this run.
        gc.collect(0)
        self._thread = threading.get_ident()
        _begin(self, self._thread)
        gc.callbacks.append(self._collecting)
        if self._places:
            self._depth = sys.get_coroutine_origin_tracking_depth()
            depth = ORIGINS_OF_MOCKS if "unittest.mock" in sys.modules else ORIGINS
            sys.set_coroutine_origin_tracking_depth(max(depth, self._depth))
        return self

    def __exit__(self, *exc: object) -> None:
        if self._places and self._thread == threading.get_ident():
            sys.set_coroutine_origin_tracking_depth(self._depth)
        gc.callbacks.remove(self._collecting)
        _end(self, self._thread)

    def _collecting(self, phase: str, info: dict[str, int]) -> None:
        self._old = phase == "start" and info["generation"] > 1  # see `vtloop.collector.keep_apart`
        if self._old and threading.get_ident() == self._thread:
            # A program that collects wants to see what is kept; by itself a run collects all at fixed steps only.
            self._loop._tasks.sweep(cancelled=False)

    def died(self, coro: CoroutineType[Any, Any, Any], frame: FrameType) -> bool:
        """Note a coroutine that dies while ``frame`` runs; False when Python's own warning is to be given."""
        if self._old or warnings.filters is not self._filters:
            return False  # inside a `catch_warnings` of the program, such as `pytest.warns`: it sees to them itself
        function, name = coro.__qualname__, coro.cr_code.co_name
        mock = function == MOCK_COROUTINE
        origin: list[_Line] = [line for line in coro.cr_origin or () if not (mock and line[0].endswith(_MOCK))]
        here = (frame.f_code.co_filename, frame.f_lineno or 0, frame.f_code.co_name)
        dropped = value_dropped(frame)
        at_once = dropped and (mock or here[0] in _CALLERS or name in _names_in(frame.f_code))
        place, called = (here, "") if at_once else _forgotten(origin, name)
        if place is None and dropped and (here in origin or _returner(origin, name) in _names_in(frame.f_code)):
            place = here
        certain = place is not None
        if not certain and (self.unwinding or not self._everything):
            return self.unwinding
        if place is None and origin:
            place = origin[0]
        by_loop = place is not None and place[0].startswith((_OWN, _ASYNCIO))
        if place is None or by_loop:
            place = (coro.cr_code.co_filename, coro.cr_code.co_firstlineno, "")
        elif mock:
            called = called or fate_of_call(place[0], place[1], name)[1]
        if len(self.found) < _MOST:
            shown = (called or "AsyncMock") if mock else plain_name(function)
            task, now = self._task(), self._loop.time_ns()
            self.found.append(Unawaited(shown, function, *place, task, now, by_loop, at_once, certain))
        return True

    def _task(self) -> str:
        try:
            task = asyncio.current_task(self._loop)
        except RuntimeError:
            return ""
        return task.get_name() if task is not None else ""


def _names_in(code: CodeType) -> tuple[str, ...]:
    return code.co_names + code.co_varnames + code.co_freevars


def _forgotten(origin: list[_Line], name: str) -> tuple[_Line | None, str]:
    """The line that forgets a coroutine for certain (or by which the loop calls its function), and what it calls."""
    for line in origin:
        if line[0] in _CALLERS:
            return line, ""
        fate, called = fate_of_call(line[0], line[1], name)
        if fate == FORGOTTEN:
            return line, called
        if fate != RETURNED:
            break
        name = line[2]
    return None, ""


def _returner(origin: list[_Line], name: str) -> str:
    """The function that made a coroutine and returned it to its caller; empty when it did something else with it."""
    return origin[0][2] if origin and fate_of_call(*origin[0][:2], name)[0] == RETURNED else ""


# -- the hook --------------------------------------------------------------------------------------------------------

_watches: dict[int, list[Watch]] = {}  # those of each thread, the innermost last
_lock = threading.Lock()
_outer: Any = None


def _begin(watch: Watch, thread: int) -> None:
    global _outer
    with _lock:  # runs may go on in several threads
        if not _watches:
            _outer = on_unawaited(_died)
        _watches.setdefault(thread, []).append(watch)


def _end(watch: Watch, thread: int) -> None:
    with _lock:
        mine = _watches[thread]
        mine.remove(watch)
        if not mine:
            del _watches[thread]
        if not _watches:
            replaced = on_unawaited(_outer)
            if replaced is not _died:
                on_unawaited(replaced)  # somebody else's by now


def _died(coro: Any) -> None:
    """Called by CPython for each coroutine that dies without having begun."""
    watches = _watches.get(threading.get_ident())
    if watches and watches[-1].died(coro, sys._getframe(1)):
        return
    if _outer is not PYTHONS_OWN:
        _outer(coro)
        return
    lines = []
    made = [traceback.FrameSummary(*line) for line in reversed(coro.cr_origin or ()) if not line[0].startswith(_OWN)]
    if made:
        lines = ["Coroutine created at (most recent call last)\n", *traceback.format_list(made)]
    text = "".join([f"coroutine '{coro.__qualname__}' was never awaited\n", *lines]).rstrip("\n")
    # As CPython's own function does, and by itself, for that warns at the line of its caller: where the coroutine died.
    warnings.warn(text, RuntimeWarning, stacklevel=2, source=coro)
