"""The judgement: which tasks can never run again, with every doubt counted in their favour.

Called by `vtloop.stalled` and `vtloop.stuck`.  `reach` says what refers to what; `reapers` says what the code that is
alive could do besides.  It must never judge while a doubt is left.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from vtloop.diagnosis.reach import Reach, reach
from vtloop.diagnosis.reapers import CANCELS, ENDS, RELEASES, abilities

__all__ = ["judge"]


def judge(loop: Any, *, roots: Iterable[Any] = (), ends: bool = False, collect: bool = True) -> Reach:
    """Who could still wake the pending tasks of ``loop``; see `vtloop.diagnosis.reach.reach`.

    Args:
        loop: The loop.
        roots: What counts as alive besides.
        ends: Whether code that could end the run, as ``sys.exit()`` does, frees everybody: for whoever waits for an
            end that such code could bring.
        collect: Whether garbage is collected first, see `reach`.
    """
    found = reach(loop, roots=roots, collect=collect)
    if not found.stuck and not found.cancel:
        return found
    able = abilities(found.used)
    if RELEASES in able and found.locks:
        found = reach(loop, roots=roots, trust_holders=False, collect=collect)
    if ends and ENDS in able:
        return Reach(live=(*found.live, *found.cancel, *found.stuck))
    if CANCELS in able:
        both = {id(task) for task in (*found.cancel, *found.stuck)}
        return Reach(found.live, tuple(t for t in loop._tasks.pending() if id(t) in both), (), found.used, found.locks)
    return found
