"""Suspicions about the order of locks: found in runs that go well, and never where no deadlock can come of it."""

from __future__ import annotations

import asyncio
import json
import warnings

import pytest

import vtloop
from vtloop import noting
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import execute
from vtloop.tasks import Task

SEEDS = 12


def warned(main, **options):
    outcome = execute(main, resolve(RUN_DEFAULTS, **options))
    if isinstance(outcome.error, vtloop.DeadlockError):
        assert not outcome.warnings, "the verdict says it all"
        return None
    if outcome.error is not None:
        raise outcome.error
    assert {one.kind for one in outcome.warnings} <= {"lock order"}
    return outcome.warnings


async def both(first, second, between=0.1):
    async with first:
        await asyncio.sleep(between)
        async with second:
            await asyncio.sleep(between)


# -- suspicions --------------------------------------------------------------------------------------------------------


async def two_orders():
    accounts = asyncio.Lock()
    audit = asyncio.Lock()

    async def transfer():
        async with accounts:
            await asyncio.sleep(1)
            async with audit:
                await asyncio.sleep(1)

    async def report():
        await asyncio.sleep(10)
        async with audit:
            async with accounts:
                await asyncio.sleep(1)

    await asyncio.gather(transfer(), report())


def test_the_text_names_locks_functions_and_lines_and_is_worded_as_a_suspicion():
    [one] = warned(two_orders)
    first = two_orders.__code__.co_firstlineno
    assert one.text.replace(__file__, "app.py").replace("tests/test_lock_order.py", "app.py") == (
        "locks accounts and audit were taken in both orders: "
        f"transfer (app.py:{first + 7}) takes audit while holding accounts, "
        f"report (app.py:{first + 13}) takes accounts while holding audit; "
        "two tasks doing so at once would deadlock"
    )
    assert one.report.startswith("suspicion: ")
    assert "This run went well" in one.report
    assert all(len(line) <= 160 for line in one.report.splitlines())


def test_the_data_tell_the_same_and_are_ready_for_json():
    [one] = warned(two_orders)
    told = json.loads(json.dumps(one.to_dict()))
    assert told["warning"] == "lock order"
    assert [lock["name"] for lock in told["locks"]] == ["accounts", "audit"]
    assert all(lock["made"].startswith("Lock made at ") for lock in told["locks"])
    assert [(step["task"], step["takes"], step["holding"]) for step in told["steps"]] == [
        ("Task-2", "audit", "accounts"),
        ("Task-3", "accounts", "audit"),
    ]


def test_vtloop_run_warns_and_returns():
    async def main():
        await two_orders()
        return 5

    with pytest.warns(vtloop.VtloopWarning, match="locks accounts and audit were taken in both orders"):
        assert vtloop.run(main) == 5


def test_an_exploration_looks_at_its_first_run_alone():
    with pytest.warns(vtloop.VtloopWarning, match="suspicion: locks") as caught:
        vtloop.explore(two_orders, runs=20, exact_time=True, interleave="timing")
    assert len(caught) == 1


def test_what_comes_true_in_an_exploration_is_not_suspected_besides():
    async def main():
        a, b = asyncio.Lock(), asyncio.Lock()
        await asyncio.gather(both(a, b, 0), both(b, a, 0.001))

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = vtloop.explore(main)
    assert isinstance(found.failure.error, vtloop.DeadlockError)
    assert found.warnings == []


def test_a_circle_of_three_is_one_suspicion_and_alike_locks_are_numbered():
    async def main():
        forks = [asyncio.Lock() for _ in range(3)]

        async def eat(seat):
            await asyncio.sleep(seat)
            await both(forks[seat], forks[(seat + 1) % 3])

        async with asyncio.TaskGroup() as group:
            for seat in range(3):
                group.create_task(eat(seat), name=f"seat {seat}")

    [one] = warned(main)
    assert one.text.startswith("locks forks#1, forks#2 and forks#3 were taken in a circle of orders: both (")
    assert one.text.endswith("; three tasks doing so at once would deadlock")
    assert [step["task"] for step in one.data["steps"]] == ["seat 0", "seat 1", "seat 2"]


