"""Notes of recorded runs: where primitives were made, who touched them last; and that nothing else is changed."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import inspect
import sys
import threading
import traceback
import weakref

import pytest

import vtloop
from vtloop import noting
from vtloop.cpython_notes import COUNTED, LOOKED_UP, STATES
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import execute

run_module = sys.modules["vtloop.run"]
NOTED = sorted({cls for cls, *_ in (*COUNTED, *STATES, *LOOKED_UP)}, key=lambda cls: cls.__name__)


def line_of(place):
    """The source line of ``(code, lasti)``."""
    code, lasti = place
    number = next(line for start, end, line in code.co_lines() if start <= lasti < end)
    with open(code.co_filename, encoding="utf-8") as file:
        return file.readlines()[number - 1].strip()


def told(obj):
    return [(touch.kind, touch.task) for touch in noting.touches(obj)]


def run(main, **options):
    outcome = execute(main, resolve(RUN_DEFAULTS, **options))
    if outcome.error is not None:
        raise outcome.error
    return outcome


class OwnLock(asyncio.Lock):
    def __init__(self):
        super().__init__()
        self.log = []

    async def acquire(self):
        self.log.append("acquire")
        return await super().acquire()


class OwnQueue(asyncio.Queue):
    def _put(self, item):
        super()._put(item * 2)

    async def get(self):
        return await super().get() + 1


# -- where things were made --------------------------------------------------------------------------------------------


def test_each_primitive_knows_the_line_that_made_it():
    async def main():
        lock = asyncio.Lock()
        own = OwnLock()
        event = asyncio.Event()
        condition = asyncio.Condition()
        semaphore = asyncio.Semaphore(2)
        bounded = asyncio.BoundedSemaphore(2)
        barrier = asyncio.Barrier(2)
        queue = asyncio.Queue()
        own_queue = OwnQueue()
        priorities = asyncio.PriorityQueue()
        group = asyncio.TaskGroup()
        future = asyncio.get_running_loop().create_future()
        named = {name: value for name, value in locals().items() if name != "named"}
        return {name: line_of(noting.made_at(value)).split(" = ")[0] for name, value in named.items()}

    made = run(main).value
    assert made == {name: name for name in made} and len(made) == 12


def test_what_was_made_before_the_run_or_copied_does_not_know():
    early = asyncio.Lock()

    async def main():
        copied = copy.copy(asyncio.Lock())
        async with early, copied:
            return noting.made_at(early), noting.made_at(copied), told(early), told(copied)

    assert run(main).value == (None, None, [("acquire", "Task-1")], [("acquire", "Task-1")])


def test_asyncios_own_futures_and_events_are_not_noted():
    async def main():
        queue = asyncio.Queue()
        waiting = asyncio.create_task(queue.get())
        await asyncio.sleep(1)
        getter = queue._getters[0]
        found = noting.made_at(getter), noting.made_at(queue._finished), noting.touches(queue._finished)
        queue.put_nowait(1)
        await waiting
        return found

    assert run(main).value == (None, None, ())


# -- touches -----------------------------------------------------------------------------------------------------------


def test_touches_tell_kind_task_time_step_and_line():
    async def main():
        lock = asyncio.Lock()

        async def other():
            async with lock:
                await asyncio.sleep(1)

        task = asyncio.create_task(other(), name="other")
        await asyncio.sleep(0)
        async with lock:
            pass
        await task
        return noting.touches(lock)

    touches = run(main).value
    assert [(one.kind, one.task, one.time_ns) for one in touches] == [
        ("acquire", "other", 0),
        ("asked", "Task-1", 0),
        ("release", "other", 1_000_000_000),
        ("acquire", "Task-1", 1_000_000_000),
        ("release", "Task-1", 1_000_000_000),
    ]
    assert [one.step for one in touches] == [2, 3, 5, 6, 6]
    assert {line_of((one.code, one.lasti)) for one in touches} == {"async with lock:"}


def test_the_step_of_a_touch_is_that_of_the_events():
    async def main():
        event = asyncio.Event()
        for _ in range(3):
            await asyncio.sleep(0.5)
        event.set()
        return noting.touches(event)[0].step

    outcome = run(main)
    [event] = [event for event in outcome.recording.events if event[0] == outcome.value]
    assert event[2] == "Task-1 step 4"


def test_events_conditions_and_barriers_note_what_is_done_to_them():
    async def main():
        event, condition, barrier = asyncio.Event(), asyncio.Condition(), asyncio.Barrier(1)

        async def wait():
            await event.wait()
            async with condition:
                await condition.wait()

        task = asyncio.create_task(wait(), name="waiter")
        await asyncio.sleep(1)
        event.set()
        event.clear()
        await asyncio.sleep(1)
        async with condition:
            condition.notify_all()
        await task
        await barrier.wait()
        await barrier.reset()
        await barrier.abort()
        return told(event), told(condition), told(barrier)

    assert run(main).value == (
        [("wait", "waiter"), ("set", "Task-1"), ("clear", "Task-1")],
        [("wait", "waiter"), ("notify", "Task-1")],
        [("wait", "Task-1"), ("reset", "Task-1"), ("abort", "Task-1")],
    )


@pytest.mark.parametrize("make", [asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue])
def test_queues_note_put_get_and_task_done(make):
    async def main():
        queue = make(1)

        async def consume():
            for _ in range(2):
                await queue.get()
                queue.task_done()

        task = asyncio.create_task(consume(), name="consumer")
        await asyncio.sleep(1)
        queue.put_nowait(1)
        with contextlib.suppress(asyncio.QueueFull):
            queue.put_nowait(1)
        await queue.put(2)
        await task
        with contextlib.suppress(asyncio.QueueEmpty):
            queue.get_nowait()
        return told(queue)

    assert run(main).value == [
        ("put", "Task-1"),
        ("get", "consumer"),
        ("task_done", "consumer"),
        ("put", "Task-1"),
        ("get", "consumer"),
        ("task_done", "consumer"),
    ]


def test_only_the_last_touches_are_kept():
    async def main():
        event = asyncio.Event()
        for _ in range(20):
            event.set()
            event.clear()
        return told(event)

    assert run(main).value == [("set", "Task-1"), ("clear", "Task-1")] * 4


def test_a_callback_has_no_task_and_no_line_of_its_own():
    async def main():
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(1, event.set)
        await event.wait()
        return noting.touches(event)[-1]

    touch = run(main).value
    assert (touch.kind, touch.task, touch.time_ns, touch.step) == ("set", None, 1_000_000_000, 2)


def test_a_semaphores_permit_is_noted_for_the_task_it_is_handed_to():
    async def main():
        semaphore = asyncio.Semaphore(1)

        async def wait():
            await semaphore.acquire()

        await semaphore.acquire()
        task = asyncio.create_task(wait(), name="waiter")
        await asyncio.sleep(1)
        semaphore.release()
        await task
        return noting.touches(semaphore)

    touches = run(main).value
    kinds = [("acquire", "Task-1"), ("asked", "waiter"), ("release", "Task-1"), ("acquire", "waiter")]
    assert [(one.kind, one.task) for one in touches] == kinds
    assert line_of(touches[3][-2:]) == "await semaphore.acquire()"


def test_eager_tasks_are_noted_under_their_own_names():
    if not hasattr(asyncio, "eager_task_factory"):
        assert sys.version_info < (3, 12)
        return

    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        lock = asyncio.Lock()

        async def take():
            async with lock:
                pass

        async with lock:
            event = asyncio.Event()
            event.set()
        # Not `asyncio.create_task`, which on 3.12 gives the name when the task has run.
        await asyncio.get_running_loop().create_task(take(), name="eager")
        return told(lock)[-2:]

    assert run(main).value == [("acquire", "eager"), ("release", "eager")]


# -- holders, lost sets ------------------------------------------------------------------------------------------------


def test_a_lock_taken_by_hand_has_a_holder_until_it_is_released():
    async def main():
        lock, condition = asyncio.Lock(), asyncio.Condition()
        found = [noting.holder_by_hand(lock)]
        await lock.acquire()
        name, code, lasti = noting.holder_by_hand(lock)
        found += [name, line_of((code, lasti))]
        lock.release()
        found.append(noting.holder_by_hand(lock))
        async with lock, condition:
            found += [noting.holder_by_hand(lock), noting.holder(lock).task, noting.holder(condition).task]
        await condition.acquire()
        found.append(noting.holder_by_hand(condition)[0])
        return found

    assert run(main).value == [
        *(None, "Task-1", "await lock.acquire()", None),
        *(None, "Task-1", "Task-1"),
        "Task-1",
    ]


def test_a_set_that_nobody_waited_for_is_lost_once_it_is_cleared():
    async def main():
        lost, seen, still, again = (asyncio.Event() for _ in range(4))
        waiting = [asyncio.create_task(event.wait()) for event in (seen, again)]
        await asyncio.sleep(1)
        for event in (lost, seen, still, again):
            event.set()
        for event in (lost, seen, again):
            event.clear()
        again.set()
        again.clear()
        await asyncio.wait(waiting)
        return [getattr(noting.lost_set(event), "kind", None) for event in (lost, seen, still, again)]

    assert run(main).value == ["set", None, None, "set"]


# -- nothing else is changed -------------------------------------------------------------------------------------------


def fingerprint():
    return {(cls, name): vars(cls).get(name) for cls, name, *_ in (*COUNTED, *STATES, *LOOKED_UP)}


@pytest.fixture
def tidy(monkeypatch):
    """What stands in asyncio's classes when no recorded run goes on, however many there were before."""
    monkeypatch.setattr(noting._table, "switches", 1000)
    with noting._table.lock:
        noting._take_out()
    return fingerprint()


