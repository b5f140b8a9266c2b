"""What a loop remembers: every attribute that more than one part of the loop uses, in one place.

The loop is put together from parts (`vtloop.loop` names them); each part inherits from here, so that a reader finds
what a name means.  It must hold no behaviour but the three checks that every part needs.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from vtloop.clock import VirtualClock
    from vtloop.diagnosis.verdict import Snapshot
    from vtloop.errors import VtloopError
    from vtloop.handles import TimerHandle
    from vtloop.options import Options
    from vtloop.ready import Observer, ReadyLine
    from vtloop.schedulers import Scheduler
    from vtloop.tasks import TaskRegistry
    from vtloop.timers import TimerQueue

__all__ = ["LoopState"]


class LoopState(asyncio.AbstractEventLoop):
    """The attributes of a loop; defaults of rarely used ones live on the class, which makes a loop cheap to make.

    Attributes:
        options: The options as resolved.
        background: In a run, exceptions that reached the default handler; None outside (they are logged).
        dropped: In a run, coroutines that died without having been awaited, as `vtloop.unawaited` has them.
        reproducible: False once a real thread has meddled; a replay may then differ.
        glance: In a run that is looked at closely: to be called while nothing is ready, from step `glance_at` on.
    """

    options: Options
    background: list[BaseException] | None = None
    dropped: Sequence[Any] = ()
    reproducible = True
    slow_callback_duration = 0.1
    glance: Callable[[], None] | None = None
    glance_at = sys.maxsize

    # Time.
    _clock: VirtualClock
    _timers: TimerQueue
    _due: list[TimerHandle]  # made with a deadline that has come: they join at the next mark
    _clock_moved = False  # the clock moved while something was ready: sorted timers may be due
    _daemons = False  # some task is a daemon: remember who made each timer
    _attend = False  # at the next mark something joins: `_due`, `_clock_moved` or `_calls`
    _special = False  # sticky: idling needs more than a jump to the next timer
    _odd = False  # making a timer needs more than filling a handle: closed, debug mode, daemons or stretch

    # What stands ready: a deque under asyncio's own order, a ReadyLine under a scheduler.
    _ready: deque[Any]
    _line: ReadyLine | None = None
    _arrive: Callable[[Any], None]
    _scheduler: Scheduler | None = None
    _observer: Observer | None = None

    # The run.
    _tasks: TaskRegistry
    _task_factory: Callable[..., Any] | None = None
    _main: asyncio.Future[Any] | None = None
    _steps = 0
    _turns = 0  # turns ended under a scheduler: the marks among the takes of the line
    _verdict: VtloopError | None = None
    _stopping = False
    _closed = False
    _debug = False
    _thread_id: int | None = None

    # Blocking calls (`vtloop.blocking`): what becomes of them, those refused, and those let through by place.
    _blocking: str | None = None
    _refused: tuple[Any, ...] = ()
    _let_through: dict[Any, Any] | None = None

    # Manual requests (`vtloop.manual`), executor calls (`vtloop.threads`).
    _requests: tuple[Any, ...] = ()
    _calls: Any = ()
    _lag_ns = 0
    _stretch = 0.0

    # What one part does for the others.
    def _called_from_thread(self) -> None:
        raise NotImplementedError

    def _note_timer_owner(self, handle: TimerHandle) -> None:
        raise NotImplementedError

    def _note_task(self, task: asyncio.Task[Any]) -> None:
        raise NotImplementedError

    def _is_daemon(self, task: asyncio.Task[Any] | None) -> bool:
        raise NotImplementedError

    def _mark_daemon(self, task: asyncio.Task[Any]) -> None:
        raise NotImplementedError

    def _something_ready(self) -> bool:
        raise NotImplementedError

    def _join_due(self) -> None:
        raise NotImplementedError

    def _fire(self, due: list[TimerHandle]) -> None:
        raise NotImplementedError

    def _snapshot(self) -> Snapshot:
        raise NotImplementedError

    def elapse(self, seconds: float) -> None:
        """Move the clock and run nothing."""
        raise NotImplementedError

    def _raise(self, error: VtloopError) -> None:
        raise NotImplementedError

    def choose(self, kind: str, options: int, name: str = "", p: float | None = None) -> int:
        """Pick one of ``options`` and record it."""
        raise NotImplementedError

    def _check_closed(self) -> None:
        if self._closed:
            raise RuntimeError("Event loop is closed")

    def _check_thread(self) -> None:
        if self._thread_id is not None and threading.get_ident() != self._thread_id:
            raise RuntimeError("Non-thread-safe operation invoked on an event loop other than the current one")

    @staticmethod
    def _check_callback(callback: Any, method: str) -> None:
        if asyncio.iscoroutine(callback) or asyncio.iscoroutinefunction(callback):
            raise TypeError(f"coroutines cannot be used with {method}()")
        if not callable(callback):
            raise TypeError(f"a callable object was expected by {method}(), got {callback!r}")