def test_names_come_from_the_lines_that_make_or_else_take_the_locks():
    early = asyncio.Lock()

    async def main():
        a, b = asyncio.Lock(), asyncio.Lock()
        by_name = {"x": asyncio.Lock(), "y": asyncio.Lock()}

        class Account:
            def __init__(self):
                self.lock = asyncio.Lock()

        async def hold(first, second, after):
            await asyncio.sleep(after)
            await both(first, second)

        async def own(after):
            await asyncio.sleep(after)
            async with early, a:
                await asyncio.sleep(1)

        async def late(after):
            await asyncio.sleep(after)
            async with a:
                await asyncio.sleep(1)
                async with early:
                    pass

        accounts = Account().lock, Account().lock
        await asyncio.gather(hold(a, b, 0), hold(b, a, 5))
        await asyncio.gather(hold(*by_name.values(), 0), hold(*reversed(by_name.values()), 5))
        await asyncio.gather(hold(*accounts, 0), hold(*reversed(accounts), 5))
        await asyncio.gather(own(0), late(5))

    found = [[lock["name"] for lock in one.data["locks"]] for one in warned(main)]
    assert found[0] == ["a", "b"]
    # The same lines of `both` take all of them: told once.
    assert len(found) == 2
    assert found[1] == ["a", "early"]


def test_a_lock_taken_by_hand_and_a_conditions_lock_count():
    async def main():
        lock, condition = asyncio.Lock(), asyncio.Condition()

        async def one():
            await lock.acquire()
            await asyncio.sleep(1)
            async with condition:
                pass
            lock.release()

        async def other():
            await asyncio.sleep(5)
            async with condition:
                await lock.acquire()
                lock.release()

        await asyncio.gather(one(), other())

    [one] = warned(main)
    assert [lock["name"] for lock in one.data["locks"]] == ["lock", "condition"]


def test_workers_that_live_on_are_suspected_whoever_came_first():
    async def main():
        a, b, jobs = asyncio.Lock(), asyncio.Lock(), asyncio.Queue()

        async def worker(first, second):
            while True:
                await jobs.get()
                await both(first, second)
                jobs.task_done()

        workers = [asyncio.create_task(worker(a, b)), asyncio.create_task(worker(b, a))]
        for _ in range(4):
            jobs.put_nowait(1)
            await asyncio.sleep(10)
        await jobs.join()
        for one in workers:
            one.cancel()

    assert len(warned(main)) == 1


def test_a_lock_that_was_waited_for_is_no_order():
    """That `second` got the lock when `first` let it go says nothing: it may have come first."""

    async def main():
        a, b = asyncio.Lock(), asyncio.Lock()

        async def first():
            async with a:
                async with b:
                    await asyncio.sleep(1)

        async def second():
            async with b:
                async with a:
                    await asyncio.sleep(1)

        await asyncio.gather(first(), second())

    [one] = warned(main)
    # Two alone take both locks in one go: it takes a third, that waits for the first lock of one of them.
    assert one.text.endswith("; three tasks doing so at once could deadlock")


# -- healthy programs --------------------------------------------------------------------------------------------------


async def ordered_by_key():
    locks = [asyncio.Lock() for _ in range(4)]

    async def transfer(one, other):
        low, high = sorted((one, other))
        await both(locks[low], locks[high])

    await asyncio.gather(*(transfer(one, other) for one in range(4) for other in range(4) if one != other))


async def hand_over_hand():
    locks = [asyncio.Lock() for _ in range(5)]

    async def walk():
        await locks[0].acquire()
        for here, there in zip(locks, locks[1:], strict=False):
            await there.acquire()
            await asyncio.sleep(0.1)
            here.release()
        locks[-1].release()

    await asyncio.gather(*(walk() for _ in range(4)))


async def a_gate_around_both():
    a, b, gate = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()

    async def through(first, second, after):
        await asyncio.sleep(after)
        async with gate:
            await both(first, second)

    await asyncio.gather(through(a, b, 0), through(b, a, 5))


async def a_gate_of_one_permit():
    a, b, gate = asyncio.Lock(), asyncio.Lock(), asyncio.BoundedSemaphore(1)

    async def through(first, second):
        async with gate:
            await both(first, second)

    await asyncio.gather(through(a, b), through(b, a))


async def a_butler_keeps_one_seat_free():
    forks, seats = [asyncio.Lock() for _ in range(4)], asyncio.Semaphore(3)

    async def eat(seat):
        for _ in range(2):
            async with seats:
                await both(forks[seat], forks[(seat + 1) % 4])

    await asyncio.gather(*map(eat, range(4)))


async def one_philosopher_is_left_handed():
    forks = [asyncio.Lock() for _ in range(4)]
    pairs = [(0, 1), (1, 2), (2, 3), (0, 3)]
    await asyncio.gather(*(both(forks[one], forks[other]) for one, other in pairs for _ in range(2)))


async def phases_of_tasks():
    a, b = asyncio.Lock(), asyncio.Lock()
    await asyncio.gather(both(a, b), both(a, b))
    await asyncio.gather(both(b, a), both(b, a))


