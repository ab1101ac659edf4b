"""The status of the cluster, for anybody: no secrets, no content, and no names but those of nodes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import asdict

from fastapi import APIRouter, Depends, Request

from ccn import errors
from ccn.gateway.http import auth, problems, schemas
from ccn.gateway.http.conversations import context as contexts
from ccn.node.views.cluster_status import ClusterStatus, NodeSeat

LoadStatus = Callable[[], Awaitable[ClusterStatus]]


def make_router(load_status: LoadStatus | None) -> APIRouter:
    """The route of the status page; without `load_status` the node takes no part in rounds."""
    router = problems.new_router(tags=["cluster"], dependencies=[Depends(auth.admit_onlooker)])

    @router.get("/status")
    async def get_status(request: Request) -> schemas.StatusAnswer:
        """Show the nodes, the leader, the term, the height, the last round, and the unsealed leaves."""
        if load_status is None:
            raise errors.Unavailable("this node takes no part in rounds")
        status = await load_status()
        told = asdict(status) | {"nodes": [_seat_to_fields(seat) for seat in status.nodes]}
        own = {"model": _retry_of_model(request), "replicas": _list_replicas(request)}
        return schemas.StatusAnswer.model_validate(told | own)

    return router


def _seat_to_fields(seat: NodeSeat) -> dict[str, object]:
    """A node as clients see it: the protocols that it speaks are the lowest and the highest."""
    fields, spoken = asdict(seat), seat.spoken
    del fields["spoken"]
    return fields | {"protocol": (spoken.lowest, spoken.highest) if spoken is not None else None}


def _list_replicas(request: Request) -> list[dict[str, object]]:
    """How this node found the replicas of the database, as fields."""
    context = contexts.find_context(request)
    if context is None:
        return []
    return [asdict(standing) for standing in context.reading.history.replicas.list_standings()]


def _retry_of_model(request: Request) -> dict[str, object] | None:
    """What a call of this node to the model waits for, as fields; None while no call waits."""
    context = contexts.find_context(request)
    trouble = None if context is None else context.model.trouble
    if trouble is None:
        return None
    return {name: getattr(trouble, name) for name in schemas.StatusRetry.model_fields}