def test_classes_are_as_they_were_after_a_run(tidy):
    async def main():
        return fingerprint() != tidy

    assert run(main).value
    assert fingerprint() == tidy
    assert execute(main, resolve(RUN_DEFAULTS), record=False).value is False


def test_after_many_runs_the_descriptors_stay_in_and_still_do_no_more_than_the_write(tidy, monkeypatch):
    async def main():
        async with asyncio.Lock() as _:
            return asyncio.Lock()

    monkeypatch.setattr(noting._table, "switches", 0)
    try:
        run(main)
        assert fingerprint() != tidy
        lock = asyncio.run(main())
        assert (lock.locked(), noting.made_at(lock)) == (False, None)
        assert noting.made_at(run(main).value) is None, "notes go with their run"
    finally:
        noting._take_out()
    assert fingerprint() == tidy


def test_later_only_an_unrecorded_run_takes_the_descriptors_out(tidy, monkeypatch):
    async def main():
        return asyncio.Lock()

    monkeypatch.setattr(noting._table, "switches", 5)
    monkeypatch.setattr(noting, "LAZY", 5)
    for _ in range(3):
        run(main)
        assert fingerprint() != tidy
    execute(main, resolve(RUN_DEFAULTS), record=False)
    assert fingerprint() == tidy
    assert noting._table.switches == 4


