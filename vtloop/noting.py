"""Noting: the switch by which asyncio's primitives tell who makes and touches them, in recorded runs.

`vtloop.run` switches it on for the loop of a recorded run (`noted`); reports, the hunt for leaks and the lock order ask
(`made_at`, `touches`, ...).  While such a run goes on anywhere, descriptors stand in asyncio's classes that see writes
of a few attributes (`vtloop.cpython_notes`); for other loops and threads they do nothing else than the write.
Must never change what the program does, when anything dies, or what anybody sees in a traceback.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import CodeType, FrameType, MethodType
from typing import Any

from vtloop.cpython_notes import COUNTED, LOOKED_UP, READ, STATES, lock_under, nobody_waits, state_kind, timeout_change
from vtloop.holding import CLOCK, TakeLog
from vtloop.notes import Entry, Holder, Notes, Raw, Touch, frame_above
from vtloop.tasks import Task

__all__ = [
    "Holder",
    "Notes",
    "Touch",
    "holder",
    "holder_by_hand",
    "lost_set",
    "made_at",
    "noted",
    "stop_noting",
    "touches",
]

SWITCHES, LAZY = (400, 300) if sys.version_info >= (3, 13) else (sys.maxsize, 0)
"""How often the descriptors may be taken out in one process, and from where on only a run that is not noted does it.

