"""Something of the wrong kind in ``await``, ``async for``, ``async with``, ``gather``, ``create_task`` or ``wait``.

One of the families that `mistakes` tries: mocks that give plain values, plain iterators and context managers, functions
that were not called.  It must never name a fix for a type that it does not know.
"""

from __future__ import annotations

import ast
import asyncio
import re
import sys
from types import CoroutineType, GeneratorType
from typing import Any

from vtloop.cpython_mocks import is_async_mock, is_mock
from vtloop.diagnosis.advice import Case, Rule, article, gives_coroutine, is_future, kind_of, plain_function
from vtloop.diagnosis.missing_await import entered, iterated, of_coroutine
from vtloop.diagnosis.sites import UNKNOWN

__all__ = ["RULES"]

_MOCKS = ("Mock", "MagicMock", "NonCallableMock", "NonCallableMagicMock")
_FUNCTIONS = ("function", "method", "builtin_function_or_method")
_SEVERAL = (list, tuple, set)
_ITERABLES = (
    *("list", "tuple", "dict", "set", "frozenset", "str", "bytes", "range", "generator", "map", "zip", "filter"),
    *("enumerate", "reversed", "list_iterator", "tuple_iterator", "range_iterator", "dict_keys", "dict_values"),
    *("dict_items", "dict_keyiterator", "dict_valueiterator", "dict_itemiterator", "set_iterator", "str_iterator"),
)
_INSTEAD = {
    asyncio.Lock: "async with {}:",
    asyncio.Semaphore: "async with {}:",
    asyncio.BoundedSemaphore: "async with {}:",
    asyncio.Condition: "async with {}:",
    asyncio.Event: "await {}.wait()",
    asyncio.Barrier: "await {}.wait()",
    asyncio.Queue: "await {}.get()",
    asyncio.TaskGroup: "async with {} as group:",
    asyncio.Timeout: "async with {}:",
}
_TIMEOUTS = (asyncio.timeout, asyncio.timeout_at)


def _asyncio_kind(case: Case, node: ast.expr) -> Any:
    """The class of asyncio that a part of the line is an object of, for certain; None for anything else."""
    if isinstance(node, ast.Call):
        made_by = case.site.value(node.func)
        if any(made_by is function for function in _TIMEOUTS):
            return asyncio.Timeout
        return next((kind for kind in _INSTEAD if made_by is kind), None)
    value = case.site.value(node)
    return None if value is UNKNOWN else next((kind for kind in _INSTEAD if type(value) is kind), None)


def _is_mock_name(kind: str) -> bool:
    return kind in _MOCKS and "unittest.mock" in sys.modules


# -- await -----------------------------------------------------------------------------------------------------------


def _awaited(case: Case) -> str | None:
    """``object list can't be used in 'await' expression``"""
    kind, site = case.found[1], case.site
    if not site.direct:
        value = case.local("fut")  # of wait_for
        if value is UNKNOWN or kind not in _FUNCTIONS or case.argument is None:
            return None
        return _not_called(case, case.argument, value)
    if not isinstance(site.node, ast.Await):
        return None
    node = site.node.value
    text = site.text(node)
    if kind == "async_generator":
        return case.told(f"`{text}` is an async generator, which is gone through: `async for item in {text}:`")
    if isinstance(node, ast.Call):
        return _call_awaited(case, node, text, kind)
    value = site.value(node)
    if kind in _FUNCTIONS:
        return _not_called(case, node, value)
    known = _asyncio_kind(case, node)
    if known is not None:
        return case.told(f"a {known.__name__} cannot be awaited itself: `{_INSTEAD[known].format(text)}`")
    if is_mock(value) or _is_mock_name(kind):
        return case.told(f"`{text}` is {article(kind)}, which cannot be awaited: make it an AsyncMock, and call it")
    if isinstance(node, (ast.List, ast.ListComp, ast.Tuple, ast.Set)) or _all_awaitable(value):
        gathered = site.replaced(node, f"asyncio.gather(*{text})")
        return case.told(f"{article(kind)} cannot be awaited, only what is in it: gather it", gathered)
    if kind in ("NoneType", *_ITERABLES, "int", "float", "bool"):
        what = "None" if kind == "NoneType" else article(kind)
        return case.told(f"`{text}` is {what}, which cannot be awaited: leave `await` out, if it is the result already")
    return None


