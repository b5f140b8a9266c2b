"""Random asyncio programs as data, and the coroutines that act them out on any loop.

A program is a pure function of its seed; what it did is a list of log lines ``(time, who, what, detail, context)``
that holds no address, no default task name and nothing else that may differ between two loops that agree.

Every delay is a multiple of 1/512 s: exact as a float and as whole nanoseconds, so that two deadlines tie on both
clocks or on neither (1/1024 s is not a whole number of nanoseconds).
"""

from __future__ import annotations

import asyncio
import contextvars
import gc
import random
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import Any

__all__ = ["TICK", "Line", "Program", "ProgramError", "World", "act"]

TICK = 1 / 512

Line = tuple[float, str, str, Any, Any]
Op = tuple[Any, ...]

GUARD, SWALLOW, UNCANCEL = 1, 2, 4
"""How a block takes what its operations raise: log errors and go on; take a cancel and go on; and call uncancel."""

_TIES = (-2, -1, 0, 0, 1, 1, 2, 2, 3, 4, 4, 8, 16, 40)
"""Delays in ticks, chosen to meet each other often."""

_PATIENCE = (0, 1, 3, 8, 20, 40, 60, 100)
"""The limits of waits, in ticks: longer, or most waits end by running out of time."""

_MEETINGS = {
    "barrier": None, "condition_wait": "condition_notify", "event_wait": "event_set", "future_wait": "future_set",
    "get": "put_now", "lock": "lock", "put": "get_now", "semaphore": "release",
}  # fmt: skip
"""What several tasks may do at the same time, and what lets the waiting ones go on."""

# Kind of operation -> weight.  The first table may run in callbacks as well.
_SYNC = {
    "soon": 4, "later": 4, "at": 3, "cancel_handle": 3, "spawn": 6, "cancel_task": 4, "event_set": 4,
    "event_clear": 1, "put_now": 3, "get_now": 1, "task_done": 2, "future_set": 4, "future_fail": 1,
    "future_cancel": 1, "future_new": 1, "on_done": 3, "off_done": 1, "context": 2, "raise": 1, "release": 1,
    "feed": 2, "look": 1,
}  # fmt: skip
_ASYNC = {
    "sleep": 8, "yields": 6, "join": 4, "lock": 5, "hand_lock": 1, "semaphore": 3, "condition_wait": 2,
    "condition_notify": 4, "get": 4, "put": 4, "queue_join": 1, "event_wait": 4, "barrier": 3, "barrier_end": 1,
    "future_wait": 3, "wait_for": 3, "timeout": 4, "gather": 2, "gather_known": 2, "wait": 3, "as_completed": 2,
    "shield": 2, "group": 3, "stream": 3, "block": 3, "read": 2, "uncancel": 1, "kill_self": 1, "crowd": 6,
}  # fmt: skip


def _table(*weights: dict[str, int]) -> tuple[str, ...]:
    return tuple(kind for table in weights for kind, weight in table.items() for _ in range(weight))


_IN_CALLBACK = _table(_SYNC)
_IN_TASK = _table(_SYNC, _ASYNC)

_variable: contextvars.ContextVar[int] = contextvars.ContextVar("_variable", default=0)


class ProgramError(Exception):
    """What a program raises on purpose."""


