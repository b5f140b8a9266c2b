"""What is run: a function in a module or a file, a script, or a pytest test, found by the text that names it.

Used by the command line.  `opened` imports what the text names and nothing else; it must never decide how it is run.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.util
import inspect
import os
import re
import shlex
import sys
import traceback
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import ModuleType
from typing import Any, NoReturn

from vtloop.errors import UsageError
from vtloop.folders import staying
from vtloop.options import Options
from vtloop.run import Outcome, execute
from vtloop.scripts import ScriptTarget, runner_loops

__all__ = ["FORMS", "FunctionTarget", "PytestTarget", "Target", "kind_of", "opened", "split"]

FORMS = (
    "package.module:function, path/file.py:function, a script path/file.py (its arguments after --), "
    "or a pytest node id like tests/test_x.py::test_y"
)
"""How a target is written, for messages."""


class FunctionTarget:
    """A function that gives a coroutine.

    Attributes:
        text: The target as one writes it.
    """

    def __init__(self, text: str, function: Callable[[], Any], folder: str | None = None) -> None:
        self.text, self._folder = text, folder
        self._main = function if inspect.iscoroutinefunction(function) else _called(text, function)

    def execute(self, options: Options, **how: Any) -> Outcome:
        """One run, in the folder in which the import left the program; arguments as for `vtloop.run.execute`."""
        with staying(self._folder):
            return execute(self._main, options, **how)


class PytestTarget:
    """A pytest test; pytest runs it, with our plugin.

    Attributes:
        text: The node id.
    """

    def __init__(self, text: str) -> None:
        self.text = text


Target = FunctionTarget | ScriptTarget | PytestTarget


def kind_of(text: str) -> str:
    """``"pytest"``, ``"script"`` or ``"function"``, by the text alone.

    Raises:
        UsageError: It is none of these.
    """
    if "::" in text:
        return "pytest"
    if text.endswith((".py", ".pyw")):
        return "script"
    place, colon, name = text.rpartition(":")
    dotted = place.endswith(".py") or all(part.isidentifier() for part in place.split("."))
    if colon and dotted and all(part.isidentifier() for part in name.split(".")):
        return "function"
    raise UsageError(f"TARGET must be {FORMS}; got {text!r}")


def split(text: str) -> tuple[str, tuple[str, ...]]:
    """A target as a trace keeps it, parted into target and script arguments."""
    head, dashes, rest = text.partition(" -- ")
    return (head, tuple(shlex.split(rest))) if dashes and head.endswith((".py", ".pyw")) else (text, ())


@contextmanager
def opened(text: str, arguments: Sequence[str] = ()) -> Iterator[Target]:
    """Import what ``text`` names; ``sys.path`` has its folder while it is open.

    Raises:
        UsageError: There is no such thing, it does not import, or it is not a function that gives a coroutine.
    """
    kind = kind_of(text)
    if arguments and kind != "script":
        raise UsageError(f"only a script takes arguments after --; {text!r} is not one, got {shlex.join(arguments)}")
    if kind == "pytest":
        yield PytestTarget(text)
        return
    if kind == "script":
        with _on_path(os.path.dirname(os.path.abspath(text))):
            yield ScriptTarget(text, arguments)
        return
    place, _, name = text.rpartition(":")
    with ExitStack() as stack:
        with staying():
            if place.endswith(".py"):
                module = stack.enter_context(_from_file(text, place))
            else:
                stack.enter_context(_on_path(os.getcwd()))
                module = _from_module(text, place)
            folder = os.getcwd()
        yield FunctionTarget(text, _function(text, module, name), folder)


@contextmanager
def _on_path(folder: str) -> Iterator[None]:
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)


def _from_module(text: str, name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        _refuse(text, exc)


@contextmanager
def _from_file(text: str, path: str) -> Iterator[ModuleType]:
    """The module of a file, run anew; under its package's name when the file is part of a package."""
    if not os.path.isfile(path):
        raise UsageError(f"target {text!r}: there is no file {path!r}")
    folder, file = os.path.split(os.path.abspath(path))
    parts = [file.removesuffix(".py")]
    while os.path.isfile(os.path.join(folder, "__init__.py")):
        folder, package = os.path.split(folder)
        parts.insert(0, package)
    with _on_path(folder):
        if len(parts) > 1 and all(part.isidentifier() for part in parts):
            yield _from_module(text, ".".join(parts))
            return
        name = parts[-1]
        if not _is_free(name):
            name = f"{name}_{zlib.crc32(os.path.abspath(path).encode()):08x}"
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = sys.modules[name] = importlib.util.module_from_spec(spec)
        try:
            spec.loader.exec_module(module)
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            del sys.modules[name]
            _refuse(text, exc)
        try:
            yield module
        finally:
            if sys.modules.get(name) is module:
                del sys.modules[name]


