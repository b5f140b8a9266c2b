"""The wait-for graph as JSON-ready values: what `to_dict()` and ``--json`` say of a verdict.

Called by `verdict` and by whatever else judges a run.  The shape is written down in ``report/verdict.schema.json``; a
change of it that takes something away counts up `vtloop.errors.SCHEMA`.  What is alike is said once: stacks and
primitives stand in lists of their own, and of many equal tasks the first are listed.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vtloop.diagnosis.chains import Place
from vtloop.diagnosis.graph import MOST, Thing, UnreadError, Wait, WaitGraph

__all__ = ["facts", "place_data", "unread_data"]


def place_data(place: Place | None) -> dict[str, Any] | None:
    """A place as JSON-ready values."""
    if place is None:
        return None
    return {"file": place.file, "line": place.line, "function": place.function, "source": place.source}


def facts(graph: WaitGraph) -> dict[str, Any]:
    """The graph as JSON-ready values.  O(tasks)."""
    counts: dict[int, int] = {}
    stacks: dict[int, list[dict[str, Any] | None]] = {}
    things: dict[int, dict[str, Any]] = {}
    numbers: dict[int | None, int] = {}
    tasks = []
    for task in graph.tasks:
        counts[task.stack] = counts.get(task.stack, 0) + 1
        if task.stack not in stacks:
            stacks[task.stack] = [place_data(p) for p in task.chain]
        if counts[task.stack] > MOST and not task.is_main:
            continue
        wait = task.wait
        if wait is not None and wait.thing is not None and wait.thing not in things:
            numbers[wait.thing] = len(things)
            things[wait.thing] = _thing_data(graph.things[wait.thing], wait, graph)
        tasks.append(
            {
                "task": task.label,
                "name": task.name,
                "coroutine": task.coroutine,
                "main": task.is_main,
                "state": task.state,
                "stack": task.stack,
                "created": place_data(task.created),
                "waits_for": wait and _wait_data(wait, graph, numbers.get(wait.thing)),
            }
        )
    return {
        "cycles": [
            [{"task": s.task, "waits_for": s.primitive, "holder": s.holder, "held": s.held} for s in cycle[:MOST]]
            for cycle in graph.cycles
        ],
        "pending": len(graph.tasks),
        "tasks": tasks,
        "stacks": [{"tasks": counts[i], "frames": stacks[i]} for i in range(len(stacks))],
        "primitives": list(things.values()),
    }


def _wait_data(wait: Wait, graph: WaitGraph, number: int | None) -> dict[str, Any]:
    return {
        "kind": wait.kind,
        "library": wait.library,
        "name": wait.name,
        "detail": wait.detail,
        "holders": list(wait.holders[:MOST]),
        "ended_holders": list(wait.ended[:MOST]),
        "tasks": [graph.tasks[i].label for i in wait.waits_on[:MOST]],
        "timeout": wait.limit,
        "primitive": number,
    }


def _thing_data(thing: Thing, wait: Wait, graph: WaitGraph) -> dict[str, Any]:
    return {
        "kind": thing.kind,
        "library": thing.library,
        "name": thing.name,
        "taken": wait.taken,
        "holders": list(wait.holders[:MOST]),
        "ended_holders": list(wait.ended[:MOST]),
        "waiting": len(thing.waiters),
        "waiters": [graph.tasks[i].label for i in thing.waiters[:MOST]],
        "made": place_data(thing.noted.made),
        "touches": [
            {"kind": t.kind, "task": t.task, "time_ns": t.time_ns, "step": t.step, "place": place_data(t.place)}
            for t in thing.noted.touches
        ],
    }


def unread_data(unread: Sequence[UnreadError]) -> list[dict[str, Any]]:
    """Errors nobody has read, as JSON-ready values."""
    return [{"task": u.task, "error": u.error, "place": place_data(u.place)} for u in unread[:MOST]]