class Program:
    """A random program.

    Attributes:
        seed: What it was made from.
        ties: Whether two timers may be due at the same instant.  Without ties every delay is drawn from so wide a
            range that no two sums of delays meet.
        main: The operations of its main task.
        mode: How the main block takes exceptions.
        eager: Whether tasks start eagerly (3.12 and later).
        sizes: The ``maxsize`` of each queue.
        size: How many operations it has.
    """

    def __init__(self, seed: int, *, ties: bool = True) -> None:
        self.seed = seed
        self.ties = ties
        self._random = random.Random(seed).random
        self.size = self._left = 10 + self._below(51)
        self._labels = 0
        self.eager = self._chance(0.2)
        self.sizes = tuple(self._below(4) for _ in range(3))
        self.mode = self._mode()
        # Some tasks to start with, some help from timers so that not everything waits for ever, then anything.
        main = [self._op("spawn", 1) for _ in range(1 + self._below(4))]
        for kind in ("event_set", "future_set", "put_now", "release"):
            if self._chance(0.5):
                main.append(("later", self._label(), self._delay(), [self._op(kind, 3)]))
        while self._left > 0:
            main += self._block(0)
        main.append(("finish", self._delay() + 32 * TICK))
        self.main = main
        self.size -= self._left

    def __repr__(self) -> str:
        return f"Program({self.seed}, ties={self.ties})"

    # Small draws.

    def _below(self, n: int) -> int:
        return int(self._random() * n)

    def _chance(self, probability: float) -> bool:
        return self._random() < probability

    def _label(self) -> str:
        self._labels += 1
        return f"n{self._labels}"

    def _delay(self) -> float:
        if self.ties:
            return _TIES[int(self._random() * len(_TIES))] * TICK
        return (1 + int(self._random() * 2**24)) * TICK

    def _limit(self) -> float | None:
        """A limit for a wait, or None."""
        if self._chance(0.35):
            return None
        return _PATIENCE[self._below(len(_PATIENCE))] * TICK if self.ties else self._delay()

    def _mode(self) -> int:
        mode = GUARD if self._chance(0.7) else 0
        if self._chance(0.15):
            mode |= SWALLOW | (UNCANCEL if self._chance(0.5) else 0)
        return mode

    # Blocks and operations.

    def _block(self, depth: int) -> list[Op]:
        return [self._random_op(_IN_TASK, depth) for _ in range(1 + self._below(6 - depth)) if self._left > 0]

    def _calls(self, depth: int) -> list[Op]:
        """The operations of a callback."""
        return [self._random_op(_IN_CALLBACK, depth) for _ in range(1 + self._below(3)) if self._left > 0]

    def _random_op(self, table: tuple[str, ...], depth: int) -> Op:
        return self._op(table[int(self._random() * len(table))], depth)

    def _op(self, kind: str, depth: int) -> Op:
        self._left -= 1
        inner = depth + 1
        deep = depth >= 4
        match kind:
            case "soon":
                return kind, self._label(), [] if deep else self._calls(inner), self._below(4)
            case "later" | "at":
                return kind, self._label(), self._delay(), [] if deep else self._calls(inner)
            case "spawn":
                how = self._below(4)
                return kind, self._label(), self._mode(), [] if deep else self._block(inner), how
            case "cancel_task":
                return kind, self._below(12), self._chance(0.05), self._chance(0.3)
            case "sleep":
                return kind, self._delay()
            case "yields":
                return kind, 1 + self._below(4)
            case "lock" | "hand_lock" | "semaphore" | "condition_notify":
                return kind, self._below(2), self._mode(), [] if deep else self._block(inner), self._below(3)
            case "condition_wait":
                return kind, self._below(2), self._limit(), self._below(3)
            case "get" | "put" | "event_wait" | "future_wait" | "barrier" | "queue_join" | "join":
                return kind, self._below(12), self._limit()
            case "wait_for" | "shield":
                return kind, self._label(), self._mode(), self._block(inner), self._limit()
            case "timeout":
                again = self._limit() if self._chance(0.4) else None
                return kind, self._mode(), self._block(inner), self._limit(), again, self._below(3)
            case "gather" | "group":
                children = [(self._label(), self._mode(), self._block(inner)) for _ in range(1 + self._below(3))]
                return kind, children, self._mode(), self._block(inner), self._chance(0.5)
            case "gather_known" | "wait" | "as_completed":
                chosen = [self._below(12) for _ in range(1 + self._below(3))]
                return kind, chosen, self._below(3), self._limit()
            case "stream":
                steps = [self._delay() if self._chance(0.5) else None for _ in range(1 + self._below(3))]
                return kind, self._label(), steps, self._below(4), self._chance(0.3), self._mode(), self._block(inner)
            case "block":
                return kind, self._mode(), self._block(inner)
            case "crowd":
                return self._crowd(inner)
            case "read":
                return kind, self._below(2), self._below(3), self._limit()
            case "feed":
                return kind, self._below(2), self._below(4)
            case "on_done":
                return kind, self._label(), self._below(12), self._below(4)
            case _:
                return kind, self._below(12)

    def _crowd(self, depth: int) -> Op:
        """Several tasks that do the same thing at about the same time."""
        meeting = tuple(_MEETINGS)[self._below(len(_MEETINGS))]
        release = _MEETINGS[meeting]
        place = self._below(12)
        children = []
        for _ in range(2 + self._below(3)):
            op = self._op(meeting, depth + 1)
            arrive = self._op("sleep" if self._chance(0.3) else "yields", depth)
            # The same lock, queue, event, ... for all: it is the first argument.
            children.append((self._label(), self._mode(), [arrive, (meeting, place % 2, *op[2:])]))
        if release is not None:
            ops = [("yields", 4)] + [(release, place % 2, *self._op(release, depth + 1)[2:]) for _ in range(2)]
            children.append((self._label(), GUARD, ops))
        if self._chance(0.5):
            return "gather", children, self._mode(), [], self._chance(0.5)
        return "group", children, self._mode(), [], self._chance(0.5)


