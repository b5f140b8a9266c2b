"""A coroutine where its result is meant: the mistake of a missing ``await``, and of an AsyncMock that gives another.

One of the families that `mistakes` tries.  Python says "'coroutine' object ..." in many ways; each says which part of
the failing expression is the coroutine.  It must never say "missing await" of anything that is not a coroutine.
"""

from __future__ import annotations

import ast
import inspect
import re
import sys
from collections.abc import Callable, Iterator
from types import CoroutineType
from typing import Any

from vtloop.cpython_mocks import MOCK_COROUTINE, called_before, is_async_mock
from vtloop.diagnosis.advice import Case, Rule, gives_coroutine
from vtloop.diagnosis.chains import plain_name
from vtloop.diagnosis.sites import UNKNOWN, Site

__all__ = ["RULES", "entered", "iterated", "never_awaited", "of_coroutine"]


def never_awaited(name: str) -> str:
    """The advice for a coroutine of the function `name` that was made and never awaited."""
    if name == MOCK_COROUTINE:
        return "an AsyncMock was called and not awaited: `await` the call, or use a Mock where the real one is plain."
    name = plain_name(name)
    return f"calling `{name}` runs nothing yet: write `await {name}(...)`, or `asyncio.create_task({name}(...))`."


# -- which part is the coroutine -------------------------------------------------------------------------------------


def _holder(site: Site) -> ast.expr | None:
    return site.node.value if isinstance(site.node, (ast.Attribute, ast.Subscript)) else None


def _called(site: Site) -> ast.expr | None:
    return site.node.func if isinstance(site.node, ast.Call) else None


def _is_called(case: Case) -> str | None:
    """``'coroutine' object is not callable``: called by what the line calls, it may be meant as something else."""
    return of_coroutine(case, _coroutine(case.site, _called)) if case.site.direct else None


def _left(site: Site) -> ast.expr | None:
    if isinstance(site.node, ast.BinOp):
        return site.node.left
    return site.node.left if isinstance(site.node, ast.Compare) and len(site.node.ops) == 1 else None


def _right(site: Site) -> ast.expr | None:
    if isinstance(site.node, ast.BinOp):
        return site.node.right
    return site.node.comparators[0] if isinstance(site.node, ast.Compare) and len(site.node.ops) == 1 else None


def iterated(site: Site) -> ast.expr | None:
    """What the failing ``for`` or ``async for`` goes through."""
    node = site.node
    if isinstance(node, (ast.For, ast.AsyncFor)):
        return node.iter
    if sys.version_info < (3, 13):
        if isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
            return node.generators[0].iter if len(node.generators) == 1 else None
    elif isinstance(node, ast.expr) and site.statement is not None:
        # The position is that of the iterable itself.
        loops = (ast.For, ast.AsyncFor, ast.comprehension)
        gone_through = [outer.iter for outer in ast.walk(site.statement) if isinstance(outer, loops)]
        return node if ast.dump(node) in map(ast.dump, gone_through) else None
    return None


def entered(site: Site) -> ast.expr | None:
    """What the failing ``with`` or ``async with`` enters."""
    node = site.node
    if isinstance(node, (ast.With, ast.AsyncWith)):
        return node.items[0].context_expr if len(node.items) == 1 else None
    around = site.statement
    if isinstance(around, (ast.With, ast.AsyncWith)) and isinstance(node, ast.expr):
        items = [item.context_expr for item in around.items]
        return node if ast.dump(node) in map(ast.dump, items) else None
    return None


def _assigned(site: Site) -> ast.expr | None:
    return site.statement.value if isinstance(site.statement, ast.Assign) else None


def _is_coroutine(site: Site, node: ast.AST) -> bool:
    """Whether a part of the line is a coroutine, for certain."""
    if isinstance(node, ast.Call):
        return gives_coroutine(site.value(node.func))
    return type(site.value(node)) is CoroutineType


