"""Colour for a person at a terminal: headlines, errors, hints and cycles stand out.

Called by `vtloop.console` for what it prints, as the very last thing.  Nothing else may colour anything: notes on
exceptions, files, pipes, ``--json`` and what pytest shows stay plain text.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from typing import Any

__all__ = ["is_wanted", "painted"]

_RESET = "\033[0m"
_RED, _YELLOW, _CYAN = "\033[1;31m", "\033[33m", "\033[36m"

# A headline of a verdict, or the line of a traceback that names the error, is coloured whole; of the others the word.
_LINES = (
    (re.compile(r"(?:[A-Z][A-Z ]+ at t=.*|FAILED)"), _RED),
    (re.compile(r"(?:[A-Za-z_][\w.]*\.)?(?=[A-Z])\w*(?:Error|Exception|ExceptionGroup|Exit|Interrupt)(?=:|$)"), _RED),
    (re.compile(r"cycle:(?= )"), _YELLOW),
    (re.compile(r"(?:vtloop: )?warning:(?= )"), _YELLOW),
    (re.compile(r"hint:(?= )"), _CYAN),
)


def is_wanted(stream: Any, environ: Mapping[str, str]) -> bool:
    """Whether text for `stream` is to be coloured.

    ``NO_COLOR`` says no and ``FORCE_COLOR`` yes, each when it is set to anything; else a terminal does, unless it says
    that it is a dumb one.
    """
    if environ.get("NO_COLOR"):
        return False
    if environ.get("FORCE_COLOR"):
        return True
    if environ.get("TERM") == "dumb" or (sys.platform == "win32" and not environ.keys() & {"WT_SESSION", "TERM"}):
        return False
    try:
        return bool(stream.isatty())
    except (AttributeError, ValueError):  # no stream, or a closed one
        return False


def painted(text: str) -> str:
    """The text with its headlines, errors, hints, warnings and cycles in colour."""
    return "\n".join(map(_painted_line, text.split("\n")))


def _painted_line(line: str) -> str:
    for pattern, colour in _LINES:
        found = pattern.match(line)
        if found is not None:
            end = found.end()
            return f"{colour}{line[:end]}{_RESET}{line[end:]}"
    return line
