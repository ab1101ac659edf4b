"""Answers the calls of cluster.proto: the status of the cluster, its rounds as they end, a round now."""

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
from ccn.gateway.deeds.interface import RequestDeeds
from ccn.gateway.grpc.client_calls import ClientMethod
from ccn.node.views.cluster_status import ClusterStatus
from ccn.pb import cluster_pb2 as pb
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool
from ccn.store.operators import requests
from ccn.store.rounds import consensus_log
from ccn.store.rounds.consensus_log import LogEntry

SERVICE = pb.DESCRIPTOR.services_by_name["Cluster"]
ROUND_POLL_S = 0.5
"""How often a watcher looks for a new round."""
_PAGE = 100
_ROUND_IDS = UUID("5b0e6a0c-6a53-4a7b-8a7e-0d3c9b6f1f52")
"""The name space for the ids of rounds that were forced under an idempotency key."""

LoadStatus = Callable[[], Awaitable[ClusterStatus]]


class ClusterService:
    """The service of one node. Without `load_status` the node takes no part in rounds."""

    def __init__(
        self, pool: Pool, deeds: RequestDeeds, load_status: LoadStatus | None, stop: asyncio.Event
    ) -> None:
        self._pool, self._deeds, self._load_status, self._stop = pool, deeds, load_status, stop

    def methods(self) -> Mapping[str, ClientMethod]:
        """The method for each call, with the tier it needs."""
        return {
            "Status": ClientMethod(Tier.PUBLIC, self._get_status),
            "WatchRounds": ClientMethod(Tier.USER, self._watch_rounds),
            "ForceRound": ClientMethod(Tier.ADMIN, self._force_round),
        }

    async def _get_status(self, _: Caller, __: pb.StatusRequest) -> pb.StatusAnswer:
        if self._load_status is None:
            raise errors.Unavailable("this node takes no part in rounds")
        return _status_to_pb(await self._load_status())

    async def _watch_rounds(self, _: Caller, request: pb.WatchRoundsRequest) -> AsyncGenerator[pb.Round]:
        """Send every round once. A watcher that comes back names the last round it saw."""
        if request.HasField("after"):
            last = request.after
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
                async with asyncio.timeout(ROUND_POLL_S):
                    await self._stop.wait()
        raise errors.ShuttingDown("this node is stopping; watch at another one")

    async def _force_round(self, caller: Caller, request: pb.ForceRoundRequest) -> pb.ForceRoundAnswer:
        key = request.idempotency_key or secrets.token_hex(16)
        round_id = uuid.uuid5(_ROUND_IDS, f"{caller.user}/{key}")
        outcome: Mapping[str, Any] = await self._deeds.ask_and_wait(caller, round_id, requests.ROUND)
        return pb.ForceRoundAnswer(
            committed=outcome["committed"],
            height=outcome["height"],
            term=outcome.get("term", 0),
            reason=outcome.get("reason", ""),
            votes=outcome.get("votes", ()),
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
                version=seat.version,
                lowest_protocol=seat.spoken.lowest if seat.spoken else 0,
                highest_protocol=seat.spoken.highest if seat.spoken else 0,
                outside=seat.outside,
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
        protocol=status.protocol or 0,
    )


def _round_to_pb(entry: LogEntry) -> pb.Round:
    data: Mapping[str, Any] = entry.data
    return pb.Round(
        index=entry.index,
        term=entry.term,
        committed=entry.committed,
        height=data.get("height"),
        reason=data.get("reason", ""),
        leader=data.get("leader", ""),
        hash=data.get("hash", ""),
        leaves=data.get("leaves", 0),
        votes=data.get("votes", ()),
        characters=[pb.Agreement(**each) for each in data.get("characters", ())],
        at=entry.at,
    )
