"""The wait-for graph in words: sentences, and blocks of lines.

Called by `verdict`.  Works on captured values only, so it can run long after the tasks are gone.  Written for a tired
person: the cause first, then where, then what would have helped.
"""

from __future__ import annotations

from collections.abc import Sequence

from vtloop.diagnosis.chains import Place
from vtloop.diagnosis.facts import place_data
from vtloop.diagnosis.graph import HELD, READING, CycleStep, TaskWait, Wait, WaitGraph
from vtloop.diagnosis.things import thing_line
from vtloop.wording import counted

__all__ = ["Group", "cause", "cycle_line", "groups", "hints", "listed", "place_data", "says", "task_lines"]

_MANY = 3
_LONGEST_CYCLE = 6
_LONGEST_SOURCE = 90
_HOPS = 4

_OUTLOOK = {
    "Event": "that nothing can set",
    "Condition": "that nothing can notify",
    "Barrier": "that nobody else can reach",
    "Queue.get": "that nothing can feed",
    "Queue.put": "that nothing can empty",
    "Queue.join": "that nothing can finish",
    "Lock": "that nothing can release",
    "Semaphore": "that nothing can release",
    "CapacityLimiter": "that nothing can release",
    "MemoryObjectReceiveStream.receive": "that nothing can feed",
    "MemoryObjectSendStream.send": "that nothing can empty",
    "BlockingPortal": "that nothing can stop",
    **dict.fromkeys(READING, "that nothing can feed"),
    "future": "that nothing can complete",
    "wait_for": "that nothing can complete",
    "shield": "that nothing can complete",
    "gather": "that nothing can complete",
}

_HINTS = {
    "Queue.join": "`Queue.join` ends after one `task_done()` for each item got: call it in a `finally`.",
    "Queue.get": "nothing puts any more: end a consumer with a sentinel item, or cancel it after the last `put()`.",
    "Queue.put": "the queue is full and nothing gets: is the consumer gone, or larger batches put than got?",
    "Event": "no task is left that could call `set()`: was it to be called by a task that ended early?",
    "Condition": "a `notify()` before the `wait()` is lost: use `wait_for(predicate)`, so that the state decides.",
    "Barrier": "fewer tasks came than the barrier has parties: did one fail on its way?",
    "Semaphore": "a permit was taken and not given back: use `async with`, which also releases on an exception.",
    "Lock": "the lock was taken and not given back: use `async with`, which also releases on an exception.",
    "CapacityLimiter": "a token was borrowed and not given back: use `async with`, which also does so on an exception.",
    "MemoryObjectReceiveStream.receive": (
        "a receiving loop ends when every clone of the sending end is closed: use `async with send:` in each sender."
    ),
    "MemoryObjectSendStream.send": "the stream is full and nothing receives: is the receiver gone, or its buffer 0?",
    "future": "nobody is left to call `set_result()`: was whoever should do it cancelled, or did it fail?",
}


class Group:
    """Tasks standing at the same lines for the same kind of thing, in creation order."""

    __slots__ = ("first", "in_cycle", "tasks")

    def __init__(self, first: TaskWait) -> None:
        self.first = first
        self.tasks: list[TaskWait] = []
        self.in_cycle = False


def groups(graph: WaitGraph) -> list[Group]:
    """The tasks grouped by stack: those in a cycle first, then main's, then the rest, each by creation."""
    circling = {step.task for cycle in graph.cycles for step in cycle}
    found: dict[tuple[int, bool], Group] = {}
    for task in graph.tasks:
        group = found.setdefault((task.stack, task.is_main), Group(task))
        group.tasks.append(task)
        group.in_cycle = group.in_cycle or task.label in circling
    return sorted(found.values(), key=lambda g: (not g.in_cycle, not g.first.is_main, g.first.index))


def listed(names: Sequence[str], many: int = _MANY) -> str:
    """``a``, ``a and b``, ``a, b, c and 7 more``."""
    if len(names) > many:
        return f"{', '.join(names[:many])} and {len(names) - many:,} more"
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else "".join(names)


