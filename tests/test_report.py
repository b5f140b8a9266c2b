"""The story of a run, its choices in words, the table and the first difference."""

from __future__ import annotations

import asyncio
import dataclasses
import gc
import json
import re
import sys
import textwrap
import weakref
from functools import partial
from pathlib import Path

import pytest
from replay_program import acted, facts
from told_programs import EXAMPLES, deadlocked, evicted, listed, loaded, program, told

import vtloop
from vtloop.errors import TraceError
from vtloop.options import RUN_DEFAULTS, resolve
from vtloop.report.cells import clipped, padded, width_of
from vtloop.report.choices import did, first_line, line_text, shown_lines, told_choices, woken
from vtloop.report.difference import compare, difference_lines, parting_lines
from vtloop.report.html import page
from vtloop.report.lines import LineTracer, own_file
from vtloop.report.perfetto import trace_events_text
from vtloop.report.story import Lane, Moment, Spot, Story
from vtloop.report.table import table
from vtloop.report.teller import Teller, teller
from vtloop.report.telling import recorder_for, story_of
from vtloop.report.touching import meeting
from vtloop.run import execute
from vtloop.scripts import ScriptTarget
from vtloop.trace import Choice, Trace


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent.parent)


def steps(story):
    """Every step of a task as it is told: name, why, lines, what it came to."""
    return [
        (story.name(m), woken(story, m)[0], [spot.line for spot in shown_lines(story, m, 9)], did(m))
        for m in story.moments
        if m.kind == "step"
    ]


# -- the story -------------------------------------------------------------------------------------------------------


def test_a_story_says_who_woke_whom_what_ran_and_what_is_waited_for():
    assert steps(evicted()) == [
        (
            "Task-1 (main) step 1",
            "",
            [7, 8, 23],
            "waits for gather of Task-2 (load), Task-3 (read) and Task-4 (evict)",
        ),
        ("Task-2 (load) step 1", "started by Task-1 (main) step 1", [11], "sleeps until t=30 s"),
        ("Task-3 (read) step 1", "started by Task-1 (main) step 1", [16], "waits for Event loaded"),
        ("Task-4 (evict) step 1", "started by Task-1 (main) step 1", [20], "waits for Event loaded"),
        ("Task-2 (load) step 2", "the sleep is over", [12, 13], "returned"),
        ("Task-4 (evict) step 2", "woken by Task-2 (load) step 2", [21], "returned"),
        ("Task-3 (read) step 2", "woken by Task-2 (load) step 2", [17], "raised KeyError: 'user'"),
        ("Task-1 (main) step 2", "Task-3 (read) ended", [23], "raised KeyError: 'user'"),
    ]


def test_a_story_has_the_times_the_places_and_the_end():
    story = evicted()
    assert [m.time_ns for m in story.moments if m.kind == "step"] == [0, 0, 0, 0, *[30 * 10**9] * 4]
    (failing,) = [m for m in story.moments if m.who == "Task-3" and m.end]
    spot = Spot("docs/examples/evicted_cache.py", 17, "read", 'return cache["user"]')
    assert failing.stands == spot
    assert story.moments[-1].step == story.steps == 13
    assert (story.error, story.place, story.time_ns) == ("KeyError: 'user'", "evicted_cache.py:17 in read", 30 * 10**9)
    assert story.lanes["Task-3"].created.short == "evicted_cache.py:23"
    assert story.options == {"seed": 1, "scheduler": "replay", "interleave": "wakeups"}


def test_a_task_that_raises_what_it_awaited_stands_at_its_own_line():
    story = evicted()
    (main,) = [m for m in story.moments if m.who == "Task-1" and m.end]
    assert main.stands.short == "evicted_cache.py:23"


def test_a_deadlock_says_who_holds_what_at_the_end():
    story = deadlocked()
    assert [(lane.label, lane.waits, lane.stands.short) for lane in story.lanes.values()] == [
        (
            "Task-1 (main)",
            "TaskGroup group of alice-to-bob and bob-to-alice",
            "abba_deadlock.py:15",
        ),
        ("alice-to-bob", "Lock bob (held by bob-to-alice)", "abba_deadlock.py:9"),
        ("bob-to-alice", "Lock alice (held by alice-to-bob)", "abba_deadlock.py:9"),
    ]
    assert story.report[0].startswith("DEADLOCK at t=0.1 s")
    assert story.label == "asyncio's own order fails: no interleaving is needed"


def test_telling_a_run_does_not_change_it():
    main = loaded(EXAMPLES / "lost_wakeup.py").main
    for seed in range(20):
        options = resolve(RUN_DEFAULTS, seed=seed, interleave="tasks", lag=0.1)
        plain, told_run = execute(main, options, keep=None), execute(main, options, recorder=teller)
        assert plain.recording.digest() == told_run.recording.digest()
        assert plain.check == told_run.check
        assert plain.trace().choices == told_run.trace().choices


@pytest.mark.slow
@pytest.mark.parametrize("level", ["timing", "wakeups", "tasks"])
def test_random_programs_run_the_same_when_they_are_told_and_every_report_can_be_made(level):
    for number in range(120):
        options = resolve(
            RUN_DEFAULTS, seed=number, interleave=level, lag=0.5, stretch=0.5, cancel="*", max_steps=5_000
        )
        plain = facts(execute(acted(number), options, keep=None))
        outcome = execute(acted(number), options, recorder=teller)
        assert facts(outcome) == plain
        story = story_of(outcome, outcome.trace(), "target", "command")
        chosen = told_choices(story)
        assert len(chosen) == len(story.choices)
        assert all(len(line) <= 100 for line in table(story, chosen))
        assert page(story, chosen).endswith("</html>\n")
        assert json.loads(trace_events_text(story, chosen))["traceEvents"]
        assert Story.from_dict(json.loads(json.dumps(story.to_dict()))) == story
        assert compare(story, story).same


