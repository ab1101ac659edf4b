"""An end of TLS before a server that has none, or none of this age: it passes on what arrives.

The embedded PostgreSQL is built without TLS, and the embedded etcd knows nothing newer than TLS 1.2. With
this before them, the real clients, the real TLS and the real servers take part, and a test decides what is
shown.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from urllib.parse import urlsplit

_SSL_REQUEST = bytes.fromhex("0000000804d2162f")
"""What a client of PostgreSQL says first that wants TLS: a length of 8, and 80877103."""


class TlsProxy:
    """Serves each connection with the context that it has at that moment."""

    def __init__(self, target: str, context: ssl.SSLContext | None, request: bytes = b"") -> None:
        """`target` is host:port; `request` is how clients ask for TLS, where they do it in the clear."""
        host, _, port = target.partition(":")
        self._target = (host, int(port))
        self._request = request
        self.context = context
        self.port = 0
        self.versions = list[str | None]()
        """Of each connection that got as far as a session."""
        self.shown = list[str | None]()
        """The serial numbers of the certificates that those clients showed."""
        self._tasks = set[asyncio.Task[None]]()

    @property
    def endpoint(self) -> str:
        return f"127.0.0.1:{self.port}"

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """End every connection, as a server does that is started again; new ones are served."""
        for task in list(self._tasks):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        # A cancelled task of a server is complained about, so it ends here instead.
        ended = (OSError, asyncio.IncompleteReadError, asyncio.CancelledError)
        with contextlib.closing(writer), contextlib.suppress(*ended):
            if await reader.readexactly(len(self._request)) != self._request or self.context is None:
                writer.write(b"N")
                return
            writer.write(b"S" if self._request else b"")
            client = _TlsEnd(self.context, reader, writer)
            await client.shake_hands()
            self.versions.append(client.version)
            self.shown.append(client.shown)
            await self._pass_on(client)

    async def _pass_on(self, client: _TlsEnd) -> None:
        from_database, to_database = await asyncio.open_connection(*self._target)
        with contextlib.closing(to_database):
            pipes = [
                asyncio.create_task(_pump(client.read, to_database.write)),
                asyncio.create_task(_pump(lambda: from_database.read(65_536), client.write)),
            ]
            try:
                await asyncio.wait(pipes, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for pipe in pipes:
                    pipe.cancel()


class DatabaseProxy(TlsProxy):
    """The same before a PostgreSQL."""

    def __init__(self, database: str, context: ssl.SSLContext | None) -> None:
        self._database = urlsplit(database)
        super().__init__(self._database.netloc.rpartition("@")[2], context, _SSL_REQUEST)

    def url(self, query: str, host: str = "localhost") -> str:
        """The address of the database through this proxy."""
        user = self._database.netloc.rpartition("@")[0]
        return self._database._replace(netloc=f"{user}@{host}:{self.port}", query=query).geturl()


class _TlsEnd:
    """The server's end of TLS. That of asyncio closes a connection it refuses without saying why."""

    def __init__(
        self, context: ssl.SSLContext, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._reader, self._writer = reader, writer
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    @property
    def version(self) -> str | None:
        return self._tls.version()

    @property
    def shown(self) -> str | None:
        return str((self._tls.getpeercert() or {}).get("serialNumber"))

    async def shake_hands(self) -> None:
        while True:
            try:
                return self._tls.do_handshake()
            except ssl.SSLWantReadError:
                await self._receive()
            finally:
                self._writer.write(self._outgoing.read())

    async def read(self) -> bytes:
        while True:
            try:
                return self._tls.read(65_536)
            except ssl.SSLWantReadError:
                await self._receive()

    def write(self, data: bytes) -> None:
        self._tls.write(data)
        self._writer.write(self._outgoing.read())

    async def _receive(self) -> None:
        self._writer.write(self._outgoing.read())
        data = await self._reader.read(65_536)
        if not data:
            raise ConnectionResetError
        self._incoming.write(data)


async def _pump(read: Callable[[], Awaitable[bytes]], write: Callable[[bytes], None]) -> None:
    with contextlib.suppress(OSError):
        while data := await read():
            write(data)
