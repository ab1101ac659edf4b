"""What is shown of an upgrade, one stage after the other; each leaves a cluster that serves.

    previous ──> this ──> previous ──> a newer schema beneath ──> this, a higher protocol ──> no way back

Separate from `proof`, which knows what takes part.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType

from scripts.upgrades import exports, releases
from scripts.upgrades.nodes import NotShownError, UpgradedNode, last_line, wait_until
from scripts.upgrades.proof import Proof
from scripts.upgrades.releases import Release

PENDING = 3
_RAISED = {"CCN_CLUSTER_PROTOCOL": "2"}
_BLOCKS_WITHOUT_IT = 5
_ADDS = "-- oldest program: {known}\nALTER TABLE conversations ADD COLUMN proof text;\n"
_SHUTS = {"proof_shuts": "-- oldest program: {own}\nALTER TABLE conversations DROP COLUMN proof;\n"}


async def migrate_there(proof: Proof) -> None:
    """The schema of this program beneath nodes of the one before, which serve on beside it."""
    await _migrate_beneath(proof, proof.this)


async def exchange_one(proof: Proof) -> None:
    """One node there and back."""
    for release in (proof.this, proof.previous):
        await proof.exchange_nodes(release, proof.cluster.nodes[:1])


async def go_there(proof: Proof) -> None:
    """Node by node to this program."""
    await proof.exchange_nodes(proof.this, proof.cluster.nodes)


async def go_back(proof: Proof) -> None:
    """Node by node to the program before; then each can verify what the other exports."""
    await proof.exchange_nodes(proof.previous, proof.cluster.nodes)
    await exports.check_both_ways(proof)


async def migrate_beneath(proof: Proof) -> None:
    """A schema newer than either program beneath nodes of the one before, of which one starts beside it."""
    await _migrate_beneath(proof, _make_newer(proof, "newer", {}))
    await proof.exchange_nodes(proof.previous, proof.cluster.nodes[:1])


async def raise_protocol(proof: Proof) -> None:
    """Node by node to this program, which wants a higher protocol; it rises with the last of them."""
    cluster = proof.cluster
    for node in cluster.nodes:
        for each in cluster.nodes:
            if each.release is proof.this and (before := (await cluster.status(each))["protocol"]) != 1:
                raise NotShownError(f"the protocol is {before} before all voters want a higher one")
        await proof.exchange_nodes(proof.this, [node], **_RAISED)

    async def is_raised() -> bool:
        return bool((await cluster.status(cluster.nodes[0])).get("protocol") == 2)

    await wait_until(is_raised, "the protocol is not raised")
    await cluster.wait_for_cosignatures(cluster.nodes)
    proof.say(f"a block raised the protocol to 2 once all {cluster.size} wanted it")


async def start_too_old(proof: Proof) -> None:
    """The program before does not come back now, and nobody is held up by it."""
    cluster, node = proof.cluster, proof.cluster.nodes[-1]
    await cluster.stop(node)
    newest = await cluster.newest_signed(node)
    cluster.start(node, proof.previous)
    await cluster.wait_until_answered(node)
    for _ in range(_BLOCKS_WITHOUT_IT):
        await cluster.wait_for_cosignatures(cluster.nodes[:-1])
    if await cluster.newest_signed(node) != newest:
        raise NotShownError(f"{node.name} signs with a program that does not speak the protocol in force")
    proof.say(f"{node.name} signs nothing with {proof.previous.name}; it says: {last_line(node)[:200]}")
    await cluster.stop(node)
    await _start_again(proof, node, proof.this)


async def shut_out(proof: Proof) -> None:
    """A file beside which no older program may serve: one that starts refuses, and names the file."""
    cluster, node = proof.cluster, proof.cluster.nodes[-1]
    newest = _make_newer(proof, "newest", _SHUTS)
    step = await _load_last_step(proof, newest)
    if step["old_programs_serve"]:
        raise NotShownError(f"the plan of an upgrade that shuts programs out says {step}")
    await proof.run_command(newest, "migrate")
    await cluster.stop(node)
    cluster.start(node, proof.this)
    code = await cluster.wait_until_ended(node)
    if code == 0 or "proof_shuts" not in last_line(node):
        raise NotShownError(f"{node.name} ended with {code}: {last_line(node)}")
    proof.say(f"{node.name} refuses with {proof.this.name}: {last_line(node)}")
    await _start_again(proof, node, newest)


def _make_newer(proof: Proof, name: str, more: Mapping[str, str]) -> Release:
    """A release to come, with a file beside which the release before may serve, and what follows it."""
    adds = _ADDS.replace("{known}", str(releases.count_files(proof.previous.tree)))
    return releases.copy_tree(proof.folder / name, name, {"proof_adds": adds, **more}, proof.this.tree)


async def _migrate_beneath(proof: Proof, newer: Release) -> None:
    before, after = (releases.count_files(each.tree) for each in (proof.previous, newer))
    if before == after:
        proof.say(f"{newer.name} has the schema of {proof.previous.name}")
        return
    step = await _load_last_step(proof, newer)
    if not step["old_programs_serve"]:
        raise NotShownError(f"the plan of an upgrade beneath running nodes says {step}")
    await proof.run_command(newer, "migrate")
    await proof.cluster.wait_for_cosignatures(proof.cluster.nodes)
    proof.say(f"the schema has {after} files beneath nodes that know {before}, and all cosign")


async def _load_last_step(proof: Proof, newer: Release) -> Mapping[str, object]:
    """What `ccn migrate --plan` says of the last file."""
    code, plan, complained = await proof.try_command(newer, "migrate", "--plan", "--json")
    if code != PENDING:
        raise NotShownError(f"the plan of an upgrade says {code}: {complained or plan}")
    step: dict[str, object] = json.loads(plan.splitlines()[-1])
    return step


async def _start_again(proof: Proof, node: UpgradedNode, release: Release) -> None:
    cluster = proof.cluster
    cluster.start(node, release, **_RAISED)
    await cluster.wait_until_ready(node)
    await cluster.wait_for_cosignatures([node])
    proof.exchanges += 1
    proof.say(f"{node.name} is back with {release.name}")


Stage = Callable[[Proof], Awaitable[None]]
SHORT: Mapping[str, Stage] = MappingProxyType({"migrate": migrate_there, "one": exchange_one})
"""One node there and back."""
LONG: Mapping[str, Stage] = MappingProxyType(
    {
        "migrate": migrate_there,
        "there": go_there,
        "back": go_back,
        "beneath": migrate_beneath,
        "raise": raise_protocol,
        "old": start_too_old,
        "shut": shut_out,
    }
)
"""Everything. Each stage needs those before it."""
