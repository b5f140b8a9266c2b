"""Choices for the code under test: what the simulated world may do, drawn by the explorer, recorded and replayed.

Functions that a test, or a stand-in for a real service, calls.  Each takes its first, plainest option outside a run,
on another loop, and in asyncio's own order, so code that uses them still works anywhere.  They must never draw
anything themselves.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
from collections.abc import Awaitable, Callable, Coroutine
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

from vtloop.errors import UsageError
from vtloop.loop import EventLoop

__all__ = ["Outcome", "choose", "latency", "may_cancel", "slow", "sometimes"]

P = ParamSpec("P")
T = TypeVar("T")

LATENCY_STEPS = 9
"""Options of a latency: the shortest, and eight eighths of the way to the longest."""


def _loop() -> EventLoop | None:
    """The running loop, if it is one of ours."""
    loop = asyncio._get_running_loop()
    return loop if isinstance(loop, EventLoop) else None


def choose(options: int) -> int:
    """Let the explorer pick one of ``options``: 0 to ``options - 1``; 0 outside a run and under asyncio's own order.

    The choice is recorded, replayed and shrunk like any other.

    Raises:
        UsageError: ``options`` is not a whole number of 1 or more.
    """
    if isinstance(options, bool) or not isinstance(options, int) or options < 1:
        raise UsageError(f"choose(options) needs a whole number, 1 or more, got {options!r}")
    loop = _loop()
    return loop.choose("choose", options) if loop is not None else 0


def sometimes(name: str, p: float = 0.1) -> bool:
    """Whether a rare thing happens here: a fault, a retry, a slow path; False outside an exploration.

    Two-level, as FoundationDB's BUGGIFY: in a quarter of the runs ``name`` is enabled at all, and then it happens
    with probability ``p`` each time.  So runs differ in kind: some meet many faults, most meet none.

    Args:
        name: What happens; the same name is enabled or disabled as one.
        p: The probability in a run where it is enabled, 0 to 1.

    Raises:
        UsageError: ``p`` is no number from 0 to 1, or ``name`` no text.
    """
    if not isinstance(name, str):
        raise UsageError(f"sometimes(name, p) needs a text as its name, got {name!r}")
    if isinstance(p, bool) or not isinstance(p, (int, float)) or not 0 <= p <= 1:
        raise UsageError(f"sometimes(name, p) needs a probability from 0 to 1, got {p!r}")
    loop = _loop()
    return loop is not None and loop.choose("sometimes", 2, name, p) == 1


async def latency(low: float, high: float) -> None:
    """Wait between ``low`` and ``high`` seconds, as the explorer chooses: ``low`` in asyncio's own order.

    Under vtloop the wait is virtual; on another loop it is a plain ``asyncio.sleep(low)``.

    Raises:
        UsageError: The two are no finite numbers with 0 <= ``low`` <= ``high``.
    """
    _check_range("latency", low, high)
    loop = _loop()
    if loop is None:
        await asyncio.sleep(low)
        return
    delay = low + (high - low) * loop.choose("latency", LATENCY_STEPS) / (LATENCY_STEPS - 1) if high > low else low
    if not delay:
        await asyncio.sleep(0)
        return
    # Not asyncio.sleep: that may be stretched, and this range is the whole of what may happen.
    waiter = loop.create_future()
    timer = loop.call_later(delay, _wake, waiter)
    try:
        await waiter
    finally:
        timer.cancel()


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


def slow(async_callable: Callable[P, Awaitable[T]], low: float, high: float) -> Callable[P, Coroutine[Any, Any, T]]:
    """``async_callable``, taking between ``low`` and ``high`` seconds of latency: half before it, half after.

    For mocks and fakes: an ``AsyncMock`` never suspends, so no race can show around it.  Arguments, result and
    exceptions pass through.

    Raises:
        UsageError: What is wrapped cannot be called, or a call gives nothing to await; a bad range, as `latency`.
    """
    _check_range("slow", low, high)
    if not callable(async_callable):
        raise UsageError(f"slow(async_callable, low, high) needs something to call, got {async_callable!r}")

    @functools.wraps(async_callable, updated=())
    async def slowly(*args: P.args, **kwargs: P.kwargs) -> T:
        await latency(low / 2, high / 2)
        made = async_callable(*args, **kwargs)
        if not inspect.isawaitable(made):
            raise UsageError(f"slow() wraps an async callable; {async_callable!r} gave {made!r}, which is no awaitable")
        try:
            value = await made
        except Exception:  # an error takes as long as an answer; a cancellation does not wait for it
            await latency(low / 2, high / 2)
            raise
        await latency(low / 2, high / 2)
        return value

    return slowly


def _check_range(what: str, low: float, high: float) -> None:
    for number in (low, high):
        if isinstance(number, bool) or not isinstance(number, (int, float)) or number - number != 0:
            raise UsageError(f"{what} needs finite numbers of seconds, got {number!r}")
    if not 0 <= low <= high:
        raise UsageError(f"{what} needs 0 <= low <= high, got low={low!r} and high={high!r}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a coroutine that the explorer was allowed to cancel (`may_cancel`).

    Attributes:
        cancelled: Whether the explorer cancelled it.
        where: The line at which it was waiting then, ``file.py:12 in f``; None if it was not cancelled.
        value: What it returned; None when the cancellation ended it.  A value although ``cancelled``: it swallowed
            the cancellation.
        error: The ``CancelledError`` that ended it, or None.
    """

    cancelled: bool = False
    where: str | None = None
    value: Any = None
    error: asyncio.CancelledError | None = None


async def may_cancel(coro: Coroutine[Any, Any, Any]) -> Outcome:
    """Run ``coro`` as a task which the explorer may cancel, once, at any one of its awaits.

    Both moments are tried: before a wake-up whose future is already done, and while it is still pending.  With
    ``scheduler="exhaustive:bound=1"`` every await is cancelled in turn.  Outside a run, and in asyncio's own order,
    nothing is cancelled.  A cancellation of the caller is passed on to ``coro``, and comes out here.

    Raises:
        UsageError: ``coro`` is no coroutine.
        BaseException: What ``coro`` raised, but for the cancellation by the explorer.
    """
    if not asyncio.iscoroutine(coro):
        raise UsageError(f"may_cancel(coro) needs a coroutine, got {coro!r}")
    loop = _loop()
    task = asyncio.get_running_loop().create_task(coro)
    if loop is not None:
        loop.may_cancel(task)
    caller = asyncio.current_task()
    before = caller.cancelling() if caller is not None else 0
    try:
        value = await task
    except asyncio.CancelledError as exc:
        where = loop.cancelled_at.get(hash(task)) if loop is not None else None
        if where is None or (caller is not None and caller.cancelling() > before):
            raise
        return Outcome(True, where, None, exc)
    where = loop.cancelled_at.get(hash(task)) if loop is not None else None
    return Outcome(where is not None, where, value)
