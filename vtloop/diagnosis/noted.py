"""What the notes of a recorded run say of a primitive: where it was made, who touched it last, who took it.

Called by `waits` while it captures.  In a run that is not recorded nothing is noted, and nothing is said; what notes do
not hold must never be made up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from vtloop import noting
from vtloop.anyio_waits import event_inside
from vtloop.diagnosis.chains import Place, Places
from vtloop.diagnosis.lock_names import made_name
from vtloop.notes import LAST

__all__ = ["NOTHING", "Noted", "Touched", "holders_of", "name_when_made", "noted_of"]

_TELLING = {
    "Event": ("set", "clear"),
    "Condition": ("notify",),
    "Lock": ("acquire", "release"),
    "Semaphore": ("acquire", "release"),
    "Barrier": ("abort", "reset"),
    "Queue.get": ("put",),
    "Queue.put": ("get",),
    "Queue.join": ("put", "task_done"),
}
"""The touches that say something about a wait, by its kind."""


@dataclass(frozen=True, slots=True)
class Touched:
    """Somebody did something to a primitive."""

    kind: str
    """``"set"``, ``"clear"``, ``"notify"``, ``"acquire"``, ``"release"``, ``"put"``, ``"get"``, ``"task_done"``, ..."""
    task: str | None
    """The task's name then; None for a plain callback."""
    time_ns: int
    step: int
    place: Place | None


@dataclass(frozen=True, slots=True)
class Noted:
    """What is noted of one primitive."""

    made: Place | None = None
    touches: tuple[Touched, ...] = ()
    """The last touch of each kind that says something about the wait, oldest first."""
    whole: bool = False
    """Whether all touches since it was made are known, so that what is not among them did not happen."""
    taken: bool = False
    """Whether somebody is known to have taken it, and not to have given it back."""

    def last(self, kind: str) -> Touched | None:
        """The last touch of a kind."""
        return next((one for one in reversed(self.touches) if one.kind == kind), None)

    def lacks(self, kind: str) -> bool:
        """Whether it is certain that nobody did it."""
        return self.whole and self.last(kind) is None


NOTHING = Noted()
"""What is noted in a run that is not recorded."""


def noted_of(kind: str, primitive: object, places: Places) -> Noted:
    """What is noted of a primitive that a task waits for."""
    primitive = event_inside(primitive)
    made = noting.made_at(primitive)
    raw = noting.touches(primitive)
    if made is None and not raw:
        return NOTHING
    telling = _TELLING.get(kind, ())
    last = {touch.kind: touch for touch in raw if touch.kind in telling}
    touches = [
        Touched(
            touch.kind,
            touch.task,
            touch.time_ns,
            touch.step,
            places.of_instruction(touch.code, touch.lasti) if touch.code is not None else None,
        )
        for touch in raw
        if last.get(touch.kind) is touch
    ]
    place = places.of_instruction(*made) if made is not None else None
    return Noted(place, tuple(touches), made is not None and len(raw) < LAST, bool(holders_of(kind, primitive)[0]))


def name_when_made(primitive: object) -> str | None:
    """What a primitive was assigned to where it was made, told from the source text."""
    made = noting.made_at(event_inside(primitive))
    return made_name(*made) if made is not None else None


def holders_of(kind: str, primitive: object) -> tuple[tuple[str, ...], bool]:
    """The names of the tasks that took a lock, or permits of a semaphore, and have not given them back.

    And whether it was done by ``acquire()``, not by ``async with``.
    """
    if kind == "Lock":
        holder = noting.holder(primitive)
        if holder is not None and holder.task is not None:
            return (holder.task,), holder.by_hand
    elif kind == "Semaphore" and noting.made_at(primitive) is not None:
        raw = noting.touches(primitive)
        if len(raw) < LAST:
            return _permits(raw), True
    return (), False


def _permits(touches: Sequence[noting.Touch]) -> tuple[str, ...]:
    """Who has permits of a semaphore, by all its touches; nobody where one gave back what another took."""
    balance: dict[str | None, int] = {}
    for touch in touches:
        step = {"acquire": 1, "release": -1}.get(touch.kind, 0)
        balance[touch.task] = balance.get(touch.task, 0) + step
    if any(count < 0 for count in balance.values()):
        return ()
    return tuple(task for task, count in balance.items() if task is not None and count > 0)
