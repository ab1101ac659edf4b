"""Who may be connected to the HTTP door, so that no address keeps the others out.

A connection is silent until its first byte, waits while no request of it is complete, and is busy while one
is answered. At a limit whoever has waited longest gives way: of its own address first, then of all. Silent
ones take nobody's place, so a flood of them cannot push out somebody whose request comes with its first
bytes. Only where all are busy is anybody turned away, and then `/health` and `/ready` are answered still.
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
"""Answered from memory, however many are here: a node that is full must not look like one that is dead."""
BACKLOG = 1_024
"""Connections that may wait to be accepted; of those that were, as many may have said nothing yet."""


class ClientConnection:
    """One connection; `place` is None until it has said something."""

    __slots__ = ("address", "place", "transport")

    def __init__(self, transport: asyncio.Transport, address: str) -> None:
        self.transport, self.address = transport, address
        self.place: _AddressConnections | None = None


class _AddressConnections:
    """What one address has here."""

    __slots__ = ("seated", "waiting")

    def __init__(self) -> None:
        self.seated = 0
        self.waiting = dict[ClientConnection, None]()


class ConnectionLimit:
    """The connections of one door."""

    def __init__(self, chosen: settings.HttpSettings) -> None:
        self._limit, self._of_one = chosen.connection_limit, chosen.address_limit
        self._silent_limit = silent_limit(chosen)
        self._proxies = trusted_proxies(chosen)
        self._silent = dict[ClientConnection, None]()
        self._waiting = dict[ClientConnection, None]()
        self._addresses = dict[str, _AddressConnections]()
        self._seated = 0

    def add_connection(self, transport: asyncio.Transport, host: str) -> ClientConnection:
        """A connection was made, and has said nothing yet. Whose one of a proxy is, nobody knows here."""
        visitor = ClientConnection(
            transport, "" if host in self._proxies else limiting.normalise_address(host)
        )
        self._silent[visitor] = None
        if len(self._silent) > self._silent_limit:
            self._turn_out(next(iter(self._silent)), "silent")
        return visitor

    def begin_request(self, visitor: ClientConnection) -> errors.Unavailable | None:
        """A request of it is complete; why it cannot be answered now, if so."""
        if (refused := self._take_place(visitor)) is None:
            self._stop_waiting(visitor)
        return refused

    def await_request(self, visitor: ClientConnection) -> errors.Unavailable | None:
        """It has said something, and the next request is not complete; why it cannot stay, if so."""
        if (refused := self._take_place(visitor)) is None and visitor.place is not None:
            self._waiting[visitor] = visitor.place.waiting[visitor] = None
        return refused

    def remove_connection(self, visitor: ClientConnection) -> None:
        """The connection has ended; saying it twice changes nothing."""
        self._silent.pop(visitor, None)
        self._stop_waiting(visitor)
        if (place := visitor.place) is None:
            return
        visitor.place = None
        self._seated -= 1
        place.seated -= 1
        if not place.seated:
            del self._addresses[visitor.address]

    def _take_place(self, visitor: ClientConnection) -> errors.Unavailable | None:
        """A place for it, and be it that of whoever has waited longest."""
        if visitor.place is not None:
            return None
        here = self._addresses.get(visitor.address)
        if visitor.address and here is not None and here.seated >= self._of_one:
            refused = self._make_room(here.waiting, "address", crowded_error(self._of_one))
        elif self._seated >= self._limit:
            full = errors.Overloaded(f"all {self._limit} connections of this node are busy")
            refused = self._make_room(self._waiting, "full", full)
        else:
            refused = None
        if refused is None:
            self._silent.pop(visitor, None)
            visitor.place = self._addresses.setdefault(visitor.address, _AddressConnections())
            visitor.place.seated += 1
            self._seated += 1
        return refused

    def _make_room(
        self, waiting: dict[ClientConnection, None], why: str, otherwise: errors.Unavailable
    ) -> errors.Unavailable | None:
        if not waiting:
            metrics.count_turned_away("http", why)
            return otherwise
        self._turn_out(next(iter(waiting)), why)
        return None

    def _turn_out(self, visitor: ClientConnection, why: str) -> None:
        metrics.count_turned_away("http", why)
        self.remove_connection(visitor)
        visitor.transport.abort()  # what it never read would keep a closed one open for a minute

    def _stop_waiting(self, visitor: ClientConnection) -> None:
        self._waiting.pop(visitor, None)
        if visitor.place is not None:
            visitor.place.waiting.pop(visitor, None)


class ForwardedLimit:
    """The application behind proxies: of each address that they name, so many requests at once."""

    def __init__(self, app: ASGIApp, chosen: settings.HttpSettings) -> None:
        self._app, self._limit, self._proxies = app, chosen.address_limit, trusted_proxies(chosen)
        self._running = Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, unless too many of its address are under way."""
        host, _ = scope.get("client") or ("", 0)
        if host in self._proxies or scope["path"].encode() in ALWAYS:
            await self._app(scope, receive, send)
            return
        address = limiting.normalise_address(host)
        if self._running[address] >= self._limit:
            metrics.count_turned_away("http", "address")
            await problems.answer_error(crowded_error(self._limit))(scope, receive, send)
            return
        self._running[address] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._running[address] -= 1
            if not self._running[address]:
                del self._running[address]


def silent_limit(chosen: settings.HttpSettings) -> int:
    """How many connections may have said nothing yet, besides those that have."""
    return min(BACKLOG, chosen.connection_limit)


def crowded_error(limit: int) -> errors.TooManyRequests:
    """Said to an address that has too much open."""
    return errors.TooManyRequests(f"{limit} connections of this address are busy; end some, or wait")


def trusted_proxies(chosen: settings.HttpSettings) -> Container[str]:
    """The addresses of proxies that are trusted, as the server itself reads them."""
    trusted = ProxyHeadersMiddleware(_no_app, list(chosen.trusted_proxies)).trusted_hosts
    return cast("Container[str]", trusted)


async def _no_app(*_: object) -> None:
    return
