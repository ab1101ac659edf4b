"""Puts together the services that clients can call at one node."""

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
    conversations: Conversations,
    external_loop: ExternalLoop,
    load_status: cluster.LoadStatus | None,
    stop: asyncio.Event,
) -> tuple[Any, ...]:
    """Make the services for `GrpcServer`. Without `load_status` the node takes no part in rounds."""
    return (
        clients.make_service(instances.SERVICE, instances.InstancesService(pool, conversations).methods()),
        clients.make_service(
            continuity.SERVICE, continuity.ContinuityService(pool, conversations, external_loop).methods()
        ),
        clients.make_service(cluster.SERVICE, cluster.ClusterService(pool, load_status, stop).methods()),
    )
