"""What clients can call at one node, put together."""

from __future__ import annotations

import asyncio
from typing import Any

from ccn.gateway.grpc import cluster, continuity, instances
from ccn.gateway.grpc.client_calls import Clients
from ccn.node.conversations import Conversations
from ccn.node.external_loop import Lending
from ccn.store.connection.pool import Pool


def assemble(
    clients: Clients,
    *,
    pool: Pool,
    talk: Conversations,
    lending: Lending,
    tell: cluster.Tell | None,
    stop: asyncio.Event,
) -> tuple[Any, ...]:
    """The services for `Server`; without `tell` the node takes no part in rounds."""
    return (
        clients.service(instances.SERVICE, instances.Instances(pool, talk).methods()),
        clients.service(continuity.SERVICE, continuity.Continuity(pool, talk, lending).methods()),
        clients.service(cluster.SERVICE, cluster.Cluster(pool, tell, stop).methods()),
    )
