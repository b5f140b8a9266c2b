"""The event loop: the only file that runs callbacks.

``turn``: the mark at the end of the line is reached, timers now due join, and everything that stands ready runs; when
only the mark is left the clock jumps to the next timer (`vtloop.idle`).  ``step``: one entry of the ready line runs
in its context.  Under asyncio's own order this is a ``deque.popleft`` loop; with a scheduler every step is picked from
a window (`vtloop.ready`).  It must never decide what may be reordered, and never read a real clock.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import sys
import threading
import warnings
from collections import deque
from collections.abc import Iterator
from types import CoroutineType
from typing import Any

from vtloop import cpython
from vtloop.asyncgens import AsyncGenerators
from vtloop.boundary import ClosedDoors
from vtloop.clock import VirtualClock
from vtloop.errors import StepCut, VtloopError
from vtloop.failures import ExceptionHandling
from vtloop.handles import DebugHandle, DebugTimerHandle, Handle
from vtloop.idle import POLL_TURNS, IdleRules
from vtloop.manual import ManualClock
from vtloop.options import FACTORY_DEFAULTS, Options, resolved
from vtloop.ready import BARRIER, MARK, Observer, ReadyLine, order_ties
from vtloop.schedulers import Scheduler, make_scheduler
from vtloop.scheduling import Scheduling, call_soon_into
from vtloop.tasks import TaskRegistry
from vtloop.threads import ExecutorCalls
from vtloop.timers import TimerQueue

__all__ = ["EventLoop"]

LAG_STEPS = 9
"""Options of a lag choice: none, or one to eight eighths of the ``lag`` option."""


class EventLoop(
    Scheduling,
    IdleRules,
    ManualClock,
    ExecutorCalls,
    AsyncGenerators,
    ExceptionHandling,
    ClosedDoors,
    asyncio.AbstractEventLoop,
):
    """An asyncio event loop on virtual time.

    Without a seed or scheduler it runs everything in the order in which stock asyncio would, turn by turn; with one
    it explores the orders that the level allows, and records each choice.  It needs no file descriptor and no thread.

    Args:
        seed: An int from which every choice is drawn; None for asyncio's own order.
        scheduler: ``"fifo"``, ``"random"`` or an object with ``pick(window) -> index``.
        interleave: ``"timing"``, ``"wakeups"`` or ``"tasks"``; needs a seed or a scheduler.
        start: What ``loop.time()`` reads at first, in seconds.
        autojump: Whether the clock jumps to the next timer when nothing is ready; else only `advance` moves it.
        **options: See the reference, section "Options".

    Raises:
        UsageError: An unknown option or value; the message says what is allowed.
    """

    _limit = float("inf")  # of steps
    _turn_left = 0  # entries of the current turn that `step` has not run yet
    _outer_depth: int | None = None
    _cut: VtloopError | None = None  # set by the watchdog: the verdict over a step that did not return

    def __init__(
        self,
        *,
        seed: int | None = None,
        scheduler: Any = None,
        interleave: str | None = None,
        start: float = 0.0,
        autojump: bool = True,
        **options: Any,
    ) -> None:
        self._closed = True  # until it is whole: __del__ looks
        if start != 0.0:
            options["start"] = start
        if autojump is not True:
            options["autojump"] = autojump
        if seed is None and scheduler is None and interleave is None and not options:
            self._begin(FACTORY_DEFAULTS)
        else:
            self._begin(resolved(seed=seed, scheduler=scheduler, interleave=interleave, **options))

    @classmethod
    def with_options(cls, settings: Options, *, scheduled: bool = True) -> EventLoop:
        """A loop with options that are resolved already; not ``scheduled``: `use_scheduler` is called next."""
        loop = cls.__new__(cls)
        loop._begin(settings, scheduled)
        return loop

    def _begin(self, settings: Options, scheduled: bool = True) -> None:
        self.options = settings
        self._clock = VirtualClock(settings.start)
        self._timers = TimerQueue()
        self._due = []
        self._ready = deque()
        self._arrive = self._ready.append
        self._tasks = TaskRegistry()
        if settings is not FACTORY_DEFAULTS:
            self._daemons = self._odd = bool(settings.daemons)
            self._special = self._daemons or not settings.autojump or settings.max_time is not None
            if scheduled and settings.scheduler != "fifo":
                self.use_scheduler(self.own_scheduler())
        self._closed = False
        if cpython.debug_mode():
            self.set_debug(True)

    def own_scheduler(self) -> Scheduler:
        """A fresh scheduler as the options name it."""
        return make_scheduler(self.options)

    def use_scheduler(self, scheduler: Scheduler, observer: Observer | None = None) -> None:
        """Let ``scheduler`` make every choice from now on; only before anything stands ready."""
        self._scheduler = scheduler
        self._observer = observer
        self._line = ReadyLine(scheduler.level, scheduler.pick, self._mark_matters, observer)
        scheduler.attach(self._line)
        if observer is not None:
            observer.attach(self._line)
        self._arrive = self._line.arrive
        self.__dict__.pop("call_soon", None)
        if self._debug:
            self.call_soon = self._call_soon_debug  # type: ignore[method-assign]
        elif observer is None:
            self.call_soon = call_soon_into(self._line)  # type: ignore[method-assign]
        self._lag_ns = round(self.options.lag * 1e9)

    def calm(self, steps: int) -> None:
        """From now on asyncio's own order, unrecorded, exact, and at most ``steps`` more steps: for unwinding."""
        self._scheduler = self._observer = None
        self._lag_ns = 0
        self._step_bound = self._steps + steps
        if self._line is not None:
            self._line.calm()
            if not self._debug:
                self.__dict__.pop("call_soon", None)

    # -- life ---------------------------------------------------------------------------------------------------

    def run_forever(self) -> None:
        """Run until `stop` is called, or until a verdict is raised because nothing can happen any more."""
        self._check_can_run()
        self._run()

    def _run(self) -> None:
        collecting = gc.isenabled()
        self._thread_id = threading.get_ident()
        try:
            self._enter()
            if collecting:
                gc.disable()
            if self._line is None:
                self._run_fifo()
            else:
                self._run_chosen(self._line)
        except StepCut:
            if self._cut is None:
                raise
        finally:
            self._leave()
            if collecting:
                gc.enable()
        if self._cut is not None:
            cut, self._cut = self._cut, None
            self._raise(cut)

    @contextlib.contextmanager
    def _entered(self) -> Iterator[None]:
        self._thread_id = threading.get_ident()
        try:
            self._enter()
            yield
        finally:
            self._leave()

    def _enter(self) -> None:
        if self._debug:
            self._track_origins(True)
        self._hook_asyncgens()
        cpython.orderly_tasks_module(True)
        asyncio._set_running_loop(self)
        self._begin_threads()

    def _leave(self) -> None:
        self._stopping = False
        self._thread_id = None
        asyncio._set_running_loop(None)
        cpython.orderly_tasks_module(False)
        self._unhook_asyncgens()
        if self._outer_depth is not None:
            self._track_origins(False)

    def run_until_complete(self, future: Any) -> Any:
        """Run until ``future`` (or the task made of a coroutine) is done; give its result or raise its exception.

        Raises:
            DeadlockError: Nothing can happen any more and it is not done.
            RuntimeError: The loop was stopped before it was done, is closed, or is running.
        """
        self._check_can_run()
        fresh = not asyncio.isfuture(future)
        main = self.create_task(future) if type(future) is CoroutineType else asyncio.ensure_future(future, loop=self)
        if fresh:
            # A hang is raised as a verdict; "Task was destroyed" would only repeat it.
            cpython.hush_destroyed(main)
        outer, self._main = self._main, main
        main.add_done_callback(_stop_loop)
        try:
            self._run()
        except BaseException:
            if fresh and main.done() and not main.cancelled():
                main.exception()  # it is on its way to the caller already
            raise
        finally:
            main.remove_done_callback(_stop_loop)
            self._main = outer
        if not main.done():
            raise RuntimeError("Event loop stopped before Future completed.")
        return main.result()

    def stop(self) -> None:
        """Let `run_forever` return at the end of this turn."""
        self._stopping = True

    def is_running(self) -> bool:
        """Whether the loop is running now."""
        return self._thread_id is not None

    def is_closed(self) -> bool:
        """Whether `close` was called."""
        return self._closed

    def close(self) -> None:
        """Forget all that stands ready and every timer; closing twice does nothing.

        Raises:
            RuntimeError: The loop is running.
        """
        if self._thread_id is not None:
            raise RuntimeError("Cannot close a running event loop")
        if self._closed:
            return
        if self._debug:
            cpython.logger().debug("Close %r", self)
        if self._verdict is not None:
            self._tasks.abandon()  # the verdict has named them
        self._closed = self._odd = True
        self._arrive = _refuse
        self.__dict__.pop("call_soon", None)
        self._ready.clear()
        if self._line is not None:
            self._line.clear()
        self._due.clear()
        if len(self._timers):
            self._timers.clear()
        self._tasks.clear()
        if self._special:
            self._close_threads()

    def __enter__(self) -> EventLoop:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def __del__(self) -> None:
        if not self._closed and self._thread_id is None:
            warnings.warn(f"unclosed event loop {self!r}", ResourceWarning, source=self, stacklevel=1)
            self.close()

    def __repr__(self) -> str:
        return (
            f"<{type(self).__name__} running={self.is_running()} closed={self._closed} "
            f"debug={self._debug} time={self._clock.seconds!r}>"
        )

    def _check_can_run(self) -> None:
        self._check_closed()
        if self._thread_id is not None:
            raise RuntimeError("This event loop is already running")
        if asyncio._get_running_loop() is not None:
            raise RuntimeError("Cannot run the event loop while another loop is running")

    # -- the turn -----------------------------------------------------------------------------------------------

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
        items = line.items
        quick = self._observer is None
        lag = self._lag_ns
        self._limit = self._step_limit()
        try:
            self._turns += line.drop_mark()
            turns = self._next_turn(line, POLL_TURNS)
            for item in line.stream:
                callback = item[3]
                if callback is None:
                    self._turns += 1
                    if self._stopping:
                        break
                    if turns and items and quick and not self._attend and line.takes < self._limit:
                        turns -= 1
                        items.append((BARRIER, next(line.arrivals), None, None, ()))
                        continue
                    turns = self._next_turn(line, turns)
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
        finally:
            self._steps = line.takes - self._turns

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

    def choose(self, kind: str, options: int) -> int:
        """Pick one of ``options`` (0 to ``options - 1``) and record it; 0 under asyncio's own order.

        ``kind`` names what is chosen in reports.  0 must be what a calm day gives.
        """
        scheduler, line = self._scheduler, self._line
        if options < 2 or scheduler is None or line is None:
            return 0
        uniform = line.uniform
        if uniform is not None and kind != "lag":
            index = int(uniform() * options)
        else:
            index = scheduler.choose(kind, options)
        line.indices.append(index)
        line.sizes.append(options)
        if self._observer is not None:
            self._observer.chosen(kind, index, options)
        return index

    def _lag(self) -> int:
        """A step may take a bit of virtual time, so that several timers fall due in one turn."""
        if len(self._timers):
            eighths = self.choose("lag", LAG_STEPS)
            if eighths:
                self.elapse(self._lag_ns * eighths / 8e9)
        return self._lag_ns

    # -- debug mode ---------------------------------------------------------------------------------------------

    def get_debug(self) -> bool:
        """Whether debug mode is on."""
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        """asyncio's debug mode: callbacks are checked, handles and coroutines remember where they were made."""
        self._debug = bool(enabled)
        self._odd = self._debug or self._closed or self._daemons
        if enabled:
            self.call_soon = self._call_soon_debug  # type: ignore[method-assign]
        else:
            self.__dict__.pop("call_soon", None)
            if self._line is not None and self._observer is None:
                self.call_soon = call_soon_into(self._line)  # type: ignore[method-assign]
        if self._thread_id is not None:
            self.call_soon_threadsafe(self._track_origins, self._debug)

    def _track_origins(self, on: bool) -> None:
        if on == (self._outer_depth is not None):
            return
        if on:
            self._outer_depth = sys.get_coroutine_origin_tracking_depth()
            sys.set_coroutine_origin_tracking_depth(10)
        elif self._outer_depth is not None:
            sys.set_coroutine_origin_tracking_depth(self._outer_depth)
            self._outer_depth = None


def _deadline(handle: Any) -> int:
    when_ns: int = handle._when_ns
    return when_ns


def _refuse(entry: object) -> None:
    raise RuntimeError("Event loop is closed")


def _stop_loop(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        exc = future.exception()
        if isinstance(exc, (SystemExit, KeyboardInterrupt)):
            # It is on its way out of run_forever already; stopping would end the next run.
            return
    future.get_loop().stop()
