"""Keeping the garbage collector away: for the length of a run, and between the runs of an exploration.

When something dies may decide what a program does; so nothing is collected by chance.  Called by whatever makes runs.
It must never leave the collector in another state than it found it in.
"""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["frozen_heap", "uncollected"]


@contextmanager
def uncollected() -> Iterator[None]:
    """No automatic garbage collection."""
    collecting = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collecting:
            gc.enable()


@contextmanager
def frozen_heap(many: bool, tidy: bool = True) -> Iterator[None]:
    """Keep the collector away from between the runs, and for ``many`` runs from all that was there before them.

    With ``tidy`` what is garbage before is collected first, which takes milliseconds.
    """
    if many:
        if tidy:
            gc.collect()
        gc.freeze()
    with uncollected():
        try:
            yield
        finally:
            if many:
                gc.unfreeze()
