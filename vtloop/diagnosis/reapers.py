"""What the code that is alive could do besides waking: cancel every task there is, end the run, release any lock.

Called by `judge` only when a verdict would be due.  Reachability does not see what goes by name:
``asyncio.all_tasks()`` gives any task, ``sys.exit()`` ends everything.  So the code of what is alive is read, with all
it refers to by name, as far as that can be told; a doubt counts as a yes.  It must never run what it reads.
"""

from __future__ import annotations

import _thread
import asyncio
import builtins
import dis
import functools
import gc
import operator
import os
import signal
import sys
import weakref
from collections import deque
from collections.abc import Iterable, Iterator
from types import (
    AsyncGeneratorType,
    CellType,
    CodeType,
    CoroutineType,
    FunctionType,
    GeneratorType,
    MethodType,
    ModuleType,
)
from typing import Any

from vtloop import cpython_heap

__all__ = ["CANCELS", "ENDS", "RELEASES", "abilities"]

CANCELS, ENDS, RELEASES = "cancels", "ends", "releases"

_MOST_CODES, _MOST_THINGS = 5_000, 50_000
_NO_CODE = compile("", "", "exec")
_IN_A_CATCH = ("LOAD_GLOBAL", "LOAD_NAME", "LOAD_ATTR", "BUILD_TUPLE")
_PLAIN = (str, bytes, int, float, bool, type(None), CodeType)
_OPEN = (
    *(list, tuple, dict, set, frozenset, deque, MethodType, CellType, staticmethod, classmethod, property),
    *(
        map,
        filter,
        zip,
        enumerate,
        reversed,
        functools.partial,
        functools.cached_property,
        type(functools.lru_cache(bool)),
    ),
)
_HANDS = (CoroutineType, MethodType, CellType, tuple, functools.partial)

_KEEPERS = ("collections", "contextlib", "itertools", "types", "weakref")
"""Modules of Python whose objects keep what belongs to the program."""

_SPEAKING = (FunctionType, MethodType, CoroutineType, GeneratorType, AsyncGeneratorType, type)
_LISTS = (
    *("all_tasks", "get_running_tasks", "get_objects", "get_referrers", "get_referents", "f_locals"),
    *cpython_heap.LISTS_OF_TASKS,
)
"""Names by which any task can be had: asyncio's, anyio's, the collector's, and those of frames."""

_LETS_GO = ("release", "__aexit__", *cpython_heap.PARTS_OF_A_LOCK)
_RAISING = ("raise_signal", "alarm", "setitimer", "pthread_kill")  # not all of them on every system
_ENDERS = (
    *(sys.exit, os._exit, os.kill, os.abort, _thread.interrupt_main, SystemExit, KeyboardInterrupt),
    *(vars(signal)[name] for name in _RAISING if name in vars(signal)),
)
_UNKNOWN = (exec, eval)
_BY_NAME = ("getattr", "methodcaller", "attrgetter", "vars", "__dict__", "__getattribute__")
"""Names that turn a string into an attribute."""

_GETTERS = (operator.methodcaller, operator.attrgetter)
_ALL = frozenset({CANCELS, ENDS, RELEASES})
_NOT_THE_PROGRAM = (
    *("vtloop", "_pytest", "pytest", "pluggy", "pytest_asyncio", "xdist", "execnet", "anyio", "sniffio", "hypothesis"),
    *("sortedcontainers", "_hypothesis_pytestplugin", "blockbuster", "forbiddenfruit"),
)


def abilities(used: Iterable[Any]) -> set[str]:
    """Which of `CANCELS`, `ENDS` and `RELEASES` the code of the objects ``used`` may do; all of them in doubt."""
    reading = _Reading()
    reading.begin(used)
    return reading.read()


