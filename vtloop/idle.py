"""What happens when nothing is ready, or when nothing but polling goes on.

A part of the loop: the clock jumps, a manual request is answered, a real thread is waited for, or a verdict is raised.
These rules are the whole of virtual time.  It must never run a callback.
"""

from __future__ import annotations

import _thread
import asyncio
import gc
import sys
from collections.abc import Iterator
from dataclasses import replace
from fnmatch import fnmatchcase
from typing import Any

from vtloop.cpython_waits import future_waited_for
from vtloop.diagnosis import verdict
from vtloop.diagnosis.heap import old_objects
from vtloop.errors import VtloopError
from vtloop.handles import TimerHandle
from vtloop.manual import ManualClock, Request
from vtloop.ready import BARRIER
from vtloop.stalled import FIRST_LOOK, MainWatch, suspicions
from vtloop.threads import ExecutorCalls

__all__ = ["POLL_TURNS", "IdleRules"]

POLL_TURNS = 1_000
"""Turns at one instant after which the program is taken to poll, and the clock moves on."""

POLL_NS = 1_000_000
"""How far the clock moves with each turn of a program that polls without any timer: 1 ms."""

LIVELOCK_TURNS = 100_000
"""Polling turns without a timer that make a livelock."""

IDLE_JUMPS = 100_000
"""Jumps without a task made or finished after which ``run_until_idle`` gives up."""

GC_STEPS = 50_000
"""Steps between two collections: automatic collection is off while the loop runs, so that finalizers have a place."""


_thread_count = _thread._count