def test_a_story_holds_no_task_and_no_callback_alive(tmp_path):
    made = program(
        tmp_path,
        """
        import asyncio, weakref

        class Thing:
            def __call__(self):
                pass

        async def work(thing):
            await asyncio.sleep(0)

        async def main():
            thing = Thing()
            seen = weakref.ref(thing)
            task = asyncio.create_task(work(thing))
            done = weakref.ref(task)
            asyncio.get_running_loop().call_soon(thing)
            await task
            await asyncio.sleep(0)
            del task
            before = seen() is not None
            del thing
            return before, seen() is None
        """,
    )
    story = told(made.main)
    assert story.value == "(True, True)"


@pytest.mark.slow
def test_a_step_that_never_returns_is_cut_and_told_up_to_there(tmp_path):
    made = program(
        tmp_path,
        """
        import asyncio

        async def main():
            await asyncio.sleep(1)
            while True:
                pass
        """,
    )
    story = told(made.main, Trace(dataclasses.replace(RUN_DEFAULTS, watchdog=0.2)))
    assert story.error.startswith("HangError: ")
    assert [spot.line for m in story.moments if m.nth == 2 and m.kind == "step" for spot in m.lines] == [6, 7]
    assert sys.gettrace() is None or "vtloop" not in (sys.gettrace().__module__ or "")


def test_loops_of_a_script_one_after_the_other_are_one_story(tmp_path):
    path = tmp_path / "script.py"
    path.write_text(
        textwrap.dedent(
            """
            import asyncio

            async def main():
                await asyncio.create_task(asyncio.sleep(1))

            asyncio.run(main())
            asyncio.run(main())
            """
        )
    )
    outcome = ScriptTarget(str(path)).execute(RUN_DEFAULTS, recorder=teller)
    story = story_of(outcome, outcome.trace(), "script.py", "")
    assert list(story.lanes) == ["Task-1", "Task-2", "Task-1#2", "Task-2#2"]
    assert [(m.who, m.nth) for m in story.moments if m.kind == "step"] == [
        *(("Task-1", 1), ("Task-2", 1), ("Task-2", 2), ("Task-1", 2)),
        *(("Task-1#2", 1), ("Task-2#2", 1), ("Task-2#2", 2), ("Task-1#2", 2)),
    ]
    assert len({m.born for m in story.moments}) == len(story.moments)


def test_a_sleep_is_told_without_a_look_at_the_other_tasks(monkeypatch):
    looked_at = []
    capture = sys.modules["vtloop.report.teller"].capture

    def counted(tasks, main):
        looked_at.append(len(tasks))
        return capture(tasks, main)

    monkeypatch.setattr("vtloop.report.teller.capture", counted)

    async def main():
        await asyncio.gather(*(asyncio.sleep(number) for number in range(1, 31)))

    story = told(main)
    assert [one.waits for one in story.moments].count("sleep until t=30 s") == 1
    assert sorted(looked_at)[-2:] == [1, 31]  # the gather is told with all that it waits for


def test_a_story_dies_with_the_run_and_leaves_no_trace_function():
    before = sys.gettrace()
    outcome = execute(loaded(EXAMPLES / "evicted_cache.py").main, RUN_DEFAULTS, recorder=teller)
    assert sys.gettrace() is before
    gone = weakref.ref(outcome.recording)
    del outcome
    gc.collect()
    assert gone() is None


def test_somebody_elses_trace_function_stays_and_places_are_told_instead_of_lines():
    def other(frame, event, argument):
        return None

    before = sys.gettrace()
    sys.settrace(other)
    try:
        story = evicted()
        assert sys.gettrace() is other
    finally:
        sys.settrace(before)
    assert all(not m.lines for m in story.moments)
    (choice,) = told_choices(story)
    assert choice.text.endswith(
        "docs/examples/evicted_cache.py:20 await loaded.wait() before "
        "docs/examples/evicted_cache.py:16 await loaded.wait()"
    )


def test_only_files_of_the_program_are_traced():
    assert own_file(__file__)
    assert not own_file(asyncio.__file__)
    assert not own_file(json.__file__)
    assert not own_file(pytest.__file__)
    assert not own_file(vtloop.__file__)
    assert not own_file("<string>")


def test_many_lines_of_one_step_are_counted(tmp_path):
    body = "\n".join(f"    x = {n}" for n in range(20))
    story = told(program(tmp_path, f"async def main():\n{body}\n").main)
    (step,) = [m for m in story.moments if m.kind == "step"]
    assert [spot.line for spot in step.lines] == [2, 3, 4, 5, 6, 7, 8, 21]
    assert step.more_lines == 12


def test_a_line_tracer_takes_each_line_once():
    tracer = LineTracer()
    before = sys.gettrace()
    sys.settrace(None)
    try:
        tracer.start()

        def loop():
            for _ in range(3):
                pass

        loop()
        tracer.stop()
    finally:
        sys.settrace(before)
    spots, more = tracer.taken()
    assert [spot.source for spot in spots if spot.function == "loop"] == ["for _ in range(3):", "pass"]
    assert more == 0
    assert tracer.taken() == ((), 0)


