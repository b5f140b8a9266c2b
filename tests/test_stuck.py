"""Main stuck while timers tick, under every door; what `stuck_tasks` says; and what the end of a run is told."""

import asyncio
import gc
import json
import random

import pytest

import vtloop
from vtloop import stalled
from vtloop.cli import main as command_line
from vtloop.idle import IdleRules
from vtloop.stuck import end_of_run

pytest_plugins = ["plugin_suite"]


def run(main, **options):
    return vtloop.run(main, leaks="allow", **options)


async def beat():
    while True:
        await asyncio.sleep(1)


def start(coroutine, name):
    asyncio.get_running_loop().create_task(coroutine, name=name)


async def stuck_main():
    start(beat(), "heartbeat")
    never = asyncio.Event()
    await never.wait()


def verdict_of(main, **options):
    with pytest.raises(vtloop.HangError) as caught:
        run(main, **options)
    assert not isinstance(caught.value, vtloop.DeadlockError)
    return caught.value


@pytest.fixture
def looked_at_soon(monkeypatch):
    monkeypatch.setattr(stalled, "FIRST_LOOK", 200)
    monkeypatch.setattr(IdleRules, "_look_at", 200)


# -- the verdict -----------------------------------------------------------------------------------------------------


def test_main_stuck_beside_a_heartbeat_is_a_hang_that_names_the_cause(looked_at_soon):
    error = verdict_of(stuck_main)
    assert "Task-1 (stuck_main) waits for Event never" in str(error)
    assert "timers still tick" in str(error)
    report = error.report()
    assert "1 of 2 tasks can never run again: nothing alive can wake or cancel it." in report
    assert "1 task still runs: heartbeat." in report
    assert len(report.splitlines()) <= 60
    told = error.to_dict()
    assert (told["verdict"], told["live"], told["cancel"], told["stuck"]) == ("hang", ["heartbeat"], [], ["Task-1"])
    json.dumps(told)


KINDS = [{}, {"seed": 3}, {"seed": 3, "scheduler": "pct:depth=3", "interleave": "tasks"}]


@pytest.mark.parametrize("options", KINDS, ids=str)
def test_it_comes_at_the_same_step_each_time_and_when_played_back(options, looked_at_soon):
    errors = [verdict_of(stuck_main, **options) for _ in range(2)]
    assert len({str(error) for error in errors}) == 1
    assert errors[0].to_dict()["step"] < 1_000
    token = errors[0].to_dict()["command"].partition("'")[2].partition("'")[0]
    with pytest.raises(vtloop.HangError) as again:
        vtloop.replay(token, stuck_main)
    assert (str(again.value), again.value.to_dict()["step"]) == (str(errors[0]), errors[0].to_dict()["step"])


@pytest.mark.slow
def test_it_comes_within_some_ten_thousand_steps():
    assert verdict_of(stuck_main).to_dict()["step"] < 30_000


@pytest.mark.slow
def test_an_exploration_finds_it_and_plays_it_back():
    found = vtloop.explore(stuck_main, runs=5)
    assert isinstance(found.failure.error, vtloop.HangError)
    assert "can never run again" in found.failure.error.report()


async def lost_answer():
    """A producer that failed: its consumer, main, waits beside a poller for ever."""

    async def produce(queue):
        await queue.put(1)
        raise ConnectionError

    start(beat(), "poller")
    queue = asyncio.Queue()
    start(produce(queue), "producer")
    while True:
        await queue.get()


async def half_of_all():
    """Two in each other's way, main behind them, three that work."""
    a, b = asyncio.Lock(), asyncio.Lock()

    async def both(first, second):
        async with first:
            await asyncio.sleep(1)
            async with second:
                pass

    for number in range(3):
        start(beat(), f"worker {number}")
    tasks = [asyncio.create_task(both(a, b), name="left"), asyncio.create_task(both(b, a), name="right")]
    await asyncio.gather(*tasks)


async def behind_callbacks():
    """No other task at all: only a timer that sets itself again."""
    loop = asyncio.get_running_loop()

    def tick():
        loop.call_later(1, tick)

    tick()
    await loop.create_future()


