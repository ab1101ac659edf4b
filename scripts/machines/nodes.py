"""A node on each machine, run as its unit of systemd would: it drains itself before it is stopped."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import asyncpg

from ccn.cli.cluster.credentials import node_credentials
from ccn.core.ids import NodeId
from scripts.machines.network import MachineNetwork, address_of
from scripts.upgrades.nodes import NotShownError, wait_until

_CCN = (sys.executable, "-P", "-m", "ccn")
_STOP_S = 120.0


@dataclass
class Machine:
    """One machine and its node."""

    number: int
    environ: Mapping[str, str]
    log: Path
    process: asyncio.subprocess.Process | None = None

    @property
    def node(self) -> str:
        """The name of its node."""
        return f"node-{self.number}"

    @property
    def url(self) -> str:
        """The door of its node."""
        return f"http://{address_of(self.number)}:7700"


@dataclass
class Site:
    """All machines, and the database as the servers see it."""

    network: MachineNetwork
    folder: Path
    database: str
    shared: Mapping[str, str]
    machines: dict[int, Machine] = field(default_factory=dict)

    def add_machine(self, number: int) -> Machine:
        """Give a machine its certificates and settings; its node makes its signing key itself."""
        node, place, now = NodeId(f"node-{number}"), address_of(number), datetime.now(UTC)
        made = node_credentials.prepare_nodes(self.folder / "keys", [node], [place], now)[node]
        shutil.rmtree(made.state)
        self.machines[number] = Machine(
            number,
            {
                **_plain_environment(),
                **self.shared,
                **made.to_environment(),
                "CCN_NODE_ID": node,
                "CCN_NODE_STATE_DIR": str(self.folder / f"machine-{number}"),
                "CCN_HTTP_HOST": place,
                "CCN_HTTP_INSECURE": "true",
                "CCN_PEERS_HOST": place,
            },
            self.folder / f"machine-{number}.log",
        )
        return self.machines[number]

    async def start(self, machine: Machine) -> None:
        """Start its node, and wait for nothing."""
        inside = ("ip", "netns", "exec", self.network.machine(machine.number))
        dying = ("setpriv", "--pdeathsig", "KILL")  # with this process, however that ends
        with machine.log.open("ab") as log:
            machine.process = await asyncio.create_subprocess_exec(
                *inside, *dying, *_CCN, "node", "run", env=dict(machine.environ), stdout=log, stderr=log
            )

    async def restart(self, machine: Machine) -> None:
        """Do what the unit does: drain by itself, stop, start."""
        await self.run("drain", "--self", "--wait", "60", environ=machine.environ)
        await self.stop(machine, signal.SIGTERM)
        await self.start(machine)

    async def stop(self, machine: Machine, how: signal.Signals) -> None:
        """Stop its node, and wait until it has ended."""
        assert machine.process is not None
        machine.process.send_signal(how)
        async with asyncio.timeout(_STOP_S):
            await machine.process.wait()

    async def run(self, *arguments: str, environ: Mapping[str, str] | None = None) -> str:
        """Run a command about this cluster; its failure ends the proof."""
        known = dict(environ or {**_plain_environment(), "CCN_DATABASE_URL": self.database})
        done = await asyncio.to_thread(
            lambda: subprocess.run(
                [*_CCN, *arguments], env=known, capture_output=True, text=True, timeout=300, check=False
            )
        )
        if done.returncode:
            raise NotShownError(f"ccn {' '.join(arguments)}: {done.stderr.strip()}")
        return done.stdout

    async def value(self, sql: str, *values: object) -> Any:
        """One value of the database."""
        connection = await asyncpg.connect(self.database)
        try:
            return await connection.fetchval(sql, *values)
        finally:
            await connection.close()

    async def height(self) -> int:
        """The height of the newest block."""
        return int(await self.value("SELECT coalesce(max(height), 0) FROM verification_chain"))

    async def wait_for_blocks(self, count: int) -> None:
        """Wait until so many blocks more are there."""
        until = await self.height() + count

        async def are_there() -> bool:
            return await self.height() >= until

        await wait_until(are_there, f"{count} blocks more are not there")

    async def wait_for_cosignature(self, machine: Machine) -> None:
        """Wait until its node has cosigned a block that came after now."""
        size = await self.value("SELECT coalesce(max(tree_size), 0) FROM verification_chain")

        async def has_cosigned() -> bool:
            newest = await self.value(_COSIGNED, f"%/{machine.node}")
            return bool(newest is not None and newest > size)

        await wait_until(has_cosigned, f"{machine.node} cosigns nothing")

    async def leader(self) -> Machine:
        """The machine whose node leads."""
        name = await self.value("SELECT leader FROM cluster_term")
        return next(each for each in self.machines.values() if each.node == name)

    async def end(self) -> None:
        """End all nodes that run."""
        for machine in self.machines.values():
            if machine.process is not None and machine.process.returncode is None:
                await self.stop(machine, signal.SIGKILL)


def _plain_environment() -> dict[str, str]:
    return {name: value for name, value in os.environ.items() if not name.startswith("CCN_")}


_COSIGNED = "SELECT max(tree_size) FROM cosignatures WHERE signer LIKE $1"
