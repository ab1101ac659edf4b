"""Limits the time and the bytes that a client has for its headers: uvicorn's protocols with an end.

uvicorn limits neither. A thousand connections that send one byte a minute would stay for ever. This module
reports what each connection does to `connection_limit`, which decides which connections may stay.
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
    connections: ConnectionLimit, patience_s: float
) -> tuple[type[HttpToolsProtocol], type[WebSocketsSansIOProtocol]]:
    """Make the protocol classes for HTTP and for WebSockets.

    uvicorn makes an instance for each connection and passes it no argument of ours, so the classes close
    over the arguments of this function.
    """

    class LimitedWebSocket(WebSocketsSansIOProtocol):
        """Keeps the place of the HTTP connection that became this WebSocket."""

        client_connection: ClientConnection | None = None

        def connection_lost(self, exc: Exception | None) -> None:
            if self.client_connection is not None:
                connections.remove_connection(self.client_connection)
            super().connection_lost(exc)

    class LimitedHttp(HttpToolsProtocol):
        """Ends a connection whose next request does not come in time, or has too large a head."""

        _client_connection: ClientConnection
        _head_timer: asyncio.TimerHandle | None = None
        _last = False  # whether the connection ends after the answer to the request that is under way
        _head_bytes = 0  # received of a head that is not complete
        _chunk_bytes = 0  # of the data that is being parsed
        _complete = True  # whether the head of the newest request is complete

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._client_connection = connections.add_connection(
                transport, self.client[0] if self.client else ""
            )
            self._head_timer = self.loop.call_later(patience_s, transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            connections.remove_connection(self._client_connection)
            self._cancel_timer()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            was_complete, self._chunk_bytes = self._complete, len(data)
            super().data_received(data)
            if self._complete and was_complete:
                return
            self._head_bytes = 0 if self._complete else self._head_bytes + len(data)
            if self.transport.is_closing() or self._complete:
                return
            if self._head_bytes > HEAD_LIMIT:
                self.send_400_response(_TOO_LONG)
            elif connections.await_request(self._client_connection) is not None:
                self.transport.abort()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._complete = False
            if self._head_timer is None:
                self._head_timer = self.loop.call_later(patience_s, self.transport.close)

        def on_headers_complete(self) -> None:
            self._cancel_timer()
            self._complete = True
            if self._head_bytes + self._chunk_bytes > HEAD_LIMIT and self._head_size() > HEAD_LIMIT:
                self._answer_instead(problems.answer_status(431, _TOO_LONG))
            elif (refused := connections.begin_request(self._client_connection)) is not None:
                self._last = True
                if self.url.partition(b"?")[0] not in connection_limit.ALWAYS:
                    self._answer_instead(problems.answer_error(refused))
            super().on_headers_complete()
            if self._last:
                self.cycle.keep_alive = False

        def on_response_complete(self) -> None:
            super().on_response_complete()
            if self.cycle.response_complete and not self.transport.is_closing():
                connections.await_request(self._client_connection)

        def handle_websocket_upgrade(self) -> None:
            super().handle_websocket_upgrade()
            websocket = self.transport.get_protocol()
            assert isinstance(websocket, LimitedWebSocket)
            websocket.client_connection = self._client_connection

        def _answer_instead(self, response: ASGIApp) -> None:
            """Send this response in place of the application's, and end the connection."""
            self.app, self._last = response, True

        def _should_upgrade(self) -> bool:
            return not self._last and super()._should_upgrade()

        def _unsupported_upgrade_warning(self) -> None:
            """Log nothing: the answer says that the upgrade failed."""

        def _head_size(self) -> int:
            return len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers)

        def _cancel_timer(self) -> None:
            if self._head_timer is not None:
                self._head_timer.cancel()
                self._head_timer = None

    return LimitedHttp, LimitedWebSocket
