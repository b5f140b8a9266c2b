"""Every private name of CPython that the core leans on, each with the versions it was seen on.

One small function or constant per name, so that a contract test can hold each against the interpreter that runs.
Nothing else in the core touches a private attribute of CPython's loops, tasks or futures.  (The wait-for graph has
its own list in ``cpython_waits.py``.)
"""

from __future__ import annotations

import asyncio
import asyncio.base_events
import asyncio.coroutines
import asyncio.format_helpers
import asyncio.futures
import asyncio.sslproto
import asyncio.tasks
import logging
import opcode
import os
import sys
import threading
import warnings
from collections.abc import Iterable, Iterator
from types import BuiltinMethodType, FrameType, MethodType
from typing import Any

__all__ = [
    "BUILTIN",
    "DATAGRAM_SOCKET",
    "PYTHONS_OWN",
    "SLEEP_WAKEUP",
    "STEP",
    "WAKEUP_NAME",
    "callback_source",
    "debug_mode",
    "destination_of",
    "exception_unread",
    "hush_destroyed",
    "logger",
    "on_unawaited",
    "orderly_tasks_module",
    "python_task_step",
    "sendfile_mode",
    "set_task_name",
    "ssl_module",
    "trim_creation",
    "value_dropped",
]

BUILTIN = BuiltinMethodType
"""The type of the callback by which a future wakes a C task (3.11-3.14)."""

WAKEUP_NAME = "task_wakeup"
"""``__name__`` of that callback (3.11-3.14)."""


def _find_step_type() -> type:
    """The type of the callback by which a C task schedules its next step (3.11-3.14: ``TaskStepMethWrapper``)."""

    class Probe(asyncio.AbstractEventLoop):
        found: Any = None

        def get_debug(self) -> bool:
            return False

        def call_soon(self, callback: Any, *args: Any, context: Any = None) -> Any:  # type: ignore[override]
            self.found = callback

        def call_exception_handler(self, context: dict[str, Any]) -> None:
            pass

    async def nothing() -> None:
        pass

    probe: Any = Probe()  # type: ignore[abstract]
    coro = nothing()
    task = asyncio.Task(coro, loop=probe)
    hush_destroyed(task)
    coro.close()
    kind: type = type(probe.found)
    probe.found = None
    return kind


def hush_destroyed(task: asyncio.Future[Any]) -> None:
    """Keep a pending task from logging "Task was destroyed" (``_log_destroy_pending``, 3.11-3.14)."""
    if hasattr(task, "_log_destroy_pending"):
        task._log_destroy_pending = False


STEP: type = _find_step_type()
"""The type of a C task's step callback: a first step, a bare yield, or a step with an exception thrown in."""


def python_task_step(callback: object) -> str | None:
    """``'step'`` or ``'wakeup'`` when ``callback`` drives a pure-Python task, else None.

    CPython 3.11-3.14: the bound methods ``_Task__step`` and ``_Task__wakeup`` of ``asyncio.tasks._PyTask``.
    """
    if type(callback) is MethodType and asyncio.isfuture(callback.__self__):
        name = callback.__func__.__name__
        if name == "__step":
            return "step"
        if name == "__wakeup":
            return "wakeup"
    return None


SLEEP_WAKEUP: Any = getattr(asyncio.futures, "_set_result_unless_cancelled", None)
"""The callback of the timer that ends an ``asyncio.sleep`` (3.11-3.14)."""


def exception_unread(future: asyncio.Future[Any]) -> bool:
    """Whether ``future`` holds an exception that nobody has looked at (``_log_traceback``, 3.11-3.14)."""
    return bool(getattr(future, "_log_traceback", False))


class _InOrder:
    """Stands for ``asyncio.tasks._scheduled_tasks`` while a loop runs: the same set, iterated in order of creation.

    CPython 3.11-3.13 build ``all_tasks()`` from a `weakref.WeakSet` (3.11: ``_all_tasks``), whose order depends on
    everything that ever was in it.
    """

    def __init__(self, tasks: Any) -> None:
        self._tasks = tasks

    def __iter__(self) -> Iterator[Any]:
        return iter(sorted(self._tasks, key=lambda task: getattr(task, "_number", 0)))

    def __len__(self) -> int:
        return len(self._tasks)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._tasks, name)


def _ordered_set(items: Iterable[Any] = ()) -> Any:
    """``set(items)``, but coroutine objects, which hash by address, keep their order.

    CPython 3.11-3.14: ``as_completed`` makes its tasks in the order of ``set(coroutines)``.
    """
    listed = list(items)
    if any(asyncio.iscoroutine(item) for item in listed):
        return list(dict.fromkeys(listed))
    return set(listed)


_REGISTRY = "_scheduled_tasks" if hasattr(asyncio.tasks, "_scheduled_tasks") else "_all_tasks"
_PLAIN: Any = getattr(asyncio.tasks, _REGISTRY, None)
_ORDERED: Any = _InOrder(_PLAIN)
_NAMES = vars(asyncio.tasks)
_running = 0
_running_lock = threading.Lock()


def orderly_tasks_module(on: bool) -> None:
    """Make ``asyncio.tasks`` iterate tasks and coroutines in a stable order while any loop of ours runs.

    Calls nest.  The names are shadowed in the module's own namespace, so functions imported early are covered.
    """
    global _running
    with _running_lock:  # loops may run in several threads
        if on:
            _running += 1
            if _running == 1:
                _NAMES["set"] = _ordered_set
                if _PLAIN is not None:
                    _NAMES[_REGISTRY] = _ORDERED
        else:
            _running -= 1
            if not _running:
                _NAMES.pop("set", None)
                if _PLAIN is not None:
                    _NAMES[_REGISTRY] = _PLAIN


