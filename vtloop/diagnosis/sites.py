"""Where an exception came from: the program's own line, the expression that failed, and what its names stand for.

Called by the naming of mistakes when a run has failed.  Reads frames and source text, and looks names up the way the
`Namer` does: in dicts, by identity.  It must never run code of the program: no properties, no ``__getattr__``, no repr.
"""

from __future__ import annotations

import ast
import contextlib
import copy
import inspect
import itertools
import linecache
import os
import sysconfig
import textwrap
import threading
import warnings
from collections.abc import Iterator
from types import FrameType, ModuleType, TracebackType
from typing import Any, NamedTuple

from vtloop.cpython_mocks import child_of, is_mock
from vtloop.cpython_waits import frame_locals
from vtloop.diagnosis.chains import Places, plain_name, shown_path

__all__ = ["UNKNOWN", "Site", "frames_of", "site_of"]

UNKNOWN = object()
"""What a lookup gives when the value cannot be known without running the program's code."""

_STDLIB = os.path.dirname(threading.__file__) + os.sep
_PACKAGES = tuple({sysconfig.get_path(name) + os.sep for name in ("purelib", "platlib")})
_AWAITING = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR | inspect.CO_ITERABLE_COROUTINE


def frames_of(error: BaseException) -> Iterator[TracebackType]:
    """The frames of an exception's traceback, outermost first."""
    traceback = error.__traceback__
    while traceback is not None:
        yield traceback
        traceback = traceback.tb_next


def site_of(error: BaseException) -> Site | None:
    """The innermost line that belongs neither to asyncio, vtloop nor the standard library; None if there is none."""
    places = Places()
    last: TracebackType | None = None
    found: TracebackType | None = None
    for last in frames_of(error):
        code = last.tb_frame.f_code
        file = code.co_filename
        library = file.startswith(_STDLIB) and not file.startswith(_PACKAGES)
        library = library or last.tb_frame.f_globals.get("__name__") == "nest_asyncio"  # a patch of asyncio
        if not library and not places.is_internal(code) and file[:1] != "<":
            found = last
    if found is None:
        return None
    return Site(found.tb_frame, found.tb_lasti, found.tb_lineno or 0, direct=found is last)


class _Parsed(NamedTuple):
    """Source text and what it means; where it stands if it is an expression in one line."""

    root: ast.AST
    text: str
    line: int = 0
    begin: int = 0
    added: str = ""
    """What the text has at its end and the program has not."""


