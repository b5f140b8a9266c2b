"""What the program itself calls a lock, queue or future: the variable or attribute that holds it.

Called by `waits`.  Looks at locals, attributes and small containers of the waiting frames, at module globals, and at
what other tasks call it, by identity and without running any code of the program: no properties, no `__getattr__`, no
comparison, and `issubclass(type(x), ...)` where `isinstance` would ask a proxy for its `__class__`.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from types import BuiltinFunctionType, CodeType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any, cast

from vtloop.cpython_waits import frame_locals, identity

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
_PLAIN_KEYS = (str, int, bool, bytes)
_LARGEST_CONTAINER = 256
_DEEP_VISITS = 20_000
_VISITS_ELSEWHERE = 5_000


class Namer:
    """Finds names for one capture; holds no object of the program beyond it."""

    def __init__(self) -> None:
        self._globals: dict[int, dict[int, str]] = {}
        self._deep_visits = _DEEP_VISITS
        self._elsewhere: dict[int, str] | None = None

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

    def name_elsewhere(self, wanted: object, stacks: Iterable[Sequence[FrameType]]) -> str | None:
        """The name under which any of `stacks` (each outermost first) holds `wanted`; the first one's counts.

        All calls of one capture mean the same stacks: they are gone through once, within a budget.
        """
        if self._elsewhere is None:
            self._elsewhere = {}
            left = _VISITS_ELSEWHERE
            for frames in stacks:
                for frame in reversed(frames):
                    found, visits = _named_among(frame_locals(frame), skip=("self", "cls"))
                    left -= visits + 1
                    for key, path in found.items():
                        self._elsewhere.setdefault(key, path)
                if left < 0:
                    break
        return self._elsewhere.get(identity(wanted))

    def _global_name(self, wanted: object, frames: Sequence[FrameType]) -> str | None:
        for frame in reversed(frames):
            names = self._globals.get(identity(frame.f_globals))
            if names is None:
                names = _named_among(frame.f_globals, modules=True)[0]
                self._globals[identity(frame.f_globals)] = names
            if identity(wanted) in names:
                return names[identity(wanted)]
        return None

    def _deep_name(self, wanted: object, scopes: Sequence[Mapping[str, Any]]) -> str | None:
        """One level deeper (``self.locks['a']``), or in a container there, within a budget for the whole capture."""
        for scope in scopes:
            for path, value in _inside(scope):
                for deep_path, deep in _members(path, value):
                    self._deep_visits -= 1
                    if deep is wanted:
                        return deep_path
                    if self._deep_visits <= 0:
                        return None
                    if type(deep) in (dict, list, tuple):
                        for deepest_path, deepest in _members(deep_path, deep):
                            self._deep_visits -= 1
                            if deepest is wanted:
                                return deepest_path
        return None


def _named_among(
    scope: Mapping[str, Any], skip: tuple[str, ...] = (), modules: bool = False
) -> tuple[dict[int, str], int]:
    """The primitives in a scope, and one level below what it holds, by identity; and how much was looked at."""
    found: dict[int, str] = {}
    below: dict[int, str] = {}
    visits = 0
    for key, value in list(scope.items()):
        visits += 1
        if type(key) is not str or key.startswith(("__", ".")):
            continue
        if _is_primitive(value):
            if key not in skip:
                found.setdefault(identity(value), key)
        elif type(value) is ModuleType:
            if modules and len(vars(value)) <= _LARGEST_CONTAINER:
                inner = {f"{key}.{name}": held for name, held in list(vars(value).items())}
                below |= {identity(held): path for path, held in inner.items() if _is_primitive(held)}
        else:
            for path, held in _members(key, value):
                visits += 1
                if _is_primitive(held):
                    below.setdefault(identity(held), path)
    return {**below, **found}, visits


def _is_primitive(value: object) -> bool:
    kind = type(value)
    return issubclass(kind, _NAMED_GLOBALS) or str(kind.__module__).startswith("anyio.")


def _inside(scope: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    for key, value in scope.items():
        if key[0] != ".":
            yield from _members(key, value)


def _members(path: str, holder: object) -> Iterator[tuple[str, object]]:
    """What an object holds, each with the expression that reaches it; asyncio's own objects stay closed."""
    kind = type(holder)
    if issubclass(kind, _CLOSED):
        return
    # The methods of the plain types: a subclass's own may run code of the program.
    if issubclass(kind, dict):
        held = cast("dict[object, object]", holder)
        if dict.__len__(held) <= _LARGEST_CONTAINER:
            for key, value in list(dict.items(held)):
                if _is_plain(key):
                    yield f"{path}[{key!r}]", value
    elif issubclass(kind, (list, tuple, deque)):
        plain: Any = list if issubclass(kind, list) else tuple if issubclass(kind, tuple) else deque
        fields = kind.__dict__.get("_fields", ())
        if plain.__len__(holder) <= _LARGEST_CONTAINER:
            for index, value in enumerate(list(plain.__iter__(holder))):
                named = type(fields) is tuple and index < len(fields)
                yield f"{path}.{fields[index]}" if named else f"{path}[{index}]", value
    if str(kind.__module__).startswith(("asyncio", "_asyncio", "vtloop", "builtins", "contextvars")):
        return
    yield from _attributes(path, holder)


def _is_plain(key: object) -> bool:
    """Whether a key can be written down without running any code of the program."""
    if type(key) is tuple:
        return len(key) <= 4 and all(type(part) in _PLAIN_KEYS for part in key)
    return type(key) in _PLAIN_KEYS


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
        for key, value in list(base.__dict__.items()):
            if issubclass(type(value), _NAMED_GLOBALS):
                yield f"{path}.{key}", value
        slots = base.__dict__.get("__slots__", ())
        if type(slots) not in (str, tuple, list, dict):
            continue
        for slot in (slots,) if isinstance(slots, str) else tuple(slots):
            member = base.__dict__.get(slot)
            if type(member).__name__ == "member_descriptor" and member is not None:
                try:
                    yield f"{path}.{slot}", member.__get__(holder)
                except AttributeError:
                    continue