def thing(wait: Wait, graph: WaitGraph) -> str:
    """What is waited for, without who holds it: ``Lock lock_b``, ``Future 'fut'``, ``gather of a and b``."""
    behind = [graph.tasks[i].label for i in wait.waits_on]
    if wait.kind == "task":
        return f"task {behind[0]}" if behind else "a task outside this run"
    if wait.kind == "TaskGroup.start":
        return f"TaskGroup.start of {listed(behind) or 'a task'}"
    if wait.kind == "future":
        return f"Future {wait.name!r}" if wait.name else "a Future without a name"
    words = _WORDS.get(wait.kind, wait.kind)
    if not wait.name and wait.kind in _NEED_A_NAME:
        words = f"{'an' if words[0] in 'AEIOU' else 'a'} {words} without a name"
    if wait.name and not (behind and wait.kind in ("shield", "wait_for")):
        words += f" on {wait.name}" if "." in wait.kind and wait.kind != "TaskGroup.start" else f" {wait.name}"
    if behind and wait.kind not in HELD:
        words += f" of {listed(behind)}"
    return words


_WORDS = {"wait": "asyncio.wait", "wait_for": "asyncio.wait_for", "shield": "asyncio.shield"}
_NEED_A_NAME = (*HELD, "Event", "Condition", "Barrier")


def phrase(wait: Wait, graph: WaitGraph, waiter: str = "") -> str:
    """`thing` with its detail and holders: ``Lock lock_b (held by right)``."""
    remarks = [wait.detail] if wait.detail else []
    if wait.kind in HELD:
        if wait.holders:
            remarks.append(f"held by {'itself' if wait.holders == (waiter,) else listed(wait.holders)}")
        if wait.ended:
            remarks.append(f"held by {listed(wait.ended)}, which {'has' if len(wait.ended) == 1 else 'have'} ended")
        if not wait.holders and not wait.ended:
            if wait.taken and wait.library == "asyncio":
                reason = "several tasks are inside its `async with`" if wait.ambiguous else "taken without `async with`"
                reason += ", or made with 0" if wait.kind == "Semaphore" and not wait.ambiguous else ""
                return f"{', '.join([thing(wait, graph), *remarks])}, holder unknown ({reason})"
            remarks.append("holder unknown" if wait.taken else "free now")
    text = thing(wait, graph)
    return f"{text} ({'; '.join(remarks)})" if remarks else text


def says(task: TaskWait, graph: WaitGraph) -> str:
    """``left waits for Lock lock_b (held by right)``, or what else the task is doing."""
    if task.wait is not None:
        return f"{task.label} waits for {phrase(task.wait, graph, task.label)}"
    return f"{task.label} {_STATES[task.state]}"


_STATES = {
    "ready": "is ready to run",
    "running": "is running",
    "not started": "has not started yet",
    "waiting": "waits",
}


def cycle_line(cycle: Sequence[CycleStep]) -> str:
    """A circle in one line; a long one is shown by its ends."""
    steps = []
    for step in cycle:
        text = f"{step.task} waits for {step.primitive}"
        if step.held:
            text += " (held by itself)" if step.holder == step.task else f" (held by {step.holder})"
        elif not step.primitive.startswith("task "):
            text += f" (needs {step.holder})"
        steps.append(text)
    if len(steps) > _LONGEST_CYCLE:
        steps[4:-1] = [f"... {len(steps) - 5:,} more ..."]
    return " -> ".join(steps)