class Site:
    """A line of the program on which something failed.

    Attributes:
        frame: The frame.
        direct: Whether the line itself failed, and not something that it called.
        line: Its number.
        source: The line, stripped.
        node: What failed on it, as far as the positions of the bytecode tell: an expression, or a statement.
        statement: The statement, when it stands in one line; of a longer one its first line, when that is the one.
    """

    def __init__(self, frame: FrameType, lasti: int, line: int, *, direct: bool = True) -> None:
        self.frame = frame
        self.direct = direct
        code = self.frame.f_code
        self.line = line or code.co_firstlineno
        self._lines = linecache.getlines(code.co_filename, self.frame.f_globals)
        self.source = self._line_at(self.line).strip()
        position = next(itertools.islice(code.co_positions(), lasti // 2, None), None)
        failed = self._expression(*position) if position is not None else None
        statement = self._statement(self.line, self.line)
        if failed is None and position is not None and position[0] is not None and position[1] is not None:
            failed = self._statement(position[0], position[1])
        self._parsed = [one for one in (failed, statement) if one is not None]
        self.node = failed.root if failed is not None else None
        self.statement = statement.root if statement is not None else None
        self._comment = ""
        whole = statement is not None and not statement.added
        if whole and isinstance(self.statement, ast.stmt) and self.statement.end_lineno == 1:
            code_only = self.source.encode()[: self.statement.end_col_offset].decode(errors="replace")
            if self.source[len(code_only) :].lstrip().startswith("#"):
                self._comment, self.source = self.source[len(code_only) :], code_only
        self._scope: dict[str, Any] | None = None

    def __str__(self) -> str:
        code = self.frame.f_code
        return f"{shown_path(code.co_filename, os.getcwd())}:{self.line} in {self.function}"

    @property
    def function(self) -> str:
        """What the function is called."""
        return plain_name(self.frame.f_code.co_qualname)

    @property
    def installed(self) -> bool:
        """Whether the line belongs to an installed package, which is not for its user to edit."""
        return self.frame.f_code.co_filename.startswith(_PACKAGES)

    @property
    def may_await(self) -> bool:
        """Whether ``await`` can stand on the line."""
        return bool(self.frame.f_code.co_flags & _AWAITING)

    @property
    def is_plain_function(self) -> bool:
        """Whether the line belongs to a plain ``def``, where ``await`` cannot stand."""
        return not self.may_await and not self.frame.f_code.co_name.startswith("<")

    def in_frame(self, frame: FrameType) -> Site:
        """The same line in another frame of the same code."""
        other = copy.copy(self)
        other.frame, other._scope = frame, None
        return other

    # -- source -----------------------------------------------------------------------------------------------------

    def _line_at(self, number: int) -> str:
        return self._lines[number - 1] if 0 < number <= len(self._lines) else ""

    def _expression(self, first: int | None, last: int | None, begin: int | None, end: int | None) -> _Parsed | None:
        if first is None or last is None or begin is None or end is None or not self._line_at(last):
            return None
        lines = [self._line_at(n).encode() for n in range(first, last + 1)]
        lines[-1] = lines[-1][:end]
        lines[0] = lines[0][begin:]
        # Inside parentheses the indentation of further lines does not count.
        text = f"({b''.join(lines).decode(errors='replace')})"
        parsed = _parsed(text, "eval")
        return _Parsed(parsed.body, text, first if first == last else 0, begin) if parsed is not None else None

    def _statement(self, first: int, last: int) -> _Parsed | None:
        text = textwrap.dedent("".join(self._line_at(n) for n in range(first, last + 1))).rstrip()
        for part in (text, text.rpartition("#")[0].rstrip()):  # a comment may stand behind the colon
            added = " pass" if part.endswith(":") else ""
            parsed = _parsed(part + added, "exec")
            if parsed is not None and len(parsed.body) == 1:
                return _Parsed(parsed.body[0], part + added, added=added)
        return None

    def _home(self, node: ast.AST) -> _Parsed:
        return next(one for one in self._parsed if any(part is node for part in ast.walk(one.root)))

    def text(self, node: ast.AST) -> str:
        """The source of a part, in one line."""
        found = ast.get_source_segment(self._home(node).text, node)
        return found if found is not None and "\n" not in found else ast.unparse(node)

    def with_await(self, node: ast.expr, text: str | None = None) -> str | None:
        """The line with ``await fetch()`` in the place of `node`, in parentheses where what follows binds tighter.

        Args:
            node: A part of the line.
            text: What is awaited; None for the part itself.
        """
        if not self.may_await or not isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript)):
            return None
        home = self._home(node)
        tight = any(
            node is (outer.func if isinstance(outer, ast.Call) else outer.value)
            for outer in ast.walk(home.root)
            if isinstance(outer, (ast.Attribute, ast.Subscript, ast.Call))
        )
        if node is home.root and home.line:
            behind = self._line_at(home.line).encode()[home.begin + len(home.text.encode()) - 2 :]
            tight = behind.lstrip()[:1] in (b".", b"[", b"(")
        awaited = f"await {self.text(node) if text is None else text}"
        return self.replaced(node, f"({awaited})" if tight else awaited)

    def replaced(self, node: ast.expr, text: str) -> str | None:
        """The line with `text` in the place of the part `node`; None where that cannot be shown."""
        home = self._home(node)
        if home.line:
            # The parsed text has one parenthesis more than the line.
            line, shift = self._line_at(home.line).encode(), home.begin - 1
        else:
            line, shift = home.text.partition("\n")[0].removesuffix(home.added).encode(), 0
            if line.decode() not in (self.source, self.source + self._comment):
                return None
        if node.lineno != 1 or node.end_lineno != 1 or node.end_col_offset is None:
            return None
        start, end = shift + node.col_offset, shift + node.end_col_offset
        edited = (line[:start] + text.encode() + line[end:]).decode(errors="replace").strip()
        return edited.removesuffix(self._comment)

    # -- what names stand for ---------------------------------------------------------------------------------------

    @property
    def scope(self) -> dict[str, Any]:
        """The local variables."""
        if self._scope is None:
            self._scope = dict(frame_locals(self.frame))
        return self._scope

    def value(self, node: ast.AST | None) -> Any:
        """What a name, attribute or item stands for; `UNKNOWN` where only running code could tell."""
        if isinstance(node, ast.Name):
            for names in (self.scope, self.frame.f_globals, self.frame.f_builtins):
                if node.id in names:
                    return names[node.id]
        elif isinstance(node, ast.Attribute):
            return _member(self.value(node.value), node.attr)
        elif isinstance(node, ast.Subscript):
            key = node.slice.value if isinstance(node.slice, ast.Constant) else self.value(node.slice)
            return _item(self.value(node.value), key)
        return UNKNOWN


def _parsed(text: str, mode: str) -> Any:
    """The syntax tree of a piece of source; None for what is no whole expression or statement."""
    # Python warned of its escapes and the like when it compiled the file.
    with warnings.catch_warnings(), contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        warnings.simplefilter("ignore")
        return ast.parse(text, mode=mode)
    return None


def _member(holder: Any, name: str) -> Any:
    if holder is UNKNOWN:
        return UNKNOWN
    if type(holder) is ModuleType:
        return vars(holder).get(name, UNKNOWN)
    if is_mock(holder):
        found = child_of(holder, name)
        return UNKNOWN if found is None else found
    if isinstance(holder, type):
        own: dict[str, Any] = {}
        inherited = _of_class(holder, name)
    else:
        if _of_class(type(holder), "__getattribute__") is not object.__dict__["__getattribute__"]:
            return UNKNOWN
        own, inherited = _own(holder), _of_class(type(holder), name)
    if name in own and not hasattr(type(inherited), "__set__"):
        return own[name]
    if isinstance(inherited, (staticmethod, classmethod)):
        return inherited.__func__
    plain = inspect.isfunction(inherited) or isinstance(inherited, type) or not hasattr(type(inherited), "__get__")
    return inherited if plain else UNKNOWN


def _of_class(kind: type, name: str) -> Any:
    return next((vars(each)[name] for each in kind.__mro__ if name in vars(each)), UNKNOWN)


def _own(holder: object) -> dict[str, Any]:
    try:
        found = object.__getattribute__(holder, "__dict__")
    except AttributeError:  # it has slots
        return {}
    return found if type(found) is dict else {}


def _item(holder: Any, key: Any) -> Any:
    if type(holder) is dict and type(key) in (str, int):
        # Equal keys of other types would have their own `__eq__` asked.
        return next((value for k, value in holder.items() if type(k) is type(key) and k == key), UNKNOWN)
    if type(holder) in (list, tuple) and type(key) is int and -len(holder) <= key < len(holder):
        return holder[key]
    return UNKNOWN
