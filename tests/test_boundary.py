"""The doors to the real world: all known, all shut, each with words that help."""

from __future__ import annotations

import asyncio
import inspect
import io
import socket
import ssl
import sys
from collections.abc import Iterator
from typing import Any

import pytest

import vtloop
from vtloop.boundary import DOORS, ClosedDoors, Door

ARGUMENTS: dict[str, tuple[Any, ...]] = {
    "getaddrinfo": ("localhost", 80),
    "create_connection": (asyncio.Protocol, "localhost", 80),
    "create_server": (asyncio.Protocol, "localhost", 80),
    "create_unix_connection": (asyncio.Protocol, "/nowhere"),
    "create_unix_server": (asyncio.Protocol, "/nowhere"),
    "create_datagram_endpoint": (asyncio.DatagramProtocol, ("127.0.0.1", 0)),
    "subprocess_shell": (asyncio.SubprocessProtocol, "true"),
    "subprocess_exec": (asyncio.SubprocessProtocol, "true"),
}
"""Arguments that are right, where a door looks at them before it says that it is shut."""


class Upgradable(asyncio.Transport):
    """A transport that start_tls and sendfile would accept."""

    _start_tls_compatible = True
    _sendfile_compatible = vars(asyncio.constants)["_SendfileMode"].TRY_NATIVE

    def is_closing(self) -> bool:
        return False


def knock(loop: vtloop.EventLoop, door: Door) -> Any:
    """Call the method behind ``door`` with arguments that it would accept."""
    method = getattr(loop, door.name)
    if door.name == "start_tls":
        return method(Upgradable(), asyncio.Protocol(), ssl.create_default_context())
    if door.name == "sendfile":
        return method(Upgradable(), io.BytesIO())
    if door.name == "connect_accepted_socket":
        with socket.socket() as sock:
            return method(asyncio.Protocol, sock)
    return method(*ARGUMENTS.get(door.name, (3, print)))


@pytest.fixture
def loop() -> Iterator[vtloop.EventLoop]:
    with vtloop.EventLoop() as loop:
        yield loop


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_shut_door_names_call_site_reach_and_alternative(loop: vtloop.EventLoop, door: Door) -> None:
    async def main() -> None:
        result = knock(loop, door)
        if door.coroutine:
            await result

    with pytest.raises(vtloop.EscapeError) as raised:
        loop.run_until_complete(main())
    error = raised.value
    assert isinstance(error, NotImplementedError)  # what asyncio promises for a method that a loop lacks
    assert str(error).startswith(f"loop.{door.name}() was called by Task-1 at ")
    assert "test_boundary.py:" in error.data["site"]
    assert f"it would reach {door.reaches}, which a simulated run keeps shut" in str(error)
    assert str(error).endswith(f"Instead: {door.instead}.")
    assert error.to_dict()["door"] == door.name


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.name)
def test_door_is_a_coroutine_function_where_asyncios_is_one(door: Door) -> None:
    own, stock = getattr(vtloop.EventLoop, door.name), getattr(asyncio.AbstractEventLoop, door.name)
    assert inspect.iscoroutinefunction(own) == inspect.iscoroutinefunction(stock) == door.coroutine
    assert own.__name__ == door.name
    assert "Instead" in own.__doc__


def test_every_method_of_asyncios_loop_is_a_door_or_open() -> None:
    abstract = {
        name
        for name, value in vars(asyncio.AbstractEventLoop).items()
        if not name.startswith("_") and inspect.isfunction(value)
    }
    doors = {door.name for door in DOORS}
    inherited = {name for name in abstract if getattr(vtloop.EventLoop, name) is vars(asyncio.AbstractEventLoop)[name]}
    assert inherited == set(), "neither opened nor on the table"
    assert doors <= abstract
    assert abstract - doors == {
        "call_at",
        "call_exception_handler",
        "call_later",
        "call_soon",
        "call_soon_threadsafe",
        "close",
        "create_future",
        "create_task",
        "default_exception_handler",
        "get_debug",
        "get_exception_handler",
        "get_task_factory",
        "getnameinfo",
        "is_closed",
        "is_running",
        "run_forever",
        "run_in_executor",
        "run_until_complete",
        "set_debug",
        "set_default_executor",
        "set_exception_handler",
        "set_task_factory",
        "shutdown_asyncgens",
        "shutdown_default_executor",
        "stop",
        "time",
    }


def test_every_door_is_listed_once_and_says_something() -> None:
    assert len({door.name for door in DOORS}) == len(DOORS)
    for door in DOORS:
        assert door.reaches
        assert door.instead
        assert not door.instead.endswith(".")


def test_a_part_opens_a_door_by_defining_its_method() -> None:
    class Opened:
        def add_reader(self, fd: int, callback: Any, *args: Any) -> str:
            return "opened"

    class Loop(Opened, ClosedDoors):
        pass

    assert Loop.add_reader is Opened.add_reader  # type: ignore[comparison-overlap]


