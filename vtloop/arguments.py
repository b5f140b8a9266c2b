"""Wrong arguments of the network methods, told as asyncio tells them: before any I/O, so also behind a shut door.

Used by `vtloop.boundary`, and by whatever opens a door.  Each function takes the arguments of the method it is named
after and raises what asyncio raises.  It must never resolve a name or touch a socket's state.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from typing import Any

from vtloop import cpython

__all__ = ["CHECKS"]

_TIMEOUTS = ("ssl_handshake_timeout", "ssl_shutdown_timeout")


def _no_timeouts_without_ssl(ssl: Any, options: dict[str, Any]) -> None:
    for name in _TIMEOUTS:
        if options.get(name) is not None and not ssl:
            raise ValueError(f"{name} is only meaningful with ssl")


def _plain_socket(sock: Any) -> None:
    ssl = cpython.ssl_module()
    if ssl is not None and isinstance(sock, ssl.SSLSocket):
        raise TypeError("Socket cannot be of type SSLSocket")


def _stream_socket(sock: Any) -> None:
    if sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A Stream Socket was expected, got {sock!r}")


def _host_or_socket(host: Any, port: Any, sock: Any, neither: str) -> None:
    if sock is not None:
        _plain_socket(sock)
    if host is not None or port is not None:
        if sock is not None:
            raise ValueError("host/port and sock can not be specified at the same time")
    elif sock is None:
        raise ValueError(neither)
    else:
        _stream_socket(sock)


def create_connection(
    protocol_factory: Any,
    host: Any = None,
    port: Any = None,
    *,
    ssl: Any = None,
    sock: Any = None,
    server_hostname: Any = None,
    **options: Any,
) -> None:
    """Host and port, or a stream socket; a host name to verify when there is TLS."""
    if server_hostname is not None and not ssl:
        raise ValueError("server_hostname is only meaningful with ssl")
    if server_hostname is None and ssl and not host:
        raise ValueError("You must set server_hostname when using ssl without a host")
    _no_timeouts_without_ssl(ssl, options)
    _host_or_socket(host, port, sock, "host and port was not specified and no sock specified")


def create_server(
    protocol_factory: Any, host: Any = None, port: Any = None, *, ssl: Any = None, sock: Any = None, **options: Any
) -> None:
    """Host and port, or a stream socket."""
    if isinstance(ssl, bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    _no_timeouts_without_ssl(ssl is not None, options)
    _host_or_socket(host, port, sock, "Neither host/port nor sock were specified")


def create_unix_connection(
    protocol_factory: Any,
    path: Any = None,
    *,
    ssl: Any = None,
    sock: Any = None,
    server_hostname: Any = None,
    **options: Any,
) -> None:
    """A path, or a Unix stream socket."""
    if ssl and server_hostname is None:
        raise ValueError("you have to pass server_hostname when using ssl")
    if not ssl and server_hostname is not None:
        raise ValueError("server_hostname is only meaningful with ssl")
    _no_timeouts_without_ssl(ssl, options)
    _path_or_socket(path, sock, "no path and sock were specified")


def create_unix_server(
    protocol_factory: Any, path: Any = None, *, ssl: Any = None, sock: Any = None, **options: Any
) -> None:
    """A path, or a Unix stream socket."""
    if isinstance(ssl, bool):
        raise TypeError("ssl argument must be an SSLContext or None")
    _no_timeouts_without_ssl(ssl, options)
    _path_or_socket(path, sock, "path was not specified, and no sock specified")


def _path_or_socket(path: Any, sock: Any, neither: str) -> None:
    if path is not None:
        if sock is not None:
            raise ValueError("path and sock can not be specified at the same time")
        os.fspath(path)
    elif sock is None:
        raise ValueError(neither)
    elif sock.family != socket.AF_UNIX or sock.type != socket.SOCK_STREAM:
        raise ValueError(f"A UNIX Domain Stream Socket was expected, got {sock!r}")


def create_datagram_endpoint(
    protocol_factory: Any,
    local_addr: Any = None,
    remote_addr: Any = None,
    *,
    family: int = 0,
    proto: int = 0,
    flags: int = 0,
    reuse_port: Any = None,
    allow_broadcast: Any = None,
    sock: Any = None,
    **options: Any,
) -> None:
    """A datagram socket alone, or addresses of one family."""
    if sock is not None:
        if sock.type == socket.SOCK_STREAM:
            raise ValueError(f"A {cpython.DATAGRAM_SOCKET} was expected, got {sock!r}")
        modifiers = {
            "local_addr": local_addr,
            "remote_addr": remote_addr,
            "family": family,
            "proto": proto,
            "flags": flags,
            "reuse_port": reuse_port,
            "allow_broadcast": allow_broadcast,
        }
        given = ", ".join(f"{name}={value}" for name, value in modifiers.items() if value)
        if given:
            raise ValueError(f"socket modifier keyword arguments can not be used when sock is specified. ({given})")
        return
    if not local_addr and not remote_addr:
        if not family:
            raise ValueError("unexpected address family")
        return
    addresses = [address for address in (local_addr, remote_addr) if address is not None]
    if family == getattr(socket, "AF_UNIX", object()):
        if not all(isinstance(address, str) for address in addresses):
            raise TypeError("string is expected")
        return
    for address in addresses:
        if not (isinstance(address, tuple) and len(address) == 2):
            raise TypeError("2-tuple is expected")
    families = [set(_families(address[0])) for address in addresses]
    if len(families) == 2 and all(families) and not families[0] & families[1]:
        raise ValueError("can not get address information")


def _families(host: Any) -> Iterator[int]:
    """The families that a numeric address belongs to; none for a name, which would have to be resolved."""
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, TypeError):
            continue
        yield family


def connect_accepted_socket(protocol_factory: Any, sock: Any, *, ssl: Any = None, **options: Any) -> None:
    """A stream socket."""
    _stream_socket(sock)
    _no_timeouts_without_ssl(ssl, options)
    _plain_socket(sock)


def start_tls(transport: Any, protocol: Any, sslcontext: Any, **options: Any) -> None:
    """A context, and a transport that can be upgraded."""
    ssl = cpython.ssl_module()
    if ssl is None:
        raise RuntimeError("Python ssl module is not available")
    if not isinstance(sslcontext, ssl.SSLContext):
        raise TypeError(f"sslcontext is expected to be an instance of ssl.SSLContext, got {sslcontext!r}")
    if not getattr(transport, "_start_tls_compatible", False):
        raise TypeError(f"transport {transport!r} is not supported by start_tls()")


def sendfile(transport: Any, file: Any, offset: int = 0, count: int | None = None, *, fallback: bool = True) -> None:
    """An open transport that can send files."""
    if transport.is_closing():
        raise RuntimeError("Transport is closing")
    mode = cpython.sendfile_mode(transport)
    if mode == "UNSUPPORTED":
        raise RuntimeError(f"sendfile is not supported for transport {transport!r}")
    if mode == "FALLBACK" and not fallback:
        raise RuntimeError(f"fallback is disabled and native sendfile is not supported for transport {transport!r}")


def _no_streams_of_text(shell: bool, options: dict[str, Any]) -> None:
    wanted = {
        "shell": shell,
        "universal_newlines": False,
        "bufsize": 0,
        "text": False,
        "encoding": None,
        "errors": None,
    }
    for name, value in wanted.items():
        given = options.get(name, value)
        if given is not value and (value is None or bool(given) != bool(value)):
            raise ValueError(f"{name} must be {value}")


def subprocess_shell(protocol_factory: Any, cmd: Any, **options: Any) -> None:
    """A command line, and bytes for its streams."""
    if not isinstance(cmd, (bytes, str)):
        raise ValueError("cmd must be a string")
    _no_streams_of_text(True, options)


def subprocess_exec(protocol_factory: Any, program: Any, *args: Any, **options: Any) -> None:
    """A program and its arguments, and bytes for its streams."""
    _no_streams_of_text(False, options)


CHECKS: dict[str, Callable[..., None]] = {
    check.__name__: check
    for check in (
        create_connection,
        create_server,
        create_unix_connection,
        create_unix_server,
        create_datagram_endpoint,
        connect_accepted_socket,
        start_tls,
        sendfile,
        subprocess_shell,
        subprocess_exec,
    )
}
"""The check of each method, by its name."""
