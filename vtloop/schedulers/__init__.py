"""Schedulers: one algorithm a file.  `make_scheduler` turns the options of a run into one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vtloop.schedulers.base import Scheduler
from vtloop.schedulers.custom import CustomScheduler
from vtloop.schedulers.pct import PctScheduler
from vtloop.schedulers.random import RandomScheduler

if TYPE_CHECKING:
    from vtloop.options import Options

__all__ = ["Scheduler", "make_scheduler"]


def make_scheduler(options: Options) -> Scheduler:
    """The scheduler that ``options`` name, fresh, at their level."""
    kind, level, seed = options.scheduler, options.interleave, options.seed or 0
    if not isinstance(kind, str):
        return CustomScheduler(kind, level)
    name, _, depth = kind.partition(":depth=")
    if name == "pct":
        return PctScheduler(seed, level, int(depth or 3))
    if name == "random":
        return RandomScheduler(seed, level)
    # Of the run of a trace whose choices are not listed here: its windows, and always the first in them.
    return Scheduler(level)
