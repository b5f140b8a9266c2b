"""The page with the timeline, and the file for Perfetto."""

from __future__ import annotations

import asyncio
import json
import re
from html.parser import HTMLParser

import pytest
from told_programs import EXAMPLES, deadlocked, evicted, listed, program, told

from vtloop.report.choices import told_choices
from vtloop.report.html import MOST_EVENTS, MOST_LANES, MOST_ROWS, page
from vtloop.report.perfetto import trace_events, trace_events_text
from vtloop.report.story import Lane, Moment, Spot, Story
from vtloop.trace import Choice

VOID = {"meta", "rect", "path", "line", "circle", "br"}


@pytest.fixture(autouse=True)
def here(monkeypatch):
    monkeypatch.chdir(EXAMPLES.parent.parent)


class Document(HTMLParser):
    """A page taken apart; every tag must be closed."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.texts = [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("style", "script"):
            self.texts.append((self.open[-1], data.strip()))

    def having(self, name):
        return [attrs for _, attrs in self.tags if name in (attrs.get("class") or "").split()]

    def text(self, tag):
        return [text for name, text in self.texts if name == tag and text]


def document(story):
    return Document(page(story, told_choices(story)))


# -- the page --------------------------------------------------------------------------------------------------------


def test_page_begins_with_the_failure_what_it_rests_on_and_the_command():
    read = document(evicted())
    assert read.text("h1") == ["KeyError: 'user'"]
    words = [text for tag, text in read.texts if tag == "p"]
    assert words[0] == "evicted_cache.py:17 in read"
    assert words[1].startswith("Level 'wakeups': tasks whose awaited futures are done resume in another order")
    assert "t=30 s" in words[2]
    assert "vtloop replay TOKEN program.py:main" in read.text("pre")
    assert read.text("h2")[0] == "One choice deviates from asyncio's own order"


def test_page_has_a_lane_for_each_task_and_a_block_for_each_step():
    story = evicted()
    read = document(story)
    lanes = [attrs for attrs in read.having("lane")]
    assert len(lanes) == 4
    events = read.having("event")
    assert [event["href"] for event in events] == [f"#row{m.number}" for m in story.moments if m.kind == "step"]
    assert [event["data-lane"] for event in events] == ["0", "1", "2", "3", "1", "3", "2", "0"]
    rows = {attrs["id"] for tag, attrs in read.tags if tag == "tr" and "id" in attrs}
    assert {event["href"][1:] for event in events} <= rows


def test_page_draws_who_woke_whom_and_who_stood_back():
    story = evicted()
    read = document(story)
    step = {(m.who, m.nth): str(m.number) for m in story.moments if m.kind == "step"}
    assert [(wake["data-from"], wake["data-to"]) for wake in read.having("wake")] == [
        (step["Task-3", 2], step["Task-1", 2]),
        (step["Task-1", 1], step["Task-2", 1]),
        (step["Task-1", 1], step["Task-3", 1]),
        (step["Task-2", 2], step["Task-3", 2]),
        (step["Task-1", 1], step["Task-4", 1]),
        (step["Task-2", 2], step["Task-4", 2]),
    ]
    assert len([attrs for attrs in read.having("held") if "bar" in attrs["class"]]) == 1
    assert [event["id"] for event in read.having("marked") if "event" in event["class"]] == [f"e{step['Task-4', 2]}"]


def test_page_of_a_deadlock_shows_who_is_stuck():
    read = document(deadlocked())
    assert len([attrs for attrs in read.having("stuck") if "bar" in attrs["class"]]) == 3
    assert "nothing can happen any more" in read.text("text")
    assert "Still there at the end" in read.text("h2")
    assert "waits for Lock bob (held by bob-to-alice) at" in read.text("li")


def test_page_of_a_run_without_failure_says_what_it_returned():
    async def main():
        return 42

    read = document(told(main))
    assert read.text("h1") == ["no failure"]
    assert "returned 42" in read.text("p")
    assert "Everything ran in asyncio's own order." in read.text("p")


def test_page_loads_nothing_and_stands_alone():
    text = page(evicted(), [])
    assert not re.search(r"""(?:src|href)=["'](?!#)|@import|url\(|https?:""", text)
    assert "default-src 'none'" in text


