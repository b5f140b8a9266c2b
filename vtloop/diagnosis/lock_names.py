"""What the program calls the locks of a suspicion: told from the lines that make and take them.

Called by `lock_order` when the run is over: the frames are gone, so names come from the source text alone.  A lock that
has no name of its own is told by a number.  It must never run code of the program.
"""

from __future__ import annotations

import ast
import dis
import linecache
import textwrap
from collections.abc import Iterator, Sequence
from types import CodeType

from vtloop.diagnosis.chains import Place, Places
from vtloop.holding import Held, LockFacts, Nesting

__all__ = ["LockNames", "made_name"]

_LONGEST_NAME, _LONGEST_STATEMENT = 40, 50


class LockNames:
    """Names for the locks of one circle.

    Args:
        circle: Who took what while holding what.
        locks: All locks of the run.
    """

    def __init__(self, circle: Sequence[tuple[Nesting, Held]], locks: Sequence[LockFacts]) -> None:
        self._locks, self._places = locks, Places()
        taken: dict[int, set[str | None]] = {}
        for nesting, held in circle:
            for lock, code, lasti in ((nesting.lock, nesting.code, nesting.lasti), (held.lock, held.code, held.lasti)):
                taken.setdefault(lock, set()).add(_taken_name(code, lasti) if code is not None else None)
        names = {}
        for lock, spelt in taken.items():
            made = self._locks[lock - 1].made
            spelling = next(iter(spelt)) if len(spelt) == 1 else None
            names[lock] = (made_name(*made) if made is not None else None) or spelling
        self._names = {}
        for lock, name in names.items():
            alone = sum(other == name for other in names.values()) == 1
            self._names[lock] = name if name and alone else f"{name or self._locks[lock - 1].kind}#{lock}"

    def name(self, lock: int) -> str:
        """The name of the lock of that number."""
        return self._names[lock]

    def made(self, lock: int) -> str:
        """Where it was made, in words; empty when that is not known."""
        facts = self._locks[lock - 1]
        place = self.place(*facts.made) if facts.made is not None else None
        return f"{facts.kind} made at {place}" if place is not None else ""

    def place(self, code: CodeType | None, lasti: int) -> Place | None:
        """The line of an instruction."""
        return self._places.of_instruction(code, lasti) if code is not None else None


def _statement(code: CodeType, lasti: int) -> tuple[ast.stmt | None, int]:
    """The statement that begins in the line of an instruction, parsed alone, and the column of that within it."""
    positions = list(code.co_positions())
    line, end, column, _ = positions[lasti // 2] if 0 <= lasti // 2 < len(positions) else (None,) * 4
    if line is None or end is None:
        return None, 0
    first = linecache.getline(code.co_filename, line)
    indent = len(first) - len(first.lstrip())
    for last in range(line, min(max(line, end), line + _LONGEST_STATEMENT) + 4):
        lines = [linecache.getline(code.co_filename, number) for number in range(line, last + 1)]
        text = textwrap.dedent("".join(lines)).strip()
        for source in (text, f"{text} pass"):
            try:
                return ast.parse(source).body[0], (column or 0) - indent
            except (SyntaxError, IndexError, ValueError, RecursionError):
                continue
    return None, 0


def _short(node: ast.expr) -> str | None:
    name = ast.unparse(node)
    return name if len(name) <= _LONGEST_NAME and "\n" not in name else None


def _taken_name(code: CodeType, lasti: int) -> str | None:
    """The expression of the lock that is taken there; None where it is not plain."""
    statement, column = _statement(code, lasti)
    if statement is None:
        return None
    if isinstance(statement, ast.AsyncWith):
        items = [item.context_expr for item in statement.items]
        at = [item for item in items if item.lineno == 1 and item.col_offset == column]
        if not at:
            # CPython: before 3.13 each entry of a statement has the place of the whole.
            positions = list(code.co_positions())
            entered = [
                one
                for one in dis.get_instructions(code)
                if one.opname == "BEFORE_ASYNC_WITH" and positions[one.offset // 2] == positions[lasti // 2]
            ]
            place = sum(one.offset <= lasti for one in entered)
            at = items[place - 1 : place] if len(entered) == len(items) else items if len(items) == 1 else []
        return _short(at[0]) if at else None
    taken = [
        node.func.value
        for node in ast.walk(statement)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "acquire"
    ]
    return _short(taken[0]) if len(taken) == 1 else None


def made_name(code: CodeType, lasti: int) -> str | None:
    """What the lock made there is assigned to: ``accounts``, ``self.lock``, ``locks['a']``."""
    statement, column = _statement(code, lasti)
    target: ast.expr
    if isinstance(statement, ast.AnnAssign):
        target, value = statement.target, statement.value
    elif isinstance(statement, ast.Assign):
        target, value = statement.targets[0], statement.value
    else:
        return None
    for name, part in _parts(target, value):
        if part.lineno == 1 and part.col_offset == column:
            return name
    return _short(target) if isinstance(target, (ast.Name, ast.Attribute, ast.Subscript)) else None


def _parts(target: ast.expr, value: ast.expr | None) -> Iterator[tuple[str | None, ast.expr]]:
    """What a display of values on the right hand makes of each, by name."""
    if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        yield from ((_short(name), part) for name, part in zip(target.elts, value.elts, strict=False))
    elif isinstance(value, (ast.List, ast.Tuple)):
        yield from ((f"{_short(target)}[{index}]", part) for index, part in enumerate(value.elts))
    elif isinstance(value, ast.Dict):
        for key, part in zip(value.keys, value.values, strict=True):
            if isinstance(key, ast.Constant):
                yield f"{_short(target)}[{key.value!r}]", part
