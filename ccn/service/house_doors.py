"""What the doors of a node stand before: its own house, with the writer, the instances and the keys."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import replace
from functools import partial

from ccn import settings
from ccn.core.ids import NodeId
from ccn.gateway import readiness
from ccn.gateway.accounts.accounts import Accounts
from ccn.gateway.accounts.keyring import Keyring
from ccn.gateway.accounts.passwords import Passwords
from ccn.gateway.accounts.trusted_keys import Voters
from ccn.gateway.deeds import house
from ccn.gateway.deeds.answers import GatewayAnswers
from ccn.gateway.deeds.interface import Deeds
from ccn.gateway.deeds.seen_gateways import SeenGateways
from ccn.gateway.limiting import Limiter
from ccn.node.external_loop import ExternalLoop
from ccn.node.rounds import voter_news
from ccn.node.rounds.membership import Membership
from ccn.node.rounds.peer_answers import GatewayDoor
from ccn.node.rounds.voter_news import VoterNews
from ccn.node.rounds.voting import NodeIdentity
from ccn.node.signing import signing_key
from ccn.node.views import cluster_probes, cluster_status
from ccn.node.views.cluster_status import ClusterStatus
from ccn.service import clock
from ccn.service.doors import BehindDoors
from ccn.service.served_node import ServedNode


def assemble_house(node: ServedNode, passwords: Passwords, seen: SeenGateways) -> BehindDoors:
    """Everything that the doors of this node ask for is done by this node."""
    chosen, membership, instances = node.chosen, node.membership, node.instances
    needed = {"database": lambda: node.database.value("SELECT 1"), "record": node.database.check_fence}
    if membership is not None:
        needed["protocol"] = partial(cluster_probes.check_protocol, membership)
        needed["arrival"] = cluster_probes.Arrival(membership, time.monotonic).check
    keyring = Keyring(node.database, *_token_identity(chosen, membership), chosen.accounts, clock.utc_now)
    access, requests = house.open_house(node.database)
    loop = ExternalLoop(node.database, node.writer, instances.prompts, instances.scoring, clock.new_id)
    return BehindDoors(
        chosen=chosen,
        stop=node.stop,
        ready=readiness.Readiness(needed, _cluster_probes(membership)),
        limiter=Limiter(chosen.limits),
        deeds=Deeds(
            accounts=Accounts(node.database, chosen.accounts, passwords, keyring, clock.utc_now),
            access=access,
            conversations=house.HouseConversations(instances.conversations),
            loop=house.HouseLoop(loop),
            requests=requests,
            model=house.HouseModel(node.model),
            load_status=partial(_load_status, membership, seen) if membership is not None else None,
        ),
        plates=instances.prompts,
        reading=node.reading,
        list_addresses=membership.presence.list_doors if membership is not None else None,
        certificates=node.certificates,
    )


def answer_gateways(
    behind: BehindDoors, node: ServedNode, membership: Membership, seen: SeenGateways
) -> GatewayDoor:
    """What this node answers gateways: the same that it does for its own doors."""

    async def load_news() -> VoterNews:
        return await voter_news.tell_news(membership, tuple(seat.address for seat in seen.list_seats()))

    find_host = node.instances.conversations.find_host
    return GatewayAnswers(behind.deeds, behind.limiter.guesses, seen, load_news, find_host).answer


async def _load_status(membership: Membership, seen: SeenGateways) -> ClusterStatus:
    return replace(await cluster_status.load_status(membership), gateways=seen.list_seats())


def _token_identity(
    chosen: settings.Settings, membership: Membership | None
) -> tuple[NodeIdentity, Voters]:
    """Who this node is to those who read its tokens, and whose it believes; without a cluster its own."""
    if membership is not None:
        return membership.identity, membership.load_voters
    key = signing_key.create_temporary()
    return NodeIdentity(
        NodeId(chosen.node.id), key.public, key.sign, signing_key.check_signature
    ), _load_no_voters


def _cluster_probes(membership: Membership | None) -> Mapping[str, readiness.Probe]:
    """What a node tells of its cluster, and serves without."""
    if membership is None:
        return {}
    return {
        "leadership": partial(cluster_probes.check_leader, membership),
        "quorum": partial(cluster_probes.check_quorum, membership),
    }


async def _load_no_voters() -> None:
    """A node without a place in a cluster knows no chain."""
