"""The folder ``.vtloop/``: one trace file per failing test, run first next time.

Called by the pytest plugin, in whichever process ran the test.  Every file is written whole or not at all, each test
has its own, and nothing is kept in memory: parallel workers do not meet, and an interrupted run loses nothing.  The
folder ignores itself (a ``.gitignore`` with ``*``), as pytest's and Hypothesis's do; delete that file to share the
failures through version control.  It must never run a test, nor decide whether a failure still counts.
"""

from __future__ import annotations

import re
import zlib
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from vtloop.errors import TraceError, UsageError
from vtloop.trace import Trace, read

__all__ = ["FOLDER", "Store"]

FOLDER = ".vtloop"

_LONGEST_NAME = 80
_README = """\
Failing runs found by vtloop, one trace file per test. They run first next time and go when they no longer fail.
"""


class Store:
    """The stored failures below one folder.

    Args:
        root: The folder in which ``.vtloop`` lies or will be made (pytest's rootdir).
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER

    def path(self, target: str) -> Path:
        """The file for a target: its name in readable form, and a checksum that keeps similar names apart."""
        plain = re.sub(r"[^A-Za-z0-9_.\-]+", "-", target.replace(".py::", "--").replace("/", "."))
        return self.folder / f"{plain[-_LONGEST_NAME:].strip('.-')}-{zlib.crc32(target.encode()):08x}.json"

    def load(self, target: str) -> Trace | None:
        """The stored failure of ``target``; None when there is none.

        Raises:
            TraceError: The file is there and cannot be used; the message says why.
        """
        path = self.path(target)
        if not path.exists():
            return None
        try:
            trace = read(path)
        except UsageError as exc:
            raise TraceError(str(exc)) from None
        if trace.target != target:
            raise TraceError(f"the trace {str(path)!r} belongs to {trace.target!r}, not to {target!r}")
        return trace

    def save(self, target: str, trace: Trace) -> Path | None:
        """Store ``trace`` for ``target``, in place of an earlier one; None where nothing can be written."""
        try:
            self._make_folder()
            return replace(trace, target=target).save(self.path(target))
        except (OSError, TraceError):
            return None  # a read-only checkout: the token in the report has to do

    def remove(self, target: str) -> None:
        """Forget the stored failure of ``target``, if there is one."""
        with suppress(OSError):
            self.path(target).unlink(missing_ok=True)

    def _make_folder(self) -> None:
        if self.folder.is_dir():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ".gitignore").write_text("*\n", encoding="utf-8")
        (self.folder / "README.txt").write_text(_README, encoding="utf-8")
