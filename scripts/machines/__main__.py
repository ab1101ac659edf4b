"""`scripts/prove-machines`: one of three machines is cut off, comes back, and is replaced for ever.

    three machines ──> the leader's is cut off ──> it comes back ──> a node restarts as its unit does it
                   ──> a machine is lost with its disk ──> a fourth takes its place

People talk all the while. Exit code 0 if nothing that was acknowledged is lost or doubled, blocks go on and
the record verifies; 1 if not; 3 if this machine cannot do it. It needs root, and reaches no network but its
own.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from ccn.claude.stand_in import server as stand_in
from ccn.embedded import etcd
from ccn.embedded.postgres import service as postgres
from scripts.machines.network import SERVERS, MachineNetwork, relay_port
from scripts.machines.nodes import Site
from scripts.upgrades import load
from scripts.upgrades.load import Talkers
from scripts.upgrades.nodes import NotShownError

_LEFT_OUT = 3
_MACHINES = 4
_PORTS = {"database": 5432, "etcd": 2379, "model": 8080}
_BLOCKS_CUT_OFF = 8
_SETTINGS = {
    "CCN_CLUSTER_INTERVAL_S": "2",
    "CCN_ETCD_ENDPOINTS": f"{SERVERS}:{_PORTS['etcd']}",
    "CCN_ETCD_INSECURE": "true",
    "CCN_DATABASE_INSECURE": "true",
    "CCN_CLAUDE_BASE_URL": f"http://{SERVERS}:{_PORTS['model']}",
    "CCN_CLAUDE_STAND_IN": "true",
    "CCN_LIMITS_REQUESTS": "1000000",
    "CCN_LIMITS_DAILY_DOLLARS": "100000",
    "CCN_LOG_FORMAT": "json",
}


@dataclass
class MachinesProof:
    """The machines, the people, and when it began."""

    site: Site
    talkers: Talkers
    began: float

    def say(self, what: str) -> None:
        """One line of what has been shown."""
        sys.stdout.write(f"{time.monotonic() - self.began:6.1f} s  {what}\n")
        sys.stdout.flush()


def main() -> int:
    """Make the network, and go on inside of it."""
    parser = argparse.ArgumentParser(prog="scripts/prove-machines", description=__doc__)
    parser.add_argument("--talkers", type=int, default=6)
    parser.add_argument("--inside", nargs=2, metavar=("NETWORK", "FOLDER"), help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.inside:
        name, folder = asked.inside
        return asyncio.run(_prove(MachineNetwork(name, _MACHINES), Path(folder), asked.talkers))
    if os.geteuid() or shutil.which("ip") is None:
        sys.stderr.write("left out: namespaces need root and ip (on Debian: apt-get install iproute2)\n")
        return _LEFT_OUT
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))  # so that all is removed
    network = MachineNetwork(f"ccn-{os.getpid()}", _MACHINES)
    with tempfile.TemporaryDirectory(prefix="ccn-machines-") as folder:
        Path(folder).chmod(0o755)  # PostgreSQL runs as another user
        try:
            network.create()
            inside = ["ip", "netns", "exec", network.servers, sys.executable, "-m", "scripts.machines"]
            given = ["--inside", network.name, folder, "--talkers", str(asked.talkers)]
            return subprocess.run([*inside, *given], check=False).returncode
        except OSError as refused:
            sys.stderr.write(f"left out: this machine makes no namespaces: {refused}\n")
            return _LEFT_OUT
        finally:
            network.remove()


async def _prove(network: MachineNetwork, folder: Path, talkers: int) -> int:
    try:
        async with _open_proof(network, folder) as proof:
            await _start_three(proof, talkers)
            await _cut_leader_off(proof)
            await _restart_as_unit(proof)
            await _replace_for_ever(proof)
            return await _judge(proof)
    except NotShownError as missing:
        for log in sorted(folder.glob("*.log")):  # noqa: ASYNC240 - a few small files
            sys.stderr.write(f"{log.stem} said last: {log.read_text().splitlines()[-1:]}\n")
        sys.stderr.write(f"not shown: {missing}\n")
        return 1


@contextlib.asynccontextmanager
async def _open_proof(network: MachineNetwork, folder: Path) -> AsyncIterator[MachinesProof]:
    async with (
        postgres.run_postgres(folder / "postgres", ephemeral=True) as database,
        etcd.run_etcd() as coordination,
        stand_in.run_stand_in() as model,
        relay_port(_PORTS["database"], _port(database.url)),
        relay_port(_PORTS["etcd"], _port(f"//{coordination.endpoints[0]}")),
        relay_port(_PORTS["model"], _port(model.url)),
    ):
        known = urlsplit(database.url)
        seen = known._replace(netloc=f"{known.netloc.rpartition('@')[0]}@{SERVERS}:{_PORTS['database']}")
        site = Site(network, folder, database.url, {**_SETTINGS, "CCN_DATABASE_URL": seen.geturl()})
        machines = [site.add_machine(number) for number in range(1, _MACHINES + 1)]
        try:
            yield MachinesProof(site, Talkers([each.url for each in machines], ""), time.monotonic())
        finally:
            await site.end()


async def _start_three(proof: MachinesProof, talkers: int) -> None:
    site = proof.site
    await site.run("migrate")
    added = await site.run("user", "add", "ann", "--tier", "admin", "--json")
    assert json.loads(added)
    issued = json.loads(await site.run("key", "issue", "ann", "--name", "proof", "--json"))
    proof.talkers.api_key = issued["api_key"]
    for number in (1, 2, 3):
        await site.start(site.machines[number])
    for number in (1, 2, 3):
        await site.wait_for_cosignature(site.machines[number])
    proof.talkers.start(talkers)
    await site.wait_for_blocks(3)
    proof.say(f"three machines cosign, and {talkers} people talk")


async def _cut_leader_off(proof: MachinesProof) -> None:
    site = proof.site
    machine = await site.leader()
    site.network.cut_off(machine.number)
    since = time.monotonic()
    await site.wait_for_blocks(_BLOCKS_CUT_OFF)
    other = await site.leader()
    if other is machine:
        raise NotShownError(f"{machine.node} leads although it is cut off")
    lasted = time.monotonic() - since
    proof.say(f"{machine.node}, which led, is cut off: {_BLOCKS_CUT_OFF} blocks in {lasted:.1f} s")
    site.network.connect(machine.number)
    since = time.monotonic()
    await site.wait_for_cosignature(machine)
    proof.say(f"{machine.node} is back, and cosigns after {time.monotonic() - since:.1f} s")


async def _restart_as_unit(proof: MachinesProof) -> None:
    site = proof.site
    machine = await site.leader()
    since = time.monotonic()
    await site.restart(machine)
    await site.wait_for_cosignature(machine)
    took = time.monotonic() - since
    proof.say(f"{machine.node} drained itself, was started again and cosigns: {took:.1f} s")


async def _replace_for_ever(proof: MachinesProof) -> None:
    site = proof.site
    lost, new = await site.leader(), site.machines[4]
    site.network.cut_off(lost.number)
    await site.stop(lost, signal.SIGKILL)
    shutil.rmtree(lost.environ["CCN_NODE_STATE_DIR"])
    since = time.monotonic()
    await site.start(new)
    await _wait_until_added(site, new.node)
    await site.run("validators", "remove", lost.node, "--lost", "--by", "proof")
    await site.wait_for_cosignature(new)
    voting = [
        line["node"]
        for line in map(json.loads, (await site.run("validators", "list", "--json")).splitlines())
        if line["votes"]
    ]
    if lost.node in voting or new.node not in voting or len(voting) != 3:
        raise NotShownError(f"{', '.join(voting)} vote after {lost.node} was replaced by {new.node}")
    took = time.monotonic() - since
    proof.say(f"{lost.node} is lost with its disk, and {new.node} votes in its place: {took:.1f} s")
    await site.wait_for_blocks(5)


async def _wait_until_added(site: Site, node: str) -> None:
    """A node can be added once the others see it."""
    for _ in range(60):
        with contextlib.suppress(NotShownError):
            await site.run("validators", "add", node, "--by", "proof")
            return
        await asyncio.sleep(1)
    raise NotShownError(f"{node} is not added")


async def _judge(proof: MachinesProof) -> int:
    await proof.talkers.stop()
    site = proof.site
    await site.wait_for_blocks(2)
    kept = await load.count_kept(site.database, proof.talkers)
    proof.say(json.dumps(load.describe(proof.talkers, kept)))
    longest = await site.value(_LONGEST)
    proof.say(f"{await site.height()} blocks, {longest:.1f} s between two at most")
    file = site.folder / "record.jsonl"
    await site.run("record", "export", str(file))
    verify = [sys.executable, "-P", "-m", "ccn.cli.verify", str(file)]
    done = await asyncio.to_thread(
        lambda: subprocess.run(verify, capture_output=True, timeout=300, check=False)
    )
    verified = done.returncode
    proof.say(f"ccn-verify on the export: {verified}")
    holds = not (kept.lost or kept.doubled or kept.unanswered or verified) and bool(proof.talkers.answered)
    proof.say("it holds" if holds else "it does NOT hold")
    return 0 if holds else 1


def _port(url: str) -> int:
    port = urlsplit(url).port
    assert port is not None
    return port


_LONGEST = """
    SELECT coalesce(max(extract(epoch FROM gap)), 0)::float FROM (
        SELECT sealed_at - lag(sealed_at) OVER (ORDER BY height) AS gap
        FROM verification_chain WHERE height > 0
    ) gaps
"""


if __name__ == "__main__":
    sys.exit(main())
