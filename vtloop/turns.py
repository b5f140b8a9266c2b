"""The turn: the only file that runs callbacks.

``turn``: the mark at the end of the line is reached, timers now due join, and everything that stands ready runs; when
only the mark is left the clock jumps to the next timer (`vtloop.idle`).  ``step``: one entry of the ready line runs
in its context.  Under asyncio's own order this is a ``deque.popleft`` loop; with a scheduler every step is picked from
a window (`vtloop.ready`).  It must never decide what may be reordered, and never read a real clock.
"""

from __future__ import annotations

import asyncio
import sys
from typing import Any

from vtloop import cpython
from vtloop.cancelling import Cancelling
from vtloop.errors import StepCut
from vtloop.failures import ExceptionHandling
from vtloop.handles import DebugHandle, DebugTimerHandle, Handle
from vtloop.idle import POLL_TURNS, IdleRules
from vtloop.ready import BARRIER, MARK, ReadyLine
from vtloop.ties import order_ties

__all__ = ["Turns"]

LAG_STEPS = 9
"""Options of a lag choice: none, or one to eight eighths of the ``lag`` option."""


class Turns(IdleRules, ExceptionHandling, Cancelling):
    """Runs what stands ready, turn by turn, and makes the choices on the way."""

    _turn_left = 0  # entries of the current turn that `step` has not run yet
    _limit = sys.maxsize  # of steps

    # Hot: the whole of a program under asyncio's own order. Keep everything else out of the inner loop.
    def _run_fifo(self) -> None:
        ready = self._ready
        popleft = ready.popleft
        todo, self._turn_left = self._turn_left, 0
        steps, limit = self._steps, self._step_limit()
        turns = POLL_TURNS
        try:
            while True:
                if not todo:
                    if self._attend:
                        self._join_due()
                    todo = len(ready)
                    if todo:
                        turns -= 1
                        if turns < 0:
                            self._steps = steps
                            turns = self._poll()
                            todo = len(ready)
                    elif not self._stopping:
                        self._steps = steps
                        context = callback = args = None  # what has run may die now, as on asyncio
                        self._idle()
                        todo = len(ready)
                        turns = POLL_TURNS
                steps += todo
                for _ in range(todo):
                    context, callback, args = popleft()
                    try:
                        context.run(callback, *args)
                    except (SystemExit, KeyboardInterrupt):
                        raise
                    except BaseException as exc:
                        self._callback_failed(callback, args, context, exc)
                todo = 0
                if self._stopping:
                    break
                if steps > limit:
                    self._steps = steps
                    self._spend_steps()
        finally:
            self._steps = steps

    # Hot: the same under a scheduler.
    def _run_chosen(self, line: ReadyLine) -> None:
        self._limit = self._step_limit()
        try:
            self._turns += line.drop_mark()
            self._run_line(line, self._next_turn(line, POLL_TURNS))
        finally:
            self._steps = line.takes - self._turns

    def _run_line(self, line: ReadyLine, turns: int) -> None:
        items = line.items
        quick = self._observer is None
        lag = self._lag_ns
        cancelling = self._cancelling
        for item in self._with_cancels(line) if cancelling else line.stream:
            callback = item[3]
            if callback is None:
                self._turns += 1
                if self._stopping:
                    break
                if quick and turns and not self._attend and line.takes < self._limit:
                    # `_next_turn` in short: nothing joins but the next timer.
                    if items:
                        turns -= 1
                    else:
                        self._steps = line.takes - self._turns
                        args = ()
                        self._idle()
                        turns = POLL_TURNS
                    items.append((BARRIER, next(line.arrivals), None, None, ()))
                    continue
                args = ()
                turns = self._next_turn(line, turns)
                if self._cancelling is not cancelling:
                    self._run_line(line, turns)
                    break
                continue
            args = item[4]
            try:
                item[2].run(callback, *args)
            except (SystemExit, KeyboardInterrupt):
                raise
            except BaseException as exc:
                self._callback_failed(callback, args, item[2], exc)
            if lag:
                lag = self._lag()

    def _next_turn(self, line: ReadyLine, turns: int) -> int:
        """The mark is reached: let due timers join, make something ready if nothing is, and set a new mark."""
        self._steps = line.takes - self._turns
        if self._attend:
            self._join_due()
        if line.items:
            turns -= 1
            if turns < 0:
                turns = self._poll()
        elif not self._stopping:
            self._idle()
            turns = POLL_TURNS
        if self._steps > self._limit:
            self._spend_steps()
        line.arrive(MARK)
        return turns

    def _mark_matters(self) -> bool:
        """Whether ending the turn now would let anything join, though nothing stands behind the mark."""
        return self._attend

    def _join_due(self) -> None:
        """Let the timers now due, and executor calls that end here, join the line."""
        self._attend = False
        if self._calls:
            self._run_calls()
            self._attend = bool(self._calls)
        due = self._due
        if self._clock_moved:
            self._clock_moved = False
            due = self._timers.pop_due(self._clock.ns) + due
        if due:
            self._due = []
            if len(due) > 1:
                due.sort(key=_deadline)
            self._fire(due)

    def _fire(self, due: list[Any]) -> None:
        """Put timers into the line; ``due`` is in (deadline, creation) order."""
        if self._line is not None and len(due) > 1:
            due = order_ties(due, self.choose)
        clock, arrive = self._clock, self._arrive
        latest = clock.seconds
        for handle in due:
            if handle._callback is not None:
                if handle._when > latest:
                    latest = handle._when
                arrive((handle._context, handle._fire, ()))
        clock.seconds = latest

    def _step_once(self) -> bool:
        """Run one callback, starting a turn if need be; False when nothing was left to run."""
        line = self._line
        if line is not None:
            while True:
                if not line.items:
                    if not self._can_go_on() and not self._due:
                        return False
                    self._next_turn(line, POLL_TURNS)
                item = line.take()
                if item[3] is not None:
                    break
                self._turns += 1
            context, callback, args = item[2:5]
        else:
            if not self._turn_left:
                self._join_due()
                if not self._ready:
                    if not self._can_go_on():
                        return False
                    self._idle()
                self._turn_left = len(self._ready)
                if not self._turn_left:
                    return False
            self._turn_left -= 1
            context, callback, args = self._ready.popleft()
            self._steps += 1
        try:
            context.run(callback, *args)
        except (SystemExit, KeyboardInterrupt):
            raise
        except BaseException as exc:
            self._callback_failed(callback, args, context, exc)
        return True

    def _callback_failed(self, callback: Any, args: Any, context: Any, exc: BaseException) -> None:
        """Report what a callback raised, as asyncio's handle does."""
        if isinstance(exc, StepCut):
            self._stopping = True
            return
        handle = getattr(callback, "__self__", None)
        if not isinstance(handle, Handle):
            handle = asyncio.Handle(callback, args, self, context)
        report: dict[str, Any] = {
            "message": f"Exception in callback {cpython.callback_source(handle)}",
            "exception": exc,
            "handle": handle,
        }
        if isinstance(handle, (DebugHandle, DebugTimerHandle)) and handle._source_traceback:
            report["source_traceback"] = handle._source_traceback
        if not self._came_out_of_advance(exc):
            self.call_exception_handler(report)
        self._current_handle = None

    # -- choices ------------------------------------------------------------------------------------------------

    def choose(self, kind: str, options: int, name: str = "", p: float | None = None) -> int:
        """Pick one of ``options`` (0 to ``options - 1``) and record it; 0 under asyncio's own order.

        ``kind`` names what is chosen in reports.  0 must be what a calm day gives.  ``name`` and ``p`` are hints for
        schedulers that draw (`vtloop.schedulers.odds.Odds.choose`).
        """
        scheduler, line = self._scheduler, self._line
        if options < 2 or scheduler is None or line is None:
            return 0
        index = scheduler.choose(kind, options, name, p)
        line.indices.append(index)
        line.sizes.append(options)
        if self._observer is not None:
            self._observer.chosen(kind, index, options)
        return index

    # Hot: called after every step of a run with lag.
    def _lag(self) -> int:
        """A step may take a bit of virtual time, so that several timers fall due in one turn."""
        if self._timers.waiting():
            eighths = self.choose("lag", LAG_STEPS)
            if eighths:
                self._clock.move_to(self._clock.ns + self._lag_ns * eighths // 8)
                self._clock_moved = self._attend = True
        return self._lag_ns


def _deadline(handle: Any) -> int:
    when_ns: int = handle._when_ns
    return when_ns
