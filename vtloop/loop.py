"""The event loop: its making, its life, and the list of its parts.

Each part is a file with one idea: `vtloop.scheduling` puts things in, `vtloop.turns` takes them out and runs them,
`vtloop.idle` says what happens when nothing is ready, `vtloop.manual` moves the clock by hand, `vtloop.threads` deals
with real threads; `vtloop.state` lists what they share.  This file must never run a callback.
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
from vtloop.blocking_calls import watch
from vtloop.boundary import ClosedDoors
from vtloop.clock import VirtualClock
from vtloop.errors import StepCut, VtloopError
from vtloop.options import FACTORY_DEFAULTS, Options, resolved
from vtloop.ready import Observer, ReadyLine
from vtloop.schedulers import Scheduler, make_scheduler
from vtloop.scheduling import Scheduling, call_soon_into
from vtloop.tasks import TaskRegistry
from vtloop.timers import TimerQueue
from vtloop.turns import Turns

__all__ = ["EventLoop"]


class EventLoop(
    Scheduling,
    Turns,
    AsyncGenerators,
    ClosedDoors,
    asyncio.AbstractEventLoop,
):
    """An asyncio event loop on virtual time.

    Without a seed or scheduler it runs everything in the order in which stock asyncio would, turn by turn; with one
    it explores the orders that the level allows, and records each choice.  It needs no file descriptor and no thread.

    Args:
        seed: An int from which every choice is drawn; None for asyncio's own order.
        scheduler: The name of a scheduler, or an object with ``pick(window) -> index``.
        interleave: ``"timing"``, ``"wakeups"`` or ``"tasks"``; needs a seed or a scheduler.
        start: What ``loop.time()`` reads at first, in seconds.
        autojump: Whether the clock jumps to the next timer when nothing is ready; else only `advance` moves it.
        **options: See the reference, section "Options".

    Raises:
        UsageError: An unknown option or value; the message says what is allowed.
    """

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
            if settings.blocking != "allow":
                self._blocking = settings.blocking
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
        self._cancelling = bool(self.options.cancel)
        if not self.options.autojump:
            return  # only `advance` moves the clock
        self._lag_ns = round(self.options.lag * 1e9)
        if self.options.stretch:
            self._stretch, self._odd = self.options.stretch, True

    def calm(self, steps: int) -> None:
        """From now on asyncio's own order, unrecorded, exact, and at most ``steps`` more steps: for unwinding."""
        self._scheduler = self._observer = None
        self._lag_ns, self._stretch, self._cancelling = 0, 0.0, False
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
        if self._blocking is not None:
            watch(self)
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

    # -- debug mode ---------------------------------------------------------------------------------------------

    def get_debug(self) -> bool:
        """Whether debug mode is on."""
        return self._debug

    def set_debug(self, enabled: bool) -> None:
        """asyncio's debug mode: callbacks are checked, handles and coroutines remember where they were made."""
        self._debug = bool(enabled)
        self._odd = self._debug or self._closed or self._daemons or bool(self._stretch)
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


def _refuse(entry: object) -> None:
    raise RuntimeError("Event loop is closed")


def _stop_loop(future: asyncio.Future[Any]) -> None:
    if not future.cancelled():
        exc = future.exception()
        if isinstance(exc, (SystemExit, KeyboardInterrupt, StepCut)):
            # It is on its way out of run_forever already; stopping would end the next run.
            return
    future.get_loop().stop()
