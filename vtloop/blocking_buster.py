"""BlockBuster, when it is installed: it sees the blocking calls that cannot be replaced from Python.

The optional extra ``vtloop[blocking]``.  Used by `vtloop.blocking_calls`, once a process.  BlockBuster swaps methods
of C types; the predicate with which it asks "may this block?" is ours, so that the rules and the error are ours too,
and files stay allowed.  It must never be needed: without it there is less to see, and `MISSING` says so.
"""

from __future__ import annotations

import _thread
import asyncio
import atexit
import ctypes
import functools
import importlib
import importlib.util
import os
import queue
import select
import socket
import stat
import sys
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

from vtloop.blocking import blocked, guarded, is_library, program_frames
from vtloop.blocking_names import instead_of, waiting_call
from vtloop.blocking_patience import ended_soon
from vtloop.state import LoopState

__all__ = ["MISSING", "activate", "is_installed", "unseen"]

MISSING = (
    "blockbuster is not installed (pip install 'vtloop[blocking]'): blocking calls of sockets and file descriptors, "
    "of databases, locks and queue.SimpleQueue are not seen"
)

_sleep_really = time.sleep
_running = asyncio._get_running_loop
_ACQUIRE: dict[Any, Callable[..., bool]] = {kind: kind.acquire for kind in (_thread.LockType, _thread.RLock)}
_active: list[Callable[[], Any]] = []  # what undoes each replacement

Ready = Callable[..., bool]
"""Whether the call with these arguments would not wait, as far as can be seen without making it."""


def is_installed() -> bool:
    """Whether BlockBuster can be imported."""
    return importlib.util.find_spec("blockbuster") is not None


def unseen(loop: LoopState) -> tuple[str, ...]:
    """A sentence about what ``loop`` would like to see and cannot, if there is such a thing."""
    return (MISSING,) if loop._blocking is not None and not _active else ()


def activate() -> None:
    """Let BlockBuster watch this process, until it ends; nothing when it is not installed."""
    if _active or not is_installed():
        return
    library: Any = importlib.import_module("blockbuster")
    known = library.BlockBuster().functions
    for name, ready, patient in _wanted(known):
        _add(known[name], name, ready, patient)
    for kind, method, name, ready in _MORE:
        _add(library.BlockBusterFunction(kind, method), name, ready, True)
    patchable: Any = importlib.import_module("forbiddenfruit").patchable_builtin
    for kind, name in ((_thread.LockType, "threading.Lock"), (_thread.RLock, "threading.RLock")):
        _add_entering(patchable(kind), kind, name)
    # Locks are taken while the interpreter ends, when half of what we need is gone.
    atexit.register(_deactivate)


def _wanted(names: Any) -> Iterator[tuple[str, Ready, bool]]:
    """What of BlockBuster's list is wanted: plain file access is allowed, and audit events tell of the rest."""
    for name in names:
        if name.startswith("sqlite3."):
            yield name, _in_memory, False
        elif name.startswith(("socket.socket.", "ssl.SSLSocket.")) and not name.endswith(".connect"):
            yield name, _can_write if ".send" in name or name.endswith("write") else _can_read, False
        elif name in ("os.read", "os.write"):
            yield name, _file_can_read if name == "os.read" else _file_can_write, False
        elif name.startswith("threading.Lock."):
            yield name, _is_free, True


def _add(function: Any, name: str, ready: Ready, patient: bool) -> None:
    excluded = function.can_block_predicate

    def may_block(*args: Any, **kwargs: Any) -> bool:
        """BlockBuster asks this wherever some loop runs; True lets the call through."""
        if guarded() is not None and not excluded(*args, **kwargs):
            _look(sys._getframe(2), name, ready, patient, args, kwargs)
        return True

    function.can_block_predicate = may_block
    function.activate()
    _active.append(function.deactivate)


