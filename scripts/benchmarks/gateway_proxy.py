"""The floor of the gateway role: a bare proxy that passes a gRPC stream on as HTTP, and does nothing else.

Two processes, over the peers' kind of link: mutual TLS between them, the same servers, one call a turn. The
host speaks a reply of as many pieces as a short turn has, and the proxy passes each on as it came. What the
proxy adds is what two processes on this machine cannot do without. Imports little, so that it starts fast.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import grpc.aio  # type: ignore[import-untyped]
import uvicorn
import uvloop

from ccn.certificates import identity, issuing
from ccn.core.ids import NodeId

HOST, PROXY = NodeId("host"), NodeId("proxy")
PIECES = 6
PAUSE_S = 0.001
_METHOD = "/bare/Serve"
_Pieces = Callable[[bytes], AsyncIterator[bytes]]


def issue_certificates(folder: Path) -> None:
    """Put there what both know each other by."""
    now = datetime.now(UTC)
    authority = issuing.issue_authority(now)
    (folder / "ca.pem").write_bytes(authority.certificate)
    for name in (HOST, PROXY):
        issued = issuing.issue_certificate(authority, name, ["127.0.0.1"], now)
        (folder / f"{name}.pem").write_bytes(issued.certificate)
        (folder / f"{name}.key").write_bytes(issued.key)


async def _speak(_: bytes) -> AsyncGenerator[bytes]:
    yield b"event: accepted\ndata: {}\n\n"
    for number in range(PIECES):
        await asyncio.sleep(PAUSE_S)
        yield b'id: %d\nevent: delta\ndata: {"text": "some words "}\n\n' % number
    yield b"event: done\ndata: {}\n\n"


async def _run_host(folder: Path, link: int, port: int) -> None:
    async def serve(data: bytes, context: Any) -> None:
        async for piece in _speak(data):
            await context.write(piece)

    handlers = {"Serve": grpc.unary_stream_rpc_method_handler(serve)}
    server = grpc.aio.server()
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("bare", handlers),))
    ca, key, certificate = _read_pems(folder, HOST)
    credentials = grpc.ssl_server_credentials([(key, certificate)], ca, require_client_auth=True)
    server.add_secure_port(f"127.0.0.1:{link}", credentials)
    await server.start()
    await _serve_http(port, _speak)


async def _run_proxy(folder: Path, link: int, port: int) -> None:
    ca, key, certificate = _read_pems(folder, PROXY)
    credentials = grpc.ssl_channel_credentials(ca, key, certificate)
    options = (("grpc.ssl_target_name_override", identity.server_name(HOST)),)
    async with grpc.aio.secure_channel(f"127.0.0.1:{link}", credentials, options=options) as channel:
        await channel.channel_ready()
        serve = channel.unary_stream(_METHOD)
        await _serve_http(port, lambda data: aiter(serve(data, timeout=60)))


async def _serve_http(port: int, answer: _Pieces) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        data = (await receive())["body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})
        async for piece in answer(data):
            await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b""})

    config = uvicorn.Config(
        app, port=port, loop="none", http="httptools", lifespan="off", log_level="critical"
    )
    await uvicorn.Server(config).serve()


def _read_pems(folder: Path, name: str) -> tuple[bytes, bytes, bytes]:
    return tuple((folder / file).read_bytes() for file in ("ca.pem", f"{name}.key", f"{name}.pem"))  # type: ignore[return-value]


def main(folder: Path, link: int, name: str, port: int) -> None:
    """Be the host or the proxy."""
    run = _run_host if name == HOST else _run_proxy
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run(folder, link, port))


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3], int(sys.argv[4]))
