"""Writing a file whole or not at all: to a temporary name beside it first, then renamed.

Used for traces and for what explains them.  Whoever lists the folder meanwhile never meets half a file: the temporary
name begins with a dot and has no ending.  It must never leave a temporary file behind.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

__all__ = ["write_whole"]


def write_whole(path: str | os.PathLike[str], text: str) -> Path:
    """Write ``text`` to ``path``, whose folders are made where they are missing.

    Raises:
        OSError: The folder cannot be written to.
    """
    target = Path(path)
    temporary = ""
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        number, temporary = tempfile.mkstemp(prefix=".trace-", dir=target.parent)
        with open(number, "w", encoding="utf-8") as file:
            file.write(text)
        os.chmod(temporary, 0o644)  # mkstemp makes files that only their owner reads; these are for sharing
        os.replace(temporary, target)
        temporary = ""
    finally:
        if temporary:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
    return target
