"""The teller: a recording that also keeps the full story of the run.

Given to a run that is played back for people (`recorder=` of `vtloop.run.execute`), never while exploring: it looks at
the task of every step when that step is over, and traces the lines that run.  What it keeps are strings and numbers;
tasks are seen through weak references, so that they die when they would.  It must never change what the run does.
"""

from __future__ import annotations

import asyncio
import sys
import weakref
from collections import deque
from contextlib import suppress
from types import FrameType
from typing import Any

from vtloop.background import message_of
from vtloop.choices import latency
from vtloop.clock import VirtualClock
from vtloop.cpython_waits import end_of, future_waited_for
from vtloop.diagnosis.chains import Places, plain_name
from vtloop.diagnosis.describe import phrase
from vtloop.diagnosis.waits import TaskWait, WaitGraph, capture
from vtloop.handles import Handle
from vtloop.loop import EventLoop
from vtloop.ready import Item, ReadyLine, task_of
from vtloop.recording import Recording
from vtloop.report.lines import LineTracer, own_file
from vtloop.report.story import Lane, Left, Moment, Spot, Story, spot_of
from vtloop.schedulers.odds import CANCEL_AFTER

__all__ = ["MOST_MOMENTS", "Teller", "in_a_line", "teller"]

MOST_MOMENTS = 6_000
"""How many events of a run are told, the last ones."""

MOST_PASSED = 40
"""How many items that were passed over are kept of one pick."""

MOST_TASKS = 40
"""How many pending tasks are looked at to find out who holds a lock."""


_RUNNERS = frozenset(
    getattr(EventLoop, name).__code__ for name in ("_run_fifo", "_run_chosen", "_run_line", "_step_once")
)


def teller(clock: VirtualClock) -> Recording:
    """A fresh teller, as ``recorder=`` of a run."""
    return Teller(clock)