def test_call_site_is_the_users_line_not_asyncios(loop: vtloop.EventLoop) -> None:
    async def main() -> None:
        await asyncio.open_connection("localhost", 80)

    with pytest.raises(vtloop.EscapeError) as raised:
        loop.run_until_complete(main())
    line = main.__code__.co_firstlineno + 1
    assert raised.value.data["site"].endswith(f"test_boundary.py:{line} in main")


def test_call_outside_any_task_names_no_task(loop: vtloop.EventLoop) -> None:
    with pytest.raises(vtloop.EscapeError, match=r"^loop.add_reader\(\) was called at "):
        loop.add_reader(0, print)


def test_subprocesses_are_refused_where_they_are_started(loop: vtloop.EventLoop) -> None:
    async def main() -> None:
        await asyncio.create_subprocess_exec(sys.executable, "--version")

    with pytest.raises(vtloop.EscapeError, match=r"^loop.subprocess_exec\(\) was called by Task-1"):
        loop.run_until_complete(main())


# -- wrong arguments are told first, in asyncio's words -------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "args", "options", "error", "words"),
    [
        ("create_connection", (), {}, ValueError, "host and port was not specified and no sock specified"),
        ("create_connection", ("h", 1), {"server_hostname": "x"}, ValueError, "server_hostname is only meaningful"),
        ("create_connection", (), {"ssl": True}, ValueError, "You must set server_hostname when using ssl"),
        ("create_connection", ("h", 1), {"ssl_handshake_timeout": 1}, ValueError, "is only meaningful with ssl"),
        ("create_server", (), {}, ValueError, "Neither host/port nor sock were specified"),
        ("create_server", ("h", 1), {"ssl": True}, TypeError, "ssl argument must be an SSLContext or None"),
        ("create_unix_connection", (), {}, ValueError, "no path and sock were specified"),
        ("create_unix_connection", ("/x",), {"ssl": True}, ValueError, "you have to pass server_hostname"),
        ("create_unix_server", (), {}, ValueError, "path was not specified, and no sock specified"),
        ("create_unix_server", (), {"ssl": True}, TypeError, "ssl argument must be an SSLContext or None"),
        ("create_datagram_endpoint", (), {}, ValueError, "unexpected address family"),
    ],
)
def test_wrong_arguments_are_told_before_the_door(
    loop: vtloop.EventLoop, name: str, args: tuple[Any, ...], options: dict[str, Any], error: Any, words: str
) -> None:
    with pytest.raises(error, match=words) as raised:
        loop.run_until_complete(getattr(loop, name)(asyncio.Protocol, *args, **options))
    assert not isinstance(raised.value, vtloop.EscapeError)


@pytest.mark.parametrize("name", ["create_connection", "create_server"])
def test_socket_beside_an_address_or_of_the_wrong_kind_is_told(loop: vtloop.EventLoop, name: str) -> None:
    method = getattr(loop, name)
    with socket.socket() as stream, socket.socket(type=socket.SOCK_DGRAM) as datagram:
        with pytest.raises(ValueError, match="host/port and sock can not be specified at the same time"):
            loop.run_until_complete(method(asyncio.Protocol, "localhost", 80, sock=stream))
        with pytest.raises(ValueError, match="A Stream Socket was expected"):
            loop.run_until_complete(method(asyncio.Protocol, sock=datagram))
        with pytest.raises(vtloop.EscapeError):
            loop.run_until_complete(method(asyncio.Protocol, sock=stream))


def test_socket_of_the_wrong_kind_is_told_for_datagrams(loop: vtloop.EventLoop) -> None:
    words = "A UDP Socket was expected" if sys.version_info < (3, 13) else "A datagram socket was expected"
    with socket.socket() as stream, pytest.raises(ValueError, match=words):
        loop.run_until_complete(loop.create_datagram_endpoint(asyncio.DatagramProtocol, sock=stream))


def test_wrong_transports_are_told(loop: vtloop.EventLoop) -> None:
    context = ssl.create_default_context()
    protocol = asyncio.Protocol()
    with pytest.raises(TypeError, match="sslcontext is expected to be an instance of ssl.SSLContext"):
        loop.run_until_complete(loop.start_tls(Upgradable(), protocol, None))  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"is not supported by start_tls\(\)"):
        loop.run_until_complete(loop.start_tls(asyncio.Transport(), protocol, context))
    closing = Upgradable()
    closing.is_closing = lambda: True  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="Transport is closing"):
        loop.run_until_complete(loop.sendfile(closing, io.BytesIO()))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"universal_newlines": True}, "universal_newlines must be False"),
        ({"bufsize": 4096}, "bufsize must be 0"),
        ({"text": True}, "text must be False"),
        ({"encoding": "utf-8"}, "encoding must be None"),
        ({"errors": "strict"}, "errors must be None"),
    ],
)
@pytest.mark.parametrize("name", ["subprocess_shell", "subprocess_exec"])
def test_text_streams_of_processes_are_told(
    loop: vtloop.EventLoop, name: str, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=f"^{words}$"):
        loop.run_until_complete(getattr(loop, name)(asyncio.SubprocessProtocol, "true", **options))