class _Reading:
    """Reads code, and what it refers to by name, until nothing new comes."""

    def __init__(self) -> None:
        # By identity; the values keep alive what the numbers stand for.
        self.codes: dict[int, tuple[CodeType, dict[str, Any]]] = {}
        self.things: dict[int, Any] = {}
        self.unread: list[tuple[CodeType, dict[str, Any]]] = []
        self.todo: list[Any] = []
        self.found: set[str] = set()

    def begin(self, used: Iterable[Any]) -> None:
        used = [thing for thing in used if not isinstance(thing, ModuleType)]
        self.things = {id(thing): thing for thing in used}
        for thing in [*used, *gc.get_referents(*used), *set(map(type, used))]:
            self._judge(thing)
            if isinstance(thing, _SPEAKING):
                self._look_at(thing)
        # What is older than the run and in the hands of code that is alive: it may hold others that are as old.
        for thing in gc.get_referents(*(one for one in used if isinstance(one, _HANDS))):
            if id(thing) not in self.things and not _is_foreign(type(thing).__module__):
                self._look_at(thing)

    def read(self) -> set[str]:
        found = self.found
        while self.unread or self.todo:
            if len(self.codes) > _MOST_CODES or len(self.things) > _MOST_THINGS + len(self.codes):
                return set(_ALL)
            while self.todo:
                self._look_at(self.todo.pop())
            if self.unread:
                self._read(*self.unread.pop(), found)
        return found

    def _read(self, code: CodeType, scope: dict[str, Any], found: set[str]) -> None:
        names = set(_names(code))
        if not names.isdisjoint(_BY_NAME):
            names |= _texts(code)
        self._judge_names(names)
        if "stop" in names and any("loop" in name for name in (*names, *code.co_varnames, *code.co_freevars)):
            found.add(ENDS)
        if "getattr" in names:
            self.todo += [value for module in _modules_asked(code, scope) for value in vars(module).values()]
        for name in sorted(names):
            value = scope.get(name, vars(builtins).get(name))
            if any(value is one for one in _UNKNOWN):
                found |= _ALL
            elif value is asyncio.all_tasks:
                found.add(CANCELS)
            elif (_ends(value) or _is_end(value)) and _does(code, name):
                found.add(ENDS)
            elif isinstance(value, ModuleType):
                members = [vars(value)[name] for name in sorted(names) if name in vars(value)]
                if any(member is asyncio.all_tasks for member in members):
                    found.add(CANCELS)
                if any(_ends(member) or _is_end(member) for member in members):
                    found.add(ENDS)
                self.todo += members
            elif value is not None:
                self.todo.append(value)

    def _judge_names(self, names: set[str]) -> None:
        if not names.isdisjoint(_LISTS):
            self.found.add(CANCELS)
        if not names.isdisjoint(_LETS_GO):
            self.found.add(RELEASES)
        if "parse_args" in names:  # argparse exits when it does not like them
            self.found.add(ENDS)

    def _look_at(self, thing: Any) -> None:
        """Follow what can be called, and the program's own objects, to the code behind them."""
        kind = type(thing)
        self._judge(thing)
        if kind in _PLAIN or isinstance(thing, ModuleType) or _is_namespace(thing):
            return
        if kind is FunctionType:
            self._add_code(thing.__code__, thing.__globals__, thing)
        elif kind is CoroutineType and thing.cr_frame is not None:
            self._add_code(thing.cr_code, thing.cr_frame.f_globals, None)
        elif kind is GeneratorType and thing.gi_frame is not None:
            self._add_code(thing.gi_code, thing.gi_frame.f_globals, None)
        elif kind is AsyncGeneratorType and thing.ag_frame is not None:
            self._add_code(thing.ag_code, thing.ag_frame.f_globals, None)
        elif id(thing) not in self.things or isinstance(thing, type):
            self._enter(thing, kind)

    def _judge(self, thing: Any) -> None:
        """What a thing can do by itself, by whatever name it goes."""
        if thing is asyncio.all_tasks:
            self.found.add(CANCELS)
        elif isinstance(thing, (SystemExit, KeyboardInterrupt)) or _ends(thing):
            self.found.add(ENDS)
        elif type(thing) in _GETTERS:
            self._judge_names(set(thing.__reduce__()[1]))
        elif type(thing) is MethodType:
            if thing.__func__ is asyncio.Lock.release and id(thing) not in self.things:
                self.found.add(RELEASES)
            elif isinstance(thing.__self__, asyncio.AbstractEventLoop) and thing.__func__.__name__ == "stop":
                self.found.add(ENDS)

    def _enter(self, thing: Any, kind: type) -> None:
        if isinstance(thing, type):
            for base in thing.__mro__:
                if not _is_foreign(base.__module__) and id(base) not in self.codes:
                    self.codes[id(base)] = _NO_CODE, {}
                    self.things[id(base)] = base
                    self.todo += vars(base).values()
        elif isinstance(thing, weakref.ref):
            self.things[id(thing)] = thing
            self.todo.append(weakref.ref.__call__(thing))
        elif kind in _OPEN or kind.__module__ in _KEEPERS or not _is_foreign(kind.__module__):
            self.things[id(thing)] = thing
            self.todo.append(kind)
            self.todo += [inner for inner in gc.get_referents(thing) if not isinstance(inner, type)]

    def _add_code(self, code: CodeType, scope: dict[str, Any], function: FunctionType | None) -> None:
        if _is_foreign(scope.get("__name__")):
            return
        if id(code) not in self.codes:
            self.codes[id(code)] = code, scope
            self.unread.append((code, scope))
        if function is not None and id(function) not in self.things:
            self.things[id(function)] = function
            self.todo += [inner for inner in gc.get_referents(function) if inner is not scope]


