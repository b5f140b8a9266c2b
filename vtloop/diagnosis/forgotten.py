"""Whether the source forgets a coroutine: what becomes, on its own line, of what a call gives.

``fetch()`` as a statement, ``if fetch():``, ``x = fetch()`` where ``x`` is never awaited nor handed on: that coroutine
can never be awaited, whatever happened in the run.  A coroutine that the source does hand on, or awaits further down,
may have been dropped because an exception or a cancel came first; of such a one nothing is said here.  Called when a
coroutine died unawaited.  It must never guess: what is not certain is `HANDED_ON`.
"""

from __future__ import annotations

import ast
import linecache

__all__ = ["FORGOTTEN", "HANDED_ON", "RETURNED", "fate_of_call"]

FORGOTTEN, RETURNED, HANDED_ON = "forgotten", "returned", "handed on"

_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)
_HOLDERS = (ast.List, ast.Tuple, ast.Set, ast.Dict, ast.Starred, ast.ListComp, ast.SetComp, ast.GeneratorExp)
_VALUES = (ast.Compare, ast.UnaryOp, ast.Assert, ast.If, ast.While, ast.FormattedValue)
"""What takes a value in, and does not give it on; operators may, as in ``coros += [fetch()]`` or ``fetch() | pipe``."""

_LOOKED_AT = frozenset({"print", "repr", "str", "bool", "len", "isinstance", "type", "id", "hash", "int", "float"})
_OF_COROUTINES = frozenset({"close", "send", "throw", "cr_frame", "cr_await", "cr_code", "__await__"})
_ALL_NAMES = frozenset({"locals", "vars", "eval", "exec"})
"""What may use any name."""
_MAKERS = frozenset({"AsyncMock", "MagicMock", "Mock", "create_autospec"})
_MOST_TREES = 16

_Parents = dict[ast.AST, ast.AST]
_trees: dict[str, tuple[list[str], ast.Module | None, _Parents]] = {}


def fate_of_call(file: str, line: int, name: str) -> tuple[str, str]:
    """What becomes of the coroutine that a call in a line gives.

    Args:
        file: The source file.
        line: The line of the call.
        name: The name of the coroutine function; a call by another name counts when none has this one.

    Returns:
        `FORGOTTEN`, `RETURNED` (to the caller, who may forget it) or `HANDED_ON` (or not known), and what is called as
        the source has it (``client.close``; empty when there are several).
    """
    tree, parents = _parsed(file)
    if tree is None:
        return HANDED_ON, ""
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and line in _lines_of(node)]
    # A mock's coroutine function has a name that nobody calls; nor is it a mock that is made on the line.
    calls = [node for node in calls if _called(node) == name] or [n for n in calls if _called(n) not in _MAKERS]
    fates = {_fate(call, parents) for call in calls}
    called = {_text(call.func) for call in calls}
    return (fates.pop() if len(fates) == 1 else HANDED_ON), (called.pop() if len(called) == 1 else "")


def _lines_of(call: ast.Call) -> tuple[int, int | None]:
    """The lines that the bytecode may give for a call: that of its beginning, and that of the method's name."""
    return call.lineno, call.func.end_lineno


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _text(node: ast.AST) -> str:
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= 60 else ""


def _parsed(file: str) -> tuple[ast.Module | None, _Parents]:
    """The source of a file as a tree, with the way up from each of its nodes; kept for the last few files."""
    lines = linecache.getlines(file)
    known = _trees.get(file)
    if known is None or known[0] is not lines:
        try:
            tree = ast.parse("".join(lines)) if lines else None
        except (SyntaxError, ValueError):
            tree = None
        parents = {inner: outer for outer in ast.walk(tree) for inner in ast.iter_child_nodes(outer)} if tree else {}
        if len(_trees) >= _MOST_TREES:
            _trees.clear()
        known = _trees[file] = lines, tree, parents
    return known[1], known[2]


def _fate(node: ast.AST, parents: _Parents, alias: bool = False) -> str:
    """Where the value of `node` goes; `alias` when it is a name that was looked up."""
    held = False  # the value is a container with the coroutine in it
    while True:
        inner, node = node, parents[node]
        if isinstance(node, ast.Expr):
            return FORGOTTEN
        if isinstance(node, ast.Return) or (isinstance(node, ast.Lambda) and inner is node.body):
            return HANDED_ON if held or alias else RETURNED
        if isinstance(node, ast.comprehension):
            return FORGOTTEN if inner in node.ifs else HANDED_ON
        if isinstance(node, _HOLDERS) or (held and isinstance(node, ast.BinOp)):
            held = True
        elif isinstance(node, ast.IfExp) and inner is node.test:
            return FORGOTTEN
        elif isinstance(node, ast.NamedExpr):
            if alias or _is_used(node.target, parents):
                return HANDED_ON
        elif isinstance(node, (ast.Attribute, ast.Subscript)):
            # A container gives the coroutine out again: `coros.pop()`, `coros[0]`.
            of_coroutine = isinstance(node, ast.Attribute) and node.attr in _OF_COROUTINES
            return HANDED_ON if held or of_coroutine or inner is not node.value else FORGOTTEN
        elif isinstance(node, ast.Call):
            looked_at = isinstance(node.func, ast.Name) and node.func.id in _LOOKED_AT and inner is not node.func
            return FORGOTTEN if looked_at else HANDED_ON
        elif isinstance(node, (ast.Assign, ast.AnnAssign)):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            return HANDED_ON if alias or any(_is_used(target, parents) for target in targets) else FORGOTTEN
        elif isinstance(node, _VALUES):
            return FORGOTTEN
        elif not isinstance(node, (ast.IfExp, ast.BoolOp, ast.keyword)):
            return HANDED_ON


def _is_used(target: ast.expr, parents: _Parents) -> bool:
    """Whether what is assigned to `target` is awaited or handed on anywhere: only a local name can be followed."""
    if not isinstance(target, ast.Name):
        return True
    scope: ast.AST | None = target
    while scope is not None and not isinstance(scope, (*_FUNCTIONS, ast.ClassDef)):
        scope = parents.get(scope)
    if not isinstance(scope, _FUNCTIONS):
        return True  # a global
    return any(_names(node, target.id) and _hands_on(node, parents) for node in ast.walk(scope))


def _names(node: ast.AST, name: str) -> bool:
    if isinstance(node, (ast.Global, ast.Nonlocal)):
        return name in node.names
    return isinstance(node, ast.Name) and (node.id == name or node.id in _ALL_NAMES) and isinstance(node.ctx, ast.Load)


def _hands_on(node: ast.AST, parents: _Parents) -> bool:
    return isinstance(node, (ast.Global, ast.Nonlocal)) or _fate(node, parents, alias=True) != FORGOTTEN