def _add_entering(names: dict[str, Any], kind: Any, name: str) -> None:
    """``with lock:``, which BlockBuster does not see."""
    original, acquire = names["__enter__"], _ACQUIRE[kind]

    # Hot: called for every ``with lock:`` of the process.
    def enter(lock: Any) -> Any:
        loop = guarded() if _running() is not None else None
        if loop is None:
            return original(lock)
        if acquire(lock, False):
            return True
        frame = sys._getframe(1)
        frames = program_frames(frame) if not is_library(frame) else None
        if frames is not None:
            if ended_soon(functools.partial(acquire, lock, True)):
                return True
            blocked(loop, frames, f"{name}.acquire", instead_of(f"{name}.acquire"))
        return original(lock)

    def put(function: Any) -> None:
        names["__enter__"] = function
        ctypes.pythonapi.PyType_Modified(ctypes.py_object(kind))

    put(enter)
    _active.append(lambda: put(original))


def _deactivate() -> None:
    while _active:
        _active.pop()()


def _look(frame: FrameType, name: str, ready: Ready, patient: bool, args: Any, kwargs: Any) -> None:
    """A call is being made in a guarded thread: refuse it if it would wait."""
    if patient and is_library(frame):
        return  # held for a moment, or one of the waits that `vtloop.blocking_calls` sees as a whole
    loop = guarded()
    if loop is None or ready(*args, **kwargs):
        return
    frames = program_frames(frame)
    if frames is None:
        return
    if patient and ended_soon(functools.partial(_ready_within, ready, args, kwargs)):
        return
    call, _owner = waiting_call(frames, name)
    blocked(loop, frames, call, instead_of(call))


def _ready_within(ready: Ready, args: Any, kwargs: Any, seconds: float) -> bool:
    if ready is _is_free:
        return _free_within(args[0], seconds)
    until = time.perf_counter() + seconds
    while not ready(*args, **kwargs):
        if time.perf_counter() >= until:
            return False
        _sleep_really(0.002)
    return True


# -- would it really wait? -------------------------------------------------------------------------------------------


def _can_read(sock: Any, *_: Any, **__: Any) -> bool:
    """Over a network any blocking call counts; one between processes of this machine only when it would wait."""
    return sock.family not in (socket.AF_INET, socket.AF_INET6) and _poll(sock.fileno(), False)


def _can_write(sock: Any, *_: Any, **__: Any) -> bool:
    network = sock.family in (socket.AF_INET, socket.AF_INET6) and sock.type != socket.SOCK_DGRAM
    return not network and _poll(sock.fileno(), True)


def _file_can_read(fd: int, *_: Any, **__: Any) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode) or _poll(fd, False)


def _file_can_write(fd: int, *_: Any, **__: Any) -> bool:
    return stat.S_ISREG(os.fstat(fd).st_mode) or _poll(fd, True)


def _poll(fd: int, writing: bool) -> bool:
    """Whether something can be done with ``fd`` at once."""
    if not hasattr(select, "poll"):
        return any(select.select([] if writing else [fd], [fd] if writing else [], [], 0))
    poll = select.poll()
    poll.register(fd, select.POLLOUT if writing else select.POLLIN)
    return bool(poll.poll(0))


def _in_memory(which: Any, *_: Any, **__: Any) -> bool:
    """Whether all databases of a connection, or of a cursor's, are in memory."""
    connection = getattr(which, "connection", which)
    return all(not file for _, _, file in connection.execute("PRAGMA database_list"))


def _is_free(lock: Any, blocking: bool = True, timeout: float = -1) -> bool:
    if not blocking or timeout == 0:
        return True
    if _ACQUIRE[type(lock)](lock, False):
        lock.release()
        return True
    return False


def _free_within(lock: Any, seconds: float) -> bool:
    """Whether a turn at ``lock`` comes: it stands in line for it, which trying now and then would not."""
    if not _ACQUIRE[type(lock)](lock, True, seconds):
        return False
    lock.release()
    return True


def _has_item(items: Any, block: bool = True, timeout: float | None = None) -> bool:
    return not block or (timeout is not None and timeout <= 0) or not items.empty()


def _is_ready(poll: Any, timeout: float | None = None) -> bool:
    return timeout == 0 or bool(poll.poll(0))


_MORE: tuple[tuple[Any, str, str, Ready], ...] = (
    (queue.SimpleQueue, "get", "queue.SimpleQueue.get", _has_item),
    (_thread.RLock, "acquire", "threading.RLock.acquire", _is_free),
    *(((type(select.poll()), "poll", "select.poll.poll", _is_ready),) if hasattr(select, "poll") else ()),
)
