"""Who could still wake it: every rule of reachability, each by a small program that would be judged wrongly without it.

Each program ends by asking; what it says is held against what is true.
"""

import asyncio
import contextlib
import contextvars
import functools
import gc
import sys
import threading
import warnings
import weakref
from collections import deque

import pytest

import vtloop
from vtloop.diagnosis import heap
from vtloop.diagnosis.reach import reach

KEPT: dict = {}
CAN_BE_EAGER = sys.version_info >= (3, 12)


@pytest.fixture(autouse=True)
def nothing_kept():
    KEPT.clear()
    yield
    KEPT.clear()


async def said():
    """What is said of each task but the caller, by name, once all stands still."""
    await asyncio.sleep(0.01)
    found = reach(asyncio.get_running_loop())
    tiers = {task.get_name(): found.of(task) for task in asyncio.all_tasks()}
    return {name: tier for name, tier in sorted(tiers.items()) if not name.startswith("Task-")}


def start(coroutine, name):
    asyncio.create_task(coroutine, name=name)


def run(main, **options):
    return vtloop.run(main, leaks="allow", **options)


def judged(main):
    """The same in every kind of run."""
    found = run(main)
    for options in ({"seed": 1}, {"seed": 2, "interleave": "tasks"}, {"blocking": "allow"}):
        assert run(main, **options) == found
    with asyncio.Runner(loop_factory=vtloop.EventLoop) as runner:
        assert runner.run(main()) == found
    return found


# -- what nobody can wake --------------------------------------------------------------------------------------------


async def waits(thing):
    await thing.wait()


def test_a_task_whose_event_nobody_has_is_stuck():
    async def main():
        start(waits(asyncio.Event()), "one")
        return await said()

    assert judged(main) == {"one": "stuck"}


def test_a_task_whose_task_object_somebody_has_can_be_cancelled():
    async def main():
        task = asyncio.create_task(waits(asyncio.Event()), name="one")
        found = await said()
        return found if not task.done() else None

    assert judged(main) == {"one": "cancel"}


def test_a_task_whose_event_is_in_a_live_variable_is_alive():
    async def main():
        event = asyncio.Event()
        start(waits(event), "one")
        found = await said()
        return found if not event.is_set() else None

    assert judged(main) == {"one": "live"}


def test_a_task_that_waits_for_a_stuck_one_is_stuck_as_well():
    async def ask(event):
        await asyncio.create_task(waits(event), name="inner")

    async def main():
        start(ask(asyncio.Event()), "outer")
        return await said()

    assert judged(main) == {"inner": "stuck", "outer": "stuck"}


def test_two_that_wait_for_each_others_events_are_stuck():
    async def one(mine, other):
        await mine.wait()
        other.set()

    async def main():
        a, b = asyncio.Event(), asyncio.Event()
        start(one(a, b), "a")
        start(one(b, a), "b")
        del a, b
        return await said()

    assert judged(main) == {"a": "stuck", "b": "stuck"}


def test_a_queue_without_a_producer_and_one_with():
    async def consume(queue):
        await queue.get()

    async def produce(queue):
        await asyncio.sleep(5)
        queue.put_nowait(1)

    async def main():
        start(consume(asyncio.Queue()), "starved")
        queue = asyncio.Queue()
        start(consume(queue), "fed")
        start(produce(queue), "producer")
        del queue
        return await said()

    assert judged(main) == {"fed": "live", "producer": "live", "starved": "stuck"}


def test_a_producer_that_failed_wakes_nobody_though_its_traceback_has_the_queue():
    async def consume(queue):
        await queue.get()

    async def produce(queue):
        raise ValueError(len(str(queue)))

    async def main():
        asyncio.get_running_loop().set_exception_handler(lambda loop, context: None)
        queue = asyncio.Queue()
        start(consume(queue), "consumer")
        start(produce(queue), "producer")
        del queue
        return await said()

    with contextlib.suppress(ValueError):
        assert run(main) == {"consumer": "stuck"}
    loop = vtloop.EventLoop()
    with loop:
        assert loop.run_until_complete(main()) == {"consumer": "stuck"}
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))


def test_a_taken_permit_that_nobody_gives_back():
    async def take(semaphore, hold):
        async with semaphore:
            await hold.wait()

    async def main():
        semaphore = asyncio.Semaphore(1)
        start(take(semaphore, asyncio.Event()), "holder")
        start(take(semaphore, asyncio.Event()), "waiter")
        del semaphore
        return await said()

    assert judged(main) == {"holder": "stuck", "waiter": "stuck"}


