"""Ports that belong to a test for as long as it wants, whoever else looks for a free one meanwhile.

A socket that is bound and does not listen holds each. Whoever connects there is refused, and a server that
sets SO_REUSEADDR, as all do that are started here, can listen there, again after each of its deaths.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager

HOST = "127.0.0.1"


@contextmanager
def held() -> Iterator[int]:
    """A port of the loopback interface that nobody else is given while the block runs."""
    with socket.socket() as holding:
        holding.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holding.bind((HOST, 0))
        yield int(holding.getsockname()[1])


@contextmanager
def listening(port: int) -> Iterator[None]:
    """Somebody who listens there while the block runs."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((HOST, port))
        taken.listen()
        yield