def _is_foreign(module: Any) -> bool:
    """Whether a module is Python's own, ours, or one that runs tests: they list tasks and mean nothing by it."""
    package = str(module).partition(".")[0]
    return (package in sys.stdlib_module_names and package != "__main__") or package in _NOT_THE_PROGRAM


def _is_namespace(thing: Any) -> bool:
    """Whether it is the namespace of a module: of that only what code names is followed."""
    return type(thing) is dict and ("__builtins__" in thing or thing is vars(builtins) or "__spec__" in thing)


def _names(code: CodeType) -> Iterator[str]:
    """The globals and attributes that a code object and those inside it use."""
    yield from code.co_names
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _names(const)


def _texts(code: CodeType) -> set[str]:
    """The strings in a code object and those inside it, which could be names."""
    found = {const for const in code.co_consts if isinstance(const, str) and const.isidentifier()}
    return found.union(*(_texts(const) for const in code.co_consts if isinstance(const, CodeType)))


def _modules_asked(code: CodeType, scope: dict[str, Any]) -> Iterator[ModuleType]:
    """The modules that the code asks with ``getattr`` for a name that it puts together."""
    steps = [step for step in dis.get_instructions(code) if step.opname != "PUSH_NULL"]
    for asks, whom, first, then in zip(steps, steps[1:], steps[2:], steps[3:], strict=False):
        module = scope.get(whom.argval) if isinstance(whom.argval, str) else None
        known = first.opname == "LOAD_CONST" and then.opname in ("PRECALL", "CALL", "LOAD_CONST")
        if asks.argval == "getattr" and isinstance(module, ModuleType) and not known:
            yield module
    for const in code.co_consts:
        if isinstance(const, CodeType):
            yield from _modules_asked(const, scope)


def _ends(value: Any) -> bool:
    if isinstance(value, type):
        return False
    return any(value is one for one in _ENDERS) or type(value).__name__ == "Quitter"


def _is_end(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, (SystemExit, KeyboardInterrupt))


def _does(code: CodeType, name: str) -> bool:
    """Whether the code uses ``name`` otherwise than to catch it."""
    steps = list(dis.get_instructions(code))
    for place, step in enumerate(steps):
        if step.argval == name and step.opname.startswith("LOAD_"):
            after = next((s.opname for s in steps[place + 1 :] if s.opname not in _IN_A_CATCH), "")
            if after != "CHECK_EXC_MATCH":
                return True
    return any(_does(const, name) for const in code.co_consts if isinstance(const, CodeType))
