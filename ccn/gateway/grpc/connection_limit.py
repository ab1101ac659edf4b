"""How many connections one address has at a gRPC port, which the library does not limit.

The library accepts connections itself, and limits them altogether only. So somebody looks at the sockets of
this process again and again, and shuts those of an address that has too many, the longest silent first: the
library then takes them for ended by the other side. It looks more often while there is something to shut.
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

_LOOK_S, _LOOK_AGAIN_S = 0.5, 0.1
_FILES = Path("/proc/self/fd" if Path("/proc/self/fd").exists() else "/dev/fd")
_NOT_SILENT = struct.Struct(
    "=52xI"
)  # of what Linux tells of a connection, the milliseconds since it said something


@dataclass(frozen=True, slots=True)
class _AcceptedConnection:
    """A connection, which its number names for a moment only, and its ends for good."""

    file: int
    ends: tuple[object, object]
    silent_ms: int


async def keep_limit(door: str, port: int, limit: int, proxies: Container[str] = ()) -> None:
    """Look for as long as the task lasts; those of `proxies` may have any number."""
    while True:
        ended = await asyncio.to_thread(end_excess, port, limit, proxies)
        if ended:
            metrics.count_turned_away(door, "address", ended)
        await asyncio.sleep(_LOOK_AGAIN_S if ended else _LOOK_S)


def end_excess(port: int, limit: int, proxies: Container[str] = ()) -> int:
    """Shut the connections at this port that an address has beyond its limit; how many that were."""
    files = _open_files()
    if len(files) <= limit:
        return 0  # nobody can have more than there are
    callers = dict[str, list[_AcceptedConnection]]()
    for host, caller in _find_connections(files, port):
        if host.removeprefix("::ffff:") not in proxies:
            callers.setdefault(limiting.normalise_address(host), []).append(caller)
    excess = [
        each
        for of_one in callers.values()
        for each in sorted(of_one, key=lambda caller: caller.silent_ms)[limit:]
    ]
    return sum(map(_shut_connection, excess))


def _open_files() -> list[int]:
    return [int(each.name) for each in os.scandir(_FILES) if each.name.isdigit()]


def _find_connections(files: Collection[int], port: int) -> Iterator[tuple[str, _AcceptedConnection]]:
    for file in files:
        with contextlib.suppress(OSError):  # it was closed meanwhile, or is not connected
            if not stat.S_ISSOCK(os.fstat(file).st_mode):
                continue
            with _borrow_socket(file) as connection:
                if (ends := _connection_ends(connection, port)) is not None:
                    yield ends[1][0], _AcceptedConnection(file, ends, _silent_ms(connection))


def _shut_connection(caller: _AcceptedConnection) -> bool:
    """Whether it was there still: the number may have been given to another file."""
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(caller.file)) as connection:
        if (connection.getsockname(), connection.getpeername()) == caller.ends:
            connection.shutdown(socket.SHUT_RDWR)
            return True
    return False


@contextlib.contextmanager
def _borrow_socket(file: int) -> Iterator[socket.socket]:
    connection = socket.socket(fileno=file)
    try:
        yield connection
    finally:
        connection.detach()


def _connection_ends(
    connection: socket.socket, port: int
) -> tuple[tuple[str, ...], tuple[str, ...]] | None:
    """Ours and theirs, of a connection to this port."""
    if connection.family not in {socket.AF_INET, socket.AF_INET6} or connection.type != socket.SOCK_STREAM:
        return None
    ours = connection.getsockname()
    return (ours, connection.getpeername()) if ours[1] == port else None


def _silent_ms(connection: socket.socket) -> int:
    if not hasattr(socket, "TCP_INFO"):
        return 0
    told = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _NOT_SILENT.size)
    return int(_NOT_SILENT.unpack(told)[0])