async def beside_polling():
    """Somebody polls with sleep(0), so the loop is never idle."""

    async def poll():
        while True:
            await asyncio.sleep(0)

    start(poll(), "poller")
    start(beat(), "heartbeat")
    await asyncio.Event().wait()


@pytest.mark.parametrize("main", [lost_answer, half_of_all, behind_callbacks, beside_polling])
def test_main_can_be_stuck_in_many_ways(main, looked_at_soon):
    try:
        error = verdict_of(main)
    except ConnectionError:
        raise AssertionError("the hang must come first") from None
    assert "can never run again" in error.report()


def test_a_partial_deadlock_is_told_with_its_numbers(looked_at_soon):
    error = verdict_of(half_of_all)
    assert "3 of 6 tasks can never run again" in error.report()
    assert "left waits for Lock" in str(error)


# -- no verdict ------------------------------------------------------------------------------------------------------


async def saved_late():
    start(beat(), "heartbeat")
    event = asyncio.Event()
    asyncio.get_running_loop().call_later(30_000, event.set)
    await event.wait()


async def saved_by_another_task():
    start(beat(), "heartbeat")
    event = asyncio.Event()

    async def later(event):
        for _ in range(30_000):
            await asyncio.sleep(1)
        event.set()

    start(later(event), "later")
    await event.wait()


async def saved_by_a_timeout():
    start(beat(), "heartbeat")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(30_000):
            await asyncio.Event().wait()


async def saved_by_a_reaper():
    async def reap():
        for _ in range(30_000):
            await asyncio.sleep(1)
        for task in asyncio.all_tasks():
            if task is not asyncio.current_task():
                task.cancel()

    start(reap(), "reaper")
    with pytest.raises(asyncio.CancelledError):
        await asyncio.Event().wait()
    asyncio.current_task().uncancel()


async def saved_by_an_exit():
    async def leave():
        await asyncio.sleep(30_000)
        raise SystemExit(3)

    start(beat(), "heartbeat")
    start(leave(), "leaver")
    await asyncio.Event().wait()


async def saved_by_advance():
    start(beat(), "heartbeat")
    await vtloop.advance(30_000)


@pytest.mark.slow
@pytest.mark.parametrize(
    "main", [saved_late, saved_by_another_task, saved_by_a_timeout, saved_by_a_reaper, saved_by_advance]
)
def test_main_that_something_could_still_save_is_waited_for(main):
    run(main)


@pytest.mark.slow
def test_main_that_an_exit_could_end_is_waited_for():
    with pytest.raises(SystemExit):
        run(saved_by_an_exit)


def test_a_spent_budget_tells_who_could_never_run_again():
    error = verdict_of(stuck_main, max_time=60)
    assert "note: 1 of 2 tasks can never run again: nothing alive can wake or cancel it (Task-1)" in error.report()


# -- every door ------------------------------------------------------------------------------------------------------


def test_a_runner_of_asyncio(looked_at_soon):
    with asyncio.Runner(loop_factory=vtloop.EventLoop) as runner, pytest.raises(vtloop.HangError, match="Event never"):
        runner.run(stuck_main())


def test_a_bare_loop(looked_at_soon):
    with vtloop.EventLoop() as loop, pytest.raises(vtloop.HangError, match="Event never"):
        loop.run_until_complete(stuck_main())


def test_the_command_line(tmp_path, capsys, monkeypatch, looked_at_soon):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "prog.py").write_text(
        "import asyncio\n"
        "async def beat():\n"
        "    while True:\n"
        "        await asyncio.sleep(1)\n"
        "async def main():\n"
        "    task = asyncio.create_task(beat())\n"
        "    never = asyncio.Event()\n"
        "    await never.wait()\n"
    )
    assert command_line(["run", "prog.py:main"]) == 1
    assert "can never run again" in capsys.readouterr().out


PROGRAM = """
    from vtloop import stalled
    from vtloop.idle import IdleRules
    stalled.FIRST_LOOK = IdleRules._look_at = 200

    async def beat():
        while True:
            await asyncio.sleep(1)

    async def body():
        task = asyncio.create_task(beat())
        never = asyncio.Event()
        await never.wait()

    @pytest.fixture(autouse=True)
    def back_again():
        yield
        stalled.FIRST_LOOK = IdleRules._look_at = 10_000
"""