def test_a_condition_that_nobody_notifies_and_one_in_a_live_variable():
    async def wait(condition):
        async with condition:
            await condition.wait()

    async def main():
        start(wait(asyncio.Condition()), "lost")
        condition = asyncio.Condition()
        start(wait(condition), "kept")
        found = await said()
        return found if not condition.locked() else None

    assert judged(main) == {"kept": "live", "lost": "stuck"}


# -- locks -----------------------------------------------------------------------------------------------------------


async def both(first, second):
    async with first:
        await asyncio.sleep(0)
        async with second:
            pass


def test_locks_taken_in_two_orders_are_stuck_even_when_a_module_has_them():
    async def main():
        KEPT["a"], KEPT["b"] = asyncio.Lock(), asyncio.Lock()
        start(both(KEPT["a"], KEPT["b"]), "left")
        start(both(KEPT["b"], KEPT["a"]), "right")
        return await said()

    assert judged(main) == {"left": "stuck", "right": "stuck"}


def test_locks_older_than_the_run_are_judged_by_their_holders_as_well():
    a, b = asyncio.Lock(), asyncio.Lock()

    async def main():
        start(both(a, b), "left")
        start(both(b, a), "right")
        return await said()

    assert run(main) == {"left": "stuck", "right": "stuck"}
    assert not a.locked()  # the run is over, and has cancelled them


async def hold(lock, until):
    async with lock:
        await until()


async def a_while():
    await asyncio.sleep(5)


async def for_ever():
    await asyncio.Event().wait()


def test_who_waits_for_a_lock_is_as_alive_as_its_holder():
    async def main():
        KEPT["slept"], KEPT["lost"] = asyncio.Lock(), asyncio.Lock()
        start(hold(KEPT["slept"], a_while), "sleeper")
        start(hold(KEPT["lost"], for_ever), "stuck")
        await asyncio.sleep(0.001)
        start(hold(KEPT["slept"], a_while), "behind sleeper")
        start(hold(KEPT["lost"], a_while), "behind stuck")
        return await said()

    expected = {"behind sleeper": "live", "behind stuck": "stuck", "sleeper": "live", "stuck": "stuck"}
    assert judged(main) == expected


def test_who_waits_for_a_lock_whose_holder_can_be_cancelled_can_only_be_helped_by_that():
    async def main():
        KEPT["lock"] = asyncio.Lock()
        holder = asyncio.create_task(hold(KEPT["lock"], for_ever), name="holder")
        await asyncio.sleep(0.001)
        start(hold(KEPT["lock"], a_while), "behind")
        found = await said()
        return found if not holder.done() else None

    assert judged(main) == {"behind": "cancel", "holder": "cancel"}


def test_a_lock_taken_by_hand_could_be_released_by_whoever_has_it():
    async def take(lock):
        await lock.acquire()
        await asyncio.Event().wait()

    async def main():
        KEPT["lock"] = asyncio.Lock()
        start(take(KEPT["lock"]), "holder")
        await asyncio.sleep(0.001)
        start(hold(KEPT["lock"], a_while), "behind")
        return await said()

    assert judged(main) == {"behind": "live", "holder": "stuck"}


def test_a_lock_that_is_released_by_hand_for_another_task_frees_its_waiters():
    async def beat():
        while True:
            await asyncio.sleep(5)
            KEPT["lock"].release()

    async def main():
        KEPT["lock"] = asyncio.Lock()
        start(hold(KEPT["lock"], for_ever), "holder")
        start(hold(KEPT["lock"], a_while), "behind")
        start(beat(), "releaser")
        await asyncio.sleep(0.01)
        return [stuck.name for stuck in vtloop.stuck_tasks()]

    assert run(main) == ["holder"]


def test_who_gave_a_lock_away_to_wait_for_a_condition_does_not_hold_it():
    async def wait(condition):
        async with condition:
            await condition.wait()

    async def main():
        condition = KEPT["condition"] = asyncio.Condition()
        start(wait(condition), "notified by anybody")
        await asyncio.sleep(0)
        start(hold(condition, a_while), "holder")
        start(hold(condition, a_while), "behind")
        del condition
        return await said()

    assert judged(main) == {"behind": "live", "holder": "live", "notified by anybody": "live"}


# -- who else could wake ---------------------------------------------------------------------------------------------