class Teller(Recording):
    """Records a run and tells it.

    Args:
        clock: The clock of the run.
        keep: How many events are told, the last ones.
        since: The step from which on it looks closely; what comes before is not going to be kept.

    Attributes:
        story: The story so far; complete once the run is over.
    """

    def __init__(self, clock: VirtualClock, keep: int = MOST_MOMENTS, since: int = 0) -> None:
        super().__init__(clock, None)
        self._since = since
        self.story = Story()
        self._moments: deque[Moment] = deque(maxlen=keep)
        self._told = 0
        self._now: Moment | None = None
        self._task: weakref.ref[asyncio.Task[Any]] | None = None
        self._makers: dict[int, int | None] = {}  # of each item in the line: the event during which it arrived
        self._pending: dict[str, weakref.ref[asyncio.Task[Any]]] = {}
        self._unstarted: dict[int, weakref.ref[asyncio.Task[Any]]] = {}  # by number of arrival
        self._cancels: dict[str, int] = {}  # requests that each task had at the end of its last step
        self._woken: list[tuple[int, weakref.ref[asyncio.Task[Any]]]] = []  # what arrived during this event
        self._cancels_then: dict[int, int] = {}  # the requests of each at the end of that event, by number of arrival
        self._stood: dict[str, Spot | None] = {}
        self._first = self._next = 0  # numbers of arrival of this loop's line begin here, and of the next one's
        self._places = Places()
        self._tracer = LineTracer()
        self._left_before: list[Left] = []

    # -- the observer's part ------------------------------------------------------------------------------------

    def attach(self, line: ReadyLine) -> None:
        """Called with the line that is watched; again with that of a script's next loop."""
        super().attach(line)
        self._first = self._next
        self._left_before = list(self.story.left)

    def follow(self, clock: VirtualClock) -> None:
        """Go on with a further loop of the same run."""
        super().follow(clock)
        for known in (self._pending, self._unstarted, self._cancels, self._stood):
            known.clear()

    def admitted(self, item: Item) -> None:
        """An item has joined the line: it became ready during the event that goes on."""
        super().admitted(item)
        born = self._first + item[1]
        self._next = max(self._next, born + 1)
        self._makers[born] = self._now.number if self._now is not None else None
        task: Any = task_of(item[3]) if item[3] is not None else None
        if isinstance(task, asyncio.Task):
            self._woken.append((born, weakref.ref(task)))
            if item[5] is None:
                self._unstarted[born] = self._woken[-1][1]

    def taken(self, item: Item, index: int, options: int) -> None:
        """An item is about to run; the one before it is over."""
        self._finish()
        line = self._line
        assert line is not None
        passed = tuple([self._first + other[1] for other in line.items[: min(index, MOST_PASSED)]])
        super().taken(item, index, options)
        who, nth = self.after
        task = task_of(item[3]) if item[3] is not None else None
        kind = "step" if task is not None else "turn" if item[3] is None else "callback"
        moment = self._begin(kind, who, nth, index, options)
        moment.born, moment.passed = self._first + item[1], passed
        moment.by = self._makers.pop(moment.born, None)
        self._unstarted.pop(moment.born, None)
        self._now = moment
        if task is not None:
            self._meet(moment, task)
        elif kind == "callback":
            moment.who, moment.internal = _callback(item[3])
        if self._ran >= self._since:
            self._tracer.start()

    def chosen(self, kind: str, index: int, options: int) -> None:
        """A choice other than the next step was made; it is told when it deviates."""
        nth = self.place(kind)[3]
        super().chosen(kind, index, options)
        if index and kind == CANCEL_AFTER:
            self._look()  # before the cancellation, while the task still waits for something
        if index:
            moment = self._begin("choice", kind, nth, index, options)
            moment.by = self._now.number if self._now is not None else None
            moment.stands = self._asked_at()

    def note_end(self) -> None:
        """The run has ended, nothing is unwound yet: see where everybody stands."""
        super().note_end()
        self._finish()
        self._tracer.stop()
        line = self._line
        self.story.left = list(self._left_before)
        for item in line.waiting() if line is not None else ():
            self._leave(item)
        story = self.story
        for lane in story.lanes.values():
            lane.stands, lane.waits = None, ""
        living = self._living()
        graph = self._graph([*living.values(), *self._waiting()])
        for name, wait in zip(living, graph.tasks, strict=False):
            lane = story.lanes[name]
            lane.stands, lane.waits = _stands(wait), _waits(wait, graph)
        story.lanes = dict(sorted(story.lanes.items(), key=lambda item: item[1].born))
        story.moments = list(self._moments)
        last = {moment.who: moment for moment in story.moments if moment.kind == "step"}
        for name, moment in last.items():
            # Now that more of them wait, a lock may have a better name than when the wait began.
            moment.waits = story.lanes[name].waits or moment.waits
        story.dropped = self._told - len(story.moments)
        story.choices = list(self.choices)

    # -- parts --------------------------------------------------------------------------------------------------

    def _begin(self, kind: str, who: str, nth: int, index: int, options: int) -> Moment:
        self._told += 1
        moment = Moment(self._told, self._ran, self._clock.ns, kind, who, nth, index, options)
        self._moments.append(moment)
        return moment

    def _meet(self, moment: Moment, task: Any) -> None:
        """A step of ``task`` begins."""
        name = moment.who
        if name not in self.story.lanes:
            self._open_lane(name, task, moment.born)
        with suppress(TypeError):
            self._task = weakref.ref(task)
            if name not in self._pending:
                self._pending[name] = self._task
        before, then = self._cancels.get(name, 0), self._cancels_then.pop(moment.born, 0)
        cancels = task.cancelling() if isinstance(task, asyncio.Task) else 0
        if cancels > before:
            moment.cancelled = "by it" if then > before else "later"
        self._cancels[name] = cancels

    def _open_lane(self, name: str, task: Any, born: int) -> None:
        known = isinstance(task, asyncio.Task) and not task.done()
        coroutine = _coroutine_of(task) if known else ""
        self.story.lanes[name] = Lane(name, coroutine, spot_of(self._places.of_origin(task)), born)

    def _finish(self) -> None:
        """The event that went on is over: what it ran, and where its task stands now."""
        for born, woken in self._woken:
            task = woken()
            if task is not None and not task.done() and task.cancelling():
                self._cancels_then[born] = task.cancelling()
        self._woken.clear()
        self._look()
        self._now = None

    def _look(self) -> None:
        """See what the event that goes on has run, and where its task stands; once."""
        moment = self._now
        ref, self._task = self._task, None
        if moment is None:
            return
        lines, more = self._tracer.taken()
        if lines:
            moment.lines, moment.more_lines = lines, more
        task = ref() if ref is not None else None
        if task is None or moment.kind != "step":
            return
        if task.done():
            self._pending.pop(moment.who, None)
            self._cancels.pop(moment.who, None)
            self._end(moment, task)
            self._stood.pop(moment.who, None)
        elif isinstance(task, asyncio.Task) and self._ran >= self._since:
            self._cancels[moment.who] = min(task.cancelling(), self._cancels.get(moment.who, 0))
            self._wait(moment, task)

    def _end(self, moment: Moment, task: asyncio.Task[Any]) -> None:
        if task.cancelled():
            moment.end = "cancelled"
            return
        error = end_of(task)
        if error is None:
            moment.end = "returned"
            return
        moment.end, moment.error = "raised", in_a_line(error)
        moment.stands = self._raised_at(moment, error)

    def _wait(self, moment: Moment, task: asyncio.Task[Any]) -> None:
        graph = self._graph(self._near(task))
        wait = graph.tasks[0]
        if wait.wait is not None and wait.wait.kind != "sleep":  # others have to do with it
            living = [*self._living().values(), *self._waiting()]
            if len(living) <= MOST_TASKS and task in living:
                graph = self._graph(living)
                wait = graph.tasks[living.index(task)]
        moment.stands, moment.waits = _stands(wait), _waits(wait, graph)
        self._stood[moment.who] = moment.stands

    @staticmethod
    def _near(task: asyncio.Task[Any]) -> list[asyncio.Task[Any]]:
        """The task and the one it waits for: where there are too many to look at all."""
        awaited = future_waited_for(task)
        return [task, awaited] if isinstance(awaited, asyncio.Task) else [task]

    def _graph(self, tasks: list[asyncio.Task[Any]]) -> WaitGraph:
        """The wait-for graph of some tasks; the first task of the run is taken for the main one."""
        main = next(iter(self._pending.values()), None)
        return capture(tasks, main() if main is not None else None)

    def _waiting(self) -> list[asyncio.Task[Any]]:
        """The tasks that have not had their first step."""
        found = [ref() for ref in self._unstarted.values()]
        return [task for task in found if isinstance(task, asyncio.Task) and not task.done()]

    def _living(self) -> dict[str, asyncio.Task[Any]]:
        """The pending tasks that have run, in order of their first step."""
        found = {name: ref() for name, ref in self._pending.items()}
        return {name: task for name, task in found.items() if isinstance(task, asyncio.Task) and not task.done()}

    def _raised_at(self, moment: Moment, error: BaseException) -> Spot | None:
        """The innermost line on the way of ``error`` at which this step was; an awaited task may have raised it."""
        found: list[Spot] = []
        at = error.__traceback__
        while at is not None:
            code = at.tb_frame.f_code
            if not self._places.is_internal(code):
                spot = spot_of(self._places.of_instruction(code, at.tb_lasti))
                if spot is not None and (own_file(code.co_filename) or not found):
                    found.append(spot)
            at = at.tb_next
        here = {*moment.lines, self._stood.get(moment.who)}
        return next((spot for spot in reversed(found) if spot in here), found[-1] if found else None)

    def _asked_at(self) -> Spot | None:
        """The line of the program that asks for a choice; None when the loop itself does."""
        frame: FrameType | None = sys._getframe(2)
        while frame is not None and frame.f_code not in _RUNNERS:
            if own_file(frame.f_code.co_filename):
                return spot_of(self._places.of_instruction(frame.f_code, frame.f_lasti))
            frame = frame.f_back
        return None

    def _leave(self, item: Item) -> None:
        """Tell an item that never came to run, under the name it would have had."""
        born, callback = self._first + item[1], item[3]
        if callback is None:
            return
        task: Any = task_of(callback)
        if task is None:
            self.story.left.append(Left(born, _callback(callback)[0], item[5][1], "callback", self._makers.get(born)))
            return
        name, nth = self.key_of(item)
        if name not in self.story.lanes:
            self._open_lane(name, task, born)
        self.story.left.append(Left(born, name, nth, "step", self._makers.get(born)))


