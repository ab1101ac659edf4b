"""Finds free TCP ports of the loopback interface, and tries others when somebody else is faster.

Separate because every service here has the same race. A port that was found free is taken only when the
service binds it. In between anybody can take it.
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
        # Set by servers too: connections that have just been closed are no reason to refuse.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError as refused:
            raise errors.PortTaken(
                f"port {port} of {HOST} cannot be used: {refused.strerror}. Stop the program that listens "
                "there, or choose another port."
            ) from refused


def find_free_ports(count: int) -> list[int]:
    """Find ports that nobody listens on.

    They are all different, because all stay bound until the last is found.
    """
    probes = [socket.socket(socket.AF_INET, socket.SOCK_STREAM) for _ in range(count)]
    try:
        for probe in probes:
            probe.bind((HOST, 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()
