"""Puts together the services that clients can call at one node."""

from __future__ import annotations

import asyncio
from typing import Any

from ccn.gateway.accounts.access import ConversationAccess
from ccn.gateway.deeds.interface import ConversationDeeds, LoopDeeds, RequestDeeds
from ccn.gateway.grpc import cluster, continuity, instances
from ccn.gateway.grpc.client_calls import ClientCalls
from ccn.store.replicas.reads import ReplicaReads


def assemble_services(
    clients: ClientCalls,
    *,
    access: ConversationAccess,
    deeds: ConversationDeeds,
    loop_deeds: LoopDeeds,
    request_deeds: RequestDeeds,
    load_status: cluster.LoadStatus | None,
    reads: ReplicaReads,
    stop: asyncio.Event,
) -> tuple[Any, ...]:
    """Make the services for `GrpcServer`. Without `load_status` the node takes no part in rounds."""
    return (
        clients.make_service(instances.SERVICE, instances.InstancesService(access, deeds, reads).methods()),
        clients.make_service(
            continuity.SERVICE, continuity.ContinuityService(access, deeds, loop_deeds, reads).methods()
        ),
        clients.make_service(
            cluster.SERVICE,
            cluster.ClusterService(access.pool, request_deeds, load_status, stop).methods(),
        ),
    )
