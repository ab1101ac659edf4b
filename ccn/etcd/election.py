"""Who leads: the oldest key under a prefix, each key guarded by its candidate's lease.

Separate from the session because leading is a claim on top of being alive. An election gives liveness
only. What a leader writes is fenced by the term it takes from PostgreSQL, so two nodes that believe they
lead do no harm.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

import structlog

from ccn import errors
from ccn.core.ids import NodeId
from ccn.etcd import changes
from ccn.etcd.client import EtcdClient
from ccn.etcd.entry import EtcdEntry, EtcdSnapshot, WriteRefused
from ccn.etcd.session import EtcdSession

PREFIX = "/ccn/leader/"
ATTEMPTS = 3

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class ElectedLeader:
    """The node whose key is the oldest. `revision` is when that key was created, `lease` guards it."""

    node: NodeId
    revision: int
    lease: int


@dataclass(frozen=True, slots=True)
class Leadership:
    """This node leads until `session.ended` fires, or until it resigns."""

    session: EtcdSession
    key: str
    revision: int


async def campaign(session: EtcdSession, node: NodeId, *, prefix: str = PREFIX) -> Leadership:
    """Queue up and wait until every older candidate is gone.

    Raises `LeaseLost` when the session ends or the key is deleted. Whatever stops the wait takes the key
    back. Where even that fails, the key stays in the queue until the lease ends: campaign again, which
    finds the same key, or close the session.
    """
    key = f"{prefix}{session.lease:016x}"
    try:
        place = await _enter_election(session, key, node)
        await session.run_while_alive(_wait_until_first(session.client, prefix, place))
    except BaseException:
        if session.alive:
            try:
                await _leave_election(session.client, key)
            except errors.CCNError as failed:
                log.warning("etcd election place not taken back", key=key, reason=str(failed))
        raise
    return Leadership(session, key, place.created)


async def resign(leadership: Leadership) -> None:
    """Stop leading at once.

    After `OutcomeUnknown` the key may still be there; closing the session ends it.
    """
    await _leave_election(leadership.session.client, leadership.key)


async def find_leader(client: EtcdClient, *, prefix: str = PREFIX) -> ElectedLeader | None:
    """Return who leads at this moment."""
    return _leader_from_snapshot(await client.read_prefix(prefix))


async def depose_leader(client: EtcdClient, suspect: ElectedLeader, *, prefix: str = PREFIX) -> bool:
    """Delete the key of a leader that may be dead. False if it does not lead any more.

    A leader that is alive keeps its session, and learns from PostgreSQL that another term has begun.
    """
    snapshot = await client.read_prefix(prefix)
    place = _oldest_entry(snapshot)
    if place is None or _leader_from_snapshot(snapshot) != suspect:
        return False
    return not isinstance(await client.delete_entry(place.key, if_modified=place.modified), WriteRefused)


async def _enter_election(session: EtcdSession, key: str, node: NodeId) -> EtcdEntry:
    for _ in range(ATTEMPTS):
        session.check_alive()
        if place := await session.client.get_entry(key):
            return place
        with contextlib.suppress(errors.OutcomeUnknown):
            await session.client.put_entry(key, node.encode(), lease=session.lease, if_modified=0)
    raise errors.OutcomeUnknown(f"node {node} may or may not have a place in the election")


async def _leave_election(client: EtcdClient, key: str) -> None:
    for _ in range(ATTEMPTS):
        place = await client.get_entry(key)
        if place is None:
            return
        with contextlib.suppress(errors.OutcomeUnknown):
            await client.delete_entry(key, if_modified=place.modified)
    raise errors.OutcomeUnknown(f"the place {key} in the election may or may not stand")


async def _wait_until_first(client: EtcdClient, prefix: str, place: EtcdEntry) -> None:
    async with contextlib.aclosing(changes.watch_snapshots(client, prefix)) as snapshots:
        async for snapshot in snapshots:
            if place not in snapshot.entries:
                raise errors.LeaseLost("this node's place in the election is gone, as when its lease ends")
            if place == _oldest_entry(snapshot):
                return


def _oldest_entry(snapshot: EtcdSnapshot) -> EtcdEntry | None:
    return min(snapshot.entries, key=lambda entry: entry.created, default=None)


def _leader_from_snapshot(snapshot: EtcdSnapshot) -> ElectedLeader | None:
    oldest = _oldest_entry(snapshot)
    if oldest is None:
        return None
    return ElectedLeader(NodeId(oldest.value.decode(errors="replace")), oldest.created, oldest.lease)
