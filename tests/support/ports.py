"""Ports that belong to a test for as long as it wants, also while others look for free ones.

A socket that is bound and does not listen reserves each. Whoever connects there is refused. A server that
sets SO_REUSEADDR, as all do that are started here, can listen there, again after each of its deaths.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

HOST = "127.0.0.1"


@contextmanager
def reserve_port(port: int = 0) -> Iterator[int]:
    """Yield a port of the loopback interface that nobody else is given while the block runs."""
    with socket.socket() as reserving:
        reserving.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        reserving.bind((HOST, port))
        yield int(reserving.getsockname()[1])


@contextmanager
def reserve_ports(count: int) -> Iterator[int]:
    """Yield the first of so many ports in a row, below those that the kernel gives away as free ones."""
    for first in random.sample(range(21_000, 32_000, count), 300):
        with ExitStack() as reserving:
            try:
                for port in range(first, first + count):
                    reserving.enter_context(reserve_port(port))
            except OSError:
                continue
            yield first
            return
    raise AssertionError(f"no {count} free ports in a row")


@contextmanager
def listen_on(port: int) -> Iterator[None]:
    """Listen on a port while the block runs."""
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listening.bind((HOST, port))
        listening.listen()
        yield