def use_global(event):
    KEPT["event"] = event


def use_weak(event):
    """Live code finds it through a registry that does not keep it alive: its own waiter does."""
    registry = KEPT["registry"] = weakref.WeakValueDictionary()
    registry["event"] = event


def use_weak_set(event):
    KEPT["registry"] = weakref.WeakSet([event])


def use_proxy(event):
    KEPT["proxy"] = weakref.proxy(event)


def use_timer(event):
    asyncio.get_running_loop().call_later(5, event.set)


def use_closure(event):
    asyncio.get_running_loop().call_later(5, lambda: event.set())


def use_partial(event):
    asyncio.get_running_loop().call_later(5, functools.partial(asyncio.Event.set, event))


def use_done_callback(event):
    future = asyncio.get_running_loop().create_future()
    future.add_done_callback(lambda _: event.set())
    asyncio.get_running_loop().call_later(5, future.set_result, None)


def use_context(event):
    variable = contextvars.ContextVar("event")
    context = contextvars.copy_context()
    context.run(variable.set, event)
    asyncio.get_running_loop().create_task(asyncio.sleep(5), context=context)


def use_container(event):
    KEPT["deep"] = [{"x": deque([(event,)])}]


def use_exception(event):
    def fail():
        raise KeyError("its frame has the event", len(str(event)))

    try:
        fail()
    except KeyError as error:
        KEPT["error"] = error


def use_generator(event):
    def generate():
        yield 1
        event.set()

    KEPT["generator"] = generate()
    next(KEPT["generator"])


def use_async_generator(event):
    async def generate():
        yield 1
        event.set()

    async def iterate():
        async with contextlib.aclosing(generate()) as values:
            async for _ in values:
                await asyncio.sleep(5)

    asyncio.create_task(iterate())


def use_class(event):
    class Registry:
        current = event

    KEPT["class"] = Registry


def use_default(event):
    def later(event=event):
        event.set()

    KEPT["function"] = later


def use_executor(event):
    loop = asyncio.get_running_loop()
    loop.run_in_executor(None, loop.call_soon_threadsafe, event.set)


def use_finalizer(event):
    weakref.finalize(KEPT.setdefault("thing", threading.Event()), event.set)


def use_the_loop(event):
    asyncio.get_running_loop().registry = [event]


def use_exception_handler(event):
    asyncio.get_running_loop().set_exception_handler(lambda loop, context: event.set())


def use_advance(event):
    async def advance():
        await vtloop.advance(5)
        event.set()

    asyncio.create_task(advance())


def use_a_cell(event):
    async def outer():
        later = event

        async def inner():
            await asyncio.sleep(5)
            later.set()

        await inner()

    asyncio.create_task(outer())


WAYS = [value for name, value in sorted(vars().items()) if name.startswith("use_")]


@pytest.mark.parametrize("way", WAYS, ids=lambda way: way.__name__)
def test_whoever_has_the_event_in_any_way_can_set_it(way):
    async def main():
        event = asyncio.Event()
        way(event)
        start(waits(event), "one")
        del event
        await asyncio.sleep(0)
        found = reach(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return found.of(next(task for task in asyncio.all_tasks() if task.get_name() == "one"))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert run(main) == "live"
        assert run(main, seed=3) == "live"


def test_a_cancelled_timer_wakes_nobody():
    async def main():
        event = asyncio.Event()
        asyncio.get_running_loop().call_later(5, event.set).cancel()
        start(waits(event), "one")
        del event
        return await said()

    assert judged(main) == {"one": "stuck"}


def test_a_future_that_a_thread_holds_is_alive():
    release = threading.Event()

    async def main():
        future = asyncio.get_running_loop().create_future()

        async def wait(future):
            await future

        def work(future=future):
            release.wait()
            return future

        start(wait(future), "one")
        del future
        await asyncio.sleep(0)
        thread = threading.Thread(target=work)
        thread.start()
        found = reach(asyncio.get_running_loop())
        release.set()
        thread.join()
        return found.of(next(task for task in asyncio.all_tasks() if task.get_name() == "one"))

    loop = vtloop.EventLoop()
    with loop:
        assert loop.run_until_complete(main()) == "live"
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))


# -- cancels that are sure to come -----------------------------------------------------------------------------------


async def in_a_timeout(inside):
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(5):
            await inside()


async def in_wait_for(inside):
    with contextlib.suppress(TimeoutError):
        await asyncio.wait_for(inside(), 5)


