"""The wrong loop, or none: primitives of another loop, calls without a running loop, a loop run inside a loop.

One of the families that `mistakes` tries.  It must never say where something was made unless it was seen there.
"""

from __future__ import annotations

import ast
import asyncio
import os
import re
import sys
import threading
from types import FrameType
from typing import Any

from vtloop.diagnosis.advice import Case, Rule, is_future, kind_of
from vtloop.diagnosis.chains import Places
from vtloop.diagnosis.names import Namer
from vtloop.diagnosis.sites import UNKNOWN, frames_of

__all__ = ["RULES"]

_CALLING = (os.path.join("vtloop", "threads.py"), os.path.join("concurrent", "futures", "thread.py"))


def _program_frames(case: Case) -> list[FrameType]:
    places = Places()
    frames = [traceback.tb_frame for traceback in frames_of(case.error)]
    return [frame for frame in frames if not places.is_internal(frame.f_code)]


def _module_of(thing: object, frames: list[FrameType]) -> str | None:
    """The module whose global the thing is, when a frame of the traceback belongs to it."""
    for frame in reversed(frames):
        if any(value is thing for value in list(frame.f_globals.values())):
            return str(frame.f_globals.get("__name__"))
    return None


# -- another loop ----------------------------------------------------------------------------------------------------


def _foreign(case: Case, thing: Any) -> str:
    frames = _program_frames(case)
    named = None if thing is UNKNOWN else Namer().name(thing, frames)
    module = None if thing is UNKNOWN else _module_of(thing, frames)
    kind = "something" if thing is UNKNOWN else kind_of(thing)
    what = f"{kind} `{named}`" if named else f"a {kind}" if thing is not UNKNOWN else kind
    bound = "was made for" if is_future(thing) or thing is UNKNOWN else "was first waited on in"
    text = f"{what} {bound} another loop, and each test, each run, each `asyncio.run` has its own"
    if module is not None:
        return case.told(f"{text}: it is a global of {module}; make it inside the run, in a fixture or coroutine")
    return case.told(f"{text}: make it inside the run, not for a module, class or session of tests")


def _bound_elsewhere(case: Case) -> str:
    """``<asyncio.locks.Lock object at 0x...> is bound to a different event loop``"""
    return _foreign(case, case.local("self"))


def _attached_elsewhere(case: Case) -> str:
    """``Task ... got Future ... attached to a different loop``"""
    node = case.site.node
    if not case.site.direct or not isinstance(node, ast.Await):
        return _foreign(case, UNKNOWN)
    value = case.site.value(node.value)
    return _foreign(case, value if is_future(value) else UNKNOWN)


def _belongs_elsewhere(case: Case) -> str:
    """``The future belongs to a different loop than the one specified as the loop argument``"""
    value = case.local("coro_or_future")
    return _foreign(case, value if is_future(value) else UNKNOWN)


def _closed(case: Case) -> str | None:
    """``Event loop is closed``, of a loop that is not the run's"""
    loop = case.local("self")
    if not isinstance(loop, asyncio.AbstractEventLoop) or loop is case.loop:
        return None
    return case.told(
        "this went to another loop than the run's, and that one is closed: make what uses it inside the run"
    )


# -- no loop ---------------------------------------------------------------------------------------------------------


def _no_loop(case: Case) -> str:
    """``no running event loop``, ``There is no current event loop in thread ...``"""
    thread = case.found.groupdict().get("thread")
    files = [traceback.tb_frame.f_code.co_filename for traceback in frames_of(case.error)]
    if threading.__file__ in files or any(file.endswith(_CALLING) for file in files):
        name = f"thread {thread!r}" if thread is not None else "a thread, as this one of an executor call,"
        return case.told(
            f"{name} has no event loop: hand the work to the loop's own thread by\n"
            "  `asyncio.run_coroutine_threadsafe(coro, loop)` or `loop.call_soon_threadsafe(callback)`"
        )
    called = "`asyncio.get_event_loop()` needs" if "get_event_loop" in case.site.source else "this needs"
    where = "in an async fixture or coroutine" if case.site.is_plain_function else "in a coroutine"
    return case.told(f"{called} a running loop, and none runs here: call it {where} (`get_running_loop()` there)")


