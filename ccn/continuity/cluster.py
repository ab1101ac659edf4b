"""A connection to a cluster, and the conversations one begins or continues over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

import grpc  # type: ignore[import-untyped]

from ccn import errors
from ccn.continuity import local, reaching
from ccn.continuity.conversation import Conversation
from ccn.continuity.reaching import ClusterChannel
from ccn.core.ids import ConversationId
from ccn.pb import instances_pb2 as pb


@asynccontextmanager
async def connect(
    target: str = "",
    api_key: str = "",
    *,
    tls: bool = False,
    ca: Path | None = None,
    data: Path | None = None,
    patience_s: float = reaching.PATIENCE_S,
) -> AsyncIterator[Cluster]:
    """Connect to the nodes at `target` (host:port, several with commas), or to the cluster that runs here.

    `ca` is a PEM file with the authority to trust, if the nodes' certificates are not of a public one.
    `data` is the folder of a local cluster that was started with `ccn up --data`. A call is tried for
    `patience_s`, at one node after the other.
    """
    if not target:
        found = local.find_cluster(data)
        targets, api_key = found.targets, api_key or found.api_key
    else:
        targets = tuple(each.strip() for each in target.split(",") if each.strip())
    if not targets or not api_key:
        raise errors.InputInvalid("a cluster is reached by a target and an API key")
    trusted = await asyncio.to_thread(ca.read_bytes) if ca else None
    shown = grpc.ssl_channel_credentials(trusted) if tls or ca else None
    way = ClusterChannel(targets, api_key, shown, patience_s)
    try:
        yield Cluster(way)
    finally:
        await way.close()


class Cluster:
    """What one can do with an open connection."""

    def __init__(self, way: ClusterChannel) -> None:
        self._way = way

    async def begin(self, character: str, *, title: str = "", idempotency_key: str = "") -> Conversation:
        """Begin a conversation for a loop of your own. The same key again: the same conversation."""
        asked = pb.BeginRequest(
            character=character,
            title=title,
            idempotency_key=idempotency_key or reaching.new_idempotency_key(),
        )
        answer = await self._way.ask_once(lambda node: node.continuity.Begin, asked)
        return self._make_conversation(answer.conversation.id)

    async def spawn(self, character: str, *, title: str = "", idempotency_key: str = "") -> Conversation:
        """Begin a conversation in which an instance of CCN answers."""
        asked = pb.SpawnRequest(
            character=character,
            title=title,
            idempotency_key=idempotency_key or reaching.new_idempotency_key(),
        )
        answer = await self._way.ask_once(lambda node: node.instances.Spawn, asked)
        return self._make_conversation(answer.conversation.id)

    async def conversation(self, conversation: UUID | str) -> Conversation:
        """One that was begun before, here or elsewhere; NotFound if it is nobody's or somebody else's."""
        asked = pb.GetRequest(conversation=str(conversation))
        return self._make_conversation(
            (await self._way.ask_once(lambda node: node.instances.Get, asked)).conversation.id
        )

    def _make_conversation(self, named: str) -> Conversation:
        return Conversation(self._way, ConversationId(UUID(named)))