async def gathered():
    await asyncio.gather(waits(asyncio.Event()), waits(asyncio.Event()))


async def grouped():
    async with asyncio.TaskGroup() as group:
        group.create_task(waits(asyncio.Event()))


async def in_the_body_of_a_group():
    async with asyncio.TaskGroup() as group:
        group.create_task(waits(asyncio.Event()))
        await asyncio.Event().wait()


async def in_a_task():
    await asyncio.create_task(waits(asyncio.Event()))


async def through_a_stack():
    async with contextlib.AsyncExitStack() as stack:
        group = await stack.enter_async_context(asyncio.TaskGroup())
        group.create_task(waits(asyncio.Event()))
        await asyncio.Event().wait()


async def through_a_context_manager():
    @contextlib.asynccontextmanager
    async def service():
        async with asyncio.TaskGroup() as group:
            group.create_task(waits(asyncio.Event()))
            yield

    async with service():
        await asyncio.Event().wait()


@pytest.mark.parametrize("limit", [in_a_timeout, in_wait_for])
@pytest.mark.parametrize(
    "inside",
    [gathered, grouped, in_the_body_of_a_group, in_a_task, through_a_stack, through_a_context_manager],
    ids=lambda inside: inside.__name__,
)
def test_a_timeout_around_it_cancels_all_that_it_waits_for(limit, inside):
    async def main():
        start(limit(inside), "outer")
        await asyncio.sleep(0.01)
        found = reach(asyncio.get_running_loop())
        return len(found.cancel), len(found.stuck)

    assert judged(main) == (0, 0)


def test_a_timer_that_cancels_a_task_is_no_mere_reference():
    async def main():
        task = asyncio.create_task(waits(asyncio.Event()), name="one")
        asyncio.get_running_loop().call_later(5, task.cancel)
        del task
        return await said()

    assert judged(main) == {"one": "live"}


def test_a_supervisor_that_only_holds_the_task_could_only_cancel_it():
    async def supervise(task):
        await asyncio.sleep(1000)
        task.cancel()

    async def main():
        start(supervise(asyncio.create_task(waits(asyncio.Event()), name="one")), "supervisor")
        return await said()

    assert judged(main) == {"one": "cancel", "supervisor": "live"}


def test_a_group_whose_one_child_is_asleep_may_still_fail_and_cancel_the_other():
    async def main():
        async def group():
            async with asyncio.TaskGroup() as group:
                group.create_task(waits(asyncio.Event()), name="child")
                group.create_task(a_while(), name="sleeper")

        start(group(), "group")
        return await said()

    assert judged(main) == {"child": "cancel", "group": "live", "sleeper": "live"}


def test_a_shield_passes_on_what_wakes_and_nothing_else():
    async def shielded(future):
        await asyncio.shield(future)

    async def main():
        loop = asyncio.get_running_loop()
        future, lost = loop.create_future(), loop.create_future()
        start(shielded(future), "kept")
        start(shielded(lost), "lost")
        loop.call_later(5, future.set_result, None)
        del future, lost
        return await said()

    assert judged(main) == {"kept": "live", "lost": "stuck"}


def test_wait_and_as_completed_are_alive_while_one_of_theirs_is():
    async def wait_for_all(*tasks):
        await asyncio.wait(tasks)

    async def main():
        start(wait_for_all(asyncio.create_task(asyncio.sleep(5)), asyncio.create_task(waits(asyncio.Event()))), "some")
        start(wait_for_all(asyncio.create_task(waits(asyncio.Event()))), "none")
        return await said()

    assert judged(main) == {"none": "stuck", "some": "live"}


def test_an_executor_call_wakes_who_waits_for_it():
    async def call():
        await asyncio.to_thread(len, "four")

    async def main():
        start(call(), "caller")
        await asyncio.sleep(0)
        return reach(asyncio.get_running_loop()).stuck, reach(asyncio.get_running_loop()).cancel

    assert run(main) == ((), ())


# -- code that goes through lists of tasks ---------------------------------------------------------------------------


def cancel_everything():
    for task in asyncio.all_tasks():
        task.cancel()


class Janitor:
    """Somebody who cancels whatever there is, in a method that only its class knows."""

    async def work(self):
        while True:
            await asyncio.sleep(100)
            self.sweep()

    def sweep(self):
        cancel_everything()


every = asyncio.all_tasks


async def by_another_name():
    while True:
        await asyncio.sleep(100)
        for task in every():
            task.cancel()


