"""Being seen, and seeing: a node shows where it is, and makes up its mind about who else is here.

    enrolled ──> registered, signed ──> whatever etcd shows is sifted ──> seen, and known as peers

Separate from membership, which tells in which order a node comes to vote and lead. What others read of who
is here they read here, and never from etcd.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from ccn import errors
from ccn.core.identity.registration import Registration, ShownRegistration
from ccn.core.ids import NodeId
from ccn.core.ledger import signed
from ccn.core.ledger.signed import Signed
from ccn.etcd import client, members
from ccn.etcd.election import ElectedLeader
from ccn.etcd.session import EtcdSession
from ccn.node.rounds.member_snapshot import MemberSnapshot
from ccn.node.rounds.trust import Trust
from ccn.node.rounds.voting import NodeIdentity
from ccn.peers.client import PeerClient
from ccn.peers.exchange import NodeIntroduction

log = structlog.get_logger(__name__)

_HELLO_S = 2.0
"""How long whoever may found the chain has to say who it is."""


@dataclass(frozen=True, slots=True)
class NodeDoors:
    """Where the doors of this node are, as it tells the others, and when its process began."""

    http: str
    grpc: str
    since_us: int


@dataclass(slots=True)
class Presence:
    """Who is here, as one node believes it."""

    identity: NodeIdentity
    trust: Trust
    peers: PeerClient
    members: MemberSnapshot = field(default_factory=MemberSnapshot)
    """Who is here, replaced as a whole: whoever reads more than one thing of it keeps it first."""
    let_in: bool = True
    """Whether the others let this node in with its certificate."""
    _registrations: tuple[ShownRegistration, ...] = ()
    _updating: asyncio.Lock = field(default_factory=asyncio.Lock)
    _life: UUID | None = None
    _own_registration: Signed[Registration] | None = None

    def list_seen(self) -> Collection[NodeId] | None:
        """List the nodes that are seen; None while this one is not among them: then it sees nothing."""
        seen = self.members.seen
        return seen.keys() if self.identity.node in seen else None

    def list_doors(self) -> Collection[str]:
        """List where the doors for clients are, and were: whose door closed goes on at another one."""
        return self.members.doors.values()

    def is_rightful(self, leader: ElectedLeader) -> bool:
        """Whether a place in the election is that of a node that is seen, in its present session."""
        return self.members.is_rightful(leader)

    async def register(self, held: EtcdSession, here: NodeDoors) -> None:
        """Show where this node is, signed, in the life that it began when it first registered."""
        own = self.identity
        other = await members.find_registration(held.client, own.node)
        await self.trust.read_register()
        if other and self.trust.believes(other):
            self._check_other_process(other.said.statement)
        enrolled = self.trust.known_register.nodes.get(own.node)
        if self._life is None or enrolled is None or enrolled.life != self._life:
            self._life = await self.trust.enrol_node(own.node, own.public)
        said = Registration(
            self.trust.known_register.cluster,
            *(own.node, own.public, here.http, here.grpc, self._life, held.lease, here.since_us),
        )
        self._own_registration = signed.sign_statement(said, own.sign)
        await members.register_node(held, self._own_registration, self.trust.believes)

    def _check_other_process(self, other: Registration) -> None:
        """The newest process with a key stays, and of two keys the one that is here."""
        if other.key != self.identity.public:
            raise errors.NodeIdTaken(f"another node registers as {other.node}, with another key")
        if self._life not in {None, other.life}:
            raise errors.NodeIdTaken(f"another process registers as {other.node}, with the same key")

    async def watch(self, etcd: client.EtcdClient) -> None:
        """See who is here, until cancelled, or until this node itself is shown no more."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._follow_registrations(etcd), name="peers")
            parts.create_task(self._follow_trust(), name="trust")

    async def find_founders(self) -> Sequence[Registration]:
        """Those who are seen, and say at their doors that they are: with certificates, if there are any."""
        answers = await self.peers.hello(_HELLO_S)
        said = {each.node: each.key for each in answers.values() if isinstance(each, NodeIntroduction)}
        said[self.identity.node] = self.identity.public
        return [each for each in self.members.seen.values() if said.get(each.node) == each.key]

    async def _follow_registrations(self, etcd: client.EtcdClient) -> None:
        async with contextlib.aclosing(members.watch_registrations(etcd)) as shown:
            async for self._registrations in shown:
                if self._own_registration not in [each.said for each in self._registrations]:
                    raise errors.LeaseLost("somebody took this node's registration out of etcd")
                await self._update_view()

    async def _follow_trust(self) -> None:
        """See the same with other eyes, when the register or the chain has changed."""
        while True:
            await self.trust.wait_for_change()
            await self._update_view()

    async def _update_view(self) -> None:
        """Make up one's mind about who is here, and know those and nobody else as peers."""
        async with self._updating:
            believed = await self.trust.sift_registrations(self._registrations)
            # No await from here to the new snapshot: its parts would be of two moments.
            members = self.members.replace_members(believed, self.trust.key_of)
            self._log_outsiders(members)
            self._check_certificate()
            self.members = members
            others = members.seen if self.list_seen() else {}  # whoever is out is let in by nobody
            await self.peers.set_addresses({node: each.grpc for node, each in others.items()})
        enrolled = self.trust.known_register.nodes.get(self.identity.node)
        if enrolled is None or enrolled.life != self._life:
            raise errors.NodeIdTaken(
                f"another process has enrolled as {self.identity.node}, or the database was restored"
            )

    def _log_outsiders(self, members: MemberSnapshot) -> None:
        for node in members.outside.keys() - self.members.outside.keys():
            log.warning("a node takes no part: it was removed, or votes with another key", who=node)

    def _check_certificate(self) -> None:
        counts = self.trust.accepts_certificate(self.identity.node, self.peers.presented)
        if self.let_in and not counts:
            advice = "nobody lets it in: make another (`ccn keys renew`) and put its files in place"
            log.error("this node's certificate was revoked", advice=advice)
        self.let_in = counts
