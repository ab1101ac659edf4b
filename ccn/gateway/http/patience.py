"""A client has so long, and so many bytes, for its headers: uvicorn's protocol, with an end.

uvicorn limits neither by itself: a thousand connections that send one byte a minute would stay for ever.
"""

from __future__ import annotations

import asyncio

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_LIMIT = 65_536


def protocol(patience_s: float) -> type[HttpToolsProtocol]:
    """uvicorn makes one of these for each connection, and gives it no settings of ours."""

    class Impatient(HttpToolsProtocol):
        """Ends a connection whose next request does not begin in time, or is nothing but headers."""

        _late: asyncio.TimerHandle | None = None
        _head = 0
        _complete = True  # the head of the newest request

        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            super().connection_made(transport)
            self._late = self.loop.call_later(patience_s, transport.close)

        def connection_lost(self, exc: Exception | None) -> None:
            self._in_time()
            super().connection_lost(exc)

        def data_received(self, data: bytes) -> None:
            before = self._complete
            super().data_received(data)
            if self._complete and before:
                return
            self._head = 0 if self._complete else self._head + len(data)
            if self._head > HEAD_LIMIT and not self.transport.is_closing():
                self.send_400_response("The headers are too long.")

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self._complete = False
            if self._late is None:
                self._late = self.loop.call_later(patience_s, self.transport.close)

        def on_headers_complete(self) -> None:
            self._in_time()
            self._complete = True
            super().on_headers_complete()

        def _in_time(self) -> None:
            if self._late is not None:
                self._late.cancel()
                self._late = None

    return Impatient
