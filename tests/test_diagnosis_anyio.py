"""What a task waits for when it waits by anyio, and the private names of anyio that tell."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from types import CodeType
from typing import Any

import anyio
import anyio.from_thread
import anyio.lowlevel
import anyio.to_thread
import pytest

import vtloop
from vtloop import DeadlockError, anyio_waits
from vtloop.diagnosis.waits import TaskWait, capture

Main = Callable[[], Any]
LATER_ANYIO = hasattr(anyio, "TaskHandle")


def deadlock_of(main: Main) -> dict[str, Any]:
    with pytest.raises(DeadlockError) as raised:
        vtloop.run(main)
    error = raised.value
    assert len(error.report().splitlines()) <= 60
    assert "site-packages" not in error.report()
    return {**error.to_dict(), "text": str(error).partition(": ")[2], "report": error.report()}


def wait_of(found: dict[str, Any], name: str = "main") -> dict[str, Any]:
    task = next(t for t in found["tasks"] if name in (t["name"], t["coroutine"]) or (name == "main" and t["main"]))
    wait: dict[str, Any] = task["waits_for"]
    return wait


async def event() -> None:
    ready = anyio.Event()
    await ready.wait()


async def lock() -> None:
    guard = anyio.Lock()

    async def keeper() -> None:
        await guard.acquire()
        await anyio.Event().wait()

    async with anyio.create_task_group() as tg:
        tg.start_soon(keeper)
        await anyio.sleep(1)
        async with guard:
            pass


async def condition() -> None:
    changed = anyio.Condition()
    async with changed:
        await changed.wait()


async def semaphore() -> None:
    permits = anyio.Semaphore(1)

    async def user() -> None:
        async with permits:
            await anyio.Event().wait()

    async with anyio.create_task_group() as tg:
        tg.start_soon(user)
        await anyio.sleep(1)
        async with permits:
            pass


async def limiter() -> None:
    tokens = anyio.CapacityLimiter(2)

    async def borrower() -> None:
        async with tokens:
            await anyio.Event().wait()

    async with anyio.create_task_group() as tg:
        tg.start_soon(borrower)
        tg.start_soon(borrower)
        await anyio.sleep(1)
        async with tokens:
            pass


async def limiter_of_threads() -> None:
    tokens = anyio.CapacityLimiter(1)
    tokens.acquire_on_behalf_of_nowait("the moon")
    await anyio.to_thread.run_sync(print, limiter=tokens)


async def sending() -> None:
    send, receive = anyio.create_memory_object_stream[int](1)
    with send, receive:
        await send.send(1)
        await send.send(2)


async def receiving() -> None:
    send, receive = anyio.create_memory_object_stream[int](1)
    with send, send.clone(), receive:
        async for _ in receive:
            pass


async def group() -> None:
    async with anyio.create_task_group() as tg:
        tg.start_soon(event, name="child")


async def starting() -> None:
    async def service(task_status: Any) -> None:
        await anyio.Event().wait()

    async with anyio.create_task_group() as tg:
        await tg.start(service)


async def for_ever() -> None:
    await anyio.sleep_forever()


async def portal() -> None:
    async with anyio.from_thread.BlockingPortal() as door:
        await door.sleep_until_stopped()


@pytest.mark.parametrize(
    ("main", "kind", "name", "text"),
    [
        (event, "Event", "ready", "waits for Event ready that nothing can set"),
        (lock, "Lock", "guard", "waits for Lock guard (held by keeper) -> keeper waits for an Event without a name"),
        (condition, "Condition", "changed", "waits for Condition changed that nothing can notify"),
        (semaphore, "Semaphore", "permits", "waits for Semaphore permits (held by user) -> user waits for an Event"),
        (
            limiter,
            "CapacityLimiter",
            "tokens",
            "waits for CapacityLimiter tokens (2 of 2 borrowed; held by borrower#1 and borrower#2) -> borrower#1 waits",
        ),
        (
            limiter_of_threads,
            "CapacityLimiter",
            "tokens",
            "waits for CapacityLimiter tokens (1 of 1 borrowed; holder unknown) that nothing can release",
        ),
        (
            sending,
            "MemoryObjectSendStream.send",
            "send",
            "waits for MemoryObjectSendStream.send on send (full, max_buffer_size 1; 1 receiver open)",
        ),
        (
            receiving,
            "MemoryObjectReceiveStream.receive",
            "receive",
            "waits for MemoryObjectReceiveStream.receive on receive (empty; 2 senders open) that nothing can feed",
        ),
        (group, "TaskGroup", "tg", "waits for TaskGroup tg of child -> child waits for Event ready"),
        (starting, "TaskGroup.start", "tg", "waits for TaskGroup.start of service -> service waits for an Event"),
        (for_ever, "sleep", None, "waits for sleep (for ever) that nothing can end"),
        (portal, "BlockingPortal", "door", "waits for BlockingPortal door that nothing can stop"),
    ],
)
def test_each_primitive_is_told_by_kind_and_name(main: Main, kind: str, name: str | None, text: str) -> None:
    found = deadlock_of(main)
    wait = wait_of(found)
    assert (wait["kind"], wait["name"]) == (kind, name)
    assert found["text"].startswith(f"Task-1 ({main.__name__}) {text}")


@pytest.mark.skipif(not LATER_ANYIO, reason="task handles came with anyio 4.14")
@pytest.mark.parametrize("wait", [False, True])
def test_a_task_handle_stands_for_its_task(wait: bool) -> None:
    async def main() -> None:
        async with anyio.create_task_group() as tg:
            handle = tg.create_task(event(), name="child")
            await (handle.wait() if wait else handle)

    found = deadlock_of(main)
    assert found["text"].startswith("Task-1 (main) waits for task child -> child waits for Event ready")


def test_a_circle_of_locks_is_found_from_anyios_own_owners() -> None:
    async def main() -> None:
        one, other = anyio.Lock(), anyio.Lock()

        async def take(first: anyio.Lock, second: anyio.Lock) -> None:
            await first.acquire()
            await anyio.sleep(1)
            await second.acquire()

        async with anyio.create_task_group() as tg:
            tg.start_soon(take, one, other, name="left")
            tg.start_soon(take, other, one, name="right")

    found = deadlock_of(main)
    assert found["text"] == ("left waits for Lock other (held by right) -> right waits for Lock one (held by left)")


def test_a_lock_whose_owner_has_ended_is_told_so() -> None:
    async def main() -> None:
        guard = anyio.Lock()

        async with anyio.create_task_group() as tg:
            tg.start_soon(guard.acquire, name="hasty")
            await anyio.sleep(1)
            await guard.acquire()

    found = deadlock_of(main)
    assert "waits for Lock guard (held by hasty, which has ended) that nothing can release" in found["text"]
    assert "could be woken by nobody" in found["report"]


def test_waiters_stand_in_the_order_in_which_they_are_served() -> None:
    async def main() -> None:
        guard = anyio.Lock()

        async def want(after: int) -> None:
            await anyio.sleep(after)
            async with guard:
                pass

        async with guard, anyio.create_task_group() as tg:
            for after, name in ((3, "last"), (1, "first"), (2, "second")):
                tg.start_soon(want, after, name=name)

    found = deadlock_of(main)
    assert "in line: first, second and last" in found["report"]


def test_a_notified_waiter_waits_for_the_lock_of_its_condition() -> None:
    async def main() -> None:
        changed = anyio.Condition()

        async def waiter() -> None:
            async with changed:
                await changed.wait()

        async def keeper() -> None:
            await anyio.sleep(1)
            async with changed:
                changed.notify()
                await anyio.Event().wait()

        async with anyio.create_task_group() as tg:
            tg.start_soon(waiter)
            tg.start_soon(keeper)

    wait = wait_of(deadlock_of(main), "waiter")
    assert (wait["kind"], wait["name"], wait["detail"]) == (
        "Lock",
        "of Condition changed",
        "notified, takes its lock back",
    )
    assert list(wait["holders"]) == ["keeper"]


def test_objects_made_outside_a_loop_are_known_by_the_name_the_program_gives_them() -> None:
    if not hasattr(sys.modules["anyio._core._synchronization"], "LockAdapter"):
        pytest.skip("before anyio 4.5 a lock needs no backend")
    guard, ready = anyio.Lock(), anyio.Event()

    async def keeper() -> None:
        async with guard:
            await ready.wait()

    async def main() -> None:
        async with anyio.create_task_group() as tg:
            tg.start_soon(keeper)
            await anyio.sleep(1)
            async with guard:
                pass

    text = deadlock_of(main)["text"]
    assert text == (
        "Task-1 (main) waits for Lock guard (held by keeper) -> keeper waits for Event ready that nothing can set"
    )


@pytest.mark.parametrize("shield", [False, True])
def test_the_nearest_deadline_is_the_limit_of_a_wait(shield: bool) -> None:
    limits = []

    async def main() -> None:
        ready = anyio.Event()

        async def look() -> None:
            await anyio.sleep(1)
            graph = capture(list(asyncio.all_tasks()))
            limits.extend(t.wait.limit for t in graph.tasks if t.wait is not None and t.wait.kind == "Event")
            ready.set()

        async with anyio.create_task_group() as tg:
            tg.start_soon(look)
            with anyio.fail_after(60), anyio.move_on_after(500), anyio.CancelScope(shield=shield):
                await ready.wait()

    vtloop.run(main)
    assert limits == [None if shield else "t=60 s"]


def test_an_idle_worker_thread_of_anyio_hides_no_deadlock() -> None:
    async def main() -> None:
        assert await anyio.to_thread.run_sync(lambda: 3) == 3
        await event()

    assert deadlock_of(main)["text"].startswith("Task-1 (main) waits for Event ready")


def test_where_a_task_was_made_is_the_programs_line() -> None:
    found = deadlock_of(group)
    child = next(t for t in found["tasks"] if t["name"] == "child")
    assert child["created"]["source"] == 'tg.start_soon(event, name="child")'


def test_a_call_in_a_worker_thread_is_told_by_its_function() -> None:
    seen = []

    async def main() -> None:
        go = threading.Event()

        def work() -> None:
            go.wait(10)

        async def look() -> None:
            await anyio.sleep(0)
            while not any(t.wait is not None and t.wait.kind == "executor call" for t in now()):
                await anyio.sleep(0)
            seen.extend(t.wait.detail for t in now() if t.wait is not None and t.wait.kind == "executor call")
            go.set()

        def now() -> tuple[TaskWait, ...]:
            return capture(list(asyncio.all_tasks())).tasks

        async with anyio.create_task_group() as tg:
            tg.start_soon(look)
            await anyio.to_thread.run_sync(work)

    vtloop.run(main)
    assert seen == ["work, still at work"]


@pytest.mark.slow
def test_vtloop_does_not_import_anyio() -> None:
    code = "import asyncio, sys, vtloop\nasync def main(): await asyncio.Event().wait()\n"
    code += "try: vtloop.run(main)\nexcept vtloop.DeadlockError: print('anyio' in sys.modules)"
    made = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert made.stdout == "False\n"


# The private names ------------------------------------------------------------------------------------------------


def test_the_names_of_anyio_are_where_they_were_seen() -> None:
    """Each of these is a method that the version at hand is known to have."""
    kinds = {known.kind for known in anyio_waits.primitives().values()}
    assert {
        *("Event", "Lock", "Condition", "Semaphore", "CapacityLimiter", "TaskGroup", "TaskGroup.start"),
        *("MemoryObjectReceiveStream.receive", "MemoryObjectSendStream.send", "executor call", "BlockingPortal"),
    } <= kinds
    assert ("task" in kinds) == LATER_ANYIO
    assert all(isinstance(known.code, CodeType) for known in anyio_waits.primitives().values())


def test_nothing_is_known_of_anyio_where_it_is_not_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "anyio"]:
        monkeypatch.delitem(sys.modules, name)
    assert anyio_waits.primitives() == {}
    assert anyio_waits.folder() is None
    assert not anyio_waits.is_holdable(object()) and not anyio_waits.is_condition(object())
    assert anyio_waits.owners(object()) is None