class IdleRules(ManualClock, ExecutorCalls):
    """The rules of virtual time.

    Attributes:
        polled: The clock was moved on because the program polled; reports say so.
    """

    polled = False
    _old: set[int] | None = None  # what was there before the run, once a full collection has made everything old
    _look_at = FIRST_LOOK  # the step at which something is to be done that is not done every time
    _watch: MainWatch | None = None
    _spins = 0
    _collect_at = GC_STEPS
    _collect_all_at = 4 * GC_STEPS
    _daemon_tasks: set[int] | None = None

    # Hot: called once a jump.  Measured by the rows "timers" of the benchmarks.
    def _idle(self) -> None:
        """Nothing is ready: make something ready, or stop the loop, or raise the verdict."""
        if self._special or _thread_count() != self._thread_count or self._steps > self._look_at:
            self._idle_specially()
            return
        found = self._timers.pop_next()
        if found is None:
            self._idle_specially()
            return
        self._spins = 0
        clock = self._clock
        deadline, due = found
        if deadline > clock.ns:
            clock.ns = deadline
            seconds = deadline / 1e9
            if seconds > clock.seconds:
                clock.seconds = seconds
        if len(due) == 1:
            handle = due[0]
            if handle._when > clock.seconds:
                clock.seconds = handle._when
            line = self._line
            if line is not None and self._observer is None:
                line.items.append((BARRIER, next(line.arrivals), handle._context, handle._fire, ()))
            else:
                self._arrive((handle._context, handle._fire, ()))
        else:
            self._fire(due)

    def _idle_specially(self) -> None:
        """The same with everything that is rare: threads, requests, daemons, budgets of time, verdicts."""
        self._spins = 0
        if self._steps > self._look_at:
            self._look()
        if self._calls or self._foreign:
            if self._calls:
                self._run_calls(must=True)
            if self._something_ready():
                return
        deadline = self._timers.next_deadline()
        if self._threads_began() and self._hold_clock(deadline):
            return
        if self._requests:
            request = min(self._requests, key=_by_target)
            if self._serve(request, deadline):
                return
        if deadline is not None and self._may_jump():
            self._jump(deadline)
            return
        if not self._wait_for_threads():
            self._give_up(deadline)

    def _look(self) -> None:
        """Collect garbage, or see whether main can go on at all, when it is time."""
        watch = self._watch
        if watch is None:
            watch = self._watch = MainWatch()
        if self._steps > min(self._collect_at, watch.at):  # at the same steps, whoever glances besides
            self._tasks.sweep(cancelled=False)  # so that what the end of a task brings about comes
        if self._steps > self._collect_at:
            self._collect()
        if self._steps > watch.at:
            found = watch.look(self)
            if found is not None:
                self._raise(verdict.hang(self._snapshot(), found.live, found.cancel, found.stuck))
        if self._steps > self.glance_at and self.glance is not None:
            self.glance()
        self._look_at = min(self._collect_at, watch.at, self.glance_at)

    def _collect(self) -> None:
        """Collect what is new; everything at doubling distances, for that takes as long as the whole heap is large."""
        self._collect_at = self._steps + GC_STEPS
        if self._steps > self._collect_all_at:
            self._collect_all_at = 2 * self._steps
            self._collect_everything()
        else:
            gc.collect(0)  # what survives stays among what was made since the run began

    def _collect_everything(self) -> None:
        """A full collection; what the run has made is told from what was there before it all the same."""
        if self._old is None:
            self._old = old_objects()
        gc.collect()

    def _serve(self, request: Request, deadline: int | None) -> bool:
        """Bring ``request`` nearer to its end; False when only the ordinary rules can go on."""
        target = request.target_ns
        if target is None:
            if deadline is None or not self._foreground_timers():
                self._answer(request)
                return True
            self._count_idle_jump(request)
            self._jump(deadline)
        elif deadline is None or deadline > target:
            self._answer(request)
        else:
            self._jump(deadline)
        return True

    def _jump(self, deadline: int) -> None:
        """Move the clock to the next timer and let the timers of that instant join."""
        if deadline <= self._clock.ns:
            self._clock_moved = True
            self._join_due()
            return
        limit = self.options.max_time
        if limit is not None and deadline > round(limit * 1e9):
            self._raise(verdict.budget(self._suspecting(), "max_time", f"{limit:g} s of virtual time"))
        self._clock.move_to(deadline)
        found = self._timers.pop_next()
        if found is not None:
            self._fire(found[1])

    def _may_jump(self) -> bool:
        return self.options.autojump and (not self._daemons or self._main is None or self._foreground_timers())

    def _poll(self) -> int:
        """A turn too many at one instant: move the clock on; how many turns until this is asked again."""
        if self._steps > self._look_at:
            self._look()
        request = min(self._requests, key=_by_target) if self._requests else None
        limit = request.target_ns if request is not None else None
        deadline = self._timers.next_deadline()
        moving = self.options.autojump or request is not None
        self.polled = self.polled or moving
        if deadline is None or not moving:
            self._spins += 1
            if self._spins >= LIVELOCK_TURNS:
                self._raise(verdict.livelock(self._snapshot(), self._spinning(), LIVELOCK_TURNS + POLL_TURNS))
        if not moving:
            return 0
        target = deadline if deadline is not None and not self._spins else self._clock.ns + POLL_NS
        if deadline is not None:
            target = min(target, deadline)
        if limit is not None and request is not None and target > limit:
            self._answer(request)
        elif target == deadline:
            self._spins = 0
            self._jump(target)
            return POLL_TURNS
        else:
            self._clock.move_to(target)
        return 0

    # -- daemons ------------------------------------------------------------------------------------------------

    def _mark_daemon(self, task: asyncio.Task[Any]) -> None:
        self._daemons = self._special = self._odd = True
        if self._daemon_tasks is None:
            self._daemon_tasks = set()
        self._daemon_tasks.add(hash(task))
        waited_for = future_waited_for(task)
        for handle in self._timers.pending():
            if waited_for is not None and any(thing is waited_for for thing in handle._args or ()):
                handle._background = True

    def _note_task(self, task: asyncio.Task[Any]) -> None:
        """A task was made while there are daemons: it is one if its maker is one."""
        if self._is_daemon(asyncio.current_task(self) if self._thread_id is not None else None):
            self._mark_daemon(task)

    def _is_daemon(self, task: asyncio.Task[Any] | None) -> bool:
        """Whether ``task`` was marked, or a glob names it (its name may come after it is made); main never is."""
        if task is None or task is self._main:
            return False
        if self._daemon_tasks is not None and hash(task) in self._daemon_tasks:
            return True
        globs = self.options.daemons
        if globs and not task.done():
            names = (task.get_name(), getattr(task.get_coro(), "__qualname__", ""))
            if any(fnmatchcase(name, glob) for glob in globs for name in names):
                self._mark_daemon(task)
                return True
        return False

    def _note_timer_owner(self, handle: TimerHandle) -> None:
        owner = asyncio.current_task(self) if self._thread_id is not None else None
        handle._background = self._is_daemon(owner)

    def _foreground_timers(self) -> bool:
        if not self._daemons:
            return len(self._timers) > 0
        return any(not getattr(handle, "_background", False) for handle in self._timers.pending())

    # -- verdicts -----------------------------------------------------------------------------------------------

    def _give_up(self, deadline: int | None) -> None:
        """Nothing can happen any more: the verdict, unless one is unwinding already."""
        if self._verdict is not None and any(not task.done() for task in self._verdict_tasks):
            raise self._verdict
        self._tasks.sweep(cancelled=False)  # verdicts tell of those that were cancelled
        if self._something_ready() or self._timers.next_deadline() != deadline:
            return  # the end of a task that only the loop held has brought something about
        snapshot = self._snapshot()
        if deadline is not None and not self.options.autojump:
            self._raise(verdict.no_timers_autojump_off(snapshot, deadline))
        self._raise(verdict.deadlock(snapshot))

    def _raise(self, error: VtloopError) -> None:
        """Raise a verdict whose traceback is the await chain of the main task."""
        self._verdict = error
        self._verdict_tasks = tuple(self._tasks.pending())
        main = self._main
        chain = verdict.await_chain_traceback(main) if isinstance(main, asyncio.Task) and not main.done() else None
        raise error.with_traceback(chain)

    _step_bound: int | None = None
    _verdict_tasks: tuple[asyncio.Task[Any], ...] = ()

    def _step_limit(self) -> int:
        """How many steps may be taken in all."""
        limit = self._step_bound if self._step_bound is not None else self.options.max_steps
        return sys.maxsize if limit is None else limit  # hot: an int compares with an int in no time

    def _spend_steps(self) -> None:
        self._raise(verdict.budget(self._suspecting(), "max_steps", f"{self.options.max_steps:,} steps"))

    def _count_idle_jump(self, request: Request) -> None:
        alive = (len(self._tasks.pending()), self._tasks.made) if request.jumps % 1000 == 0 else request.tasks_alive
        if alive != request.tasks_alive:
            request.tasks_alive = alive
            request.jumps = 0
        request.jumps += 1
        if request.jumps > IDLE_JUMPS:
            self._raise(verdict.never_idle(self._snapshot(), self._sleeping(), IDLE_JUMPS))

    def _sleeping(self) -> list[asyncio.Task[Any]]:
        """The tasks that living timers will wake, as far as that can be seen."""
        rung = [thing for handle in self._timers.pending() for thing in handle._args or ()]
        return [task for task in self._tasks.pending() if any(future_waited_for(task) is thing for thing in rung)]

    def _spinning(self) -> list[asyncio.Task[Any]]:
        """The tasks whose step stands ready."""
        ready = [getattr(entry[1], "__self__", None) for entry in self._ready]
        if self._line is not None:
            ready += [getattr(item[3], "__self__", None) for item in self._line.waiting()]
        return [task for task in dict.fromkeys(ready) if isinstance(task, asyncio.Task)]

    def _snapshot(self) -> verdict.Snapshot:
        """What a verdict is written from; taken before anything is cancelled."""
        main = self._main if isinstance(self._main, asyncio.Task) else None
        notes = []
        if self.polled:
            notes.append("the clock was moved on because the program polled with sleep(0)")
        if not self.reproducible:
            notes.append("real threads took part: this run may not replay exactly")
        return verdict.Snapshot(
            tasks=[task for task in self._tasks.pending() if not self._is_daemon(task)],
            main=main,
            time_ns=self._clock.ns,
            step=self._steps if self._line is None else self._line.takes - self._turns,
            seed=None if self.options.seed is None else str(self.options.seed),
            finished_errors=self._tasks.unread(),
            ended=[task for task in self._tasks if task.done()],
            alive=[task.get_name() for task in self._tasks.pending()],
            failed=tuple(self.background or ()),
            dropped=[(one.name, one.file, one.line, one.where) for one in self.dropped if one.certain],
            events=tuple(self._recent_events()),
            notes=tuple(notes),
            command=self.replay_command,
        )

    def _suspecting(self) -> verdict.Snapshot:
        """The same, with what is to be said of tasks that nothing can wake, when a budget is spent."""
        snapshot = self._snapshot()
        return replace(snapshot, notes=(*suspicions(self), *snapshot.notes))

    replay_command: Any = None
    """In a run: gives the command that plays it back, for the name of the error it ends with."""

    def _recent_events(self) -> Iterator[str]:
        if self._observer is not None:
            yield from self._observer.recent()

    # -- what other parts of the loop do ------------------------------------------------------------------------

    def _something_ready(self) -> bool:
        return bool(self._ready) or (self._line is not None and len(self._line) > 0)

    def _can_go_on(self) -> bool:
        """Whether `_idle` could make something ready without real threads."""
        return bool(self._calls) or (len(self._timers) > 0 and self.options.autojump)


def _by_target(request: Request) -> float:
    return float("inf") if request.target_ns is None else request.target_ns
