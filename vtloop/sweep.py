"""A sweep: all schedules of a program with few deviations from asyncio's own order, one run each.

Used by `vtloop.explore` for ``scheduler="exhaustive:bound=N"``.  Which schedules there are only shows in the runs, so
they are made one after the other, in one process.  Time is exact, the level is the ceiling, and nothing is drawn from
a seed.  It must never claim more than was run.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from vtloop.chunks import Maker, close_look
from vtloop.options import Options, with_values
from vtloop.plan import Plan
from vtloop.schedulers.enumeration import Deviations, Enumeration
from vtloop.schedulers.exhaustive import ExhaustiveScheduler
from vtloop.wording import counted

if TYPE_CHECKING:
    from vtloop.run import Outcome

__all__ = ["Sweep"]


class Sweep:
    """Makes the runs, in the order of the enumeration.

    Args:
        plan: What to explore.
        maker: Makes one run.
        bound: The most deviations of a schedule.
    """

    def __init__(self, plan: Plan, maker: Maker, bound: int) -> None:
        self._plan, self._maker = plan, maker
        self._schedules = Enumeration(bound)
        self._made = 0

    def __iter__(self) -> Iterator[Deviations]:
        return iter(self._schedules)

    def make(self, deviations: Deviations, **how: Any) -> Outcome:
        """The run of one schedule.

        Raises:
            NondeterminismError: It parted from an earlier run with the same choices.
        """
        level = self._plan.ceiling
        options = with_values(self._plan.options, watchdog=self._maker.watchdog())
        if not close_look(self._made) and options.leaks in ("warn", None):
            how["quick"] = True
        if not self._made:
            how["note"] = True
        outcome = self._maker.timed(options, scheduler=lambda _: ExhaustiveScheduler(level, deviations), **how)
        self._made += 1
        if outcome.error is None:
            self._schedules.ran(deviations, outcome.sizes)
        elif not deviations:
            # asyncio's own order fails by itself: as such it is easiest to understand.
            plain = self._maker.timed(_in_asyncios_order(options), **how)
            outcome = plain if plain.error is not None else outcome
        return outcome

    def note(self) -> str:
        """What was run, and what was not."""
        schedules = self._schedules
        what = f"with at most {counted(schedules.bound, 'deviation')} at level {self._plan.ceiling!r}"
        if not schedules.complete:
            fewer = f"; all with at most {schedules.depth - 1:,} were run" if schedules.depth else ""
            return f"stopped after {self._made:,} of more schedules {what}{fewer}"
        return (
            f"all {counted(schedules.count, 'schedule')} {what} {'was' if schedules.count == 1 else 'were'} run; not "
            f"covered: orders that deviate more often, other lengths of sleeps and steps, other inputs"
        )


def _in_asyncios_order(options: Options) -> Options:
    return with_values(options, seed=None, scheduler="fifo", interleave="timing")
