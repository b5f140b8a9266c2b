"""What a run is warned of: findings that do not fail it, as data, and how Python's warnings carry them.

Filled by the parts that judge a run (`Outcome.warnings`), shown by whoever runs a program.  It must never decide
whether something is wrong.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from contextlib import nullcontext, suppress
from dataclasses import dataclass, field
from typing import Any

from vtloop.errors import VtloopWarning

__all__ = ["Warned", "distinct", "emit", "emit_at"]


@dataclass(frozen=True, slots=True)
class Warned:
    """One thing to look at.

    Attributes:
        kind: What it is, in a word or two: ``"stuck task"``, ``"lock order"``, ``"blocking call"``.
        text: It, in one line; a suspicion is worded as one.
        report: It, in several lines; empty when the line says all.
        data: The facts as JSON-ready values.
    """

    kind: str
    text: str
    report: str = ""
    data: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        return self.report or self.text

    def to_dict(self) -> dict[str, Any]:
        """The facts as JSON-ready values."""
        return {"warning": self.kind, "message": self.text, **self.data}


def distinct(warned: Iterable[Warned]) -> list[Warned]:
    """Each of them once, in order: runs of one exploration say the same again."""
    return list({(one.kind, one.text): one for one in reversed(list(warned))}.values())[::-1]


def emit(warned: Iterable[Warned], stacklevel: int, failed: bool = False) -> None:
    """Hand each to Python's warnings as a `VtloopWarning`; ``stacklevel`` 1 is the caller.

    Args:
        warned: What to warn of.
        stacklevel: Whose line the warnings name.
        failed: Whether the run failed: a warning that the filters make an error of must not hide that.

    Raises:
        VtloopWarning: The warning filters make errors of them, and the run did not fail.
    """
    for one in warned:
        with suppress(VtloopWarning) if failed else nullcontext():
            warnings.warn(str(one), VtloopWarning, stacklevel=stacklevel + 1)


def emit_at(
    warned: Iterable[Warned], file: str, line: int, failed: bool, registry: dict[Any, Any] | None = None
) -> None:
    """The same, at a line of a file: that of a test; ``registry`` knows what was warned of already."""
    for one in warned:
        with suppress(VtloopWarning) if failed else nullcontext():
            warnings.warn_explicit(str(one), VtloopWarning, file, line, registry=registry)