def _is_free(name: str) -> bool:
    """Whether a module may be called ``name``: no other module is."""
    return name not in sys.modules and name not in sys.stdlib_module_names


def _refuse(text: str, exc: BaseException) -> NoReturn:
    """One sentence about an import that failed, with the place in the user's code."""
    frames = [f for f in traceback.extract_tb(exc.__traceback__) if not _of_the_import(f.filename)]
    at = f" ({os.path.relpath(frames[-1].filename)}:{frames[-1].lineno})" if frames else ""
    message = str(exc).split("\n", 1)[0]
    raise UsageError(f"target {text!r} does not import: {type(exc).__name__}: {message}{at}") from None


def _of_the_import(filename: str) -> bool:
    return filename.startswith("<frozen ") or filename in (__file__, importlib.__file__)


def _function(text: str, module: ModuleType, name: str) -> Callable[[], Any]:
    """``module.name``, if it is a function that can be called without arguments."""
    found: Any = module
    for part in name.split("."):
        try:
            found = getattr(found, part)
        except AttributeError:
            there = [n for n, value in vars(module).items() if inspect.iscoroutinefunction(value)]
            names = f"; its async functions: {', '.join(there[:8])}" if there else "; it has no async function"
            raise UsageError(f"target {text!r}: {module.__name__} has no {name!r}{names}") from None
    if not callable(found):
        raise UsageError(f"target {text!r} must be an async def function, got {_shown(found)}")
    if inspect.isasyncgenfunction(found) or inspect.isgeneratorfunction(found):
        raise UsageError(f"target {text!r} is a generator; an async def without yield is needed")
    try:
        inspect.signature(found).bind()
    except TypeError as exc:
        raise UsageError(f"target {text!r} is called without arguments, but: {exc}") from None
    except ValueError:
        pass  # some callables of C have no signature: the call will show
    return found  # type: ignore[no-any-return]


def _called(text: str, function: Callable[[], Any]) -> Callable[[], Any]:
    """A plain function as a program: it must give a coroutine, and run no loop itself."""
    rest = "an async def, or a function that returns a coroutine, is needed; a program that calls asyncio.run() itself "
    rest += "is run as a script"

    def refuse_loop() -> asyncio.AbstractEventLoop:
        raise _OwnLoop

    def main() -> Any:
        with warnings.catch_warnings(), runner_loops(refuse_loop):
            # The coroutine that the refused asyncio.run() was given is dropped with the exception.
            warnings.filterwarnings("ignore", r"coroutine .* was never awaited", RuntimeWarning)
            try:
                made = function()
            except _OwnLoop:
                made = refuse_loop
        if made is refuse_loop:
            raise UsageError(f"target {text!r} starts an event loop itself; {rest}")
        if not inspect.iscoroutine(made):
            raise UsageError(f"target {text!r} is a plain function and returned {_shown(made)}; {rest}")
        return made

    return main


class _OwnLoop(BaseException):
    """A plain function asked for a loop of its own."""


def _shown(value: object) -> str:
    """A value in a few characters, without an address."""
    return re.sub(r" at 0x[0-9a-fA-F]+", "", repr(value))[:80]
