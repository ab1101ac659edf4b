"""Noticing that the leader died when its connection breaks, long before its lease ends.

A process that dies closes its connections within milliseconds, but its lease lasts for seconds. So each
node keeps a quiet stream to every other node. When the leader's stream breaks, the node asks the leader
once more. If the leader does not answer, the node deletes its place in the election, and the next in the
queue leads.

This is a suspicion and no proof, because the leader may be alive and only unreachable from this node. Such
a leader learns from the term that another node leads. It can write nothing any more, and queues up again.

A place in the election is also deleted if it belongs to no node that this node believes. Otherwise a client
that can write to etcd could keep all nodes waiting.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import structlog

from ccn import errors
from ccn.core.ids import NodeId
from ccn.etcd import client, election
from ccn.etcd.election import ElectedLeader
from ccn.peers import peer_watch
from ccn.peers.client import PeerClient
from ccn.peers.exchange import NodeIntroduction

log = structlog.get_logger(__name__)

PATIENCE_S = 0.3
"""How long a suspected leader has to answer."""
ELECTION_READ_S = 10.0
"""How often a node checks who leads. It deletes a place that belongs to no believed node twice in a row.
One check is not enough, because a node of a version before signatures is not believed either."""

Rightful = Callable[[ElectedLeader], bool]
"""Tells whether a place in the election belongs to a node that is believed."""


async def watch_leader(
    peers: PeerClient,
    etcd: client.EtcdClient,
    rightful: Rightful,
    *,
    read_s: float = ELECTION_READ_S,
    on_introduction: Callable[[NodeIntroduction], None] = lambda _: None,
) -> None:
    """Depose a leader that is gone, or that is not believed. Runs until cancelled.

    `on_introduction` hears how each node introduces itself that comes.
    """
    missing, news = dict[NodeId, str](), asyncio.Event()

    def note_present(introduction: NodeIntroduction) -> None:
        missing.pop(introduction.node, None)
        on_introduction(introduction)

    def note_missing(node: NodeId, reason: str) -> None:
        missing[node] = reason
        news.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(peer_watch.watch_peers(peers, note_present, note_missing), name="watch peers")
        tasks.create_task(_depose_strangers(etcd, rightful, read_s), name="depose strangers")
        while True:
            await news.wait()
            news.clear()
            try:
                # The next in the queue may be gone as well: several nodes can run on one machine.
                while (leader := await election.find_leader(etcd)) and leader.node in missing:
                    if not await _depose_if_silent(peers, etcd, leader, missing[leader.node]):
                        break
            except errors.CCNError as failed:
                log.info("could not depose the suspected leader", reason=str(failed))


async def _depose_strangers(etcd: client.EtcdClient, rightful: Rightful, read_s: float) -> None:
    """Depose a leader that was not believed at two checks in a row.

    One check is not enough, because a place in the election may be visible before the node's registration.
    """
    stranger = None
    while True:
        await asyncio.sleep(read_s)
        try:
            leader = await election.find_leader(etcd)
            if leader is None or rightful(leader):
                stranger = None
                continue
            if leader == stranger:
                log.warning("the leader is not a node that is believed", name=leader.node[:100])
                await election.depose_leader(etcd, leader)
            stranger = leader
        except errors.CCNError as failed:
            log.info("could not check who leads", reason=str(failed))


async def _depose_if_silent(
    peers: PeerClient, etcd: client.EtcdClient, leader: ElectedLeader, reason: str
) -> bool:
    try:
        await peers.find_peer(leader.node).hello(PATIENCE_S)
    except errors.PeerRefused as alive:
        log.warning("the leader refuses this node", leader=leader.node, reason=str(alive))
    except errors.PeerUnavailable:
        log.warning("leader suspected", leader=leader.node, reason=reason)
        return await election.depose_leader(etcd, leader)
    return False