@pytest.mark.slow
def test_pytest(suite):
    source = (
        PROGRAM
        + """
    @pytest.fixture
    async def service():
        yield asyncio.Event()

    @pytest.mark.vtloop
    async def test_one():
        await body()

    @pytest.mark.vtloop(runs=3)
    async def test_many(service):
        await body()
    """
    )
    result = suite(source, "-p", "no:randomly")
    result.assert_outcomes(failed=2)
    result.stdout.fnmatch_lines(["*HangError: hang at*Event never*"])


@pytest.mark.slow
def test_what_hangs_on_the_item_of_a_test_is_in_everybodys_reach(suite):
    source = (
        PROGRAM
        + """
    @pytest.mark.vtloop
    @pytest.mark.parametrize("where", ["node", "config", "session", "module"])
    async def test_one(request, where):
        task = asyncio.create_task(beat())
        holder = getattr(request, where)
        holder.event = event = asyncio.Event()

        async def late():
            await asyncio.sleep(2_000)
            holder.event.set()

        waker = asyncio.create_task(late())
        await event.wait()
        task.cancel()
    """
    )
    suite(source, "-p", "no:randomly").assert_outcomes(passed=4)


@pytest.mark.slow
def test_pytest_asyncio(suite):
    source = (
        PROGRAM
        + """
    @pytest.fixture(scope="session")
    def event_loop_policy():
        class Policy(asyncio.DefaultEventLoopPolicy):
            def new_event_loop(self):
                return vtloop.EventLoop()
        return Policy()

    @pytest.mark.asyncio
    async def test_one():
        await body()
    """
    )
    result = suite(source, "-W", "ignore", plugins=("asyncio",))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*HangError: hang at*"])


@pytest.mark.slow
def test_the_plugin_of_anyio(suite):
    source = (
        PROGRAM
        + """
    @pytest.fixture(params=[("asyncio", {"loop_factory": vtloop.EventLoop})])
    def anyio_backend(request):
        return request.param

    @pytest.mark.anyio
    async def test_one():
        await body()
    """
    )
    result = suite(source, "-W", "ignore", plugins=("anyio",))
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*HangError: hang at*"])


@pytest.mark.slow
def test_unittest(suite):
    source = (
        PROGRAM
        + """
    import sys, unittest

    class TestUnit(unittest.IsolatedAsyncioTestCase):
        loop_factory = vtloop.EventLoop          # 3.13

        if sys.version_info < (3, 13):           # earlier ones ignore it
            def _setupAsyncioRunner(self):
                self._asyncioRunner = asyncio.Runner(loop_factory=self.loop_factory)

        async def test_one(self):
            await body()
    """
    )
    result = suite(source, "-W", "ignore")
    result.assert_outcomes(failed=1)
    result.stdout.fnmatch_lines(["*HangError: hang at*"])


# -- stuck_tasks -----------------------------------------------------------------------------------------------------


def test_stuck_tasks_tells_who_waits_where_and_what_for():
    async def consume(queue):
        await queue.get()

    async def main():
        start(consume(asyncio.Queue()), "consumer")
        kept = asyncio.create_task(consume(asyncio.Queue()))
        await asyncio.sleep(1)
        found = vtloop.stuck_tasks()
        assert [one.task for one in found][1] is kept
        return [(str(one), one.to_dict()) for one in found]

    (first, facts), (second, _) = run(main)
    assert first == "consumer waits for Queue.get on queue (empty); nothing alive can wake or cancel it"
    assert second.endswith("; nothing alive can wake it, only cancel it")
    assert facts["place"].endswith("in consume") or "consume" in facts["place"]
    assert (facts["task"], facts["tier"], facts["kind"], facts["for_work"]) == ("consumer", "nobody", "Queue.get", True)
    json.dumps(facts)


def test_stuck_tasks_is_empty_while_all_is_well():
    async def main():
        start(beat(), "heartbeat")
        await asyncio.sleep(1)
        return vtloop.stuck_tasks()

    assert run(main) == []


def test_stuck_tasks_takes_a_loop_that_stands_still():
    async def main():
        start(asyncio.Event().wait(), "one")
        await asyncio.sleep(1)

    with vtloop.EventLoop() as loop:
        loop.run_until_complete(main())
        assert [one.name for one in vtloop.stuck_tasks(loop)] == ["one"]
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    with pytest.raises(vtloop.UsageError, match="closed"):
        vtloop.stuck_tasks(loop)


