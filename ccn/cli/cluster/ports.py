"""The ports of a local cluster: chosen once, and kept for as long as it runs.

Sockets keep them that are bound and do not listen. On Linux a node with SO_REUSEADDR can listen on such a
port, again after each restart, and no other program gets it by chance in between. Two sockets may be bound
to one port in this way, so a name for each port keeps clusters apart that start at the same moment.
"""

from __future__ import annotations

import errno
import socket
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Literal

from ccn import errors

HOST = "127.0.0.1"
DEFAULT_PORT = 7700


@dataclass(frozen=True, slots=True)
class NodePorts:
    """The two ports of one node."""

    http: int
    grpc: int
    scheme: Literal["http", "https"] = "http"

    @property
    def url(self) -> str:
        """Return the address of the HTTP door."""
        return f"{self.scheme}://{HOST}:{self.http}"

    @property
    def target(self) -> str:
        """Return the address of the gRPC door."""
        return f"{HOST}:{self.grpc}"


@dataclass(frozen=True, slots=True)
class HeldPorts:
    """The ports of all nodes, and what the user should know about the choice."""

    node_ports: tuple[NodePorts, ...]
    notice: str = ""


@contextmanager
def hold_ports(nodes: int, wanted: int | None, default: int) -> Iterator[HeldPorts]:
    """Bind ports in a row from `wanted` on, free ones if it is 0, else from `default` on if possible."""
    with ExitStack() as sockets:
        if wanted == 0:
            yield HeldPorts(_bind_ports(sockets, nodes, 0))
        elif wanted is not None:
            yield HeldPorts(_bind_ports(sockets, nodes, wanted))
        else:
            yield _bind_default(sockets, nodes, default)


def _bind_default(sockets: ExitStack, nodes: int, default: int) -> HeldPorts:
    try:
        with ExitStack() as attempt:
            doors = _bind_ports(attempt, nodes, default)
            sockets.push(attempt.pop_all())
            return HeldPorts(doors)
    except errors.PortTaken as taken:
        notice = f"{str(taken).split(';')[0]}; taking free ports instead"
        return HeldPorts(_bind_ports(sockets, nodes, 0), notice)


def _bind_ports(sockets: ExitStack, nodes: int, first: int) -> tuple[NodePorts, ...]:
    ports = [_bind_port(sockets, first and first + offset) for offset in range(2 * nodes)]
    return tuple(NodePorts(http, grpc) for http, grpc in zip(ports[::2], ports[1::2], strict=True))


def _bind_port(sockets: ExitStack, port: int) -> int:
    held = sockets.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        held.bind((HOST, port))
        _claim_port(sockets, held.getsockname()[1])
    except OSError as refused:
        why = "is in use" if refused.errno == errno.EADDRINUSE else f"cannot be used ({refused.strerror})"
        raise errors.PortTaken(
            f"port {port} {why}; stop what listens there, or choose another --port (0 takes free ones)"
        ) from refused
    return int(held.getsockname()[1])


def _claim_port(sockets: ExitStack, port: int) -> None:
    """Claim a name without a file, which one process at a time can have and which ends with it."""
    if sys.platform == "linux":
        claim = sockets.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
        claim.bind(f"\0ccn {HOST}:{port}")
