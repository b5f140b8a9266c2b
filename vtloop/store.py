"""The folder ``.vtloop/``: one trace file per failure, run first next time.

Called by the pytest plugin, in whichever process ran the test, and by the command line.  A failure that passes is
marked fixed by its file's name and kept, so that it is noticed when it comes back; the newest `MOST` of a target stay.
Every file is written whole or not at all, a new one before an old one goes, and a mark is one renaming: parallel
workers do not lose each other's, and an interrupted run loses nothing.  The folder ignores itself (a ``.gitignore``
with ``*``), as pytest's and Hypothesis's do; delete that file to share the failures through version control.  It must
never run a test, nor decide whether a failure still counts.
"""

from __future__ import annotations

import os
import re
import zlib
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from vtloop.errors import TraceError, UsageError
from vtloop.trace import REPLAY, Trace, read

__all__ = ["FOLDER", "MOST", "Store", "Stored", "is_fixed"]

FOLDER = ".vtloop"

MOST = 20
"""How many failures of one target are kept, fixed ones included."""

LOOKS = 5
"""How often the folder is looked at when another process moves a file meanwhile."""

_FIXED = ".fixed.json"
_LONGEST_NAME = 80
_README = """\
Failing runs found by vtloop, one trace file per failure. They run first next time. One that passes is marked fixed
(.fixed.json) and still runs first, so that it is noticed when it comes back. A file that ends in .explored says how far
an exploration came, for `vtloop explore --resume`.
"""


@dataclass(frozen=True, slots=True)
class Stored:
    """A stored failure.

    Attributes:
        path: Its file.
        trace: The failing run.
    """

    path: Path
    trace: Trace

    @property
    def fixed(self) -> bool:
        """Whether it passed when it was last tried."""
        return is_fixed(self.path)


def is_fixed(path: Path) -> bool:
    """Whether the file of a stored failure says that it is fixed."""
    return path.name.endswith(_FIXED)


class Store:
    """The stored failures below one folder.

    Args:
        root: The folder in which ``.vtloop`` lies or will be made (pytest's rootdir).
    """

    def __init__(self, root: Path) -> None:
        self.folder = root / FOLDER
        self._listed: tuple[int, list[str]] | None = None  # when the folder was last changed, and what was in it then

    def path(self, target: str) -> Path:
        """The file for a target: its name in readable form, and a checksum that keeps similar names apart."""
        plain = re.sub(r"[^A-Za-z0-9_.\-]+", "-", target.replace(".py::", "--").replace("/", "."))
        return self.folder / f"{plain[-_LONGEST_NAME:].strip('.-')}-{zlib.crc32(target.encode()):08x}.json"

    # -- reading ------------------------------------------------------------------------------------------------

    def load(self, target: str) -> Trace | None:
        """The failure in the one file of ``target``; None when there is none.

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

    def failures(self, target: str) -> list[Stored]:
        """All stored failures of ``target`` that can be read: those that failed first, then the fixed ones, by name."""
        for _ in range(LOOKS):
            found, moved = [], False
            for path in sorted(self._files(target), key=lambda path: (is_fixed(path), path.name)):
                try:
                    trace = read(path)
                except UsageError:
                    moved = moved or not path.exists()
                    continue
                if trace.target == target:
                    found.append(Stored(path, trace))
            if not moved:
                break
            self._listed = None
        return found

    def all_files(self) -> list[Path]:
        """The files of all stored failures, by name."""
        return [self.folder / name for name in self._names()]

    # -- writing ------------------------------------------------------------------------------------------------

    def save(self, target: str, trace: Trace) -> Path | None:
        """Store ``trace`` as the one failure of ``target`` that counts; None where nothing can be written."""
        return self._write(target, trace, self.path(target))

    def add(self, target: str, trace: Trace) -> Path | None:
        """Store ``trace`` beside the other failures of ``target``; None where nothing can be written."""
        return self._write(target, trace, self._numbered(target, trace, ".json"))

    def mark_fixed(self, stored: Stored) -> Path | None:
        """Mark a failure as fixed; None where that cannot be written, or another process was first."""
        assert stored.trace.target is not None
        path = self._numbered(stored.trace.target, stored.trace, _FIXED)
        self._listed = None
        try:
            os.replace(stored.path, path)
            os.utime(path)  # the newest stay
        except OSError:
            return None
        self._prune(stored.trace.target)
        return path

    def drop(self, path: Path) -> None:
        """Forget a failure."""
        self._listed = None
        with suppress(OSError):
            path.unlink(missing_ok=True)

    def remove(self, target: str) -> None:
        """Forget the failure in the one file of ``target``, if there is one."""
        self.drop(self.path(target))

    def make_folder(self) -> None:
        """Make ``.vtloop/``, which ignores itself.

        Raises:
            OSError: It cannot be made.
        """
        if self.folder.is_dir():
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / ".gitignore").write_text("*\n", encoding="utf-8")
        (self.folder / "README.txt").write_text(_README, encoding="utf-8")

    # -- parts --------------------------------------------------------------------------------------------------

    def _write(self, target: str, trace: Trace, path: Path) -> Path | None:
        self._listed = None
        try:
            self.make_folder()
            path = replace(trace, target=target).save(path)
        except (OSError, TraceError):
            return None  # a read-only checkout: the token in the report has to do
        self._prune(target)
        return path

    def _numbered(self, target: str, trace: Trace, ending: str) -> Path:
        """A file of its own for this run and this end of it."""
        options, end = trace.options, trace.outcome
        what = [trace.check, end.get("type"), end.get("place"), options.interleave, options.lag, options.stretch]
        what += [options.seed if options.scheduler != REPLAY else [choice.key for choice in trace.choices or ()]]
        return self.path(target).with_name(f"{self.path(target).stem}-{zlib.crc32(repr(what).encode()):08x}{ending}")

    def _names(self) -> list[str]:
        """The names of all files; read again when the folder was changed, for a suite asks once a test."""
        try:
            changed = os.stat(self.folder).st_mtime_ns
            if self._listed is None or self._listed[0] != changed:
                self._listed = (changed, sorted(name for name in os.listdir(self.folder) if name.endswith(".json")))
        except OSError:
            return []
        return self._listed[1]

    def _files(self, target: str) -> list[Path]:
        stem = self.path(target).stem
        names = (name for name in self._names() if name.startswith(stem))
        return [self.folder / name for name in names if name[len(stem)] == "-" or name == f"{stem}.json"]

    def _prune(self, target: str) -> None:
        """Let the oldest go; fixed ones before those that failed."""
        aged = []
        for path in self._files(target):
            with suppress(OSError):  # another process has dropped it
                aged.append((not is_fixed(path), path.stat().st_mtime_ns, path))
        for _, _, path in sorted(aged)[:-MOST]:
            self.drop(path)
