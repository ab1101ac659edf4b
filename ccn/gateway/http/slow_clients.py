"""A client has so long, and so many bytes, for its headers, and a place: uvicorn's protocols, with an end.

uvicorn limits neither by itself: a thousand connections that send one byte a minute would stay for ever.
Who may stay of many is decided in connection_limit.py, which is told here what a connection does.
"""

from __future__ import annotations

import asyncio

from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from ccn.gateway.http import connection_limit, problems
from ccn.gateway.http.connection_limit import ClientConnection, ConnectionLimit

HEAD_LIMIT = 65_536
_TOO_LONG = f"the head of a request has at most {HEAD_LIMIT} bytes"


def make_protocols(
    door: ConnectionLimit, patience_s: float
) -> tuple[type[HttpToolsProtocol], type[WebSocketsSansIOProtocol]]:
    """For requests and for sockets. uvicorn makes one for each connection, and gives it nothing of ours."""

    class LimitedWebSocket(WebSocketsSansIOProtocol):
        """Keeps the place of the connection that it took over."""

        client_connection: ClientConnection | None = None

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client_connection is not None:
                door.remove_connection(self.client_connection)
            super().connection_lost(exc)

    class LimitedHttp(HttpToolsProtocol):
        """Ends a connection whose next request does not begin in time, or is nothing but headers."""

        _client_connection: ClientConnection
        _late: asyncio.TimerHandle | None = None
        _last = False  # whether what is answered now ends the connection
        _head = 0  # bytes of a head that is not complete
        _chunk = 0
        _complete = True  # the head of the newest request

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._client_connection = door.add_connection(transport, self.client[0] if self.client else "")
            self._late = self.loop.call_later(patience_s, transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            door.remove_connection(self._client_connection)
            self._cancel_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            before, self._chunk = self._complete, len(data)
            super().data_received(data)
            if self._complete and before:
                return
            self._head = 0 if self._complete else self._head + len(data)
            if self.transport.is_closing() or self._complete:
                return
            if self._head > HEAD_LIMIT:
                self.send_400_response(_TOO_LONG)
            elif door.await_request(self._client_connection) is not None:
                self.transport.abort()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._complete = False
            if self._late is None:
                self._late = self.loop.call_later(patience_s, self.transport.close)

        def on_headers_complete(self) -> None:
            self._cancel_timer()
            self._complete = True
            if self._head + self._chunk > HEAD_LIMIT and self._head_size() > HEAD_LIMIT:
                self._answer_instead(problems.answer_status(431, _TOO_LONG))
            elif (refused := door.begin_request(self._client_connection)) is not None:
                self._last = True
                if self.url.partition(b"?")[0] not in connection_limit.ALWAYS:
                    self._answer_instead(problems.answer_error(refused))
            super().on_headers_complete()
            if self._last:
                self.cycle.keep_alive = False

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle.response_complete and not self.transport.is_closing():
                door.await_request(self._client_connection)

        def handle_websocket_upgrade(self) -> None:
            super().handle_websocket_upgrade()
            taken = self.transport.get_protocol()
            assert isinstance(taken, LimitedWebSocket)
            taken.client_connection = self._client_connection

        def _answer_instead(self, instead: ASGIApp) -> None:
            """Answer so in place of the application, and end the connection."""
            self.app, self._last = instead, True

        def _should_upgrade(self) -> bool:
            return not self._last and super()._should_upgrade()

        def _unsupported_upgrade_warning(self) -> None:
            """The answer says what there is to say."""

        def _head_size(self) -> int:
            return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

        def _cancel_timer(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return LimitedHttp, LimitedWebSocket
