"""The await chain of a task: every suspended frame from its coroutine down to the future it waits for.

Called by `waits` and by the loop (for a verdict's traceback).  Reads frames, never runs or changes them.  Must never
call `get_coro()` on a finished task: that crashes CPython 3.12.1 for eager ones.
"""

from __future__ import annotations

import asyncio
import contextlib
import linecache
import os
from dataclasses import dataclass
from types import AsyncGeneratorType, CodeType, CoroutineType, FrameType, GeneratorType, TracebackType
from typing import Any, NamedTuple

from vtloop import anyio_waits
from vtloop.cpython_waits import PRIMITIVES, Primitive, identity, unwrap

__all__ = ["Link", "Place", "Places", "await_chain", "await_chain_traceback", "one_line", "plain_name", "shown_path"]

_ASYNCIO = os.path.dirname(asyncio.__file__) + os.sep
_OWN = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_CONTEXTLIB = contextlib.__file__
_LONGEST_CHAIN = 10_000


@dataclass(frozen=True, slots=True)
class Place:
    """One line of code: where a frame of an await chain stands, or where a task was created."""

    file: str
    line: int
    function: str
    source: str
    internal: bool
    """True for asyncio's, anyio's, contextlib's and vtloop's own code."""

    def __str__(self) -> str:
        return f"{self.file}:{self.line} in {self.function}"


class Link(NamedTuple):
    """One suspended coroutine, generator or async generator of a chain, outermost first."""

    awaitable: Any
    frame: FrameType
    code: CodeType


def await_chain(coroutine: object) -> list[Link]:
    """The suspended frames from `coroutine` inwards; C objects in between are looked through."""
    chain: list[Link] = []
    current: object | None = coroutine
    frame: FrameType | None
    while current is not None and len(chain) < _LONGEST_CHAIN:
        kind = type(current)
        if kind is CoroutineType:
            assert isinstance(current, CoroutineType)
            frame, inner = current.cr_frame, current.cr_await
        elif kind is GeneratorType:
            assert isinstance(current, GeneratorType)
            frame, inner = current.gi_frame, current.gi_yieldfrom
        elif kind is AsyncGeneratorType:
            assert isinstance(current, AsyncGeneratorType)
            frame, inner = current.ag_frame, current.ag_await
        else:
            unwrapped = unwrap(current)
            if unwrapped is None:  # a future's iterator, or an awaitable class: compiled coroutines look like ours
                frame, inner = getattr(current, "cr_frame", None), getattr(current, "cr_await", None)
            else:
                frame, inner = None, unwrapped
        if isinstance(frame, FrameType):
            chain.append(Link(current, frame, frame.f_code))
        current = inner
    return chain


def one_line(name: str) -> str:
    """A name as a report prints it: line breaks and control characters as Python writes them."""
    return name if name.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in name)


def shown_path(path: str, cwd: str) -> str:
    """The path as a report prints it: relative when below `cwd`, else as it is."""
    below = cwd.rstrip(os.sep) + os.sep
    return path.removeprefix(below)


class Places:
    """Makes each `Place` once: thousands of tasks stand at a handful of lines.  Lives as long as one capture."""

    def __init__(self) -> None:
        self._cwd = os.getcwd()
        # Keyed by identity (hashing a code object hashes its bytecode); the value keeps the code object alive.
        self._known: dict[tuple[int, int], tuple[Place, CodeType]] = {}
        self._internal: dict[int, tuple[bool, CodeType]] = {}
        self._anyio = anyio_waits.folder()
        self._folders = (_ASYNCIO, _OWN) if self._anyio is None else (_ASYNCIO, _OWN, self._anyio)
        self._primitives = PRIMITIVES if self._anyio is None else {**PRIMITIVES, **anyio_waits.primitives()}

    def is_internal(self, code: CodeType) -> bool:
        """Whether the code is asyncio's, anyio's, contextlib's or vtloop's own."""
        known = self._internal.get(identity(code))
        if known is None:
            file = code.co_filename
            known = (file.startswith(self._folders) or file == _CONTEXTLIB, code)
            self._internal[identity(code)] = known
        return known[0]

    def library(self, code: CodeType) -> str | None:
        """``"asyncio"`` or ``"anyio"``, when the code is theirs."""
        if code.co_filename.startswith(_ASYNCIO):
            return "asyncio"
        return "anyio" if self._anyio is not None and code.co_filename.startswith(self._anyio) else None

    def primitive(self, code: CodeType) -> Primitive | None:
        """What a coroutine of asyncio or anyio waits for, by its code."""
        return self._primitives.get(identity(code))

    def of_frame(self, link: Link) -> Place:
        """Where the frame of a link stands."""
        key = (identity(link.code), link.frame.f_lasti)
        known = self._known.get(key)
        if known is None:
            known = self._make(link.code, link.frame.f_lineno, link.frame.f_globals), link.code
            self._known[key] = known
        return known[0]

    def of_instruction(self, code: CodeType, lasti: int) -> Place:
        """The line of the instruction `lasti` of `code`."""
        key = (identity(code), lasti)
        known = self._known.get(key)
        if known is None:
            line = next((ln for start, end, ln in code.co_lines() if start <= lasti < end and ln), code.co_firstlineno)
            known = self._make(code, line, None), code
            self._known[key] = known
        return known[0]

    def of_origin(self, task: object) -> Place | None:
        """Where the task was created, asyncio's own frames skipped; None for a task that does not know."""
        origin = getattr(task, "_origin", ())
        outside = next(((code, lasti) for code, lasti in origin if not self.is_internal(code)), None)
        return self.of_instruction(*outside) if outside else None

    def _make(self, code: CodeType, line: int | None, names: dict[str, Any] | None) -> Place:
        line = line or code.co_firstlineno
        source = linecache.getline(code.co_filename, line, names).strip()
        file = shown_path(code.co_filename, self._cwd)
        return Place(file, line, plain_name(code.co_qualname), source, self.is_internal(code))


def plain_name(qualname: str) -> str:
    """A qualified name without the functions it was defined in: ``test_x.<locals>.Pool.get`` -> ``Pool.get``."""
    return qualname.rpartition("<locals>.")[2]


def await_chain_traceback(task: asyncio.Task[Any]) -> TracebackType | None:
    """The await chain of a pending task as a traceback, ending at the last line that is not asyncio's.

    Raise a verdict with it (``error.with_traceback(tb)``) and Python, pytest and debuggers show where the program
    waits, not where the loop found out.  None for a finished or running task without frames.
    """
    if task.done():
        return None
    places = Places()
    chain = await_chain(task.get_coro())
    last = max((i for i, link in enumerate(chain) if not places.is_internal(link.code)), default=len(chain) - 1)
    traceback: TracebackType | None = None
    for link in reversed(chain[: last + 1]):
        line = link.frame.f_lineno or link.code.co_firstlineno
        traceback = TracebackType(traceback, link.frame, link.frame.f_lasti, line)
    return traceback
