"""The command ``stored``: the failures in this project's ``.vtloop/``, and which of them are marked fixed.

Called by `vtloop.cli`.  It reads and prints; it must never run a program, nor change the folder.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vtloop.commands import Request
from vtloop.errors import UsageError
from vtloop.store import FOLDER, Store, is_fixed
from vtloop.trace import read

__all__ = ["stored"]


def stored(request: Request) -> int:
    """``vtloop stored``."""
    console = request.console
    found = sorted((_row(path) for path in Store(Path()).all_files()), key=lambda row: (row["target"], row["path"]))
    for row in found:
        console.say(f"{row['state']:<10} {row['target']}", f"           {row['outcome']}", f"           {row['path']}")
    if not found:
        console.say(f"no failures are stored in {FOLDER}/")
    console.data({"command": "stored", "stored": found})
    return 0


def _row(path: Path) -> dict[str, Any]:
    """What is known of one file, as JSON-ready values."""
    try:
        trace = read(path)
    except UsageError as exc:
        return {"state": "unusable", "target": "?", "outcome": str(exc), "path": str(path)}
    place = trace.outcome.get("place")
    outcome = f"{trace.outcome.get('type')}{f' at {place}' if place else ''}"
    state = "fixed" if is_fixed(path) else "failing"
    return {"state": state, "target": trace.target or "?", "outcome": outcome, "path": str(path)}
