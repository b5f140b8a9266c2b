"""What is certain to run: what stands ready, the timers, requests and calls; and who waits meanwhile.

Called by `reach`.  It reads the loop's own structures, and says of the frames on the stack which of them do nothing
until the loop returns.  It must never change the loop.
"""

from __future__ import annotations

import asyncio
import functools
import weakref
from collections.abc import Iterable, Iterator
from types import BuiltinMethodType, FrameType, MethodType
from typing import Any

from vtloop.cpython_waits import future_waited_for
from vtloop.diagnosis.heap import is_mute, is_runners

__all__ = [
    "at_work",
    "blocked_tasks",
    "callback_of",
    "callbacks",
    "directly",
    "of_other_loops",
    "others_of_the_loop",
    "waiting_frames",
]

_RUNS = ("_run_fifo", "_run_line", "_step_once")
"""Methods of the loop that run steps."""

_BETWEEN = ("_idle", "_poll", "_spend_steps")
"""Methods of the loop that it calls when no step is under way."""


def blocked_tasks(loop: Any) -> list[asyncio.Task[Any]]:
    """The tasks of ``loop`` that wait for a future which is not done, in order of creation."""
    running = asyncio.current_task(loop)
    found = []
    for task in loop._tasks.pending():
        future = future_waited_for(task)
        if future is not None and not future.done() and task is not running:
            found.append(task)
    return found


def at_work(loop: Any) -> bool:
    """Whether an executor call runs in a helper thread now: what it may do cannot be seen."""
    return any(helper.call is not None for helper in loop._helpers)


def callbacks(loop: Any) -> Iterator[tuple[Any, Any, Any]]:
    """What will be called, as ``(context, callback, arguments)``: ready entries, then timers."""
    line = loop._line
    for entry in [*loop._ready, *([item[2:5] for item in line.waiting()] if line is not None else ())]:
        if entry[1] is not None:  # the mark
            yield entry
    for handle in [*loop._timers.pending(), *loop._due]:
        yield handle._context, handle._fire, ()


def others_of_the_loop(loop: Any) -> list[Any]:
    """What else of the program the loop will call: executor calls, handlers, its own scheduler; and its requests."""
    found = [loop._task_factory, loop.get_exception_handler()]
    found += [thing for call in loop._calls for thing in (call.future, call.function)]
    found += [request.waiter for request in loop._requests]
    scheduler = loop._scheduler
    return found + ([] if scheduler is None else [x for x in vars(scheduler).values() if not is_mute(type(x))])


def of_other_loops(loops: Iterable[Any]) -> Iterator[Any]:
    """What other loops of ours would run, in whatever thread: they too can wake a task of this one."""
    for loop in loops:
        if not loop.is_closed():
            yield from loop._tasks.pending()
            yield from others_of_the_loop(loop)
            for entry in callbacks(loop):
                yield from entry


def callback_of(reference: Any) -> Any:
    """The callback of a weak reference; None for one that only takes it out of its container."""
    callback = _CALLBACK.__get__(reference)
    name = (getattr(callback, "__module__", ""), getattr(callback, "__name__", ""))
    return None if name in _FORGETTING else callback


_CALLBACK: Any = vars(weakref.ref)["__callback__"]  # a subclass may hide it
_FORGETTING = (("_weakrefset", "_remove"), ("weakref", "remove"))


def directly(callback: Any, args: Iterable[Any]) -> list[Any]:
    """What a callback is about: its object and its arguments."""
    found, todo = list(args), [callback]
    for _ in range(8):
        if not todo:
            break
        here = todo.pop()
        if isinstance(here, functools.partial):
            found += [*here.args, *here.keywords.values()]
            todo.append(here.func)
        elif isinstance(here, (MethodType, BuiltinMethodType)):
            found.append(here.__self__)
            todo.append(here.__self__) if isinstance(here.__self__, functools.partial) else None
    return found


def waiting_frames(loop: Any, frames: list[FrameType]) -> list[FrameType]:
    """Those of the frames on the stack that do nothing until ``loop`` returns."""
    running = asyncio._get_running_loop()
    if running is None:
        return frames
    for place, frame in enumerate(frames):
        code = frame.f_code
        if code.co_name in _BETWEEN and is_runners(code):
            return frames  # the loop itself asks: no step is under way
        if code.co_name in _RUNS and is_runners(code):
            return frames[place + 1 :] if running is loop else []
    return []
