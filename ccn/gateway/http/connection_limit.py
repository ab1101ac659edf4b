"""Decides which connections the HTTP door keeps, so that no address keeps the others out.

    silent   no byte has come: not counted at the limits below, but limited in number
    waiting  no complete request has come, or none since the last answer
    busy     a request is being answered

At the limit of an address, its connection that has waited longest is closed; at the limit of the node, the
one that has waited longest of all. Silent connections take no place from others, so a flood of them cannot
push out a client that sends its request at once. A new connection is refused only if all are busy.
`/health` and `/ready` are answered even then.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Container
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware

from ccn import errors, metrics, settings
from ccn.gateway import limiting
from ccn.gateway.http import problems

ALWAYS = frozenset((b"/health", b"/ready"))
"""Paths that are always answered, from memory: a full node must not look like a dead one."""
BACKLOG = 1_024
"""Connections that may wait to be accepted. As many accepted ones may be silent."""


class ClientConnection:
    """One connection. `place` is None while it is silent."""

    __slots__ = ("address", "place", "transport")

    def __init__(self, transport: asyncio.Transport, address: str) -> None:
        self.transport, self.address = transport, address
        self.place: _AddressConnections | None = None


class _AddressConnections:
    """The connections of one address that are not silent."""

    __slots__ = ("counted", "waiting")

    def __init__(self) -> None:
        self.counted = 0
        self.waiting = dict[ClientConnection, None]()


class ConnectionLimit:
    """The connections of one door."""

    def __init__(self, http: settings.HttpSettings) -> None:
        self._limit, self._address_limit = http.connection_limit, http.address_limit
        self._silent_limit = silent_limit(http)
        self._proxies = trusted_proxies(http)
        self._silent = dict[ClientConnection, None]()
        self._waiting = dict[ClientConnection, None]()
        self._addresses = dict[str, _AddressConnections]()
        self._counted = 0

    def add_connection(self, transport: asyncio.Transport, host: str) -> ClientConnection:
        """Add a new connection, which is silent. One from a trusted proxy counts for no address here."""
        connection = ClientConnection(
            transport, "" if host in self._proxies else limiting.normalise_address(host)
        )
        self._silent[connection] = None
        if len(self._silent) > self._silent_limit:
            self._close_connection(next(iter(self._silent)), "silent")
        return connection

    def begin_request(self, connection: ClientConnection) -> errors.Unavailable | None:
        """Note that a complete request came. Returns an error if it cannot be answered now."""
        if (refused := self._take_place(connection)) is None:
            self._stop_waiting(connection)
        return refused

    def await_request(self, connection: ClientConnection) -> errors.Unavailable | None:
        """Note that the next request is not complete. Returns an error if the connection cannot stay."""
        if (refused := self._take_place(connection)) is None and connection.place is not None:
            self._waiting[connection] = connection.place.waiting[connection] = None
        return refused

    def remove_connection(self, connection: ClientConnection) -> None:
        """Forget a connection that has ended. Removing it twice does no harm."""
        self._silent.pop(connection, None)
        self._stop_waiting(connection)
        if (place := connection.place) is None:
            return
        connection.place = None
        self._counted -= 1
        place.counted -= 1
        if not place.counted:
            del self._addresses[connection.address]

    def _take_place(self, connection: ClientConnection) -> errors.Unavailable | None:
        """Give a connection a place. At a limit, close the longest waiting one, or return an error."""
        if connection.place is not None:
            return None
        same_address = self._addresses.get(connection.address)
        if connection.address and same_address is not None and same_address.counted >= self._address_limit:
            crowded = crowded_error(self._address_limit)
            refused = self._make_room(same_address.waiting, "address", crowded)
        elif self._counted >= self._limit:
            full = errors.Overloaded(f"all {self._limit} connections of this node are busy")
            refused = self._make_room(self._waiting, "full", full)
        else:
            refused = None
        if refused is None:
            self._silent.pop(connection, None)
            connection.place = self._addresses.setdefault(connection.address, _AddressConnections())
            connection.place.counted += 1
            self._counted += 1
        return refused

    def _make_room(
        self, waiting: dict[ClientConnection, None], reason: str, error: errors.Unavailable
    ) -> errors.Unavailable | None:
        if not waiting:
            metrics.doors.count_turned_away("http", reason)
            return error
        self._close_connection(next(iter(waiting)), reason)
        return None

    def _close_connection(self, connection: ClientConnection, reason: str) -> None:
        metrics.doors.count_turned_away("http", reason)
        self.remove_connection(connection)
        connection.transport.abort()  # unread data would keep a closed one open for a minute

    def _stop_waiting(self, connection: ClientConnection) -> None:
        self._waiting.pop(connection, None)
        if connection.place is not None:
            connection.place.waiting.pop(connection, None)


class ForwardedLimit:
    """Wraps the application behind proxies: limits the requests at once of each address that they name."""

    def __init__(self, app: ASGIApp, http: settings.HttpSettings) -> None:
        self._app, self._limit, self._proxies = app, http.address_limit, trusted_proxies(http)
        self._running = Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless too many of its address are under way."""
        host, _ = scope.get("client") or ("", 0)
        if host in self._proxies or scope["path"].encode() in ALWAYS:
            await self._app(scope, receive, send)
            return
        address = limiting.normalise_address(host)
        if self._running[address] >= self._limit:
            metrics.doors.count_turned_away("http", "address")
            await problems.answer_error(crowded_error(self._limit))(scope, receive, send)
            return
        self._running[address] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running[address] -= 1
            if not self._running[address]:
                del self._running[address]


def silent_limit(http: settings.HttpSettings) -> int:
    """How many connections may be silent, besides those that are counted at the limit."""
    return min(BACKLOG, http.connection_limit)


def crowded_error(limit: int) -> errors.TooManyRequests:
    """The error for an address whose connections are all busy."""
    return errors.TooManyRequests(f"{limit} connections of this address are busy; end some, or wait")


def trusted_proxies(http: settings.HttpSettings) -> Container[str]:
    """The addresses of trusted proxies, parsed as uvicorn parses them."""
    trusted = ProxyHeadersMiddleware(_no_app, list(http.trusted_proxies)).trusted_hosts
    return cast("Container[str]", trusted)


async def _no_app(*_: object) -> None:
    return
