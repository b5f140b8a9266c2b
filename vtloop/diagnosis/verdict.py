"""The verdicts: what the loop knows at the moment it gives up, made into the errors a person reads.

Called by the loop, once per run, before anything is cancelled.  Each function only builds an error; the loop decides
whether and where to raise it, with `await_chain_traceback(main)` as its traceback.  ``str(error)`` is one line.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from traceback import FrameSummary
from typing import Any, TypeVar

from vtloop.diagnosis.chains import await_chain_traceback, one_line, shown_path
from vtloop.diagnosis.describe import cause, cycle_line, groups, hints, listed, says, task_lines
from vtloop.diagnosis.facts import facts, unread_data
from vtloop.diagnosis.suspects import Suspicion, never_awaited, suspicions, waiting_for
from vtloop.diagnosis.targets import seconds as in_seconds
from vtloop.diagnosis.waits import UnreadError, WaitGraph, capture, unread_errors
from vtloop.errors import DeadlockError, HangError, LivelockError

__all__ = [
    "EVENTS",
    "Snapshot",
    "await_chain_traceback",
    "budget",
    "deadlock",
    "hang",
    "livelock",
    "never_idle",
    "no_timers_autojump_off",
    "patience",
    "stuck_step",
]

EVENTS = "last events:"
"""The line of a report above the last events, which are indented."""

_MOST_LINES = 60
_MOST_EVENTS = 8
_MOST_UNREAD = 5
_STACK_LINES = 6
_MOST_ROOTS, _MOST_STUCK = 20, 100
_STUCK = ("DEADLOCK", "HANG")
_Verdict = TypeVar("_Verdict", bound=HangError)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """What the loop hands over: the pending tasks and what it knows about the run."""

    tasks: Sequence[asyncio.Task[Any]]
    """The pending tasks in creation order."""
    main: asyncio.Task[Any] | None = None
    time_ns: int = 0
    step: int | None = None
    seed: str | None = None
    events: Sequence[str] = ()
    """The last events, oldest first."""
    notes: Sequence[str] = ()
    """Further sentences for the reader, such as "the clock moved on while the program polled"."""
    command: str | Callable[[str], str | None] | None = None
    """The command that plays this run back, or what makes it out of the name of the error."""
    finished_errors: Sequence[asyncio.Task[Any]] = ()
    """Finished tasks; those whose exception nobody has read are shown."""
    ended: Sequence[asyncio.Task[Any]] = ()
    """Finished tasks in creation order, as far as they are known."""
    alive: Sequence[str] = ()
    """The names of all pending tasks."""
    failed: Sequence[BaseException] = ()
    """What failed in the background so far."""
    dropped: Sequence[tuple[str, str, int, str]] = ()
    """Coroutines never awaited: what was called, file, line and function of the call."""

    @property
    def when(self) -> str:
        """``t=1.5 s``"""
        return f"t={in_seconds(self.time_ns)}"


def deadlock(snapshot: Snapshot) -> DeadlockError:
    """Nothing is ready, no timer is set, and nothing outside can wake the loop."""
    graph = capture(snapshot.tasks, snapshot.main)
    message = f"deadlock at {snapshot.when}: {cause(graph)}"
    what = "Nothing is ready to run, no timer is set, and nothing outside can wake the loop."
    return _verdict(DeadlockError, snapshot, graph, message, "DEADLOCK", [what], hints(graph))


def livelock(snapshot: Snapshot, spinning_tasks: Sequence[asyncio.Task[Any]], turns: int) -> LivelockError:
    """`spinning_tasks` ran for `turns` turns and no timer is left that could change anything."""
    graph = capture(snapshot.tasks, snapshot.main)
    names = _labels(graph, snapshot, spinning_tasks)
    message = (
        f"livelock at {snapshot.when}: {listed(names) or 'callbacks'} kept running for {turns:,} turns without a timer"
    )
    what = "The loop spins: tasks run again and again, no timer is set, and nothing else can happen."
    hint = "what a polling task polls for never comes: await an Event or Queue instead of `sleep(0)` in a loop."
    data = {"spinning": names, "turns": turns}
    return _verdict(LivelockError, snapshot, graph, message, "LIVELOCK", [what], [hint], data)


def no_timers_autojump_off(snapshot: Snapshot, next_timer_ns: int) -> HangError:
    """Only timers are left, and with ``autojump=False`` nobody is there to move the clock."""
    graph = capture(snapshot.tasks, snapshot.main)
    message = (
        f"the clock stands still at {snapshot.when}: with autojump=False only advance() moves it, "
        f"and the next timer is at t={in_seconds(next_timer_ns)}"
    )
    what = "Nothing is ready to run; timers are set, but the clock moves only by advance()."
    step = in_seconds(next_timer_ns - snapshot.time_ns).removesuffix(" s")
    hint = f"`await vtloop.advance({step})` in a task (`loop.advance({step})` outside), or leave out autojump=False."
    data = {"next_timer_ns": next_timer_ns}
    return _verdict(HangError, snapshot, graph, message, "THE CLOCK STANDS STILL", [what], [hint], data)


def budget(snapshot: Snapshot, what: str, value: object) -> HangError:
    """The budget `what` (an option's name, such as ``max_steps``) of `value` is spent; the program may be healthy."""
    graph = capture(snapshot.tasks, snapshot.main)
    shown = f"{value:,}" if isinstance(value, int) else str(value)
    main = graph.main
    doing = f"; main is {_doing(graph)}" if main else ""
    message = f"budget spent at {snapshot.when}: {what}={shown}{doing}"
    text = f"The run used up {what}={shown}. It may need more, or repeat itself for ever."
    hint = f"raise `{what}` (or `{what}=None` for no limit) if the run is meant to be this long."
    return _verdict(
        HangError, snapshot, graph, message, "BUDGET SPENT", [text], [hint], {"budget": what, "value": shown}
    )


def hang(
    snapshot: Snapshot,
    live: Sequence[asyncio.Task[Any]],
    cancel: Sequence[asyncio.Task[Any]],
    stuck: Sequence[asyncio.Task[Any]],
) -> HangError:
    """Main, one of ``stuck``, can never finish: nothing alive can wake or cancel it; ``live`` tasks still run."""
    many = len(live) + len(cancel) + len(stuck)
    still = [task for task in live if not task.done()]
    snapshot = replace(snapshot, tasks=stuck)
    graph = capture(stuck, snapshot.main)
    message = f"hang at {snapshot.when}: {cause(graph)}, though timers still tick"
    whom = "it" if len(stuck) == 1 else "them"
    what = f"{len(stuck):,} of {many:,} tasks can never run again: nothing alive can wake or cancel {whom}."
    lines = [what, _still_running(still)]
    if cancel:
        names = listed([one_line(task.get_name()) for task in cancel])
        lines.append(
            f"Nothing alive can wake {names} either; only a cancel could end {'them' if cancel[1:] else 'it'}."
        )
    data = {
        "live": [one_line(task.get_name()) for task in still],
        "cancel": [one_line(task.get_name()) for task in cancel],
        "stuck": [one_line(task.get_name()) for task in stuck],
    }
    return _verdict(HangError, snapshot, graph, message, "HANG", lines, hints(graph), data)


def _still_running(tasks: Sequence[asyncio.Task[Any]]) -> str:
    names = listed([one_line(task.get_name()) for task in tasks])
    if not tasks:
        return "No task runs any more; only timers still call back."
    return f"{len(tasks):,} task{' still runs' if len(tasks) == 1 else 's still run'}: {names}. None can help."


def stuck_step(snapshot: Snapshot, seconds: float, stack: list[FrameSummary], task_name: str | None) -> HangError:
    """One step of `task_name` has not come back for `seconds` real seconds; `stack` is where it is, outermost first."""
    graph = capture(snapshot.tasks, snapshot.main)
    who = task_name or "a callback"
    # The line of the cut depends on real time: it stands in the report, not in the message that replays compare.
    message = f"a step of {who} did not return within {seconds:g} s of real time, cut at {snapshot.when}"
    what = [
        f"One step of {who} kept the loop busy for {seconds:g} s of real time; nothing else could run. It was here:"
    ]
    what += _stack(stack)
    hint = "an endless loop without `await`, or a blocking call: let it await, or raise `watchdog` if it is only slow."
    data = {"seconds": seconds, "task": task_name, "stack": _stack_data(stack)}
    return _verdict(HangError, snapshot, graph, message, "STUCK STEP", what, [hint], data)


def patience(snapshot: Snapshot, seconds: float, threads: Sequence[tuple[str, list[FrameSummary]]]) -> HangError:
    """The loop waited `seconds` real seconds, its clock frozen, for real threads that did not come back."""
    graph = capture(snapshot.tasks, snapshot.main)
    names = listed([name for name, _ in threads]) or "a thread"
    message = f"waited {seconds:g} s of real time at {snapshot.when} for {names}, which did not come back"
    what = [
        "Every task waits, and only real threads can go on. The virtual clock stands while they run. They are here:"
    ]
    for name, stack in threads:
        what += [f"  thread {name}:", *_stack(stack)]
    hint = "does the thread wait for this loop, for a lock that a task holds, or for the real network?"
    data = {"seconds": seconds, "threads": [{"name": name, "stack": _stack_data(stack)} for name, stack in threads]}
    return _verdict(HangError, snapshot, graph, message, "WAITING FOR THREADS", what, [hint], data)


def never_idle(snapshot: Snapshot, tasks: Sequence[asyncio.Task[Any]], jumps: int) -> HangError:
    """`run_until_idle` found only `tasks` that set a new timer each time the last one rings."""
    graph = capture(snapshot.tasks, snapshot.main)
    names = _labels(graph, snapshot, tasks)
    message = f"never idle at {snapshot.when}: after {jumps:,} jumps of the clock {listed(names)} still set new timers"
    what = (
        "run_until_idle() ends when no foreground work is left, but these tasks set a timer again each time it rings."
    )
    hint = f"mark background work with `vtloop.daemon(task)`, or use `advance(seconds)`: {listed(names)}."
    data = {"tasks_with_timers": names, "jumps": jumps}
    return _verdict(HangError, snapshot, graph, message, "NEVER IDLE", [what], [hint], data)


def _labels(graph: WaitGraph, snapshot: Snapshot, tasks: Sequence[asyncio.Task[Any]]) -> list[str]:
    """The graph's labels of some tasks; the plain name for one that has ended meanwhile."""
    pending = [t for t in snapshot.tasks if not t.done()]
    label = {id(task): wait.label for task, wait in zip(pending, graph.tasks, strict=True)}
    return [label.get(id(task), task.get_name()) for task in tasks]


def _doing(graph: WaitGraph) -> str:
    main = graph.main
    if main is None or not main.chain:
        return "pending"
    place = next((p for p in reversed(main.chain) if not p.internal), main.chain[-1])
    return f"at {place}"


def _verdict(
    kind: type[_Verdict],
    snapshot: Snapshot,
    graph: WaitGraph,
    message: str,
    title: str,
    what: list[str],
    advice: list[str],
    data: dict[str, Any] | None = None,
) -> _Verdict:
    unread = unread_errors(snapshot.finished_errors)
    suspected: list[Suspicion] = []
    if title in _STUCK:
        suspected = [] if graph.cycles else _suspicions(snapshot, graph)
        suspected += [one for one in [never_awaited(snapshot.dropped)] if one is not None]
    if suspected:
        # They say more than what fits every wait of the kind.
        advice = [*advice[: len(graph.cycles)], *(one.text for one in suspected)]
        message += f"; {suspected[0].short}" if suspected[0].short else ""
    if unread and not any(one.who.startswith(unread[0].task) for one in suspected):
        first = unread[0]
        text = f"{first.task} ended with {first.error} and nobody has read it: was it to wake one of these?"
        advice = [*advice[:1], text] if graph.cycles or suspected else [text, *advice]
    if callable(snapshot.command):
        snapshot = replace(snapshot, command=snapshot.command(kind.__name__))
    report = _report(snapshot, graph, title, what, advice[:2], unread)
    everything = {
        "verdict": title.lower(),
        "time": snapshot.time_ns / 1e9,
        "time_ns": snapshot.time_ns,
        "step": snapshot.step,
        "seed": snapshot.seed,
        **(data or {}),
        **facts(graph),
        "unread_errors": unread_data(unread),
        "events": list(snapshot.events),
        "notes": list(snapshot.notes),
        "hints": advice[:2],
        "command": snapshot.command,
    }
    return kind(message, report=report, data=everything)


def _suspicions(snapshot: Snapshot, graph: WaitGraph) -> list[Suspicion]:
    """What may explain the waits that nobody who is left will end: first what main waits for in the end."""
    task, way = graph.main, dict[int, None]()
    while task is not None and task.wait is not None and task.index not in way:
        way[task.index] = None
        task = graph.tasks[task.wait.waits_on[0]] if task.wait.waits_on else None
    order = list(way)[-1:] + [i for i in range(len(graph.tasks)) if i not in way]
    pending = [task for task in snapshot.tasks if not task.done()]
    found = []
    for index in order[:_MOST_ROOTS]:
        wait = graph.tasks[index].wait
        if wait is not None and not wait.waits_on:
            found.append(waiting_for(pending[index], graph.tasks[index].label, wait.name))
    stuck = [(says(wait, graph), task) for wait, task in zip(graph.tasks[:_MOST_STUCK], pending, strict=False)]
    return suspicions([one for one in found if one], snapshot.alive, snapshot.ended, snapshot.failed, stuck)


def _report(
    snapshot: Snapshot,
    graph: WaitGraph,
    title: str,
    what: list[str],
    advice: list[str],
    unread: Sequence[UnreadError],
) -> str:
    """The whole text, at most 60 lines: deep chains are shortened first, then events, then whole groups left out."""
    head = [f"{title} at {snapshot.when}" + _position(snapshot), *what[:20]]
    head += [f"cycle: {cycle_line(cycle)}" for cycle in graph.cycles[:3]]
    tail = [f"  {u.task}: {u.error}" + (f", at {u.place}" if u.place else "") for u in unread[:_MOST_UNREAD]]
    if tail:
        tail.insert(0, "errors nobody has read:")
        tail += [f"  and {len(unread) - _MOST_UNREAD} more"] if len(unread) > _MOST_UNREAD else []
    end = [f"note: {note}" for note in snapshot.notes[:3]] + [f"hint: {hint}" for hint in advice]
    end += [f"again: {snapshot.command}"] if snapshot.command else []
    blocks = groups(graph)
    count = len(graph.tasks)
    intro = [f"{count:,} pending task{'' if count == 1 else 's'}:"] if count else ["no pending task"]
    for frames, events in ((8, 8), (5, 8), (3, 8), (3, 4), (2, 3), (1, 2)):
        last = [f"  {one_line(event)}" for event in snapshot.events[-events:]]
        rest = [*tail, *([EVENTS, *last] if last else []), *end]
        told: set[int] | None = set() if frames > 3 else None
        bodies = [task_lines(group, graph, frames, told) for group in blocks[:_MOST_LINES]]
        room = _MOST_LINES - len(head) - len(intro) - len(rest)
        if sum(map(len, bodies)) <= room and len(blocks) <= len(bodies):
            break
    shown = _fitting(bodies, blocks, room)
    return "\n".join([*head, *intro, *shown, *rest])


def _fitting(bodies: list[list[str]], blocks: Sequence[Any], room: int) -> list[str]:
    """As many whole blocks as there is room for, and how many tasks are left out."""
    if len(bodies) == len(blocks) and sum(map(len, bodies)) <= room:
        return [line for body in bodies for line in body]
    shown: list[str] = []
    number = 0
    while number < len(bodies) and len(shown) + len(bodies[number]) < room:
        shown += bodies[number]
        number += 1
    left_out = blocks[number:]
    tasks = sum(len(group.tasks) for group in left_out)
    return [*shown, f"  and {tasks:,} more tasks at {len(left_out):,} other places: see error.to_dict()"]


def _position(snapshot: Snapshot) -> str:
    step = f", step {snapshot.step:,}" if snapshot.step is not None else ""
    return step + (f", seed {snapshot.seed}" if snapshot.seed is not None else "")


def _frame(frame: FrameSummary) -> str:
    return f"{shown_path(frame.filename, os.getcwd())}:{frame.lineno} in {frame.name}"


def _stack(stack: Sequence[FrameSummary]) -> list[str]:
    return [f"    {_frame(f)}" + (f": {f.line}" if f.line else "") for f in stack[-_STACK_LINES:]]


def _stack_data(stack: Sequence[FrameSummary]) -> list[dict[str, Any]]:
    return [{"file": f.filename, "line": f.lineno, "function": f.name, "source": f.line} for f in stack]
