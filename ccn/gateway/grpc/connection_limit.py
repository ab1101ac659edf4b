"""Limits how many connections one address may have at a gRPC port, which the library does not do.

The library accepts connections itself and limits only their total. So a task looks at the sockets of this
process again and again. If an address has too many, it shuts those that were silent longest. To the library
they look as if the other side had ended them. The task looks more often while it finds something to shut.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import stat
import struct
from collections.abc import Collection, Container, Iterator
from dataclasses import dataclass
from pathlib import Path

from ccn import metrics
from ccn.gateway import limiting

_COUNT_S, _RECOUNT_S = 0.5, 0.1
_FILES = Path("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd")
_LAST_RECEIVED = struct.Struct("=52xI")
"""Of Linux's tcp_info, the milliseconds since data last came in."""


@dataclass(frozen=True, slots=True)
class _AcceptedConnection:
    """An accepted connection. Its file number may soon belong to another file; its two ends identify it."""

    file: int
    ends: tuple[object, object]
    silent_ms: int


async def keep_limit(door: str, port: int, limit: int, proxies: Container[str] = ()) -> None:
    """End the connections beyond the limit until cancelled. `proxies` may have any number."""
    while True:
        ended = await asyncio.to_thread(end_excess, port, limit, proxies)
        if ended:
            metrics.doors.count_turned_away(door, "address", ended)
        await asyncio.sleep(_RECOUNT_S if ended else _COUNT_S)


def end_excess(port: int, limit: int, proxies: Container[str] = ()) -> int:
    """Shut the connections that an address has at this port beyond the limit. Returns how many it shut."""
    files = _open_files()
    if len(files) <= limit:
        return 0  # fewer files than the limit, so no address can be over it
    by_address = dict[str, list[_AcceptedConnection]]()
    for host, connection in _find_connections(files, port):
        if host.removeprefix("::ffff:") not in proxies:
            by_address.setdefault(limiting.normalise_address(host), []).append(connection)
    excess = [
        connection
        for connections in by_address.values()
        for connection in sorted(connections, key=lambda each: each.silent_ms)[limit:]
    ]
    return sum(map(_shut_connection, excess))


def _open_files() -> list[int]:
    return [int(each.name) for each in os.scandir(_FILES) if each.name.isdigit()]


def _find_connections(files: Collection[int], port: int) -> Iterator[tuple[str, _AcceptedConnection]]:
    for file in files:
        with contextlib.suppress(OSError):  # the file was closed meanwhile, or the socket is not connected
            if not stat.S_ISSOCK(os.fstat(file).st_mode):
                continue
            with _borrow_socket(file) as borrowed:
                if (ends := _connection_ends(borrowed, port)) is not None:
                    yield ends[1][0], _AcceptedConnection(file, ends, _silent_ms(borrowed))


def _shut_connection(connection: _AcceptedConnection) -> bool:
    """Shut a connection if its file number still belongs to it. Returns whether it did."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.file)) as duplicate:
        if (duplicate.getsockname(), duplicate.getpeername()) == connection.ends:
            duplicate.shutdown(socket.SHUT_RDWR)
            return True
    return False


@contextlib.contextmanager
def _borrow_socket(file: int) -> Iterator[socket.socket]:
    borrowed = socket.socket(fileno=file)
    try:
        yield borrowed
    finally:
        borrowed.detach()


def _connection_ends(borrowed: socket.socket, port: int) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Our address and theirs, if this is a connection to the port."""
    if borrowed.family not in {socket.AF_INET, socket.AF_INET6} or borrowed.type != socket.SOCK_STREAM:
        return None
    ours = borrowed.getsockname()
    return (ours, borrowed.getpeername()) if ours[1] == port else None


def _silent_ms(borrowed: socket.socket) -> int:
    if not hasattr(socket, "TCP_INFO"):
        return 0
    info = borrowed.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _LAST_RECEIVED.size)
    return int(_LAST_RECEIVED.unpack(info)[0])
