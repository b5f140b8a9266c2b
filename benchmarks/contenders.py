"""Who takes part: one `Contender` per column, and which of them are installed here.

Peers are imported only when asked for, so that a missing one is a line in the output and not an error.  Nothing here
measures anything.
"""

from __future__ import annotations

import asyncio
import importlib
import importlib.metadata
from collections.abc import Callable
from dataclasses import dataclass

__all__ = ["CONTENDERS", "Contender", "NotInstalled", "versions"]

Make = Callable[[], asyncio.AbstractEventLoop]


class NotInstalled(Exception):
    """A contender's package can not be imported; the message is the name of what is missing."""


@dataclass(frozen=True)
class Contender:
    """One column of the table.

    Attributes:
        name: What ``--loops`` and the header call it.
        title: What it is, for ``--help``.
        package: The distribution it needs, or an empty string.
        real: Its clock is the real one, so a program must not be charged for waiting.
        load: Imports what is needed and gives the maker of loops.
    """

    name: str
    title: str
    package: str
    real: bool
    load: Callable[[], Make]

    def maker(self) -> Make:
        """The callable that makes one new loop.

        Raises:
            NotInstalled: The package is missing, or is there without an event loop.
        """
        try:
            return self.load()
        except (ImportError, AttributeError) as error:
            raise NotInstalled(self.package) from error


def _stock() -> Make:
    return asyncio.SelectorEventLoop


def _uvloop() -> Make:
    make: Make = importlib.import_module("uvloop").Loop
    return make


def _looptime() -> Make:
    make: Make = importlib.import_module("looptime").make_event_loop_class(asyncio.SelectorEventLoop)
    return make


def _solipsism() -> Make:
    make: Make = importlib.import_module("async_solipsism").EventLoop
    return make


def _fifo() -> Make:
    make: Make = importlib.import_module("vtloop").EventLoop
    return make


def _random() -> Make:
    loop_class = importlib.import_module("vtloop").EventLoop

    def make() -> asyncio.AbstractEventLoop:
        loop: asyncio.AbstractEventLoop = loop_class(seed=1, scheduler="random", interleave="tasks")
        return loop

    return make


CONTENDERS: dict[str, Contender] = {
    contender.name: contender
    for contender in (
        Contender("stock", "asyncio.SelectorEventLoop", "", True, _stock),
        Contender("uvloop", "uvloop.Loop", "uvloop", True, _uvloop),
        Contender("looptime", "looptime over asyncio.SelectorEventLoop", "looptime", False, _looptime),
        Contender("solipsism", "async_solipsism.EventLoop", "async-solipsism", False, _solipsism),
        Contender("fifo", "vtloop.EventLoop()", "vtloop", False, _fifo),
        Contender("random", "vtloop.EventLoop, random order at level tasks, recorded", "vtloop", False, _random),
    )
}


def versions() -> dict[str, str]:
    """The versions of the installed packages among the contenders, by distribution name."""
    found: dict[str, str] = {}
    for contender in CONTENDERS.values():
        try:
            if contender.package:
                found[contender.package] = importlib.metadata.version(contender.package)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found