async def phases_of_groups():
    a, b = asyncio.Lock(), asyncio.Lock()
    for first, second in ((a, b), (b, a)):
        async with asyncio.TaskGroup() as group:
            for _ in range(3):
                group.create_task(both(first, second))
            await asyncio.sleep(10)  # all are done when the group is left


async def phases_by_main_itself():
    a, b = asyncio.Lock(), asyncio.Lock()
    task = asyncio.create_task(both(a, b))
    await asyncio.sleep(5)
    await task
    await both(b, a)


async def one_task_alone():
    a, b = asyncio.Lock(), asyncio.Lock()
    await both(a, b)
    await both(b, a)


def signalled(make, send, receive):
    """A program whose second phase begins when the first says so, and may find it said already."""

    async def main():
        for late in (0, 5):
            a, b, signal = asyncio.Lock(), asyncio.Lock(), make()

            async def first(a=a, b=b, signal=signal):
                await both(a, b)
                await send(signal)

            async def second(a=a, b=b, signal=signal, late=late):
                await asyncio.sleep(late)
                await receive(signal)
                await both(b, a)

            await asyncio.gather(first(), second())

    return main


def future():
    return asyncio.get_running_loop().create_future()


async def set_it(signal):
    signal.set()


async def set_later(signal):
    asyncio.get_running_loop().call_later(1, signal.set)


async def put(signal):
    await signal.put(1)


def a_full_queue():
    queue = asyncio.Queue()
    queue.put_nowait(1)
    return queue


async def task_done(signal):
    signal.get_nowait()
    signal.task_done()


async def set_by_a_thread(signal):
    loop = asyncio.get_running_loop()
    await asyncio.to_thread(loop.call_soon_threadsafe, signal.set)


async def set_by_a_thread_alone(signal):
    loop = asyncio.get_running_loop()
    loop.run_in_executor(None, loop.call_soon_threadsafe, signal.set)


async def release(signal):
    signal.release()


async def resolve_it(signal):
    signal.set_result(1)


async def tell(condition):
    async with condition:
        condition.told = True
        condition.notify_all()


async def hear(condition):
    async with condition:
        await condition.wait_for(lambda: getattr(condition, "told", False))


async def pass_through(barrier):
    await barrier.wait()


async def wait_for(signal):
    await signal


BY_SIGNAL = {
    "event": signalled(asyncio.Event, set_it, asyncio.Event.wait),
    "event set by a timer": signalled(asyncio.Event, set_later, asyncio.Event.wait),
    "event set by a thread": signalled(asyncio.Event, set_by_a_thread, asyncio.Event.wait),
    "event set by a thread alone": signalled(asyncio.Event, set_by_a_thread_alone, asyncio.Event.wait),
    "queue": signalled(asyncio.Queue, put, asyncio.Queue.get),
    "join": signalled(a_full_queue, task_done, asyncio.Queue.join),
    "semaphore": signalled(lambda: asyncio.Semaphore(0), release, asyncio.Semaphore.acquire),
    "future": signalled(future, resolve_it, wait_for),
    "condition": signalled(asyncio.Condition, tell, hear),
    "barrier": signalled(lambda: asyncio.Barrier(2), pass_through, pass_through),
}


async def the_other_task_is_awaited():
    a, b = asyncio.Lock(), asyncio.Lock()
    before = asyncio.create_task(both(a, b))

    async def after(ask):
        await asyncio.sleep(5)
        await ask()
        await both(b, a)

    async def awaits():
        await before

    async def polls():
        while not before.done():
            await asyncio.sleep(1)

    async def gathers():
        await asyncio.gather(before, return_exceptions=True)

    async def waits():
        await asyncio.wait([before])

    for ask in (awaits, polls, gathers, waits):
        await asyncio.create_task(after(ask))
        before = asyncio.create_task(both(a, b))
    await before


async def a_lock_handed_from_task_to_task():
    a, b, baton = asyncio.Lock(), asyncio.Lock(), asyncio.Lock()
    await baton.acquire()

    async def first():
        await both(a, b)
        baton.release()

    async def second():
        await asyncio.sleep(5)
        async with baton:
            pass
        await both(b, a)

    await asyncio.gather(first(), second())


async def the_other_polls_a_flag():
    a, b, done = asyncio.Lock(), asyncio.Lock(), []

    async def first():
        await both(a, b)
        done.append(1)

    async def second(pause):
        while not done:
            await asyncio.sleep(pause)
        await both(b, a)

    for pause in (0.01, 0):
        done.clear()
        await asyncio.gather(first(), second(pause))


