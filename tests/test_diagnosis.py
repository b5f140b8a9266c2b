"""The wait-for graph and the verdicts, held against real asyncio programs that block on the standard loop."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import json
import linecache
import re
import sys
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, TracebackType
from typing import Any, NamedTuple

import pytest

from vtloop.diagnosis import verdict
from vtloop.diagnosis.chains import await_chain_traceback
from vtloop.diagnosis.describe import cycle_line
from vtloop.diagnosis.graph import CycleStep
from vtloop.diagnosis.targets import function_name
from vtloop.diagnosis.verdict import Snapshot
from vtloop.diagnosis.waits import TaskWait, WaitGraph, capture, unread_errors
from vtloop.errors import DeadlockError, HangError, LivelockError

Main = Callable[[], Awaitable[Any]]


class OriginTask(asyncio.Task[Any]):
    """A task that knows where it was created, as vtloop's own does."""

    _origin: tuple[Any, ...] = ()

    def set_name(self, value: object) -> None:
        if value is not None:  # 3.13.0 renames what a factory made, to "None" when no name was given
            super().set_name(value)


@dataclass
class Blocked:
    """A program that can not go on, looked at from inside its loop; cancelled afterwards."""

    main: asyncio.Task[Any]
    order: list[asyncio.Task[Any]]

    def snapshot(self, **known: Any) -> Snapshot:
        pending = [t for t in self.order if not t.done()]
        return Snapshot(pending, self.main, finished_errors=self.order, **known)

    def graph(self) -> WaitGraph:
        return capture(self.order, self.main)


def blocked(main: Main, look: Callable[[Blocked], Any], turns: int = 6) -> Any:
    """Run `main` on a standard loop for a few turns, and give what `look` sees from a plain callback."""
    loop = asyncio.new_event_loop()
    order: list[asyncio.Task[Any]] = []
    found: list[Any] = []

    def factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
        task = OriginTask(coro, loop=loop, **{k: v for k, v in options.items() if v is not None})
        frame = sys._getframe(1)
        while frame.f_back and "asyncio" in frame.f_code.co_filename:
            frame = frame.f_back
        task._origin = ((frame.f_code, frame.f_lasti),)
        order.append(task)
        return task

    def later(left: int) -> None:
        if left:
            loop.call_soon(later, left - 1)
            return
        try:
            found.append(look(Blocked(order[0], order)))
        finally:
            loop.stop()

    loop.set_task_factory(factory)
    loop.set_exception_handler(lambda loop, context: None)
    try:
        loop.create_task(main(), name="main")  # type: ignore[arg-type]
        loop.call_soon(later, turns)
        loop.run_forever()
        for task in order:
            task.cancel()
        loop.run_until_complete(asyncio.wait([*order], timeout=1))
        for task in order:
            if task.done() and not task.cancelled():
                task.exception()
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.run_until_complete(loop.shutdown_default_executor())
    finally:
        loop.close()
    assert found, "the program ended or failed before it was looked at"
    return found[0]


def graph_of(main: Main) -> WaitGraph:
    graph = blocked(main, Blocked.graph)
    assert isinstance(graph, WaitGraph)
    return graph


def task(graph: WaitGraph, name: str = "main") -> TaskWait:
    return next(t for t in graph.tasks if t.name == name)