def cause(graph: WaitGraph) -> str:
    """Why nothing moves, in one line: the circle, or the way from main to what nobody can bring about."""
    if graph.cycles:
        more = f" (and {counted(len(graph.cycles) - 1, 'more cycle')})" if len(graph.cycles) > 1 else ""
        return cycle_line(graph.cycles[0]) + more
    task = graph.main or next((t for t in graph.tasks if t.wait), None)
    if task is None or task.wait is None:
        return says(task, graph) if task else "no task is left"
    steps: list[str] = []
    seen: set[int] = set()
    while True:
        seen.add(task.index)
        wait = task.wait
        if wait is None or not wait.waits_on or wait.waits_on[0] in seen or len(steps) >= _HOPS:
            outlook = f" {_OUTLOOK.get(wait.kind, 'that nothing can end')}" if wait and not wait.waits_on else ""
            return " -> ".join([*steps, says(task, graph) + outlook])
        steps.append(says(task, graph))
        task = graph.tasks[wait.waits_on[0]]


def woken_by(wait: Wait, graph: WaitGraph) -> str | None:
    """Who or what could end the wait."""
    name = wait.name if wait.name and wait.name.replace(".", "").isidentifier() else None
    behind = listed([graph.tasks[i].label for i in wait.waits_on])
    if wait.kind in HELD:
        if wait.ended and not wait.holders:
            text = "nobody" if wait.library == "anyio" else "whoever calls its `release()`"
        elif wait.holders:
            text = f"{listed(wait.holders)} {'releasing it' if wait.by_hand else 'leaving `async with`'}"
        elif wait.taken:
            text = "whoever took it, by `release()`"
        else:
            text = "nobody: it is free, its wake-up was lost"
    elif wait.kind == "sleep" and wait.detail == "for ever":
        text = "a cancellation only"
    elif wait.kind == "TaskGroup.start":
        text = _OTHER_WAKERS[wait.kind]
    elif wait.kind in _CALLS:
        text = f"`{name}.{_CALLS[wait.kind]}`" if name else f"its `{_CALLS[wait.kind]}`"
    elif behind:
        any_of = "any of " if len(wait.waits_on) > 1 and (wait.detail or "").startswith("until one ends") else ""
        text = f"the end of {any_of}{behind}"
    else:
        text = _OTHER_WAKERS.get(wait.kind, "")
    if wait.limit:
        text = f"{text}, or its timeout at {wait.limit}" if text else f"its timeout at {wait.limit}"
    return text or None


_CALLS = {
    "Event": "set()",
    "Condition": "notify()",
    "Barrier": "wait()",
    "Queue.get": "put()",
    "Queue.put": "get()",
    "Queue.join": "task_done()",
    "BlockingPortal": "stop()",
    "future": "set_result()",
}
_OTHER_WAKERS = {
    "sleep": "its timer",
    "executor call": "its thread, when the call returns",
    "MemoryObjectReceiveStream.receive": "a `send()` to its other end, or by closing that",
    "MemoryObjectSendStream.send": "a `receive()` at its other end, or by closing that",
    "TaskGroup.start": "its child calling `task_status.started()`",
    **dict.fromkeys(READING, "data, or the end of the stream, from its transport"),
    "StreamWriter.drain": "its transport, when it can take more",
    "StreamWriter.wait_closed": "its transport, when it has closed",
}


def _at(place: Place) -> str:
    source = place.source if len(place.source) <= _LONGEST_SOURCE else place.source[: _LONGEST_SOURCE - 3] + "..."
    return f"{place}: {source}" if source else str(place)