def _call_awaited(case: Case, node: ast.Call, text: str, kind: str) -> str | None:
    function, site = _function_of(case, node), case.site
    made_by = site.value(node.func)
    gave = "None" if kind == "NoneType" else article(kind)
    if is_mock(made_by) and not is_async_mock(made_by):
        what = f"`{function}` is {article(kind_of(made_by))}, so `{text}` gives {gave}, which cannot be awaited:"
        return case.told(f"{what}\n  make it an AsyncMock, `{function} = AsyncMock(return_value=...)`")
    if _is_mock_name(kind):
        return case.told(f"`{text}` gives {gave}, which cannot be awaited: make `{function}` an AsyncMock")
    known = _asyncio_kind(case, node)
    if known is not None:
        return case.told(f"a {known.__name__} cannot be awaited itself: `{_INSTEAD[known].format(text)}`")
    if kind == "_AsyncGeneratorContextManager":
        return case.told(f"`{text}` is an async context manager, which is entered, not awaited: `async with {text}:`")
    plain = plain_function(made_by)
    if plain is not None and not gives_coroutine(made_by):
        if kind == "generator":
            return case.told(f"`{text}` gives a generator, which is gone through, not awaited: `for item in {text}:`")
        what = f"`{function}` is a plain `def` and gave {gave}, which cannot be awaited"
        return case.told(f"{what}: leave `await` out, or make it an `async def`")
    if made_by is UNKNOWN and kind in ("NoneType", *_ITERABLES, "int", "float", "bool"):
        return case.told(f"`{text}` gave {gave}, which cannot be awaited: leave `await` out, or call an `async def`")
    return None


def _function_of(case: Case, node: ast.Call) -> str:
    """The function of a call, as the program writes it."""
    return case.site.text(node.func)


def _all_awaitable(value: Any) -> bool:
    if type(value) not in _SEVERAL or not value:
        return False
    return all(type(item) is CoroutineType or is_future(item) for item in value)


def _not_called(case: Case, node: ast.expr, value: Any) -> str | None:
    text = case.site.text(node)
    if value is not UNKNOWN and not gives_coroutine(value):
        return None
    if isinstance(node, ast.Call):
        return None
    what = f"`{text}` is a function, not what it gives: call it" if value is UNKNOWN else f"`{text}` was not called"
    return case.told(what, None if _another(case, node) else case.site.replaced(node, f"{text}()"))


def _another(case: Case, node: ast.expr) -> bool:
    """Whether the line hands over more than one function that was not called: one edit would not do."""
    call = case.site.node.value if isinstance(case.site.node, ast.Await) else case.site.node
    others = call.args if isinstance(call, ast.Call) else []
    return any(gives_coroutine(case.site.value(other)) for other in others if other is not node)


# -- async for, async with, with -------------------------------------------------------------------------------------


def _looped(case: Case) -> str | None:
    """``'async for' requires an object with __aiter__ method, got list``"""
    kind = case.found[1]
    node = iterated(case.site) if case.site.direct else None
    if node is None:
        return None
    text = case.site.text(node)
    if kind == "coroutine":
        return of_coroutine(case, node, looping=True)
    if _is_mock_name(kind):
        what = f"`{text}` is {article(kind)}, which `async for` cannot go through: use a MagicMock"
        return case.told(f"{what}, its `__aiter__.return_value = [...]`")
    value = UNKNOWN if isinstance(node, ast.Call) else case.site.value(node)
    if kind in _FUNCTIONS and not isinstance(node, ast.Call):
        return case.told(f"`{text}` was not called", case.site.replaced(node, f"{text}()"))
    if kind in _ITERABLES:
        edit = case.site.source.replace("async for", "for", 1) if case.site.source.count("async for") == 1 else None
        return case.told(f"`{text}` is {article(kind)}, no async iterator: a plain `for` goes through it", edit)
    if kind == "Queue" and type(value) is asyncio.Queue:
        return case.told(f"a Queue has no end to go through: `while True: item = await {text}.get()`")
    return None


def _async_iterated(case: Case) -> str | None:
    """``'async_generator' object is not iterable``"""
    node = iterated(case.site) if case.site.direct else None
    source = case.site.source
    if node is None:
        return case.told("an async generator is gone through by `async for`: `[item async for item in ...]` for a list")
    edit = re.sub(r"\bfor\b", "async for", source, count=1) if len(re.findall(r"\bfor\b", source)) == 1 else None
    return case.told(f"`{case.site.text(node)}` is an async generator: `async for` goes through it", edit)


