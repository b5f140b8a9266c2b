"""What a row measures with: processor time, added up over the parts of a program that count.

Processor time of the process instead of wall time, because the machine may be shared: what other programs take is not
charged, and neither is waiting.  It includes system time (a selector's) and that of any helper thread.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Callable, Coroutine
from time import process_time_ns
from typing import Any

__all__ = ["Stopwatch", "timed"]


class Stopwatch:
    """Adds up the processor time between each `start` and `stop`; `ns` is the sum so far."""

    def __init__(self) -> None:
        self.ns = 0
        self._since = 0

    def start(self) -> None:
        """Begin, or go on, measuring."""
        self._since = process_time_ns()

    def stop(self) -> None:
        """Hold still; what runs until the next `start` is not counted."""
        self.ns += process_time_ns() - self._since


def timed(
    make: Callable[[], asyncio.AbstractEventLoop], program: Callable[[Stopwatch], Coroutine[Any, Any, None]]
) -> int:
    """Nanoseconds that ``run_until_complete(program(watch))`` takes on a new loop, without making and closing it.

    The program may stop the watch around what must not count.  Automatic garbage collection is left as the loop has
    it by default, but starts from a collected heap.
    """
    loop = make()
    try:
        watch = Stopwatch()
        main = program(watch)
        gc.collect()
        watch.start()
        loop.run_until_complete(main)
        watch.stop()
    finally:
        loop.close()
    return watch.ns