def _parts(node: ast.AST) -> Iterator[ast.AST]:
    """The parts of an expression, but for what is awaited and what belongs to other scopes."""
    yield node
    if not isinstance(node, (ast.Await, ast.Lambda, ast.stmt)):
        for inner in ast.iter_child_nodes(node):
            yield from _parts(inner)


def _only_one(site: Site) -> ast.expr | None:
    """The one part of the line that is a coroutine; None where there are several, or none is known."""
    roots: list[ast.AST] = [site.node] if isinstance(site.node, ast.expr) else []
    if not roots and isinstance(site.statement, (ast.Assign, ast.Return, ast.Expr)) and site.statement.value:
        roots = [site.statement.value]
    found = [part for root in roots for part in _parts(root) if _is_coroutine(site, part)]
    return found[0] if len(found) == 1 and isinstance(found[0], ast.expr) else None


def _coroutine(site: Site, place: Callable[[Site], ast.expr | None] | None) -> ast.expr | None:
    node = place(site) if place is not None and site.direct else None
    node = node.value if isinstance(node, ast.NamedExpr) else node
    if node is None or isinstance(node, ast.Await):
        return _only_one(site)
    known = UNKNOWN if isinstance(node, ast.Call) else site.value(node)
    return node if known is UNKNOWN or type(known) is CoroutineType else None


# -- what to say -----------------------------------------------------------------------------------------------------


def of_coroutine(case: Case, node: ast.expr | None, *, entering: bool = False, looping: bool = False) -> str:
    """The advice for a coroutine, the part `node` of the line, that is used as if it were its result."""
    site = case.site
    if node is None:
        return case.told("a coroutine stands where its result is meant: an `await` is missing")
    text = site.text(node)
    if isinstance(node, ast.Call) and is_async_mock(site.value(node.func)):
        return _of_mock(case, site.text(node.func), text, entering, looping)
    value = UNKNOWN if isinstance(node, ast.Call) else site.value(node)
    if type(value) is CoroutineType:
        if value.__qualname__ == MOCK_COROUTINE:
            return case.told(f"`{text}` is a coroutine made by calling an AsyncMock, which must be awaited")
        maker = plain_name(value.__qualname__)
        what = f"`{text}` is the coroutine that calling `{maker}` gave, not its result: `await` it where it is made"
        return case.told(what)
    what = (
        f"`{text}` {'is' if isinstance(node, ast.Name) else 'gives'} a coroutine, not its result: an `await` is missing"
    )
    if site.is_plain_function:
        return case.told(f"{what}; `{site.function}` must be an `async def` for that, and be awaited in turn")
    return case.told(what, site.with_await(node))


def _of_mock(case: Case, mock: str, call: str, entering: bool, looping: bool) -> str:
    plain = mock if mock.replace(".", "").isidentifier() else None
    why = " (all that an AsyncMock gives is one)" if "." in mock else ""
    what = f"`{mock}` is an AsyncMock{why}, so `{call}` is a coroutine:"
    if entering:
        edit = f"`{plain} = MagicMock()`" if plain else "a MagicMock there"
        return case.told(f"{what}\n  for `async with` use {edit}")
    if looping:
        edit = f"`{plain} = MagicMock()`, `{plain}.return_value" if plain else "`MagicMock()`, its `return_value"
        return case.told(f"{what}\n  for `async for` use {edit}.__aiter__.return_value = [...]`")
    edit = f"`{plain} = Mock(return_value=...)`" if plain else "a Mock"
    return case.told(f"{what}\n  `await` it, or, where the real one is a plain method, use {edit}")


def _used(place: Callable[[Site], ast.expr | None] | None) -> Callable[[Case], str | None]:
    return lambda case: of_coroutine(case, _coroutine(case.site, place))


def _reused(case: Case) -> str:
    return case.told("a coroutine can be awaited once: call the function again, or keep a task or the result")


def _not_awaited(case: Case) -> str | None:
    """``Expected mock to have been awaited once. Awaited 0 times.``, of a mock that was called"""
    mock = case.local("self")
    if not is_async_mock(mock) or not called_before(mock):
        return None
    return case.told("the AsyncMock was called, and the call was not awaited: an `await` is missing where it is called")


