"""What the program itself calls a lock, queue or future: the variable or attribute that holds it.

Called by `waits`.  Looks at locals, attributes and small containers of the waiting frames and at module globals, by
identity and without running any code of the program: no properties, no `__getattr__`, no comparison, and
`issubclass(type(x), ...)` where `isinstance` would ask a proxy for its `__class__`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from vtloop.cpython_waits import frame_locals

__all__ = ["Namer"]

_NAMED_GLOBALS = (
    asyncio.Lock,
    asyncio.Condition,
    asyncio.Event,
    asyncio.Semaphore,
    asyncio.Barrier,
    asyncio.Queue,
    asyncio.TaskGroup,
    asyncio.Future,
)
_CLOSED = (
    str,
    bytes,
    int,
    float,
    type(None),
    type,
    ModuleType,
    FunctionType,
    MethodType,
    BuiltinFunctionType,
    CodeType,
)
_LARGEST_CONTAINER = 256
_DEEP_VISITS = 20_000


class Namer:
    """Finds names for one capture; holds no object of the program beyond it."""

    def __init__(self) -> None:
        self._globals: dict[int, dict[int, str]] = {}
        self._deep_visits = _DEEP_VISITS

    def name(self, wanted: object, frames: Sequence[FrameType]) -> str | None:
        """The name under which `frames` (outermost first) hold `wanted`: ``lock``, ``self.lock``, ``forks[1]``.

        Nearest first: locals, then what locals hold, then module globals, then one level deeper.
        """
        scopes: list[Mapping[str, Any]] = []
        for frame in reversed(frames):
            scope: Mapping[str, Any] = frame_locals(frame)
            for key, value in scope.items():
                if value is wanted and key != "self" and key[0] != ".":
                    return key
            scopes.append(scope)
        for scope in scopes:
            for path, value in _inside(scope):
                if value is wanted:
                    return path
        return self._global_name(wanted, frames) or self._deep_name(wanted, scopes)

    def _global_name(self, wanted: object, frames: Sequence[FrameType]) -> str | None:
        for frame in reversed(frames):
            names = self._globals.get(id(frame.f_globals))
            if names is None:
                names = _holders_among(frame.f_globals)
                self._globals[id(frame.f_globals)] = names
            if id(wanted) in names:
                return names[id(wanted)]
        return None

    def _deep_name(self, wanted: object, scopes: Sequence[Mapping[str, Any]]) -> str | None:
        """One level deeper (``self.locks['a']``), within a budget for the whole capture."""
        for scope in scopes:
            for path, value in _inside(scope):
                for deep_path, deep in _members(path, value):
                    self._deep_visits -= 1
                    if deep is wanted:
                        return deep_path
                    if self._deep_visits <= 0:
                        return None
        return None


def _holders_among(scope: Mapping[str, Any]) -> dict[int, str]:
    """The asyncio objects among a module's globals, and in its containers, by identity."""
    found: dict[int, str] = {}
    for key, value in list(scope.items()):
        if issubclass(type(value), _NAMED_GLOBALS):
            found.setdefault(id(value), key)
        elif type(value) in (list, tuple, dict) and not key.startswith("__"):
            for path, item in _members(key, value):
                if issubclass(type(item), _NAMED_GLOBALS):
                    found.setdefault(id(item), path)
    return found


def _inside(scope: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for key, value in scope.items():
        if key[0] != ".":
            yield from _members(key, value)


def _members(path: str, holder: object) -> Iterator[tuple[str, object]]:
    """What an object holds, each with the expression that reaches it; asyncio's own objects stay closed."""
    kind = type(holder)
    if issubclass(kind, _CLOSED):
        return
    if kind is dict:
        assert isinstance(holder, dict)
        if len(holder) <= _LARGEST_CONTAINER:
            for key, value in list(holder.items()):
                if type(key) in (str, int):
                    yield f"{path}[{key!r}]", value
        return
    if kind in (list, tuple, deque):
        assert isinstance(holder, (list, tuple, deque))
        if len(holder) <= _LARGEST_CONTAINER:
            for index, value in enumerate(list(holder)):
                yield f"{path}[{index}]", value
        return
    if str(kind.__module__).startswith(("asyncio", "_asyncio", "vtloop", "builtins", "contextvars")):
        return
    yield from _attributes(path, holder)


def _attributes(path: str, holder: object) -> Iterator[tuple[str, object]]:
    try:
        own = object.__getattribute__(holder, "__dict__")
    except AttributeError:
        own = None
    if type(own) is dict:
        for key, value in list(own.items()):
            if type(key) is str:
                yield f"{path}.{key}", value
    for base in type(holder).__mro__:
        slots = base.__dict__.get("__slots__", ())
        for slot in (slots,) if isinstance(slots, str) else tuple(slots):
            member = base.__dict__.get(slot)
            if type(member).__name__ == "member_descriptor" and member is not None:
                try:
                    yield f"{path}.{slot}", member.__get__(holder)
                except AttributeError:
                    continue
