"""Notices at once that a peer came or went, by a quiet stream to each that breaks when the peer dies.

This is a hint and no proof, and comes sooner than the end of a lease. A node behind a cut cable looks the
same and still leads. So whoever acts upon it acts under its term, and can be refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

from ccn import errors
from ccn.core.ids import NodeId
from ccn.peers.client import PeerClient
from ccn.peers.exchange import NodeIntroduction
from ccn.peers.peer import Peer

PAUSE_S = 0.25
REFUSED_PAUSE_S = 5.0
"""A peer that does not let this node in will not do so a moment later either."""

OnPeerCame = Callable[[NodeIntroduction], object]
OnPeerGone = Callable[[NodeId, str], object]


async def watch_peers(client: PeerClient, came: OnPeerCame, gone: OnPeerGone) -> None:
    """Call `came` when a peer is there and `gone` when its connection breaks, until cancelled."""
    async with asyncio.TaskGroup() as group:
        tasks = dict[Peer, asyncio.Task[None]]()
        while True:
            for peer in tasks.keys() - set(client.peers):
                tasks.pop(peer).cancel()
            for peer in set(client.peers) - tasks.keys():
                tasks[peer] = group.create_task(_watch_peer(peer, came, gone), name=f"attend {peer.node}")
            await client.wait_for_change()


async def _watch_peer(peer: Peer, came: OnPeerCame, gone: OnPeerGone) -> None:
    while not peer.closed:
        was_there = False
        reason, pause_s = f"{peer.node} is stopping", PAUSE_S
        try:
            async with aclosing(peer.stay()) as introductions:
                async for introduction in introductions:
                    was_there = True
                    came(introduction)
        except errors.PeerUnavailable as broken:
            reason = str(broken)
        except errors.PeerRefused as refused:
            reason, pause_s = str(refused), REFUSED_PAUSE_S
        if was_there and not peer.closed:
            gone(peer.node, reason)
        await asyncio.sleep(pause_s)
