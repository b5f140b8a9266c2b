"""Keeping the garbage collector away: for the length of a run, and between the runs of an exploration.

When something dies may decide what a program does; so nothing is collected by chance.  Called by whatever makes runs.
It must never leave the collector in another state than it found it in.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

__all__ = ["frozen_heap", "heap_is_frozen", "keep_apart", "settle", "uncollected"]

_frozen = 0


def heap_is_frozen() -> bool:
    """Whether all that was there before the runs is frozen: then all other objects were made since."""
    return _frozen > 0


def keep_apart() -> None:
    """Move all that is there into the oldest generation, so that a run can tell what was made since it began.

    Costs about as much as the collections that would have come anyway: it looks at what was made since the last.
    """
    if not _frozen:
        gc.collect(1)


def settle() -> None:
    """Move what has been imported into the oldest generation, at no cost: a bare loop has no `keep_apart`."""
    if not gc.get_freeze_count():
        gc.freeze()
        gc.unfreeze()


# Hot: entered for each run of an exploration, where all is off already.
def uncollected() -> AbstractContextManager[None]:
    """No automatic garbage collection."""
    return _uncollected() if gc.isenabled() else _NOTHING


@contextmanager
def _uncollected() -> Iterator[None]:
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


_NOTHING = nullcontext()


@contextmanager
def frozen_heap(many: bool, tidy: bool = True) -> Iterator[None]:
    """Keep the collector away from between the runs, and for ``many`` runs from all that was there before them.

    With ``tidy`` what is garbage before is collected first, which takes milliseconds.
    """
    global _frozen
    if many:
        if tidy:
            gc.collect()
        gc.freeze()
        _frozen += 1
    with uncollected():
        try:
            yield
        finally:
            if many:
                _frozen -= 1
                if not _frozen:
                    gc.unfreeze()
