"""What is said of a sick program: which verdict it gets, and which task, primitive, holder and line are its cause.

A program marks the line of its defect with ``# HERE``, or several lines with ``# HERE <word>``; nobody counts lines.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

__all__ = ["Case", "Stuck", "catalogue", "sick"]

Program = Callable[[], Coroutine[Any, Any, Any]]

catalogue: dict[str, Case] = {}
"""Every case by its name, in the order in which the modules with programs are read."""


@dataclass(frozen=True)
class Stuck:
    """One task that can never go on.

    Attributes:
        task: The name it was given; "main" for the main task.
        kind: The kind of what it waits for, as ``to_dict()`` has it.
        name: What the program calls that.
        holder: The name of the task that holds it.
        here: The word of the marker on the line where it waits.
    """

    task: str
    kind: str
    name: str | None = None
    holder: str | None = None
    here: str = ""


@dataclass(frozen=True)
class Case:
    """One sick program and what has to be said of it.

    Attributes:
        program: The program.
        family: The module it stands in.
        error: What the run raises; None for a run that passes, with a warning.
        stuck: Tasks that the verdict has to show, the first of them in its first line.
        says: Words of the first line: of the error, or of one warning.
        shows: Words of the whole report, or of the notes of an exception that is not ours.
        here: The words of the markers whose lines have to be shown.
        options: Options of the run.
        explored: Whether asyncio's own order passes, so that only an exploration finds it.
        slow: Whether a run takes more than a quarter of a second.
    """

    program: Program
    family: str
    error: type[BaseException] | None
    stuck: tuple[Stuck, ...] = ()
    says: tuple[str, ...] = ()
    shows: tuple[str, ...] = ()
    here: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    explored: bool = False
    slow: bool = False

    @property
    def name(self) -> str:
        """The name of its program."""
        return self.program.__name__

    @property
    def file(self) -> str:
        """The name of the file of its program."""
        return Path(inspect.getsourcefile(self.program) or "").name

    @property
    def first_line(self) -> int:
        """Where the program begins."""
        return inspect.getsourcelines(self.program)[1]

    def line(self, word: str = "") -> int:
        """The line of the program that ends in ``# HERE`` and ``word``."""
        lines, first = inspect.getsourcelines(self.program)
        mark = f"# HERE {word}".rstrip()
        found = [number for number, line in enumerate(lines, first) if line.rstrip().endswith(mark)]
        assert len(found) == 1, f"{self.name} has {len(found)} lines that end in {mark!r}"
        return found[0]


def sick(error: type[BaseException] | None, *stuck: Stuck, **said: Any) -> Callable[[Program], Program]:
    """Enter a program into the `catalogue`; the rest as in `Case`."""

    def enter(program: Program) -> Program:
        case = Case(program, program.__module__.rpartition(".")[2], error, stuck, **said)
        assert case.name not in catalogue, f"{case.name} is there twice"
        catalogue[case.name] = case
        return program

    return enter
