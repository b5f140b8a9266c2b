"""The blocking calls themselves: where each is seen, and how long it may take before it counts.

`watch` is called by a loop that minds them (`vtloop.blocking`) when it begins to run.  On first use a few functions of
the standard library are replaced for good by ones that ask whether a guarded loop runs in this thread; anywhere else
they only call the original.  This file has those that wait, `vtloop.blocking_acts` those that act.  A call that would
not block is never refused: one on something that is there already, one that must not wait, and one that is about to
end (`vtloop.blocking_patience`).
"""

from __future__ import annotations

import _thread
import asyncio
import concurrent.futures
import contextlib
import functools
import gc
import os
import select
import selectors
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from types import CellType, FrameType, FunctionType, MethodType, ModuleType
from typing import Any

from vtloop import blocking_buster
from vtloop.blocking import blocked, guarded, program_frames
from vtloop.blocking_acts import acts
from vtloop.blocking_names import instead_of, method_name, waiting_call
from vtloop.blocking_patience import ended_soon, left_of
from vtloop.handles import Handle
from vtloop.handover import SLEEPERS
from vtloop.state import LoopState

__all__ = ["watch"]

_sleep_really = time.sleep
_running = asyncio._get_running_loop
_ident = _thread.get_ident


# -- time.sleep ------------------------------------------------------------------------------------------------------


@functools.wraps(time.sleep)
def _sleep(seconds: Any, /) -> None:
    loop: Any = _running()
    mode = getattr(loop, "_blocking", None)
    if mode is None:
        if SLEEPERS and (rest := SLEEPERS.get(_ident())) is not None and _is_length(seconds):
            rest(seconds)
            return
    elif _is_length(seconds) and (frames := program_frames(sys._getframe(1))) is not None:
        if mode == "virtual":
            loop.elapse(seconds)
            return
        _refuse_sleep(loop, frames, seconds)
    _sleep_really(seconds)


def _is_length(seconds: Any) -> bool:
    """Whether it is a time that really passes: neither 0 nor what ``time.sleep`` refuses."""
    return isinstance(seconds, (int, float)) and 0 < seconds < threading.TIMEOUT_MAX


def _refuse_sleep(loop: LoopState, frames: list[FrameType], seconds: Any) -> None:
    shown = f"{seconds:g}" if isinstance(seconds, float) else str(seconds)
    blocked(loop, frames, "time.sleep", f"await asyncio.sleep({shown})", f"time.sleep({shown})")


# -- waiting for threads, processes and files ------------------------------------------------------------------------


def _refuse(loop: LoopState, frames: list[FrameType], method: str, owner: Any = None) -> None:
    """A wait has become one: ``method`` of ``owner``, or a function by its whole name."""
    call, owner = waiting_call(frames, method if owner is None else method_name(owner, method), owner)
    never = None
    if isinstance(owner, concurrent.futures.Future) and _ends_in(owner, loop):
        never = "for what it waits for runs in this very loop"
    blocked(loop, frames, call, instead_of(call, own=never is not None), never=never)


def _ends_in(future: concurrent.futures.Future[Any], loop: LoopState) -> bool:
    """Whether ``future`` is the outside of a future of ``loop``, as ``run_coroutine_threadsafe`` gives it."""
    todo: list[object] = [list(vars(future).values())]  # a dict itself may not tell the collector of its values
    for _ in range(6):
        todo = [one for one in gc.get_referents(*todo) if isinstance(one, _CARRIERS) or asyncio.isfuture(one)]
        if any(asyncio.isfuture(one) and one.get_loop() is loop for one in todo):
            return True
    # Its coroutine may be a callback still that is to make a task of it.
    todo = list(loop._ready) if loop._line is None else list(loop._line.waiting())
    for _ in range(8):
        todo = [one for one in gc.get_referents(*todo) if isinstance(one, _CARRIERS) or one is future]
        if any(one is future for one in todo):
            return True
    return False


