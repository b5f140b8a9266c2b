"""Who was to wake it: what a deadlock says of ended tasks, failed threads and signals that came too early."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import pytest

import vtloop
from vtloop.cpython_waits import cancelled_with, coroutine_of_ended


def deadlock_of(program: Callable[[], Any]) -> vtloop.DeadlockError:
    with pytest.raises(vtloop.DeadlockError) as caught:
        vtloop.run(program, blocking="allow")
    return caught.value


def hints_of(error: vtloop.DeadlockError) -> list[str]:
    hints = error.data["hints"]
    assert [line.removeprefix("hint: ") for line in error.report().splitlines() if line.startswith("hint: ")] == hints
    return list(hints)


class Server:
    def __init__(self) -> None:
        self.ready = asyncio.Event()

    async def serve(self, port: str = "80") -> None:
        await asyncio.sleep(1)
        int(port)
        self.ready.set()


def test_a_failed_task_is_named_with_the_line_it_did_not_reach() -> None:
    async def main() -> None:
        server = Server()
        task = asyncio.create_task(server.serve("x"), name="server")
        await server.ready.wait()
        del task

    error = deadlock_of(main)
    assert str(error).endswith("; server failed with ValueError before `self.ready.set()`")
    (hint,) = hints_of(error)
    assert hint.startswith("server failed with ValueError at ")
    assert ", before `self.ready.set()` on line " in hint
    assert hint.endswith("?") and "was that to wake Task-1" in hint


def test_a_failed_task_is_named_though_a_heartbeat_ticks() -> None:
    async def beat() -> None:
        while True:
            await asyncio.sleep(1)

    async def main() -> None:
        server = Server()
        beating = asyncio.create_task(beat())
        task = asyncio.create_task(server.serve("x"), name="server")
        await server.ready.wait()
        del beating, task

    with pytest.raises(vtloop.HangError) as caught:
        vtloop.run(main)
    assert str(caught.value).endswith("; server failed with ValueError before `self.ready.set()`")
    assert "was that to wake Task-1" in caught.value.data["hints"][0]


def test_a_cancelled_task_is_named_for_a_future() -> None:
    async def ask(answer: asyncio.Future[int]) -> None:
        await asyncio.sleep(5)
        answer.set_result(1)

    async def main() -> None:
        answer = asyncio.get_running_loop().create_future()
        task = asyncio.create_task(ask(answer))
        await asyncio.sleep(1)
        task.cancel()
        await answer

    error = deadlock_of(main)
    assert "; Task-2 (ask) was cancelled before `answer.set_result()`" in str(error)


def test_an_outer_frame_of_the_failure_counts_too() -> None:
    async def load() -> None:
        raise LookupError

    async def work(queue: asyncio.Queue[int]) -> None:
        while True:
            await queue.get()
            await load()
            queue.task_done()

    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        worker = asyncio.create_task(work(queue), name="worker")
        queue.put_nowait(1)
        await queue.join()
        del worker

    assert "; worker failed with LookupError before `queue.task_done()`" in str(deadlock_of(main))


def test_a_thread_that_failed_is_named_with_the_line_it_did_not_reach() -> None:
    def check(done: asyncio.Event, loop: asyncio.AbstractEventLoop) -> None:
        int("x")
        loop.call_soon_threadsafe(done.set)

    async def main() -> None:
        done = asyncio.Event()
        threading.Thread(target=check, args=(done, asyncio.get_running_loop()), name="checker").start()
        await done.wait()

    assert "; thread checker failed with ValueError before `done.set()`" in str(deadlock_of(main))


def test_a_consumer_that_failed_in_its_loop_is_told() -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue(1)

        async def consume() -> None:
            while True:
                number = await queue.get()
                print(6 // number)

        consumer = asyncio.create_task(consume(), name="consumer")
        for number in (1, 0, 2, 3, 4):
            await queue.put(number)
        del consumer

    error = deadlock_of(main)
    assert str(error).endswith("; consumer failed with ZeroDivisionError before another `queue.get()`")
    assert "before `number = await queue.get()` on line " in hints_of(error)[0]
    assert " once more: was that to wake " in hints_of(error)[0]


def test_a_gather_of_all_tasks_is_told_to_leave_itself_out() -> None:
    async def main() -> None:
        await asyncio.gather(*asyncio.all_tasks())

    assert hints_of(deadlock_of(main)) == [
        "a task cannot wait for its own end: leave `asyncio.current_task()` out of what it waits for."
    ]


def test_an_event_that_was_set_and_cleared_before_anybody_waited_is_told() -> None:
    async def main() -> None:
        tick = asyncio.Event()

        async def listen() -> None:
            await asyncio.sleep(1)
            await tick.wait()

        listener = asyncio.create_task(listen(), name="listener")
        tick.set()
        tick.clear()
        await listener

    (hint,) = hints_of(deadlock_of(main))
    assert hint.startswith("`tick` was set by Task-1 at ")
    assert "t=0 s, while nobody waited for it, and cleared again: did listener come too late?" in hint


def test_a_notify_before_the_wait_is_told() -> None:
    async def main() -> None:
        condition = asyncio.Condition()

        async def listen() -> None:
            await asyncio.sleep(1)
            async with condition:
                await condition.wait()

        listener = asyncio.create_task(listen(), name="listener")
        async with condition:
            condition.notify_all()
        await listener

    (hint,) = hints_of(deadlock_of(main))
    assert hint.startswith("`condition` was notified by Task-1 at ")
    assert "t=0 s, before listener waited, and not since" in hint


def test_the_last_who_put_into_a_queue_is_told_with_its_end() -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()

        async def produce() -> None:
            await queue.put(1)
            await asyncio.sleep(1)

        producer = asyncio.create_task(produce(), name="producer")
        await queue.get()
        await queue.get()
        del producer

    (hint,) = hints_of(deadlock_of(main))
    assert hint.startswith("the last `put` into `queue` was by producer at ")
    assert hint.endswith(", t=0 s; producer has ended.")


def test_items_that_are_not_marked_as_done_are_counted() -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()

        async def work() -> None:
            while True:
                if await queue.get():
                    queue.task_done()

        worker = asyncio.create_task(work(), name="worker")
        for number in (0, 1, 0, 2):
            queue.put_nowait(number)
        await queue.join()
        del worker

    (hint,) = hints_of(deadlock_of(main))
    assert hint.startswith("2 items were got from `queue` without `task_done()`; the last `get` was by worker at ")


def test_a_worker_that_is_stuck_with_an_item_is_not_told_to_mark_it() -> None:
    async def main() -> None:
        queue: asyncio.Queue[int] = asyncio.Queue()
        go = asyncio.Event()

        async def work() -> None:
            await queue.get()
            await go.wait()
            queue.task_done()

        worker = asyncio.create_task(work(), name="worker")
        queue.put_nowait(1)
        await queue.join()
        del worker

    assert not any("without `task_done()`" in hint for hint in hints_of(deadlock_of(main)))


def test_a_permit_that_an_ended_task_kept_is_told() -> None:
    async def main() -> None:
        slots = asyncio.Semaphore(1)

        async def take() -> None:
            await slots.acquire()

        await asyncio.create_task(take(), name="taker")
        await slots.acquire()

    (hint,) = hints_of(deadlock_of(main))
    assert hint.startswith("a permit of `slots` was taken by taker at ")
    assert hint.endswith("; taker has ended and did not release it: use `async with`.")


def test_a_coroutine_that_nobody_awaited_is_told() -> None:
    async def main() -> None:
        server = Server()
        server.serve()
        await server.ready.wait()

    error = deadlock_of(main)
    assert str(error).endswith("that nothing can set; Server.serve() was never awaited")
    (hint,) = hints_of(error)
    assert hint.startswith("`Server.serve()` was called at ")
    assert hint.endswith("in main and never awaited: nothing of it has run; put `await` before it.")


def test_a_task_that_is_stuck_before_the_line_is_told() -> None:
    async def main() -> None:
        slots, go = asyncio.Semaphore(1), asyncio.Event()

        async def take() -> None:
            await slots.acquire()

        async def give_back() -> None:
            await go.wait()
            slots.release()

        await asyncio.create_task(take())
        helper = asyncio.create_task(give_back(), name="helper")
        await slots.acquire()
        del helper

    error = deadlock_of(main)
    assert "kept it" not in str(error)
    assert hints_of(error)[0].startswith("helper waits for Event go, before `slots.release()` on line ")


def test_an_item_of_a_dict_is_found() -> None:
    class Calls:
        def __init__(self) -> None:
            self.open: dict[int, asyncio.Future[int]] = {}

        async def call(self, number: int) -> int:
            answer = self.open[number] = asyncio.get_running_loop().create_future()
            return await answer

        async def read(self) -> None:
            for number in range(3):
                await asyncio.sleep(1)
                if number == 1:
                    raise ConnectionError
                self.open[number].set_result(number)

    async def main() -> None:
        calls = Calls()
        reader = asyncio.create_task(calls.read(), name="reader")
        await asyncio.gather(*map(calls.call, range(3)))
        del reader

    assert "; reader failed with ConnectionError before `self.open[number].set_result()`" in str(deadlock_of(main))


def test_a_condition_with_a_predicate_is_told_when_it_was_notified_last() -> None:
    async def main() -> None:
        condition, items = asyncio.Condition(), list[int]()

        async def two() -> None:
            async with condition:
                await condition.wait_for(lambda: len(items) > 1)

        waiter = asyncio.create_task(two(), name="waiter")
        await asyncio.sleep(1)
        async with condition:
            items.append(1)
            condition.notify_all()
        await waiter

    (hint,) = hints_of(deadlock_of(main))
    assert hint.startswith("`condition` was notified last by Task-1 at ")
    assert hint.endswith("t=1 s; waiter looks at its predicate again only when it is notified.")


def test_what_several_tasks_wait_for_in_one_way_is_told_once() -> None:
    async def main() -> None:
        condition = asyncio.Condition()

        async def never() -> None:
            async with condition:
                await condition.wait_for(lambda: False)

        await asyncio.gather(never(), never())

    (hint,) = hints_of(deadlock_of(main))
    assert hint.startswith("`condition` was never notified; ")


# -- what is not to blame --------------------------------------------------------------------------------------------


def test_another_object_of_the_same_name_is_not_taken_for_it() -> None:
    async def main() -> None:
        task = asyncio.create_task(Server().serve("x"))
        ready = asyncio.Event()
        await asyncio.sleep(2)
        assert task.done()
        await ready.wait()

    error = deadlock_of(main)
    assert str(error).endswith("that nothing can set")
    assert not any("was that to wake" in hint for hint in hints_of(error))


def test_a_line_that_was_reached_is_not_told() -> None:
    async def main() -> None:
        tick = asyncio.Event()

        async def pulse() -> None:
            tick.set()
            await asyncio.sleep(1)
            raise ValueError

        task = asyncio.create_task(pulse())
        await tick.wait()
        tick.clear()
        await tick.wait()
        del task

    assert not any("before `" in hint for hint in hints_of(deadlock_of(main)))


def test_a_notify_that_woke_somebody_is_not_called_lost() -> None:
    async def main() -> None:
        condition = asyncio.Condition()

        async def listen() -> None:
            async with condition:
                await condition.wait()

        first = asyncio.create_task(listen())
        await asyncio.sleep(1)
        async with condition:
            condition.notify_all()
        await first
        await listen()

    assert not any("was notified by" in hint for hint in hints_of(deadlock_of(main)))


def test_a_lock_held_in_a_circle_blames_no_ended_task() -> None:
    async def main() -> None:
        left, right = asyncio.Lock(), asyncio.Lock()

        async def take(first: asyncio.Lock, second: asyncio.Lock) -> None:
            async with first:
                await asyncio.sleep(1)
                async with second:
                    pass

        await asyncio.gather(take(left, right), take(right, left))

    assert hints_of(deadlock_of(main)) == [
        "take these locks in one order everywhere, for instance sorted by a key of what they guard."
    ]


# -- CPython ---------------------------------------------------------------------------------------------------------


def test_a_cancelled_task_holds_its_exception_and_an_ended_one_its_coroutine() -> None:
    async def main() -> None:
        cancelled = asyncio.create_task(asyncio.sleep(9))
        ended = asyncio.create_task(asyncio.sleep(0))
        await asyncio.sleep(1)
        assert cancelled_with(cancelled) is None
        cancelled.cancel()
        await asyncio.wait([cancelled, ended])
        error = cancelled_with(cancelled)
        assert error is not None and error.__traceback__ is not None
        assert cancelled_with(ended) is None
        coroutine = coroutine_of_ended(ended)
        assert coroutine is not None and coroutine.__name__ == "sleep"

    vtloop.run(main)