def test_runs_in_several_threads_note_their_own_and_leave_nothing_behind(tidy):
    together, found = threading.Barrier(3), {}

    async def main(name):
        lock = asyncio.Lock()
        together.wait(10)
        await lock.acquire()
        together.wait(10)
        found[name] = told(lock), noting.made_at(lock) is not None

    def stock():
        asyncio.run(main("stock"))

    def ours(name):
        run(lambda: main(name), blocking="allow")

    threads = [threading.Thread(target=ours, args=(name,)) for name in "ab"] + [threading.Thread(target=stock)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {"a": ([("acquire", "Task-1")], True), "b": ([("acquire", "Task-1")], True), "stock": ([], False)}
    assert fingerprint() == tidy


def test_a_bare_loop_notes_nothing():
    async def main():
        lock = asyncio.Lock()
        await lock.acquire()
        return noting.made_at(lock), noting.touches(lock)

    with asyncio.Runner(loop_factory=vtloop.EventLoop) as runner:
        assert runner.run(main()) == (None, ())


def test_coroutine_functions_and_await_chains_stay_asyncios_own():
    before = {(cls, name): getattr(cls, name) for cls in NOTED for name in ("acquire", "wait", "get", "put", "join")
              if hasattr(cls, name)}  # fmt: skip

    async def main():
        for (cls, name), function in before.items():
            assert getattr(cls, name) is function
            assert inspect.iscoroutinefunction(function) and inspect.iscoroutinefunction(getattr(cls, name))
        lock = asyncio.Lock()
        await lock.acquire()
        task = asyncio.create_task(lock.acquire())
        await asyncio.sleep(1)
        code = task.get_coro().cr_code
        lock.release()
        await task
        return code

    assert run(main).value is asyncio.Lock.acquire.__code__


def test_tracebacks_show_no_frame_of_ours():
    async def main():
        lock, queue, condition = asyncio.Lock(), asyncio.Queue(1), asyncio.Condition()
        found = []
        for wrong in (lock.release, queue.get_nowait, queue.task_done, condition.notify, lambda: asyncio.Barrier(0)):
            try:
                wrong()
            except Exception as exc:
                found.append([frame.filename for frame in traceback.extract_tb(exc.__traceback__)])
        return found

    found = run(main).value
    assert len(found) == 5
    assert not [file for files in found for file in files if "vtloop" in file.replace(__file__, "")]


def test_subclasses_keep_what_they_override():
    async def main():
        lock, queue = OwnLock(), OwnQueue()
        async with lock:
            pass
        await queue.put(4)
        return lock.log, await queue.get(), told(lock), told(queue)

    log, item, lock, queue = run(main).value
    assert (log, item) == (["acquire"], 9)
    assert lock == [("acquire", "Task-1"), ("release", "Task-1")]
    assert queue == [("put", "Task-1"), ("get", "Task-1")]


def test_a_subclass_may_keep_anything_in_the_attribute():
    class Lazy(asyncio.Event):
        def forget(self):
            self._value = None

    async def main():
        event = Lazy()
        event.set()
        event.forget()
        event.set()
        return event.is_set(), told(event)

    assert run(main).value == (True, [("set", "Task-1")])


def test_instances_have_the_attributes_they_always_had():
    async def main():
        lock, copied = asyncio.Lock(), copy.copy(asyncio.Lock())
        await lock.acquire()
        return vars(lock), vars(copied), hasattr(lock, "_locked")

    noted = run(main).value
    assert noted == execute(main, resolve(RUN_DEFAULTS), record=False).value
    assert noted == asyncio.run(main())


def test_notes_keep_nothing_alive():
    async def main():
        refs = []
        for make in (asyncio.Lock, asyncio.Queue, asyncio.Event, asyncio.get_running_loop().create_future):
            made = make()
            refs.append(weakref.ref(made))
            del made
        return [ref() for ref in refs]

    assert run(main).value == [None] * 4


def test_a_new_object_in_the_place_of_a_dead_one_knows_nothing_of_it():
    async def main():
        for _ in range(50):
            lock = asyncio.Lock()
            assert noting.touches(lock) == ()
            await lock.acquire()
            del lock

    run(main)


def test_a_program_may_put_its_own_into_the_classes_meanwhile(tidy):
    mine = property(lambda self: 7)

    async def main():
        asyncio.TaskGroup._entered = mine

    try:
        run(main)
        assert vars(asyncio.TaskGroup)["_entered"] is mine
    finally:
        del asyncio.TaskGroup._entered
    assert fingerprint() == tidy


@pytest.mark.parametrize("options", [{}, {"seed": 3}, {"seed": 4, "interleave": "tasks"}], ids=str)
def test_the_run_is_the_same_with_and_without_notes(options, monkeypatch):
    async def main():
        queue, lock, condition = asyncio.Queue(2), asyncio.Lock(), asyncio.Condition()
        log = []

        async def work(name):
            for step in range(4):
                async with lock:
                    await queue.put((name, step))
                async with condition:
                    condition.notify_all()
                    log.append(await queue.get())

        async with asyncio.TaskGroup() as group:
            for name in "abc":
                group.create_task(work(name))
        return log

    def seen():
        outcome = run(main, **options)
        return outcome.value, outcome.indices, outcome.steps, outcome.recording.digest()

    noted = seen()
    monkeypatch.setattr(run_module, "noted", lambda notes: contextlib.nullcontext())
    assert seen() == noted


def test_cpython_writes_and_looks_up_what_is_watched():
    """The contract with CPython: a name that is gone would make reports poorer without a word."""

    async def main():
        made = [
            *(asyncio.Lock(), asyncio.Event(), asyncio.Semaphore(), asyncio.Queue(), asyncio.Barrier(1)),
            *(asyncio.Condition(), asyncio.TaskGroup(), asyncio.timeout(1)),
        ]
        return {type(one): vars(one) for one in made}

    attributes = asyncio.run(main())
    assert [(cls, name) for cls, name, *_ in (*COUNTED, *STATES) if name not in attributes[cls]] == []
    assert [(cls, name) for cls, name, _ in LOOKED_UP if not hasattr(cls, name)] == []