CPython 3.13 caches the attributes of a class for its first 1,000 versions only, and each change of it is one.  When
all are spent the descriptors stay in.
"""

_NEW = object()
"""In the place of a value before the first write: the object is being made."""

_running_loop = asyncio._get_running_loop


class _Table:
    """The notes of all runs that go on; in an object of ours, so that it is no part of the program."""

    def __init__(self) -> None:
        self.by_loop: dict[Any, Notes] = {}  # what is noted now
        self.all: list[Notes] = []
        self.lock = threading.Lock()
        self.switches = SWITCHES
        self.watching = False  # whether `READ` and `_ASKED` stand there too
        self.put_in: list[tuple[type, str, Any, Any]] = []  # class, name, what stands there now, what stood there


_table = _Table()


class _State:
    """Stands in a class for an attribute of its instances and sees every write of it.

    It has no ``__get__``: reads find the instance's own value as ever.
    """

    __slots__ = ("_name",)

    def __init__(self, name: str) -> None:
        self._name = name

    def __set__(self, obj: Any, value: Any) -> None:
        scope = obj.__dict__
        made = self._name not in scope
        scope[self._name] = value
        notes = _table.by_loop.get(_running_loop())
        if notes is not None:
            writer = frame_above(1)
            if isinstance(obj, asyncio.Timeout):
                change = timeout_change(obj, value)
                if change:
                    notes.limit(change)
                return
            if made:
                notes.made(obj, writer.f_back)
                return
            kind = state_kind(obj, value, writer)
            if kind is not None:
                notes.touched(notes.entry(obj) or notes.add(obj), kind, writer.f_back)

    def __delete__(self, obj: Any) -> None:
        try:
            del obj.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None


class _Counted(_State):
    """The same for a number: which way it moves tells what is done."""

    __slots__ = ("_less", "_locks", "_more", "_permits", "_sets")

    def __init__(self, name: str, more: str | None, less: str | None) -> None:
        super().__init__(name)
        self._more, self._less = more, less
        self._permits, self._sets = more == "release", more == "set"
        self._locks = "acquire" in (more, less)

    # Hot: every touch in a recorded run.
    def __set__(self, obj: Any, value: Any) -> None:
        scope, name = obj.__dict__, self._name
        notes = _table.by_loop.get(_running_loop())
        if notes is None:
            scope[name] = value
            return
        before = scope.get(name, _NEW)
        scope[name] = value
        if before is _NEW:
            notes.made(obj, frame_above(2))
            if self._permits:
                notes.entries[id(obj)].permits = value
            return
        entry = notes.entries.get(id(obj)) or notes.add(obj)
        if entry.hidden:
            return
        try:
            kind = self._more if value > before else self._less
        except TypeError:  # a program's own idea of the attribute
            return
        if kind is not None:
            raw = notes.touched(entry, kind, frame_above(2), frame_above(1) if self._permits else None)
            if self._locks:
                notes.lock_touched(entry, obj, kind, raw)
            if self._sets and kind == "set":
                entry.lost = raw if nobody_waits(obj) else None


class _Read(_Counted):
    """The same, and a reader that finds it true sees what other tasks did to it, without waiting for them."""

    __slots__ = ("_reader",)

    def __init__(self, counted: _Counted, reader: CodeType | None) -> None:
        super().__init__(counted._name, counted._more, counted._less)
        self._reader = reader

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if obj is None:
            return self
        try:
            value = obj.__dict__[self._name]
        except KeyError:
            raise AttributeError(self._name) from None
        if value or self._reader is not None:
            notes = _table.by_loop.get(_running_loop())
            if notes is not None and self._reader in (None, frame_above(1).f_code):
                notes.seen(obj)
        return value


class _LookedUp:
    """Stands in a class for a method and sees every lookup of it on an instance."""

    __slots__ = ("_kind_of", "_method")

    def __init__(self, method: Callable[..., Any], kind_of: Callable[[Any, FrameType], str | None]) -> None:
        self._method, self._kind_of = method, kind_of

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if obj is None:
            return self._method
        notes = _table.by_loop.get(_running_loop())
        if notes is not None:
            writer = frame_above(1)
            kind = self._kind_of(obj, writer)
            if kind is not None:
                entry = notes.entries.get(id(obj)) or notes.add(obj)
                if kind == "locked":
                    entry.tried = notes.line.takes
                elif not entry.hidden:
                    notes.touched(entry, kind, writer)
                    if isinstance(obj, asyncio.Condition):
                        _share(notes, lock_under(obj))
        return MethodType(self._method, obj)


def _share(notes: Notes, lock: Any) -> None:
    """``lock`` is that of a condition in use: what it guards is seen by whoever takes it next."""
    if isinstance(lock, asyncio.Lock):
        entry = notes.entries.get(id(lock)) or notes.add(lock)
        if not entry.shared:
            entry.shared = True
            last = entry.last[-1] if entry.last else None
            if notes.holding.watching and last is not None and (last[0], last[3]) == ("release", notes.line.takes):
                notes.holding.write(entry)  # by `Condition.wait`, a moment ago


class _Asked:
    """The same for a method of tasks by which the program sees, without waiting, that one is done."""

    __slots__ = ("_method",)

    def __init__(self, method: Callable[..., Any]) -> None:
        self._method = method

    def __get__(self, obj: Any, owner: type | None = None) -> Any:
        if obj is None:
            return self._method
        notes = _table.by_loop.get(_running_loop())
        if notes is not None and notes.holding.watching and asyncio.Task.done(obj):
            asker = frame_above(1).f_globals.get("__name__", "")
            if not asker.startswith("vtloop."):
                notes.holding.found_done(hash(obj))
        bound: Any = self._method
        return bound.__get__(obj, owner)


def _put_in() -> None:
    for cls, name, more, less in COUNTED:
        _stand(cls, name, _Counted(name, more, less))
    for cls, name in STATES:
        _stand(cls, name, _State(name))
    for cls, name, asks in LOOKED_UP:
        method = getattr(cls, name, None)
        if method is not None:
            _stand(cls, name, _LookedUp(method, asks))


def _watch(notes: Notes) -> None:
    """Locks are taken inside one another: from now on note what orders steps without a wake-up as well."""
    with _table.lock:
        if not _table.watching:
            _table.watching = True
            for cls, name, reader in READ:
                counted = vars(cls)[name]
                if isinstance(counted, _Counted):
                    _stand(cls, name, _Read(counted, reader))
            for name in _ASKED:
                _stand(Task, name, _Asked(getattr(Task, name)))
    for name in ("call_later", "call_at", "run_in_executor"):
        _shadow(notes, name, _watched_start(notes, getattr(notes.loop, name), name == "run_in_executor"))


def _watched_start(notes: Notes, start: Callable[..., Any], always: bool) -> Callable[..., Any]:
    """``start``, which also notes that something of the program's own, or ``always``, comes back by way of a turn."""
    inner, put = notes.inner, notes.holding.put

    def watched(*args: Any, **kwargs: Any) -> Any:
        if always or not inner[frame_above(1).f_code.co_filename]:
            put(CLOCK)
        return start(*args, **kwargs)

    return watched


