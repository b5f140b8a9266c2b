"""Real threads under a virtual clock: executor calls, and threads the program started itself.

A part of the loop.  An executor call runs in a helper thread that is handed the turn while the loop waits: one thing
at a time, so a run stays reproducible (`vtloop.handover`).  A call that blocks, or calls back into the loop, is served
with the clock frozen, and the run is marked as not reproducible.  The clock must never overtake a thread that is at
work, and a deadlock must never be called while one could still wake the loop.
"""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import queue
import socket
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable
from typing import Any

from vtloop.anyio_waits import is_idle_worker
from vtloop.blocking_names import without_ours
from vtloop.diagnosis import verdict
from vtloop.handover import Call, Helper
from vtloop.state import LoopState

__all__ = ["ExecutorCalls"]

HANDOVER = 0.05
"""Real seconds after which a call that does not come back shares the loop with the next one."""

GRACE = 0.05
"""Real seconds for which the clock waits for a thread of the program that does not move."""


class ExecutorCalls(LoopState):
    """``run_in_executor``, ``call_soon_threadsafe``'s wake-up, and the waiting for threads."""

    _calls: deque[Call] | tuple[()] = ()
    _helpers: tuple[Helper, ...] = ()
    _foreign = False  # another thread has put something in
    _executor_shut = False
    _wakeups: queue.SimpleQueue[None] | None = None
    _callers: tuple[threading.Thread, ...] = ()  # threads that have called this loop
    _thread_count = 0
    _known_threads: frozenset[threading.Thread] = frozenset()
    _parked: dict[int, tuple[int, int]] | None = None

    # -- the executor -------------------------------------------------------------------------------------------

    def run_in_executor(self, executor: Any, func: Callable[..., Any], *args: Any) -> Any:  # type: ignore[override]
        """Run ``func(*args)`` in a helper thread while the loop waits; gives a future.

        ``executor`` is accepted and not used: any call runs in the one helper thread.  At which step a call ends is a
        choice (at the end of this turn, under asyncio's own order); it takes no virtual time.
        """
        self._check_closed()
        if self._debug:
            self._check_callback(func, "run_in_executor")
        if executor is None and self._executor_shut:
            raise RuntimeError("Executor shutdown has been called")
        background = self._daemons and self._is_daemon(asyncio.current_task(self) if self.is_running() else None)
        call = Call(lambda: func(*args), background)
        call.future.vtloop_function = func  # type: ignore[attr-defined]  # what a report names
        future: asyncio.Future[Any] = asyncio.wrap_future(call.future, loop=self)
        if not self._calls:
            self._calls = deque()
            self._special = self._attend = True
        assert isinstance(self._calls, deque)
        self._calls.append(call)
        return future

    async def getnameinfo(self, sockaddr: Any, flags: int = 0) -> Any:
        """``socket.getnameinfo`` as an executor call."""
        return await self.run_in_executor(None, socket.getnameinfo, sockaddr, flags)

    def set_default_executor(self, executor: Any) -> None:
        """Accepted, checked as asyncio does, and not used.

        Raises:
            TypeError: ``executor`` is not a ``ThreadPoolExecutor``.
        """
        if not isinstance(executor, concurrent.futures.ThreadPoolExecutor):
            raise TypeError("executor must be ThreadPoolExecutor instance")

    async def shutdown_default_executor(self, timeout: float | None = None) -> None:
        """Wait until every executor call has ended; the clock stands still meanwhile, so ``timeout`` never ends."""
        self._executor_shut = True
        while self._calls or any(helper.call is not None for helper in self._helpers):
            waiting = [call.future for call in self._calls]
            waiting += [helper.call.future for helper in self._helpers if helper.call is not None]
            await asyncio.wait([asyncio.wrap_future(future, loop=self) for future in waiting])
        self._end_helpers()

    def has_calls(self) -> bool:
        """Whether any executor call was made."""
        return bool(self._calls or self._helpers)

    def _run_calls(self, must: bool = False) -> None:
        """Choose which executor calls end now; with ``must`` at least one does."""
        calls = self._calls
        assert isinstance(calls, deque)
        while calls:
            wait = 0 if must or calls[0].passed > 200 else 1
            index = self.choose("executor call", len(calls) + wait)
            if index == len(calls):
                for call in calls:
                    call.passed += 1
                return
            call = calls[index]
            del calls[index]
            if call.future.set_running_or_notify_cancel():
                self._hand_over(call)
            must = False

    def _hand_over(self, call: Call) -> None:
        """Give a helper thread the turn, and wait until it is done, calls back, or takes long."""
        helper = next((h for h in self._helpers if h.call is None), None)
        if helper is None:
            put_to_sleep = self._put_to_sleep_later if self._blocking is not None else None
            helper = Helper(self._wake, len(self._helpers) + 1, put_to_sleep)
            self._helpers += (helper,)
        self._foreign = False
        helper.hand(call)
        self._wait_for_turn(helper, call)

    def _wait_for_turn(self, helper: Helper, call: Call) -> None:
        """Wait until ``call`` is done, goes to sleep, calls back, or takes long."""
        until = time.perf_counter() + HANDOVER
        while not call.done and helper.wish is None:
            if (not self._sleep(until - time.perf_counter()) or self._foreign) and helper.leave_alone():
                self.reproducible = self.reproducible and call.done
                return
        if not call.done:
            self._put_to_sleep(helper)

    def _put_to_sleep(self, helper: Helper) -> None:
        """An executor call sleeps: set the timer that hands it the turn again."""
        if helper.wish is not None and helper.call is not None:
            helper.resting = True
            handle: Any = self.call_later(helper.wish, self._wake_up, helper)
            handle._background = helper.call.background

    def _put_to_sleep_later(self, helper: Helper) -> None:
        """The same for a call that lost the turn, in its thread."""
        self.call_soon_threadsafe(self._put_to_sleep, helper)

    def _wake_up(self, helper: Helper) -> None:
        """Hand the turn back to an executor call that has slept enough, and wait as when it began."""
        call = helper.call
        if call is not None:
            self._foreign = False
            helper.resume()
            self._wait_for_turn(helper, call)

    # -- waiting ------------------------------------------------------------------------------------------------

    def _called_from_thread(self) -> None:
        """Something was put in by ``call_soon_threadsafe``; note by whom, and wake the loop if it waits."""
        if self._thread_id is None or threading.get_ident() == self._thread_id:
            return
        self._special = True
        thread = threading.current_thread()
        for helper in self._helpers:
            if helper.thread is thread:
                self._foreign = self._foreign or not helper.ending
                helper.called_back = not helper.ending
                break
        else:
            self._foreign = True
            self.reproducible = False
            if thread not in self._callers:
                self._callers += (thread,)
            if self._parked is not None:
                self._parked.pop(thread.ident or 0, None)
        self._wake()

    def _wake(self) -> None:
        if self._wakeups is not None:
            self._wakeups.put(None)

    def _sleep(self, seconds: float) -> bool:
        """Really sleep until a thread wakes the loop; False when ``seconds`` are over first."""
        try:
            if self._wakeups is None:
                self._wakeups = queue.SimpleQueue()
            self._wakeups.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            return False
        return True

    def _begin_threads(self) -> None:
        """Note which threads there were before, so that those started in the run can be told."""
        self._thread_count = _thread._count()
        self._known_threads = frozenset(threading.enumerate()) if self._thread_count else frozenset()

    def _threads_began(self) -> bool:
        """Whether any thread came or went since the loop began to run; costs next to nothing."""
        return _thread._count() != self._thread_count or bool(self._callers)

    def _counting(self) -> list[threading.Thread]:
        """The threads that could still wake the loop: started in this run, or known to call this loop."""
        own = {helper.thread for helper in self._helpers if not (helper.call is not None and helper.called_back)}
        own |= {helper.thread for helper in self._helpers if helper.resting}
        return [
            thread
            for thread in threading.enumerate()
            if thread.ident not in (None, self._thread_id)
            and (thread in self._callers or thread not in self._known_threads)
            and thread not in own
            and not getattr(thread, "vtloop_own", False)
            and not is_idle_worker(thread)
        ]

    def _hold_clock(self, deadline: int | None) -> bool:
        """Before a jump: wait for calls at work, and shortly for threads that move; True when something came."""
        if deadline is None or not (self.options.autojump or self._requests):
            return False
        if any(helper.at_work for helper in self._helpers):
            return self._wait_for_threads()
        end = time.perf_counter() + GRACE
        while self._moving():
            self._sleep(0.002)
            if self._something_ready():
                return True
            if time.perf_counter() > end:
                self._park()
        return False

    def _moving(self) -> bool:
        """Whether a thread that counts stands elsewhere than when it was last seen idle."""
        parked = self._parked or {}
        frames = sys._current_frames()
        return any(parked.get(t.ident or 0) != _place(frames.get(t.ident or 0)) for t in self._counting())

    def _park(self) -> None:
        frames = sys._current_frames()
        self._parked = {t.ident or 0: _place(frames.get(t.ident or 0)) for t in self._counting()}

    def _wait_for_threads(self) -> bool:
        """Nothing to do but wait for real threads, the clock frozen; False when there are none that count.

        Raises:
            HangError: The ``patience`` option (real seconds) ended first.
        """
        began = time.perf_counter()
        patience = self.options.patience
        while True:
            if self._something_ready():
                return True
            threads = self._counting()
            threads += [helper.thread for helper in self._helpers if helper.at_work]
            if not threads:
                # The last one may have put something in just before it ended.
                return self._something_ready()
            self.reproducible = False
            if patience is not None and time.perf_counter() - began > patience:
                frames = sys._current_frames()
                stacks = [(t.name, _stack(frames.get(t.ident or 0))) for t in threads]
                self._raise(verdict.patience(self._snapshot(), patience, stacks))
            self._sleep(0.01)

    def _close_threads(self) -> None:
        self._calls = ()
        self._executor_shut = True
        self._end_helpers()

    def _end_helpers(self) -> None:
        for helper in self._helpers:
            rests = helper.call is None or helper.resting
            helper.end()
            if rests:
                helper.thread.join(1.0)
        self._helpers = ()


def _place(frame: Any) -> tuple[int, int]:
    return (0, 0) if frame is None else (hash(frame.f_code), frame.f_lasti)


def _stack(frame: Any) -> list[traceback.FrameSummary]:
    return [] if frame is None else without_ours(traceback.extract_stack(frame))
