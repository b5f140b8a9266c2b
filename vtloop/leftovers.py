"""What was left behind, as `Leak`s: coroutines never awaited, and tasks, grouped by where they were made or stand.

Called by `vtloop.leaks`, which has found them.  It must never decide whether they are leaks.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from vtloop.diagnosis.describe import groups, place_data, task_lines
from vtloop.diagnosis.leak import Leak, shown
from vtloop.diagnosis.missing_await import never_awaited
from vtloop.diagnosis.targets import seconds as in_seconds
from vtloop.diagnosis.waits import WaitGraph, capture
from vtloop.unawaited import Unawaited

__all__ = ["left_behind", "tasks_left", "told", "unawaited"]


def _grouped(found: Sequence[Unawaited], key: Callable[[Unawaited], Any]) -> list[list[Unawaited]]:
    alike: dict[Any, list[Unawaited]] = {}
    for one in found:
        alike.setdefault(key(one), []).append(one)
    return list(alike.values())


def unawaited(found: Sequence[Unawaited]) -> list[Leak]:
    """Coroutines by what was called and where; first those that every run sees."""
    alike = _grouped(found, lambda one: (one.name, one.file, one.line, one.by_loop))
    alike.sort(key=lambda group: not any(one.at_once for one in group))
    leaks = []
    for group in alike:
        first = group[0]
        place = (first.file, first.line, first.where)
        if first.by_loop:
            text = f"{first.name}() called by the loop, defined at {shown(place)}"
            hint = (
                f"the loop calls plain functions: give it `lambda: loop.create_task({first.name}(...))`, or make "
                f"`{first.name}` a plain `def`."
            )
        else:
            made = "made at" if first.where else "made in the run, defined at"
            text = f"{first.name}() {made} {shown(place)}"
            hint = never_awaited(first.function)
        if len(group) > 1:
            text += f" ({len(group):,} times)"
        when = f"t={in_seconds(first.time_ns)}"
        dropped = f"{'first ' * (len(group) > 1)}dropped at {when}" + (f" by {first.task}" if first.task else "")
        data = {
            "name": first.name,
            "function": first.function,
            "place": {"file": first.file, "line": first.line, "function": first.where},
            "task": first.task,
            "time_ns": first.time_ns,
        }
        leaks.append(
            Leak("coroutine", text, (dropped,), place, hint, len(group), data, soft=not any(o.at_once for o in group))
        )
    return leaks


def tasks_left(kind: str, tasks: Sequence[asyncio.Task[Any]]) -> list[Leak]:
    """Pending tasks by where they wait, with their await chains."""
    return told(kind, capture(tasks)) if tasks else []


def left_behind(tasks: Sequence[asyncio.Task[Any]]) -> list[Leak]:
    """Those of the pending tasks that no other one awaits and that are not about to end, cancelled already."""
    graph = capture(tasks)
    awaited = {
        index for task in graph.tasks if task.wait and task.wait.kind not in _LOCKS for index in task.wait.waits_on
    }
    # A generator dropped a moment ago is being closed by a task of the loop.
    own = {index for index, task in enumerate(tasks) if type(task.get_coro()).__name__ == _CLOSING}
    ending = {one.index for one in graph.tasks if one.state != "waiting" and tasks[one.index].cancelling()}
    left = [task for index, task in enumerate(tasks) if index not in awaited | own | ending]
    return tasks_left("task", left)


_LOCKS = ("Lock", "Semaphore")
_CLOSING = "async_generator_athrow"


def told(kind: str, graph: WaitGraph) -> list[Leak]:
    """The tasks of a graph by where they wait."""
    leaks = []
    for group in groups(graph):
        first = group.first
        shown_chain = [place for place in first.chain if not place.internal] or list(first.chain)
        at = shown_chain[-1] if shown_chain else first.created
        place = (at.file, at.line, at.function) if at is not None else None
        head, *lines = (line[2:] for line in task_lines(group, graph, 8))
        data = {
            "tasks": [task.label for task in group.tasks[:100]],
            "chain": [place_data(one) for one in first.chain],
            "created": str(first.created) if first.created else None,
        }
        leaks.append(
            Leak(kind, head, tuple(line.strip() for line in lines), place, _HINTS.get(kind, ""), len(group.tasks), data)
        )
    return leaks


_HINTS = {
    "survivor": "raise `CancelledError` again after cleaning up; `except Exception` does not catch it.",
    "task": "await it, cancel it, put it into a `TaskGroup`, or mark it with `vtloop.daemon(task)`.",
}
