"""A real Redis for the tests of the rate limits: used where the program is installed, else left out aloud.

`.ci/run` installs Debian's where it may. CCN_TEST_REDIS=required makes it an error to leave it out.
"""

from __future__ import annotations

import asyncio
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.support import ports, processes

PROGRAM = shutil.which("redis-server") or ""
LEFT_OUT = "" if PROGRAM else "Redis, because there is no redis-server"
_READY_S = 60.0


@dataclass
class Redis:
    """A server on a port of its own that can be killed, frozen and started again."""

    port: int
    folder: Path
    options: tuple[str, ...] = ()
    """What it is started with besides; with `--tls-port` it listens there, and in the clear nowhere."""
    process: asyncio.subprocess.Process | None = None

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    async def start(self) -> None:
        listens = f"--tls-port {self.port} --port 0" if self.options else f"--port {self.port}"
        options = f"{listens} --bind 127.0.0.1 --save --appendonly no --loglevel warning".split()
        self.process = await asyncio.create_subprocess_exec(
            PROGRAM,
            *options,
            *self.options,
            "--dir",
            str(self.folder),
            stdout=asyncio.subprocess.DEVNULL,
            preexec_fn=processes.tied(),
        )
        async with asyncio.timeout(_READY_S):
            while not await self._answers():
                await asyncio.sleep(0.01)

    async def kill(self) -> None:
        if self.process is not None:
            self.process.kill()
            await self.process.wait()
            self.process = None

    def freeze(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        assert self.process is not None
        self.process.send_signal(signal.SIGCONT)

    async def _answers(self) -> bool:
        try:
            reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        except OSError:
            return False
        if self.options:  # which answers nobody in the clear
            writer.close()
            return True
        writer.write(b"PING\r\n")
        answer = await reader.readline()
        writer.close()
        await writer.wait_closed()
        return answer == b"+PONG\r\n"


@asynccontextmanager
async def running(*options: str) -> AsyncIterator[Redis]:
    """A server with nothing in it; the options are those of its TLS."""
    with ports.reserve_port() as port, tempfile.TemporaryDirectory(prefix="ccn-redis-") as folder:
        server = Redis(port, Path(folder), options)
        await server.start()
        try:
            yield server
        finally:
            await server.kill()