def test_stuck_tasks_outside_a_loop_of_ours_is_refused():
    with pytest.raises(vtloop.UsageError, match="no event loop is running"):
        vtloop.stuck_tasks()

    async def elsewhere():
        vtloop.stuck_tasks()

    with pytest.raises(vtloop.UsageError, match="needs a vtloop loop: this one is"):
        asyncio.run(elsewhere())


def test_what_the_test_itself_could_still_do_counts_between_two_runs_of_a_loop():
    with vtloop.EventLoop() as loop:

        async def begin():
            event = asyncio.Event()
            start(event.wait(), "one")
            await asyncio.sleep(0)
            return event

        event = loop.run_until_complete(begin())
        assert vtloop.stuck_tasks(loop) == []
        event.set()
        loop.run_until_complete(asyncio.sleep(0))


# -- the end of a run ------------------------------------------------------------------------------------------------


def at_the_end(main):
    """What the end of a run is told of a program."""
    gc.collect()  # the functions of this file are older than the run
    with vtloop.EventLoop() as loop:
        coroutine = main()
        frame = coroutine.cr_frame
        loop.run_until_complete(coroutine)
        found = end_of_run(loop, frame)
        del frame
        for task in asyncio.all_tasks(loop):
            task.cancel()
        loop.run_until_complete(asyncio.sleep(0))
    return {one.name: (one.tier, one.for_work, one.parked, one.in_cycle) for one in found}


def test_what_main_holds_at_its_end_counts_as_alive():
    async def main():
        queue = asyncio.Queue()
        start(queue.get(), "worker")
        await asyncio.sleep(1)

    assert at_the_end(main) == {}


def test_what_nobody_held_is_told_with_what_there_is_to_know():
    async def park():
        await asyncio.Event().wait()

    async def wait(gate):
        await gate.wait()

    async def main():
        start(park(), "parked")
        start(wait(asyncio.Event()), "lost")
        await asyncio.sleep(1)

    found = at_the_end(main)
    assert found["parked"] == ("nobody", True, True, False)
    assert found["lost"] == ("nobody", True, False, False)


# -- healthy programs ------------------------------------------------------------------------------------------------


def healthy(seed):
    """A random program of producers, consumers and timers that always ends."""
    dice = random.Random(seed)

    async def main():
        queues = [asyncio.Queue(dice.randrange(3)) for _ in range(dice.randrange(1, 4))]
        counts = [dice.randrange(1, 6) for _ in queues]
        done = asyncio.Event()

        async def produce(queue, count):
            for number in range(count):
                await asyncio.sleep(dice.choice([0, 1, 60]))
                await queue.put(number)

        async def consume(queue, count):
            for _ in range(count):
                await queue.get()
                if dice.random() < 0.5:
                    await asyncio.sleep(dice.choice([0, 2]))
                queue.task_done()

        async def finish(tasks):
            await asyncio.gather(*tasks)
            done.set()

        for number in range(dice.randrange(3)):
            start(beat(), f"beat {number}")
        workers = []
        for queue, count in zip(queues, counts, strict=True):
            workers.append(asyncio.create_task(produce(queue, count)))
            workers.append(asyncio.create_task(consume(queue, count)))
        if dice.random() < 0.5:
            start(finish(workers), "finish")
            del workers
            await done.wait()
        else:
            await asyncio.wait(workers)
            for queue in queues:
                await queue.join()
        return "done"

    return main


def check_healthy(seeds, monkeypatch):
    monkeypatch.setattr(stalled, "FIRST_LOOK", 10)
    monkeypatch.setattr(IdleRules, "_look_at", 10)
    for seed in seeds:
        options = {1: {"seed": seed}, 2: {"seed": seed, "interleave": "tasks"}}.get(seed % 3, {})
        assert run(healthy(seed), **options) == "done"


def test_healthy_programs_get_no_verdict(monkeypatch):
    check_healthy(range(8), monkeypatch)


@pytest.mark.slow
def test_hundreds_of_healthy_programs_get_no_verdict(monkeypatch):
    check_healthy(range(8, 400), monkeypatch)
