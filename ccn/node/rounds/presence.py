"""Presence: a node shows where it is, and decides which other nodes it believes to be present.

    enrolled ──> registered, signed ──> registrations in etcd are sifted ──> seen, and known as peers

Separate from membership, which runs the steps by which a node comes to vote and lead. All other code reads
here which nodes are present, and never from etcd.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

import ccn
from ccn import errors
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.identity.registration import ProgramNotice, Registration, ShownRegistration
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
"""How long a node that may found the chain has to say who it is."""


@dataclass(frozen=True, slots=True)
class NodeDoors:
    """The addresses of this node's doors, as it tells the other nodes, and when its process began."""

    http: str
    grpc: str
    since_us: int


@dataclass(slots=True)
class Presence:
    """Which nodes are present, as one node believes."""

    identity: NodeIdentity
    trust: Trust
    peers: PeerClient
    spoken: ProtocolRange
    """What this program speaks, as it tells the other nodes."""
    members: MemberSnapshot = field(default_factory=MemberSnapshot)
    """Which nodes are present. It is replaced as a whole, so take it once to read several things of it."""
    let_in: bool = True
    """Whether the other nodes accept this node's certificate."""
    _registrations: tuple[ShownRegistration, ...] = ()
    _updating: asyncio.Lock = field(default_factory=asyncio.Lock)
    _life: UUID | None = None
    _own_registration: Signed[Registration] | None = None
    _own_program: Signed[ProgramNotice] | None = None

    def list_seen(self) -> Collection[NodeId] | None:
        """List the nodes that are seen, or return None while this node is not one of them."""
        seen = self.members.seen
        return seen.keys() if self.identity.node in seen else None

    def list_doors(self) -> Collection[str]:
        """List the present and some former addresses for clients, so that a client can try another one."""
        return self.members.doors.values()

    def is_rightful(self, leader: ElectedLeader) -> bool:
        """Return whether a place in the election belongs to a node that is seen, in its present session."""
        return self.members.is_rightful(leader)

    async def register(self, session: EtcdSession, doors: NodeDoors) -> None:
        """Show in etcd, signed, where this node is. Its life begins when it first registers."""
        own = self.identity
        other = await members.find_registration(session.client, own.node)
        await self.trust.read_register()
        if other and self.trust.believes(other):
            self._check_other_process(other.said.statement)
        enrolled = self.trust.known_register.nodes.get(own.node)
        if self._life is None or enrolled is None or enrolled.life != self._life:
            self._life = await self.trust.enrol_node(own.node, own.public)
        registration = Registration(
            self.trust.known_register.cluster,
            *(own.node, own.public, doors.http, doors.grpc, self._life, session.lease, doors.since_us),
        )
        notice = ProgramNotice(
            registration.cluster, own.node, self._life, session.lease, ccn.__version__, self.spoken
        )
        self._own_registration = signed.sign_statement(registration, own.sign)
        self._own_program = signed.sign_statement(notice, own.sign)
        await members.register_node(
            session, self._own_registration, self.trust.believes, program=self._own_program
        )

    def _check_other_process(self, other: Registration) -> None:
        """Refuse to register beside a process that may stay.

        A process with another key stays. Of several processes with this key, the newest one stays.
        """
        if other.key != self.identity.public:
            raise errors.NodeIdTaken(f"another node registers as {other.node}, with another key")
        if self._life not in {None, other.life}:
            raise errors.NodeIdTaken(f"another process registers as {other.node}, with the same key")

    async def watch(self, etcd: client.EtcdClient) -> None:
        """Follow which nodes are present, until cancelled or until this node's registration is gone."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._follow_registrations(etcd), name="follow registrations")
            parts.create_task(self._follow_trust(), name="follow trust")

    async def find_founders(self) -> Sequence[Registration]:
        """Return the nodes that are seen and that answer at their doors with the key of their registration.

        Where there is TLS, their certificates are checked too.
        """
        answers = (await self.peers.hello(_HELLO_S)).values()
        key_of = {answer.node: answer.key for answer in answers if isinstance(answer, NodeIntroduction)}
        key_of[self.identity.node] = self.identity.public
        seen = self.members.seen.values()
        return [registration for registration in seen if key_of.get(registration.node) == registration.key]

    async def _follow_registrations(self, etcd: client.EtcdClient) -> None:
        async with contextlib.aclosing(members.watch_registrations(etcd)) as shown:
            async for self._registrations in shown:
                if (self._own_registration, self._own_program) not in [
                    (registration.said, registration.program) for registration in self._registrations
                ]:
                    raise errors.LeaseLost("this node's registration was deleted from etcd, or changed")
                await self._update_view()

    async def _follow_trust(self) -> None:
        """Judge the same registrations again when the register or the chain may have changed."""
        while True:
            await self.trust.wait_for_change()
            await self._update_view()

    async def _update_view(self) -> None:
        """Decide which nodes are present, and set their addresses as those of the peers."""
        async with self._updating:
            believed = await self.trust.sift_registrations(self._registrations)
            # Do not await before the new snapshot is set, or its parts would be of two moments.
            members = self.members.replace_members(
                [registration.said.statement for registration in believed],
                self.trust.key_of,
                self.trust.list_programs(believed),
                self.trust.protocol_in_force,
            )
            self._log_outsiders(members)
            self._check_certificate()
            self.members = members
            # A node that is not seen itself has no peers: the other nodes would refuse it.
            others = members.seen if self.list_seen() else {}
            await self.peers.set_addresses({node: shown.grpc for node, shown in others.items()})
        enrolled = self.trust.known_register.nodes.get(self.identity.node)
        if enrolled is None or enrolled.life != self._life:
            raise errors.NodeIdTaken(
                f"another process has enrolled as {self.identity.node}, or the database was restored"
            )

    def _log_outsiders(self, members: MemberSnapshot) -> None:
        for node in members.outside.keys() - self.members.outside.keys():
            log.warning(
                "a node takes no part: it was removed, votes with another key or speaks another protocol",
                who=node,
                speaks=str(members.spoken_by(node)),
            )

    def _check_certificate(self) -> None:
        counts = self.trust.accepts_certificate(self.identity.node, self.peers.presented)
        if self.let_in and not counts:
            advice = "the other nodes refuse it: make another (`ccn keys renew`) and install its files"
            log.error("this node's certificate was revoked", advice=advice)
        self.let_in = counts
