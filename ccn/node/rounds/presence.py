"""Being seen, and seeing: a node shows where it is, and makes up its mind about who else is here.

    enrolled ──> registered, signed ──> whatever etcd shows is sifted ──> seen, and known as peers

Separate from membership, which tells in which order a node comes to vote and lead. What others read of who
is here they read here, and never from etcd.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import structlog

from ccn import errors
from ccn.core.identity.registration import Registration, Shown
from ccn.core.ids import NodeId
from ccn.core.ledger import signed
from ccn.core.ledger.signed import Signed
from ccn.etcd import client, members
from ccn.etcd.election import Leader
from ccn.etcd.session import Session
from ccn.node.rounds.trust import Trust
from ccn.node.rounds.voting import Identity
from ccn.peers.client import Client
from ccn.peers.exchange import Who

log = structlog.get_logger(__name__)

_HELLO_S = 2.0
"""How long whoever may found the chain has to say who it is."""
REMEMBERED = 32
"""Nodes that are not here any more."""


@dataclass(frozen=True, slots=True)
class Doors:
    """Where the doors of this node are, as it tells the others, and when its process began."""

    http: str
    grpc: str
    since_us: int


@dataclass(slots=True)
class Presence:
    """Who is here, as one node believes it."""

    identity: Identity
    trust: Trust
    peers: Client
    seen: Mapping[NodeId, Registration] = field(default_factory=dict)
    """The nodes that are here and take part, by name."""
    outside: Mapping[NodeId, Registration] = field(default_factory=dict)
    """Those that are here and take no part: they were removed, or vote with another key."""
    known: dict[NodeId, str] = field(default_factory=dict)
    """Where the doors for clients are of those that are seen, and of those that were and may come back."""
    let_in: bool = True
    """Whether the others let this node in with its certificate."""
    _shown: tuple[Shown, ...] = ()
    _settling: asyncio.Lock = field(default_factory=asyncio.Lock)
    _life: UUID | None = None
    _said: Signed[Registration] | None = None

    @property
    def keys(self) -> Mapping[NodeId, bytes]:
        """The keys with which nodes have registered."""
        return {node: each.key for node, each in {**self.outside, **self.seen}.items()}

    def here(self) -> Collection[NodeId] | None:
        """The nodes that are seen; None while this one is not among them, because then it sees nothing."""
        return self.seen.keys() if self.identity.node in self.seen else None

    def doors(self) -> Collection[str]:
        """Where the doors for clients are, and were: whose door closed goes on at another one."""
        return self.known.values()

    def rightful(self, leader: Leader) -> bool:
        """Whether a place in the election is that of a node that is seen, in its present session."""
        seen = self.seen.get(leader.node)
        return seen is not None and seen.lease == leader.lease

    async def register(self, held: Session, here: Doors) -> None:
        """Show where this node is, signed, in the life that it began when it first registered."""
        own = self.identity
        other = await members.standing(held.client, own.node)
        await self.trust.look()
        if other and self.trust.believes(other):
            self._check_own(other.said.statement)
        enrolled = self.trust.known.nodes.get(own.node)
        if self._life is None or enrolled is None or enrolled.life != self._life:
            self._life = await self.trust.enrol(own.node, own.public)
        said = Registration(
            self.trust.known.cluster,
            *(own.node, own.public, here.http, here.grpc, self._life, held.lease, here.since_us),
        )
        self._said = signed.sign(said, own.sign)
        await members.register(held, self._said, self.trust.believes)

    def _check_own(self, other: Registration) -> None:
        """The newest process with a key stays, and of two keys the one that is here."""
        if other.key != self.identity.public:
            raise errors.NodeIdTaken(f"another node registers as {other.node}, with another key")
        if self._life not in {None, other.life}:
            raise errors.NodeIdTaken(f"another process registers as {other.node}, with the same key")

    async def watch(self, etcd: client.Client) -> None:
        """See who is here, until cancelled, or until this node itself is shown no more."""
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._know(etcd), name="peers")
            parts.create_task(self._heed(), name="trust")

    async def founders(self) -> Sequence[Registration]:
        """Those who are seen, and say at their doors that they are: with certificates, if there are any."""
        answers = await self.peers.hello(_HELLO_S)
        said = {each.node: each.key for each in answers.values() if isinstance(each, Who)}
        said[self.identity.node] = self.identity.public
        return [each for each in self.seen.values() if said.get(each.node) == each.key]

    async def _know(self, etcd: client.Client) -> None:
        async with contextlib.aclosing(members.watch(etcd)) as shown:
            async for self._shown in shown:
                if self._said not in [each.said for each in self._shown]:
                    raise errors.LeaseLost("somebody took this node's registration out of etcd")
                await self._settle()

    async def _heed(self) -> None:
        """See the same with other eyes, when the register or the chain has changed."""
        while True:
            await self.trust.changed()
            await self._settle()

    async def _settle(self) -> None:
        """Make up one's mind about who is here, and know those and nobody else as peers."""
        async with self._settling:
            believed = {each.node: each for each in await self.trust.sift(self._shown)}
            self.seen = {n: each for n, each in believed.items() if self.trust.key_of(n) == each.key}
            self._put_outside({n: each for n, each in believed.items() if n not in self.seen})
            self._look_at_certificate()
            known = remembered(self.known, {n: each.http for n, each in self.seen.items()})
            self.known = {n: http for n, http in known.items() if self.trust.key_of(n) is not None}
            others = self.seen if self.here() else {}  # whoever is out is let in by nobody
            await self.peers.know({n: each.grpc for n, each in others.items()})
        enrolled = self.trust.known.nodes.get(self.identity.node)
        if enrolled is None or enrolled.life != self._life:
            raise errors.NodeIdTaken(
                f"another process has enrolled as {self.identity.node}, or the database was restored"
            )

    def _put_outside(self, outside: Mapping[NodeId, Registration]) -> None:
        for node in outside.keys() - self.outside.keys():
            log.warning("a node takes no part: it was removed, or votes with another key", who=node)
        self.outside = outside

    def _look_at_certificate(self) -> None:
        counts = self.trust.counts(self.identity.node, self.peers.presented)
        if self.let_in and not counts:
            advice = "nobody lets it in: make another (`ccn keys renew`) and put its files in place"
            log.error("this node's certificate was revoked", advice=advice)
        self.let_in = counts


def remembered(known: Mapping[NodeId, str], seen: Mapping[NodeId, str]) -> dict[NodeId, str]:
    """Those who are seen, and of those who were before, the last ones: names may come and go for ever."""
    gone = [each for each in known.items() if each[0] not in seen]
    return {**dict(gone[-REMEMBERED:]), **seen}
