"""What a node consists of before its doors open: neighbours, instances, a place in the cluster."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

import structlog

from ccn import settings
from ccn.certificates import identity
from ccn.certificates.watch import CertificateWatches
from ccn.core.ids import NodeId
from ccn.gateway.reading_places import ReadingPlaces
from ccn.node import assembly
from ccn.node.assembly import NodeInstances
from ccn.node.character import scorers
from ccn.node.character.judge import Judge
from ccn.node.instances.forwarding import Forwarding
from ccn.node.rounds.membership import Membership
from ccn.node.rounds.voting import NodeIdentity
from ccn.node.signing import signing_key
from ccn.node.signing.memory import SigningRight
from ccn.node.spending.paid_model import PaidModel
from ccn.peers import client as peers
from ccn.service import clock, servers
from ccn.store.connection.pool import Pool
from ccn.store.writing.writer import Writer

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedNode:
    """What a node consists of before its doors open."""

    chosen: settings.Settings
    stop: asyncio.Event
    database: Pool
    writer: Writer
    membership: Membership | None
    """None without etcd: then the node takes no part in rounds."""
    instances: NodeInstances
    model: PaidModel
    reading: ReadingPlaces
    certificates: CertificateWatches
    """The files of every link of this node, which are read again while it runs."""

    @property
    def grace_s(self) -> float:
        """How long each part may take to stop."""
        return self.chosen.node.shutdown_timeout_s


@contextlib.asynccontextmanager
async def open_membership(
    chosen: settings.Settings,
    database: Pool,
    writer: Writer,
    right: SigningRight | None,
    certificates: CertificateWatches,
) -> AsyncIterator[Membership | None]:
    """This node's peers and its place in the cluster; none without etcd, which is said aloud."""
    if right is None:
        _log.warning("no part in rounds: CCN_ETCD_ENDPOINTS and CCN_NODE_STATE_DIR are not both set")
        yield None
        return
    node, shown = (
        NodeId(chosen.node.id),
        identity.read_identity(chosen.tls, NodeId(chosen.node.id), clock.utc_now()),
    )
    async with peers.open_client(node, shown) as client:
        here = NodeIdentity(node, right.key.public, right.key.sign, signing_key.check_signature)
        yield Membership(
            here,
            right.open_memory,
            writer,
            database,
            client,
            servers.watch_etcd(chosen.etcd, certificates),
            chosen.etcd.lease_ttl_s,
            chosen.cluster,
            clock.now_us,
        )


def assemble_instances(
    chosen: settings.Settings,
    database: Pool,
    writer: Writer,
    membership: Membership | None,
    model: PaidModel,
) -> NodeInstances:
    """The instances of this node, and the model that speaks for them."""
    return assembly.assemble_instances(
        database,
        writer,
        model,
        forwarding=Forwarding(writer.node, membership.peers if membership is not None else None),
        here=membership.presence.list_seen if membership is not None else _see_nobody,
        chosen=chosen.instances,
        claude=chosen.claude,
        new_id=clock.new_id,
        limits=chosen.limits,
        scorer=scorers.load_quantised(chosen.cluster.scorer, chosen.scoring.model, chosen.scoring.heads),
        judge=Judge(model, chosen.scoring.judge) if chosen.scoring.judge else None,
    )


def with_scorer_version(chosen: settings.Settings) -> settings.Settings:
    """The settings with the whole version of the scorer that is here, which the nodes agree on."""
    found = scorers.load_quantised(chosen.cluster.scorer, chosen.scoring.model, chosen.scoring.heads)
    cluster = chosen.cluster.model_copy(update={"scorer": found.version})
    return chosen.model_copy(update={"cluster": cluster})


def _see_nobody() -> None:
    """A node without etcd cannot tell which others are there."""