def test_everything_of_the_program_is_escaped(tmp_path):
    evil = "</script><script>alert(1)</script>&\"'"
    made = program(
        tmp_path,
        f"""
        import asyncio

        async def work():
            evil = {evil!r}  # </title><script>alert(2)</script>
            await asyncio.sleep(0)
            raise ValueError(evil)

        async def main():
            await asyncio.create_task(work(), name={evil!r})
        """,
    )
    story = told(made.main, command=evil)
    story.notes.append(evil)
    story.label = evil
    text = page(story, told_choices(story))
    assert text.count("<script>") == 1
    assert "alert(1)</script>" not in text
    read = Document(text)
    assert read.text("h1") == [f"ValueError: {evil}"]


def test_keys_and_hover_find_what_they_need():
    """The script looks these up by name."""
    text = page(evicted(), told_choices(evicted()))
    script = text[text.index("<script>") : text.index("</script>")]
    read = Document(text)
    for name in re.findall(r'getElementById\("([a-z]+)"\)', script):
        assert any(attrs.get("id") == name for _, attrs in read.tags), name
    for name in re.findall(r'querySelectorAll\("(?:a|g)\.([a-z]+)"\)', script):
        assert read.having(name), name
    assert all("data-lane" in event for event in read.having("event"))


def test_a_choice_is_listed_in_words_and_nobody_woke_it(tmp_path):
    made = program(
        tmp_path,
        """
        import vtloop

        async def main():
            return vtloop.choose(3)
        """,
    )
    story = told(made.main, listed(Choice("choose", "Task-1", 1, 0, 2, 3)))
    text = page(story, told_choices(story))
    assert "<td>choose(3) in Task-1 (main) step 1 gave 2</td><td></td>" in text


def test_of_many_lanes_those_that_the_story_is_about_come_first(tmp_path):
    made = program(
        tmp_path,
        """
        import asyncio

        async def work(event):
            await event.wait()

        async def main():
            event = asyncio.Event()
            tasks = [asyncio.create_task(work(event), name=f"worker-{n}") for n in range(12)]
            await asyncio.sleep(1)
            event.set()
            await asyncio.wait(tasks)
        """,
    )
    story = told(made.main, listed(Choice("hold", "worker-9", 2, 1, 1, 2)))
    heads = re.findall(r'<g class="lane l.">.*?<text[^>]*>([^<]*)</text>', page(story, told_choices(story)), re.S)
    assert heads[:4] == ["worker-9", "worker-10", "Task-1 (main)", "worker-0"]


def test_a_line_of_another_file_is_shown_with_it(tmp_path):
    other = program(tmp_path, "async def other(sleep):\n    await sleep(1)\n", name="other.py")
    made = program(
        tmp_path,
        """
        import asyncio

        async def main(other):
            one = 1
            two = 2
            await other(asyncio.sleep)
        """,
    )
    text = page(told(lambda: made.main(other.other)), [])
    assert f"Numbers of lines without a file are of <code>{tmp_path / 'program.py'}</code>." in text
    assert '<tspan class="number">other.py:2</tspan>  await sleep(1)' in text
    assert '<tspan class="number">5</tspan>  one = 1' in text
    assert "without a file" not in page(evicted(), told_choices(evicted()))


