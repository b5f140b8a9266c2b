"""Each choice that deviates from asyncio's own order, in words, with the lines of the program that it is about.

Called by everything in this package that shows a story.  One function a kind of choice.  It must never guess: where
the story does not hold an event, the sentence says less.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from vtloop.clock import seconds_text
from vtloop.keys import START, Key
from vtloop.report.story import LATENCY, TIMEOUT, TIMER, Left, Moment, Spot, Story
from vtloop.report.touching import meeting, without_comment
from vtloop.schedulers.odds import CANCEL_AFTER
from vtloop.trace import Choice

__all__ = ["Told", "did", "first_line", "line_text", "shown_lines", "told_choices", "waiting", "woken"]

MOST_NAMED = 3
"""How many of those who went first are named."""

LONGEST_SOURCE = 60


@dataclass(frozen=True, slots=True)
class Told:
    """A choice in words.

    Attributes:
        number: Its place among the deviating choices, from 1.
        kind: What was chosen, as in the trace.
        moment: The number of the event that it made happen, if that is told.
        at: The number of the event with which it shows: for a step that stood back, the first that went before it.
        words: One sentence, without the lines.
        before: The line that came first because of it, and whose.
        after: The line that came later because of it, and whose.
        born: The number of arrival of a step that stood back.
    """

    number: int
    kind: str
    moment: int | None
    at: int | None
    words: str
    before: Spot | None = None
    after: Spot | None = None
    born: int = -1

    @property
    def text(self) -> str:
        """The whole in a line."""
        if self.before is not None and self.after is not None:
            return f"{self.words}: {line_text(self.before)} before {line_text(self.after)}"
        spot = self.before or self.after
        return f"{self.words}: {line_text(spot)}" if spot is not None else self.words


def line_text(spot: Spot, place: str = "") -> str:
    """``docs/examples/evicted_cache.py:21 cache.clear()``; or with ``place`` instead of the file and line."""
    source = without_comment(spot.source)
    if len(source) > LONGEST_SOURCE:
        source = f"{source[: LONGEST_SOURCE - 3]}..."
    return f"{place or spot.place} {source}".rstrip()


def told_choices(story: Story) -> list[Told]:
    """The deviating choices of a story, in order."""
    asked = {}
    after: Key = START
    for moment in story.moments:
        if moment.kind == "step":
            after = (moment.who, moment.nth)
        elif moment.kind == "choice":
            asked[(moment.who, *after, moment.nth)] = moment
    steps: dict[tuple[str, int], Moment | Left] = {(one.who, one.nth): one for one in story.left if one.kind == "step"}
    for moment in story.moments:
        if moment.kind != "choice":
            steps.setdefault((moment.who if moment.kind == "step" else moment.kind, moment.nth), moment)
    told = []
    for number, choice in enumerate(story.choices, 1):
        found = steps.get((choice.task, choice.step))
        if choice.kind == "step":
            told.append(_step(story, number, choice, found))
        elif choice.kind == "hold":
            told.append(_hold(story, number, choice, found))
        else:
            answer = asked.get((choice.kind, choice.task, choice.step, choice.age))
            told.append(_other(story, number, choice, answer))
    return told


# -- who runs when ---------------------------------------------------------------------------------------------------


def _step(story: Story, number: int, choice: Choice, moment: Moment | Left | None) -> Told:
    if not isinstance(moment, Moment):
        return Told(number, choice.kind, None, None, choice.words or f"{choice.task} step {choice.step} ran earlier")
    passed = story.passed_over(moment)
    steps = [one for one in passed if one.kind == "step"] or passed
    words = f"{story.name(moment)} ran before {_named(story, steps)}" if steps else f"{story.name(moment)} ran earlier"
    before, after = _lines(story, moment, next((one for one in steps if one.kind == "step"), None))
    return Told(number, choice.kind, moment.number, moment.number, words, before, after)


def _hold(story: Story, number: int, choice: Choice, moment: Moment | Left | None) -> Told:
    if moment is None:
        words = choice.words or f"{choice.task} step {choice.step} stood back for {choice.age} others"
        return Told(number, choice.kind, None, None, words)
    first = story.went_first(moment)
    steps = [one for one in first if one.kind == "step"] or first
    never = "" if isinstance(moment, Moment) else ", and the run ended before it came"
    if len(steps) == 1:
        words = f"{story.name(moment)} ran after {story.name(steps[0])}" if not never else ""
        words = words or f"{story.name(moment)} stood back for {story.name(steps[0])}{never}"
    else:
        words = f"{story.name(moment)} stood back while {_named(story, steps) or 'others'} went first{never}"
    if isinstance(moment, Moment) and moment.cancelled == "later":
        words += ", and was cancelled meanwhile"
    # It would have had to beat the last of them.
    before, after = _lines(story, steps[-1] if steps else None, moment)
    number_of = moment.number if isinstance(moment, Moment) else None
    at = steps[0].number if steps else number_of
    return Told(number, choice.kind, number_of, at, words, before, after, moment.born)


def _lines(story: Story, first: Moment | None, then: Moment | Left | None) -> tuple[Spot | None, Spot | None]:
    """The lines of two steps whose order can matter; the first ones of both where none seem to meet."""
    if first is not None and isinstance(then, Moment):
        met = meeting(first.lines, then.lines)
        if met is not None:
            return met
    before = first_line(story, first) if first is not None else None
    if isinstance(then, Moment):
        return before, first_line(story, then)
    return before, _stood(story, then) if then is not None else None


def _named(story: Story, moments: Sequence[Moment | Left]) -> str:
    names = [story.name(one) for one in moments]
    if len(names) > MOST_NAMED:
        return f"{', '.join(names[:MOST_NAMED])} and {len(names) - MOST_NAMED} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


_IDLE = ("while True:", "for ", "async for ", "try:", "finally:", "else:", "def ", "async def ", "@", "class ")
_HEADS = ("async with ", "with ", *_IDLE)
"""Lines that say little about what a step does."""


def first_line(story: Story, moment: Moment) -> Spot | None:
    """The first line of weight that an event ran; where lines were not traced, the one at which it went on."""
    for heads in (_HEADS, _IDLE):
        telling = next((spot for spot in moment.lines if not spot.source.startswith(heads)), None)
        if telling is not None:
            return telling
    return moment.lines[0] if moment.lines else _stood(story, moment)


_PLAIN = ("def ", "async def ", "@", "class ", "try:", "else:", "finally:")


def shown_lines(story: Story, moment: Moment, most: int) -> list[Spot]:
    """The lines of a step for a picture, those that say nothing left out; where it went on, if there are none."""
    lines = [spot for spot in moment.lines if not spot.source.startswith(_PLAIN)] or list(moment.lines)
    if not lines and moment.kind == "step":
        spot = _stood(story, moment)
        return [spot] if spot is not None else []
    return lines if len(lines) <= most else [*lines[: most - 1], lines[-1]]


def _stood(story: Story, moment: Moment | Left) -> Spot | None:
    """Where the task of a step stood before it."""
    if moment.kind != "step":
        return None
    earlier = story.find(moment.who, moment.nth - 1)
    return earlier.stands if earlier is not None else None


# -- other choices ---------------------------------------------------------------------------------------------------


def _other(story: Story, number: int, choice: Choice, moment: Moment | None) -> Told:
    make = _KINDS.get(choice.kind)
    owner = story.at(moment.by) if moment is not None else None
    if make is None or moment is None or owner is None:
        words = choice.words or f"{choice.kind}: {choice.index} of {choice.options}"
        return Told(number, choice.kind, None, None, words)
    words, spot = make(story, choice, owner, moment.stands)
    if choice.kind == "timer":
        words, first, then = _tied(story, choice, owner, words)
        return Told(number, choice.kind, moment.number, moment.number, words, first, then)
    # Seen in the step that is cancelled, not behind it.
    at = owner.number if choice.kind == "cancel before" else moment.number
    return Told(number, choice.kind, at, at, words, spot)


def _lag(story: Story, choice: Choice, owner: Moment, asked_at: Spot | None) -> tuple[str, Spot | None]:
    ns = round(float(story.options.get("lag", 0.0)) * 1e9) * choice.index // max(choice.options - 1, 1)
    return f"{story.name(owner)} took {seconds_text(ns)} s of virtual time", first_line(story, owner)


def _stretch(story: Story, choice: Choice, owner: Moment, asked_at: Spot | None) -> tuple[str, Spot | None]:
    back = story.find(owner.who, owner.nth + 1) if owner.kind == "step" else None
    if back is None or back.cancelled == "by it":
        return f"a sleep of {story.label_of(owner.who)} was to last longer than it says", asked_at
    lasted = seconds_text(back.time_ns - owner.time_ns)
    return f"a sleep of {story.label_of(owner.who)} lasted {lasted} s", asked_at


def _latency(story: Story, choice: Choice, owner: Moment, asked_at: Spot | None) -> tuple[str, Spot | None]:
    back = story.find(owner.who, owner.nth + 1) if owner.kind == "step" else None
    if back is None or back.cancelled == "by it":
        return f"a latency in {story.name(owner)} was to take longer than it must", asked_at
    return f"a latency in {story.name(owner)} took {seconds_text(back.time_ns - owner.time_ns)} s", asked_at


def _cancel_before(story: Story, choice: Choice, owner: Moment, asked_at: Spot | None) -> tuple[str, Spot | None]:
    earlier = story.find(owner.who, owner.nth - 1)
    waits = earlier.waits if earlier is not None else ""
    over = "which was over already" if waits.startswith("sleep") else "which had come already"
    return f"{story.label_of(owner.who)} was cancelled while it {_waited(waits)}, {over}", _stood(story, owner)


def _cancel_after(story: Story, choice: Choice, owner: Moment, asked_at: Spot | None) -> tuple[str, Spot | None]:
    return f"{story.label_of(owner.who)} was cancelled while it {_waited(owner.waits)}", owner.stands


def _waited(waits: str) -> str:
    if waits.startswith("sleep"):
        return f"slept{waits.removeprefix('sleep')}"
    return f"waited for {waits}" if waits else "waited"


def _timer(story: Story, choice: Choice, owner: Moment, asked_at: Spot | None) -> tuple[str, Spot | None]:
    return f"of {choice.options} timers due together, number {choice.index + 1} in asyncio's order fired first", None


def _tied(story: Story, choice: Choice, owner: Moment, plain: str) -> tuple[str, Spot | None, Spot | None]:
    """Which timer fired first, and a line of what it and the next one woke; ``plain`` where it may be another."""
    fired = [one for one in story.moments if one.by == owner.number and one.kind == "callback"]
    if owner.kind != "turn" or len(fired) != choice.options:
        return plain, None, None  # more of them fell due, or some of them were cancelled
    woken = [story.woke(one) if one.internal else None for one in fired]
    names = [story.name(one) for one in fired]
    if choice.options > 2 or names[0] == names[1]:
        which = f"number {choice.index + 1} of {choice.options} in asyncio's order"
        return f"{names[0]}, {which}, fired first of the timers due together", None, None
    words = f"{names[0]} fired before {names[1]}, due at the same time"
    one, other = woken
    if one is None or other is None or one.number > other.number:
        return words, None, None
    return words, first_line(story, one), first_line(story, other)


def _call(story: Story, choice: Choice, owner: Moment, asked_at: Spot | None) -> tuple[str, Spot | None]:
    if choice.index == choice.options - 1:
        return "no executor call came back yet", None
    return f"number {choice.index + 1} of the executor calls came back first", None


def _chosen(story: Story, choice: Choice, owner: Moment, asked_at: Spot | None) -> tuple[str, Spot | None]:
    return f"choose({choice.options}) in {story.name(owner)} gave {choice.index}", asked_at


def _sometimes(story: Story, choice: Choice, owner: Moment, asked_at: Spot | None) -> tuple[str, Spot | None]:
    return f"sometimes() was true in {story.name(owner)}", asked_at


_KINDS: dict[str, Callable[[Story, Choice, Moment, Spot | None], tuple[str, Spot | None]]] = {
    "lag": _lag,
    "stretch": _stretch,
    "latency": _latency,
    "cancel before": _cancel_before,
    "cancel after": _cancel_after,
    "timer": _timer,
    "executor call": _call,
    "choose": _chosen,
    "sometimes": _sometimes,
}


# -- why something runs, and what it came to -------------------------------------------------------------------------


def woken(story: Story, moment: Moment) -> tuple[str, Moment | None]:
    """Why an event became ready, in words, and the step of another task that did it, if one did."""
    words, maker = _woken(story, moment)
    return (f"{words}, then cancelled" if moment.cancelled == "later" else words), maker


def _woken(story: Story, moment: Moment) -> tuple[str, Moment | None]:
    maker = story.at(moment.by)
    if maker is None:
        return ("", None) if moment.by is None else ("made ready earlier", None)
    if maker.kind == "turn":
        return ("a timer or a thread", None)
    if maker.kind == "callback":
        if maker.internal and maker.who in _OVER:
            return _OVER[maker.who], None
        above = story.at(maker.by)
        if maker.internal and above is not None and above.kind == "step" and above.who != moment.who:
            what = f"{story.label_of(above.who)} ended" if above.end else f"woken by {story.name(above)}"
            return what, above
        return f"{'cancelled' if moment.cancelled == 'by it' else 'woken'} by callback {maker.who}", None
    if maker.who == moment.who and maker.kind == "step":
        if moment.cancelled != "by it":
            return "let others go first", None
        explored = any(choice.who == CANCEL_AFTER for choice in story.chosen_in(maker))
        return ("cancelled by the explorer" if explored else "had cancelled itself"), None
    verb = "started by" if moment.nth == 1 and moment.kind == "step" else "woken by"
    return f"{'cancelled by' if moment.cancelled == 'by it' else verb} {story.name(maker)}", maker


_OVER = {TIMER: "the sleep is over", TIMEOUT: "the timeout is over", LATENCY: "the latency is over"}


def did(moment: Moment) -> str:
    """What a step came to, in words: ``waits for Lock bob``, ``returned``, ``raised KeyError: 'user'``."""
    if moment.end:
        return f"raised {moment.error}" if moment.end == "raised" else moment.end
    return waiting(moment.waits)


def waiting(waits: str) -> str:
    """What a task waits for as what it does: ``waits for Lock bob``, ``sleeps until t=30 s``."""
    return (
        f"sleeps{waits.removeprefix('sleep')}" if waits.startswith("sleep") else f"waits for {waits}" if waits else ""
    )
