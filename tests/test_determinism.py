"""One seed, one run: in thirty processes, after any history, whatever the garbage collector and the allocator do."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import determinism_program
import pytest
from determinism_program import PARTS, RUNS, digest

import vtloop
from vtloop import idle
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.run import execute

ROOT = Path(vtloop.__file__).parents[1]
PROGRAM = Path(determinism_program.__file__)

runs = pytest.mark.parametrize("options", RUNS, ids=lambda options: ",".join(map(str, options.values())) or "fifo")


# -- other processes -------------------------------------------------------------------------------------------------


def in_a_fresh_process(number):
    env = dict(os.environ, PYTHONPATH=str(ROOT), PYTHONHASHSEED=str(number) if number % 10 else "random")
    if number % 3 == 0:
        env["PYTHONMALLOC"] = "malloc"  # another allocator: other addresses, other moments of collection
    command = [sys.executable, str(PROGRAM), str(number * 1013)]
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return json.loads(done.stdout)


@pytest.mark.slow
def test_thirty_fresh_processes_with_different_hash_seeds_make_the_same_runs():
    here = [digest(options) for options in RUNS]
    with ThreadPoolExecutor(2) as pool:
        for there in pool.map(in_a_fresh_process, range(30)):
            assert there == here


# -- the same process ------------------------------------------------------------------------------------------------


@runs
def test_a_run_is_the_same_after_any_history(options):
    first = digest(options)
    unrelated = [{number: object()} for number in range(5000)]
    # Other loops, ours and not, whose tasks are alive and have the same numbers and names.
    loops = [vtloop.EventLoop(), vtloop.EventLoop(seed=9), asyncio.new_event_loop()]
    alive = [loop.create_task(asyncio.sleep(0)) for loop in loops for _ in range(40)]
    try:
        assert digest(options) == first
        del unrelated
        gc.collect()
        assert digest(options) == first
    finally:
        for loop in loops:
            loop.run_until_complete(asyncio.gather(*(task for task in alive if task.get_loop() is loop)))
            loop.close()
    assert digest(options) == first


@runs
def test_a_run_does_not_feel_the_garbage_collector(options):
    first = digest(options)
    before = gc.get_threshold()
    try:
        gc.set_threshold(1, 1, 1)
        assert digest(options) == first
        assert gc.isenabled()
        gc.disable()
        assert digest(options) == first
        assert not gc.isenabled()
    finally:
        gc.enable()
        gc.set_threshold(*before)


@runs
def test_a_run_is_the_same_in_another_thread(options):
    found = []
    thread = threading.Thread(target=lambda: found.append(digest(options)))
    thread.start()
    thread.join()
    assert found == [digest(options)]


@runs
def test_recording_a_run_does_not_change_it(options):
    def bare():
        determinism_program.log.clear()
        determinism_program.kept.clear()
        outcome = execute(determinism_program.everything, resolve(RUN_DEFAULTS, **options), record=False)
        return [outcome.check, outcome.time_ns, repr(determinism_program.log)]

    assert bare() == digest(options)[1:] or not options  # asyncio's own order notes no choice unless it is recorded
    assert bare()[1:] == digest(options)[2:]


def test_different_seeds_make_different_runs():
    digests = {digest({"seed": seed, "interleave": "tasks"})[0] for seed in range(10)}
    assert len(digests) == 10


@pytest.mark.parametrize("part", PARTS, ids=lambda part: part.__name__)
@pytest.mark.parametrize("level", ["timing", "wakeups", "tasks"])
def test_each_part_of_asyncio_alone_is_the_same_in_every_run(part, level):
    seen = set()
    for _ in range(6):
        unrelated = [object() for _ in range(len(seen) * 777 + 123)]
        determinism_program.log.clear()
        outcome = execute(part, resolve(RUN_DEFAULTS, seed=11, interleave=level, lag=0.3))
        assert outcome.error is None
        seen.add((outcome.recording.digest(), outcome.check, repr(determinism_program.log)))
        del unrelated
    assert len(seen) == 1


# -- tasks -----------------------------------------------------------------------------------------------------------


def test_tasks_are_named_and_hashed_by_each_loop_from_one():
    async def main():
        tasks = [asyncio.create_task(asyncio.sleep(0)) for _ in range(3)]
        return [(task.get_name(), hash(task)) for task in [asyncio.current_task(), *tasks]]

    expected = [(f"Task-{number}", number) for number in range(1, 5)]
    assert vtloop.run(main) == expected
    assert vtloop.run(main, seed=1) == expected


def test_tasks_of_two_loops_with_one_number_are_not_equal():
    with vtloop.EventLoop() as one, vtloop.EventLoop() as other:
        a, b = (loop.create_task(asyncio.sleep(0)) for loop in (one, other))
        assert hash(a) == hash(b)
        assert a != b
        assert len({a, b}) == 2
        one.run_until_complete(a)
        other.run_until_complete(b)


@pytest.mark.parametrize("seed", [None, 1])
def test_a_pending_task_that_nobody_refers_to_is_not_destroyed(seed, caplog):
    log = []

    async def ring():
        waiter = asyncio.get_running_loop().create_future()
        waiter.ring = waiter  # nothing but this ring keeps the future, and with it the task
        try:
            await waiter
        finally:
            log.append("cancelled when the run ended")

    async def main():
        for _ in range(10):
            asyncio.create_task(ring())
        for _ in range(5):
            await asyncio.sleep(1)
            gc.collect()
        log.append("main ends")

    vtloop.run(main, seed=seed)
    assert log == ["main ends"] + ["cancelled when the run ended"] * 10
    gc.collect()
    assert caplog.records == []


def test_async_generators_dropped_in_a_run_are_closed_at_the_same_step_every_time():
    async def main():
        log = []

        async def numbers(name):
            try:
                yield 1
            finally:
                log.append(name)

        async def user(name):
            async for _ in numbers(name):
                ring = [name]
                ring.append(ring)
                await asyncio.sleep(0)
                break
            await asyncio.sleep(1)

        await asyncio.gather(*(user(name) for name in "abcdefgh"))
        return tuple(log)

    for seed in (None, 1, 2):
        seen = set()
        for noise in range(10):
            kept = [[] for _ in range(noise * 500)]
            seen.add(vtloop.run(main, seed=seed))
            del kept
        assert len(seen) == 1
        assert sorted(seen.pop()) == list("abcdefgh")


# -- garbage ---------------------------------------------------------------------------------------------------------


class Ring:
    """Cyclic garbage that tells when it is collected."""

    def __init__(self, tell):
        self.own = self
        self.tell = tell

    def __del__(self):
        self.tell("collected")


@pytest.fixture()
def eager_collector():
    before = gc.get_threshold()
    gc.set_threshold(5, 1, 1)
    yield
    gc.set_threshold(*before)


@pytest.mark.parametrize("seed", [None, 1])
def test_no_garbage_is_collected_in_the_middle_of_a_run(eager_collector, seed):
    log = []

    async def main():
        for _ in range(20):
            Ring(log.append)
            await asyncio.sleep(1)
        log.append("main ends")

    vtloop.run(main, seed=seed)
    gc.collect()
    assert log == ["main ends"] + ["collected"] * 20


@pytest.mark.parametrize("seed", [None, 1])
def test_a_long_run_collects_at_the_same_steps_every_time(eager_collector, monkeypatch, seed):
    monkeypatch.setattr(idle, "GC_STEPS", 50)
    monkeypatch.setattr(vtloop.EventLoop, "_collect_at", 50)

    async def main():
        loop = asyncio.get_running_loop()
        times = []
        for _ in range(100):
            Ring(lambda _: times.append(loop.time()))
            await asyncio.sleep(1)
        return tuple(times)

    seen = set()
    for noise in range(4):
        kept = [[] for _ in range(noise * 300)]
        seen.add(vtloop.run(main, seed=seed))
        del kept
    assert len(seen) == 1
    assert len(set(seen.pop())) > 1
