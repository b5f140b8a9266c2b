"""What is noted of asyncio's primitives in one run: where each was made, and who touched it last.

Filled by `vtloop.noting`, which also answers what is asked of it.  Notes lie beside the objects, under weak references:
they keep nothing alive and change no object.  It must never hold a task, a frame or a primitive.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections import deque
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NamedTuple

from vtloop.cpython_notes import ASYNCIO, ENTERS, current_tasks, handed_to

__all__ = ["Entry", "Holder", "Notes", "Raw", "Touch", "frame_above"]

LAST = 8
"""How many touches of each object are kept."""

frame_above = sys._getframe
_tasks = current_tasks()
_OWN = __file__.rpartition("notes")[0]

Raw = tuple[str, str | None, int, int, int, CodeType | None, int]
"""A touch as it is kept: ``(kind, task, time_ns, takes, turns, code, lasti)``."""


class Touch(NamedTuple):
    """One touch of a primitive."""

    kind: str
    """``"acquire"``, ``"release"``, ``"set"``, ``"clear"``, ``"notify"``, ``"put"``, ``"get"``, ``"task_done"``,
    ``"wait"``, ``"abort"``, ``"reset"``; ``"asked"``, ``"get asked"``, ``"put asked"``: began to wait for it."""
    task: str | None
    """The task's name then; None for a plain callback."""
    time_ns: int
    step: int
    """The step of the run, counted from 1, as its events have it."""
    code: CodeType | None
    """The program's own code that did it, asyncio's frames skipped; None for asyncio or vtloop alone."""
    lasti: int


class Holder(NamedTuple):
    """Who took a lock and has not released it."""

    task: str | None
    code: CodeType | None
    lasti: int
    by_hand: bool
    """Taken by ``acquire()``, not by ``async with``."""


class _Ref(weakref.ref[Any]):
    __slots__ = ("key",)
    key: int


class Entry:
    """What is noted of one object."""

    __slots__ = ("hidden", "holder", "last", "lost", "made", "ref")

    def __init__(self, ref: _Ref) -> None:
        self.ref = ref
        self.made: tuple[CodeType, int] | None = None
        self.hidden = False  # an event inside another primitive
        self.last: deque[Raw] = deque(maxlen=LAST)
        self.holder: Holder | None = None
        self.lost: Raw | None = None  # the last set, if nobody waited


class _Inner(dict[str, bool]):
    """By file: whether it is asyncio's, anyio's or vtloop's own."""

    def __missing__(self, file: str) -> bool:
        anyio: Any = sys.modules.get("anyio")
        folder = (getattr(anyio, "__path__", None) or [None])[0]
        found = self[file] = file.startswith((ASYNCIO, _OWN)) or bool(folder and file.startswith(folder))
        return found


class Notes:
    """The notes of one run: what `noted` is given before it, and asked for until it ends."""

    def __init__(self, loop: Any) -> None:
        self.loop = loop
        self.inner = _Inner()
        self.entries: dict[int, Entry] = {}
        self._line: Any = loop._line if loop._line is not None else _NoLine
        self._clock = loop._clock

    # Hot: every touch of a primitive in a recorded run.
    def touched(self, entry: Entry, kind: str, place: FrameType | None, writer: FrameType | None = None) -> Raw:
        """Note a touch by the program's code that called ``place``, or what of asyncio's stands between."""
        inner, entered = self.inner, False
        code: Any = None
        while place is not None:
            code = place.f_code
            if not inner[code.co_filename]:
                break
            if code is ENTERS:
                entered = True
            place = place.f_back
        loop = self.loop
        task: Any = handed_to(writer) if writer is not None else None
        if task is not None:
            name = task.get_name()
            found, lasti = _asked_at(entry, name)
        else:
            task = _tasks.get(loop) if _tasks is not None else asyncio.current_task(loop)
            name = task.get_name() if task is not None else None
            found, lasti = (code, place.f_lasti) if place is not None else (None, -1)
        raw = (kind, name, self._clock.ns, self._line.takes, loop._turns, found, lasti)
        entry.last.append(raw)
        if kind == "acquire" and writer is None:
            entry.holder = Holder(name, found, lasti, not entered)
        elif kind == "release":
            entry.holder = None
        return raw

    def made(self, obj: Any, place: FrameType | None) -> None:
        """``obj`` is being made by the code that runs in ``place``, or what it was called by."""
        entry = self.entry(obj) or self.add(obj)
        if isinstance(obj, asyncio.Event) and place is not None and place.f_code.co_filename.startswith(ASYNCIO):
            entry.hidden = True
            return
        own = [getattr(cls.__dict__.get("__init__"), "__code__", None) for cls in type(obj).__mro__]
        while place is not None and (place.f_code in own or self.inner[place.f_code.co_filename]):
            place = place.f_back
        entry.made = (place.f_code, place.f_lasti) if place is not None else None

    def add(self, obj: Any) -> Entry:
        """A first note of ``obj``, until it dies."""
        entries = self.entries

        def forget(ref: _Ref) -> None:
            entries.pop(ref.key, None)

        ref = _Ref(obj, forget)
        ref.key = id(obj)
        entry = entries[id(obj)] = Entry(ref)
        return entry

    def entry(self, obj: Any) -> Entry | None:
        """What is noted of ``obj``."""
        found = self.entries.get(id(obj))
        return found if found is not None and found.ref() is obj else None

    def noting_futures(self, make: Callable[[], asyncio.Future[Any]]) -> Callable[[], asyncio.Future[Any]]:
        """``loop.create_future`` that notes what the program itself makes by it; asyncio asks for most of them."""
        inner = self.inner

        # Hot: called for every wait.
        def create_future() -> asyncio.Future[Any]:
            future = make()
            frame = frame_above(1)
            if not inner[frame.f_code.co_filename]:
                self.add(future).made = (frame.f_code, frame.f_lasti)
            return future

        return create_future


class _NoLine:
    """In the place of a ready line."""

    takes = 0


def _asked_at(entry: Entry, task: str) -> tuple[CodeType | None, int]:
    """Where the task asked for what it is handed now by another."""
    asked = (raw for raw in reversed(entry.last) if raw[0] == "asked" and raw[1] == task)
    return next(((raw[5], raw[6]) for raw in asked), (None, -1))
