"""The doors to the real world, as a table; each is shut with an `EscapeError` that says what to use instead.

A part of the loop.  `DOORS` is the whole list; a part of vtloop that opens a door (an in-memory network, say) takes it
off the table by defining the method.  It must never do I/O.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any, NamedTuple

from vtloop.arguments import CHECKS
from vtloop.errors import EscapeError
from vtloop.state import LoopState

__all__ = ["DOORS", "ClosedDoors", "Door"]


class Door(NamedTuple):
    """A loop method that would reach the real world.

    Attributes:
        name: The method.
        reaches: What it would reach.
        instead: What a test uses instead.
        coroutine: Whether the method is a coroutine function.
    """

    name: str
    reaches: str
    instead: str
    coroutine: bool


_PAIR = "test the protocol or the reader directly (asyncio.StreamReader.feed_data), or stub the connection"
_SERVER = "call the handler directly with asyncio.StreamReader.feed_data and a stub writer"
_FILES = "read and write through asyncio.to_thread"
_PROCESS = "replace the call by a coroutine that gives the wanted output, or run it outside the loop"
_FD = "an asyncio.Future or asyncio.Event that the test completes"
_SIGNAL = "call the handler, or loop.call_later(delay, handler), from the test"

DOORS = (
    Door("getaddrinfo", "the name resolver", "pass addresses, or stub the resolver", True),
    Door("create_connection", "a real TCP connection", _PAIR, True),
    Door("create_server", "a real listening socket", _SERVER, True),
    Door("create_unix_connection", "a real Unix socket", _PAIR, True),
    Door("create_unix_server", "a real Unix socket", _SERVER, True),
    Door("create_datagram_endpoint", "a real UDP socket", "call protocol.datagram_received directly", True),
    Door("connect_accepted_socket", "a real socket", _PAIR, True),
    Door("start_tls", "a real TLS connection", "test above the TLS layer", True),
    Door("sendfile", "a real file and socket", _FILES, True),
    Door("sock_recv", "a real socket", _PAIR, True),
    Door("sock_recv_into", "a real socket", _PAIR, True),
    Door("sock_recvfrom", "a real socket", _PAIR, True),
    Door("sock_recvfrom_into", "a real socket", _PAIR, True),
    Door("sock_sendall", "a real socket", _PAIR, True),
    Door("sock_sendto", "a real socket", _PAIR, True),
    Door("sock_connect", "a real socket", _PAIR, True),
    Door("sock_accept", "a real socket", _PAIR, True),
    Door("sock_sendfile", "a real file and socket", _FILES, True),
    Door("connect_read_pipe", "a real pipe", _FILES, True),
    Door("connect_write_pipe", "a real pipe", _FILES, True),
    Door("subprocess_shell", "a real process", _PROCESS, True),
    Door("subprocess_exec", "a real process", _PROCESS, True),
    Door("add_reader", "a real file descriptor", _FD, False),
    Door("remove_reader", "a real file descriptor", _FD, False),
    Door("add_writer", "a real file descriptor", _FD, False),
    Door("remove_writer", "a real file descriptor", _FD, False),
    Door("add_signal_handler", "the signals of this process", _SIGNAL, False),
    Door("remove_signal_handler", "the signals of this process", _SIGNAL, False),
)


class ClosedDoors(LoopState):
    """The loop methods of `DOORS`, all shut."""


def _call_site(frame: FrameType | None) -> str:
    """The user's line: the innermost one that is neither asyncio's nor vtloop's."""
    ours = (os.path.dirname(__file__), os.path.dirname(asyncio.__file__))
    while frame is not None and frame.f_back is not None and frame.f_code.co_filename.startswith(ours):
        frame = frame.f_back
    if frame is None:
        return "an unknown place"
    path = frame.f_code.co_filename
    short = os.path.relpath(path) if path.startswith(os.getcwd() + os.sep) else path
    return f"{short}:{frame.f_lineno} in {frame.f_code.co_name}"


def _refusal(loop: LoopState, door: Door) -> EscapeError:
    task = asyncio.current_task(loop) if loop.is_running() else None
    who = f" by {task.get_name()}" if task is not None else ""
    site = _call_site(sys._getframe(2))
    return EscapeError(
        f"loop.{door.name}() was called{who} at {site}: it would reach {door.reaches}, which a simulated run keeps "
        f"shut. Instead: {door.instead}.",
        data={"door": door.name, "reaches": door.reaches, "instead": door.instead, "site": site},
    )


def _shut(door: Door) -> Callable[..., Any]:
    """A method that refuses; a coroutine function where asyncio's is one, so that it raises when awaited."""

    check = CHECKS.get(door.name)

    async def refuse_later(self: ClosedDoors, *args: Any, **kwargs: Any) -> Any:
        if check is not None:
            check(*args, **kwargs)
        raise _refusal(self, door)

    def refuse(self: ClosedDoors, *args: Any, **kwargs: Any) -> Any:
        raise _refusal(self, door)

    method = refuse_later if door.coroutine else refuse
    method.__name__ = door.name
    method.__qualname__ = f"EventLoop.{door.name}"
    method.__doc__ = f"Shut: it would reach {door.reaches}. Instead: {door.instead}."
    return method


for _door in DOORS:
    setattr(ClosedDoors, _door.name, _shut(_door))
