"""Who was to wake a task that nobody can wake now: an ended task, a failed thread, a signal that came too early.

Called by `verdict` once, when a run is stuck.  Two sources: the notes of a recorded run (who touched the primitive, and
when), and the tracebacks of what was cancelled or failed, whose frames may hold the very primitive that is waited for
and a line, not reached, that would have set it.  Facts are told as facts and the rest as a question: whether a line
would have been reached cannot be known.  It must never run code of the program, and never compare by name alone.
"""

from __future__ import annotations

import ast
import asyncio
import contextlib
import dis
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from types import CodeType, FrameType
from typing import Any, NamedTuple

from vtloop.cpython_waits import cancelled_with, coroutine_of_ended, end_of, future_waited_for, unfinished_items
from vtloop.diagnosis.chains import Places, await_chain, one_line, plain_name, shown_path
from vtloop.diagnosis.sites import Site, frames_of
from vtloop.diagnosis.targets import Target, seconds, target_of
from vtloop.noting import Touch, lost_set, touches

__all__ = ["Suspicion", "Waiting", "never_awaited", "suspicions", "waiting_for"]

_WAKERS = {
    "Event": ("set",),
    "Condition": ("notify", "notify_all"),
    "Barrier": ("wait",),
    "Queue.get": ("put", "put_nowait"),
    "Queue.put": ("get", "get_nowait"),
    "Queue.join": ("task_done",),
    "Lock": ("release",),
    "Semaphore": ("release",),
    "future": ("set_result", "set_exception"),
}
"""By kind of wait: the methods that end it."""

_QUEUES = (asyncio.Queue, asyncio.LifoQueue, asyncio.PriorityQueue)
_MOST_WAITS, _MOST_ENDED, _MOST_FRAMES = 4, 200, 20


class Waiting(NamedTuple):
    """A task that waits for something which no pending task is known to bring about."""

    task: str
    label: str
    name: str | None
    target: Target
    predicate: bool
    """Whether it waits for a condition until a predicate is true."""


@dataclass(frozen=True, slots=True)
class Suspicion:
    """Something that may explain a wait.

    Attributes:
        text: It, in one line.
        who: The task or thread it is about, as reports call it; empty for none.
        short: A few words for the message, where the evidence is the primitive itself; else empty.
    """

    text: str
    who: str = ""
    short: str = ""


def waiting_for(task: asyncio.Task[Any], label: str, name: str | None) -> Waiting | None:
    """What a pending task waits for, live; None where it is nothing that another part of the program sets."""
    waiter = future_waited_for(task)
    if waiter is None or waiter.done():
        return None
    chain = await_chain(task.get_coro())
    target = target_of(chain, waiter, Places())
    if target.kind not in _WAKERS or target.primitive is None:
        return None
    predicate = any(link.code is asyncio.Condition.wait_for.__code__ for link in chain)
    return Waiting(task.get_name(), label, name, target, predicate)


def suspicions(
    waits: Sequence[Waiting],
    alive: Sequence[str],
    ended: Sequence[asyncio.Task[Any]],
    failed: Sequence[BaseException] = (),
    pending: Sequence[tuple[str, asyncio.Task[Any]]] = (),
) -> list[Suspicion]:
    """What may explain `waits`, the likeliest first.

    Args:
        waits: The first ones are looked at.
        alive: The names of the tasks that have not ended.
        ended: Finished tasks in order of creation, as far as they are known.
        failed: What failed in threads of the run.
        pending: Tasks that are stuck as well, each with a sentence about what it does.
    """
    ends = list(_ends(ended, failed))
    others = [_End(task.get_name(), says, "", _standing(task)) for says, task in pending]
    known, sites = _Ends(alive, ends), _Sites()
    found: list[Suspicion] = []
    said: set[str] = set()
    for wait in waits[:_MOST_WAITS]:
        suspicion = None
        with contextlib.suppress(Exception):  # odd objects of the program: no suspicion is better than no verdict
            suspicion = _not_reached(wait, ends, sites) or _of_those_left(wait, others, known, waits, sites)
        # What two tasks wait for in the same way is told once.
        alike = suspicion.text.replace(wait.label, "") if suspicion is not None else ""
        if suspicion is not None and alike not in said:
            said.add(alike)
            found.append(suspicion)
    return found


