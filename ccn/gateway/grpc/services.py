"""What clients can call at one node, put together."""

from __future__ import annotations

import asyncio
from typing import Any

from ccn.gateway.grpc import cluster, continuity, instances
from ccn.gateway.grpc.client_calls import ClientCalls
from ccn.node.conversations import Conversations
from ccn.node.external_loop import ExternalLoop
from ccn.store.connection.pool import Pool


def assemble_services(
    clients: ClientCalls,
    *,
    pool: Pool,
    talk: Conversations,
    lending: ExternalLoop,
    tell: cluster.LoadStatus | None,
    stop: asyncio.Event,
) -> tuple[Any, ...]:
    """The services for `GrpcServer`; without `tell` the node takes no part in rounds."""
    return (
        clients.make_service(instances.SERVICE, instances.InstancesService(pool, talk).methods()),
        clients.make_service(
            continuity.SERVICE, continuity.ContinuityService(pool, talk, lending).methods()
        ),
        clients.make_service(cluster.SERVICE, cluster.ClusterService(pool, tell, stop).methods()),
    )
