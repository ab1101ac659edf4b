"""Seeing the nodes without being one: what etcd shows, sifted by the register like every node does.

A gateway registers nowhere and holds no lease, so nothing has to be taken back when it dies. While etcd is
away it goes on with the nodes that it saw last.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import structlog

from ccn import errors
from ccn.core.identity.registration import ShownRegistration
from ccn.core.ids import NodeId
from ccn.etcd import members
from ccn.etcd.link import EtcdLink
from ccn.node.rounds.member_snapshot import MemberSnapshot
from ccn.node.rounds.trust import Trust
from ccn.peers.client import PeerClient

log = structlog.get_logger(__name__)

_AGAIN_S = 0.5
"""Pause before etcd is asked again after it was lost."""


@dataclass(slots=True)
class VoterWatch:
    """The nodes that a gateway sees, and its connections to them."""

    trust: Trust
    peers: PeerClient
    etcd: EtcdLink
    members: MemberSnapshot = field(default_factory=MemberSnapshot)
    _shown: Sequence[ShownRegistration] = ()
    _updating: asyncio.Lock = field(default_factory=asyncio.Lock)

    def list_seen(self) -> Collection[NodeId]:
        """List the nodes that may be asked."""
        return self.members.seen.keys()

    async def watch(self, stop: asyncio.Event) -> None:
        """See who is here, until told to stop, whatever etcd does."""
        watching = asyncio.create_task(self._watch_both(), name="nodes seen by a gateway")
        stopping = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
            if watching.done():
                await watching
        finally:
            for task in (watching, stopping):
                task.cancel()
            await asyncio.gather(watching, stopping, return_exceptions=True)

    async def _watch_both(self) -> None:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._follow_registrations(), name="registrations")
            parts.create_task(self._follow_trust(), name="trust")

    async def _follow_registrations(self) -> None:
        said = ""
        while True:
            try:
                async with (
                    self.etcd.open_client() as etcd,
                    contextlib.aclosing(members.watch_registrations(etcd)) as shown,
                ):
                    async for self._shown in shown:
                        said = ""
                        await self._update_view()
            except errors.CCNError as lost:
                if str(lost) != said:
                    said = str(lost)
                    log.warning("etcd shows no nodes for now; those seen last are asked", reason=said)
            await asyncio.sleep(_AGAIN_S)

    async def _follow_trust(self) -> None:
        """See the same with other eyes, when the register has changed."""
        while True:
            await self.trust.wait_for_change()
            with contextlib.suppress(errors.Unavailable):
                await self._update_view()

    async def _update_view(self) -> None:
        async with self._updating:
            believed = await self.trust.sift_registrations(self._shown)
            registrations = [each.said.statement for each in believed]
            programs = self.trust.list_programs(believed)
            self.members = self.members.replace_members(
                registrations, self.trust.key_of, programs, self.trust.protocol_in_force
            )
            await self.peers.set_addresses({node: each.grpc for node, each in self.members.seen.items()})
