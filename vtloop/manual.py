"""Moving the clock by hand: ``advance``, ``run_ready``, ``run_until_idle``, ``step``, ``elapse``.

A part of the loop, and the functions of the same names for use inside coroutines.  A call leaves a *request*; the loop
answers it when nothing but the caller is ready any more (`vtloop.idle`).  The driver of the clock is never a task.
"""

from __future__ import annotations

import asyncio
from typing import Any

from vtloop.clock import checked_ns
from vtloop.errors import UsageError
from vtloop.state import LoopState

__all__ = ["ManualClock", "Request", "advance", "daemon", "run_ready", "run_until_idle"]


class Request:
    """A wish to be called back at a time, or when the loop is idle.

    Attributes:
        target_ns: The time at which the request ends; None for "when idle".
        waiter: The future of a caller inside the loop; None for one outside, for whom the loop is stopped.
        error: What a plain callback raised meanwhile; it comes out of the call.
        jumps: For "when idle": clock jumps since a task was made or finished.
    """

    __slots__ = ("error", "jumps", "target_ns", "tasks_alive", "waiter")

    def __init__(self, target_ns: int | None, waiter: asyncio.Future[None] | None) -> None:
        self.target_ns = target_ns
        self.waiter = waiter
        self.error: BaseException | None = None
        self.jumps = 0
        self.tasks_alive = (-1, -1)


class ManualClock(LoopState):
    """The methods by which code outside the running loop moves its clock."""

    def advance(self, seconds: float) -> None:
        """Run what is ready, then move from deadline to deadline up to and including ``seconds`` from now.

        Timers made on the way count.  Returns when nothing is ready and the clock stands at exactly now + ``seconds``.
        An exception in a plain callback comes out here.  For use outside coroutines; inside, ``await
        vtloop.advance(...)``.

        Raises:
            UsageError: A negative, infinite or NaN value; the loop is running.
        """
        self._drive(self._clock.ns + checked_ns(seconds, "advance(seconds)"), "advance")

    def advance_to(self, when: float) -> None:
        """`advance` to the instant at which ``time()`` reads ``when``.

        Raises:
            UsageError: ``when`` lies in the past or is not a finite number; the loop is running.
        """
        self._drive(self._target(when), "advance_to")

    def run_ready(self) -> None:
        """Run until nothing is ready any more; the clock does not move (``advance(0)``)."""
        self._drive(self._clock.ns, "run_ready")

    def run_until_idle(self) -> None:
        """Run, jumping from timer to timer, until no foreground work is left; daemons do not count.

        Raises:
            HangError: Tasks re-arm timers for ever; it names them.
            UsageError: The loop is running.
        """
        self._drive(None, "run_until_idle")

    def step(self) -> bool:
        """Run one callback, jumping to the next timer if nothing is ready; False when nothing is left to run.

        Raises:
            UsageError: The loop is running.
        """
        self._check_outside("step")
        loop: Any = self
        loop._check_can_run()
        with loop._entered():
            ran: bool = loop._step_once()
        return ran

    def elapse(self, seconds: float) -> None:
        """Move the clock and run nothing, as a long computation or a blocking call would.  Allowed anywhere.

        Timers that fall due meanwhile fire in the next turn.

        Raises:
            UsageError: A negative, infinite or NaN value; a closed loop.
        """
        self._check_open("elapse")
        self._clock.move_to(self._clock.ns + checked_ns(seconds, "elapse(seconds)"))
        self._clock_moved = self._attend = True

    def _target(self, when: float) -> int:
        target = checked_ns(when, "advance_to(when)")
        if target < self._clock.ns:
            raise UsageError(f"advance_to(when) cannot go back: got {when!r}, the clock is at {self.time()!r}")
        return target

    def _check_open(self, name: str) -> None:
        if self._closed:
            raise UsageError(f"{name}() was called on a closed loop")

    def _check_outside(self, name: str) -> None:
        self._check_open(name)
        if self._thread_id is not None:
            raise UsageError(f"loop.{name}() was called while the loop runs; inside a coroutine: await vtloop.{name}()")

    def _drive(self, target_ns: int | None, name: str) -> None:
        self._check_outside(name)
        self._lag_ns, self._stretch = 0, 0.0
        self._special = True
        request = Request(target_ns, None)
        self._requests += (request,)
        try:
            self.run_forever()
        finally:
            self._requests = tuple(other for other in self._requests if other is not request)
        if request.error is not None:
            raise request.error

    async def _request(self, target_ns: int | None) -> None:
        """The same from inside: suspend the calling task until the request is answered."""
        self._lag_ns, self._stretch = 0, 0.0
        self._special = True
        request = Request(target_ns, self.create_future())
        assert request.waiter is not None
        self._requests += (request,)
        try:
            await request.waiter
        finally:
            self._requests = tuple(other for other in self._requests if other is not request)

    def _answer(self, request: Request) -> None:
        """End ``request``: wake its caller, the clock at its target."""
        if request.target_ns is not None and request.target_ns > self._clock.ns:
            self._clock.move_to(request.target_ns)
        self._requests = tuple(other for other in self._requests if other is not request)
        if request.waiter is None:
            self._stopping = True
        elif not request.waiter.done():
            request.waiter.set_result(None)

    def _came_out_of_advance(self, exc: BaseException) -> bool:
        """Hand what a plain callback raised to the newest request, if there is one and no handler was set."""
        if not self._requests or self.get_exception_handler() is not None:
            return False
        request = self._requests[-1]
        if request.waiter is None:
            if request.error is not None:
                return False
            request.error = exc
            self._stopping = True
        elif request.waiter.done() or isinstance(exc, StopIteration):
            return False
        else:
            request.waiter.set_exception(exc)
        return True


def _manual_loop(name: str) -> ManualClock:
    loop = asyncio.get_running_loop()
    if not isinstance(loop, ManualClock):
        raise UsageError(f"vtloop.{name}() needs a vtloop loop, the running one is {type(loop).__name__}")
    return loop


async def advance(seconds: float) -> None:
    """`ManualClock.advance` for use inside a coroutine: returns when nothing but its caller is ready.

    Most tests need only ``await asyncio.sleep(seconds)``.

    Raises:
        UsageError: A negative, infinite or NaN value; the running loop is not vtloop's.
    """
    loop = _manual_loop("advance")
    await loop._request(loop._clock.ns + checked_ns(seconds, "advance(seconds)"))


async def run_ready() -> None:
    """Let everything that is ready run, and what becomes ready by it; the clock does not move."""
    loop = _manual_loop("run_ready")
    await loop._request(loop._clock.ns)


async def run_until_idle() -> None:
    """Let everything run, timers included, until no foreground work but the caller is left.

    Raises:
        HangError: Tasks re-arm timers for ever; it names them.
    """
    await _manual_loop("run_until_idle")._request(None)


def daemon(task: asyncio.Task[Any]) -> asyncio.Task[Any]:
    """Mark ``task``, and the tasks it makes from now on, as background work, and return it.

    It keeps neither `run_until_idle` nor the deadlock verdict waiting and is cancelled at the end of the run.  On
    another loop than vtloop's this does nothing.

    Raises:
        UsageError: ``task`` is not a task.
    """
    if not isinstance(task, asyncio.Task):
        raise UsageError(f"daemon(task) needs an asyncio.Task, got {task!r}")
    loop: Any = task.get_loop()
    if isinstance(loop, ManualClock):
        loop._mark_daemon(task)
    return task
