"""The helper threads of executor calls: one thing at a time, so the turn is handed over and given back.

Used by `vtloop.threads`.  A call has the turn until it ends, goes to sleep (``time.sleep``, where the loop minds
blocking calls: `vtloop.blocking`), calls back into the loop, or takes long; then the loop goes on without it.  A call
asleep costs no real time: the loop sets a timer, and hands the turn back when it fires.  This must never touch the
loop from a helper thread but by ``call_soon_threadsafe``.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import queue
import threading
from collections.abc import Callable
from typing import Any

from vtloop.errors import StepCut

__all__ = ["SLEEPERS", "Call", "Helper"]

SLEEPERS: dict[int, Callable[[float], None]] = {}
"""How ``time.sleep`` sleeps in a thread that runs an executor call, by the number of the thread."""

_MOST_SLEEPS_ENDED = 100
"""How often a sleep of a call is cut after its run has ended; one that goes on regardless is left waiting for ever."""


class Call:
    """One ``run_in_executor``: its function and its outcome.

    Attributes:
        function: What is to be called.
        future: Its outcome.
        done: Its outcome stands in `future`, and the loop has been told.
        passed: How often it could have been begun and was not.
        background: A daemon made it: its sleeps keep nobody waiting.
    """

    __slots__ = ("background", "done", "function", "future", "passed")

    def __init__(self, function: Callable[[], Any], background: bool = False) -> None:
        self.function = function
        self.future: concurrent.futures.Future[Any] = concurrent.futures.Future()
        self.done = False
        self.passed = 0
        self.background = background


class Helper:
    """A thread that runs the calls it is handed, one after the other.

    Attributes:
        call: The call at work or asleep.
        called_back: It has put something into the loop, and may wait for it.
        ending: It has come to its end, and tells the loop.
        wish: The seconds for which it wants to sleep; it waits for the turn.
        resting: The loop has set the timer for it.
    """

    def __init__(self, wake: Callable[[], None], number: int, put_to_sleep: Callable[[Helper], None] | None) -> None:
        """``put_to_sleep``, when given, is how a helper that has lost the turn has its timer set."""
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._turns: queue.SimpleQueue[bool] = queue.SimpleQueue()
        self._wake = wake
        self._put_to_sleep = put_to_sleep
        self._lock = threading.Lock()  # over `wish` and `_alone`
        self._alone = False  # the loop goes on without waiting for it
        self._ended = False
        self._sleeps_ended = 0
        self.call: Call | None = None
        self.called_back = self.ending = self.resting = False
        self.wish: float | None = None
        self.thread = threading.Thread(target=self._work, name=f"vtloop-executor-{number}", daemon=True)
        self.thread.start()

    @property
    def at_work(self) -> bool:
        """Whether a call runs that does not sleep, and may end by itself."""
        return self.call is not None and not self.called_back and not self.resting

    def hand(self, call: Call) -> None:
        """Give the turn to ``call``."""
        self.call, self.called_back, self.ending, self._alone = call, False, False, False
        self._calls.put(call)

    def resume(self) -> None:
        """Give the turn back to a call that has slept enough."""
        self.resting = self.called_back = self._alone = False
        self.wish = None
        self._turns.put(True)

    def leave_alone(self) -> bool:
        """Take the turn from a call that takes long; False when it has just given it back."""
        with self._lock:
            self._alone = self.wish is None
        return self._alone

    def end(self) -> None:
        """No call follows; one that sleeps is cut."""
        with self._lock:
            self._ended = True
        self._calls.put(None)
        self._turns.put(False)

    def sleep(self, seconds: float) -> None:
        """In this thread: let the loop go on, and come back when ``seconds`` of its time have passed."""
        with self._lock:
            ended, alone = self._ended, self._alone
            if not ended:
                self.wish = seconds
        if not ended and self._give_back(alone) and self._turns.get():
            return
        self._sleeps_ended += 1
        while self._sleeps_ended > _MOST_SLEEPS_ENDED:
            threading.Event().wait()
        raise StepCut("the run has ended")

    def _give_back(self, alone: bool) -> bool:
        """Tell the loop that this call sleeps; False when there is no loop any more."""
        if not alone or self._put_to_sleep is None:
            self._wake()
            return True
        try:
            self._put_to_sleep(self)
        except RuntimeError:
            return False
        return True

    def _work(self) -> None:
        if self._put_to_sleep is not None:
            SLEEPERS[threading.get_ident()] = self.sleep
        try:
            while (call := self._calls.get()) is not None:
                self._run(call)
                del call
                self._wake()
        finally:
            SLEEPERS.pop(threading.get_ident(), None)

    def _run(self, call: Call) -> None:
        outcome: Any = None
        error: BaseException | None = None
        try:
            outcome = call.function()
        except BaseException as exc:
            error = exc
        self.ending = True
        with contextlib.suppress(concurrent.futures.InvalidStateError, RuntimeError):
            if error is None:
                call.future.set_result(outcome)
            else:
                call.future.set_exception(error)
        outcome = error = None  # an exception holds this frame
        self.call = None
        call.done = True
        # This frame outlives the call in the traceback of what it raised, and must not hold the future alive there.
        outcome = error = None
        del call
