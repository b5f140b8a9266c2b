"""The list of healthy programs: a family (a module of this folder) puts its own in with ``@healthy``.

A program is a coroutine function without arguments that any asyncio loop can run.  It asserts what must hold in every
order that asyncio allows, and however long its steps take; what it leaves behind at its end is healthy by contract.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

__all__ = ["PROGRAMS", "Program", "healthy", "length"]


class Length:
    """How long the slow programs are; the runner makes most runs short and some long.

    Attributes:
        ticks: How often a heartbeat beats while main waits for something slow.
    """

    ticks = 1_500


length = Length()


@dataclass(frozen=True, slots=True)
class Program:
    """A healthy program, and where it can be run.

    Attributes:
        main: The program.
        quick: Whether the standard loop runs it in a few real milliseconds.
        threads: Whether it needs real threads, which the oracle of asyncio's order does not have.
        virtual: Whether it uses what only vtloop has.
    """

    main: Callable[[], Coroutine[Any, Any, None]]
    quick: bool
    threads: bool
    virtual: bool

    @property
    def name(self) -> str:
        """``family.name``"""
        return f"{self.main.__module__.rpartition('.')[2]}.{self.main.__name__}"


PROGRAMS: dict[str, Program] = {}


def healthy(*, quick: bool = True, threads: bool = False, virtual: bool = False) -> Callable[[Any], Any]:
    """Put a program into the list.

    Args:
        quick: False when it takes more than some real milliseconds on the standard loop.
        threads: True when it uses an executor or threads.
        virtual: True when it uses what only vtloop has.
    """

    def add(main: Callable[[], Coroutine[Any, Any, None]]) -> Callable[[], Coroutine[Any, Any, None]]:
        program = Program(main, quick and not virtual, threads, virtual)
        assert program.name not in PROGRAMS
        PROGRAMS[program.name] = program
        return main

    return add
