"""The wait-for graph: which task waits for what, who holds it, and where that goes round in a circle.

Called by `verdict` (and whoever needs the facts without the text).  `capture` freezes everything into plain values
first; rendering happens elsewhere and later, when the tasks may already be gone.  Facts only: what cannot be known,
such as the holder of a lock taken by hand, is left unknown.  Must never change a task, a future or the program's data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator, Sequence
from types import FrameType
from typing import Any, NamedTuple

from vtloop import anyio_waits
from vtloop.cpython_waits import (
    completion_queue,
    frame_locals,
    future_waited_for,
    identity,
    unread_exception,
    waiting_line,
)
from vtloop.diagnosis.chains import Link, Place, Places, await_chain, one_line, plain_name
from vtloop.diagnosis.cycles import circles
from vtloop.diagnosis.graph import HELD, IN_LINE, MOST, CycleStep, TaskWait, Thing, UnreadError, Wait, WaitGraph
from vtloop.diagnosis.holders import Holders
from vtloop.diagnosis.names import Namer
from vtloop.diagnosis.noted import NOTHING, holders_of, name_when_made, noted_of
from vtloop.diagnosis.targets import Target, target_of, tasks_behind, untouched

__all__ = ["TaskWait", "UnreadError", "Wait", "WaitGraph", "capture", "unread_errors"]

_ALL_AT_ONCE = ("Event", "Barrier", "Queue.join")
_BARE = ("task", "gather", "shield", "wait", "wait_for", "as_completed", "sleep", "executor call")
_MOST_CYCLES = 10
_NAME_TRIES = 3
_MOST_NAMELESS = 20
_LONGEST_NAME = 80
_UNNAMED_KINDS = ("task", "sleep", "executor call")


def capture(tasks: Sequence[asyncio.Task[Any]], main: asyncio.Task[Any] | None = None) -> WaitGraph:
    """The wait-for graph of the pending ones of `tasks`, kept in the order given (creation order, please).

    Costs 10-25 us a task.  Call it between steps; a task that is running shows only its outermost frame.
    """
    return _Capture([t for t in tasks if not t.done()], main).graph()


def unread_errors(tasks: Iterable[asyncio.Task[Any]]) -> tuple[UnreadError, ...]:
    """What finished ones of `tasks` raised and nobody has read; leaves it unread."""
    places = Places()
    found = []
    for task in tasks:
        error = unread_exception(task)
        if error is None:
            continue
        text = type(error).__name__ + (f": {_first_line(error)}" if _first_line(error) else "")
        traceback, place = error.__traceback__, None
        while traceback is not None:
            code = traceback.tb_frame.f_code
            if place is None or not places.is_internal(code):
                place = places.of_instruction(code, traceback.tb_lasti)
            traceback = traceback.tb_next
        found.append(UnreadError(_clipped(one_line(task.get_name())), text, place))
    return tuple(found)


def _first_line(error: BaseException) -> str:
    try:
        return (str(error).splitlines() or [""])[0][:200]
    except Exception:
        return ""


class _Seen:
    """One task while the capture lasts: the live objects behind a `TaskWait`."""

    __slots__ = ("chain", "coroutine", "state", "target", "task", "waiter")

    def __init__(self, task: asyncio.Task[Any], places: Places) -> None:
        self.task = task
        coroutine: Any = task.get_coro()
        self.chain: list[Link] = await_chain(coroutine)
        self.coroutine = plain_name(_qualname(coroutine, self.chain, places))
        self.waiter = waiter = future_waited_for(task)
        self.target: Target | None = None
        if waiter is not None and not waiter.done():
            self.state = "waiting"
            self.target = target_of(self.chain, waiter, places)
        elif getattr(coroutine, "cr_running", False):
            self.state = "running"
        elif getattr(coroutine, "cr_frame", None) is not None and not getattr(coroutine, "cr_suspended", True):
            self.state = "not started"
        else:
            self.state = "ready"


def _qualname(coroutine: object, chain: Sequence[Link], places: Places) -> str:
    """The name of the program's coroutine, which anyio's task groups and handles wrap in their own."""
    if chain and places.library(chain[0].code) == "anyio":
        outermost = next((link.code for link in chain if not places.is_internal(link.code)), chain[0].code)
        return outermost.co_qualname
    return getattr(coroutine, "__qualname__", None) or type(coroutine).__name__


class _Held(NamedTuple):
    """Who holds a lock: labels of pending tasks, their indexes as far as they were captured, names of ended ones."""

    labels: tuple[str, ...] = ()
    indexes: tuple[int, ...] = ()
    ended: tuple[str, ...] = ()
    by_hand: bool = False


_NOBODY = _Held()


class _Capture:
    def __init__(self, tasks: list[asyncio.Task[Any]], main: asyncio.Task[Any] | None) -> None:
        self.main = main
        self.places = Places()
        self.seen = [_Seen(task, self.places) for task in tasks]
        # Keyed by identity, only ever looked up: the tasks are alive as long as `seen` is.
        self.index = {identity(task): i for i, task in enumerate(tasks)}
        self.by_waiter = {identity(s.waiter): i for i, s in enumerate(self.seen) if s.target is not None}
        self.handles: dict[int, int] | None = None
        self.completions: dict[int, list[int]] | None = None
        self.sharing: dict[int, list[int]] = {}
        for i, seen in enumerate(self.seen):
            if seen.target is not None:
                self.sharing.setdefault(identity(seen.target.primitive), []).append(i)
        self.labels = _labels(self.seen)
        locks = any(s.target is not None and s.target.kind in HELD for s in self.seen)
        self.holders = Holders([s.chain for s in self.seen], self.places, locks)
        self.names = self._find_names()
        self.waiters: dict[int, set[int]] = {}
        for i, seen in enumerate(self.seen):
            if seen.target is not None and seen.target.kind == "Lock":
                self.waiters.setdefault(identity(seen.target.primitive), set()).add(i)
        self.held: dict[int, _Held] = {}
        self.things: dict[tuple[int, str], Thing] = {}
        self.list: list[Thing] = []
        self.alike: dict[tuple[object, ...], int] = {}
        self.stacks: dict[tuple[object, ...], tuple[int, tuple[Place, ...]]] = {}

    def graph(self) -> WaitGraph:
        tasks = tuple(self._task_wait(i, seen) for i, seen in enumerate(self.seen))
        return WaitGraph(tasks, _cycles(tasks), tuple(self.list))

    def _task_wait(self, index: int, seen: _Seen) -> TaskWait:
        places = tuple([self.places.of_frame(link) for link in seen.chain])
        wait = self._wait(index, seen.target) if seen.target is not None else None
        key = (seen.state, wait.kind if wait else None, *map(identity, places))
        stack, chain = self.stacks.setdefault(key, (len(self.stacks), places))
        return TaskWait(
            index,
            seen.task.get_name(),
            self.labels[index],
            seen.coroutine,
            seen.task is self.main,
            seen.state,
            chain,
            stack,
            self.places.of_origin(seen.task),
            wait,
        )

    def _wait(self, index: int, target: Target) -> Wait:
        limit = self.holders.limit_of(index, self.seen[index].task)
        name = self.names.get(identity(target.primitive))
        if target.via_condition and name:
            name = f"of Condition {name}"
        thing = self._thing(target, name)
        held = _NOBODY
        taken = ambiguous = False
        if target.kind in HELD:
            primitive: Any = target.primitive
            if identity(primitive) not in self.held:
                self.held[identity(primitive)] = self._holders_of(target.kind, primitive)
            held = self.held[identity(primitive)]
            waits_on = held.indexes
            ambiguous = not held.labels and not held.ended and self.holders.candidates(primitive) > 1
            taken = target.kind == "CapacityLimiter" or _is_taken(primitive)
        else:
            waits_on = self._tasks_behind(target)
        about = (held.labels, waits_on, limit, taken, ambiguous, held.by_hand, held.ended)
        return Wait(target.kind, name, target.detail, *about, target.library, thing)

    def _holders_of(self, kind: str, primitive: object) -> _Held:
        owners = anyio_waits.owners(primitive)
        if owners is not None:
            held_by = tuple(sorted(self.index[identity(task)] for task in owners if identity(task) in self.index))
            unseen = [task for task in owners if identity(task) not in self.index]
            alive = sorted(_named(t) for t in unseen if isinstance(t, asyncio.Task) and not t.done())
            ended = sorted(_named(t) for t in unseen if isinstance(t, str) or t.done())
            return _Held((*[self.labels[i] for i in held_by], *alive), held_by, tuple(ended), True)
        held_by = self.holders.of(primitive, self.waiters.get(identity(primitive), set()))
        if held_by or not _is_taken(primitive):
            return _Held(tuple([self.labels[i] for i in held_by]), held_by)
        noted, by_hand = holders_of(kind, primitive)
        labels, ended, indexes = list[str](), list[str](), list[int]()
        for name in noted:
            called = [i for i, seen in enumerate(self.seen) if seen.task.get_name() == name]
            if len(called) == 1:
                labels.append(self.labels[called[0]])
                indexes.append(called[0])
            else:  # several tasks have that name, or the task is not among those given
                (labels if self._lives(name) else ended).append(_named(name))
        return _Held(tuple(labels), tuple(sorted(indexes)), tuple(ended), by_hand)

    def _lives(self, name: str) -> bool:
        return any(task.get_name() == name for task in asyncio.all_tasks(self.seen[0].task.get_loop()))

    def _thing(self, target: Target, name: str | None) -> int | None:
        """The number of the primitive a task waits for; None for what is no object of its own."""
        if target.primitive is None or target.kind in _BARE:
            return None
        key = identity(target.primitive), target.kind  # a queue has a line of getters and one of putters
        known = self.things.get(key)
        if known is None:
            alike = self.alike[target.spot] = self.alike.get(target.spot, 0) + 1
            noted = noted_of(target.kind, target.primitive, self.places) if alike <= MOST else NOTHING
            line, still = self._line(target), untouched(target)
            known = Thing(len(self.list), target.kind, target.library, name, line, still, noted)
            self.things[key] = known
            self.list.append(known)
        return known.index

    def _line(self, target: Target) -> tuple[int, ...]:
        """Who waits for a primitive, in its own order."""
        if target.kind not in IN_LINE and target.kind not in _ALL_AT_ONCE:
            return tuple(self.sharing[identity(target.primitive)])
        line = anyio_waits.line if target.library == "anyio" else waiting_line
        found = [self.by_waiter.get(identity(future)) for future in line(target.kind, target.primitive)]
        return tuple([i for i in found if i is not None])

    def _tasks_behind(self, target: Target) -> tuple[int, ...]:
        if target.kind == "as_completed" and not target.futures:
            return self._completed_by(target.primitive)
        found = {self.index.get(identity(task)) for task in tasks_behind(target.futures)}
        if target.handle is not None:
            found.add(self._by_handle(target.handle))
        return tuple(sorted(i for i in found if i is not None))

    def _completed_by(self, queue: object) -> tuple[int, ...]:
        """The tasks that `as_completed` waits for, by the queue it gets the finished ones from (3.11 and 3.12)."""
        if self.completions is None:
            self.completions = {}
            for i, seen in enumerate(self.seen):
                self.completions.setdefault(identity(completion_queue(seen.task)), []).append(i)
        return tuple(self.completions.get(identity(queue), ()))

    def _by_handle(self, handle: object) -> int | None:
        """The task that an anyio handle stands for."""
        if self.handles is None:
            self.handles = {}
            for i, seen in enumerate(self.seen):
                found = anyio_waits.task_handle(frame_locals(seen.chain[0].frame)) if seen.chain else None
                if found is not None:
                    self.handles[identity(found)] = i
        return self.handles.get(identity(handle))

    def _find_names(self) -> dict[int, str]:
        """One name per primitive, the same in every sentence, found from the first waiters that know one."""
        namer, names, tries = Namer(), {}, dict[int, int]()
        nameless: dict[tuple[object, ...], int] = {}
        shared: dict[str, list[object]] = {}
        for seen in self.seen:
            target = seen.target
            if target is None or target.kind in _UNNAMED_KINDS or target.primitive is None:
                continue
            key = identity(target.primitive)
            # Thousands may wait at one place for what nothing there has a name for: a few of them are enough to know.
            if key in names or tries.get(key, 0) >= _NAME_TRIES or nameless.get(target.spot, 0) >= _MOST_NAMELESS:
                continue
            tries[key] = tries.get(key, 0) + 1
            frames = [link.frame for link in seen.chain if not self.places.is_internal(link.code)]
            name = namer.name(target.via_condition or target.primitive, frames)
            if name is None and target.kind not in _BARE and tries[key] == min(len(self.sharing[key]), _NAME_TRIES):
                name = namer.name_elsewhere(target.via_condition or target.primitive, self._stacks())
            if name is not None:
                names[key] = name
                if target.kind in HELD:
                    shared.setdefault(name, []).append(target.via_condition or target.primitive)
            else:
                nameless[target.spot] = nameless.get(target.spot, 0) + 1
        self._tell_apart(namer, names, shared)
        return names

    def _stacks(self) -> Iterator[list[FrameType]]:
        """The program's frames of each task, those of main first."""
        for seen in sorted(self.seen, key=lambda seen: seen.task is not self.main):
            yield [link.frame for link in seen.chain if not self.places.is_internal(link.code)]

    def _tell_apart(self, namer: Namer, names: dict[int, str], shared: dict[str, list[object]]) -> None:
        """Different locks under one name (every philosopher's ``left``): main's name, or their first, or a number."""
        main = next((s for s in self.seen if s.task is self.main), None)
        frames = [k.frame for k in main.chain if not self.places.is_internal(k.code)] if main else []
        for name, primitives in shared.items():
            if len(primitives) == 1:
                continue
            better = [namer.name(p, frames) for p in primitives] if len(primitives) <= 100 else []
            if better and not _are_distinct(better):
                better = [name_when_made(p) for p in primitives]
            distinct = _are_distinct(better)
            for number, primitive in enumerate(primitives):
                either = identity(primitive), identity(getattr(primitive, "_lock", None))
                key = next((k for k in either if k in names), None)
                if key is not None:
                    names[key] = str(better[number]) if distinct else f"{name}#{number + 1}"


