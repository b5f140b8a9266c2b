"""What is still open when a run ends, and that nothing alive will close: async generators, executor calls, transports.

Asked by `vtloop.leaks` when main has ended and before anything is cancelled.  What a pending task, a timer or a
callback can still get at is in use, and no leak: its owner may close it when it is cancelled.  It must never close or
run anything, and never keep what it has looked at.
"""

from __future__ import annotations

import asyncio
import functools
import gc
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType, ModuleType
from typing import TYPE_CHECKING, Any

from vtloop.cpython import destination_of
from vtloop.cpython_waits import is_minded
from vtloop.diagnosis.chains import Places, plain_name
from vtloop.diagnosis.leak import Leak, shown

if TYPE_CHECKING:
    from vtloop.loop import EventLoop
    from vtloop.notes import Notes

__all__ = ["async_generators", "executor_calls", "locks", "transports"]

_MOST = 50_000
"""Objects after which what is in use is not known: then everything is."""

_CLOSED = (ModuleType, type, CodeType, BuiltinFunctionType)
"""What is not gone through: it belongs to everybody."""


class _Use:
    """What the pending tasks, the timers and the callbacks of a loop can get at; gone through when first asked."""

    def __init__(self, loop: EventLoop, without: tuple[object, ...] = ()) -> None:
        """``without``: what is not gone through, for it holds what is asked about anyway."""
        self._loop = loop
        self._without = without
        self._known: dict[int, Any] | None = None
        self._too_many = False

    def of(self, thing: object) -> bool:
        """Whether ``thing`` is in use, as far as is known."""
        if self._known is None:
            self._known = self._go_through()
        return self._too_many or id(thing) in self._known

    def _go_through(self) -> dict[int, Any]:
        loop = self._loop
        fresh: list[Any] = [*loop._tasks.pending(), *loop._timers.pending(), *loop._due, *loop._ready]
        if loop._line is not None:
            fresh += loop._line.waiting()
        known: dict[int, Any] = {id(thing): thing for thing in (loop, *self._without)}
        while fresh and not self._too_many:
            for thing in fresh:
                known[id(thing)] = thing
            found = gc.get_referents(*(thing for thing in fresh if type(thing) is not FunctionType))
            # Of a function only what it closes over: its globals are a module's.
            found += [thing.__closure__ for thing in fresh if type(thing) is FunctionType]
            fresh = list({id(t): t for t in found if id(t) not in known and not isinstance(t, _CLOSED)}.values())
            self._too_many = len(known) + len(fresh) > _MOST
        return known


def async_generators(loop: EventLoop) -> list[Leak]:
    """Async generators that were begun, did not end, and that nobody who is alive holds."""
    use, found = _Use(loop), []
    places = Places()
    agen: Any
    for number, agen in loop._living_asyncgens():
        if agen.ag_frame is None or agen.ag_running or use.of(agen):
            continue
        code = agen.ag_code
        name = plain_name(agen.__qualname__)
        place = (code.co_filename, agen.ag_frame.f_lineno or code.co_firstlineno, plain_name(code.co_qualname))
        origin = (loop.asyncgen_origins or {}).get(number, ())
        begun = next((places.of_instruction(*one) for one in origin if not places.is_internal(one[0])), None)
        lines = (f"begun at {begun}",) if begun is not None else ()
        data = {
            "name": name,
            "place": {"file": place[0], "line": place[1], "function": place[2]},
            "begun": str(begun) if begun is not None else None,
        }
        found.append(Leak("async generator", f"{name}() stands at {shown(place)}", lines, place, _CLOSING, 1, data))
    return found


_CLOSING = "`async with contextlib.aclosing(generator):` around the loop closes it whatever happens."