def _entered_async(case: Case) -> str | None:
    """``'X' object does not support the asynchronous context manager protocol``"""
    kind = case.found[1]
    node = entered(case.site) if case.site.direct else None
    if node is None:
        return None
    text = case.site.text(node)
    if kind == "coroutine":
        return of_coroutine(case, node, entering=True)
    if _is_mock_name(kind):
        return case.told(f"`{text}` is {article(kind)}, which `async with` cannot enter: a MagicMock can be entered")
    if kind in _FUNCTIONS and not isinstance(node, ast.Call):
        return case.told(f"`{text}` was not called", case.site.replaced(node, f"{text}()"))
    if kind == "async_generator":
        return case.told(f"`{text}` is an async generator: its function lacks `@contextlib.asynccontextmanager`")
    plain = kind in ("_GeneratorContextManager", "lock", "_thread.lock", "_thread.RLock") or kind.startswith("_io.")
    if plain or _has(case, node, "__enter__"):
        edit = case.site.source.replace("async with", "with", 1)
        return case.told(f"`{text}` is a plain context manager: `with`, without `async`", edit)
    return None


def _entered(case: Case) -> str | None:
    """``'X' object does not support the context manager protocol``"""
    kind = case.found[1]
    node = entered(case.site) if case.site.direct else None
    if node is None:
        return None
    text = case.site.text(node)
    if kind == "coroutine":
        return of_coroutine(case, node)
    known = _asyncio_kind(case, node) is not None and kind not in ("Event", "Queue")
    if known or kind == "_AsyncGeneratorContextManager" or _has(case, node, "__aenter__"):
        edit = re.sub(r"\bwith\b", "async with", case.site.source, count=1) if case.site.may_await else None
        return case.told(f"`{text}` is an async context manager: `async with`", edit)
    return None


def _has(case: Case, node: ast.expr, name: str) -> bool:
    """Whether the class of what a part of the line gives has a method, as far as that is known."""
    value = case.site.value(node.func if isinstance(node, ast.Call) else node)
    kind = value if isinstance(node, ast.Call) else type(value)
    return value is not UNKNOWN and type(kind) is type and any(name in vars(each) for each in kind.__mro__)


def _aiter_is_async(case: Case) -> str | None:
    return case.told("`__aiter__` must be a plain `def` that gives the iterator: only `__anext__` is an `async def`")


# -- asyncio's functions ---------------------------------------------------------------------------------------------


def _unhashable(case: Case) -> str | None:
    """``unhashable type: 'list'``, out of ``asyncio.gather``"""
    return _one_by_one(case) if case.last.tb_frame.f_code is asyncio.gather.__code__ else None


def _one_by_one(case: Case) -> str:
    node = case.argument
    edit = case.site.replaced(node, f"*{case.site.text(node)}") if node is not None else None
    return case.told("`asyncio.gather` takes the awaitables one by one, not in a container", edit)


def _not_awaitable(case: Case) -> str | None:
    """``An asyncio.Future, a coroutine or an awaitable is required``"""
    value, node = case.local("coro_or_future"), case.argument
    if type(value) in (*_SEVERAL, GeneratorType) and "gather" in case.site.source:
        return _one_by_one(case)
    if value is UNKNOWN or node is None:
        return None
    return _not_called(case, node, value) if gives_coroutine(value) and _is_meant(case, node, value) else None


def _is_meant(case: Case, node: ast.expr, value: Any) -> bool:
    """Whether the first argument of the call is the one that it refused."""
    known = case.site.value(node)
    return known is value or (known is not UNKNOWN and plain_function(known) is plain_function(value) is not None)


def _not_a_coroutine(case: Case) -> str | None:
    """``a coroutine was expected, got ...``, out of ``create_task``"""
    value, node = case.local("coro"), case.argument
    if value is UNKNOWN or node is None or type(value) is CoroutineType:
        return None
    text = case.site.text(node)
    if gives_coroutine(value):
        return _not_called(case, node, value)
    if is_future(value):
        return case.told(f"`{text}` is a future already, and goes on by itself: await it, or keep it, without a task")
    if not isinstance(node, ast.Call):
        return None
    function, made_by = _function_of(case, node), case.site.value(node.func)
    if is_mock(made_by) and not is_async_mock(made_by):
        what = f"`{function}` is {article(kind_of(made_by))}, so `{text}` gives no coroutine:"
        return case.told(f"{what}\n  make it an AsyncMock, `{function} = AsyncMock(return_value=...)`")
    if plain_function(made_by) is not None:
        return case.told(f"`{function}` is a plain `def` and gave {kind_of(value)}: a task needs an `async def`")
    return None


