"""Schedulers: one algorithm a file.  `make_scheduler` turns the options of a run into one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from vtloop.schedulers.base import Scheduler
from vtloop.schedulers.custom import CustomScheduler
from vtloop.schedulers.delay import DelayScheduler
from vtloop.schedulers.names import parse
from vtloop.schedulers.pct import PctScheduler
from vtloop.schedulers.pos import PosScheduler
from vtloop.schedulers.random import RandomScheduler
from vtloop.schedulers.reversed import ReversedScheduler
from vtloop.schedulers.urw import UrwScheduler

if TYPE_CHECKING:
    from vtloop.options import Options

__all__ = ["Scheduler", "make_scheduler"]

_SEEDED: dict[str, Callable[[int, str], Scheduler]] = {
    "random": RandomScheduler,
    "reversed": ReversedScheduler,
    "pos": PosScheduler,
    "urw": UrwScheduler,
}


def make_scheduler(options: Options) -> Scheduler:
    """The scheduler that ``options`` name, fresh, at their level."""
    kind, level, seed = options.scheduler, options.interleave, options.seed or 0
    if not isinstance(kind, str):
        return CustomScheduler(kind, level)
    name, number = parse(kind) or (kind, 0)
    if name == "pct":
        return PctScheduler(seed, level, number)
    if name == "delay":
        return DelayScheduler(seed, level, number)
    if name in _SEEDED:
        return _SEEDED[name](seed, level)
    # Of the run of a trace whose choices are not listed here: its windows, and always the first in them.
    return Scheduler(level)