def test_a_long_run_is_told_by_its_last_events():
    async def main():
        for _ in range(300):
            await asyncio.sleep(0)

    story = told(main, recorder=lambda clock: Teller(clock, keep=100))
    assert len(story.moments) == 100
    assert story.dropped == story.moments[0].number - 1 == story.moments[-1].number - 100
    assert story.at(1) is None
    assert story.at(story.moments[5].number) is story.moments[5]
    assert any(f"the first {story.dropped} events are not kept" in line for line in table(story, []))


class Last:
    """Picks the last of the window."""

    def pick(self, window):
        return len(window) - 1


def test_a_very_long_run_is_looked_at_closely_only_where_it_is_kept():
    async def main():
        for _ in range(300):
            await asyncio.sleep(0)

    outcome = execute(main, RUN_DEFAULTS)
    story = told(main, outcome.trace(), recorder=recorder_for(outcome.trace(), keep=100))
    whole = told(main, recorder=lambda clock: Teller(clock, keep=100))
    assert story.moments == whole.moments
    assert all(m.lines for m in story.moments if m.kind == "step")
    early = told(main, outcome.trace(), recorder=lambda clock: Teller(clock, since=200))
    assert [bool(m.lines) for m in early.moments if m.kind == "step"] == [False] * 199 + [True] * 102


def test_what_stood_ready_when_the_run_ended_is_told(tmp_path):
    made = program(
        tmp_path,
        """
        import asyncio

        async def late():
            pass

        async def main():
            task = asyncio.create_task(late(), name="late")
            await asyncio.sleep(0)
            if not task.done():
                raise SystemExit("late is late")
        """,
    )
    options = resolve(RUN_DEFAULTS, scheduler=Last(), interleave="tasks")
    story = story_of(execute(made.main, options, recorder=teller), Trace(options), "program.py:main", "")
    assert story.error == "SystemExit: late is late"
    assert [(one.kind, one.who, one.nth) for one in story.left] == [("step", "late", 1), ("callback", "_stop_loop", 1)]
    (choice,) = told_choices(story)
    assert choice.words == "late step 1 stood back for Task-1 (main) step 2, and the run ended before it came"


def test_two_tasks_of_one_name_are_two_lanes():
    async def main():
        async with asyncio.TaskGroup() as group:
            for _ in range(2):
                group.create_task(asyncio.sleep(0), name="twin")

    assert list(told(main).lanes) == ["Task-1", "twin", "twin#2"]


def test_cancellations_say_when_they_came(tmp_path):
    made = program(
        tmp_path,
        """
        import asyncio

        async def client(event):
            await event.wait()

        async def main():
            first, second = asyncio.Event(), asyncio.Event()
            tasks = [asyncio.create_task(client(event), name=f"client-{n}") for n, event in enumerate((first, second))]
            await asyncio.sleep(1)
            tasks[0].cancel()
            second.set()
            tasks[1].cancel()
            await asyncio.wait(tasks)
        """,
    )
    story = told(made.main)
    resumed = [(m.who, m.cancelled) for m in story.moments if m.who.startswith("client") and m.nth == 2]
    assert resumed == [("client-0", "by it"), ("client-1", "by it")]
    ends = [(m.who, m.end) for m in story.moments if m.end]
    assert ends == [("client-0", "cancelled"), ("client-1", "cancelled"), ("Task-1", "returned")]


def test_a_cancellation_by_a_callback_is_told_as_one(tmp_path):
    source = """
        import asyncio

        async def main():
            task = asyncio.create_task(asyncio.Event().wait(), name="victim")
            asyncio.get_running_loop().call_later(1, task.cancel)
            await asyncio.wait([task])
    """
    told_of = {name: why for name, why, _, _ in steps(told(program(tmp_path, source).main))}
    assert told_of["victim step 2"] == "cancelled by callback Task.cancel"


def test_a_task_that_was_cancelled_in_its_own_step_did_not_let_others_go_first(tmp_path):
    source = """
        import asyncio

        async def main():
            asyncio.current_task().cancel()
            try:
                await asyncio.sleep(1)
            except asyncio.CancelledError:
                await asyncio.sleep(0)
    """
    whys = [why for _, why, _, _ in steps(told(program(tmp_path, source).main))]
    assert whys == ["", "had cancelled itself", "let others go first"]
    made = program(tmp_path, RACERS)
    answer, cancel = Choice("choose", "victim", 1, 0, 1, 2), Choice("cancel after", "victim", 1, 0, 1, 2)
    story = told(made.cancels, listed(answer, cancel, cancel="victim"))
    assert [why for name, why, _, _ in steps(story) if name == "victim step 2"] == ["cancelled by the explorer"]


def test_a_timeout_behind_a_wake_up_shows_as_cancelled_later(tmp_path):
    made = program(
        tmp_path,
        """
        import asyncio

        async def main():
            try:
                async with asyncio.timeout(2):
                    await asyncio.sleep(1)
            except TimeoutError:
                return "late"
        """,
    )
    # The first step takes two seconds, so that both timers are due at once.
    story = told(made.main, listed(Choice("lag", "Task-1", 1, 0, 8, 8 + 1), level="timing", lag=2.0))
    assert story.value == "'late'"
    assert steps(story)[1][1] == "the sleep is over, then cancelled"


