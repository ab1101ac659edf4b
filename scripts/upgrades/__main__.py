"""`scripts/prove-upgrade`: nodes go from the release before to this one and back while people talk.

    previous ──> this ──> previous ──> a newer schema beneath ──> this ──> a higher protocol, no way back

After each exchange the node has to cosign a block. At the end every message that was acknowledged has to be
there once, and the record has to verify. Exit code 0 if all of that holds, 1 if not, 3 if this clone does
not have the release before.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ccn.claude.stand_in import server as stand_in
from ccn.embedded import etcd
from ccn.embedded.postgres import service as postgres
from scripts.upgrades import load, releases
from scripts.upgrades.load import Talkers
from scripts.upgrades.nodes import NotShownError, UpgradedCluster, UpgradedNode, last_line, wait_until
from scripts.upgrades.releases import Release

NO_HISTORY = 3
_SETTINGS = {
    "CCN_CLUSTER_INTERVAL_S": "1",
    "CCN_ETCD_LEASE_TTL_S": "3",
    "CCN_LIMITS_REQUESTS": "1000000",
    "CCN_LIMITS_DAILY_DOLLARS": "100000",
    "CCN_NODE_SHUTDOWN_TIMEOUT_S": "20",
}
_ADDS = {"proof_adds": "-- oldest program: {before}\nALTER TABLE conversations ADD COLUMN proof text;\n"}
_SHUTS = {"proof_shuts": "-- oldest program: {own}\nALTER TABLE conversations DROP COLUMN proof;\n"}


@dataclass
class Proof:
    """What takes part: the cluster, the people, and the programs."""

    cluster: UpgradedCluster
    previous: Release
    this: Release
    talkers: Talkers
    folder: Path
    began: float

    def say(self, what: str) -> None:
        """One line of what has been shown."""
        sys.stdout.write(f"{time.monotonic() - self.began:6.1f} s  {what}\n")
        sys.stdout.flush()

    async def run_command(self, release: Release, *arguments: str) -> str:
        """Run a command of a release about this cluster; its failure ends the proof."""
        ended = await self.try_command(release, *arguments)
        if ended[0]:
            raise NotShownError(f"{release.name}: {' '.join(arguments)}: {ended[2]}")
        return ended[1]

    async def try_command(self, release: Release, *arguments: str) -> tuple[int, str, str]:
        """Run a command of a release about this cluster."""
        ended = await asyncio.to_thread(
            lambda: release.run(*arguments, CCN_DATABASE_URL=self.cluster.database)
        )
        return ended.returncode, ended.stdout, ended.stderr


def main(arguments: Sequence[str]) -> int:
    """Show it, and say what was seen."""
    parser = argparse.ArgumentParser(prog="scripts/prove-upgrade", description=__doc__)
    parser.add_argument("--from", dest="commit", default="", help="another release before this one")
    parser.add_argument("--talkers", type=int, default=6)
    parser.add_argument("--nodes", type=int, default=3, choices=(1, 3), help="one has nobody to hold up")
    parser.add_argument("--only", default="", help=f"some of {', '.join(_STAGES)}, in this order")
    parser.add_argument("--short", action="store_true", help="one node there and back, and no more")
    asked = parser.parse_args(arguments)
    named = ["one"] if asked.short else (asked.only.split(",") if asked.only else list(_STAGES)[1:])
    if unknown := [name for name in named if name not in _STAGES]:
        parser.error(f"{', '.join(unknown)} is none of {', '.join(_STAGES)}")
    commit = releases.find_previous(asked.commit)
    if not commit:
        sys.stderr.write("left out: this clone does not have the release before this one in its history\n")
        return NO_HISTORY
    try:
        return asyncio.run(_prove(commit, asked.nodes, asked.talkers, named))
    except NotShownError as missing:
        sys.stderr.write(f"not shown: {missing}\n")
        return 1


async def _prove(commit: str, size: int, talkers: int, stages: Sequence[str]) -> int:
    with tempfile.TemporaryDirectory(prefix="ccn-upgrade-") as name:
        folder = Path(name)
        folder.chmod(0o755)  # noqa: ASYNC240 - the server may run as another user
        async with _open_proof(commit, folder, size) as proof:
            try:
                await _start_previous(proof, talkers)
                for stage in stages:
                    await _STAGES[stage](proof)
                return await _judge(proof)
            except NotShownError:
                for node in proof.cluster.nodes:
                    proof.say(f"{node.name} said last: {last_line(node)}")
                raise


async def _go_there_and_back(proof: Proof) -> None:
    for release in (proof.this, proof.previous):
        await _exchange_nodes(proof, release, proof.cluster.nodes[:1])


async def _go_there(proof: Proof) -> None:
    await _exchange_nodes(proof, proof.this, proof.cluster.nodes)


async def _go_back(proof: Proof) -> None:
    await _exchange_nodes(proof, proof.previous, proof.cluster.nodes)


@contextlib.asynccontextmanager
async def _open_proof(commit: str, folder: Path, size: int) -> AsyncIterator[Proof]:
    previous = releases.unpack_commit(commit, folder / "previous")
    this = Release("this", releases.ROOT)
    async with (
        postgres.run_postgres(folder / "postgres", ephemeral=True) as database,
        etcd.run_etcd() as coordination,
        stand_in.run_stand_in() as model,
    ):
        settings = {
            **_SETTINGS,
            "CCN_ETCD_ENDPOINTS": ",".join(coordination.endpoints),
            "CCN_CLAUDE_BASE_URL": model.url,
        }
        cluster = UpgradedCluster(folder, database.url, settings, size)
        talkers = Talkers([node.url for node in cluster.nodes], "")
        try:
            yield Proof(cluster, previous, this, talkers, folder, time.monotonic())
        finally:
            await cluster.end()


async def _start_previous(proof: Proof, talkers: int) -> None:
    cluster, previous = proof.cluster, proof.previous
    await proof.run_command(previous, "migrate")
    added = await asyncio.to_thread(
        lambda: previous.run(
            *("user", "add", "ann", "--tier", "admin", "--password-stdin"),
            given="correct horse battery\n",
            CCN_DATABASE_URL=cluster.database,
        )
    )
    if added.returncode:
        raise NotShownError(f"no user: {added.stderr}")
    issued = json.loads(
        await proof.run_command(previous, "key", "issue", "ann", "--name", "proof", "--json")
    )
    proof.talkers.api_key = issued["api_key"]
    for node in cluster.nodes:
        await cluster.start(node, previous)
    for node in cluster.nodes:
        await cluster.wait_until_ready(node)
    for node in cluster.nodes:
        await cluster.wait_for_cosignature(node)
    proof.talkers.start(talkers)
    proof.say(f"{cluster.size} nodes run {previous.name}, and {talkers} people talk")


async def _exchange_nodes(
    proof: Proof, release: Release, nodes: Sequence[UpgradedNode], **more: str
) -> None:
    for node in nodes:
        await proof.cluster.exchange(node, release, **more)
        runs = ", ".join(f"{each.name} {each.release.name}" for each in proof.cluster.nodes if each.release)
        proof.say(f"{node.name} cosigns with {release.name}; now {runs}")


async def _migrate_beneath(proof: Proof) -> None:
    """A newer schema beneath running nodes, and each program beside it."""
    newer = releases.copy_tree(proof.folder / "newer", "newer", _ADDS)
    code, plan, _ = await proof.try_command(newer, "migrate", "--plan", "--json")
    step = json.loads(plan.splitlines()[-1])
    if (code, step["name"], step["old_programs_serve"]) != (3, "proof_adds", True):
        raise NotShownError(f"the plan of an upgrade says {code}: {step}")
    await proof.run_command(newer, "migrate")
    proof.say(f"the schema has {step['number']} files beneath programs that know {step['number'] - 1}")
    for release in (newer, proof.previous):
        await _exchange_nodes(proof, release, proof.cluster.nodes[:1])


async def _raise_protocol(proof: Proof) -> None:
    cluster = proof.cluster
    for node in cluster.nodes[:-1]:
        await cluster.exchange(node, proof.this, CCN_CLUSTER_PROTOCOL="2")
        before = await cluster.status(node)
        if before["protocol"] != 1:
            raise NotShownError(f"the protocol is {before['protocol']} before all voters want a higher one")
    await cluster.exchange(cluster.nodes[-1], proof.this, CCN_CLUSTER_PROTOCOL="2")

    async def is_raised() -> bool:
        return bool((await cluster.status(cluster.nodes[0]))["protocol"] == 2)

    await wait_until(is_raised, "the protocol is not raised")
    for node in cluster.nodes:
        await cluster.wait_for_cosignature(node)
    proof.say("a block raised the protocol to 2 once all three wanted it")


async def _start_too_old(proof: Proof) -> None:
    """The release before does not come back now, and nobody is held up by it."""
    cluster, node = proof.cluster, proof.cluster.nodes[-1]
    await cluster.stop(node)
    newest = await cluster.value(
        "SELECT max(tree_size) FROM cosignatures WHERE signer LIKE $1", f"%/{node.name}"
    )
    await cluster.start(node, proof.previous)
    for _ in range(10):
        if cluster.size > 1:
            await cluster.wait_for_cosignature(cluster.nodes[0])
        await asyncio.sleep(3)
    signed = await cluster.value(
        "SELECT max(tree_size) FROM cosignatures WHERE signer LIKE $1", f"%/{node.name}"
    )
    if signed != newest:
        raise NotShownError(f"{node.name} signs with a program that does not speak the protocol in force")
    proof.say(f"{node.name} signs nothing with {proof.previous.name}; it says: {last_line(node)[:200]}")
    assert node.process is not None
    if node.process.returncode is None:
        await cluster.stop(node)
    await cluster.start(node, proof.this, CCN_CLUSTER_PROTOCOL="2")
    await cluster.wait_until_ready(node)
    await cluster.wait_for_cosignature(node)
    proof.say(f"{node.name} is back with {proof.this.name}")


async def _shut_out(proof: Proof) -> None:
    """A file beside which no older program may serve: one that starts refuses, and names the file."""
    cluster, node = proof.cluster, proof.cluster.nodes[-1]
    newest = releases.copy_tree(proof.folder / "newest", "newest", {**_ADDS, **_SHUTS})
    code, plan, _ = await proof.try_command(newest, "migrate", "--plan", "--json")
    if code != 3 or json.loads(plan.splitlines()[-1])["old_programs_serve"]:
        raise NotShownError(f"the plan of an upgrade that shuts programs out says {code}: {plan}")
    await proof.run_command(newest, "migrate")
    await cluster.stop(node)
    await cluster.start(node, proof.this)
    assert node.process is not None
    async with asyncio.timeout(400):
        code = await node.process.wait()
    if code == 0 or "proof_shuts" not in node.log.read_text().splitlines()[-1]:
        raise NotShownError(f"{node.name} ended with {code}: {last_line(node)}")
    proof.say(f"{node.name} refuses with {proof.this.name}: {last_line(node)}")
    await cluster.start(node, newest, CCN_CLUSTER_PROTOCOL="2")
    await cluster.wait_until_ready(node)
    await cluster.wait_for_cosignature(node)


async def _judge(proof: Proof) -> int:
    await proof.talkers.stop()
    cluster = proof.cluster
    for node in cluster.nodes:
        await cluster.wait_for_cosignature(node)
    kept = await load.count_kept(cluster.database, proof.talkers)
    proof.say(load.describe(proof.talkers, kept))
    blocks, longest, failed = [await cluster.value(sql) for sql in (_BLOCKS, _LONGEST, _FAILED)]
    proof.say(f"{blocks} blocks, {longest:.1f} s between two at most, {failed} failed rounds")
    verified = await _verify_exports(proof)
    holds = verified and not (kept.lost or kept.doubled or kept.unanswered) and bool(proof.talkers.answered)
    proof.say("it holds" if holds else "it does NOT hold")
    return 0 if holds else 1


async def _verify_exports(proof: Proof) -> bool:
    """What this program exports verifies, and so does what the release before can export."""
    verified = True
    for release in (proof.this, proof.previous):
        file = proof.folder / f"{release.tree.name}.record"
        code, _, said = await proof.try_command(release, "record", "export", str(file))
        if code:
            proof.say(f"{release.name} exports nothing: {said.strip()[-160:]}")
            verified = verified and release is not proof.this
            continue
        for judge in (proof.this, proof.previous):
            verdict = await asyncio.to_thread(_verify_file, judge, file)
            proof.say(f"ccn-verify of {judge.name} on the export of {release.name}: {verdict}")
            verified = verified and (verdict == 0 or judge is not proof.this)
    return verified


def _verify_file(judge: Release, file: Path) -> int:
    command = [sys.executable, "-P", "-m", "ccn.cli.verify", str(file)]
    return subprocess.run(
        command, env=judge.environment({}), capture_output=True, check=False, timeout=300
    ).returncode


_STAGES: dict[str, Callable[[Proof], Awaitable[None]]] = {
    "one": _go_there_and_back,
    "there": _go_there,
    "back": _go_back,
    "beneath": _migrate_beneath,
    "again": _go_there,
    "raise": _raise_protocol,
    "old": _start_too_old,
    "shut": _shut_out,
}
"""What is shown, one after the other; all but the first if nothing is said."""
_BLOCKS = "SELECT max(height) FROM verification_chain"
_LONGEST = """
    SELECT coalesce(max(extract(epoch FROM gap)), 0)::float FROM (
        SELECT sealed_at - lag(sealed_at) OVER (ORDER BY height) AS gap
        FROM verification_chain WHERE height > 0
    ) gaps
"""
_FAILED = "SELECT count(*) FROM consensus_log WHERE command_type = 'round' AND NOT committed"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
