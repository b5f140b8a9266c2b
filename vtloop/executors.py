"""The workers of an executor that the user brings: a pool of processes, a cluster.

Used by `vtloop.explore` for ``executor=``.  Any object with ``concurrent.futures``'s ``submit`` will do, whose futures
have ``result``, ``cancel`` and ``add_done_callback``; nothing else of it is used, and it is never shut down.
"""

from __future__ import annotations

import pickle
import queue
import sys
from typing import Any

from vtloop.chunks import Chunk, Job, Made, Program, Result, work
from vtloop.errors import UsageError, VtloopError
from vtloop.plan import Plan

__all__ = ["Borrowed"]


CHUNK_SECONDS = 0.2
"""What a chunk should take: a cluster needs some milliseconds to hand one out and to take it back."""


class Borrowed:
    """The workers of an executor.

    Args:
        executor: ``concurrent.futures``-style.
        size: How many chunks may be under way at a time; who has many workers needs many.
        plan: What to explore.
        program: The program for another process.
    """

    def __init__(self, executor: Any, size: int, plan: Plan, program: Program) -> None:
        self.size, self.seconds = size, CHUNK_SECONDS
        self._executor, self._plan = executor, plan
        self._program = _portable(program)
        self._futures: dict[int, Any] = {}
        self._came: queue.SimpleQueue[tuple[Chunk, Any]] = queue.SimpleQueue()

    def hand(self, chunk: Chunk) -> None:
        """Submit ``chunk``."""
        job = Job(self._plan, self._program, tuple(sys.path), chunk)
        try:
            future = self._executor.submit(work, job)
        except Exception as exc:
            raise self._loss(chunk, exc) from exc
        self._futures[chunk.first] = future
        future.add_done_callback(lambda done: self._came.put((chunk, done)))

    def next(self, seconds: float) -> Result | None:
        """What came of a chunk, in any order; None after ``seconds``."""
        try:
            chunk, future = self._came.get(timeout=seconds)
        except queue.Empty:
            return None
        self._futures.pop(chunk.first, None)
        try:
            made: Made = future.result()
        except KeyboardInterrupt:
            raise
        except BaseException as exc:
            return chunk, self._loss(chunk, exc)
        if made.refused is not None:
            return chunk, UsageError(
                f"a worker could not load the program: {made.refused}; the workers of an executor need the project "
                f"importable (installed there, or on PYTHONPATH)"
            )
        return chunk, made

    def drop(self, first: int) -> None:
        """Chunks behind run ``first`` are not wanted any more: those that have not begun are cancelled."""
        for number, future in list(self._futures.items()):
            if number > first:
                future.cancel()

    def close(self) -> None:
        """Cancel what has not begun; chunks under way end by themselves."""
        self.drop(-1)
        self._futures.clear()

    def _loss(self, chunk: Chunk, exc: BaseException) -> VtloopError:
        """What to say of a chunk that did not come back."""
        text = f"{type(exc).__name__}: {exc}"
        if "pickle" in text.lower() or "local object" in text:
            return UsageError(
                f"the executor cannot send the program to its workers ({text}); give a function of a module"
            )
        return VtloopError(
            f"the executor did not make {chunk}: {text}", data={"first": chunk.first, "count": chunk.count}
        )


def _portable(program: Program) -> Program | bytes:
    """``program`` as bytes, which a worker can refuse in a sentence; what only the executor can pickle, as it is.

    A function of ``__main__`` is one: pickle names the module, and a worker's ``__main__`` is another.
    """
    try:
        packed = pickle.dumps(program)
    except Exception:
        return program
    return program if b"__main__" in packed else packed