def test_a_latency_is_told_as_one(tmp_path):
    story = told(program(tmp_path, RACERS).slow)
    assert steps(story) == [
        ("Task-1 (slow) step 1", "", [17], "waits for a latency"),
        ("Task-1 (slow) step 2", "the latency is over", [17], "returned"),
    ]


def test_json_twin_gives_the_story_back():
    for story in (evicted(), deadlocked()):
        text = json.dumps(story.to_dict())
        assert Story.from_dict(json.loads(text)) == story


def test_reference_describes_every_key_of_the_json_twin():
    text = Path("docs/reference.md").read_text(encoding="utf-8").partition("## The story of a run")[2]
    data = evicted().to_dict()
    table_, _, rest = text.partition("An event has a")
    rows = [line.split("|")[1] for line in table_.splitlines() if line.startswith("| `")]
    assert {name for row in rows for name in re.findall("`([a-z_]+)`", row)} == set(data)
    assert set(re.findall("`([a-z_]+)`", rest)) >= set(data["moments"][0])
    assert set(re.findall("`([a-z_]+)`", table_)) >= set(data["lanes"][0])


def test_json_twin_of_something_else_is_refused():
    with pytest.raises(TraceError, match="not a vtloop story of format 1"):
        Story.from_dict({"kind": "vtloop trace", "format": 1})
    with pytest.raises(TraceError, match="'vtloop story' 99"):
        Story.from_dict({**evicted().to_dict(), "format": 99})


# -- choices ---------------------------------------------------------------------------------------------------------


def choice_of(main, choice, **options):
    """The only choice of a run, in words."""
    (one,) = told_choices(told(main, listed(choice, **options)))
    return one.text


def test_a_step_that_stood_back_is_told_with_both_lines():
    (one,) = told_choices(evicted())
    assert one.text == (
        "Task-3 (read) step 2 ran after Task-4 (evict) step 2: "
        'docs/examples/evicted_cache.py:21 cache.clear() before docs/examples/evicted_cache.py:17 return cache["user"]'
    )


def test_a_step_that_ran_early_is_told_with_both_lines():
    main = loaded(EXAMPLES / "evicted_cache.py").main
    early = Choice("step", "Task-4", 2, -1, 1, 2)
    assert choice_of(main, early, level="wakeups") == (
        "Task-4 (evict) step 2 ran before Task-3 (read) step 2: "
        'docs/examples/evicted_cache.py:21 cache.clear() before docs/examples/evicted_cache.py:17 return cache["user"]'
    )


RACERS = """
    import asyncio
    import vtloop

    async def racer(number, order):
        await asyncio.sleep(0)
        order.append(number)

    async def main():
        order = []
        await asyncio.gather(*(racer(number, order) for number in range(5)))

    async def sleepy():
        await asyncio.sleep(1)

    async def slow():
        await vtloop.latency(1, 3)

    async def chooses():
        return vtloop.choose(5)

    async def faulty():
        if vtloop.sometimes("fault"):
            return "fault"

    async def victim(event):
        vtloop.choose(2), await event.wait()

    async def cancels():
        event = asyncio.Event()
        task = asyncio.create_task(victim(event), name="victim")
        await asyncio.sleep(1)
        event.set()
        await asyncio.wait([task])

    async def ties():
        loop = asyncio.get_running_loop()
        for number in range(2):
            loop.call_at(1.0, str, number)
        await asyncio.sleep(2)

    async def twice():
        await asyncio.sleep(0.5)
        await asyncio.sleep(0.5)

    async def once():
        await asyncio.sleep(1)

    async def tied():
        await asyncio.gather(once(), twice())
"""


def test_a_step_that_stood_back_for_many_names_three_of_them(tmp_path):
    made = program(tmp_path, RACERS)
    assert choice_of(made.main, Choice("hold", "Task-2", 2, 4, 1, 5)) == (
        "Task-2 (racer) step 2 stood back while Task-3 (racer) step 2, Task-4 (racer) step 2, Task-5 (racer) step 2 "
        "and 1 more went first: program.py:7 order.append(number) before program.py:7 order.append(number)"
    )


@pytest.mark.parametrize(
    ("function", "choice", "options", "text"),
    [
        (
            "sleepy",
            Choice("stretch", "Task-1", 1, 0, 8, 9),
            {"stretch": 0.2},
            "a sleep of Task-1 (sleepy) lasted 1.2 s: program.py:14 await asyncio.sleep(1)",
        ),
        (
            "sleepy",
            Choice("lag", "Task-1", 1, 0, 4, 9),
            {"lag": 0.4},
            "Task-1 (sleepy) step 1 took 0.2 s of virtual time: program.py:14 await asyncio.sleep(1)",
        ),
        (
            "slow",
            Choice("latency", "Task-1", 1, 0, 4, 9),
            {},
            "a latency in Task-1 (slow) step 1 took 2 s: program.py:17 await vtloop.latency(1, 3)",
        ),
        (
            "chooses",
            Choice("choose", "Task-1", 1, 0, 3, 5),
            {},
            "choose(5) in Task-1 (chooses) step 1 gave 3: program.py:20 return vtloop.choose(5)",
        ),
        (
            "faulty",
            Choice("sometimes", "Task-1", 1, 0, 1, 2),
            {},
            'sometimes() was true in Task-1 (faulty) step 1: program.py:23 if vtloop.sometimes("fault"):',
        ),
        (
            "cancels",
            Choice("cancel before", "victim", 2, 0, 1, 2),
            {"cancel": "victim"},
            "victim was cancelled while it waited for Event event, which had come already: program.py:27 "
            "vtloop.choose(2), await event.wait()",
        ),
        (
            "cancels",
            Choice("cancel after", "victim", 1, 0, 1, 2),
            {"cancel": "victim"},
            "victim was cancelled while it waited for Event event: program.py:27 vtloop.choose(2), await event.wait()",
        ),
        (
            "ties",
            Choice("timer", "Task-1", 1, 0, 1, 2),
            {},
            "callback str, number 2 of 2 in asyncio's order, fired first of the timers due together",
        ),
        (
            "tied",
            Choice("timer", "Task-3", 2, 0, 1, 2),
            {},
            "the timer for Task-3 (twice) fired before the timer for Task-2 (once), due at the same time: "
            "program.py:44 await asyncio.sleep(0.5) before program.py:47 await asyncio.sleep(1)",
        ),
    ],
)
def test_a_choice_of_another_kind_is_told(tmp_path, function, choice, options, text):
    made = program(tmp_path, RACERS)
    assert choice_of(getattr(made, function), choice, **options) == text


