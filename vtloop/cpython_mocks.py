"""Every private name of `unittest.mock` that the naming of mistakes relies on, one small function each.

Called by `vtloop.diagnosis` only, and only when a run has failed.  Each name was seen on 3.11, 3.12 and 3.13.  Nothing
here imports `unittest.mock` (a program that mocks nothing has no use for it), and nothing touches a mock by attribute:
that would make a new one.
"""

from __future__ import annotations

import sys
from typing import Any

__all__ = ["MOCK_COROUTINE", "called_before", "child_of", "is_async_mock", "is_mock"]

# CPython: the coroutine that calling an AsyncMock gives (3.11-3.13).
MOCK_COROUTINE = "AsyncMockMixin._execute_mock_call"


def _is_a(thing: object, name: str) -> bool:
    kind = getattr(sys.modules.get("unittest.mock"), name, None)
    return isinstance(kind, type) and issubclass(type(thing), kind)


def is_mock(thing: object) -> bool:
    """Whether it is a mock of any kind."""
    return _is_a(thing, "NonCallableMock")


def is_async_mock(thing: object) -> bool:
    """Whether calling it gives a coroutine."""
    return _is_a(thing, "AsyncMock")


def called_before(mock: object) -> bool:
    """Whether it was called, awaited or not."""
    # CPython: NonCallableMock._mock_called, set by the call itself (3.11-3.13).
    return object.__getattribute__(mock, "__dict__").get("_mock_called") is True


def child_of(mock: object, name: str) -> object | None:
    """The mock that ``mock.name`` is, if it was made already; makes none."""
    # CPython: NonCallableMock._mock_children, a dict by name (3.11-3.13); what was set by hand stands in `__dict__`.
    own: dict[str, Any] = object.__getattribute__(mock, "__dict__")
    found = own.get("_mock_children", {}).get(name)
    return found if found is not None else own.get(name)
