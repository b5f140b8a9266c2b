"""What a blocking call is called, and what to write in its place.

Used by `vtloop.blocking_calls` and its like once a call is to be refused, and where stacks are shown.  It must never
decide whether a call blocks.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterable, Sequence
from traceback import FrameSummary
from types import FrameType
from typing import Any

from vtloop.cpython_waits import frame_locals

__all__ = ["instead_of", "method_name", "waiting_call", "without_ours"]

_OURS = os.path.join(os.path.dirname(__file__), "blocking_")
_BUSTER = os.path.join("blockbuster", "blockbuster.py")
_STDLIB = os.path.dirname(threading.__file__) + os.sep

_WAITING = ("threading.py", "queue.py", "socket.py", "ssl.py", "subprocess.py", "selectors.py", "select.py", "os.py")
_FOLDERS = ("concurrent", "multiprocessing")
"""Files of the standard library whose public functions a person would name, rather than what they call in turn."""

_FUNCTIONS = {
    "subprocess.py": ("run", "call", "check_call", "check_output", "getoutput", "getstatusoutput"),
    "socket.py": ("create_connection", "getfqdn"),
    "_base.py": ("wait", "as_completed"),
    "connection.py": ("wait",),
    "os.py": ("popen", "spawnv", "spawnve", "spawnvp", "spawnvpe", "spawnl", "spawnle", "spawnlp", "spawnlpe"),
}
_MODULES = {"_base.py": "concurrent.futures", "connection.py": "multiprocessing.connection"}

_THREAD = "await asyncio.to_thread(...)"
_INSTEAD = (
    ("threading.Event.", "an asyncio.Event, or await asyncio.to_thread(event.wait)"),
    ("threading.Condition.", "an asyncio.Condition"),
    ("threading.Semaphore.", "an asyncio.Semaphore"),
    ("threading.BoundedSemaphore.", "an asyncio.BoundedSemaphore"),
    ("threading.Barrier.", "an asyncio.Barrier"),
    ("threading.Lock.", "an asyncio.Lock, or never to hold this one across an await"),
    ("threading.RLock.", "an asyncio.Lock, or never to hold this one across an await"),
    ("threading.Thread.", "await asyncio.to_thread(thread.join)"),
    ("threading.Timer.", "loop.call_later(...), or await asyncio.sleep(...)"),
    ("concurrent.futures.Future.", "await asyncio.wrap_future(future)"),
    ("concurrent.futures.wait", "await asyncio.wait(...) over asyncio.wrap_future(future)"),
    ("concurrent.futures.as_completed", "asyncio.as_completed(...) over asyncio.wrap_future(future)"),
    ("concurrent.futures.", "await asyncio.to_thread(executor.shutdown)"),
    ("multiprocessing.", "await asyncio.to_thread(process.join)"),
    ("subprocess.Popen.", "await asyncio.to_thread(process.wait), or a stub for the process"),
    ("subprocess.", "await asyncio.to_thread(subprocess.run, ...), or a stub for the process"),
    ("os.", _THREAD + ", or a stub for the process"),
    ("socket.get", "await asyncio.to_thread(socket.getaddrinfo, ...), or a stub for the resolver"),
    ("socket.", _THREAD + ", or a stub for the connection"),
    ("ssl.", _THREAD + ", or a stub for the connection"),
    ("sqlite3.", _THREAD + ", or a database in memory"),
    ("select", _THREAD + ", or asyncio's streams in place of sockets"),
    ("input", "await asyncio.to_thread(input, ...), or a stub for it"),
)


def instead_of(call: str, own: bool = False) -> str:
    """What to write in place of ``call``; with ``own``, one that waits for a result of the same loop."""
    if own:
        return "await the coroutine, or the asyncio future, itself"
    if call.startswith("queue."):
        method = {"put": "put, ...", "join": "join"}.get(call.rpartition(".")[2], "get")
        return f"an asyncio.Queue, or await asyncio.to_thread(queue.{method})"
    return next((advice for start, advice in _INSTEAD if call.startswith(start)), _THREAD)


def without_ours(stack: Iterable[FrameSummary]) -> list[FrameSummary]:
    """A stack without the functions that stand in for blocking calls."""
    return [one for one in stack if not one.filename.startswith(_OURS) and not one.filename.endswith(_BUSTER)]


def method_name(owner: object, method: str) -> str:
    """``threading.Thread.join`` for the method of a thread."""
    kind = _plain(type(owner))
    return {"__init__": kind, "__exit__": f"with {kind}"}.get(method, f"{kind}.{method}")


def waiting_call(frames: Sequence[FrameType], call: str, owner: Any = None) -> tuple[str, Any]:
    """The outermost public function of the standard library around a wait, and the object it is a method of.

    Args:
        frames: Innermost first; those at the beginning that are the standard library's are looked at.
        call: The innermost function, which is no frame of its own.
        owner: The object it is a method of.
    """
    for frame in frames:
        path, name = frame.f_code.co_filename, frame.f_code.co_name
        if path.startswith("<frozen "):
            path = _STDLIB + path[8:-1] + ".py"
        if not path.startswith(_STDLIB):
            break
        parts = path[len(_STDLIB) :].replace("\\", "/").split("/")
        file = parts[-1]
        if not (len(parts) == 1 and file in _WAITING) and parts[0] not in _FOLDERS:
            break
        self = frame_locals(frame).get("self")
        if name in _FUNCTIONS.get(file, ()):
            module = _MODULES.get(file, file.removesuffix(".py"))
            call = f"{module}.{name}"
        elif self is not None and not (name.startswith("_") and not name.startswith("__")):
            call, owner = method_name(self, name), self
    return call, owner


def _plain(kind: type[Any]) -> str:
    """``concurrent.futures.Future`` for ``concurrent.futures._base.Future``; a program's own class by its name."""
    module = kind.__module__
    for package in ("concurrent.futures", "multiprocessing"):
        if module.startswith(package + "."):
            return f"{package}.{kind.__qualname__}"
    own = module in ("threading", "queue", "subprocess", "selectors", "socket", "ssl")
    return f"{module}.{kind.__qualname__}" if own else kind.__qualname__
