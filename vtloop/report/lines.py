"""Which lines of the program a step runs: a trace function, on for the length of a run that is played back for people.

Used by the teller.  Only the program's own files are looked at: not the standard library, not installed packages, not
vtloop.  Where somebody else traces already (a debugger, coverage) it stays off, and the story has fewer lines.  It must
never hold a frame, and never read a variable.
"""

from __future__ import annotations

import linecache
import os
import sys
import sysconfig
from types import CodeType, FrameType
from typing import Any

from vtloop.diagnosis.chains import plain_name, shown_path
from vtloop.report.story import Spot

__all__ = ["MOST_LINES", "LineTracer", "own_file"]

MOST_LINES = 8
"""How many lines of one step are kept: all but the last are its first ones."""

_LIBRARY = tuple(
    os.path.normcase(path) + os.sep for name in ("stdlib", "platstdlib") if (path := sysconfig.get_path(name))
)
_VTLOOP = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_PACKAGES = (f"{os.sep}site-packages{os.sep}", f"{os.sep}dist-packages{os.sep}")


def own_file(path: str) -> bool:
    """Whether a file belongs to the program, and not to Python, an installed package or vtloop."""
    if path.startswith(("<", _VTLOOP)) or any(part in path for part in _PACKAGES):
        return False
    return not os.path.normcase(path).startswith(_LIBRARY)


class LineTracer:
    """Collects the lines that run between two calls of `taken`; on from `start` to `stop`."""

    def __init__(self) -> None:
        self._cwd = os.getcwd()
        self._own: dict[str, bool] = {}
        self._spots: dict[tuple[str, int], Spot] = {}
        self._seen: dict[tuple[str, int], str] = {}
        self._mine: Any = self._call  # one object, so that it can be told from another's

    def start(self) -> None:
        """Begin to trace this thread, unless somebody else does."""
        if sys.gettrace() is None:
            sys.settrace(self._mine)

    def stop(self) -> None:
        """Trace no more."""
        if sys.gettrace() is self._mine:
            sys.settrace(None)

    def taken(self) -> tuple[tuple[Spot, ...], int]:
        """The lines since the last call, each once, in the order in which they first ran; how many are left out."""
        seen = self._seen
        if not seen:
            return (), 0
        keys = list(seen)
        left_out = max(len(keys) - MOST_LINES, 0)
        if left_out:
            keys = [*keys[: MOST_LINES - 1], keys[-1]]
        spots = tuple([self._spot(key, seen[key]) for key in keys])
        seen.clear()
        return spots, left_out

    # -- parts --------------------------------------------------------------------------------------------------

    def _call(self, frame: FrameType, event: str, argument: Any) -> Any:
        path = frame.f_code.co_filename
        own = self._own.get(path)
        if own is None:
            own = self._own[path] = own_file(path)
        return self._line if own else None

    def _line(self, frame: FrameType, event: str, argument: Any) -> Any:
        if event == "line":
            code = frame.f_code
            key = (code.co_filename, frame.f_lineno)
            if key not in self._seen:
                self._seen[key] = _function(code)
        return self._line

    def _spot(self, key: tuple[str, int], function: str) -> Spot:
        spot = self._spots.get(key)
        if spot is None:
            path, line = key
            source = linecache.getline(path, line).strip()
            spot = self._spots[key] = Spot(shown_path(path, self._cwd), line, function, source)
        return spot


def _function(code: CodeType) -> str:
    return plain_name(code.co_qualname)
