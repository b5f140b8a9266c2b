"""The wait-for graph: which task waits for what, who holds it, and where that goes round in a circle.

Called by `verdict` (and whoever needs the facts without the text).  `capture` freezes everything into plain values
first; rendering happens elsewhere and later, when the tasks may already be gone.  Facts only: what cannot be known,
such as the holder of a lock taken by hand, is left unknown.  Must never change a task, a future or the program's data.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from vtloop.cpython_waits import future_waited_for, unread_exception
from vtloop.diagnosis.chains import Link, Place, Places, await_chain, one_line, plain_name
from vtloop.diagnosis.holders import Holders
from vtloop.diagnosis.names import Namer
from vtloop.diagnosis.targets import Target, target_of, tasks_behind

__all__ = ["CycleStep", "TaskWait", "UnreadError", "Wait", "WaitGraph", "capture", "unread_errors"]

_HELD = ("Lock", "Semaphore")
_MOST_CYCLES = 10
_NAME_TRIES = 3
_UNNAMED_KINDS = ("task", "sleep", "executor call")


@dataclass(frozen=True, slots=True)
class Wait:
    """What one task waits for."""

    kind: str
    """``"Lock"``, ``"Condition"``, ``"Event"``, ``"Semaphore"``, ``"Barrier"``, ``"Queue.get"``, ``"Queue.put"``,
    ``"Queue.join"``, ``"sleep"``, ``"task"``, ``"gather"``, ``"wait"``, ``"wait_for"``, ``"TaskGroup"``, ``"shield"``,
    ``"executor call"``, ``"as_completed"``, ``"future"``, or the name of another asyncio coroutine."""
    name: str | None
    """What the program calls it; None when no frame of the chain holds it under a name."""
    detail: str | None
    """A further fact: ``"2 of 3 there"``, ``"full, maxsize 1"``, ``"until t=5 s"``."""
    holders: tuple[str, ...]
    """Labels of the tasks inside ``async with`` of it; empty for a lock means: taken by hand, holder unknown."""
    waits_on: tuple[int, ...]
    """Indexes of the pending tasks whose progress would end the wait: holders, children, the awaited task."""
    limit: str | None
    """The nearest `asyncio.timeout` around the wait, as ``"t=10 s"``."""
    taken: bool
    """For a lock or semaphore: whether it is taken at all."""
    ambiguous: bool = False
    """For a lock: its holder is unknown because several tasks look like it."""


@dataclass(frozen=True, slots=True)
class TaskWait:
    """One pending task, its await chain, and what it waits for."""

    index: int
    name: str
    label: str
    """The name as texts use it: unique in the graph, with the coroutine's name added to ``Task-3``."""
    coroutine: str
    is_main: bool
    state: str
    """``"waiting"``, ``"ready"`` (will run at its turn), ``"running"`` or ``"not started"``."""
    chain: tuple[Place, ...]
    stack: int
    """Equal for tasks standing at the same lines for the same kind of thing."""
    created: Place | None
    wait: Wait | None


@dataclass(frozen=True, slots=True)
class CycleStep:
    """`task` waits for `primitive`, which waits for `holder`."""

    task: str
    primitive: str
    holder: str
    held: bool
    """True for a lock or semaphore held by `holder`, False for a task that must end first."""


@dataclass(frozen=True, slots=True)
class UnreadError:
    """The exception of a finished task that nobody has read."""

    task: str
    error: str
    place: Place | None


@dataclass(frozen=True, slots=True)
class WaitGraph:
    """All pending tasks in the order given, and the circles among them."""

    tasks: tuple[TaskWait, ...]
    cycles: tuple[tuple[CycleStep, ...], ...]

    @property
    def main(self) -> TaskWait | None:
        """The main task, when it is among them."""
        return next((t for t in self.tasks if t.is_main), None)


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
        found.append(UnreadError(task.get_name(), text, place))
    return tuple(found)


def _first_line(error: BaseException) -> str:
    try:
        return (str(error).splitlines() or [""])[0][:200]
    except Exception:
        return ""


class _Seen:
    """One task while the capture lasts: the live objects behind a `TaskWait`."""

    __slots__ = ("chain", "coroutine", "state", "target", "task")

    def __init__(self, task: asyncio.Task[Any], places: Places) -> None:
        self.task = task
        coroutine: Any = task.get_coro()
        self.coroutine = plain_name(getattr(coroutine, "__qualname__", None) or type(coroutine).__name__)
        self.chain: list[Link] = await_chain(coroutine)
        waiter = future_waited_for(task)
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


