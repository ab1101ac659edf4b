"""Who is here: each node's id, addresses and public key, under its lease.

Separate from the election because every node is a member and at most one leads. This list says who can be
reached now; who may vote is written in the log and never read from here.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from datetime import datetime

import orjson
import structlog

from ccn import errors
from ccn.core import ids
from ccn.core.ids import NodeId
from ccn.etcd import changes
from ccn.etcd.client import Client
from ccn.etcd.entry import Entry, Refused, Snapshot
from ccn.etcd.session import Session

PREFIX = "/ccn/nodes/"
ATTEMPTS = 3

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Member:
    """A node that is here: where its doors are (host:port), its Ed25519 key, and since when it runs."""

    node: NodeId
    http: str
    grpc: str
    public_key: bytes
    since: datetime | None = None
    """When its process began, by its own clock."""

    def __post_init__(self) -> None:
        ids.name(self.node, "node")
        if len(self.public_key) != 32:
            raise errors.InputInvalid("an Ed25519 public key has 32 bytes")


async def register(session: Session, member: Member, *, prefix: str = PREFIX) -> None:
    """Show `member` until the session ends.

    A node that came back replaces what its former life left behind; a node with another key is refused with
    `NodeIdTaken`. `OutcomeUnknown` asks to register again.
    """
    client, key = session.client, f"{prefix}{member.node}"
    for _ in range(ATTEMPTS):
        session.check()
        standing = await client.get(key)
        _check_ours(standing, member)
        if standing and standing.lease == session.lease and _decoded(standing) == member:
            return
        with contextlib.suppress(errors.OutcomeUnknown):
            modified = standing.modified if standing else 0
            result = await client.put(key, _encoded(member), lease=session.lease, if_modified=modified)
            if not isinstance(result, Refused):
                return
    raise errors.OutcomeUnknown(f"node {member.node} may or may not be registered")


async def present(client: Client, *, prefix: str = PREFIX) -> tuple[Member, ...]:
    """The members of this moment, ordered by id."""
    return _members(await client.read(prefix))


async def watch(client: Client, *, prefix: str = PREFIX) -> AsyncGenerator[tuple[Member, ...]]:
    """The members now, and again after every change."""
    shown = None
    async with contextlib.aclosing(changes.view(client, prefix)) as snapshots:
        async for snapshot in snapshots:
            members = _members(snapshot)
            if members != shown:
                shown = members
                yield members


def _check_ours(standing: Entry | None, member: Member) -> None:
    other = _decoded(standing) if standing else None
    if other and other.public_key != member.public_key:
        raise errors.NodeIdTaken(f"node {member.node} is registered with another key, at {other.grpc}")


def _members(snapshot: Snapshot) -> tuple[Member, ...]:
    return tuple(member for found in snapshot.entries if (member := _decoded(found)))


def _encoded(member: Member) -> bytes:
    shown = {"node": member.node, "http": member.http, "grpc": member.grpc, "key": member.public_key.hex()}
    return orjson.dumps({**shown, "since": member.since} if member.since else shown)


def _decoded(found: Entry) -> Member | None:
    """The member, or None for what no version of CCN wrote: a stranger's key must not stop a node."""
    try:
        shown = orjson.loads(found.value)
        since = datetime.fromisoformat(shown["since"]) if "since" in shown else None
        key = bytes.fromhex(shown["key"])
        return Member(NodeId(shown["node"]), shown["http"], shown["grpc"], key, since)
    except (ValueError, KeyError, TypeError, errors.InputInvalid) as strange:
        log.warning("etcd member not readable", key=found.key, reason=str(strange))
        return None
