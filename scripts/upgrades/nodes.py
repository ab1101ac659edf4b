"""Nodes of which each may run another release: drained, stopped and started as something else."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from ccn.embedded.child import Child
from scripts.upgrades.releases import Release

PATIENCE_S = 400.0
_LOOK_S = 0.1
_STOP_S = 60.0


class NotShownError(Exception):
    """What was to be shown did not come about."""


@dataclass
class UpgradedNode:
    """One node, whatever it runs at the moment."""

    name: str
    folder: Path
    http: int
    release: Release | None = None
    process: Child | None = None

    @property
    def url(self) -> str:
        """Its door for clients."""
        return f"http://127.0.0.1:{self.http}"

    @property
    def log(self) -> Path:
        """What it says."""
        return self.folder.parent / f"{self.name}.log"


@dataclass
class UpgradedCluster:
    """Nodes on one database."""

    folder: Path
    database: str
    settings: Mapping[str, str]
    size: int = 3
    nodes: list[UpgradedNode] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Choose their doors, which stay."""
        for name in (f"node-{number}" for number in range(1, self.size + 1)):
            (self.folder / name).mkdir()
            self.nodes.append(UpgradedNode(name, self.folder / name, _free_port()))

    def start(self, node: UpgradedNode, release: Release, **more: str) -> None:
        """Start a node with the program of a release, and wait for nothing."""
        node.process = release.start_node(
            node.name,
            node.log,
            {
                **self.settings,
                "CCN_DATABASE_URL": self.database,
                "CCN_CLUSTER_SIZE": str(self.size),
                "CCN_NODE_ID": node.name,
                "CCN_NODE_STATE_DIR": str(node.folder),
                "CCN_HTTP_PORT": str(node.http),
                "CCN_GRPC_PORT": "0",
                "CCN_PEERS_PORT": "0",
                "CCN_LOG_FORMAT": "json",
                **more,
            },
        )
        node.release = release

    async def stop(self, node: UpgradedNode) -> None:
        """Tell a node to stop, and wait until it has; one that ended by itself is left alone."""
        assert node.process is not None
        if node.process.code is not None:
            return
        node.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            await node.process.wait()

    async def exchange(self, node: UpgradedNode, release: Release, **more: str) -> None:
        """As operators do: drain it, stop it, start the other program, and wait for its cosignature."""
        assert node.release is not None
        if self.size > 1:  # the last one that leads is not drained
            await self._run_drain(node, node.release, "--wait", "60")
        await self.stop(node)
        self.start(node, release, **more)
        await self.wait_until_ready(node)
        if self.size > 1:
            await self._run_drain(node, release, "--undo")
        await self.wait_for_cosignatures([node])

    async def _run_drain(self, node: UpgradedNode, release: Release, *options: str) -> None:
        asked = ("drain", node.name, "--by", "proof", *options)
        ended = await asyncio.to_thread(lambda: release.run(*asked, CCN_DATABASE_URL=self.database))
        if ended.code:
            raise NotShownError(f"{' '.join(asked)}: {ended.complained}")

    async def wait_until_ready(self, node: UpgradedNode) -> None:
        """Wait until a node says that it is ready."""

        async def is_ready() -> bool:
            if node.process is not None and node.process.code is not None:
                raise NotShownError(f"{node.name} ended with {node.process.code}: {last_line(node)}")
            with contextlib.suppress(httpx.TransportError):
                return (await self.ask(node, "/ready")).status_code == httpx.codes.OK
            return False

        await wait_until(is_ready, f"{node.name} is not ready")

    async def wait_until_answered(self, node: UpgradedNode) -> None:
        """Wait until a node says anything at its door, or has ended."""

        async def has_answered() -> bool:
            if node.process is not None and node.process.code is not None:
                return True
            with contextlib.suppress(httpx.TransportError):
                return bool((await self.ask(node, "/ready")).content)
            return False

        await wait_until(has_answered, f"{node.name} answers nothing")

    async def wait_until_ended(self, node: UpgradedNode) -> int:
        """Wait until a node ends by itself, and return its exit code."""
        assert node.process is not None
        try:
            async with asyncio.timeout(PATIENCE_S):
                return await node.process.wait()
        except TimeoutError:
            raise NotShownError(f"{node.name} does not end within {PATIENCE_S:g} s") from None

    async def wait_for_cosignatures(self, nodes: Sequence[UpgradedNode]) -> None:
        """Wait until each of these nodes has cosigned a block that came after now."""
        size = int(await self.value("SELECT coalesce(max(tree_size), 0) FROM verification_chain"))
        for node in nodes:

            async def has_cosigned(node: UpgradedNode = node) -> bool:
                return await self.newest_signed(node) > size

            await wait_until(has_cosigned, f"{node.name} cosigns nothing")

    async def newest_signed(self, node: UpgradedNode) -> int:
        """The size of the newest tree that a node has cosigned; 0 if there is none."""
        return int(await self.value(_NEWEST_SIGNED, f"%/{node.name}"))

    async def status(self, node: UpgradedNode) -> dict[str, Any]:
        """What a node says of the cluster."""
        told: dict[str, Any] = (await self.ask(node, "/status")).json()
        return told

    async def ask(self, node: UpgradedNode, path: str) -> httpx.Response:
        """Ask a node at its door."""
        async with httpx.AsyncClient(timeout=30) as client:
            return await client.get(f"{node.url}{path}")

    async def value(self, sql: str, *values: object) -> Any:
        """One value of the database."""
        connection = await asyncpg.connect(self.database)
        try:
            return await connection.fetchval(sql, *values)
        finally:
            await connection.close()

    async def end(self) -> None:
        """Stop all that run; what does not stop is killed."""
        for node in self.nodes:
            if node.process is not None:
                await node.process.stop((signal.SIGTERM, _STOP_S))


async def wait_until(holds: Any, otherwise: str) -> None:
    """Ask again and again; `otherwise` says what did not come about."""
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not await holds():  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(_LOOK_S)
    except TimeoutError:
        raise NotShownError(f"{otherwise} within {PATIENCE_S:g} s") from None


def last_line(node: UpgradedNode) -> str:
    """What a node said last."""
    lines = node.log.read_text(errors="replace").splitlines()
    return lines[-1] if lines else ""


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


_NEWEST_SIGNED = "SELECT coalesce(max(tree_size), 0) FROM cosignatures WHERE signer LIKE $1"