# -- what has ended --------------------------------------------------------------------------------------------------


class _End(NamedTuple):
    """How a task or thread ended; the frames that its end went through, innermost first, with their instructions."""

    name: str
    who: str
    how: str
    frames: Sequence[tuple[FrameType, int]]


def _ends(ended: Sequence[asyncio.Task[Any]], failed: Sequence[BaseException]) -> Iterator[_End]:
    for task in ended[-_MOST_ENDED:]:
        error = cancelled_with(task) if task.cancelled() else end_of(task)
        frames = _frames(error)
        name = one_line(task.get_name())
        yield _End(name, _label(task, name), _how(task.cancelled(), error), frames)
    for error in failed[:_MOST_ENDED]:
        thread = next((n for n in getattr(error, "__notes__", ()) if n.startswith(_IN_THREAD)), None)
        if thread is not None:
            name = one_line(thread.removeprefix(_IN_THREAD))
            yield _End("", f"thread {name}", _how(False, error), _frames(error))


def _standing(task: asyncio.Task[Any]) -> list[tuple[FrameType, int]]:
    """Where a pending task stands, as `_frames` has it for one that ended."""
    places = Places()
    links = [link for link in await_chain(task.get_coro()) if not places.is_internal(link.code)]
    return [(link.frame, link.frame.f_lasti) for link in links[-_MOST_FRAMES:][::-1]]


def _elsewhere(wait: Waiting, others: Sequence[_End], waits: Sequence[Waiting]) -> list[_End]:
    """Those that do not wait for the same thing."""
    alike = [one.task for one in waits if one.target.primitive is wait.target.primitive]
    return [other for other in others if other.name not in alike]


class _Ends:
    """How a task ended, by its name; None for one that has not, or whose name others have too."""

    def __init__(self, alive: Sequence[str], ends: Sequence[_End]) -> None:
        self._alive, self._ends = frozenset(map(one_line, alive)), ends

    def get(self, name: str | None) -> _End | None:
        """The end of the task of that name."""
        if name is None or one_line(name) in self._alive:
            return None
        found = [end for end in self._ends if end.name == one_line(name)]
        # The loop lets go of tasks that have ended, but for failures that nobody has read.
        return (found or [_End(name, one_line(name), "has ended", ())])[0] if len(found) < 2 else None


_IN_THREAD = "raised in thread "


def _label(task: asyncio.Task[Any], name: str) -> str:
    coroutine = coroutine_of_ended(task)
    stock = name.startswith("Task-") and name[5:].isdecimal()
    return f"{name} ({plain_name(coroutine.__qualname__)})" if stock and coroutine is not None else name


def _how(cancelled: bool, error: BaseException | None) -> str:
    if cancelled:
        return "was cancelled"
    return "returned" if error is None else f"failed with {type(error).__name__}"


def _frames(error: BaseException | None) -> list[tuple[FrameType, int]]:
    if error is None:
        return []
    places = Places()
    found = [(each.tb_frame, each.tb_lasti) for each in frames_of(error)]
    return [pair for pair in found if not places.is_internal(pair[0].f_code)][-_MOST_FRAMES:][::-1]


def _of_those_left(
    wait: Waiting, others: Sequence[_End], known: _Ends, waits: Sequence[Waiting], sites: _Sites
) -> Suspicion | None:
    others = _elsewhere(wait, others, waits)
    if wait.target.kind in ("Lock", "Semaphore", "Queue.get"):
        return _not_reached(wait, others, sites) or _noted(wait, known, waits)
    return _noted(wait, known, waits) or _not_reached(wait, others, sites)


# -- a line that was not reached -------------------------------------------------------------------------------------


def _not_reached(wait: Waiting, ends: Sequence[_End], sites: _Sites) -> Suspicion | None:
    """The first that ended before a line, in a frame of its end, which uses the very primitive to wake somebody."""
    names = _WAKERS[wait.target.kind]
    wanted = (wait.target.primitive, wait.target.via_condition)
    for end in ends:
        for frame, lasti in end.frames:
            if not any(name in frame.f_code.co_names for name in names):
                continue
            for any_site, again in sites.of(frame, lasti, names):
                site = any_site.in_frame(frame)
                assert isinstance(site.node, ast.Attribute)
                holder = site.value(site.node.value)
                if any(holder is thing for thing in wanted if thing is not None):
                    return _told(wait, end, frame, lasti, site, again)
    return None