def test_a_choice_whose_event_is_not_told_keeps_the_words_of_the_trace():
    story = evicted()
    story.moments.clear()
    story.choices = [Choice("hold", "Task-3", 2, 1, 1, 2, "the words of the trace"), Choice("lag", "a", 1, 0, 1, 9)]
    assert [one.text for one in told_choices(story)] == ["the words of the trace", "lag: 1 of 9"]


def spots(*sources):
    return [Spot("a.py", number, "f", source) for number, source in enumerate(sources, 1)]


@pytest.mark.parametrize(
    ("first", "then", "met"),
    [
        (
            ["items.append(1)", "changed.set()"],
            ["changed.clear()", "await changed.wait()"],
            ("changed.set()", "changed.clear()"),
        ),
        (["if self.free:", "self.free -= 1"], ["self.free -= 1"], ("self.free -= 1", "self.free -= 1")),
        (
            ["x = await pool.get()", "total += x"],
            ["x = await pool.get()", "return total"],
            ("total += x", "return total"),
        ),
        (["x = await pool.get()"], ["y = await pool.get()"], ("x = await pool.get()", "y = await pool.get()")),
        (["print('cache')  # cache"], ["return cache"], None),
        (["await asyncio.sleep(0)"], ["await asyncio.sleep(0)"], None),
        (["return a"], ["return b"], None),
        (["for _ in range(late):"], ["for _ in range(late):"], None),
        (["seen = 1"], ["seen = 2"], None),
        (["if size <= limit:"], ["if size <= limit:"], None),
        (["if size:"], ["del size[0]"], ("if size:", "del size[0]")),
        (["async with lock:"], ["async with lock:"], ("async with lock:", "async with lock:")),
        (["items[0].seen = 1"], ["for x in items:"], ("items[0].seen = 1", "for x in items:")),
        ([], ["return b"], None),
    ],
)
def test_lines_that_name_the_same_thing_meet(first, then, met):
    found = meeting(spots(*first), spots(*then))
    assert (found and (found[0].source, found[1].source)) == met


def test_a_line_is_told_with_its_path_and_without_its_comment():
    assert line_text(Spot("src/a b.py", 3, "f", "x = '#1'  # the first")) == "src/a b.py:3 x = '#1'"
    assert line_text(Spot("/v/lib/python3.12/site-packages/aiohttp/web.py", 3, "f", "")) == "aiohttp/web.py:3"
    assert line_text(Spot("/tmp/x/program.py", 3, "f", "# nothing")) == "program.py:3 # nothing"


def test_of_a_long_dotted_name_of_a_task_people_see_the_end():
    name = "starlette.middleware.base.BaseHTTPMiddleware.__call__.<locals>.call_next.<locals>.coro#2"
    assert Lane(name, "coro").label == "...__call__.call_next.coro#2"
    assert Lane("Task-3", "read").label == "Task-3 (read)"
    assert Lane("Task-3", "x" * 45).label == f"Task-3 ({'x' * 20}...{'x' * 20})"
    assert Lane("a" * 45 + "b" * 45, "read").label == f"{'a' * 20}...{'b' * 20}"
    assert Lane("a\nb\x1b[31m\u30bf", "read").label == r"a\nb\x1b[31m" + "\u30bf"


def test_a_step_that_stood_back_and_was_cancelled_meanwhile_says_so(tmp_path):
    source = """
        import asyncio

        async def victim(event):
            await event.wait()

        async def canceller(event, task):
            await event.wait()
            task.cancel()

        async def main():
            event = asyncio.Event()
            task = asyncio.create_task(victim(event), name="victim")
            other = asyncio.create_task(canceller(event, task), name="canceller")
            await asyncio.sleep(1)
            event.set()
            await asyncio.wait([task, other])
    """
    assert choice_of(program(tmp_path, source).main, Choice("hold", "victim", 2, 1, 1, 2)) == (
        "victim step 2 ran after canceller step 2, and was cancelled meanwhile: "
        "program.py:9 task.cancel() before program.py:5 await event.wait()"
    )


# -- the table -------------------------------------------------------------------------------------------------------