def task_data(error: HangError, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(t for t in error.to_dict()["tasks"] if t["name"] == name)
    return found


def deadlock_of(main: Main, **known: Any) -> DeadlockError:
    error = blocked(main, lambda b: verdict.deadlock(b.snapshot(**known)))
    assert isinstance(error, DeadlockError)
    return error


# What each primitive looks like -----------------------------------------------------------------------------------


async def lock() -> None:
    my_lock = asyncio.Lock()
    await my_lock.acquire()
    async with my_lock:
        pass


async def condition() -> None:
    cond = asyncio.Condition()
    async with cond:
        await cond.wait()


async def condition_predicate() -> None:
    cond = asyncio.Condition()
    async with cond:
        await cond.wait_for(lambda: False)


async def event() -> None:
    ready = asyncio.Event()
    await ready.wait()


async def semaphore() -> None:
    sem = asyncio.BoundedSemaphore(1)
    await sem.acquire()
    async with sem:
        pass


async def barrier() -> None:
    bar = asyncio.Barrier(3)
    await bar.wait()


async def queue_get() -> None:
    jobs: asyncio.Queue[int] = asyncio.Queue()
    await jobs.get()


async def queue_put() -> None:
    jobs: asyncio.Queue[int] = asyncio.LifoQueue(1)
    await jobs.put(1)
    await jobs.put(2)


async def queue_join() -> None:
    jobs: asyncio.Queue[int] = asyncio.PriorityQueue()
    jobs.put_nowait(1)
    await jobs.join()


async def sleeping() -> None:
    await asyncio.sleep(3600)


async def for_ever() -> None:
    await asyncio.get_running_loop().create_future()


async def awaiting_task() -> None:
    child = asyncio.create_task(for_ever(), name="child")
    await child


async def gathering() -> None:
    both = asyncio.gather(asyncio.create_task(for_ever(), name="child"), asyncio.shield(for_ever()))
    await both


async def waiting() -> None:
    await asyncio.wait([asyncio.create_task(for_ever(), name="child")])


async def waiting_for_task() -> None:
    child = asyncio.create_task(for_ever(), name="child")
    await asyncio.wait_for(child, 3600)


async def group() -> None:
    async with asyncio.TaskGroup() as tg:
        tg.create_task(for_ever(), name="child")


async def shielding() -> None:
    await asyncio.shield(asyncio.create_task(for_ever(), name="child"))


async def future() -> None:
    fut = asyncio.get_running_loop().create_future()
    await fut


@contextmanager
def a_sleeper() -> Iterator[Callable[[], object]]:
    """A function that sleeps in its thread until the block is left."""
    release = threading.Event()

    def sleep() -> None:
        release.wait(10)

    try:
        yield sleep
    finally:
        release.set()


async def executor() -> None:
    with a_sleeper() as sleep:
        await asyncio.get_running_loop().run_in_executor(None, sleep)


async def thread() -> None:
    with a_sleeper() as sleep:
        await asyncio.to_thread(sleep)


async def reader() -> None:
    stream = asyncio.StreamReader()
    await stream.readline()


@pytest.mark.parametrize(
    ("main", "kind", "name", "text"),
    [
        (lock, "Lock", "my_lock", "main waits for Lock my_lock, holder unknown (taken without `async with`)"),
        (condition, "Condition", "cond", "main waits for Condition cond that nothing can notify"),
        (condition_predicate, "Condition", "cond", "main waits for Condition cond that nothing can notify"),
        (event, "Event", "ready", "main waits for Event ready that nothing can set"),
        (
            semaphore,
            "Semaphore",
            "sem",
            "main waits for Semaphore sem, holder unknown (taken without `async with`, or made with 0)",
        ),
        (barrier, "Barrier", "bar", "main waits for Barrier bar (1 of 3 there) that nobody else can reach"),
        (queue_get, "Queue.get", "jobs", "main waits for Queue.get on jobs (empty) that nothing can feed"),
        (queue_put, "Queue.put", "jobs", "main waits for Queue.put on jobs (full, maxsize 1) that nothing can empty"),
        (queue_join, "Queue.join", "jobs", "main waits for Queue.join on jobs (1 not yet task_done())"),
        (sleeping, "sleep", None, "main waits for sleep (until t="),
        (awaiting_task, "task", None, "main waits for task child -> child waits for a Future without a name"),
        (gathering, "gather", "both", "main waits for gather both of child and "),
        (waiting, "wait", None, "main waits for asyncio.wait of child -> child waits"),
        (waiting_for_task, "wait_for", "child", "main waits for asyncio.wait_for of child"),
        (group, "TaskGroup", "tg", "main waits for TaskGroup tg of child -> child waits for a Future"),
        (shielding, "shield", None, "main waits for asyncio.shield of child"),
        (future, "future", "fut", "main waits for Future 'fut' that nothing can complete"),
        (executor, "executor call", None, "main waits for executor call"),
        (thread, "executor call", None, "main waits for executor call (sleep, still at work)"),
        (
            reader,
            "StreamReader.readline",
            "stream",
            "main waits for StreamReader.readline on stream (0 bytes there) that nothing can feed",
        ),
    ],
)
def test_each_primitive_is_told_by_kind_and_name(main: Main, kind: str, name: str | None, text: str) -> None:
    def look(b: Blocked) -> tuple[WaitGraph, str]:
        return b.graph(), str(verdict.deadlock(b.snapshot()))

    graph, message = blocked(main, look)
    wait = task(graph).wait
    assert wait is not None
    assert (wait.kind, wait.name) == (kind, name)
    assert message.startswith(f"deadlock at t=0 s: {text}")
    assert "\n" not in message
    if kind in ("task", "gather", "wait", "wait_for", "TaskGroup", "shield"):
        assert graph.tasks[wait.waits_on[0]].name == "child"


def test_timeout_and_wait_for_name_the_wait_inside_and_its_limit() -> None:
    async def under_timeout() -> None:
        ready = asyncio.Event()
        async with asyncio.timeout(3600):
            await ready.wait()

    async def under_wait_for() -> None:
        ready = asyncio.Event()
        await asyncio.wait_for(ready.wait(), 3600)

    wait = task(graph_of(under_timeout)).wait
    assert wait is not None and (wait.kind, wait.name) == ("Event", "ready")
    assert wait.limit is not None and wait.limit.startswith("t=")
    wait = task(graph_of(under_wait_for)).wait
    assert wait is not None
    if sys.version_info >= (3, 12):
        assert (wait.kind, wait.name) == ("Event", "ready")
        assert wait.limit is not None
    else:  # 3.11 runs the coroutine in a task of its own
        assert wait.kind == "wait_for" and wait.waits_on == (1,)
        assert wait.detail is not None and wait.detail.startswith("until t=")


async def completing() -> None:
    jobs = [asyncio.create_task(for_ever(), name=f"job{number}") for number in range(4)]
    for first in asyncio.as_completed(jobs):
        await first


async def waiting_for_the_first() -> None:
    jobs = [asyncio.create_task(for_ever(), name=name) for name in ("a", "b")]
    await asyncio.wait(jobs, timeout=3600, return_when=asyncio.FIRST_COMPLETED)


async def writing() -> None:
    class Full(asyncio.Transport):
        def is_closing(self) -> bool:
            return True

        def close(self) -> None:
            pass

    stream = asyncio.StreamReader()
    protocol = asyncio.StreamReaderProtocol(stream)
    transport = Full()
    protocol.connection_made(transport)
    protocol.pause_writing()
    writer = asyncio.StreamWriter(transport, protocol, stream, asyncio.get_running_loop())
    stream.feed_data(b"ab")

    async def closed() -> None:
        await writer.wait_closed()

    closing = asyncio.create_task(closed(), name="closing")
    reading = asyncio.create_task(stream.readexactly(4), name="reading")
    await writer.drain()
    await asyncio.gather(closing, reading)


@pytest.mark.parametrize(
    ("main", "name", "kind", "detail", "behind"),
    [
        (completing, "main", "as_completed", "until one ends", ["job0", "job1", "job2", "job3"]),
        (waiting_for_the_first, "main", "wait", "until one ends; until t=", ["a", "b"]),
        (writing, "main", "StreamWriter.drain", None, []),
        (writing, "closing", "StreamWriter.wait_closed", None, []),
        (writing, "reading", "StreamReader.readexactly", "2 of 4 bytes there", []),
    ],
)
def test_other_waits_of_asyncio(main: Main, name: str, kind: str, detail: str | None, behind: list[str]) -> None:
    graph = graph_of(main)
    wait = task(graph, name).wait
    assert wait is not None and wait.kind == kind
    assert (wait.detail or "").startswith(detail or "") and (wait.detail is None) == (detail is None)
    assert [graph.tasks[i].name for i in wait.waits_on] == behind


def test_an_executor_call_is_told_by_its_function() -> None:
    async def main() -> None:
        with a_sleeper() as sleep:
            call = asyncio.get_running_loop().run_in_executor(None, sleep)
            await asyncio.gather(call, asyncio.to_thread(sleep))

    waits = [t.wait for t in graph_of(main).tasks if t.wait is not None and t.wait.kind == "executor call"]
    assert [w.detail for w in waits] == ["sleep, still at work"]


@pytest.mark.parametrize(
    ("function", "name"),
    [
        (time.sleep, "sleep"),
        (functools.partial(time.sleep, 1), "sleep"),
        (functools.partial(contextvars.copy_context().run, time.sleep), "sleep"),
        (lambda: None, "<lambda>"),
        (Snapshot, "Snapshot"),
        (object(), None),
    ],
)
def test_what_an_executor_call_runs_has_a_name(function: Any, name: str | None) -> None:
    assert function_name(function) == name


def test_a_barrier_that_still_drains_says_so() -> None:
    async def main() -> None:
        gate = asyncio.Barrier(2)

        async def late() -> None:
            async with gate:
                pass

        gate._state = type(gate._state).DRAINING  # type: ignore[attr-defined]  # a step of one that left is missing
        await asyncio.gather(late())

    wait = next(t.wait for t in graph_of(main).tasks if t.coroutine == "late")
    assert wait is not None and wait.kind == "Barrier"
    assert wait.detail == "still draining: tasks of the last round have not left it"


@pytest.mark.skipif(sys.version_info < (3, 13), reason="a queue can be shut down from 3.13 on")
def test_the_join_of_a_queue_that_was_shut_down_still_waits() -> None:
    async def main() -> None:
        jobs: Any = asyncio.Queue()
        jobs.put_nowait(1)
        jobs.shutdown()
        await jobs.join()

    wait = task(graph_of(main)).wait
    assert wait is not None and (wait.kind, wait.detail) == ("Queue.join", "1 not yet task_done(); shut down")


def test_waiters_are_listed_in_their_line() -> None:
    async def main() -> None:
        guard, jobs, changed = asyncio.Lock(), asyncio.Queue[int](), asyncio.Condition()

        async def want(turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            async with guard:
                pass

        async def get(turns: int) -> None:
            for _ in range(turns):
                await asyncio.sleep(0)
            await jobs.get()

        async with guard, asyncio.TaskGroup() as tg:
            for name, turns in (("second", 2), ("third", 3), ("first", 1)):
                tg.create_task(want(turns), name=name)
                tg.create_task(get(turns), name=f"{name} getter")
            tg.create_task(changed.acquire())

    graph = graph_of(main)
    lines = {thing.kind: [graph.tasks[i].name for i in thing.waiters] for thing in graph.things if thing.in_order}
    assert lines["Lock"] == ["first", "second", "third"]
    assert lines["Queue.get"] == ["first getter", "second getter", "third getter"]
    assert "in line: first, second and third" in deadlock_of(main).report()


def test_a_queue_has_a_line_for_each_way_of_waiting() -> None:
    async def main() -> None:
        jobs: asyncio.Queue[int] = asyncio.Queue()
        jobs.put_nowait(1)
        assert await jobs.get() == 1
        async with asyncio.TaskGroup() as tg:
            tg.create_task(jobs.get(), name="getter")
            tg.create_task(jobs.join(), name="joiner")

    graph = graph_of(main)
    lines = {thing.kind: [graph.tasks[i].name for i in thing.waiters] for thing in graph.things}
    assert (lines["Queue.get"], lines["Queue.join"]) == (["getter"], ["joiner"])


# Names --------------------------------------------------------------------------------------------------------------

GATES = [asyncio.Event()]
gates_module: Any = ModuleType("gates_module")
gates_module.gate = asyncio.Event()


@dataclass(slots=True)
class Settings:
    gate: asyncio.Event


SETTINGS = Settings(asyncio.Event())


class Pair(NamedTuple):
    number: int
    gate: asyncio.Event


class Slotted:
    __slots__ = ("gate",)

    def __init__(self) -> None:
        self.gate = asyncio.Event()


class Pool:
    shared = asyncio.Event()

    def __init__(self) -> None:
        self.gate = asyncio.Event()
        self.gates = {"a": asyncio.Event()}
        self.slotted = Slotted()

    @property
    def trap(self) -> None:
        raise AssertionError("the diagnosis must not run properties")

    def __getattr__(self, name: str) -> Any:
        raise AssertionError("the diagnosis must not run __getattr__")

    async def attribute(self) -> None:
        await self.gate.wait()

    async def item(self) -> None:
        await self.gates["a"].wait()

    async def slot(self) -> None:
        await self.slotted.gate.wait()

    async def module_list(self) -> None:
        await GATES[0].wait()

    async def nameless(self) -> None:
        await asyncio.Event().wait()

    async def class_attribute(self) -> None:
        await self.shared.wait()

    async def field_of_a_dataclass(self) -> None:
        await SETTINGS.gate.wait()

    async def field_of_a_named_tuple(self) -> None:
        pair = Pair(1, asyncio.Event())
        await pair.gate.wait()

    async def item_of_a_subclass(self) -> None:
        gates: Any = defaultdict(asyncio.Event)
        await gates["x", 1].wait()

    async def cell_of_a_closure(self) -> None:
        gate = asyncio.Event()

        def out() -> Any:
            return gate.wait()

        await out()

    async def attribute_of_a_module(self) -> None:
        await gates_module.gate.wait()


@pytest.mark.parametrize(
    ("method", "name"),
    [
        ("attribute", "self.gate"),
        ("item", "self.gates['a']"),
        ("slot", "self.slotted.gate"),
        ("module_list", "GATES[0]"),
        ("nameless", None),
        ("class_attribute", "self.shared"),
        ("field_of_a_dataclass", "SETTINGS.gate"),
        ("field_of_a_named_tuple", "pair.gate"),
        ("item_of_a_subclass", "gates[('x', 1)]"),
        ("cell_of_a_closure", "gate"),
        ("attribute_of_a_module", "gates_module.gate"),
    ],
)
def test_names_are_found_without_running_the_programs_code(method: str, name: str | None) -> None:
    async def main() -> None:
        pool = Pool()
        await object.__getattribute__(pool, method)()

    wait = task(graph_of(main)).wait
    assert wait is not None and wait.name == name


def test_a_task_without_a_frame_of_its_own_waits_for_what_main_calls_it() -> None:
    async def main() -> None:
        jobs: asyncio.Queue[int] = asyncio.Queue()
        await asyncio.gather(jobs.get(), asyncio.create_task(jobs.get(), name="other"))

    error = deadlock_of(main)
    assert task_data(error, "other")["waits_for"]["name"] == "jobs"
    report = error.report()
    assert ") wait for Queue.get on jobs (empty)" in report
    assert "queues.py" not in report


def test_odd_objects_of_the_program_are_left_alone() -> None:
    def refuse(*_: Any) -> Any:
        raise AssertionError("the diagnosis must not run code of the program")

    odd = dict.fromkeys(("__eq__", "__hash__", "__repr__", "__str__", "__bool__", "__len__", "__iter__"), refuse)
    odd |= dict.fromkeys(("__getattr__", "__getattribute__", "__getitem__", "__contains__", "keys", "items"), refuse)
    odd["__class__"] = property(refuse)

    class Slots:
        __slots__ = iter(("gate",))

    async def main() -> None:
        kinds = [type("Odd", (base,), odd) for base in (object, dict, list, tuple)]
        things = [kind() for kind in kinds]
        slots = Slots()
        await asyncio.Event().wait()
        del things, slots

    main.__globals__[1] = "no name"
    try:
        wait = task(graph_of(main)).wait
    finally:
        del main.__globals__[1]
    assert wait is not None and (wait.kind, wait.name) == ("Event", None)


def test_primitives_whose_own_methods_fail_are_told_all_the_same() -> None:
    class Broken(asyncio.Queue[int]):
        broken = False

        def empty(self) -> bool:
            if self.broken:
                raise ValueError
            return super().empty()

    class Lock(asyncio.Lock):
        def locked(self) -> bool:
            raise ValueError

    async def main() -> None:
        jobs, guard = Broken(), Lock()

        async def keeper() -> None:
            async with guard:
                await jobs.get()

        async def want() -> None:
            async with guard:
                pass

        keeping, wanting = asyncio.create_task(keeper(), name="keeper"), asyncio.create_task(want(), name="want")
        await asyncio.sleep(0)
        jobs.broken = True
        await asyncio.wait([keeping, wanting])

    graph = graph_of(main)
    waits = {t.name: t.wait for t in graph.tasks if t.wait is not None}
    assert (waits["keeper"].kind, waits["keeper"].name, waits["keeper"].detail) == ("Queue.get", "jobs", None)
    assert (waits["want"].kind, waits["want"].holders) == ("Lock", ("keeper",))


@pytest.mark.parametrize("stub", [None, object(), ModuleType("anyio")])
def test_whatever_stands_for_anyio_harms_nothing(stub: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("anyio", "anyio._backends._asyncio", "anyio._core._synchronization", "anyio._core._tasks"):
        monkeypatch.setitem(sys.modules, name, stub)
    (cycle,) = graph_of(ab_ba).cycles
    assert len(cycle) == 2


# Holders ------------------------------------------------------------------------------------------------------------


async def ab_ba() -> None:
    lock_a, lock_b = asyncio.Lock(), asyncio.Lock()

    async def left() -> None:
        async with lock_a:
            await asyncio.sleep(0)
            async with lock_b:
                pass

    async def right() -> None:
        async with lock_b:
            await asyncio.sleep(0)
            async with lock_a:
                pass

    async with asyncio.TaskGroup() as tg:
        tg.create_task(left(), name="left")
        tg.create_task(right(), name="right")


def test_lock_cycle_is_told_in_one_line_with_holders() -> None:
    error = deadlock_of(ab_ba, time_ns=1_500_000_000)
    assert str(error) == (
        "deadlock at t=1.5 s: left waits for Lock lock_b (held by right) -> right waits for Lock lock_a (held by left)"
    )
    (cycle,) = graph_of(ab_ba).cycles
    assert [(s.task, s.primitive, s.holder) for s in cycle] == [
        ("left", "Lock lock_b", "right"),
        ("right", "Lock lock_a", "left"),
    ]


def test_lock_taken_twice_by_one_task_is_held_by_itself() -> None:
    async def main() -> None:
        guard = asyncio.Lock()

        async def again() -> None:
            async with guard:
                pass

        async with guard:
            await again()

    error = deadlock_of(main)
    assert str(error) == "deadlock at t=0 s: main waits for Lock guard (held by itself)"
    assert "not re-entrant" in error.report()


def test_nobody_is_blamed_for_a_lock_taken_by_hand() -> None:
    async def main() -> None:
        guard = asyncio.Lock()

        async def by_hand() -> None:
            await guard.acquire()
            await for_ever()

        async def waiter() -> None:
            async with guard:
                pass

        await asyncio.gather(by_hand(), waiter())

    waits = [t.wait for t in graph_of(main).tasks if t.coroutine == "waiter"]
    assert [(w.holders, w.waits_on, w.taken) for w in waits if w] == [((), (), True)]
    assert "holder unknown (taken without `async with`)" in deadlock_of(main).report()


@pytest.mark.parametrize("over_lock", [False, True])
def test_waiter_of_a_condition_does_not_hold_its_lock(over_lock: bool) -> None:
    async def main() -> None:
        guard = asyncio.Lock()
        cond = asyncio.Condition(guard)

        async def waiter() -> None:
            async with guard if over_lock else cond:
                await cond.wait()

        async def holder() -> None:
            await asyncio.sleep(0)
            async with guard:
                await for_ever()

        async def third() -> None:
            await asyncio.sleep(0)
            await asyncio.sleep(0)
            async with cond:
                pass

        await asyncio.gather(waiter(), holder(), third())

    graph = graph_of(main)
    third = next(t for t in graph.tasks if t.coroutine == "third")
    assert third.wait is not None
    assert (third.wait.kind, third.wait.name) == ("Lock", "of Condition cond")
    assert [graph.tasks[i].coroutine for i in third.wait.waits_on] == ["holder"]


def test_notified_waiter_waits_for_the_lock_of_its_condition() -> None:
    async def main() -> None:
        cond = asyncio.Condition()

        async def waiter() -> None:
            async with cond:
                await cond.wait()

        async def keeper() -> None:
            await asyncio.sleep(0)
            async with cond:
                cond.notify()
                await for_ever()

        await asyncio.gather(waiter(), keeper())

    graph = graph_of(main)
    waiter = next(t for t in graph.tasks if t.coroutine == "waiter")
    assert waiter.wait is not None
    assert (waiter.wait.kind, waiter.wait.name) == ("Lock", "of Condition cond")
    assert waiter.wait.detail == "notified, takes its lock back"
    assert [graph.tasks[i].coroutine for i in waiter.wait.waits_on] == ["keeper"]


def test_holders_are_seen_through_context_managers_exit_stacks_and_generators() -> None:
    async def main() -> None:
        one, two, three = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()

        @asynccontextmanager
        async def locked(x: asyncio.Lock) -> Any:
            async with x:
                yield

        async def items() -> Any:
            async with three:
                yield 1

        async def by_manager() -> None:
            async with locked(one):
                await for_ever()

        async def by_stack() -> None:
            async with AsyncExitStack() as stack:
                await stack.enter_async_context(two)
                await for_ever()

        async def by_generator() -> None:
            async for _ in items():
                await for_ever()

        async def want(x: asyncio.Lock) -> None:
            async with locked(x):
                pass

        await asyncio.gather(by_manager(), by_stack(), by_generator(), *(want(x) for x in (one, two, three)))

    graph = graph_of(main)
    wanted = [t.wait for t in graph.tasks if t.coroutine == "want"]
    held = [[graph.tasks[i].coroutine for i in w.waits_on] for w in wanted if w]
    assert held == [["by_manager"], ["by_stack"], ["by_generator"]]


def test_all_holders_of_a_semaphore_are_named() -> None:
    async def main() -> None:
        sem = asyncio.Semaphore(2)

        async def user() -> None:
            async with sem:
                await for_ever()

        async with asyncio.TaskGroup() as tg:
            for name in ("one", "two", "three"):
                tg.create_task(user(), name=name)

    wait = task(graph_of(main), "three").wait
    assert wait is not None and wait.holders == ("one", "two")


def test_locks_of_one_name_are_told_apart_by_mains_name_for_them() -> None:
    async def main() -> None:
        forks = [asyncio.Lock() for _ in range(3)]

        async def philosopher(one: asyncio.Lock, other: asyncio.Lock) -> None:
            async with one:
                await asyncio.sleep(0)
                async with other:
                    pass

        async with asyncio.TaskGroup() as tg:
            for i in range(3):
                tg.create_task(philosopher(forks[i], forks[(i + 1) % 3]), name=f"p{i}")

    assert str(deadlock_of(main)) == (
        "deadlock at t=0 s: p0 waits for Lock forks[1] (held by p1) -> p1 waits for Lock forks[2] (held by p2)"
        " -> p2 waits for Lock forks[0] (held by p0)"
    )


def test_a_circle_of_thousands_is_one_line_of_its_ends() -> None:
    circle = [CycleStep(f"t{i}", f"Lock l{i}", f"t{(i + 1) % 2000}", True) for i in range(2000)]
    line = cycle_line(circle)
    assert line.startswith("t0 waits for Lock l0 (held by t1) -> ")
    assert " -> ... 1,995 more ... -> t1999 waits for Lock l1999 (held by t0)" in line


def test_the_number_of_further_cycles_is_told_with_the_first() -> None:
    async def main() -> None:
        async def pair() -> None:
            left, right = asyncio.Lock(), asyncio.Lock()

            async def take(one: asyncio.Lock, other: asyncio.Lock) -> None:
                async with one:
                    await asyncio.sleep(0)
                    async with other:
                        pass

            await asyncio.gather(take(left, right), take(right, left))

        await asyncio.gather(pair(), pair())

    assert str(deadlock_of(main)).endswith(" (and 1 more cycle)")


def test_cycle_through_a_task_group_and_a_lock() -> None:
    async def main() -> None:
        guard = asyncio.Lock()

        async def child() -> None:
            async with guard:
                pass

        async with guard, asyncio.TaskGroup() as tg:
            tg.create_task(child(), name="child")

    error = deadlock_of(main)
    assert str(error) == (
        "deadlock at t=0 s: main waits for TaskGroup tg (needs child) -> child waits for Lock guard (held by main)"
    )


# Chains -------------------------------------------------------------------------------------------------------------


def test_chain_looks_through_wrappers_generators_and_async_generators() -> None:
    class Wrapped:
        def __await__(self) -> Iterator[Any]:
            return innermost().__await__()

    class Generator:
        def __await__(self) -> Iterator[Any]:
            return (yield from Wrapped().__await__())

    async def innermost() -> None:
        await for_ever()

    async def items() -> Any:
        await Generator()
        yield 1

    async def main() -> None:
        await anext(items(), None)

    chain = task(graph_of(main)).chain
    assert [p.function for p in chain] == ["main", "items", "Generator.__await__", "innermost", "for_ever"]
    assert chain[1].source == "await Generator()"
    assert all(Path(p.file).name == "test_diagnosis.py" and p.line > 0 and not p.internal for p in chain)


def test_paths_below_the_working_directory_are_relative(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(__file__).parent)
    assert task(graph_of(for_ever)).chain[0].file == "test_diagnosis.py"
    monkeypatch.chdir("/")
    assert task(graph_of(for_ever)).chain[0].file == __file__.lstrip("/")


def test_creation_place_is_the_programs_line() -> None:
    created = task(graph_of(group), "child").created
    assert created is not None and created.source == 'tg.create_task(for_ever(), name="child")'


def test_tasks_that_do_not_wait_are_told_by_state() -> None:
    async def main() -> None:
        while True:
            await asyncio.sleep(0)

    def look(b: Blocked) -> list[str]:
        b.main.get_loop().create_task(for_ever(), name="new")
        return [t.state for t in b.graph().tasks]

    assert blocked(main, look) == ["ready", "not started"]


def test_traceback_is_the_await_chain_without_asyncios_tail() -> None:
    async def inner() -> None:
        jobs: asyncio.Queue[int] = asyncio.Queue()
        await jobs.join() if jobs.qsize() else await jobs.get()

    async def main() -> None:
        await inner()

    def look(b: Blocked) -> None:
        tb = await_chain_traceback(b.main)
        assert isinstance(tb, TracebackType)
        assert [f.name for f in traceback.extract_tb(tb)] == ["main", "inner"]
        error = verdict.deadlock(b.snapshot()).with_traceback(tb)
        assert "await inner()" in "".join(traceback.format_exception(error))

    blocked(main, look)


def test_finished_task_has_no_chain_and_its_coroutine_is_never_asked_for() -> None:
    class Guarded(asyncio.Task[Any]):
        def get_coro(self) -> Any:
            assert not self.done()
            return super().get_coro()

    async def nothing() -> None:
        pass

    def look(b: Blocked) -> None:
        assert await_chain_traceback(done[0]) is None
        assert [t.name for t in capture([*done, b.main], b.main).tasks] == ["main"]

    done: list[asyncio.Task[Any]] = []

    async def main() -> None:
        done.append(Guarded(nothing(), name="done"))
        await for_ever()

    blocked(main, look)


# Errors nobody read -------------------------------------------------------------------------------------------------


async def unread() -> None:
    async def feeder() -> None:
        raise ValueError("no such host\nmore")

    child = asyncio.create_task(feeder(), name="feeder")
    jobs: asyncio.Queue[int] = asyncio.Queue()
    await jobs.get()
    await child


def test_unread_errors_are_shown_and_stay_unread() -> None:
    def look(b: Blocked) -> str:
        (found,) = unread_errors(b.order)
        assert (found.task, found.error) == ("feeder", "ValueError: no such host")
        assert found.place is not None and found.place.function == "feeder"
        assert len(unread_errors(b.order)) == 1
        return verdict.deadlock(b.snapshot()).report()

    report = blocked(unread, look)
    assert "errors nobody has read:\n  feeder: ValueError: no such host, at " in report
    assert "hint: feeder ended with ValueError: no such host and nobody has read it" in report


# Reports ------------------------------------------------------------------------------------------------------------

APP = """\
import asyncio

async def transfer(source, target):
    async with source:
        await asyncio.sleep(0)
        async with target:
            pass

async def audit(done):
    await done.wait()

async def main():
    savings, current = asyncio.Lock(), asyncio.Lock()
    done = asyncio.Event()
    async with asyncio.TaskGroup() as tg:
        tg.create_task(transfer(savings, current), name="out")
        tg.create_task(transfer(current, savings), name="back")
        for i in range(3):
            tg.create_task(audit(done))
"""

REPORT = """\
DEADLOCK at t=1.5 s, step 1,042, seed 7
Nothing is ready to run, no timer is set, and nothing outside can wake the loop.
cycle: out waits for Lock current (held by back) -> back waits for Lock savings (held by out)
6 pending tasks:
  2 tasks (out and back) wait for Lock current and savings
    bank.py:6 in transfer: async with target:
    first created at bank.py:16 in main
  main, the main task, waits for TaskGroup tg of out, back, Task-N (audit) and 2 more
    bank.py:15 in main: async with asyncio.TaskGroup() as tg:
    could be woken by the end of out, back, Task-N (audit) and 2 more
  3 tasks (Task-N (audit), Task-N (audit) and Task-N (audit)) wait for Event done
    bank.py:10 in audit: await done.wait()
    could be woken by `done.set()`; created at bank.py:19 in main
last events:
  1041 out waits
  1042 back waits
note: this run was cut out of an exploration
hint: take these locks in one order everywhere, for instance sorted by a key of what they guard.
again: pytest 'test_bank.py::test_transfer' --vtloop-replay vt1.abc"""


def bank() -> Main:
    linecache.cache["bank.py"] = (len(APP), None, APP.splitlines(keepends=True), "bank.py")
    scope: dict[str, Any] = {}
    exec(compile(APP, "bank.py", "exec"), scope)
    main: Main = scope["main"]
    return main


def without_counter(text: str) -> str:
    """asyncio's own names count per process; vtloop's count per loop."""
    return re.sub(r"Task-\d+", "Task-N", text)


def test_full_report() -> None:
    error = deadlock_of(
        bank(),
        time_ns=1_500_000_000,
        step=1042,
        seed="7",
        events=("1041 out waits", "1042 back waits"),
        notes=("this run was cut out of an exploration",),
        command="pytest 'test_bank.py::test_transfer' --vtloop-replay vt1.abc",
    )
    report = error.report()
    assert without_counter(report) == REPORT
    assert error.__notes__ == [report]


def test_dict_is_json_and_holds_the_same_facts() -> None:
    data = deadlock_of(ab_ba, seed="7", step=3).to_dict()
    assert json.loads(json.dumps(data)) is not None
    assert data["cycles"][0][0] == {"task": "left", "waits_for": "Lock lock_b", "holder": "right", "held": True}
    left = next(t for t in data["tasks"] if t["name"] == "left")
    assert left["waits_for"]["holders"] == ["right"]
    assert data["stacks"][left["stack"]]["frames"][0]["function"] == "left"
    assert (data["verdict"], data["seed"], data["step"], data["time_ns"]) == ("deadlock", "7", 3, 0)


def test_ten_different_tasks_fit_in_sixty_lines() -> None:
    source = "import asyncio\nasync def deep(n, f):\n    await (deep(n - 1, f) if n else f)\n" + "".join(
        f"async def t{i}(f):\n    await deep({i + 3}, f)\n" for i in range(10)
    )
    scope: dict[str, Any] = {}
    exec(source, scope)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(scope[f"t{i}"](loop.create_future()) for i in range(10)))

    report = deadlock_of(main, events=[f"event {i}" for i in range(50)], command="again").report()
    assert len(report.splitlines()) <= 60
    assert "other places" not in report
    assert all(f" in t{i}" in report for i in range(10))


def test_ten_tasks_at_their_worst_fit_in_sixty_lines() -> None:
    source = (
        "import asyncio\nasync def deep(n, thing):\n    await (deep(n - 1, thing) if n else thing.wait())\n"
        + "".join(
            f"async def t{i}(thing, guard):\n    async with guard:\n        await deep({30 + i}, thing)\n"
            for i in range(10)
        )
    )
    scope: dict[str, Any] = {}
    exec(source, scope)

    async def fail(number: int) -> None:
        raise ValueError(f"{number} " * 500 + "\n" * 500)

    async def main() -> None:
        for number in range(20):
            asyncio.create_task(fail(number), name=f"fail {number}" * 100)
        things = [asyncio.Event() for _ in range(10)]
        async with asyncio.TaskGroup() as tg:
            for number in range(10):
                task = scope[f"t{number}"](things[number], asyncio.Semaphore(1))
                tg.create_task(task, name=f"a name\nof two lines {number} " * 50)

    known = {
        "events": [f"event {i}" for i in range(500)],
        "notes": [f"note {i}" for i in range(50)],
        "command": "again",
    }
    error = deadlock_of(main, **known)
    lines = error.report().splitlines()
    assert len(lines) <= 60
    assert max(map(len, lines)) <= 500
    assert all(any(line.startswith(f"  a name\\nof two lines {i} ") for line in lines) for i in range(10))
    assert "\n" not in str(error) and len(str(error)) <= 500


def test_many_different_tasks_are_cut_with_a_count() -> None:
    source = "".join(f"async def t{i}(f):\n    await f\n" for i in range(100))
    scope: dict[str, Any] = {}
    exec(source, scope)

    async def main() -> None:
        loop = asyncio.get_running_loop()
        await asyncio.gather(*(scope[f"t{i}"](loop.create_future()) for i in range(100)))

    report = deadlock_of(main).report()
    assert len(report.splitlines()) <= 60
    assert "more tasks at" in report and "see error.to_dict()" in report


def test_a_thousand_tasks_at_one_place_are_one_entry_and_quick() -> None:
    async def main() -> None:
        async def worker() -> None:
            fut = asyncio.get_running_loop().create_future()
            await fut

        await asyncio.gather(*(worker() for _ in range(1000)))

    def look(b: Blocked) -> tuple[float, str]:
        started = time.process_time()
        report = verdict.deadlock(b.snapshot()).report()
        return time.process_time() - started, report

    seconds, report = blocked(main, look)
    assert "  1,000 tasks (Task-" in report and "and 997 more) wait for Future fut, each its own" in report
    assert len(report.splitlines()) < 15
    assert seconds < 0.25  # of processor time; 0.02 s is usual


def test_equal_programs_give_equal_texts() -> None:
    texts = {without_counter(deadlock_of(ab_ba).report()) for _ in range(5)}
    assert len(texts) == 1
    assert "0x" not in texts.pop()


# The other verdicts -------------------------------------------------------------------------------------------------


def other(build: Callable[[Blocked], HangError], main: Main = queue_get) -> HangError:
    error = blocked(main, build)
    assert isinstance(error, HangError)
    assert "\n" not in str(error)
    assert len(error.report().splitlines()) <= 60
    json.dumps(error.to_dict())
    return error


def test_livelock_names_the_spinning_tasks() -> None:
    async def poll() -> None:
        while True:
            await asyncio.sleep(0)

    error = other(lambda b: verdict.livelock(b.snapshot(), [b.main], 100_000), poll)
    assert isinstance(error, LivelockError)
    assert str(error) == "livelock at t=0 s: main kept running for 100,000 turns without a timer"
    assert "in poll: await asyncio.sleep(0)" in error.report()


def test_standing_clock_says_to_call_advance() -> None:
    error = other(lambda b: verdict.no_timers_autojump_off(b.snapshot(time_ns=10**9), 6 * 10**9), sleeping)
    assert str(error) == (
        "the clock stands still at t=1 s: with autojump=False only advance() moves it, and the next timer is at t=6 s"
    )
    assert "hint: `await vtloop.advance(5)`" in error.report()


def test_spent_budget_is_not_called_a_hang() -> None:
    error = other(lambda b: verdict.budget(b.snapshot(), "max_steps", 10_000))
    assert str(error).startswith("budget spent at t=0 s: max_steps=10,000; main is at ")
    assert "hang" not in str(error) + error.report()


def test_stuck_step_shows_where_it_is() -> None:
    stack = traceback.extract_stack()
    error = other(lambda b: verdict.stuck_step(b.snapshot(), 10.0, stack, "cruncher"))
    assert str(error).startswith("a step of cruncher did not return within 10 s of real time, cut at t=0 s")
    assert "in test_stuck_step_shows_where_it_is" in error.report()


def test_patience_names_the_threads() -> None:
    stack = traceback.extract_stack()
    name = threading.current_thread().name
    error = other(lambda b: verdict.patience(b.snapshot(), 5.0, [(name, list(stack))]))
    assert str(error) == f"waited 5 s of real time at t=0 s for {name}, which did not come back"
    assert f"  thread {name}:" in error.report()


def test_never_idle_names_the_tasks_and_daemon() -> None:
    error = other(lambda b: verdict.never_idle(b.snapshot(), [b.main], 1000), sleeping)
    assert str(error) == "never idle at t=0 s: after 1,000 jumps of the clock main still set new timers"
    assert "vtloop.daemon(task)" in error.report()