# -- assertions ------------------------------------------------------------------------------------------------------


def _not_begun(value: Any) -> bool:
    return type(value) is CoroutineType and inspect.getcoroutinestate(value) == inspect.CORO_CREATED


def _asserted(case: Case) -> str | None:
    """A coroutine compared in an ``assert``, with pytest's explanation or without."""
    site = case.site
    test = next((n.test for n in (site.statement, site.node) if isinstance(n, ast.Assert)), None)
    if not site.direct or not isinstance(test, ast.Compare):
        return None
    if len(test.ops) != 1 or isinstance(test.ops[0], (ast.Is, ast.IsNot)):
        return None
    sides = [test.left, test.comparators[0]]
    found = [node for node in sides if _is_coroutine(site, node)]
    known = [node for node in found if isinstance(node, ast.Call) or _not_begun(site.value(node))]
    if len(known) == 1 and len(found) == 1:
        return of_coroutine(case, known[0])
    if known or found:
        return None
    return _explained(case, sides)


def _explained(case: Case, sides: list[ast.expr]) -> str | None:
    """Where names tell nothing: pytest keeps the parts of an assertion as variables, and prints them."""
    kept = [value for name, value in case.site.scope.items() if name.startswith("@py_assert") and _not_begun(value)]
    shown = [value for value in kept if repr(value) in case.found.string]
    calls = [node for node in sides if isinstance(node, ast.Call)]
    if len(shown) != 1:
        return None
    return of_coroutine(case, calls[0] if len(calls) == 1 else None)


_WORD = "'?coroutine'?"
RULES = tuple(
    Rule(kinds, re.compile(pattern), advise)
    for kinds, pattern, advise in (
        ((AttributeError,), "'coroutine' object has no attribute ", _used(_holder)),
        ((TypeError,), "'coroutine' object is not subscriptable", _used(_holder)),
        ((TypeError,), "'coroutine' object does(n't| not) support item (assignment|deletion)", _used(_holder)),
        ((TypeError,), "'coroutine' object is not callable", _is_called),
        ((TypeError,), "'coroutine' object is not iterable", _used(iterated)),
        ((TypeError,), "cannot unpack non-iterable coroutine object", _used(_assigned)),
        ((TypeError,), "'.+' not supported between instances of 'coroutine' and '(?!coroutine')", _used(_left)),
        ((TypeError,), "'.+' not supported between instances of '(?!coroutine').+' and 'coroutine'", _used(_right)),
        ((TypeError,), r"unsupported operand type\(s\) for .+: 'coroutine' and '(?!coroutine')", _used(_left)),
        ((TypeError,), r"unsupported operand type\(s\) for .+: '(?!coroutine').+' and 'coroutine'", _used(_right)),
        ((TypeError,), r'can only concatenate \w+ \(not "coroutine"\) to ', _used(_right)),
        ((TypeError,), "object of type 'coroutine' has no len", _used(None)),
        ((TypeError,), "(argument of type|a container or iterable is required, not) 'coroutine'", _used(_right)),
        ((TypeError,), "(.*) argument after \\*\\*? must be .*, not coroutine", _used(None)),
        ((TypeError,), "Object of type coroutine is not JSON serializable", _used(None)),
        ((TypeError,), "unsupported format string passed to coroutine.__format__", _used(None)),
        ((TypeError,), f".* (must be|indices must be|expected|object expected).*,? (not|got) {_WORD}$", _used(None)),
        ((TypeError,), "sequence item \\d+: expected .*, coroutine found", _used(None)),
        ((RuntimeError,), "cannot reuse already awaited coroutine", _reused),
        ((AssertionError,), "Expected .* to have been awaited( once)?\\. Awaited 0 times", _not_awaited),
        ((AssertionError,), "Expected .* to have been awaited\\.$", _not_awaited),
        ((AssertionError,), "", _asserted),
    )
)