def _shadow(notes: Notes, name: str, value: Any) -> None:
    """Let the loop itself have ``value`` under ``name``, until the end of the run."""
    setattr(notes.loop, name, value)
    notes.shadows[name] = value


_ASKED = ("__await__", "done", "result", "exception", "cancelled")


def _stand(cls: Any, name: str, hook: Any) -> None:
    _table.put_in.append((cls, name, hook, cls.__dict__.get(name, _NEW)))
    setattr(cls, name, hook)


def _take_out() -> None:
    for cls, name, hook, before in reversed(_table.put_in):
        if cls.__dict__.get(name) is hook:  # else the program itself has put something there
            if before is _NEW:
                delattr(cls, name)
            else:
                setattr(cls, name, before)
    _table.put_in.clear()
    _table.watching = False


def _tidy(left: int) -> None:
    """Take the descriptors out if nobody needs them, and more than ``left`` switches are left."""
    if _table.put_in and not _table.all and _table.switches > left:
        _table.switches -= 1
        _take_out()


# Hot: called for each run of an exploration, with None.
def noted(notes: Notes | None) -> AbstractContextManager[None]:
    """Note what the program does to asyncio's primitives; runs may nest and go on in several threads."""
    if notes is not None:
        return _noted(notes)
    if _table.put_in:
        with _table.lock:
            _tidy(0)
    return _NOTHING


_NOTHING = nullcontext()


@contextmanager
def _noted(notes: Notes) -> Iterator[None]:
    loop = notes.loop
    with _table.lock:
        if not _table.put_in:
            _put_in()
        _table.by_loop[loop] = notes
        _table.all.append(notes)
    if notes.line.log is None:
        notes.line.log = TakeLog()
    notes.holding.begin, notes.holding.epoch = partial(_watch, notes), notes.epoch
    _shadow(notes, "create_future", notes.noting_futures(loop.create_future))
    try:
        yield
    finally:
        notes.holding.begin = notes.holding.epoch = int
        for name, value in notes.shadows.items():
            if loop.__dict__.get(name) is value:
                delattr(loop, name)
        notes.shadows.clear()
        with _table.lock:
            _table.by_loop.pop(loop, None)
            _table.all.remove(notes)
            _tidy(LAZY)


def stop_noting(notes: Notes | None) -> None:
    """Note no more: what comes now is unwinding.  What was noted can still be asked for."""
    if notes is not None:
        with _table.lock:
            _table.by_loop.pop(notes.loop, None)


# -- questions ---------------------------------------------------------------------------------------------------------


def _entry(obj: Any) -> Entry | None:
    return next((entry for notes in list(_table.all) if (entry := notes.entry(obj)) is not None), None)


def _touch(raw: Raw) -> Touch:
    kind, task, time_ns, takes, turns, code, lasti = raw
    return Touch(kind, task, time_ns, takes - turns, code, lasti)


def made_at(obj: Any) -> tuple[CodeType, int] | None:
    """The program's code that made ``obj`` and its last instruction; None when that was not noted."""
    entry = _entry(obj)
    return entry.made if entry is not None else None


def touches(obj: Any) -> tuple[Touch, ...]:
    """The last touches of ``obj``, oldest first; a condition's lock has its own."""
    entry = _entry(obj)
    return tuple(map(_touch, entry.last)) if entry is not None else ()


def holder(lock: Any) -> Holder | None:
    """Who took ``lock`` (or the lock under a condition) last and has not released it; None when that is not known."""
    entry = _entry(lock_under(lock))
    return Holder(*entry.holder) if entry is not None and entry.holder is not None else None


def holder_by_hand(lock: Any) -> tuple[str | None, CodeType | None, int] | None:
    """The task that took ``lock`` by ``acquire()`` and has not released it, and where; None else."""
    found = holder(lock)
    return found[:3] if found is not None and found.by_hand else None


def lost_set(event: Any) -> Touch | None:
    """The last ``set()`` of an event if nobody waited then and it was cleared since: whoever came later missed it."""
    entry = _entry(event)
    if entry is None or entry.lost is None:
        return None
    after = [raw[0] for raw in entry.last if raw[0] in ("set", "clear")]
    return _touch(entry.lost) if after and after[-1] == "clear" else None
