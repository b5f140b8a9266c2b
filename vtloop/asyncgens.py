"""Async generators of a loop: remembered in order of first use, closed in that order.

A part of the loop.  asyncio keeps them in a weak set, whose order is that of addresses.
"""

from __future__ import annotations

import asyncio
import sys
import warnings
import weakref
from collections.abc import AsyncGenerator
from typing import Any

from vtloop.state import LoopState
from vtloop.tasks import Origin, origin_above

__all__ = ["AsyncGenerators"]


class AsyncGenerators(LoopState):
    """The hooks for async generators, and ``shutdown_asyncgens``."""

    _asyncgens: dict[int, weakref.ref[AsyncGenerator[Any, Any]]] | None = None
    _asyncgens_shut = False
    _outer_hooks: Any = None

    def _hook_asyncgens(self) -> None:
        self._outer_hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=self._asyncgen_begun, finalizer=self._asyncgen_dropped)

    def _unhook_asyncgens(self) -> None:
        if self._outer_hooks is not None:
            sys.set_asyncgen_hooks(*self._outer_hooks)
            self._outer_hooks = None

    def _asyncgen_begun(self, agen: AsyncGenerator[Any, Any]) -> None:
        if self._asyncgens_shut:
            warnings.warn(
                f"asynchronous generator {agen!r} was scheduled after loop.shutdown_asyncgens() call",
                ResourceWarning,
                source=self,
                stacklevel=2,
            )
        if self._asyncgens is None:
            self._asyncgens = {}
        elif len(self._asyncgens) & 255 == 255:
            self._asyncgens = {i: ref for i, ref in self._asyncgens.items() if ref() is not None}
        number = next(reversed(self._asyncgens), 0) + 1
        self._asyncgens[number] = weakref.ref(agen)
        if self.asyncgen_origins is not None:
            self.asyncgen_origins[number] = origin_above(sys._getframe(1))

    def _asyncgen_dropped(self, agen: AsyncGenerator[Any, Any]) -> None:
        loop: Any = self
        if not loop.is_closed():
            loop.call_soon_threadsafe(loop.create_task, agen.aclose())

    asyncgen_origins: dict[int, Origin] | None = None
    """Where each was first iterated, by its number; None where nobody will ask."""

    def _living_asyncgens(self) -> list[tuple[int, AsyncGenerator[Any, Any]]]:
        """Those that are alive, in order of first use, with their numbers."""
        return [(number, agen) for number, ref in (self._asyncgens or {}).items() if (agen := ref()) is not None]

    def has_asyncgens(self) -> bool:
        """Whether any async generator was iterated."""
        return bool(self._asyncgens)

    async def shutdown_asyncgens(self) -> None:
        """Close all living async generators, in the order in which they were first iterated."""
        self._asyncgens_shut = True
        living = [agen for _, agen in self._living_asyncgens()]
        self._asyncgens = None
        if not living:
            return
        closing = [agen.aclose() for agen in living]
        results = await asyncio.gather(*closing, return_exceptions=True)
        loop: Any = self
        for agen, result in zip(living, results, strict=True):
            if isinstance(result, Exception):
                loop.call_exception_handler(
                    {
                        "message": f"an error occurred during closing of asynchronous generator {agen!r}",
                        "exception": result,
                        "asyncgen": agen,
                    }
                )