_CARRIERS = (list, tuple, FunctionType, MethodType, CellType, functools.partial, Handle)
"""What stands between a future and the other that it is chained to."""


_condition_wait = threading.Condition.wait


@functools.wraps(_condition_wait)
def _wait(self: threading.Condition, timeout: float | None = None) -> bool:
    loop = guarded()
    if loop is None or (timeout is not None and timeout <= 0):
        return _condition_wait(self, timeout)
    frames = program_frames(sys._getframe(1))
    if frames is None:
        return _condition_wait(self, timeout)
    began = time.perf_counter()
    # The lock is held between two pieces of the wait, so that no wake-up is lost.
    if ended_soon(functools.partial(_condition_wait, self), timeout):
        return True
    _refuse(loop, frames, "wait", self)
    left = left_of(timeout, began)
    return left != 0 and _condition_wait(self, left)


_thread_join = threading.Thread.join


@functools.wraps(_thread_join)
def _join(self: threading.Thread, timeout: float | None = None) -> None:
    loop = guarded()
    if loop is None or (timeout is not None and timeout <= 0) or not self.is_alive() or self.ident == _ident():
        return _thread_join(self, timeout)
    frames = program_frames(sys._getframe(1))
    if frames is not None:
        began = time.perf_counter()
        if ended_soon(lambda seconds: _thread_join(self, seconds) or not self.is_alive(), timeout):
            return None
        _refuse(loop, frames, "join", self)
        timeout = left_of(timeout, began)
    return _thread_join(self, timeout)


def _select_like(original: Callable[..., Any]) -> Callable[..., Any]:
    """A ``select`` method of `selectors`: nothing to refuse when something is ready."""

    @functools.wraps(original)
    def select(self: Any, timeout: float | None = None) -> Any:
        loop = guarded()
        frames = program_frames(sys._getframe(1)) if loop is not None and (timeout is None or timeout > 0) else None
        if loop is None or frames is None:
            return original(self, timeout)
        began = time.perf_counter()
        found = ended_soon(functools.partial(original, self), timeout)
        if not found:
            _refuse(loop, frames, "select", self)
            left = left_of(timeout, began)
            found = found if left == 0 else original(self, left)
        return found

    return select


_real_select = select.select


@functools.wraps(_real_select)
def _select(rlist: Any, wlist: Any, xlist: Any, timeout: float | None = None, /) -> Any:
    loop = guarded()
    frames = program_frames(sys._getframe(1)) if loop is not None and (timeout is None or timeout > 0) else None
    if loop is None or frames is None:
        return _real_select(rlist, wlist, xlist, timeout)
    began = time.perf_counter()
    found: Any = ([], [], [])

    def ready(seconds: float) -> bool:
        nonlocal found
        found = _real_select(rlist, wlist, xlist, seconds)
        return any(found)

    if not ended_soon(ready, timeout):
        _refuse(loop, frames, "select.select")
        left = left_of(timeout, began)
        found = found if left == 0 else _real_select(rlist, wlist, xlist, left)
    return found


_process_wait = subprocess.Popen.wait
_process_communicate = subprocess.Popen.communicate


@functools.wraps(_process_wait)
def _wait_for_process(self: subprocess.Popen[Any], timeout: float | None = None) -> int:
    loop = guarded()
    if loop is None or (timeout is not None and timeout <= 0) or self.poll() is not None:
        return _process_wait(self, timeout)
    frames = program_frames(sys._getframe(1))
    if frames is not None:
        began = time.perf_counter()
        if not ended_soon(functools.partial(_has_ended, self), timeout, alone=False):
            _refuse(loop, frames, "wait", self)
        timeout = left_of(timeout, began)
    return _process_wait(self, timeout)


def _has_ended(process: subprocess.Popen[Any], seconds: float) -> bool:
    with contextlib.suppress(subprocess.TimeoutExpired):
        _process_wait(process, seconds)
    return process.returncode is not None