# -- a loop in a loop ------------------------------------------------------------------------------------------------


def _patched() -> str:
    patched = sys.modules.get("nest_asyncio") is not None and getattr(asyncio, "_nest_patched", False) is True
    return " (nest_asyncio has patched asyncio, but not this loop: leave it out)" if patched else ""


def _nested(case: Case) -> str:
    """``This event loop is already running``, ``asyncio.run() cannot be called from a running event loop``"""
    site, node = case.site, case.site.node
    what = f"a loop runs already, and cannot be run again from inside{_patched()}: `await` the coroutine instead"
    call = node.value if isinstance(node, ast.Await) else node
    argument = case.argument
    runs = isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute)
    if runs and isinstance(call, ast.Call) and argument is not None and len(call.args) == 1 and site.may_await:
        assert isinstance(call.func, ast.Attribute)
        if call.func.attr in ("run", "run_until_complete"):
            return case.told(what, site.with_await(call, site.text(argument)))
    if site.is_plain_function:
        return case.told(f"{what}, in an `async def`: `{site.function}` is a plain function")
    return case.told(what)


def _not_patchable(case: Case) -> str:
    """``Can't patch loop of type ...``, by nest_asyncio"""
    return case.told("nest_asyncio cannot patch vtloop's loop, which needs no patch: leave `nest_asyncio.apply()` out")


# -- tasks -----------------------------------------------------------------------------------------------------------


def _itself(case: Case) -> str:
    """``Task cannot await on itself``"""
    what = "a task cannot wait for its own end: leave it out of what it waits for"
    return case.told(f"{what}, as in `if task is not asyncio.current_task()`")


def _no_result(case: Case) -> str | None:
    """``Result is not set.``, of a task or future that is not done"""
    node = case.site.node
    if not case.site.direct or not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
        return None
    holder = node.func.value
    text = case.site.text(holder)
    value = case.site.value(holder)
    edit = case.site.with_await(node, text) if node.func.attr == "result" else None
    return case.told(f"`{text}` is not done yet: await it", edit) if value is UNKNOWN or is_future(value) else None


def _of_task(case: Case) -> str | None:
    """``'_asyncio.Task' object is not subscriptable``, and the like"""
    node = case.site.node
    if not case.site.direct or not isinstance(node, (ast.Attribute, ast.Subscript)):
        return None
    value = case.site.value(node.value)
    if not is_future(value):
        return None
    text = case.site.text(node.value)
    kind = kind_of(value).removeprefix("_Gathering")
    what = f"`{text}` is a {kind}, not its result: an `await` is missing"
    return case.told(what, case.site.with_await(node.value))


def _without_lock(case: Case) -> str:
    return case.told(f"`{case.found[1]}()` of a Condition goes inside `async with` of the condition")


_R, _V = (RuntimeError,), (ValueError,)
RULES = tuple(
    Rule(kinds, re.compile(pattern, re.DOTALL), advise)
    for kinds, pattern, advise in (
        (_R, r"<.*> is bound to a different event loop", _bound_elsewhere),
        (_R, r"Task <.*> got Future <.*> attached to a different loop", _attached_elsewhere),
        (_V, r"The future belongs to a different loop than the one specified", _belongs_elsewhere),
        (_R, r"Event loop is closed", _closed),
        (_R, r"no running event loop", _no_loop),
        ((RuntimeError, DeprecationWarning), r"There is no current event loop( in thread '(?P<thread>.*)')?", _no_loop),
        (_R, r"This event loop is already running", _nested),
        (_R, r"asyncio\.run\(\) cannot be called from a running event loop", _nested),
        (_R, r"Runner\.run\(\) cannot be called from a running event loop", _nested),
        (_R, r"Cannot run the event loop while another loop is running", _nested),
        (_V, r"Can't patch loop of type <class 'vtloop", _not_patchable),
        (_R, r"Task cannot await on itself", _itself),
        ((asyncio.InvalidStateError,), r"(Result|Exception) is not (set|ready)", _no_result),
        ((AttributeError, TypeError), r"'(_asyncio\.)?(Task|Future|_GatheringFuture)' object ", _of_task),
        (_R, r"cannot (notify|wait) on un-acquired lock", _without_lock),
    )
)