SNAPSHOT_EVICTED = """\
lines without a file are of docs/examples/evicted_cache.py
  t (s) | Task-1 (main)   | Task-2 (load)   | Task-3 (read)              | Task-4 (evict)
====================================================================================================
      0 | :7 cache = {}   |                 |                            |
        | :8 loaded = asyncio.Event()       |                            |
        | :23 return (await asyncio.gather(load(), read(), evict()))[1]  |
        |    waits for gather of Task-2 (load), Task-3 (read) and Task-4 (evict)
        |                 | :11 await asyncio.sleep(30)  # virtual: it costs no time
        |                 |    sleeps until t=30 s                       |
        |                 |                 | :16 await loaded.wait()    |
        |                 |                 |    waits for Event loaded  |
        |                 |                 |                            | :20 await loaded.wait()
        |                 |                 |                            |    waits for Event loaded
     30 |                 | <- the sleep is over                         |
        |                 | :12 cache["user"] = "ann"                    |
        |                 | :13 loaded.set()                             |
        |                 |    returned     |                            |
** choice 1: Task-3 (read) step 2 ran after Task-4 (evict) step 2
        |                 |                 |                            | <- load step 2
        |                 |                 |                            | :21 cache.clear()
        |                 |                 |                            |    returned
        |                 |                 | <- load step 2             |
        |                 |                 | :17 return cache["user"]   |
        |                 |                 |    raised KeyError: 'user' |
        | <- read step 2  |                 |                            |
        | :23 return (await asyncio.gather(load(), read(), evict()))[1]  |
        |    raised KeyError: 'user'        |                            |
====================================================================================================
KeyError: 'user' at evicted_cache.py:17 in read"""

SNAPSHOT_DEADLOCK = """\
lines without a file are of docs/examples/abba_deadlock.py
  t (s) | Task-1 (main)         | alice-to-bob          | bob-to-alice
====================================================================================================
      0 | :14 alice, bob = asyncio.Lock(), asyncio.Lock()
        | :15 async with asyncio.TaskGroup() as group:  |
        | :16 group.create_task(transfer(alice, bob), name="alice-to-bob")
        | :17 group.create_task(transfer(bob, alice), name="bob-to-alice")
        |    waits for TaskGroup group of alice-to-bob and bob-to-alice
        |                       | :7 async with source: |
        |                       | :8 await asyncio.sleep(0.1)
        |                       |    sleeps until t=0.1 s
        |                       |                       | :7 async with source:
        |                       |                       | :8 await asyncio.sleep(0.1)
        |                       |                       |    sleeps until t=0.1 s
    0.1 |                       | <- the sleep is over  |
        |                       | :9 async with target: |
        |                       |    waits for Lock bob (held by bob-to-alice)
        |                       |                       | <- the sleep is over
        |                       |                       | :9 async with target:
        |                       |                       |    waits for Lock alice (held by
        |                       |                       |      alice-to-bob)
====================================================================================================
DeadlockError: deadlock at t=0.1 s: alice-to-bob waits for Lock bob (held by bob-to-alice) -> bob...
  at the end Task-1 (main) waits for TaskGroup group of alice-to-bob and bob-to-alice at abba_dea...
  at the end alice-to-bob waits for Lock bob (held by bob-to-alice) at abba_deadlock.py:9
  at the end bob-to-alice waits for Lock alice (held by alice-to-bob) at abba_deadlock.py:9"""

SNAPSHOT_DIFFERENCE = """\
in common: 5 events, up to t=30 s
then they part:
  A  Task-4 (evict) step 2 at t=30 s, returned: docs/examples/evicted_cache.py:21 cache.clear()
  B  Task-3 (read) step 2 at t=30 s, returned: docs/examples/evicted_cache.py:17 return cache["user"]
  A by choice 1: Task-3 (read) step 2 ran after Task-4 (evict) step 2
  B woken by Task-2 (load) step 2

A went on                                        | B went on
-------------------------------------------------+-------------------------------------------------
30 s  Task-4 (evict) step 2                      | 30 s  Task-3 (read) step 2
    evicted_cache.py:21 cache.clear()            |     evicted_cache.py:17 return cache["user"]
    returned                                     |     returned
30 s  Task-3 (read) step 2                       | 30 s  Task-4 (evict) step 2
    evicted_cache.py:17 return cache["user"]     |     evicted_cache.py:21 cache.clear()
    raised KeyError: 'user'                      |     returned
30 s  Task-1 (main) step 2                       | 30 s  Task-1 (main) step 2
    evicted_cache.py:23 return (await asyncio... |     evicted_cache.py:23 return (await asyncio...
    raised KeyError: 'user'                      |     returned

A ended: KeyError: 'user' at evicted_cache.py:17 in read, t=30 s, step 13
B ended: no failure, returned 'ann', t=30 s, step 13"""


def test_table_shows_a_run_from_top_to_bottom():
    story = evicted()
    lines = table(story, told_choices(story))
    assert max(map(len, lines)) <= 100
    assert [line.rstrip() for line in lines] == lines
    text = "\n".join(lines)
    assert text == SNAPSHOT_EVICTED, text


def test_table_of_a_deadlock_ends_with_who_waits_for_whom():
    story = deadlocked()
    text = "\n".join(table(story, []))
    assert text == SNAPSHOT_DEADLOCK, text