@functools.wraps(_process_communicate)
def _communicate(self: subprocess.Popen[Any], input: Any = None, timeout: float | None = None) -> tuple[Any, Any]:
    loop = guarded()
    if loop is not None and self.poll() is None and (timeout is None or timeout > 0):
        frames = program_frames(sys._getframe(1))
        if frames is not None:
            _refuse(loop, frames, "communicate", self)
    return _process_communicate(self, input, timeout)


_real_waitpid: Any = getattr(os, "waitpid", None)


def _waitpid(pid: int, options: int, /) -> tuple[int, int]:
    """``os.waitpid``: a child that is about to end keeps nobody waiting."""
    loop = guarded()
    if loop is not None and not options & getattr(os, "WNOHANG", 1):
        frames = program_frames(sys._getframe(1))
        if frames is not None:
            polled = functools.partial(_poll_child, pid, options)
            found: tuple[int, int] | None = ended_soon(polled, alone=False)
            if found is not None:
                return found
            _refuse(loop, frames, "os.waitpid")
    done: tuple[int, int] = _real_waitpid(pid, options)
    return done


def _poll_child(pid: int, options: int, seconds: float) -> tuple[int, int] | None:
    until = time.perf_counter() + seconds
    while True:
        found: tuple[int, int] = _real_waitpid(pid, options | os.WNOHANG)
        if found[0] or time.perf_counter() >= until:
            return found if found[0] else None
        _sleep_really(0.002)


# -- installing ------------------------------------------------------------------------------------------------------

_WAITS: tuple[tuple[Any, str, Any, Any], ...] = (
    (time, "sleep", _sleep_really, _sleep),
    (threading.Condition, "wait", _condition_wait, _wait),
    (threading.Thread, "join", _thread_join, _join),
    (select, "select", _real_select, _select),
    (subprocess.Popen, "wait", _process_wait, _wait_for_process),
    (subprocess.Popen, "communicate", _process_communicate, _communicate),
    *(
        (kind, "select", vars(kind)["select"], _select_like(vars(kind)["select"]))
        for kind in dict.fromkeys(k for k in vars(selectors).values() if isinstance(k, type))
        if issubclass(kind, selectors.BaseSelector) and "select" in vars(kind)
        if kind is not selectors.BaseSelector
    ),
    *(((os, "waitpid", _real_waitpid, functools.wraps(_real_waitpid)(_waitpid)),) if _real_waitpid else ()),
)

_replaced: list[tuple[Any, str, Any, Any]] = []  # once installed: the owner, the name, the original, ours


# Hot: called once a run, about 0.07 us.
def watch(loop: LoopState) -> None:
    """See to it that the blocking calls of ``loop``, which is about to run, are seen."""
    if time.sleep is not _sleep:
        _install()


def _install() -> None:
    """Replace what is as Python made it; what somebody else has replaced is theirs until they put it back."""
    first = not _replaced
    if first:
        _replaced.extend([*_WAITS, *acts()])
    for owner, name, original, ours in _replaced:
        if getattr(owner, name) is original:
            setattr(owner, name, ours)
    if first:
        _rebind({id(original): ours for owner, _, original, ours in _replaced if isinstance(owner, ModuleType)})
        blocking_buster.activate()


def _rebind(replaced: dict[int, Any]) -> None:
    """Replace functions in the modules that have bound them by ``from time import sleep``; what is imported later
    binds ours.
    """
    for name, module in list(sys.modules.items()):
        names = getattr(module, "__dict__", None)
        if names is None or name in _ORIGINALS or name.partition(".")[0] == "vtloop":
            continue
        for key, value in list(names.items()):
            ours = replaced.get(id(value))
            if ours is not None:
                names[key] = ours


_ORIGINALS = ("time", "select", "posix", "nt", "builtins", "_socket", "_sqlite3")
"""Modules that have the functions from C, and whose names stand in `_replaced`, or are asked for by nobody."""