def trim_creation(task: Any, frames: int) -> None:
    """Take our own frames off the place where a task of debug mode was made (``_source_traceback``, 3.11-3.14)."""
    if task._source_traceback:
        del task._source_traceback[-frames:]


def logger() -> logging.Logger:
    """asyncio's logger, looked up where asyncio's own loop looks it up (``asyncio.base_events.logger``, 3.11-3.14)."""
    found: logging.Logger = vars(asyncio.base_events)["logger"]
    return found


def set_task_name(task: Any, name: str) -> None:
    """Name a task made by a foreign factory (before 3.13.3 the loop does it, and tolerates tasks without names)."""
    if hasattr(task, "set_name"):
        task.set_name(name)


def callback_source(handle: Any) -> str:
    """The callback of a handle as asyncio's logs show it (``asyncio.format_helpers._format_callback_source``).

    From 3.13 on its arguments are shown in debug mode only, by a keyword argument ``debug``.
    """
    describe = vars(asyncio.format_helpers)["_format_callback_source"]
    options = {"debug": handle._loop.get_debug()} if "debug" in (describe.__kwdefaults__ or ()) else {}
    text: str = describe(handle._callback, handle._args, **options)
    return text


DATAGRAM_SOCKET = "UDP Socket" if sys.version_info < (3, 13) else "datagram socket"
"""How asyncio calls what ``create_datagram_endpoint`` wants (its message changed in 3.13)."""


def ssl_module() -> Any:
    """The ``ssl`` module, or None on a Python built without it."""
    return vars(asyncio.sslproto)["ssl"]


def sendfile_mode(transport: Any) -> str:
    """``UNSUPPORTED``, ``TRY_NATIVE`` or ``FALLBACK``: the private mark of a transport (3.11-3.14)."""
    mode = getattr(transport, "_sendfile_compatible", None)
    return str(getattr(mode, "name", "UNSUPPORTED"))


def debug_mode() -> bool:
    """Whether new loops begin in debug mode: ``python -X dev`` or PYTHONASYNCIODEBUG (3.11-3.14).

    Asked for every loop that is made, so the variable is looked up in the dict behind ``os.environ`` (``_data``,
    3.11-3.14) unless somebody has replaced asyncio's own function.
    """
    asked: Any = vars(asyncio.coroutines)["_is_debug_mode"]
    if asked is not _IS_DEBUG_MODE or sys.flags.dev_mode:
        return bool(asked())
    return bool(_ENVIRONMENT.get(_DEBUG_KEY)) and not sys.flags.ignore_environment


_IS_DEBUG_MODE: Any = vars(asyncio.coroutines)["_is_debug_mode"]
_ENVIRONMENT: Any = getattr(os.environ, "_data", None)
_DEBUG_KEY: Any = os.environ.encodekey("PYTHONASYNCIODEBUG")
if _ENVIRONMENT is None:
    _ENVIRONMENT, _DEBUG_KEY = os.environ, "PYTHONASYNCIODEBUG"


PYTHONS_OWN: Any = vars(warnings)["_warn_unawaited_coroutine"]
"""Python's own function for a coroutine that dies without having begun (3.11-3.14); it warns."""


def on_unawaited(hook: Any) -> Any:
    """Let ``hook(coro)`` be called for each coroutine that dies without having begun; gives what was called before.

    CPython looks ``warnings._warn_unawaited_coroutine`` up each time (3.11-3.14), in whatever thread it dies.
    """
    names = vars(warnings)
    before, names["_warn_unawaited_coroutine"] = names["_warn_unawaited_coroutine"], hook
    return before


def value_dropped(frame: FrameType) -> bool:
    """Whether ``frame`` is just dropping the value of a call, or has asked it whether it is true.

    By its bytecode (3.11-3.14): the instruction it stands at, and the one before, which inline caches follow.
    """
    code, at = frame.f_code.co_code, frame.f_lasti
    if at < 2 or opcode.opname[code[at]] not in _DROPPING:
        return False
    at -= 2
    while at > 0 and opcode.opname[code[at]] == "CACHE":
        at -= 2
    return opcode.opname[code[at]] in _CALLING


_CALLING = frozenset({"CALL", "CALL_KW", "CALL_FUNCTION_EX"})
_DROPPING = frozenset(
    {"POP_TOP", "TO_BOOL", "UNARY_NOT"}
    | {name for name in opcode.opmap if name.startswith(("POP_JUMP", "JUMP_IF")) and "NONE" not in name}
)


def destination_of(source: Any) -> Any:
    """The asyncio future that `asyncio.wrap_future` made of a ``concurrent.futures.Future``; None when it made none.

    Its ``_done_callbacks`` have ``_chain_future``'s ``_call_set_state``, which closes over it (3.11-3.14).
    """
    for callback in getattr(source, "_done_callbacks", ()):
        code = getattr(callback, "__code__", None)
        if code is not None and code.co_name == "_call_set_state":
            cells = dict(zip(code.co_freevars, callback.__closure__, strict=True))
            return cells["destination"].cell_contents if "destination" in cells else None
    return None
