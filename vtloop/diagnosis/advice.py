"""A mistake as it is recognised and told: the error, the program's line, and one or two lines of advice.

Shared by the modules that each know one family of mistakes, and by `mistakes`, which tries them.  A piece of advice is
true or it is not given: where several causes fit, less is said.  It must never run code of the program.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from types import CoroutineType, FunctionType, MethodType, TracebackType
from typing import Any

from vtloop.cpython_mocks import is_async_mock, is_mock
from vtloop.cpython_waits import frame_locals
from vtloop.diagnosis.chains import plain_name
from vtloop.diagnosis.sites import UNKNOWN, Site

__all__ = ["Case", "Rule", "article", "gives_coroutine", "is_future", "kind_of", "plain_function"]

_LONGEST, _WIDTH = 160, 114
_WRAPPED: dict[str, Any] = {"subsequent_indent": "  ", "break_long_words": False, "break_on_hyphens": False}


@dataclass(frozen=True, slots=True)
class Case:
    """An exception that may come of a known mistake.

    Attributes:
        error: The exception.
        found: The match of the rule's pattern in its message.
        site: The program's line.
        last: The innermost frame, which may be asyncio's.
        loop: The loop of the run.
    """

    error: BaseException
    found: re.Match[str]
    site: Site
    last: TracebackType
    loop: asyncio.AbstractEventLoop | None

    def told(self, what: str, edit: str | None = None) -> str:
        """`what` is wrong, and the line as it should be, or as it is."""
        what = "\n".join(textwrap.fill(line, _WIDTH, **_WRAPPED) for line in what.split("\n"))
        line = f"write `{edit}`" if edit is not None and not self.site.installed else f"`{self.site.source}`"
        if not self.site.source or len(line) > _LONGEST:
            return f"{what}\n  at {self.site}"
        return f"{what}\n  {self.site}: {line}"

    def local(self, name: str) -> Any:
        """A local variable of the innermost frame; `UNKNOWN` when it has none of that name."""
        return frame_locals(self.last.tb_frame).get(name, UNKNOWN)

    @property
    def argument(self) -> ast.expr | None:
        """The first argument of the call that failed, when it is a plain one."""
        node = self.site.node
        call = node.value if isinstance(node, ast.Await) else node
        first = call.args[0] if isinstance(call, ast.Call) and call.args else None
        return None if isinstance(first, ast.Starred) else first


@dataclass(frozen=True, slots=True)
class Rule:
    """A known message, and what makes advice of it.

    Attributes:
        kinds: The types of exception that it comes with, exactly.
        pattern: The message, matched from its beginning.
        advise: Gives the advice; None when the case is another one after all.
    """

    kinds: tuple[type[BaseException], ...]
    pattern: re.Pattern[str]
    advise: Callable[[Case], str | None]


def article(word: str) -> str:
    """``a list``, ``an AsyncMock``"""
    return f"{'an' if word[:1] in 'aeiouAEIO' else 'a'} {word}"


def kind_of(thing: object) -> str:
    """The name of its type."""
    return "None" if thing is None else type(thing).__name__


def plain_function(thing: object) -> FunctionType | None:
    """The function behind a function or method of Python code."""
    inner = thing.__func__ if type(thing) is MethodType else thing
    return inner if type(inner) is FunctionType else None


def gives_coroutine(thing: object) -> bool:
    """Whether calling it gives a coroutine, for certain."""
    if is_mock(thing):
        return is_async_mock(thing)
    function = plain_function(thing)
    return function is not None and bool(function.__code__.co_flags & inspect.CO_COROUTINE)


def is_future(thing: object) -> bool:
    """Whether it is a future or a task."""
    return issubclass(type(thing), asyncio.Future)


def name_of_coroutine(thing: object) -> str:
    """The name of the function that made a coroutine."""
    return plain_name(thing.__qualname__) if type(thing) is CoroutineType else ""