def _wait_coroutines(case: Case) -> str:
    return case.told("`asyncio.wait` takes tasks: `[asyncio.create_task(c) for c in ...]`, or use `asyncio.gather`")


def _wait_one(case: Case) -> str:
    node = case.argument
    edit = case.site.replaced(node, f"[{case.site.text(node)}]") if node is not None else None
    return case.told("`asyncio.wait` takes a collection of tasks; one task is simply awaited", edit)


def _group_outside(case: Case) -> str:
    return case.told("a TaskGroup makes tasks inside its block only: `async with asyncio.TaskGroup() as group:`")


def _group_over(case: Case) -> str:
    return case.told("the `async with` block of this TaskGroup is over: make its tasks inside the block")


def _in_executor(case: Case) -> str | None:
    """``'coroutine' object is not callable``, out of an executor call"""
    if case.site.direct or "run_in_executor" not in case.site.source:
        return None
    return case.told("`run_in_executor` calls a plain function in a thread: a coroutine is awaited, without it")


def _threadsafe(case: Case) -> str | None:
    node = case.argument
    return _not_called(case, node, case.local("coro")) if node is not None else None


# -- more of mocks ---------------------------------------------------------------------------------------------------


def _compared_mock(case: Case) -> str | None:
    """``'>=' not supported between instances of 'AsyncMock' and 'int'``"""
    node = case.site.node
    if not case.site.direct or not isinstance(node, ast.Compare) or len(node.ops) != 1:
        return None
    mocks = [side for side in (node.left, node.comparators[0]) if is_mock(case.site.value(side))]
    if len(mocks) != 1 or isinstance(mocks[0], ast.Name):
        return None
    text = case.site.text(mocks[0])
    return case.told(
        f"`{text}` is {article(kind_of(case.site.value(mocks[0])))} still: give it a value, `{text} = ...`"
    )


def _used_up(case: Case) -> str | None:
    """``StopAsyncIteration`` or ``StopIteration``, out of a mock"""
    mock = case.local("self")
    if not is_mock(mock) or not hasattr(type(case.local("effect")), "__next__"):
        return None
    return case.told("the `side_effect` values of this mock are used up: it was called once more than it has values")


def _bad_yield(case: Case) -> str | None:
    """``Task got bad yield: ...``"""
    if case.found.string.startswith("Task got bad yield: <coroutine object"):
        return _one_by_one(case) if "gather(" in case.site.source else None  # 3.11 takes a generator for a coroutine
    return case.told(
        "what is awaited here is not asyncio's: it is for another library's loop, or yields values by hand"
    )


_T, _R = (TypeError,), (RuntimeError,)
_PROTOCOL = "object does not support the"
RULES = tuple(
    Rule(kinds, re.compile(pattern), advise)
    for kinds, pattern, advise in (
        (_T, r"object (\S+) can't be used in 'await' expression", _awaited),
        (_T, r"'async for' requires an object with __aiter__ method, got (\S+)", _looped),
        (_T, r"'async for' received an object from __aiter__ .* __anext__: coroutine", _aiter_is_async),
        (_T, r"'async_generator' object is not iterable", _async_iterated),
        (_T, rf"'(\S+)' {_PROTOCOL} asynchronous context manager protocol", _entered_async),
        (_T, rf"'(\S+)' {_PROTOCOL} context manager protocol", _entered),
        (_T, r"unhashable type: '(list|set|dict)'", _unhashable),
        (_T, r"An asyncio\.Future, a coroutine or an awaitable is required", _not_awaitable),
        (_T, r"a coroutine was expected, got ", _not_a_coroutine),
        (_T, r"A coroutine object is required", _threadsafe),
        (_T, r"Passing coroutines is forbidden, use tasks explicitly", _wait_coroutines),
        (_T, r"expect a list of futures, not (Task|Future|coroutine)", _wait_one),
        (_T, r"'coroutine' object is not callable", _in_executor),
        (_R, r"TaskGroup <TaskGroup.*> has not been entered", _group_outside),
        (_R, r"TaskGroup <TaskGroup.*> is finished", _group_over),
        (_T, r"'.+' not supported between instances of .*'(Async|Magic)?Mock'", _compared_mock),
        ((StopAsyncIteration, StopIteration), r"", _used_up),
        (_R, r"Task got bad yield: ", _bad_yield),
    )
)