class _Sites:
    """The lookups in each code, found once: thousands of tasks stand at a handful of lines.  Lives for one search."""

    def __init__(self) -> None:
        # Keyed by identity; the value keeps the code alive.
        self._known: dict[tuple[int, int, Sequence[str]], tuple[list[tuple[Site, bool]], CodeType]] = {}

    def of(self, frame: FrameType, lasti: int, names: Sequence[str]) -> list[tuple[Site, bool]]:
        """Where a frame that got as far as `lasti` might look one of the names up, and whether for once more."""
        key = (id(frame.f_code), lasti, names)
        if key not in self._known:
            found = [(Site(frame, at, line), again) for at, line, again in _lookups(frame.f_code, names, lasti)]
            self._known[key] = [one for one in found if isinstance(one[0].node, ast.Attribute)], frame.f_code
        return self._known[key][0]


def _lookups(code: CodeType, names: Sequence[str], lasti: int) -> Iterator[tuple[int, int, bool]]:
    """Where code that got as far as `lasti` might have looked up one of the names: offset, line, whether once more."""
    instructions = list(dis.get_instructions(code))
    # CPython: what closes a loop (3.11-3.13); JUMP_BACKWARD_NO_INTERRUPT is a part of `await`.
    loops = [
        one.argval
        for one in instructions
        if one.offset > lasti and (one.opname == "JUMP_BACKWARD" or one.opname.startswith("POP_JUMP_BACKWARD"))
    ]
    found = [one for one in instructions if one.opname in ("LOAD_ATTR", "LOAD_METHOD") and one.argval in names]
    for again in (False, True):
        for one in found:
            line = one.positions.lineno if one.positions is not None else None
            ahead = one.offset > lasti
            if line is not None and ahead is not again and (ahead or any(target <= one.offset for target in loops)):
                yield one.offset, line, again


def _told(wait: Waiting, end: _End, frame: FrameType, lasti: int, site: Site, again: bool) -> Suspicion:
    places = Places()
    assert isinstance(site.node, ast.Attribute)
    call = f"`{site.text(site.node)}()`"
    ended = places.of_instruction(frame.f_code, lasti)
    line = f"`{site.source}` on line {site.line}{' once more' if again else ''}"
    if not end.how:
        return Suspicion(f"{end.who}, before {line}: was that to wake {wait.label}?")
    text = f"{end.who} {end.how} at {ended}, before {line}: was that to wake {wait.label}?"
    return Suspicion(text, end.who, f"{end.who} {end.how} before {'another ' if again else ''}{call}")


# -- notes -----------------------------------------------------------------------------------------------------------


def _noted(wait: Waiting, ends: _Ends, waits: Sequence[Waiting]) -> Suspicion | None:
    """What the notes of a recorded run tell of the primitive."""
    kind, primitive = wait.target.kind, wait.target.primitive
    if kind == "Event":
        return _lost_set(wait, lost_set(primitive))
    noted = touches(primitive)
    if kind == "Condition":
        return _lost_notify(wait, noted)
    if kind == "Queue.get":
        return _last_put(wait, noted, ends)
    if kind == "Queue.join":
        return _not_done(wait, noted, ends, waits)
    return _kept(wait, noted, ends) if kind in ("Lock", "Semaphore") else None


def _named(wait: Waiting) -> str:
    return f"`{wait.name}`" if wait.name else f"the {wait.target.kind.partition('.')[0]}"


def _by(touch: Touch) -> str:
    who = one_line(touch.task) if touch.task is not None else "a callback"
    where = f" at {Places().of_instruction(touch.code, touch.lasti)}" if touch.code is not None else ""
    return f"{who}{where}, t={seconds(touch.time_ns)}"


