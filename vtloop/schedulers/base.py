"""What a scheduler is: somebody who picks an index.

The loop asks it through the ready line and through ``choose``; who answers index 0 every time gives asyncio's own
order.  A scheduler must never run anything, nor look outside the window it is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtloop.ready import Observer, ReadyLine
    from vtloop.schedulers.odds import Odds
    from vtloop.trace import Choice

__all__ = ["Scheduler"]


class Scheduler:
    """Picks index 0, always: asyncio's own order.

    Attributes:
        level: The level whose rules make the window (`vtloop.ready.LEVELS`).
        odds: Answers every choice other than the next step; None: the calm day's answer, always.
        observer: Watches the line for it, in a run that is not recorded.
        listed: The deviations it was told to make; None when it makes its own.
    """

    level = "timing"
    odds: Odds | None = None
    observer: Observer | None = None
    listed: tuple[Choice, ...] | None = None

    def __init__(self, level: str | None = None, odds: Odds | None = None) -> None:
        if level is not None:
            self.level = level
        if odds is not None:
            self.odds = odds

    def attach(self, line: ReadyLine) -> None:
        """Called once, with the line of the run."""

    def pick(self, items: Sequence[Any], options: int) -> int:
        """The index to run next, out of ``items[:options]``; ``options`` is at least 2.

        An item is ``(rule, born, context, callback, args[, key])`` as in `vtloop.ready`.
        """
        return 0

    def choose(self, kind: str, options: int, name: str = "", p: float | None = None) -> int:
        """One of ``options`` for a choice other than the next step; 0 is the calm day's.

        ``name`` and ``p`` are what the asker knows of it: see `vtloop.schedulers.odds.Odds.choose`.
        """
        return 0 if self.odds is None else self.odds.choose(kind, options, name, p)
