"""A connection to a cluster, and the conversations one begins or continues over it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from uuid import UUID

from ccn import errors
from ccn.continuity import channel, local
from ccn.continuity.channel import ClientTls, ClusterChannel
from ccn.continuity.conversation import Conversation
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
    patience_s: float = channel.PATIENCE_S,
) -> AsyncIterator[Cluster]:
    """Connect to the nodes at `target` (host:port, several with commas), or to the cluster that runs here.

    `ca` is a PEM file with the authority to trust, if no public one issued the nodes' certificates. `data`
    is the folder of a local cluster that was started with `ccn up --data`. Each call tries one node after
    the other for `patience_s`. After the block every call raises `Unavailable`.
    """
    if not target:
        cluster = local.find_cluster(data)
        targets, api_key, ca = cluster.targets, api_key or cluster.api_key, ca or cluster.ca
    else:
        targets = tuple(part.strip() for part in target.split(",") if part.strip())
    if not targets or not api_key:
        raise errors.InputInvalid("a cluster is reached by a target and an API key")
    authority = await asyncio.to_thread(_read_authority, ca) if ca else None
    nodes = ClusterChannel(targets, api_key, ClientTls(authority) if tls or ca else None, patience_s)
    try:
        yield Cluster(nodes)
    finally:
        await nodes.close()


class Cluster:
    """What one can do with an open connection."""

    def __init__(self, nodes: ClusterChannel) -> None:
        self._nodes = nodes

    async def begin(self, character: str, *, title: str = "", idempotency_key: str = "") -> Conversation:
        """Begin a conversation for a loop of your own. The same key again: the same conversation."""
        request = pb.BeginRequest(
            character=character,
            title=title,
            idempotency_key=idempotency_key or channel.new_idempotency_key(),
        )
        answer = await self._nodes.ask_once(lambda node: node.continuity.Begin, request)
        return self._make_conversation(answer.conversation.id)

    async def spawn(self, character: str, *, title: str = "", idempotency_key: str = "") -> Conversation:
        """Begin a conversation in which an instance of CCN answers."""
        request = pb.SpawnRequest(
            character=character,
            title=title,
            idempotency_key=idempotency_key or channel.new_idempotency_key(),
        )
        answer = await self._nodes.ask_once(lambda node: node.instances.Spawn, request)
        return self._make_conversation(answer.conversation.id)

    async def conversation(self, conversation: UUID | str) -> Conversation:
        """Return one that was begun before. Raises NotFound if it is nobody's or somebody else's."""
        request = pb.GetRequest(conversation=str(conversation))
        answer = await self._nodes.ask_once(lambda node: node.instances.Get, request)
        return self._make_conversation(answer.conversation.id)

    def _make_conversation(self, conversation: str) -> Conversation:
        return Conversation(self._nodes, ConversationId(UUID(conversation)))


def _read_authority(ca: Path) -> bytes:
    try:
        return ca.read_bytes()
    except OSError as unreadable:
        raise errors.InputInvalid(f"ca: {ca} cannot be read: {unreadable.strerror}") from unreadable