def test_table_says_where_lines_are_left_out_but_never_those_of_a_choice(tmp_path):
    source = """
        import asyncio

        async def first(box):
            await asyncio.sleep(0)
            a = 1
            b = 2
            c = 3
            box.append(a)
            d = 4
            e = 5
            f = 6
            return a + b + c + d + e + f

        async def second(box):
            await asyncio.sleep(0)
            assert box

        async def main():
            box = []
            await asyncio.gather(first(box), second(box), return_exceptions=True)
    """
    story = told(program(tmp_path, source).main, listed(Choice("hold", "Task-2", 2, 1, 1, 2)))
    lines = table(story, told_choices(story))
    assert [line for line in lines if ":9 box.append(a)" in line], lines
    at = next(number for number, line in enumerate(lines) if ":9 box.append(a)" in line)
    assert [line.split("|")[2].strip() for line in lines[at + 1 : at + 3]] == [
        "...",
        ":13 return a + b + c + d + e + f",
    ]


def test_a_long_line_goes_on_over_the_columns_to_its_right_but_not_over_the_table():
    story = evicted()
    lines = table(story, told_choices(story))
    (gathers,) = [line for line in lines if "waits for gather" in line]
    assert gathers.endswith("|    waits for gather of Task-2 (load), Task-3 (read) and Task-4 (evict)")
    assert [len(line) for line in lines if line.startswith("===")] == [100, 100]


def test_a_line_break_in_the_name_of_a_task_breaks_no_line(tmp_path):
    source = """
        import asyncio

        async def main():
            await asyncio.create_task(asyncio.Event().wait(), name="two\\nlines\\x1b[31m")
    """
    story = told(program(tmp_path, source).main)
    text = "\n".join([story.error, *story.report, *table(story, [])])
    assert r"two\nlines\x1b[31m" in story.error
    assert "\x1b" not in text
    assert not [line for line in text.split("\n") if line.startswith("lines")][1:]


def test_table_of_many_tasks_shows_those_that_the_story_is_about(tmp_path):
    made = program(tmp_path, RACERS)
    choice = Choice("hold", "Task-5", 2, 1, 1, 2)
    story = told(made.main, listed(choice))
    lines = table(story, told_choices(story))
    assert [name for name in story.lanes if f"{name} (" in lines[1]] == ["Task-1", "Task-4", "Task-5", "Task-6"]
    assert "left out: 2 other tasks with 4 steps" in lines
    assert max(map(len, lines)) <= 100


def test_wide_characters_take_two_columns(tmp_path):
    source = """
        import asyncio

        async def \u8aad\u3080(box):
            await asyncio.sleep(0)
            return box[0], "\u65e5\u672c\u8a9e\u306e\u30c6\u30ad\u30b9\u30c8"

        async def main():
            box = []
            await asyncio.gather(\u8aad\u3080(box), \u8aad\u3080(box))
    """
    story = told(program(tmp_path, source).main)
    lines = table(story, [])
    bars = [[width_of(line[:at]) for at, c in enumerate(line) if c == "|"] for line in lines[1:] if "|" in line]
    assert len({tuple(at) for at in bars if len(at) == 3}) == 1
    assert max(map(width_of, lines)) <= 100
    assert (width_of("e\u0301"), clipped("\u65e5\u672c\u8a9e", 5), padded("\u65e5", 3)) == (1, "\u65e5...", "\u65e5 ")


def test_table_of_many_tasks_shows_who_woke_the_one_that_was_cancelled(tmp_path):
    source = """
        import asyncio

        async def idles():
            await asyncio.sleep(9)

        async def victim(event):
            await event.wait()

        async def giver(event):
            event.set()

        async def main():
            event = asyncio.Event()
            idle = [asyncio.create_task(idles(), name=f"idle-{n}") for n in range(8)]
            task = asyncio.create_task(victim(event), name="victim")
            await asyncio.sleep(1)
            await asyncio.create_task(giver(event), name="giver")
            await task
    """
    choice = Choice("cancel before", "victim", 2, 0, 1, 2)
    story = told(program(tmp_path, source).main, listed(choice, cancel="victim"))
    lines = table(story, told_choices(story))
    assert {"victim", "giver"} <= {head.strip() for head in lines[1].split("|")}


@pytest.mark.parametrize("width", [40, 60, 100, 160])
def test_table_is_never_wider_than_it_may_be(width):
    for story in (evicted(), deadlocked()):
        lines = table(story, told_choices(story), width)
        assert max(map(len, lines)) <= width


def test_long_run_is_folded_around_its_choices_and_its_end():
    async def worker(number):
        for _ in range(100):
            await asyncio.sleep(0)

    async def main():
        await asyncio.gather(worker(1), worker(2))
        raise ValueError("at last")

    story = told(main, listed(Choice("hold", "Task-2", 50, 1, 1, 2)))
    lines = table(story, told_choices(story))
    folds = [line for line in lines if line.startswith("...")]
    assert len(folds) == 2
    assert all("events ..." in line for line in folds)
    marks = [number for number, line in enumerate(lines) if line.startswith("** choice 1: Task-2")]
    assert len(marks) == 1
    assert lines.index(folds[0]) < marks[0] < lines.index(folds[1])
    assert lines[-1] == f"ValueError: at last at test_report.py:{main.__code__.co_firstlineno + 2} in main"


def test_table_of_a_run_without_steps_says_so():
    assert table(Story(), []) == ["no task took a step"]


# -- the first difference --------------------------------------------------------------------------------------------


def test_two_runs_part_at_the_first_event_that_differs():
    a, b = evicted(), told(loaded(EXAMPLES / "evicted_cache.py").main)
    found = compare(a, b)
    assert (found.common, found.until_ns, found.same) == (5, 30 * 10**9, False)
    assert (a.name(found.a), b.name(found.b)) == ("Task-4 (evict) step 2", "Task-3 (read) step 2")
    text = "\n".join(difference_lines(a, b, found))
    assert text == SNAPSHOT_DIFFERENCE, text


