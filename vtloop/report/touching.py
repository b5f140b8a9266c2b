"""Which two lines of two steps meet: those that name the same variable, so that their order can matter.

Called for the words of a choice.  Reads the text of lines that have run, nothing else: it is a hint where to look, not
an analysis.  It must never claim more than that both lines name something.
"""

from __future__ import annotations

import builtins
import keyword
import re
from collections.abc import Sequence

from vtloop.report.story import Spot

__all__ = ["meeting"]

_STRING = re.compile(r"""[rbfuRBFU]{0,2}("(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')|\#.*""")
_NAME = re.compile(r"(?<![\w.])([A-Za-z_]\w*(?:\.[A-Za-z_]\w*)*)(\s*\()?")
_WRITE = re.compile(r"(?<![=!<>])=(?!=)|^del |\)$")
_NEVER = frozenset((*keyword.kwlist, *keyword.softkwlist, *dir(builtins), "self", "cls", "asyncio", "vtloop", "time"))


def meeting(first: Sequence[Spot], then: Sequence[Spot]) -> tuple[Spot, Spot] | None:
    """A line of each that name the same thing; of the lines of ``first`` rather one that writes or calls."""
    for awaits in (False, True):  # a line that awaits only names what the lines below it touch
        named = [(spot, _names(spot.source)) for spot in first if awaits or "await " not in spot.source]
        for later in (spot for spot in then if awaits or "await " not in spot.source):
            names = _names(later.source)
            shared = [spot for spot, others in named if names & others]
            if shared:
                return next((spot for spot in shared if _WRITE.search(_bare(spot.source))), shared[0]), later
    return None


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


def _bare(source: str) -> str:
    """A line without what its strings and its comment say."""
    return _STRING.sub("''", source).strip()
