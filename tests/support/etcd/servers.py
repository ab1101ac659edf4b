"""Real etcd servers that a test may kill, freeze, restart and wipe, and a proxy that loses answers."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import signal
import subprocess
import time
import urllib.request
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

from ccn.embedded import binaries
from tests.support import ports, processes

PATIENT_S = 10.0
"""The deadline of a call whose lateness is not what is tested."""


def _program() -> Path:
    chosen = os.environ.get("CCN_ETCD_BIN")
    return binaries.find_etcd(Path(chosen) if chosen else None)


class Server:
    """One etcd process and its data directory, on ports that are held for it."""

    def __init__(self, name: str, folder: Path, chosen: Sequence[int]) -> None:
        self.name = name
        self.data = folder / name
        self.log = folder / f"{name}.log"
        self.endpoint, self.peer, self.metrics = (f"{ports.HOST}:{port}" for port in chosen)
        self.token = "first life"
        self.cluster: list[Server] = [self]
        self.tls: list[str] = []
        self.options: list[str] = []
        self.program = _program()
        self.process: subprocess.Popen[bytes] | None = None

    def launch(self) -> None:
        scheme = "https" if self.tls else "http"
        command = [
            *(str(self.program), "--name", self.name, "--data-dir", str(self.data), "--logger", "zap"),
            *("--listen-client-urls", f"{scheme}://{self.endpoint}"),
            *("--advertise-client-urls", f"{scheme}://{self.endpoint}"),
            *("--listen-peer-urls", f"http://{self.peer}"),
            *("--initial-advertise-peer-urls", f"http://{self.peer}"),
            *("--initial-cluster", ",".join(f"{peer.name}=http://{peer.peer}" for peer in self.cluster)),
            *("--initial-cluster-token", self.token),
            *("--listen-metrics-urls", f"http://{self.metrics}"),
            *("--heartbeat-interval", "50", "--election-timeout", "500", "--unsafe-no-fsync"),
            *self.tls,
            *self.options,
        ]
        with self.log.open("ab") as log:
            self.process = processes.start(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def wait_until_healthy(self, within_s: float = 60.0) -> None:
        deadline = time.monotonic() + within_s
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                if '"true"' in self._fetch("health"):
                    return
            assert self.process
            assert self.process.poll() is None, self.log.read_text()[-2000:]
            time.sleep(0.02)
        raise AssertionError(f"{self.name} did not become healthy: {self.log.read_text()[-2000:]}")

    def start(self) -> None:
        self.launch()
        self.wait_until_healthy()

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)

    def freeze(self) -> None:
        assert self.process
        self.send(signal.SIGSTOP)
        os.waitpid(self.process.pid, os.WUNTRACED)  # every thread has stopped

    def thaw(self) -> None:
        self.send(signal.SIGCONT)

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    def stop(self) -> None:
        """Orderly: without fsync a killed etcd may lose what it acknowledged last."""
        self.send(signal.SIGTERM)
        self._reap()

    def kill(self) -> None:
        self.send(signal.SIGKILL)
        self._reap()

    def wipe(self, token: str = "first life") -> None:
        """Begin again with nothing. The same token and addresses give the same cluster id."""
        self.kill()
        shutil.rmtree(self.data)
        self.token = token
        self.start()

    def calls(self, method: str) -> int:
        """How often clients called `method` on this server."""
        counted = re.findall(
            rf'grpc_server_started_total{{grpc_method="{method}".*}} (\d+)', self._fetch("metrics")
        )
        return sum(map(int, counted))

    def leads(self) -> bool:
        return "etcd_server_is_leader 1" in self._fetch("metrics")

    def _fetch(self, path: str) -> str:
        with urllib.request.urlopen(f"http://{self.metrics}/{path}", timeout=30) as answer:
            return str(answer.read().decode())

    def _reap(self) -> None:
        assert self.process
        self.process.wait(30)


class Proxy:
    """A userland wire to one etcd server that can lose or delay what passes."""

    def __init__(self, target: str) -> None:
        self.host, port = target.split(":")
        self.port = int(port)
        self.endpoint = ""
        self.lose_requests = False
        self.lose_answers = False
        self.delay_answers_s = 0.0
        self.last_request_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[Proxy]:
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        self.endpoint = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()
            self.cut()
            await asyncio.gather(*self._tasks, return_exceptions=True)

    def cut(self) -> None:
        """Close every connection; new ones are served."""
        for task in list(self._tasks):
            task.cancel()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_etcd = await asyncio.open_connection(self.host, self.port)
        for pipe in (self._requests(reader, to_etcd[1]), self._answers(to_etcd[0], writer)):
            task = asyncio.create_task(pipe)
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _requests(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(target):
            while data := await source.read(65_536):
                if not self.lose_requests:
                    self.last_request_at = asyncio.get_running_loop().time()
                    target.write(data)

    async def _answers(self, source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError), contextlib.closing(target):
            while data := await source.read(65_536):
                if not self.lose_answers:
                    asyncio.get_running_loop().call_later(self.delay_answers_s, target.write, data)


@contextlib.contextmanager
def servers_in(
    folder: Path,
    names: list[str],
    tls: list[str],
    options: list[str] | None = None,
    program: Path | None = None,
) -> Iterator[list[Server]]:
    with contextlib.ExitStack() as holding:
        chosen = [[holding.enter_context(ports.reserve_port()) for _ in range(3)] for _ in names]
        servers = [Server(name, folder, own) for name, own in zip(names, chosen, strict=True)]
        try:
            for server in servers:
                server.cluster, server.tls, server.options = servers, tls, options or []
                server.program = program or server.program
                server.launch()
            for server in servers:
                server.wait_until_healthy()
            yield servers
        finally:
            for server in servers:
                if server.running:
                    server.kill()
