"""Blocking calls that act: what they begin is refused before it has any effect.

A part of `vtloop.blocking_calls`: names looked up, connections, processes, databases, questions.  Each function is
replaced by one that looks at the arguments and then calls it.  An audit hook would see the same and more; but it costs
half a microsecond for each ``id()``, ``sys._getframe()`` and import of the whole process, for ever.
"""

from __future__ import annotations

import builtins
import contextlib
import functools
import importlib
import ipaddress
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from types import FrameType
from typing import Any

from vtloop.blocking import blocked, guarded, in_memory, program_frames
from vtloop.blocking_names import instead_of, waiting_call
from vtloop.state import LoopState

__all__ = ["acts"]

Look = Callable[[LoopState, list[FrameType], Sequence[Any], Mapping[str, Any]], None]
"""Looks at the arguments of a call, and refuses it if it blocks."""

_NETWORK = (socket.AF_INET, socket.AF_INET6)


def acts() -> list[tuple[Any, str, Any, Any]]:
    """What is replaced: the owner, the name, the original, ours."""
    found: list[tuple[Any, str, Any, Any]] = [
        (subprocess.Popen, "__init__", subprocess.Popen.__init__, _process),
        (socket.socket, "connect", socket.socket.connect, _connect),
        (socket.socket, "connect_ex", socket.socket.connect_ex, _connect),
        (os, "system", os.system, _plainly("os.system")),
        (builtins, "input", builtins.input, _plainly("input")),
        *((socket, name, getattr(socket, name), _lookup(name)) for name in _LOOKUPS),
    ]
    with contextlib.suppress(ImportError):  # a Python may be built without it
        database: Any = importlib.import_module("sqlite3")
        found.append((database, "connect", database.connect, _database))
    return [(owner, name, original, _looked_at(original, look)) for owner, name, original, look in found]


def _looked_at(original: Callable[..., Any], look: Look) -> Callable[..., Any]:
    @functools.wraps(original)
    def call(*args: Any, **kwargs: Any) -> Any:
        loop = guarded()
        if loop is not None:
            frames = program_frames(sys._getframe(1))
            if frames is not None:
                look(loop, frames, args, kwargs)
        return original(*args, **kwargs)

    return call


def _first(args: Sequence[Any], kwargs: Mapping[str, Any]) -> Any:
    """The first argument, by place or by name."""
    return args[0] if args else next(iter(kwargs.values()), None)


_LOOKUPS = ("getaddrinfo", "gethostbyname", "gethostbyname_ex", "gethostbyaddr", "getnameinfo")


def _lookup(name: str) -> Look:
    backwards = name in ("gethostbyaddr", "getnameinfo")

    def look(loop: LoopState, frames: list[FrameType], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        host = _first(args, kwargs)
        if name == "getnameinfo" and isinstance(host, tuple) and host:
            host = host[0]
        if host in (None, "", b"") or (not backwards and _is_address(host)):
            return  # no name to look up
        call = f"socket.{name}"
        blocked(loop, frames, call, instead_of(call), f"{call}({host!r})")

    return look


def _is_address(host: Any) -> bool:
    try:
        ipaddress.ip_address(host.decode() if isinstance(host, bytes) else host)
    except ValueError:
        return False
    return True


def _connect(loop: LoopState, frames: list[FrameType], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    sock, *rest = args
    # Between processes of this machine, and without a connection to make, nothing waits.
    if rest and sock.gettimeout() != 0 and sock.family in _NETWORK and sock.type != socket.SOCK_DGRAM:
        call = "socket.socket.connect"
        blocked(loop, frames, call, instead_of(call), f"{call}({rest[0]!r})")


def _process(loop: LoopState, frames: list[FrameType], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    words = args[1] if len(args) > 1 else kwargs.get("args")
    if isinstance(words, (list, tuple)):
        words = " ".join(map(str, words))
    call, _ = waiting_call(frames, "subprocess.Popen")
    blocked(loop, frames, call, instead_of(call), f"{call}({_brief(words)})")


def _database(loop: LoopState, frames: list[FrameType], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
    which = kwargs.get("database", _first(args, {}))
    if not in_memory(which):
        call = "sqlite3.connect"
        blocked(loop, frames, call, instead_of(call), f"{call}({_brief(which)})")


def _plainly(call: str) -> Look:
    def look(loop: LoopState, frames: list[FrameType], args: Sequence[Any], kwargs: Mapping[str, Any]) -> None:
        what = _first(args, kwargs)
        blocked(loop, frames, call, instead_of(call), f"{call}({'' if what in (None, '') else _brief(what)})")

    return look


def _brief(value: Any) -> str:
    text = repr(value) if isinstance(value, (str, bytes, int)) else type(value).__name__
    return text if len(text) <= 60 else text[:57] + "..."
