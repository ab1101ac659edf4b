"""A switch and machines, each a network namespace, and the servers' addresses as machines see them.

    servers   10.77.0.1    PostgreSQL, etcd and the model listen on its loopback; relays make them reachable
    machine N 10.77.0.1N   one node

Everything is new and has a name of its own; nothing reaches the network of the real machine.
"""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
from collections.abc import AsyncIterator
from dataclasses import dataclass

SERVERS = "10.77.0.1"


@dataclass(frozen=True, slots=True)
class MachineNetwork:
    """The namespaces of one proof; `name` begins all of theirs."""

    name: str
    machines: int

    @property
    def servers(self) -> str:
        """The namespace of the servers and of whoever talks."""
        return f"{self.name}-servers"

    def machine(self, number: int) -> str:
        """The namespace of a machine."""
        return f"{self.name}-{number}"

    def create(self) -> None:
        """Make the switch and the machines."""
        _ip("netns", "add", self.servers)
        self._in_servers("link", "set", "lo", "up")
        self._in_servers("link", "add", "switch", "type", "bridge")
        self._in_servers("addr", "add", f"{SERVERS}/24", "dev", "switch")
        self._in_servers("link", "set", "switch", "up")
        for number in range(1, self.machines + 1):
            machine, port = self.machine(number), f"port{number}"
            _ip("netns", "add", machine)
            self._in_servers("link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", machine)
            self._in_servers("link", "set", port, "master", "switch", "up")
            _ip("-n", machine, "link", "set", "lo", "up")
            _ip("-n", machine, "addr", "add", f"{address_of(number)}/24", "dev", "eth0")
            _ip("-n", machine, "link", "set", "eth0", "up")

    def cut_off(self, number: int) -> None:
        """Take the cable of a machine out."""
        self._in_servers("link", "set", f"port{number}", "down")

    def connect(self, number: int) -> None:
        """Put it in again."""
        self._in_servers("link", "set", f"port{number}", "up")

    def remove(self) -> None:
        """Remove whatever of it there is."""
        for namespace in (*map(self.machine, range(1, self.machines + 1)), self.servers):
            subprocess.run(["ip", "netns", "del", namespace], capture_output=True, timeout=30, check=False)

    def _in_servers(self, *words: str) -> None:
        _ip("-n", self.servers, *words)


def address_of(number: int) -> str:
    """Where a machine is."""
    return f"{SERVERS}{number}"


@contextlib.asynccontextmanager
async def relay_port(port: int, to: int) -> AsyncIterator[None]:
    """Let machines reach what listens at loopback alone."""

    async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there_reader, there_writer = await asyncio.open_connection("127.0.0.1", to)
            await asyncio.gather(_copy(reader, there_writer), _copy(there_reader, writer))
        except OSError:
            writer.close()

    server = await asyncio.start_server(relay, SERVERS, port)
    try:
        yield
    finally:
        server.close()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        with contextlib.suppress(OSError):
            while piece := await reader.read(65_536):
                writer.write(piece)
                await writer.drain()
    finally:
        writer.close()


def _ip(*words: str) -> None:
    done = subprocess.run(["ip", *words], capture_output=True, text=True, timeout=30, check=False)
    if done.returncode:
        raise OSError(f"ip {' '.join(words)}: {done.stderr.strip()}")