def task_lines(group: Group, graph: WaitGraph, frames: int, told: set[int] | None = None) -> list[str]:
    """The block of a report about one group: what for, where, who could wake it, where made.

    With `told`, also a line for each primitive that is not among its numbers yet; it is added to them.
    """
    first = group.first
    lines = [f"  {_head(group, graph)}"]
    shown = [p for p in first.chain if not p.internal]
    if not shown and first.created is None:
        shown = list(first.chain[-1:])
    left_out = max(0, len(shown) - frames)
    outer = shown[: frames // 2] if left_out else shown
    lines += [f"    {_at(p)}" for p in outer]
    if left_out:
        inner = [_at(p) for p in shown[len(outer) + left_out :]]
        lines += [f"    ... {left_out} more frame{'s' * (left_out > 1)} ... {inner[0]}"]
        lines += [f"    {line}" for line in inner[1:]]
    tail = []
    if first.wait is not None:
        wakers = {woken_by(t.wait, graph) for t in group.tasks[:_MANY] if t.wait is not None}
        itself = first.wait.holders == (first.label,)
        waker = wakers.pop() if len(wakers) == 1 and not itself else None
        tail += [f"could be woken by {waker}"] if waker else []
        tail += _line_of(first.wait, group, graph) if all(t.wait == first.wait for t in group.tasks[:_MANY]) else []
    if first.created and not first.is_main:
        alike = all(t.created is first.created for t in group.tasks)
        tail.append(f"{'' if alike else 'first '}created at {first.created}")
    if tail:
        lines.append(f"    {'; '.join(tail)}")
    return lines if told is None else [*lines, *_thing_lines(group, graph, told)]


def _thing_lines(group: Group, graph: WaitGraph, told: set[int]) -> list[str]:
    """What is known of the first primitives that a group waits for."""
    numbers = dict.fromkeys(t.wait.thing for t in group.tasks[:_MANY] if t.wait is not None)
    shown = {str(place) for place in group.first.chain}
    lines: dict[str, None] = {}
    for number in numbers:
        if number is not None and number not in told:
            told.add(number)
            line = thing_line(graph.things[number], shown)
            if line:
                lines[f"    {line}"] = None
    return list(lines)


def _line_of(wait: Wait, group: Group, graph: WaitGraph) -> list[str]:
    """Who is woken first, where several stand in line."""
    thing = graph.things[wait.thing] if wait.thing is not None else None
    if thing is None or not thing.in_order or len(thing.waiters) < 2:
        return []
    if thing.waiters == tuple(t.index for t in group.tasks):
        return [f"first in line: {group.first.label}"]
    return [f"in line: {listed([graph.tasks[i].label for i in thing.waiters])}"]


def _head(group: Group, graph: WaitGraph) -> str:
    first = group.first
    if len(group.tasks) == 1:
        text = says(first, graph)
        mark = ", the main task," if first.is_main else ""
        return f"{first.label}{mark}{text[len(first.label) :]}"
    head = f"{len(group.tasks):,} tasks ({listed([t.label for t in group.tasks])})"
    if first.wait is None:
        return f"{head} are {first.state}"
    # A group may hold thousands: phrases are made for the few that are shown.
    waits = list(dict.fromkeys(t.wait for t in group.tasks if t.wait is not None))
    if len(waits) == 1:
        return f"{head} wait for {phrase(waits[0], graph)}"
    names = list(dict.fromkeys(w.name for w in waits if w.name))
    if first.wait.kind in ("task", "gather", "wait", "as_completed") or not names:
        return f"{head} wait, each for its own {first.wait.kind}"
    kind = "Future" if first.wait.kind == "future" else first.wait.kind
    return f"{head} wait for {kind} {listed(names)}" + (", each its own" if len(names) == 1 else "")


def hints(graph: WaitGraph) -> list[str]:
    """At most two pieces of advice that fit what was found."""
    found = []
    for cycle in graph.cycles[:1]:
        if len(cycle) == 1 and cycle[0].held:
            found.append("asyncio's locks are not re-entrant: a task that holds one cannot take it again.")
        elif len(cycle) == 1:
            found.append("a task cannot wait for its own end: leave `asyncio.current_task()` out of what it waits for.")
        elif all(step.held for step in cycle):
            found.append("take these locks in one order everywhere, for instance sorted by a key of what they guard.")
        elif any(step.held for step in cycle):
            found.append(
                "a task waits, inside `async with`, for a task that needs the same lock: wait after leaving it."
            )
        else:
            found.append("tasks that wait for each other's end never end: hand the result over by a Future instead.")
    if not graph.cycles:
        for kind in dict.fromkeys(t.wait.kind for t in graph.tasks if t.wait and not t.wait.waits_on):
            if kind in _HINTS and len(found) < 2:
                found.append(_HINTS[kind])
    return found
