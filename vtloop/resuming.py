"""Resuming: how far the exploration of a target came, kept in ``.vtloop/`` for the next one.

Used by the command line.  The file is written whole or not at all, every few seconds, on Ctrl-C and at the end, so that
nothing is lost.  What it holds fits one plan alone (seed, scheduler, options, level): another plan starts anew, and
says so.  It must never influence what a run does.
"""

from __future__ import annotations

import json
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

from vtloop.errors import UsageError
from vtloop.novelty import Earlier, Novelty
from vtloop.options import RUN_DEFAULTS
from vtloop.plan import Plan
from vtloop.trace import made_by
from vtloop.writing import write_whole

__all__ = ["Bookmark"]

EVERY = 5.0
"""Real seconds between two savings; longer where saving takes a while."""

SHARE = 50
"""Saving takes at most one part in so many of the time."""

_KIND, _FORMAT = "vtloop exploration", 1


class Bookmark:
    """The place of one target's exploration.

    Args:
        path: The file.
        target: What is explored.
        plan: The plan that the place belongs to.
    """

    def __init__(self, path: Path, target: str, plan: Plan) -> None:
        self._path = path
        self._head: dict[str, Any] = {"kind": _KIND, "format": _FORMAT, "target": target, "plan": _identity(plan)}
        self._saved = time.monotonic()
        self._pause = EVERY

    def load(self) -> tuple[Earlier, str]:
        """What the earlier exploration did, and a line about it."""
        fresh = Earlier()
        try:
            kept = json.loads(self._path.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return fresh, "no earlier exploration of this target: began at run 0"
        except (OSError, ValueError):
            return fresh, f"what {self._path} says of an earlier exploration cannot be read: began at run 0"
        try:
            if [kept[key] for key in ("kind", "format", "target")] != [_KIND, _FORMAT, self._head["target"]]:
                raise ValueError("it is of something else")
            differs = _difference(kept["plan"], self._head["plan"])
            if differs:
                return fresh, f"the earlier exploration had another plan ({differs}): began anew at run 0"
            earlier = Earlier(int(kept["upto"]), Novelty.from_dict(kept["orders"]), float(kept["elapsed"]))
        except (KeyError, TypeError, ValueError, AttributeError):
            return fresh, f"what {self._path} says of an earlier exploration does not fit: began at run 0"
        return earlier, f"resumed at run {earlier.upto:,}"

    def save(self, done: Earlier) -> None:
        """Keep the place; where nothing can be written nothing is kept."""
        began = time.monotonic()
        body = {**self._head, "upto": done.upto, "elapsed": round(done.elapsed, 3), "orders": done.novelty.to_dict()}
        with suppress(OSError, UsageError):
            write_whole(self._path, json.dumps(body))
        self._saved = time.monotonic()
        self._pause = max(EVERY, SHARE * (self._saved - began))

    def is_due(self) -> bool:
        """Whether it is time to save again."""
        return time.monotonic() - self._saved >= self._pause


def _identity(plan: Plan) -> dict[str, Any]:
    """What makes two plans the same, as JSON values; not how many runs there are, nor what is done with a failure."""
    values = {
        "seed": plan.seed,
        "scheduler": plan.scheduler,
        "interleave": plan.ceiling,
        "exact_time": plan.exact_time,
        "vtloop": made_by()["vtloop"],
    }
    options = plan.options.changed(RUN_DEFAULTS)
    values |= {name: value for name, value in options.items() if name not in values}
    return json.loads(json.dumps(values))  # type: ignore[no-any-return]


def _difference(earlier: dict[str, Any], now: dict[str, Any]) -> str:
    """The first value in which two plans differ, in words; empty when they are the same."""
    for name in dict.fromkeys([*now, *earlier]):
        one, other = earlier.get(name), now.get(name)
        if one != other:
            return f"{name} {_said(one)}, now {_said(other)}"
    return ""


def _said(value: Any) -> str:
    return "as usual" if value is None else value if isinstance(value, str) else json.dumps(value)
