"""What can be hurt: a node with its log and its switches, and a service that a supervisor brings back."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

import psutil  # type: ignore[import-untyped]

from ccn.cli.cluster.fork_server import ForkedProcess
from ccn.embedded.etcd import EmbeddedEtcd
from ccn.embedded.postgres.service import EmbeddedPostgres
from tests.cluster.chaos import breakable
from tests.support.cli import commands

DEADLINE_S = 90.0
"""A node that starts on a busy machine takes its time; waiting costs nothing when things go well."""
PATIENCE_S = 0.1
"""How long a supervisor waits before it starts a node again."""

T = TypeVar("T")


async def until(ask: Callable[[], Awaitable[T | None]], what: str, within_s: float = DEADLINE_S) -> T:
    """The first answer that is something; fails at the deadline, and says what did not happen."""
    deadline = time.monotonic() + within_s
    while True:
        if answer := await ask():
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"within {within_s:g} s it did not happen: {what}")
        await asyncio.sleep(0.05)


class Nursery:
    """Where node processes come from (see `breakable`)."""

    def __init__(self) -> None:
        commands.prepare()
        self._born: list[ForkedProcess] = []

    def bear(self, name: str, folder: Path, environ: Mapping[str, str]) -> int:
        """A new process, by its pid."""
        with Path(os.devnull).open("r+b") as nothing:
            streams = (nothing.fileno(),) * 3
            self._born.append(commands.begin((breakable.NAME, str(folder)), environ, streams, name=name))
        return self._born[-1].pid

    def close(self) -> None:
        """End all that are left."""
        for each in self._born:
            each.kill()
        for each in self._born:
            each.wait(DEADLINE_S)


class Node:
    """One node process after the other, under one name and on one disk."""

    def __init__(self, name: str, folder: Path, nursery: Nursery, environ: Mapping[str, str]) -> None:
        self.name, self.folder = name, folder
        self.log = folder / "log"
        self.pid = 0
        self.wanted = False
        """Whether a supervisor is to start it again when it ends by itself."""
        self._nursery, self._environ = nursery, environ
        folder.mkdir()
        self.set_clock(0)

    def start(self) -> None:
        self.pid, self.wanted = self._nursery.bear(self.name, self.folder, self._environ), True

    async def kill(self) -> None:
        """As `kill -9` does it, frozen or not."""
        self.wanted = False
        self._send(signal.SIGKILL)

        async def gone() -> bool:
            return self.died()

        await until(gone, f"{self.name} is gone")

    async def comes_back(self) -> None:
        """What a supervisor does about it."""
        await asyncio.sleep(PATIENCE_S)
        self.start()

    async def freeze(self) -> None:
        self._send(signal.SIGSTOP)
        await until(self._stands_still, f"{self.name} stops")

    async def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def died(self) -> bool:
        """Whether its process has ended."""
        return not Path(f"/proc/{self.pid}").exists()

    def arm(self, step: str) -> None:
        """Let it stop itself when it has logged this step."""
        beside = self.folder / "stop-at.new"
        beside.write_text(step)
        beside.replace(self.folder / "stop-at")

    def disarm(self) -> None:
        (self.folder / "stop-at").unlink(missing_ok=True)

    async def stands(self) -> bool:
        """Whether it was armed and has stopped."""
        return not (self.folder / "stop-at").exists() and await self._stands_still()

    def set_clock(self, ahead_s: float) -> None:
        """In place, because the process has the file in its memory."""
        with (self.folder / "clock").open("r+b" if (self.folder / "clock").exists() else "wb") as file:
            file.write(struct.pack("d", ahead_s))

    def be_quiet(self, *, quiet: bool) -> None:
        (self.folder / "quiet").touch() if quiet else (self.folder / "quiet").unlink(missing_ok=True)

    async def _stands_still(self) -> bool:
        try:
            threads = list(Path(f"/proc/{self.pid}/task").iterdir())
            states = [(thread / "stat").read_text().rpartition(")")[2].split()[0] for thread in threads]
        except FileNotFoundError:  # a thread, or all of it, has just ended
            return False
        return set(states) <= {"T", "t"}

    def _send(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)


class Service:
    """PostgreSQL or etcd, with all its processes; its supervisor brings it back."""

    def __init__(self, name: str, running: EmbeddedPostgres | EmbeddedEtcd) -> None:
        self.name = name
        self._running = running

    async def kill(self) -> None:
        os.kill(self._running.pid, signal.SIGKILL)

    async def comes_back(self) -> None:
        """By itself."""

    async def freeze(self) -> None:
        self._send(signal.SIGSTOP)

    async def thaw(self) -> None:
        self._send(signal.SIGCONT)

    def _send(self, number: signal.Signals) -> None:
        """To the server first, so that nobody new comes; some of the others may leave meanwhile."""
        for each in self._family():
            with suppress(ProcessLookupError):
                os.kill(each, number)

    def _family(self) -> list[int]:
        first = psutil.Process(self._running.pid)
        return [first.pid, *(each.pid for each in first.children(recursive=True))]


class Coordination(Service):
    """etcd, which can also lose everything."""

    def __init__(self, running: EmbeddedEtcd) -> None:
        super().__init__("etcd", running)
        self._etcd = running

    async def wipe(self) -> None:
        """Stop it, delete all it has, and let it begin again on the same port."""
        os.kill(self._etcd.pid, signal.SIGSTOP)
        shutil.rmtree(self._etcd.data)
        os.kill(self._etcd.pid, signal.SIGKILL)


Party = Node | Service