def test_the_same_run_twice_has_no_difference():
    a, b = evicted(), evicted()
    found = compare(a, b)
    assert found.same
    assert difference_lines(a, b, found) == ["the same run: all 8 events, up to t=30 s, and the same end"]
    assert found.to_dict() == {
        "same": True,
        "common_events": 8,
        "until_ns": 30 * 10**9,
        "first_of_a": None,
        "first_of_b": None,
    }


def test_a_choice_of_another_kind_is_a_difference(tmp_path):
    made = program(tmp_path, RACERS)
    slow = told(made.sleepy, listed(Choice("lag", "Task-1", 1, 0, 4, 9), lag=0.4))
    calm = told(made.sleepy)
    lines = difference_lines(slow, calm, compare(slow, calm))
    assert "  A  Task-1 (sleepy) step 1 took 0.2 s of virtual time: program.py:14 await asyncio.sleep(1)" in lines
    assert "  B  Task-1 (sleepy) step 2 at t=1 s, returned: program.py:14 await asyncio.sleep(1)" in lines


def test_runs_whose_beginning_was_dropped_are_compared_event_for_event(tmp_path):
    source = """
        import asyncio

        async def waits(event, log, name):
            await event.wait()
            log.append(name)

        async def main(turns):
            event, log = asyncio.Event(), []
            tasks = [asyncio.create_task(waits(event, log, name), name=name) for name in "ab"]
            for _ in range(40):
                await asyncio.sleep(1)
            event.set()
            await asyncio.gather(*tasks)
            for _ in range(turns if log == ["a", "b"] else 0):
                await asyncio.sleep(1)
            assert log == ["a", "b"]
    """
    made = program(tmp_path, source)
    keep = partial(Teller, keep=40)
    failing = told(lambda: made.main(5), listed(Choice("hold", "a", 2, 1, 1, 2)), recorder=keep)
    passing = told(lambda: made.main(5), recorder=keep)
    assert failing.dropped != passing.dropped
    again = told(lambda: made.main(5), recorder=keep)
    lines = difference_lines(passing, again, compare(passing, again))
    assert "no event differs of those that are compared, and the end is the same:" in lines
    assert [line.split(" (")[0][:33] for line in parting_lines(failing, passing, compare(failing, passing))] == [
        "the nearest run that passes: the ",
        "  here   b step 2 at t=40 s, retu",
        "  there  a step 2 at t=40 s, retu",
    ]
    passing = told(lambda: made.main(15), recorder=keep)
    assert parting_lines(failing, passing, compare(failing, passing)) == []


def test_a_step_that_another_choice_in_it_made_fail_is_told_by_that_choice(tmp_path):
    source = """
        import vtloop

        async def main():
            if vtloop.sometimes("fault"):
                raise OSError("fault")
    """
    made = program(tmp_path, source)
    failing, passing = told(made.main, listed(Choice("sometimes", "Task-1", 1, 0, 1, 2))), told(made.main)
    first, here, there = parting_lines(failing, passing, compare(failing, passing))
    assert first == "the nearest run that passes: nothing in common, then"
    assert here.startswith("  here   sometimes() was true in Task-1 (main) step 1: ")
    assert there.startswith("  there  Task-1 (main) step 1 at t=0 s, returned: ")


def test_a_longer_lag_is_another_choice(tmp_path):
    made = program(tmp_path, RACERS)
    long = told(made.sleepy, listed(Choice("lag", "Task-1", 1, 0, 4, 9), lag=0.4))
    short = told(made.sleepy, listed(Choice("lag", "Task-1", 1, 0, 4, 9), lag=0.0004))
    assert [line.split(": ")[0] for line in parting_lines(long, short, compare(long, short))] == [
        "the nearest run that passes",
        "  here   Task-1 (sleepy) step 1 took 0.2 s of virtual time",
        "  there  Task-1 (sleepy) step 1 took 0.0002 s of virtual time",
    ]


def test_a_step_that_only_enters_a_block_is_told_by_that_and_not_by_its_loop():
    lines = tuple(spots("for _ in range(3):", "async with lock:"))
    story = Story(moments=[Moment(1, 1, 0, "step", "a", 1, lines=lines)])
    assert first_line(story, story.moments[0]).source == "async with lock:"


def test_the_same_events_with_different_ends_differ():
    async def main(value):
        return value

    a, b = told(lambda: main(1)), told(lambda: main(2))
    found = compare(a, b)
    assert not found.same
    assert difference_lines(a, b, found)[1:] == [
        "no event differs; they ended in different ways:",
        "A ended: no failure, returned 1, t=0 s, step 2",
        "B ended: no failure, returned 2, t=0 s, step 2",
    ]


def test_a_run_that_goes_on_differs_from_one_that_ended():
    async def main(times):
        for _ in range(times):
            await asyncio.sleep(0)

    a, b = told(lambda: main(1)), told(lambda: main(2))
    lines = difference_lines(a, b, compare(a, b))
    assert lines[0] == "in common: 1 event, up to t=0 s"
    assert [line for line in lines if line.startswith("  A  Task-1 (main) step 2 at t=0 s, returned: ")]
    assert [line for line in lines if line.startswith("  B  Task-1 (main) step 2 at t=0 s: ")]
