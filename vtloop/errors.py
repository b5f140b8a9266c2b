"""Every exception a user can meet, and what each one carries.

Called by everything; imports nothing of vtloop.  A verdict's one-line ``str`` names the cause, because
pytest's short summary shows only that; the full text is `VtloopError.report` and hangs on the exception as a
note, so that every traceback prints it.  This file must never decide *whether* something is wrong.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

__all__ = [
    "BlockingCallError",
    "DeadlockError",
    "EscapeError",
    "HangError",
    "LeakError",
    "LivelockError",
    "NondeterminismError",
    "ReplayError",
    "StepCut",
    "TraceError",
    "UsageError",
    "VtloopError",
    "VtloopWarning",
    "allowed",
]

SCHEMA = 1
"""The version of the shape of `VtloopError.to_dict`; counted up when a fact is taken away or means something else."""


class VtloopError(Exception):
    """Base of everything vtloop raises about a program or about its own use.

    Attributes:
        data: The facts of the error as plain JSON-ready values.
    """

    def __init__(self, message: str, *, report: str | None = None, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.data: dict[str, Any] = dict(data or {})
        self._report = report
        if report:
            self.add_note(report)

    def report(self) -> str:
        """Everything known, as text of several lines; the one-line message when there is no more."""
        return self._report or str(self)

    def to_dict(self) -> dict[str, Any]:
        """The same facts as `report`, as a dict that `json.dumps` accepts.

        Its shape is written down in ``vtloop/report/verdict.schema.json``.
        """
        return {"schema": SCHEMA, "error": type(self).__name__, "message": str(self), **self.data}


class VtloopWarning(UserWarning):
    """Something that a run did not fail with and somebody should look at: a leak, a suspicion."""


class UsageError(VtloopError, ValueError):
    """A call, option, flag or file that vtloop cannot accept; the message says what was got and what is allowed."""


class TraceError(UsageError):
    """A trace file or token that cannot be read: broken, cut off, foreign, or of a newer format."""


class HangError(VtloopError):
    """The run can not, or must not, go on: a budget is spent, or a step or thread never came back."""


class DeadlockError(HangError):
    """Nothing is ready, no timer is set, and nothing outside can wake the loop."""


class LivelockError(HangError):
    """Tasks keep running without any timer left and without the program getting anywhere."""


class LeakError(VtloopError):
    """Work left behind at the end of a run."""


class BlockingCallError(VtloopError):
    """A blocking call was made inside the loop."""


class EscapeError(VtloopError, NotImplementedError):
    """The program knocked at a door to the real world that the simulation keeps shut.

    Also a `NotImplementedError`, because that is what asyncio promises for loop methods a loop lacks and what
    libraries catch to fall back.
    """


class ReplayError(VtloopError):
    """The recorded choices do not fit this program any more."""


class NondeterminismError(VtloopError):
    """The same seed gave two different runs."""


class StepCut(BaseException):
    """Thrown by the watchdog into a step that never returns; not an `Exception`, so that no handler eats it."""


def allowed(values: Iterable[object]) -> str:
    """The tail of a refusal: ``allowed: 'a', 'b'`` in the given order."""
    return "allowed: " + ", ".join(repr(v) if isinstance(v, str) else str(v) for v in values)
