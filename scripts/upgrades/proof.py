"""What takes part in an upgrade: a cluster, its people, and two programs, and how a node changes its own.

Separate from the stages, which say what is done with them in which order.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ccn.claude.stand_in import server as stand_in
from ccn.embedded import etcd
from ccn.embedded.postgres import service as postgres
from scripts.upgrades import releases
from scripts.upgrades.load import Talkers
from scripts.upgrades.nodes import NotShownError, UpgradedCluster, UpgradedNode
from scripts.upgrades.releases import Release

_SETTINGS = {
    "CCN_CLUSTER_INTERVAL_S": "1",
    "CCN_ETCD_LEASE_TTL_S": "8",
    "CCN_LIMITS_REQUESTS": "1000000",
    "CCN_LIMITS_DAILY_DOLLARS": "100000",
    "CCN_NODE_SHUTDOWN_TIMEOUT_S": "20",
}


@dataclass
class Proof:
    """What takes part: the cluster, the people, and the programs; and what has been seen."""

    cluster: UpgradedCluster
    previous: Release
    this: Release
    talkers: Talkers
    folder: Path
    began: float
    exchanges: int = 0
    """How often a node was stopped and started as another program."""
    verdicts: dict[str, int] = field(default_factory=dict)
    """The exit code of each verifier on each export."""
    broken: list[str] = field(default_factory=list)
    """What was seen that should not be."""

    def say(self, what: str) -> None:
        """One line of what has been shown."""
        sys.stdout.write(f"{time.monotonic() - self.began:6.1f} s  {what}\n")
        sys.stdout.flush()

    async def run_command(self, release: Release, *arguments: str) -> str:
        """Run a command of a release about this cluster; its failure ends the proof."""
        code, said, complained = await self.try_command(release, *arguments)
        if code:
            raise NotShownError(f"{release.name}: {' '.join(arguments)}: {complained}")
        return said

    async def try_command(self, release: Release, *arguments: str, given: str = "") -> tuple[int, str, str]:
        """Run a command of a release about this cluster."""
        ended = await asyncio.to_thread(
            lambda: release.run(*arguments, given=given, CCN_DATABASE_URL=self.cluster.database)
        )
        return ended.code, ended.said, ended.complained

    async def exchange_nodes(self, release: Release, nodes: Sequence[UpgradedNode], **more: str) -> None:
        """One after the other, each waited for until it cosigns."""
        for node in nodes:
            await self.cluster.exchange(node, release, **more)
            self.exchanges += 1
            runs = ", ".join(
                f"{each.name} {each.release.name}" for each in self.cluster.nodes if each.release
            )
            self.say(f"{node.name} cosigns with {release.name}; now {runs}")


@contextlib.asynccontextmanager
async def open_proof(commit: str, folder: Path, size: int) -> AsyncIterator[Proof]:
    """Everything that runs beside the nodes; what is left of the nodes is ended at the end."""
    async with (
        releases.open_release(releases.unpack_commit(commit, folder / "previous")) as previous,
        releases.open_release(releases.copy_tree(folder / "this", "this", {})) as this,
        postgres.run_postgres(folder / "postgres", ephemeral=True) as database,
        etcd.run_etcd() as coordination,
        stand_in.run_stand_in() as model,
    ):
        settings: Mapping[str, str] = {
            **_SETTINGS,
            "CCN_ETCD_ENDPOINTS": ",".join(coordination.endpoints),
            "CCN_CLAUDE_BASE_URL": model.url,
        }
        cluster = UpgradedCluster(folder, database.url, settings, size)
        talkers = Talkers([node.url for node in cluster.nodes], "")
        try:
            yield Proof(cluster, previous, this, talkers, folder, time.monotonic())
        finally:
            await talkers.cancel()
            await cluster.end()


async def start_previous(proof: Proof, talkers: int) -> None:
    """A cluster of the release before, on its own schema, with people who talk."""
    cluster, previous = proof.cluster, proof.previous
    await proof.run_command(previous, "migrate")
    code, _, complained = await proof.try_command(
        previous,
        "user",
        "add",
        "ann",
        "--tier",
        "admin",
        "--password-stdin",
        given="correct horse battery\n",
    )
    if code:
        raise NotShownError(f"no user: {complained}")
    issued = await proof.run_command(previous, "key", "issue", "ann", "--name", "proof", "--json")
    proof.talkers.api_key = json.loads(issued)["api_key"]
    for node in cluster.nodes:
        cluster.start(node, previous)
    for node in cluster.nodes:
        await cluster.wait_until_ready(node)
    await cluster.wait_for_cosignatures(cluster.nodes)
    proof.talkers.start(talkers)
    proof.say(f"{cluster.size} nodes run {previous.name}, and {talkers} people talk")
