"""Free TCP ports of the loopback interface, and what to do when somebody else is faster.

Separate because every service here has the same race: a port found free is taken again only when the
service binds it, and in between it belongs to nobody.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from typing import TypeVar

from ccn import errors

HOST = "127.0.0.1"
ATTEMPTS = 8
Opened = TypeVar("Opened")


async def serve_on_free_ports(
    stack: AsyncExitStack, count: int, serve: Callable[..., AbstractAsyncContextManager[Opened]]
) -> Opened:
    """Enter `serve(*ports)` with `count` free ports, and again with others while they are taken."""
    for _ in range(ATTEMPTS - 1):
        try:
            return await stack.enter_async_context(serve(*find_free_ports(count)))
        except errors.PortTaken:
            continue
    return await stack.enter_async_context(serve(*find_free_ports(count)))


def check_port_free(port: int) -> None:
    """Raise `PortTaken` if somebody listens on the port that was asked for."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: connections that have just been closed are no reason to refuse.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as refused:
            raise errors.PortTaken(
                f"port {port} of {HOST} cannot be used: {refused.strerror}. Stop the program that listens "
                "there, or choose another port."
            ) from refused


def find_free_ports(count: int) -> list[int]:
    """Ports that nobody listens on, all different, since they are held together while they are chosen."""
    held = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for each in held:
            each.bind((HOST, 0))
        return [each.getsockname()[1] for each in held]
    finally:
        for each in held:
            each.close()
