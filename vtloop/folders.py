"""The current folder: a program that changes it does so for itself, and every run begins where the first one began.

Used by what opens and runs targets of the command line.  Without it a program that calls ``os.chdir`` would move
``.vtloop/``, the files that are written, and its own next run.  It must never touch a file.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress

__all__ = ["staying"]


@contextmanager
def staying(folder: str | None = None) -> Iterator[None]:
    """In ``folder`` while the block runs (by default where we are), and back afterwards."""
    here = os.getcwd()
    if folder is not None and folder != here:
        with suppress(OSError):  # it was a temporary one, and is gone
            os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(here)