def big(tasks, events):
    """A story of that size, made up."""
    story = Story(error="ValueError: no", steps=events)
    spots = tuple(Spot("app/service.py", n, "work", f"await self.queue.put(item_{n})") for n in range(1, 4))
    for n in range(tasks):
        story.lanes[f"worker-{n}"] = Lane(f"worker-{n}", "work", spots[0], n)
    for n in range(1, events + 1):
        who = f"worker-{n % tasks}"
        made = Moment(n, n, n * 1_000_000, "step", who, n // tasks + 1, 0, 3, n, max(n - 1, 1), (), spots)
        made.waits, made.stands = "Queue.put on self.queue (full, maxsize 1)", spots[-1]
        story.moments.append(made)
    return story


def test_large_run_gives_a_page_of_some_megabytes_that_says_what_it_leaves_out():
    story = big(200, 4_000)
    text = page(story, [])
    assert len(text) < 3_000_000
    read = Document(text)
    assert len(read.having("lane")) == MOST_LANES
    assert len(read.having("event")) <= MOST_ROWS
    assert len([attrs for tag, attrs in read.tags if tag == "tr" and "id" in attrs]) == MOST_EVENTS
    assert any(note.startswith("Not drawn: 184 other tasks with ") for note in read.text("p"))
    assert read.text("summary") == ["3,000 events, the last ones; 1,000 before them are left out"]


def test_long_run_is_folded_in_the_picture():
    read = document(big(10, 2_000))
    assert len(read.having("event")) == 15
    assert "1,985 more events, up to 1.988 s" in read.text("text")


def test_steps_at_one_instant_are_one_below_the_other_and_a_jump_is_a_line_across():
    text = page(evicted(), [])
    tops = [
        float(top) for top in re.findall(r'<rect x="[\d.]+" y="([\d.]+)" width="[\d.]+" height="[\d.]+" rx="4"/>', text)
    ]
    assert tops == sorted(set(tops))
    assert re.findall(r'<g class="time">.*?<text [^>]*>([^<]+)</text>', text) == ["0 s", "30 s"]


# -- Perfetto --------------------------------------------------------------------------------------------------------


def slices(story, category="step"):
    events = trace_events(story, told_choices(story))["traceEvents"]
    return [event for event in events if event["ph"] == "X" and event["cat"] == category]


def test_every_event_has_what_the_format_asks_for():
    story = evicted()
    data = json.loads(trace_events_text(story, told_choices(story)))
    assert set(data) == {"traceEvents", "displayTimeUnit", "otherData"}
    assert "a step takes no virtual time" in data["otherData"]["note"]
    for event in data["traceEvents"]:
        assert event["ph"] in "XMsfi"
        assert isinstance(event["pid"], int)
        assert isinstance(event["tid"], int)
        assert isinstance(event["name"], str)
        if event["ph"] != "M":
            assert event["ts"] >= 0
        if event["ph"] == "X":
            assert event["dur"] > 0


def test_a_thread_for_each_task_and_a_slice_for_each_step_in_order():
    story = evicted()
    data = trace_events(story, told_choices(story))["traceEvents"]
    names = {e["tid"]: e["args"]["name"] for e in data if e["name"] == "thread_name"}
    assert [names[tid] for tid in sorted(names)] == [
        *("callbacks", "Task-1 (main)", "Task-2 (load)", "Task-3 (read)", "Task-4 (evict)"),
    ]
    steps = slices(story)
    assert [(names[one["tid"]], one["name"]) for one in steps][-4:-1] == [
        ("Task-2 (load)", 'cache["user"] = "ann"'),
        ("Task-4 (evict)", "cache.clear()"),
        ("Task-3 (read)", 'return cache["user"]'),
    ]
    assert all(a["ts"] + a["dur"] <= b["ts"] + 1e-3 for a, b in zip(steps, steps[1:], strict=False))


def test_steps_of_one_instant_end_before_the_next_instant():
    async def main():
        for _ in range(50):
            await asyncio.sleep(0)
        await asyncio.sleep(1e-6)

    steps = slices(told(main))
    assert steps[-2]["ts"] + steps[-2]["dur"] <= 1.0
    assert steps[-1]["ts"] == 1.0


def test_slices_of_a_thread_do_not_overlap():
    for story in (evicted(), deadlocked()):
        lanes = {}
        for one in [*slices(story), *slices(story, "wait")]:
            lanes.setdefault(one["tid"], []).append((one["ts"], one["ts"] + one["dur"]))
        for spans in lanes.values():
            spans.sort()
            assert all(end <= begin + 1e-3 for (_, end), (begin, _) in zip(spans, spans[1:], strict=False))


def test_arrows_begin_and_end_inside_slices_and_choices_are_instants():
    story = evicted()
    data = trace_events(story, told_choices(story))["traceEvents"]
    starts = {e["id"]: e for e in data if e["ph"] == "s"}
    ends = {e["id"]: e for e in data if e["ph"] == "f"}
    assert len(starts) == 6
    assert set(starts) == set(ends)
    steps = slices(story)
    for arrow in (*starts.values(), *ends.values()):
        assert any(one["tid"] == arrow["tid"] and one["ts"] <= arrow["ts"] <= one["ts"] + one["dur"] for one in steps)
    assert all(starts[key]["ts"] <= ends[key]["ts"] for key in starts)
    (instant,) = [e for e in data if e["ph"] == "i"]
    assert (instant["name"], instant["tid"]) == ("choice 1", 4)
    assert instant["args"]["words"].startswith("Task-3 (read) step 2 ran after Task-4 (evict) step 2")


def test_a_lag_is_an_instant_on_the_thread_whose_step_took_the_time():
    async def main():
        await asyncio.sleep(1)

    story = told(main, listed(Choice("lag", "Task-1", 1, 0, 4, 9), lag=0.4))
    (instant,) = [e for e in trace_events(story, told_choices(story))["traceEvents"] if e["ph"] == "i"]
    assert instant["tid"] == 1
    assert instant["args"]["words"].startswith("Task-1 (main) step 1 took 0.2 s")
