"""The calls of cluster.proto: the state of the cluster, its rounds as they end, and a round now."""

from __future__ import annotations

import asyncio
import secrets
import uuid
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Any
from uuid import UUID

from ccn import errors
from ccn.gateway.accounts.access import Caller
from ccn.gateway.grpc.client_calls import ClientMethod
from ccn.node.operators import submission
from ccn.node.views.cluster_status import ClusterStatus
from ccn.pb import cluster_pb2 as pb
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool
from ccn.store.operators import requests
from ccn.store.rounds import consensus_log
from ccn.store.rounds.consensus_log import LogEntry

SERVICE = pb.DESCRIPTOR.services_by_name["Cluster"]
LOOK_S = 0.5
"""How often a watcher looks for a new round."""
_PAGE = 100
_KEYS = UUID("5b0e6a0c-6a53-4a7b-8a7e-0d3c9b6f1f52")
"""The name space of rounds that were asked for under an idempotency key."""

LoadStatus = Callable[[], Awaitable[ClusterStatus]]


class ClusterService:
    """The service of one node; without `tell` the node takes no part in rounds."""

    def __init__(self, pool: Pool, tell: LoadStatus | None, stop: asyncio.Event) -> None:
        self._pool, self._tell, self._stop = pool, tell, stop

    def methods(self) -> Mapping[str, ClientMethod]:
        """What answers which call, and whose."""
        return {
            "Status": ClientMethod(Tier.PUBLIC, self._get_status),
            "WatchRounds": ClientMethod(Tier.USER, self._watch_rounds),
            "ForceRound": ClientMethod(Tier.ADMIN, self._force_round),
        }

    async def _get_status(self, _: Caller, __: pb.StatusRequest) -> pb.StatusAnswer:
        if self._tell is None:
            raise errors.Unavailable("this node takes no part in rounds")
        return _status_to_pb(await self._tell())

    async def _watch_rounds(self, _: Caller, asked: pb.WatchRoundsRequest) -> AsyncGenerator[pb.Round]:
        """No round is left out, and none told twice: a watcher that comes back names the last it saw."""
        if asked.HasField("after"):
            last = asked.after
        else:
            newest = await consensus_log.load_newest(self._pool, command=requests.ROUND, limit=1)
            last = newest[0].index if newest else 0
        while not self._stop.is_set():
            for entry in await consensus_log.load_after(
                self._pool, last, command=requests.ROUND, limit=_PAGE
            ):
                last = entry.index
                yield _round_to_pb(entry)
            with suppress(TimeoutError):
                async with asyncio.timeout(LOOK_S):
                    await self._stop.wait()
        raise errors.ShuttingDown("this node is stopping; watch at another one")

    async def _force_round(self, caller: Caller, asked: pb.ForceRoundRequest) -> pb.ForceRoundAnswer:
        key = asked.idempotency_key or secrets.token_hex(16)
        request = uuid.uuid5(_KEYS, f"{caller.user}/{key}")
        told: Mapping[str, Any] = await submission.force_round(self._pool, request, caller.name)
        return pb.ForceRoundAnswer(
            committed=told["committed"],
            height=told["height"],
            term=told.get("term", 0),
            reason=told.get("reason", ""),
            votes=told.get("votes", ()),
        )


def _status_to_pb(status: ClusterStatus) -> pb.StatusAnswer:
    return pb.StatusAnswer(
        node=status.node,
        nodes=[
            pb.Seat(
                node=seat.node,
                votes=bool(seat.votes),
                here=seat.here,
                draining=seat.draining,
                address=seat.address,
            )
            for seat in status.nodes
        ],
        leader=status.leader or "",
        term=status.term,
        height=status.height,
        quorum=status.quorum or 0,
        unsealed=status.unsealed,
        database_mode=status.database_mode,
        stopped=status.stopped,
    )


def _round_to_pb(entry: LogEntry) -> pb.Round:
    told: Mapping[str, Any] = entry.data
    return pb.Round(
        index=entry.index,
        term=entry.term,
        committed=entry.committed,
        height=told.get("height"),
        reason=told.get("reason", ""),
        leader=told.get("leader", ""),
        hash=told.get("hash", ""),
        leaves=told.get("leaves", 0),
        votes=told.get("votes", ()),
        characters=[pb.Agreement(**each) for each in told.get("characters", ())],
        at=entry.at,
    )
