"""Missing a dead leader when its connection breaks, long before its lease ends.

A process that dies closes its connections within milliseconds, and its lease lasts for seconds. So each
node keeps a quiet stream to each other one. When that of the leader breaks, and the leader does not answer
when it is asked once more, its place in the election is taken away and the next in the queue leads.

That is a suspicion and no proof: a leader which merely this node cannot see is alive. It finds out by its
term that another one leads, can write nothing any more, and queues up again.

The same becomes of a place that nobody holds whom this node believes: who can write to etcd could else keep
everybody waiting.
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
"""How long a suspect has for its answer."""
LOOK_S = 10.0
"""How often it is looked who leads; a place that is nobody's twice in a row is taken away. Not sooner,
because a node of a version before signatures is nobody too."""

Rightful = Callable[[ElectedLeader], bool]
"""Whether a place is that of a node that is believed."""


async def watch_leader(
    peers: PeerClient, etcd: client.EtcdClient, rightful: Rightful, *, look_s: float = LOOK_S
) -> None:
    """Suspect whoever leads and is gone, or is nobody, until cancelled."""
    missing, news = dict[NodeId, str](), asyncio.Event()

    def note_present(who: NodeIntroduction) -> None:
        missing.pop(who.node, None)

    def note_missing(node: NodeId, reason: str) -> None:
        missing[node] = reason
        news.set()

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(peer_watch.watch_peers(peers, note_present, note_missing), name="attention")
        tasks.create_task(_depose_strangers(etcd, rightful, look_s), name="squatters")
        while True:
            await news.wait()
            news.clear()
            try:
                # The next in the queue may be gone as well: one machine can take several nodes with it.
                while (leader := await election.find_leader(etcd)) and leader.node in missing:
                    if not await _depose_if_silent(peers, etcd, leader, missing[leader.node]):
                        break
            except errors.CCNError as failed:
                log.info("suspicion without effect", reason=str(failed))


async def _depose_strangers(etcd: client.EtcdClient, rightful: Rightful, look_s: float) -> None:
    """A node may be seen a moment after its place, so one look is not enough."""
    before = None
    while True:
        await asyncio.sleep(look_s)
        try:
            leader = await election.find_leader(etcd)
            nobody = leader is not None and not rightful(leader)
            if leader is not None and nobody and leader == before:
                log.warning("place in the election is nobody's", name=leader.node[:100])
                await election.depose_leader(etcd, leader)
            before = leader if nobody else None
        except errors.CCNError as failed:
            log.info("place in the election not looked at", reason=str(failed))


async def _depose_if_silent(
    peers: PeerClient, etcd: client.EtcdClient, leader: ElectedLeader, reason: str
) -> bool:
    try:
        await peers.find_peer(leader.node).hello(PATIENCE_S)
    except errors.PeerRefused as alive:
        log.warning("leader lets this node in no more", leader=leader.node, reason=str(alive))
    except errors.PeerUnavailable:
        log.warning("leader suspected", leader=leader.node, reason=reason)
        return await election.depose_leader(etcd, leader)
    return False