def _told(value: Any) -> Any:
    """``value`` as a log may show it: exceptions by type and our own arguments, groups with their members."""
    if isinstance(value, BaseExceptionGroup):
        return type(value).__name__, tuple(_told(error) for error in value.exceptions)
    if isinstance(value, (ProgramError, asyncio.CancelledError)):
        return type(value).__name__, value.args
    if isinstance(value, BaseException):
        return type(value).__name__
    if isinstance(value, (list, tuple)):
        return tuple(_told(item) for item in value)
    return value


class World:
    """What the operations of one program work on, and the log of what they did."""

    def __init__(self, program: Program, loop: asyncio.AbstractEventLoop) -> None:
        self.program = program
        self.loop = loop
        self.log: list[Line] = []
        self.handles: list[tuple[str, asyncio.Handle]] = []
        self.tasks: list[asyncio.Task[Any]] = []
        self.labels: dict[asyncio.Future[Any], str] = {}
        self.locks = [asyncio.Lock(), asyncio.Lock()]
        self.semaphores = [asyncio.Semaphore(1), asyncio.BoundedSemaphore(2)]
        self.conditions = [asyncio.Condition(), asyncio.Condition(self.locks[0])]
        self.events = [asyncio.Event() for _ in range(3)]
        kinds = (asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue)
        self.queues: list[asyncio.Queue[str]] = [kind(size) for kind, size in zip(kinds, program.sizes, strict=True)]
        self.barriers = [asyncio.Barrier(2), asyncio.Barrier(3)]
        self.futures: list[asyncio.Future[Any]] = [loop.create_future() for _ in range(4)]
        self.readers = [asyncio.StreamReader(limit=16, loop=loop) for _ in range(2)]
        self.callbacks: list[tuple[asyncio.Future[Any], Callable[[asyncio.Future[Any]], None]]] = []
        self._kept: list[Any] = list(self.futures)
        self._spawned = 0

    # The log.

    def note(self, who: str, what: str, detail: Any = None) -> None:
        self.log.append((self.loop.time(), who, what, detail, _variable.get()))

    def on_exception(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        """The loop's exception handler.  What a finalizer reports comes when the memory is freed: not compared."""
        message: str = context["message"]
        if "never retrieved" not in message and "destroyed" not in message:
            self.note("handler", " ".join(message.split(" ", 3)[:3]), _told(context.get("exception")))

    # Coroutines and callbacks.

    def keep(self, label: str, task: asyncio.Task[Any]) -> asyncio.Task[Any]:
        self.tasks.append(task)
        self.labels[task] = label
        return task

    def create_task(self, label: str, coro: Coroutine[Any, Any, Any], make: Any = None, **options: Any) -> Any:
        try:
            return self.keep(label, (make or self.loop).create_task(coro, **options))
        except BaseException:
            coro.close()
            raise

    async def child(self, who: str, mode: int, ops: list[Op]) -> str:
        self.note(who, "begin")
        try:
            await self.block(who, mode, ops)
        except BaseException as error:
            self.note(who, "broken", _told(error))
            raise
        self.note(who, "end")
        return who

    async def block(self, who: str, mode: int, ops: list[Op]) -> None:
        for op in ops:
            kind = op[0]
            try:
                done = getattr(self, "do_" + kind)(who, *op[1:])
                if done is not None:
                    await done
            except asyncio.CancelledError as error:
                self.note(who, "cancelled in " + kind, error.args)
                if not mode & SWALLOW:
                    raise
                if mode & UNCANCEL:
                    self.do_uncancel(who, 0)
            except Exception as error:
                self.note(who, "error in " + kind, _told(error))
                if not mode & GUARD:
                    raise

    def call(self, label: str, ops: list[Op]) -> None:
        """A plain callback; what it raises goes to the exception handler."""
        self.note(label, "called", asyncio.current_task() is None)
        for op in ops:
            getattr(self, "do_" + op[0])(label, *op[1:])

    def known(self, indices: Iterable[int]) -> list[asyncio.Task[Any]]:
        """Some of the tasks made so far, without main (number 0) and without the one that asks."""
        own = asyncio.current_task()
        others = self.tasks[1:]
        return [task for task in (others[i % len(others)] for i in indices if others) if task is not own]

    def awaitable(self, task: asyncio.Task[Any]) -> asyncio.Future[Any]:
        """``task``, shielded unless it is younger than the one that asks.

        A circle of tasks that await each other bare cannot be cancelled: asyncio recurses until the stack ends.
        """
        return task if hash(task) > hash(asyncio.current_task()) else asyncio.shield(task)

    async def limited(self, delay: float | None, coro: Coroutine[Any, Any, Any]) -> Any:
        if delay is None:
            return await coro
        try:
            limit = asyncio.timeout(delay)
            async with limit:
                return await coro
        finally:
            coro.close()

    # Operations that do not wait.

    def do_soon(self, who: str, label: str, ops: list[Op], how: int) -> None:
        if how == 0:
            handle = self.loop.call_soon_threadsafe(self.call, label, ops)
        elif how == 1:
            context = contextvars.copy_context()
            context.run(_variable.set, -1)
            handle = self.loop.call_soon(self.call, label, ops, context=context)
        else:
            handle = self.loop.call_soon(self.call, label, ops)
        self.handles.append((label, handle))
        self.note(who, "soon", label)

    def do_later(self, who: str, label: str, delay: float, ops: list[Op]) -> None:
        handle = self.loop.call_later(delay, self.call, label, ops)
        self.handles.append((label, handle))
        self.note(who, "later", (label, float(handle.when())))

    def do_at(self, who: str, label: str, delay: float, ops: list[Op]) -> None:
        # A round deadline makes equal absolute times likely.
        when = self.loop.time() + delay
        if self.program.ties:
            when = round(when / TICK / 8) * TICK * 8
        handle = self.loop.call_at(when, self.call, label, ops)
        self.handles.append((label, handle))
        self.note(who, "at", (label, float(handle.when())))

    def do_cancel_handle(self, who: str, index: int) -> None:
        if self.handles:
            label, handle = self.handles[-1 - index % len(self.handles)]
            handle.cancel()
            self.note(who, "cancel handle", (label, handle.cancelled()))

    def do_spawn(self, who: str, label: str, mode: int, ops: list[Op], how: int) -> None:
        # A block may run more than once; no two tasks spawned have one label.
        self._spawned += 1
        label = f"{label}.{self._spawned}"
        options: dict[str, Any] = {}
        if how == 0:
            options["name"] = "named " + label
        elif how == 1:
            options["context"] = contextvars.copy_context()
            options["context"].run(_variable.set, -2)
        task = self.create_task(label, self.child(label, mode, ops), **options)
        self.note(who, "spawn", (label, task.get_name() if how == 0 else None, task.done()))

    def do_cancel_task(self, who: str, index: int, main: bool, message: bool) -> None:
        others = self.tasks[1:]
        task = self.tasks[0] if main or not others else others[index % len(others)]
        if task is self.tasks[0] and not main:
            return
        took = task.cancel("by " + who) if message else task.cancel()
        self.note(who, "cancel", (self.labels[task], took, task.cancelling()))

    def do_event_set(self, who: str, index: int) -> None:
        self.events[index % 3].set()
        self.note(who, "set")

    def do_event_clear(self, who: str, index: int) -> None:
        self.events[index % 3].clear()

    def do_put_now(self, who: str, index: int) -> None:
        self.queues[index % 3].put_nowait(who)
        self.note(who, "put", index % 3)

    def do_get_now(self, who: str, index: int) -> None:
        self.note(who, "got", self.queues[index % 3].get_nowait())

    def do_task_done(self, who: str, index: int) -> None:
        self.queues[index % 3].task_done()

    def do_future_set(self, who: str, index: int) -> None:
        self.futures[index % 4].set_result(who)
        self.note(who, "resolved", index % 4)

    def do_future_fail(self, who: str, index: int) -> None:
        self.futures[index % 4].set_exception(ProgramError(who))
        self.note(who, "failed", index % 4)

    def do_future_cancel(self, who: str, index: int) -> None:
        self.note(who, "future cancelled", self.futures[index % 4].cancel())

    def do_future_new(self, who: str, index: int) -> None:
        future = self.loop.create_future()
        self._kept.append(future)
        self.futures[index % 4] = future

    def do_on_done(self, who: str, label: str, index: int, how: int) -> None:
        known = self.known([index]) if how else []
        future = known[0] if known else self.futures[index % 4]

        def done(future: asyncio.Future[Any]) -> None:
            self.note(label, "done", "cancelled" if future.cancelled() else _told(future.exception()))
            if how == 3:
                raise ProgramError(label)

        context = None
        if how == 2:
            context = contextvars.copy_context()
            context.run(_variable.set, -3)
        future.add_done_callback(done, context=context)
        self.callbacks.append((future, done))
        self.note(who, "on done", label)

    def do_off_done(self, who: str, index: int) -> None:
        if self.callbacks:
            future, callback = self.callbacks[index % len(self.callbacks)]
            self.note(who, "off done", future.remove_done_callback(callback))

    def do_context(self, who: str, value: int) -> None:
        _variable.set(value)
        self.note(who, "context")

    def do_raise(self, who: str, value: int) -> None:
        self.note(who, "raise")
        raise ProgramError(who, value)

    def do_release(self, who: str, index: int) -> None:
        self.semaphores[index % 2].release()
        self.note(who, "release")

    def do_feed(self, who: str, index: int, what: int) -> None:
        reader = self.readers[index]
        if what == 3:
            reader.feed_eof()
        else:
            reader.feed_data((b"a", b"bc\n", b"longer than the limit of a line\n")[what])
        self.note(who, "feed", what)

    def do_look(self, who: str, index: int) -> None:
        current = asyncio.current_task()
        label = None if current is None else self.labels.get(current)
        self.note(who, "look", (label, tuple(task.done() for task in self.tasks)))

    def do_uncancel(self, who: str, index: int) -> None:
        task = asyncio.current_task()
        assert task is not None
        self.note(who, "uncancel", (task.cancelling(), task.uncancel()))

    def do_kill_self(self, who: str, index: int) -> Any:
        task = asyncio.current_task()
        assert task is not None
        self.note(who, "kill self", task.cancel())
        return asyncio.sleep(0) if index % 2 else None

    # Operations that wait.

    async def do_sleep(self, who: str, delay: float) -> None:
        self.note(who, "slept", await asyncio.sleep(delay, who))

    async def do_yields(self, who: str, count: int) -> None:
        for i in range(count):
            await asyncio.sleep(0)
            self.note(who, "yielded", i)

    async def do_join(self, who: str, index: int, delay: float | None) -> None:
        for task in self.known([index]):
            if delay is None:
                result = await self.awaitable(task)
            else:
                result = await asyncio.wait_for(asyncio.shield(task), delay)
            self.note(who, "joined", result)

    async def do_lock(self, who: str, index: int, mode: int, ops: list[Op], how: int) -> None:
        async with self.locks[index]:
            self.note(who, "locked", index)
            await self.block(who, mode, ops)
        self.note(who, "unlocked", index)

    async def do_hand_lock(self, who: str, index: int, mode: int, ops: list[Op], how: int) -> None:
        lock = self.locks[index]
        await self.limited(how * TICK if how and self.program.ties else None, lock.acquire())
        try:
            self.note(who, "acquired", index)
            await self.block(who, mode, ops)
        finally:
            lock.release()

    async def do_semaphore(self, who: str, index: int, mode: int, ops: list[Op], how: int) -> None:
        async with self.semaphores[index]:
            self.note(who, "entered", (index, self.semaphores[index].locked()))
            await self.block(who, mode, ops)

    async def do_condition_wait(self, who: str, index: int, delay: float | None, how: int) -> None:
        condition = self.conditions[index]
        async with condition:
            if how:
                await self.limited(delay, condition.wait())
            else:
                await self.limited(delay, condition.wait_for(self.events[0].is_set))
            self.note(who, "notified", index)

    async def do_condition_notify(self, who: str, index: int, mode: int, ops: list[Op], how: int) -> None:
        condition = self.conditions[index]
        async with condition:
            if how:
                condition.notify(how)
            else:
                condition.notify_all()
            self.note(who, "notify", how)
            await self.block(who, mode, ops)

    async def do_get(self, who: str, index: int, delay: float | None) -> None:
        queue = self.queues[index % 3]
        item = await (queue.get() if delay is None else asyncio.wait_for(queue.get(), delay))
        self.note(who, "got", item)
        if index % 2:
            queue.task_done()

    async def do_put(self, who: str, index: int, delay: float | None) -> None:
        await self.limited(delay, self.queues[index % 3].put(who))
        self.note(who, "put", index % 3)

    async def do_queue_join(self, who: str, index: int, delay: float | None) -> None:
        await self.limited(delay, self.queues[index % 3].join())
        self.note(who, "queue joined", index % 3)

    async def do_event_wait(self, who: str, index: int, delay: float | None) -> None:
        self.note(who, "event", await self.limited(delay, self.events[index % 3].wait()))

    async def do_barrier(self, who: str, index: int, delay: float | None) -> None:
        self.note(who, "passed", await self.limited(delay, self.barriers[index % 2].wait()))

    async def do_barrier_end(self, who: str, index: int) -> None:
        barrier = self.barriers[index % 2]
        await (barrier.abort() if index % 3 == 0 else barrier.reset())
        self.note(who, "barrier ended", barrier.broken)

    async def do_future_wait(self, who: str, index: int, delay: float | None) -> None:
        future = self.futures[index % 4]
        if delay is None:
            result = await future
        else:
            result = await asyncio.wait_for(asyncio.shield(future) if index % 3 else future, delay)
        self.note(who, "future", result)

    async def do_wait_for(self, who: str, label: str, mode: int, ops: list[Op], delay: float | None) -> None:
        self.note(who, "in time", await asyncio.wait_for(self.child(label, mode, ops), delay))

    async def do_shield(self, who: str, label: str, mode: int, ops: list[Op], delay: float | None) -> None:
        inner = self.create_task(label, self.child(label, mode, ops))
        if delay is None:
            self.note(who, "shielded", await asyncio.shield(inner))
        else:
            self.note(who, "shielded", await asyncio.wait_for(asyncio.shield(inner), delay))

    async def do_timeout(
        self, who: str, mode: int, ops: list[Op], delay: float | None, again: float | None, how: int
    ) -> None:
        now = self.loop.time()
        limit = asyncio.timeout(delay) if how or delay is None else asyncio.timeout_at(now + delay)
        try:
            async with limit:
                if again is not None and how:
                    limit.reschedule(now + again)
                elif again is not None:
                    # When the block is over this raises in the callback.
                    self.handles.append((who, self.loop.call_later(TICK, limit.reschedule, now + again)))
                await self.block(who, mode, ops)
        finally:
            self.note(who, "expired", (limit.expired(), limit.when()))

    async def do_gather(self, who: str, children: list[Any], mode: int, ops: list[Op], flag: bool) -> None:
        coros = [self.child(*child) for child in children]
        self.note(who, "gathered", _told(await asyncio.gather(*coros, return_exceptions=flag)))
        await self.block(who, mode, ops)

    async def do_group(self, who: str, children: list[Any], mode: int, ops: list[Op], flag: bool) -> None:
        async with asyncio.TaskGroup() as group:
            for label, *rest in children:
                task = self.create_task(label, self.child(label, *rest), group, name=label)
                self.note(who, "in group", task.get_name() if flag else None)
            await self.block(who, mode, ops)
        self.note(who, "group done")

    async def do_gather_known(self, who: str, indices: list[int], how: int, delay: float | None) -> None:
        awaitables = [self.awaitable(task) for task in self.known(indices)] + [self.futures[indices[0] % 4]]
        if how == 0:
            awaitables = [asyncio.shield(awaitable) for awaitable in awaitables]
        gathered = asyncio.gather(*awaitables, return_exceptions=how != 2)
        self._kept.append(gathered)
        result = await (gathered if delay is None else asyncio.wait_for(gathered, delay))
        self.note(who, "gathered", _told(result))

    async def do_wait(self, who: str, indices: list[int], how: int, delay: float | None) -> None:
        known = self.known(indices)
        if known:
            until = (asyncio.ALL_COMPLETED, asyncio.FIRST_COMPLETED, asyncio.FIRST_EXCEPTION)[how]
            done, pending = await asyncio.wait(known, timeout=delay, return_when=until)
            # Not sorted: the order inside the sets is part of what must agree.
            self.note(who, "waited", ([self.labels[t] for t in done], [self.labels[t] for t in pending]))

    async def do_as_completed(self, who: str, indices: list[int], how: int, delay: float | None) -> None:
        for position, first in enumerate(asyncio.as_completed(self.known(indices), timeout=delay)):
            try:
                self.note(who, "completed", (position, await first))
            except Exception as error:
                self.note(who, "completed badly", (position, _told(error)))

    async def stream(self, who: str, steps: list[float | None]) -> AsyncIterator[int]:
        try:
            for i, delay in enumerate(steps):
                if delay is not None:
                    await asyncio.sleep(delay)
                yield i
        finally:
            self.note(who, "stream closing")
            await asyncio.sleep(0)
            self.note(who, "stream closed")

    async def do_stream(
        self, who: str, label: str, steps: list[float | None], stop: int, close: bool, mode: int, ops: list[Op]
    ) -> None:
        items = self.stream(label, steps)
        try:
            async for i in items:
                self.note(who, "item", i)
                # Twice the same operations would mean twice the same delays.
                if self.program.ties or i == 0:
                    await self.block(who, mode, ops)
                if i == stop:
                    break
        finally:
            if close:
                await items.aclose()  # type: ignore[attr-defined]
            # Unless closed, the loop finalizes it in a task of its own, beginning here.
            del items

    async def do_block(self, who: str, mode: int, ops: list[Op]) -> None:
        await self.block(who, mode, ops)

    async def do_read(self, who: str, index: int, how: int, delay: float | None) -> None:
        reader = self.readers[index]
        read = (reader.readline(), reader.read(2), reader.readexactly(3))
        for position, coro in enumerate(read):
            if position != how:
                coro.close()
        self.note(who, "read", await self.limited(delay, read[how]))

    async def do_finish(self, who: str, delay: float) -> None:
        """Wait for the other tasks, but not for ever."""
        known = self.known(range(len(self.tasks) - 1))
        if known:
            await asyncio.wait(known, timeout=delay)

    # The whole.

    async def main(self) -> str:
        task = asyncio.current_task()
        assert task is not None
        self.keep("main", task)
        return await self.child("main", self.program.mode, self.program.main)

    async def unwind(self) -> None:
        """Cancel what is left, in order of creation."""
        own = asyncio.current_task()
        everything = asyncio.all_tasks() | {task for task in self.tasks if not task.done()}
        left = sorted((task for task in everything if task is not own), key=hash)
        self.note("unwind", "left", [self.labels.get(task) for task in left])
        for task in left:
            task.cancel()
        if left:
            await asyncio.wait(left)


def act(
    program: Program,
    loop: asyncio.AbstractEventLoop,
    quiescent: type[BaseException],
    *,
    unwind: bool = True,
) -> list[Line]:
    """Run ``program`` on ``loop``, which is closed afterwards; return its log.

    ``quiescent`` is what the loop raises when it would wait for ever; it may happen again while what is left is being
    cancelled, because programs swallow cancellations.
    """
    collecting = gc.isenabled()
    gc.disable()
    try:
        return _act(program, loop, quiescent, unwind)
    finally:
        if collecting:
            gc.enable()


def _act(program: Program, loop: asyncio.AbstractEventLoop, quiescent: type[BaseException], unwind: bool) -> list[Line]:
    world = World(program, loop)
    loop.set_exception_handler(world.on_exception)
    eager = getattr(asyncio, "eager_task_factory", None)
    if program.eager and eager is not None:
        loop.set_task_factory(eager)

    def attempt(coro: Coroutine[Any, Any, Any]) -> None:
        try:
            outcome: Any = loop.run_until_complete(coro)
        except quiescent:
            outcome = "quiescent"
        except (Exception, asyncio.CancelledError) as error:
            outcome = _told(error)
        world.note("run", "outcome", outcome)

    attempt(world.main())
    rounds = 0
    while unwind and rounds < 20 and asyncio.all_tasks(loop):
        attempt(world.unwind())
        rounds += 1
    log = world.log
    world.log = []
    attempt(loop.shutdown_asyncgens())
    loop.close()
    return log
