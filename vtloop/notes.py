"""What is noted of asyncio's primitives in one run: where each was made, and who touched it last.

Filled by `vtloop.noting`, which also answers what is asked of it.  Notes lie beside the objects, under weak references:
they keep nothing alive and change no object.  It must never hold a task, a frame or a primitive.
"""

from __future__ import annotations

import asyncio
import itertools
import sys
import weakref
from collections import deque
from collections.abc import Callable
from types import CodeType, FrameType
from typing import Any, NamedTuple

from vtloop.cpython_notes import ASYNCIO, ENTERS, current_tasks, handed_to, permits_left, wakes_one
from vtloop.holding import Holding, LockFacts

__all__ = ["Entry", "Holder", "Notes", "Raw", "Touch", "frame_above"]

LAST = 8
"""How many touches of each object are kept."""

_MOST_FUTURES = 300
"""Pending futures made by hand that are asked for; with more, any may be done."""

_PUTS = frozenset({"set", "put"})

frame_above = sys._getframe
_tasks = current_tasks()
_OWN = __file__.rpartition("notes")[0]

Raw = tuple[str, str | None, int, int, int, CodeType | None, int]
"""A touch as it is kept: ``(kind, task, time_ns, takes, turns, code, lasti)``."""


class Touch(NamedTuple):
    """One touch of a primitive."""

    kind: str
    """``"acquire"``, ``"release"``, ``"set"``, ``"clear"``, ``"notify"``, ``"put"``, ``"get"``, ``"task_done"``,
    ``"abort"``, ``"reset"``; who began to wait: ``"asked"`` for locks and semaphores, ``"wait"`` for events, conditions
    and barriers."""
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

    __slots__ = (
        "finished",
        "hidden",
        "holder",
        "last",
        "lost",
        "made",
        "number",
        "owner",
        "permits",
        "ref",
        "shared",
        "tried",
    )

    def __init__(self, ref: _Ref) -> None:
        self.ref = ref
        self.made: tuple[CodeType, int] | None = None
        self.hidden = False  # an event inside another primitive
        self.last: deque[Raw] = deque(maxlen=LAST)
        self.holder: tuple[str | None, CodeType | None, int, bool] | None = None  # as `Holder` has it
        self.lost: Raw | None = None  # the last set, if nobody waited
        # For the order of locks.
        self.number = 0  # its number among locks and channels
        self.finished = 0  # the number of a queue's second channel: what was done with items
        self.owner = 0  # the number of the task that holds it
        self.permits = 0  # a semaphore's, when it was made
        self.shared = False  # a condition's lock: what it guards is seen by whoever takes it next
        self.tried = 0  # the take in which the program asked whether it is taken


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
        self.line: Any = loop._line if loop._line is not None else _NoLine()
        self._clock = loop._clock
        self._number = 0  # of the task that has just taken or released a lock
        self.holding = Holding(self.line)
        self._pending: dict[int, _Ref] = {}  # futures made by the program's own code, not known to be done
        self._births = itertools.count()
        self._done = 0
        self.shadows: dict[str, Any] = {}  # what the loop itself has in the place of its methods

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
        raw = (kind, name, self._clock.ns, self.line.takes, loop._turns, found, lasti)
        entry.last.append(raw)
        if kind == "acquire" or kind == "release":
            self._number = getattr(task, "_number", 0)
            entry.holder = (name, found, lasti, not entered) if kind == "acquire" else None
        elif kind == "asked":
            self.holding.asks(raw[3], getattr(task, "_number", 0))
        elif self.holding.watching:
            if kind in _PUTS:
                self.holding.write(entry)
            elif kind == "task_done":
                entry.finished = self.holding.put(entry.finished or self.holding.channel())
            elif kind == "get":
                self.holding.look(entry.number)
        return raw

    def lock_touched(self, entry: Entry, obj: Any, kind: str, raw: Raw) -> None:
        """The lock or semaphore ``obj`` has just been taken or released."""
        holding, exclusive = self.holding, isinstance(obj, asyncio.Lock)
        if not entry.number:
            permits = 1 if exclusive else entry.permits or permits_left(obj) + (kind == "acquire")
            entry.number = holding.add(LockFacts(type(obj).__name__, entry.made, permits, exclusive))
        if not self._number and raw[1] is not None:
            holding.foreign = True
        if kind == "acquire":
            holding.acquired(entry, raw, self._number)
        else:
            wakes = holding.watching and exclusive and wakes_one(obj)
            holding.released(entry, raw[3], self._number, wakes)

    def seen(self, obj: Any) -> None:
        """The program has found an event set, or joins a queue: what other tasks did to that is seen."""
        entry = self.entry(obj)
        if entry is not None:
            self.holding.look(entry.number if isinstance(obj, asyncio.Event) else entry.finished)

    def limit(self, change: int) -> None:
        """The running task goes into a timeout or out of one."""
        self.holding.limited(getattr(self.task(), "_number", 0), change)

    def task(self) -> Any:
        """The running task, or None."""
        return _tasks.get(self.loop) if _tasks is not None else asyncio.current_task(self.loop)

    def epoch(self) -> int:
        """How many futures made by the program's own code are known to be done: awaited later they wake nobody."""
        if len(self._pending) > _MOST_FUTURES:
            self._done += 1
            return self._done
        for key, ref in list(self._pending.items()):
            future = ref()
            if future is None or future.done():
                del self._pending[key]
                self._done += 1
        return self._done

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
                entry = self.add(future)
                entry.made = (frame.f_code, frame.f_lasti)
                self._hold_future(entry.ref)
            return future

        return create_future

    def _hold_future(self, ref: _Ref) -> None:
        if len(self._pending) <= _MOST_FUTURES:
            self._pending[next(self._births)] = ref


class _NoLine:
    """In the place of a ready line."""

    takes = 0
    items = ()
    log: Any = ()


def _asked_at(entry: Entry, task: str) -> tuple[CodeType | None, int]:
    """Where the task asked for what it is handed now by another."""
    asked = (raw for raw in reversed(entry.last) if raw[0] == "asked" and raw[1] == task)
    return next(((raw[5], raw[6]) for raw in asked), (None, -1))