def _stands(wait: TaskWait) -> Spot | None:
    """The innermost line of a chain that is neither asyncio's nor ours."""
    return spot_of(next((place for place in reversed(wait.chain) if not place.internal), None))


def _waits(wait: TaskWait, graph: WaitGraph) -> str:
    if wait.wait is None:
        return ""
    if wait.wait.kind == "sleep" and wait.wait.detail:
        return f"sleep {wait.wait.detail}"
    if wait.chain and wait.chain[-1].internal and wait.chain[-1].function == latency.__name__:
        return "a latency"
    return phrase(wait.wait, graph, wait.label)


def _callback(callback: Any) -> tuple[str, bool]:
    """The name of a plain callback, and whether it is asyncio's or vtloop's own."""
    inner: Any = getattr(callback, "__self__", None)
    inner = (inner._callback if isinstance(inner, Handle) else None) or callback
    name = plain_name(getattr(inner, "__qualname__", None) or type(inner).__name__)
    module = getattr(inner, "__module__", None) or getattr(type(getattr(inner, "__self__", None)), "__module__", "")
    return name, str(module).split(".")[0] in ("asyncio", "_asyncio", "vtloop")


def in_a_line(error: BaseException) -> str:
    """Type and first line of the message of an exception."""
    lines = message_of(error).splitlines()
    return f"{type(error).__name__}: {lines[0][:200]}" if lines and lines[0] else type(error).__name__


def _coroutine_of(task: asyncio.Task[Any]) -> str:
    coroutine: Any = task.get_coro()
    return plain_name(getattr(coroutine, "__qualname__", None) or type(coroutine).__name__)