def _are_distinct(names: Sequence[str | None]) -> bool:
    return bool(names) and None not in names and len(set(names)) == len(names)


def _named(task: asyncio.Task[Any] | str) -> str:
    """The name of a task that is not among the captured ones."""
    return _clipped(one_line(task if isinstance(task, str) else task.get_name()))


def _clipped(name: str) -> str:
    return name if len(name) <= _LONGEST_NAME else f"{name[: _LONGEST_NAME - 3]}..."


def _is_taken(primitive: Any) -> bool:
    try:
        return bool(primitive.locked())
    except Exception:
        return True


def _labels(seen: Sequence[_Seen]) -> list[str]:
    """Each task's name, with its coroutine when the name is only ``Task-3``, numbered when two are alike."""
    plain = []
    for one in seen:
        name = one_line(one.task.get_name())
        stock = name.startswith("Task-") and name[5:].isdecimal()
        # anyio names a task after its function, as "package.module.test_x.<locals>.worker".
        nested = "<locals>." in name and plain_name(name) == one.coroutine
        plain.append(_clipped(f"{name} ({one.coroutine})" if stock else one.coroutine if nested else name))
    count: dict[str, int] = {}
    for label in plain:
        count[label] = count.get(label, 0) + 1
    number: dict[str, int] = {}
    labels = []
    for label in plain:
        if count[label] > 1:
            number[label] = number.get(label, 0) + 1
            label = f"{label}#{number[label]}"
        labels.append(label)
    return labels


def _cycles(tasks: Sequence[TaskWait]) -> tuple[tuple[CycleStep, ...], ...]:
    edges = [t.wait.waits_on if t.wait else () for t in tasks]
    return tuple([_steps(tasks, circle) for circle in circles(edges, _MOST_CYCLES)])


def _steps(tasks: Sequence[TaskWait], circle: list[int]) -> tuple[CycleStep, ...]:
    steps = []
    for here, there in zip(circle, circle[1:] + circle[:1], strict=True):
        wait = tasks[here].wait
        assert wait is not None
        held = wait.kind in HELD
        primitive = tasks[there].label if wait.kind == "task" else wait.name
        text = f"{wait.kind} {primitive}" if primitive else f"a {wait.kind} without a name" if held else wait.kind
        steps.append(CycleStep(tasks[here].label, text, tasks[there].label, held))
    return tuple(steps)