async def one_only_tries():
    a, b = asyncio.Lock(), asyncio.Lock()

    async def tries():
        async with a:
            await asyncio.sleep(0.1)
            if not b.locked():
                async with b:
                    await asyncio.sleep(0.1)

    async def takes():
        await asyncio.sleep(5)
        await both(b, a)

    await asyncio.gather(tries(), takes())


async def one_gives_up_in_time():
    a, b = asyncio.Lock(), asyncio.Lock()

    async def patient(after):
        await asyncio.sleep(after)
        async with a:
            await asyncio.sleep(0.1)
            async with asyncio.timeout(3):
                async with b:
                    await asyncio.sleep(0.1)

    async def takes():
        await asyncio.sleep(5)
        await both(b, a)

    await asyncio.gather(patient(0), takes())


async def nobody_waits_between_the_two():
    a, b = asyncio.Lock(), asyncio.Lock()

    async def at_once(first, second):
        for _ in range(3):
            async with first, second:
                pass
            await asyncio.sleep(0.1)

    await asyncio.gather(at_once(a, b), at_once(b, a))


async def one_made_after_the_other_ended():
    a, b = asyncio.Lock(), asyncio.Lock()

    async def nursery():
        asyncio.create_task(both(a, b))
        await asyncio.sleep(5)
        later = asyncio.create_task(both(b, a))
        await later

    await nursery()


async def many_tasks_under_one_order():
    registry, locks = asyncio.Lock(), [asyncio.Lock() for _ in range(10)]

    async def work(number):
        async with registry:
            lock = locks[number % 10]
            async with lock:
                await asyncio.sleep(0)
        async with lock:
            await asyncio.sleep(0)

    await asyncio.gather(*map(work, range(60)))


HEALTHY = (
    *(ordered_by_key, hand_over_hand, a_gate_around_both, a_gate_of_one_permit, a_butler_keeps_one_seat_free),
    *(one_philosopher_is_left_handed, phases_of_tasks, phases_of_groups, phases_by_main_itself, one_task_alone),
    *(
        the_other_task_is_awaited,
        a_lock_handed_from_task_to_task,
        the_other_polls_a_flag,
        one_only_tries,
        one_gives_up_in_time,
    ),
    *(nobody_waits_between_the_two, one_made_after_the_other_ended, many_tasks_under_one_order),
)


def never_warns(main):
    assert warned(main) == []
    for seed in range(SEEDS):
        for level in ("timing", "wakeups", "tasks"):
            assert not warned(main, seed=seed, interleave=level, lag=0.05 if seed % 2 else 0.0)


@pytest.mark.parametrize("main", HEALTHY, ids=lambda main: main.__name__)
def test_nothing_is_suspected_of(main):
    never_warns(main)


@pytest.mark.parametrize("signal", BY_SIGNAL)
def test_nothing_is_suspected_of_phases_by(signal):
    never_warns(BY_SIGNAL[signal])


def test_eager_tasks_are_in_doubt_and_not_suspected():
    async def main():
        if hasattr(asyncio, "eager_task_factory"):
            asyncio.get_running_loop().set_task_factory(asyncio.eager_task_factory)
        await phases_of_tasks()
        await phases_of_groups()

    never_warns(main)


def test_a_run_that_fails_otherwise_is_not_judged():
    async def main():
        await two_orders()
        raise ValueError("otherwise")

    outcome = execute(main, resolve(RUN_DEFAULTS))
    assert isinstance(outcome.error, ValueError)
    assert outcome.warnings == []


def test_the_same_seed_suspects_the_same():
    def texts(seed):
        return [str(one) for one in warned(two_orders, seed=seed) or ()]

    assert [texts(seed) for seed in range(5)] == [texts(seed) for seed in range(5)]


def test_what_watches_the_order_is_gone_after_the_run(monkeypatch):
    monkeypatch.setattr(noting._table, "switches", 1000)
    noting._take_out()

    async def main():
        await two_orders()
        return "done" in vars(Task)

    before = dict(vars(Task)), dict(vars(asyncio.Event)), dict(vars(asyncio.Queue))
    assert execute(main, resolve(RUN_DEFAULTS)).value
    assert before == (dict(vars(Task)), dict(vars(asyncio.Event)), dict(vars(asyncio.Queue)))


def test_locks_taken_in_a_great_many_ways_are_judged_within_bounds():
    async def main():
        locks = [asyncio.Lock() for _ in range(40)]

        async def work(number):
            for step in range(10):
                await both(locks[(number + step) % 40], locks[(number + step * 3 + 1) % 40], 0)

        await work(1)
        await asyncio.gather(*(both(locks[low], locks[high]) for low in range(39) for high in range(low + 1, 40)))

    assert warned(main) == []
