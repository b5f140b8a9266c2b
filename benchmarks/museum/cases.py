"""What is in the museum: the cases of ``cases/index.json``, each with its folder."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["CASES", "SIDES", "Case", "load"]

CASES = Path(__file__).resolve().parent / "cases"
SIDES = ("buggy", "fixed")


@dataclass(frozen=True, slots=True)
class Case:
    """One bug: a scenario and the two releases to run it with.

    Attributes:
        identity: The name of its folder.
        package: What is at fault, and the buggy and the fixed release, in words.
        kind: The kind of bug, in words.
        reference: Where it was reported or repaired.
        needs: What a tool must vary to meet it.
        level: The weakest level that shows it, as its findings must be labelled; the fixed release is held to it.
        options: Options of ``explore`` that it asks for, such as a short watchdog for a spin without a yield.
        note: Why it asks for them, or what else to know; printed with the results. Empty for most.
        interpreters: For bugs of CPython itself: for each side the versions that will do, the preferred one first.
        has_fixed: Whether a fixed release exists.
    """

    identity: str
    package: str
    kind: str
    reference: str
    needs: tuple[str, ...]
    level: str
    options: dict[str, Any]
    note: str
    interpreters: dict[str, tuple[str, ...]]
    has_fixed: bool

    @property
    def scenario(self) -> Path:
        """The file with ``async def scenario()``."""
        return CASES / self.identity / "scenario.py"

    def requirements(self, side: str) -> Path:
        """The requirements file of a side, "buggy" or "fixed"."""
        return CASES / self.identity / f"requirements-{side}.txt"


def _case(entry: dict[str, Any]) -> Case:
    return Case(
        identity=entry["id"],
        package=entry["package"],
        kind=entry["kind"],
        reference=entry["reference"],
        needs=tuple(entry["needs"]),
        level=entry["level"],
        options=entry.get("options", {}),
        note=entry.get("note", ""),
        interpreters={side: tuple(versions) for side, versions in entry.get("interpreters", {}).items()},
        has_fixed=entry.get("fixed", True),
    )


def load() -> dict[str, Case]:
    """Every case by its identity, in the order of the index."""
    entries = json.loads((CASES / "index.json").read_text(encoding="utf-8"))
    return {entry["id"]: _case(entry) for entry in entries}