async def through_the_module():
    while True:
        await asyncio.sleep(100)
        for task in asyncio.tasks.all_tasks():
            task.cancel()


async def in_a_helper():
    while True:
        await asyncio.sleep(100)
        cancel_everything()


@pytest.mark.parametrize("reaper", [by_another_name, through_the_module, in_a_helper, Janitor().work])
def test_whoever_lists_all_tasks_could_cancel_them(reaper):
    async def main():
        start(waits(asyncio.Event()), "one")
        start(reaper(), "reaper")
        await asyncio.sleep(0.01)
        return [(stuck.name, stuck.tier) for stuck in vtloop.stuck_tasks()]

    assert run(main) == [("one", "only a cancel")]


def test_a_heartbeat_cancels_nobody():
    async def beat():
        while True:
            await asyncio.sleep(1)

    async def main():
        start(waits(asyncio.Event()), "one")
        start(beat(), "beat")
        await asyncio.sleep(0.01)
        return [(stuck.name, stuck.tier) for stuck in vtloop.stuck_tasks()]

    assert run(main) == [("one", "nobody")]


# -- the ground it stands on -----------------------------------------------------------------------------------------


@pytest.mark.skipif(not CAN_BE_EAGER, reason="eager tasks came with Python 3.12")
def test_eager_tasks_are_judged_as_others_are():
    async def main():
        asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        start(waits(asyncio.Event()), "lost")
        kept = asyncio.Event()
        start(waits(kept), "kept")
        found = await said()
        return found if not kept.is_set() else None

    assert judged(main) == {"kept": "live", "lost": "stuck"}


def test_a_loop_that_the_program_made_long_ago_hides_as_well_as_a_new_one():
    loop = vtloop.EventLoop()
    loop.run_until_complete(asyncio.sleep(1))
    gc.collect()

    async def main():
        start(waits(asyncio.Event()), "one")
        return await said()

    with loop:
        assert loop.run_until_complete(main()) == {"one": "stuck"}
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))


def test_a_task_older_than_the_last_full_collection_is_judged_with_what_it_has():
    loop = vtloop.EventLoop()

    async def begin():
        KEPT["event"] = asyncio.Event()
        start(waits(KEPT["event"]), "kept")
        start(waits(asyncio.Event()), "lost")
        await asyncio.sleep(0)

    with loop:
        loop.run_until_complete(begin())
        gc.collect()
        found = loop.run_until_complete(said())
        assert found["kept"] == "live"
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))


@pytest.mark.parametrize("name", [name for name in vtloop.__all__ if isinstance(getattr(vtloop, name), type)])
def test_nothing_that_programs_are_handed_is_taken_for_plumbing(name):
    kind = getattr(vtloop, name)
    assert heap.is_mute(kind) == (kind is vtloop.EventLoop)


def test_what_a_run_is_made_of_is_known_for_plumbing():
    async def main():
        loop = asyncio.get_running_loop()
        assert heap._strange(loop) == []
        parts = [loop._clock, loop._timers, loop._tasks, loop._line, loop._scheduler, loop._observer]
        return [type(part).__name__ for part in parts if part is not None and not heap.is_mute(type(part))]

    assert run(main) == []
    assert run(main, seed=1) == []


class Knot:
    pass


def test_each_reference_is_explained_once():
    """An object that only objects among themselves refer to is not held; one that a variable of ours refers to is."""

    def look():
        found = heap.Heap(heap.young_objects(None), asyncio.get_running_loop(), [])
        return list(map(heap.key_of, found.held((), [])))

    def tie():
        knot = Knot()
        knot.self, knot.list = knot, [knot, knot]
        knot.list.append({"knot": knot, "list": knot.list})
        key = heap.key_of(knot)
        assert key in look()
        return key

    async def main():
        key = tie()
        assert any(heap.key_of(thing) == key for thing in gc.get_objects() if type(thing) is Knot)
        young = heap.young_objects(None, collect=False)
        found = heap.Heap(young, asyncio.get_running_loop(), [])
        return key in found.objects, key in map(heap.key_of, found.held((), []))

    assert run(main) == (True, False)


def test_asking_changes_nothing():
    async def main():
        event = asyncio.Event()
        start(waits(event), "one")
        await asyncio.sleep(0.01)
        references = sys.getrefcount(event)
        for _ in range(3):
            reach(asyncio.get_running_loop())
        return sys.getrefcount(event) - references

    assert run(main) == 0
