"""What a verdict says of primitives in a recorded run: where they were made, who took and touched them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

import vtloop

Main = Callable[[], Any]


def deadlock_of(main: Main) -> vtloop.DeadlockError:
    with pytest.raises(vtloop.DeadlockError) as raised:
        vtloop.run(main)
    assert len(raised.value.report().splitlines()) <= 60
    return raised.value


def line_about(error: vtloop.DeadlockError, thing: str) -> str:
    (line,) = (line.strip() for line in error.report().splitlines() if line.startswith(f"    {thing}: "))
    return line


def source_of(line: int) -> str:
    with open(__file__, encoding="utf-8") as file:
        return file.read().splitlines()[line - 1].strip()


def test_a_circle_of_locks_taken_by_hand_is_found() -> None:
    async def main() -> None:
        one, other = asyncio.Lock(), asyncio.Lock()

        async def take(first: asyncio.Lock, second: asyncio.Lock) -> None:
            await first.acquire()
            await asyncio.sleep(1)
            await second.acquire()

        async with asyncio.TaskGroup() as tg:
            tg.create_task(take(one, other), name="left")
            tg.create_task(take(other, one), name="right")

    error = deadlock_of(main)
    assert str(error).partition(": ")[2] == (
        "left waits for Lock other (held by right) -> right waits for Lock one (held by left)"
    )
    data = error.to_dict()
    assert data["cycles"][0][0]["held"]
    (taken,) = next(one["touches"] for one in data["primitives"] if one["name"] == "other")
    assert (taken["kind"], taken["task"], taken["time_ns"]) == ("acquire", "right", 0)
    assert source_of(taken["place"]["line"]) == "await first.acquire()"


def test_a_lock_that_a_finished_task_took_by_hand_is_told_so() -> None:
    async def main() -> None:
        guard = asyncio.Lock()

        async def hasty() -> None:
            await guard.acquire()

        await asyncio.create_task(hasty(), name="hasty")
        async with guard:
            pass

    error = deadlock_of(main)
    assert "main) waits for Lock guard (held by hasty, which has ended) that nothing can release" in str(error)
    assert "could be woken by whoever calls its `release()`" in error.report()
    assert "taken by hasty at t=0 s (" in line_about(error, "Lock guard")


def test_a_lock_taken_twice_by_hand_is_held_by_the_task_itself() -> None:
    async def main() -> None:
        guard = asyncio.Lock()
        await guard.acquire()
        await guard.acquire()

    error = deadlock_of(main)
    assert str(error).endswith("waits for Lock guard (held by itself)")
    assert "not re-entrant" in error.report()


def test_permits_of_a_semaphore_taken_by_hand_have_holders() -> None:
    async def main() -> None:
        permits = asyncio.Semaphore(2)

        async def hasty() -> None:
            await permits.acquire()

        async def keeper() -> None:
            await permits.acquire()
            await asyncio.Event().wait()

        await asyncio.create_task(hasty(), name="hasty")
        keeping = asyncio.create_task(keeper(), name="keeper")
        await asyncio.sleep(1)
        await permits.acquire()
        await keeping

    assert "Semaphore permits (held by keeper; held by hasty, which has ended)" in str(deadlock_of(main))


def test_permits_that_others_gave_back_have_no_holder() -> None:
    async def main() -> None:
        permits = asyncio.Semaphore(0)
        permits.release()
        await asyncio.create_task(permits.acquire())
        await permits.acquire()

    assert "Semaphore permits, holder unknown (taken without `async with`, or made with 0)" in str(deadlock_of(main))


def test_an_event_says_who_set_and_cleared_it_and_where_it_was_made() -> None:
    async def main() -> None:
        ready = asyncio.Event()

        async def starter() -> None:
            await asyncio.sleep(1)
            ready.set()
            ready.clear()

        await asyncio.create_task(starter(), name="starter")
        await ready.wait()

    line = line_about(deadlock_of(main), "Event ready")
    assert " in main" in line and source_of(int(line.split(":")[2].split()[0])) == "ready = asyncio.Event()"
    assert "; set by starter at t=1 s (" in line and "; cleared by starter at t=1 s (" in line


@pytest.mark.parametrize(
    ("wait", "thing", "says"),
    [
        ("done.wait()", "Event done", "nobody has called its `set()`"),
        ("jobs.get()", "Queue jobs", "nothing was ever put into it"),
        ("full.put(2)", "Queue full", "nothing was ever got from it"),
        ("full.join()", "Queue full", "nobody has called its `task_done()`"),
        ("changed.wait()", "Condition changed", "nobody has called its `notify()`"),
    ],
)
def test_what_never_happened_is_told_so(wait: str, thing: str, says: str) -> None:
    async def main() -> None:
        done, jobs, full, changed = asyncio.Event(), asyncio.Queue[int](), asyncio.Queue[int](1), asyncio.Condition()
        full.put_nowait(1)
        async with changed:
            await eval(wait)
        del done, jobs, full, changed

    assert line_about(deadlock_of(main), thing).endswith(f"; {says}")


def test_what_was_made_before_the_run_is_not_said_to_be_untouched() -> None:
    done = asyncio.Event()
    done.set()
    done.clear()

    async def main() -> None:
        await done.wait()

    error = deadlock_of(main)
    assert "nobody has called" not in error.report() and "made at" not in error.report()
    assert error.to_dict()["primitives"][0]["made"] is None


def test_a_queue_says_who_put_into_it_last() -> None:
    async def main() -> None:
        jobs: asyncio.Queue[int] = asyncio.Queue()

        async def producer() -> None:
            for number in range(3):
                await asyncio.sleep(1)
                await jobs.put(number)

        producing = asyncio.create_task(producer(), name="producer")
        while True:
            await jobs.get()
            assert producing

    assert "; last put into by producer at t=3 s (" in line_about(deadlock_of(main), "Queue jobs")


def test_each_primitive_has_its_line_once() -> None:
    async def main() -> None:
        done = asyncio.Event()

        async def one() -> None:
            await done.wait()

        async def other() -> None:
            await done.wait()

        await asyncio.gather(one(), other(), done.wait())

    line_about(deadlock_of(main), "Event done")
