"""Which two lines of two steps meet: those that name a variable that one may change, so that their order can matter.

Called for the words of a choice.  Reads the text of lines that have run, nothing else: it is a hint where to look, not
an analysis.  It must never claim more than that both lines name something.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Sequence

from vtloop.report.story import Spot

__all__ = ["meeting", "without_comment"]

_STRING = re.compile(r"""[rbfuRBFU]{0,2}("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|\#.*""")
_NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\s*\()?")
_WRITE = re.compile(r"(?<![=!<>])=(?!=)|^del |\)$")
_BOUND = re.compile(r"(?:^|\bfor )([A-Za-z_]\w*(?:, ?[A-Za-z_]\w*)*)(?: in\b| ?=(?!=))")
_ACTS = r"(?<![\w.]){}\b(?:\.\w+|\[[^\]]*\])*(?:\s*[^\s=!<>\w\])]{{0,3}}=(?!=)|\.\w+\()"
_NEVER = frozenset((*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "self", "cls", "asyncio", "vtloop", "time"))


def meeting(first: Sequence[Spot], then: Sequence[Spot]) -> tuple[Spot, Spot] | None:
    """A line of each that name the same thing; of the lines of ``first`` rather one that writes or calls."""
    for awaits in (False, True):  # a line that awaits only names what the lines below it touch
        earlier = [spot for spot in first if awaits or "await " not in spot.source]
        for later in (spot for spot in then if awaits or "await " not in spot.source):
            shared = [spot for spot in earlier if _meet(spot, later)]
            if shared:
                return next((spot for spot in shared if _WRITE.search(_bare(spot.source))), shared[0]), later
    return None


def _meet(first: Spot, then: Spot) -> bool:
    """Whether both name something that one of them may change."""
    shared = _names(first.source) & _names(then.source)
    if first.function == then.function:  # what each only binds is a variable of its own
        shared -= _bound(first.source) | _bound(then.source)
    lines = [_bare(spot.source) for spot in (first, then)]
    return any(_acts(name, line) for name in sorted(shared) for line in lines)


def _bound(source: str) -> set[str]:
    """The plain names that a line binds without reading them."""
    bare = _bare(source)
    names = {name.strip() for found in _BOUND.findall(bare) for name in found.split(",")}
    return {name for name in names if len(re.findall(rf"(?<![\w.]){name}\b", bare)) == 1}


def _acts(name: str, bare: str) -> bool:
    """Whether a line assigns to ``name``, enters it, calls a method of it, or hands it to a function of the program."""
    if re.search(_ACTS.format(re.escape(name)), bare) or bare.startswith(("del ", "with ", "async with ")):
        return True
    return any(called.split(".")[0] not in _NEVER for called, call in _NAME.findall(bare) if call)


def _names(source: str) -> set[str]:
    """The variables and attributes in a line; of a call the object, not the method."""
    found = set()
    for name, called in _NAME.findall(_bare(source)):
        parts = name.split(".")
        if called:
            parts = parts[:-1]
        if parts and not (len(parts) == 1 and parts[0] in _NEVER) and parts[0] not in ("asyncio", "vtloop"):
            found.add(".".join(parts))
    return found


def without_comment(source: str) -> str:
    """A line of code alone; a comment alone stays."""
    for found in _STRING.finditer(source):
        if found.group().startswith("#"):
            return source[: found.start()].rstrip() or source
    return source


def _bare(source: str) -> str:
    """A line without what its strings and its comment say."""
    return _STRING.sub("''", source).strip()