class _Capture:
    def __init__(self, tasks: list[asyncio.Task[Any]], main: asyncio.Task[Any] | None) -> None:
        self.main = main
        self.places = Places()
        self.seen = [_Seen(task, self.places) for task in tasks]
        # Keyed by identity, only ever looked up: the tasks are alive as long as `seen` is.
        self.index = {id(task): i for i, task in enumerate(tasks)}
        self.labels = _labels(self.seen)
        self.holders = Holders([s.chain for s in self.seen], self.places)
        self.names = self._find_names()
        self.waiters: dict[int, set[int]] = {}
        for i, seen in enumerate(self.seen):
            if seen.target is not None and seen.target.kind == "Lock":
                self.waiters.setdefault(id(seen.target.primitive), set()).add(i)
        self.held: dict[int, tuple[tuple[str, ...], tuple[int, ...]]] = {}
        self.stacks: dict[tuple[object, ...], tuple[int, tuple[Place, ...]]] = {}

    def graph(self) -> WaitGraph:
        tasks = tuple(self._task_wait(i, seen) for i, seen in enumerate(self.seen))
        return WaitGraph(tasks, _cycles(tasks))

    def _task_wait(self, index: int, seen: _Seen) -> TaskWait:
        places = tuple([self.places.of_frame(link) for link in seen.chain])
        wait = self._wait(index, seen.target) if seen.target is not None else None
        key = (seen.state, wait.kind if wait else None, *map(id, places))
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
        limit = self.holders.limit_of(index)
        name = self.names.get(id(target.primitive))
        if target.via_condition and name:
            name = f"of Condition {name}"
        if target.kind in _HELD:
            primitive: Any = target.primitive
            if id(primitive) not in self.held:
                held_by = self.holders.of(primitive, self.waiters.get(id(primitive), set()))
                self.held[id(primitive)] = tuple([self.labels[i] for i in held_by]), held_by
            labels, held_by = self.held[id(primitive)]
            ambiguous = not labels and self.holders.candidates(primitive) > 1
            return Wait(target.kind, name, target.detail, labels, held_by, limit, _is_taken(primitive), ambiguous)
        waits_on = self._tasks_behind(target)
        return Wait(target.kind, name, target.detail, (), waits_on, limit, False)

    def _tasks_behind(self, target: Target) -> tuple[int, ...]:
        found: set[int] = set()
        for task in tasks_behind(target.futures):
            index = self.index.get(id(task))
            if index is not None:
                found.add(index)
        return tuple(sorted(found))

    def _find_names(self) -> dict[int, str]:
        """One name per primitive, the same in every sentence, found from the first waiters that know one."""
        namer, names, tries = Namer(), {}, dict[int, int]()
        shared: dict[str, list[object]] = {}
        for seen in self.seen:
            target = seen.target
            if target is None or target.kind in _UNNAMED_KINDS or target.primitive is None:
                continue
            key = id(target.primitive)
            if key in names or tries.get(key, 0) >= _NAME_TRIES:
                continue
            tries[key] = tries.get(key, 0) + 1
            frames = [link.frame for link in seen.chain if not self.places.is_internal(link.code)]
            name = namer.name(target.via_condition or target.primitive, frames)
            if name is not None:
                names[key] = name
                if target.kind in _HELD:
                    shared.setdefault(name, []).append(target.via_condition or target.primitive)
        self._tell_apart(namer, names, shared)
        return names

    def _tell_apart(self, namer: Namer, names: dict[int, str], shared: dict[str, list[object]]) -> None:
        """Different locks under one name (every philosopher's ``left``): main's name for each, else numbers."""
        main = next((s for s in self.seen if s.task is self.main), None)
        frames = [k.frame for k in main.chain if not self.places.is_internal(k.code)] if main else []
        for name, primitives in shared.items():
            if len(primitives) == 1:
                continue
            better = [namer.name(p, frames) for p in primitives] if len(primitives) <= 100 else []
            distinct = None not in better and len(set(better)) == len(primitives)
            for number, primitive in enumerate(primitives):
                key = next((k for k in (id(primitive), id(getattr(primitive, "_lock", None))) if k in names), None)
                if key is not None:
                    names[key] = str(better[number]) if distinct else f"{name}#{number + 1}"


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
        plain.append(f"{name} ({one.coroutine})" if stock else name)
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
    """Circles of the graph, each task in one at most, each starting at its oldest task.  O(tasks + edges)."""
    white, grey, black = 0, 1, 2
    colour = [white] * len(tasks)
    taken = [False] * len(tasks)
    edges = [t.wait.waits_on if t.wait else () for t in tasks]
    cycles: list[tuple[CycleStep, ...]] = []
    for root in range(len(tasks)):
        if colour[root] != white or not edges[root]:
            continue
        path, pending = [root], [iter(edges[root])]
        colour[root] = grey
        while path:
            target = next(pending[-1], None)
            if target is None:
                colour[path.pop()] = black
                pending.pop()
            elif colour[target] == white:
                colour[target] = grey
                path.append(target)
                pending.append(iter(edges[target]))
            elif colour[target] == grey and len(cycles) < _MOST_CYCLES:
                circle = path[path.index(target) :]
                if not any(taken[i] for i in circle):
                    for i in circle:
                        taken[i] = True
                    cycles.append(_steps(tasks, circle))
    return tuple(cycles)


def _steps(tasks: Sequence[TaskWait], circle: list[int]) -> tuple[CycleStep, ...]:
    start = circle.index(min(circle))
    ordered = circle[start:] + circle[:start]
    steps = []
    for here, there in zip(ordered, ordered[1:] + ordered[:1], strict=True):
        wait = tasks[here].wait
        assert wait is not None
        held = wait.kind in _HELD
        primitive = tasks[there].label if wait.kind == "task" else wait.name
        text = f"{wait.kind} {primitive}" if primitive else wait.kind
        steps.append(CycleStep(tasks[here].label, text, tasks[there].label, held))
    return tuple(steps)
