"""Nodes of which each may run another release: drained, stopped and started as something else."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from scripts.upgrades.releases import Release

PATIENCE_S = 400.0
_LOOK_S = 0.1


class NotShownError(Exception):
    """What was to be shown did not come about."""


@dataclass
class UpgradedNode:
    """One node, whatever it runs at the moment."""

    name: str
    folder: Path
    http: int
    release: Release | None = None
    process: asyncio.subprocess.Process | None = None

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

    async def start(self, node: UpgradedNode, release: Release, **more: str) -> None:
        """Start a node with the program of a release, and wait for nothing."""
        environment = release.environment(
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
            }
        )
        with node.log.open("ab") as log:
            node.process = await asyncio.create_subprocess_exec(
                *release.command, "node", "run", env=environment, stdout=log, stderr=log
            )
        node.release = release

    async def stop(self, node: UpgradedNode) -> None:
        """Tell a node to stop, and wait until it has."""
        assert node.process is not None
        node.process.send_signal(signal.SIGTERM)
        async with asyncio.timeout(PATIENCE_S):
            await node.process.wait()

    async def exchange(self, node: UpgradedNode, release: Release, **more: str) -> None:
        """As operators do: drain it, stop it, start the other program, and wait for its cosignature."""
        assert node.release is not None
        if self.size > 1:  # the last one that leads is not drained
            await self._run_drain(node, node.release, "--wait", "60")
        await self.stop(node)
        await self.start(node, release, **more)
        await self.wait_until_ready(node)
        if self.size > 1:
            await self._run_drain(node, release, "--undo")
        await self.wait_for_cosignature(node)

    async def _run_drain(self, node: UpgradedNode, release: Release, *options: str) -> None:
        asked = ("drain", node.name, "--by", "proof", *options)
        ended = await asyncio.to_thread(lambda: release.run(*asked, CCN_DATABASE_URL=self.database))
        if ended.returncode:
            raise NotShownError(f"{' '.join(asked)}: {ended.stderr}")

    async def wait_until_ready(self, node: UpgradedNode) -> None:
        """Wait until a node says that it is ready."""

        async def is_ready() -> bool:
            if node.process is not None and node.process.returncode is not None:
                raise NotShownError(f"{node.name} ended with {node.process.returncode}: {last_line(node)}")
            with contextlib.suppress(httpx.TransportError):
                return (await self.ask(node, "/ready")).status_code == httpx.codes.OK
            return False

        await wait_until(is_ready, f"{node.name} is not ready")

    async def wait_for_cosignature(self, node: UpgradedNode) -> None:
        """Wait until a node has cosigned a block that came after now."""
        height = await self.value("SELECT coalesce(max(tree_size), 0) FROM verification_chain")

        async def has_cosigned() -> bool:
            newest = await self.value(
                "SELECT max(tree_size) FROM cosignatures WHERE signer LIKE $1", f"%/{node.name}"
            )
            return bool(newest is not None and newest > height)

        await wait_until(has_cosigned, f"{node.name} cosigns nothing")

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
        running = [node for node in self.nodes if node.process and node.process.returncode is None]
        for node in running:
            assert node.process is not None
            try:
                await self.stop(node)
            except TimeoutError:
                node.process.kill()


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