def _lost_set(wait: Waiting, touch: Touch | None) -> Suspicion | None:
    if touch is None:
        return None
    text = f"{_named(wait)} was set by {_by(touch)}, while nobody waited for it, and cleared again"
    text += f": did {wait.label} come too late? Leave it set, or use a Condition."
    return Suspicion(text, short=f"{_named(wait)} was set before and cleared")


def _lost_notify(wait: Waiting, noted: Sequence[Touch]) -> Suspicion | None:
    """The last ``notify`` came before the task waited."""
    last = next((n for n in range(len(noted) - 1, -1, -1) if noted[n].kind == "notify"), None)
    if wait.predicate:
        so_far = f"was notified last by {_by(noted[last])}" if last is not None else "was never notified"
        return Suspicion(
            f"{_named(wait)} {so_far}; {wait.label} looks at its predicate again only when it is notified."
        )
    if last is None or not any(touch.kind == "wait" and touch.task == wait.task for touch in noted[last + 1 :]):
        return None
    if any(touch.kind == "wait" for touch in noted[:last]):
        return None  # somebody may have been woken by it
    text = f"{_named(wait)} was notified by {_by(noted[last])}, before {wait.label} waited, and not since"
    return Suspicion(f"{text}: use `wait_for(predicate)`, so that the state decides.")


def _last_put(wait: Waiting, noted: Sequence[Touch], ends: _Ends) -> Suspicion | None:
    """The last who put into the queue has ended."""
    last = next((touch for touch in reversed(noted) if touch.kind == "put"), None)
    end = ends.get(last.task) if last is not None else None
    if last is None or end is None:
        return None
    return Suspicion(f"the last `put` into {_named(wait)} was by {_by(last)}; {end.who} {end.how}.", end.who)


def _not_done(wait: Waiting, noted: Sequence[Touch], ends: _Ends, waits: Sequence[Waiting]) -> Suspicion | None:
    """Items were got and never marked as done, and nobody who got one is still at work on it."""
    queue: Any = wait.target.primitive
    unfinished = unfinished_items(queue)
    last = next((touch for touch in reversed(noted) if touch.kind == "get"), None)
    if unfinished is None or last is None or type(queue) not in _QUEUES:
        return None
    open_items = unfinished - queue.qsize()
    idle = [one.task for one in waits if one.target.kind == "Queue.get" and one.target.primitive is queue]
    getters = [touch.task for touch in noted if touch.kind == "get"]
    if open_items < 1 or any(name not in idle and ends.get(name) is None for name in getters):
        return None
    many = f"{open_items:,} items were" if open_items > 1 else "1 item was"
    text = f"{many} got from {_named(wait)} without `task_done()`; the last `get` was by {_by(last)}"
    return Suspicion(f"{text}: call it for each item, in a `finally`.")


def _kept(wait: Waiting, noted: Sequence[Touch], ends: _Ends) -> Suspicion | None:
    """Who took it by hand has ended, and has not released it."""
    for number, touch in enumerate(noted):
        end = ends.get(touch.task) if touch.kind == "acquire" else None
        released = any(later.kind == "release" and later.task == touch.task for later in noted[number:])
        if end is not None and not released:
            what = "a permit of" if wait.target.kind == "Semaphore" else "the lock"
            text = f"{what} {_named(wait)} was taken by {_by(touch)}; {end.who} {end.how} and did not release it"
            return Suspicion(f"{text}: use `async with`.", end.who, f"{end.who} {end.how} and kept it")
    return None


# -- calls without an await ------------------------------------------------------------------------------------------


def never_awaited(dropped: Sequence[tuple[str, str, int, str]]) -> Suspicion | None:
    """Coroutines that nobody awaited: nothing of them has run, whatever they were to do.

    Args:
        dropped: What was called, and the file, line and function of the call.
    """
    calls = list(dict.fromkeys(dropped))
    if not calls:
        return None
    name, file, line, function = calls[0]
    place = f"{shown_path(file, os.getcwd())}:{line}" + (f" in {function}" if function else "")
    more = f" (and {len(calls) - 1:,} more)" if len(calls) > 1 else ""
    text = f"`{name}()` was called at {place} and never awaited{more}: nothing of it has run; put `await` before it."
    return Suspicion(text, short=f"{name}() was never awaited")
