"""The texts about blocking calls: the error at the call, and the warning about one that was let through.

Called by `vtloop.blocking`, which decides.  Each function only builds a text or an error.  ``str(error)`` is one line.
"""

from __future__ import annotations

import asyncio
import linecache
import os
from collections.abc import Sequence
from types import FrameType
from typing import Any

from vtloop.diagnosis.chains import Place, one_line, plain_name, shown_path
from vtloop.diagnosis.describe import place_data
from vtloop.diagnosis.verdict import Snapshot
from vtloop.errors import BlockingCallError

__all__ = ["blocking_call", "let_through_text", "place_of_frame", "task_label"]

_STACK_LINES = 8


def task_label(task: asyncio.Task[Any] | None) -> str:
    """The task at work as reports name it: ``Task-1 (fetch)``, or its own name; "a callback" for none."""
    if task is None:
        return "a callback"
    name = one_line(task.get_name())
    if name.startswith("Task-") and name[5:].isdecimal() and not task.done():
        return f"{name} ({plain_name(getattr(task.get_coro(), '__qualname__', '?'))})"
    return name


def place_of_frame(frame: FrameType) -> Place:
    """Where ``frame`` stands now."""
    code, line = frame.f_code, frame.f_lineno or frame.f_code.co_firstlineno
    source = linecache.getline(code.co_filename, line, frame.f_globals).strip()
    return Place(shown_path(code.co_filename, os.getcwd()), line, plain_name(code.co_qualname), source, False)


def blocking_call(
    snapshot: Snapshot,
    call: str,
    shown: str,
    who: str,
    place: Place | None,
    stack: Sequence[Place],
    instead: str,
    never: str | None,
) -> BlockingCallError:
    """The call ``shown``, made by ``who`` at ``place``, blocks the loop.

    Args:
        snapshot: What the loop knows.
        call: The function that was called, as ``"time.sleep"``.
        shown: The same with what is known of its arguments.
        who: The label of the task.
        place: The program's own line; None for a callback that is the blocking function itself.
        stack: How it came there, outermost first.
        instead: What to write in its place.
        never: Why it would never return at all, when that is certain.
    """
    where = f" at {place}" if place is not None else ""
    effect = f"it would never return, {never}" if never else "it blocks the loop"
    message = f"{shown} was called by {who}{where}, {snapshot.when}: {effect}. Instead: {instead}"
    position = f", step {snapshot.step:,}" if snapshot.step is not None else ""
    position += f", seed {snapshot.seed}" if snapshot.seed is not None else ""
    lines = [
        f"BLOCKING CALL at {snapshot.when}{position}",
        f"{shown} was called by {who}. While it lasts no other task can run"
        + (" and no timer can fire." if not never else f"; and it would never return, {never}."),
    ]
    if stack:
        lines += ["It was here:", *(f"    {one}" + (f": {one.source}" if one.source else "") for one in _last(stack))]
    lines.append(f"hint: {instead}.")
    if call == "time.sleep":
        lines.append('hint: blocking="virtual" lets it move the virtual clock instead; blocking="allow" lets it sleep.')
    else:
        lines.append('hint: blocking="virtual" lets it block and warns; blocking="allow" lets it block.')
    command = snapshot.command(BlockingCallError.__name__) if callable(snapshot.command) else snapshot.command
    if command:
        lines.append(f"again: {command}")
    data = {
        "verdict": "blocking call",
        "call": call,
        "shown": shown,
        "task": who,
        "time": snapshot.time_ns / 1e9,
        "time_ns": snapshot.time_ns,
        "step": snapshot.step,
        "seed": snapshot.seed,
        "place": place_data(place),
        "stack": [place_data(one) for one in _last(stack)],
        "instead": instead,
        "never_returns": never,
        "command": command,
    }
    return BlockingCallError(message, report="\n".join(lines), data=data)


def let_through_text(call: str, who: str, place: Place | None, count: int, instead: str) -> tuple[str, dict[str, Any]]:
    """The line, and its facts, about a call that really blocked because ``blocking="virtual"`` lets it."""
    where = f" at {place}" if place is not None else ""
    times = "" if count == 1 else f" {count:,} times"
    text = f"{call} was called by {who}{where}{times} and really blocked the loop. Instead: {instead}"
    return text, {"call": call, "task": who, "place": place_data(place), "count": count, "instead": instead}


def _last(stack: Sequence[Place]) -> Sequence[Place]:
    return stack[-_STACK_LINES:]
