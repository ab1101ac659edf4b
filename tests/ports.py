"""Ports that belong to a test for as long as it wants, whoever else looks for a free one meanwhile.

A socket that is bound and does not listen holds each. Whoever connects there is refused, and a server that
sets SO_REUSEADDR, as all do that are started here, can listen there, again after each of its deaths.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

HOST = "127.0.0.1"


@contextmanager
def held(port: int = 0) -> Iterator[int]:
    """A port of the loopback interface that nobody else is given while the block runs."""
    with socket.socket() as holding:
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holding.bind((HOST, port))
        yield int(holding.getsockname()[1])


@contextmanager
def held_in_a_row(count: int) -> Iterator[int]:
    """The first of so many ports, all of them below those that the kernel gives to whoever asks for one."""
    for first in random.sample(range(21_000, 32_000, count), 300):
        with ExitStack() as holding:
            try:
                for port in range(first, first + count):
                    holding.enter_context(held(port))
            except OSError:
                continue
            yield first
            return
    raise AssertionError(f"no {count} free ports in a row")


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Somebody who listens there while the block runs."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((HOST, port))
        taken.listen()
        yield
