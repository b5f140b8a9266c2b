"""The line of a report about a primitive itself: where it was made, and what was done to it last.

Called by `describe`.  Says only what was noted: in a run that is not recorded there is no such line.
"""

from __future__ import annotations

from collections.abc import Collection

from vtloop.diagnosis.chains import Place
from vtloop.diagnosis.graph import Thing
from vtloop.diagnosis.noted import Touched
from vtloop.diagnosis.targets import seconds

__all__ = ["thing_line"]

_DONE = {
    "set": "set",
    "clear": "cleared",
    "notify": "last notified",
    "acquire": "last taken",
    "release": "last released",
    "put": "last put into",
    "get": "last got from",
    "task_done": "last `task_done()`",
    "abort": "aborted",
    "reset": "reset",
}
_PLAIN = ("TaskGroup", "TaskGroup.start", "BlockingPortal")
"""Kinds that stand in the line that waits for them."""

_NEVER = {
    "Event": ("set", "nobody has called its `set()`"),
    "Condition": ("notify", "nobody has called its `notify()`"),
    "Semaphore": ("release", "nobody has called its `release()`"),
    "Queue.get": ("put", "nothing was ever put into it"),
    "Queue.put": ("get", "nothing was ever got from it"),
    "Queue.join": ("task_done", "nobody has called its `task_done()`"),
}


def thing_line(thing: Thing, shown: Collection[str] = ()) -> str | None:
    """``Event done: made at app.py:3 in main; nobody has called its `set()` ``; None when nothing was noted.

    A place that is among those `shown` already is not said again.
    """
    if thing.kind in _PLAIN:
        return None
    noted = thing.noted
    known = noted.made is not None and str(noted.made) not in shown
    parts = [f"made at {noted.made}"] if known else []
    needed, never = _NEVER.get(thing.kind, (None, ""))
    if thing.kind == "Lock":
        taken = noted.last("acquire")
        if noted.taken and taken is not None:
            parts.append(f"taken by {_by(taken)}")
    elif needed is not None and thing.still and noted.lacks(needed):
        parts.append(never)
    else:
        parts += [f"{_DONE[touch.kind]} by {_by(touch)}" for touch in noted.touches[-2:] if touch.kind in _DONE]
    if not parts:
        return None
    kind = thing.kind.partition(".")[0] if thing.kind.startswith("Queue") else thing.kind
    kind = "Future" if kind == "future" else kind
    return f"{kind} {thing.name or 'without a name'}: {'; '.join(parts)}"


def _by(touch: Touched) -> str:
    where = f" ({_line(touch.place)})" if touch.place is not None and not touch.place.internal else ""
    return f"{touch.task or 'a callback'} at t={seconds(touch.time_ns)}{where}"


def _line(place: Place) -> str:
    return f"{place.file}:{place.line}"
