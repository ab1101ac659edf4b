"""Accepts connections, and lets those through that agree on TLS in time.

A server of the event loop would let strangers begin a handshake, any number of them, and wait a minute for
each. Here they have a few seconds, and of too many the oldest gives way, as with connections in the clear.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Callable
from functools import partial

import structlog

from ccn import metrics

_OUT_OF_FILES_S = 0.1

log = structlog.get_logger(__name__)


class TlsListener:
    """The connections to one door that have not agreed on TLS yet."""

    def __init__(
        self,
        listening: socket.socket,
        tls: ssl.SSLContext,
        make_protocol: Callable[[], asyncio.Protocol],
        *,
        within_s: float,
        limit: int,
    ) -> None:
        """`make_protocol` makes what serves a connection that is let through."""
        self._listening, self._tls, self._make_protocol = listening, tls, make_protocol
        self._within_s, self._limit = within_s, limit
        self._handshakes = dict[asyncio.Task[None], None]()
        self._loop, self._is_closed = asyncio.get_running_loop(), False
        listening.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept no more connections, and end those that have not got further than this."""
        self._is_closed = True
        self._loop.remove_reader(self._listening)  # now, since the socket itself is closed next
        for task in self._handshakes:
            task.cancel()

    async def wait_closed(self) -> None:
        """Return when they have ended."""
        await asyncio.gather(*self._handshakes, return_exceptions=True)

    def _listen(self) -> None:
        if not self._is_closed:
            self._loop.add_reader(self._listening, self._accept_connections)

    def _accept_connections(self) -> None:
        try:
            while True:
                self._begin_handshake(self._listening.accept()[0])
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            pass  # all of them are accepted, or the next has gone again
        except OSError as refused:  # no file is left: without a pause this would be asked for ever
            log.warning("a connection could not be accepted", reason=refused.strerror)
            self._loop.remove_reader(self._listening)
            self._loop.call_later(_OUT_OF_FILES_S, self._listen)

    def _begin_handshake(self, connection: socket.socket) -> None:
        connection.setblocking(False)
        task = asyncio.create_task(self._shake_hands(connection), name="http handshake")
        self._handshakes[task] = None
        task.add_done_callback(partial(self._end_handshake, connection))
        if len(self._handshakes) > self._limit:
            metrics.doors.count_turned_away("http", "silent")
            next(iter(self._handshakes)).cancel()

    async def _shake_hands(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):  # those of TLS are some too, and the other end has been told
            await self._loop.connect_accepted_socket(
                self._make_protocol, connection, ssl=self._tls, ssl_handshake_timeout=self._within_s
            )
            return
        connection.close()

    def _end_handshake(self, connection: socket.socket, task: asyncio.Task[None]) -> None:
        del self._handshakes[task]
        if task.cancelled():  # perhaps before it had begun
            connection.close()
