"""An embedded etcd of one member: one call starts it, and leaving the block stops it and forgets its data.

    async with etcd.run_etcd() as server:
        ... connect to server.endpoints ...

Separate from PostgreSQL because it keeps nothing. etcd tells who is here and who leads, so every start
begins with an empty folder. Killed, it comes back on the same port with its data. If it cannot read them
any more, it comes back empty, which is harmless and must stay so.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from ccn.embedded import binaries, child, failures, folder, ports, scratch, supervision
from ccn.embedded.child import Child
from ccn.embedded.supervision import USUAL, Backoff, ChildEvent, SupervisedChild

STOP = ((signal.SIGTERM, 3.0),)
ROOM = 16 * 1024**2
_READY_TIMEOUT_S = 30.0
_ANSWER_TIMEOUT_S = 2.0
_ANSWER_LIMIT = 64 * 1024
_POLL_S = 0.01


@dataclass(frozen=True, slots=True)
class EmbeddedEtcd:
    """A running etcd. `endpoints` are host:port, as the setting etcd.endpoints takes them."""

    endpoints: tuple[str, ...]
    data: Path
    supervised: SupervisedChild = field(repr=False)

    @property
    def pid(self) -> int:
        """The process id of the server now. After a death it comes back with another one."""
        return self.supervised.pid


@asynccontextmanager
async def run_etcd(
    *,
    bin: Path | None = None,  # noqa: A002 - the name of the setting
    port: int = 0,
    backoff: Backoff = USUAL,
    on_event: Callable[[ChildEvent], None] = lambda _: None,
) -> AsyncIterator[EmbeddedEtcd]:
    """Run etcd on the loopback interface until the block ends; `port` 0 takes a free one.

    `bin` is the program (setting etcd.bin), `backoff` how soon it comes back after a death. Every failure
    is an `EmbeddedFailed` that says what to do.
    """
    program = await asyncio.to_thread(binaries.find_etcd, bin)
    if port:
        ports.check_port_free(port)
    with scratch.scratch_folder("etcd") as place:
        folder.ensure_room(place, ROOM)
        async with AsyncExitStack() as stack:

            def serve_ports(*chosen: int) -> AbstractAsyncContextManager[EmbeddedEtcd]:
                client, peer = chosen if len(chosen) == 2 else (port, chosen[0])
                return _supervise_etcd(program, place, client, peer, backoff=backoff, on_event=on_event)

            yield await ports.serve_on_free_ports(stack, 1 if port else 2, serve_ports)


@asynccontextmanager
async def _supervise_etcd(
    program: Path,
    place: Path,
    client: int,
    peer: int,
    *,
    backoff: Backoff,
    on_event: Callable[[ChildEvent], None],
) -> AsyncIterator[EmbeddedEtcd]:
    data, log = place / "data", place / "etcd.log"
    # By this name it is told from another etcd that was faster on the same port.
    name = f"embedded-{secrets.token_hex(8)}"
    since, readable = 0, False

    def start_server() -> Child:
        nonlocal since, readable
        if not readable:
            # The start before this one never answered, perhaps because of what lies there.
            shutil.rmtree(data, ignore_errors=True)
        readable = False
        with folder.translate_refusals(place):
            folder.rotate_log(log)
        since = failures.log_size(log)
        return child.start(
            _etcd_command(program, name, data, client, peer),
            death_signal=signal.SIGKILL,
            output=log,
            env=child.bare_environment(),
            cwd=Path("/"),
        )

    async def wait_until_ready(server: Child) -> None:
        nonlocal readable
        until = time.monotonic() + _READY_TIMEOUT_S
        while not await _is_answering(name, client):
            code = server.code
            if code is not None or time.monotonic() > until:
                why = (
                    child.describe_exit(code)
                    if code is not None
                    else f"not healthy after {_READY_TIMEOUT_S:.0f} s"
                )
                raise failures.explain_failure(
                    f"etcd ({program}) did not start: {why}", log, since, stays=False
                )
            await asyncio.sleep(_POLL_S)
        readable = True

    async with supervision.supervise_child(
        "etcd", start_server, ready=wait_until_ready, stop=STOP, backoff=backoff, on_event=on_event
    ) as supervised:
        yield EmbeddedEtcd((f"{ports.HOST}:{client}",), data, supervised)


def _etcd_command(program: Path, name: str, data: Path, client: int, peer: int) -> list[str | Path]:
    client_url, peer_url = (f"http://{ports.HOST}:{port}" for port in (client, peer))
    flags = {
        "name": name,
        "data-dir": data,
        "listen-client-urls": client_url,
        "advertise-client-urls": client_url,
        "listen-peer-urls": peer_url,
        "initial-advertise-peer-urls": peer_url,
        "initial-cluster": f"{name}={peer_url}",
        # Counts only without data: so an etcd that begins again with nothing shows that it is another one.
        "initial-cluster-token": secrets.token_hex(8),
        "heartbeat-interval": 50,
        "election-timeout": 500,
        # A history of keys that nobody reads must not grow for as long as the cluster runs.
        "auto-compaction-mode": "periodic",
        "auto-compaction-retention": "1h",
        "logger": "zap",
        "log-level": "warn",
    }
    return [program, "--unsafe-no-fsync", *(f"--{name}={value}" for name, value in flags.items())]


async def _is_answering(name: str, port: int) -> bool:
    """Whether the etcd that listens there is healthy, and is the one called `name`."""
    with suppress(OSError, TimeoutError):
        if b'"health":"true"' not in await _ask_etcd(port, "GET /health"):
            return False
        return f'"name":"{name}"'.encode() in await _ask_etcd(port, "POST /v3/cluster/member/list", b"{}")
    return False


async def _ask_etcd(port: int, request: str, body: bytes = b"") -> bytes:
    async with asyncio.timeout(_ANSWER_TIMEOUT_S):
        return await _exchange_http(port, request, body)


async def _exchange_http(port: int, request: str, body: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(ports.HOST, port)
    try:
        head = f"{request} HTTP/1.0\r\nHost: {ports.HOST}:{port}\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = b""
        while len(answer) < _ANSWER_LIMIT and (part := await reader.read(_ANSWER_LIMIT)):
            answer += part
        return answer
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