def executor_calls(loop: EventLoop) -> list[Leak]:
    """Executor calls under way, in virtual time, whose end nobody waits for."""
    use, found = _Use(loop, without=loop._helpers), []
    calls = [call for call in loop._calls if not call.future.cancelled()]
    calls += [helper.call for helper in loop._helpers if helper.call is not None and helper.resting]
    for call in calls:
        future = destination_of(call.future)
        if future is not None and (future.done() or is_minded(future) or use.of(future)):
            continue
        function = _called(call.function)
        code = getattr(function, "__code__", None)
        name = _name_of(function)
        place = (code.co_filename, code.co_firstlineno, "") if isinstance(code, CodeType) else None
        text = f"{name}()" + (f", defined at {shown(place)}" if place is not None else "")
        data = {"name": name, "place": place and {"file": place[0], "line": place[1], "function": name}}
        found.append(Leak("executor call", text, (), place, _AWAITING, 1, data))
    return found


_AWAITING = "await what `run_in_executor` or `to_thread` gives before main returns: else nobody learns how it ended."


def _called(function: Any) -> Any:
    """What the program handed over: below the loop's own lambda, ``to_thread`` and partials."""
    for _ in range(8):
        if isinstance(function, functools.partial):
            inner = function.args[0] if function.func is not None and _runs_in_context(function) else function.func
        elif isinstance(function, FunctionType) and function.__closure__ and "func" in function.__code__.co_freevars:
            cells = dict(zip(function.__code__.co_freevars, function.__closure__, strict=True))
            inner = cells["func"].cell_contents
        elif isinstance(function, MethodType):
            inner = function.__func__
        elif hasattr(function, "__wrapped__"):  # a decorated one
            inner = function.__wrapped__
        else:
            return function
        function = inner
    return function


def _name_of(function: Any) -> str:
    """``fetch``; ``time.sleep`` for what is not written in Python."""
    name = plain_name(getattr(function, "__qualname__", None) or type(function).__name__)
    module = getattr(function, "__module__", None) if isinstance(function, BuiltinFunctionType) else None
    return name if module in (None, "builtins") else f"{module}.{name}"


def _runs_in_context(partial: functools.partial[Any]) -> bool:
    """Whether it is what ``to_thread`` makes: ``partial(context.run, function, ...)``."""
    return getattr(partial.func, "__name__", "") == "run" and bool(partial.args) and callable(partial.args[0])


def locks(loop: EventLoop, notes: Notes) -> list[Leak]:
    """Locks that a task took and never gave back, and that has ended."""
    use, found, places = _Use(loop), [], Places()
    alive = {task.get_name() for task in loop._tasks.pending()}
    for entry in list(notes.entries.values()):
        lock, holder = entry.ref(), entry.holder
        if holder is None or not isinstance(lock, asyncio.Lock) or not lock.locked():
            continue
        task, code, lasti, _ = holder
        if task is None or task in alive or use.of(lock):
            continue
        taken = places.of_instruction(code, lasti) if code is not None else None
        made = places.of_instruction(*entry.made) if entry.made is not None else None
        text = f"{task} took it" + (f" at {taken}" if taken is not None else "") + ", and has ended"
        place = (taken.file, taken.line, taken.function) if taken is not None else None
        lines = (f"made at {made}",) if made is not None else ()
        data = {"task": task, "taken": str(taken) if taken else None, "made": str(made) if made else None}
        found.append(Leak("lock", text, lines, place, _RELEASING, 1, data))
    return found


_RELEASING = "`async with lock:` gives it back whatever happens."


def transports(loop: EventLoop) -> list[Leak]:
    """Transports made in the run, whatever by, that are not closing; only when asked for, for most need no closing."""
    found = []
    kinds: dict[type, bool] = {}
    for thing in gc.get_objects(generation=0) + gc.get_objects(generation=1):
        kind = type(thing)
        if kind not in kinds:
            kinds[kind] = issubclass(kind, asyncio.BaseTransport)
        if kinds[kind] and not _is_closing(thing):
            found.append(Leak("transport", plain_name(kind.__qualname__), (), None, "", 1, {"name": kind.__qualname__}))
    return found


def _is_closing(transport: Any) -> bool:
    try:
        return bool(transport.is_closing())
    except Exception:
        return True  # it does not say
