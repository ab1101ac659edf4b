"""A node's place in the cluster: be seen, find or found the chain, vote, and stand for election.

    registered ──> founded ──> voting ──> campaigning ──> leading
         └── over and over, whatever etcd does: losing it ends a session, not the node

Serving does not wait for any of this. A node that cannot reach etcd still answers what leaders ask.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Collection, Coroutine, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from ccn import errors
from ccn.core import quorum, signed
from ccn.core.block import Tip
from ccn.core.ids import NodeId
from ccn.core.registration import Registration, Shown
from ccn.core.roster import Roster
from ccn.core.rules import Parameters, Rules
from ccn.core.signed import Signed
from ccn.core.signer import SignerState
from ccn.etcd import client, election, members, session
from ccn.etcd.access import Access
from ccn.etcd.election import Leader
from ccn.etcd.session import Session
from ccn.node import founding, leadership, suspicion, trust, voting, wishes
from ccn.node.asking import Everybody
from ccn.node.leadership import Candidate
from ccn.node.trust import Trust
from ccn.node.voting import Disk, Identity, Voting
from ccn.node.wishes import Wish
from ccn.peers.client import Client
from ccn.peers.exchange import Who
from ccn.store import drains, rounds, vectors
from ccn.store.pool import Pool
from ccn.store.writer import Writer

if TYPE_CHECKING:
    from ccn import settings

log = structlog.get_logger(__name__)

_AGAIN_S = 0.5
"""Pause before the next session after one was lost."""
_REFUSED_S = 5.0
"""Pause after etcd refused: only people mend that, and comparing passwords costs it something."""


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
class Membership:
    """One node's part in its cluster."""

    identity: Identity
    memory: Callable[[SignerState], Disk]
    """What this node last signed; a new node begins with the state it is given."""
    writer: Writer
    """It also knows whether a leaf under this node's name is one that it made."""
    pool: Pool
    peers: Client
    access: Access
    lease_ttl_s: float
    cluster: settings.Cluster
    now_us: Callable[[], int]
    voting: Voting | None = None
    trust: Trust = field(init=False)
    """Whom this node believes."""
    seen: Mapping[NodeId, Registration] = field(default_factory=dict)
    """The nodes that are here and take part, by name."""
    outside: Mapping[NodeId, Registration] = field(default_factory=dict)
    """Those that are here and take no part: they were removed, or vote with another key."""
    known: dict[NodeId, str] = field(default_factory=dict)
    """Where the doors for clients are of those that are seen, and of those that were."""
    _shown: tuple[Shown, ...] = ()
    _settling: asyncio.Lock = field(default_factory=asyncio.Lock)
    _life: UUID | None = None
    _counts: bool = True
    """Whether the others let this node in with its certificate."""
    _said: Signed[Registration] | None = None

    def __post_init__(self) -> None:
        """The chain is known from when this node votes on."""
        self.trust = Trust(self.pool, self.identity.check, self._rules)

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

    async def take_part(self, here: Doors, stop: asyncio.Event) -> None:
        """Until told to stop; what ends a session is logged and the next one is opened."""
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            pause_s = _AGAIN_S
            try:
                await _until(stopping, self._session(here))
            except* errors.CCNError as ended:
                leaves = list(_leaves(ended))
                for lost in leaves:
                    if isinstance(lost, errors.RecordLost):
                        self.writer.fence.lose(lost)
                reasons = sorted({str(each) or type(each).__name__ for each in leaves})
                log.warning("out of the cluster for now", reason="; ".join(reasons))
                if any(isinstance(each, errors.CoordinationRefused) for each in leaves):
                    pause_s = _REFUSED_S
            await asyncio.wait({stopping}, timeout=pause_s)

    async def wish(self) -> Wish | None:
        """The change of the validators that is asked for, which this node's reports want from here on."""
        return None if self.voting is None else await wishes.look(self.pool, self.voting, self.keys)

    async def takes_on(self) -> bool:
        """Whether this node begins things by itself: it is not drained, and what it writes gets sealed."""
        voting, node = self.voting, self.identity.node
        votes = voting is None or voting.tip.rules.key(node) is not None
        return votes and node not in await drains.draining(self.pool)

    async def _session(self, here: Doors) -> None:
        async with (
            client.opened(self.access.servers, tls=self.access.tls, user=self.access.user) as etcd,
            session.opened(etcd, ttl_s=self.lease_ttl_s, keepalive_s=0.3 * self.lease_ttl_s) as held,
        ):
            await self._register(held, here)
            await held.during(self._during(etcd, held))

    async def _register(self, held: Session, here: Doors) -> None:
        """Show where this node is, signed, in the life that it began when it first registered."""
        own = self.identity
        other = await members.standing(held.client, own.node)
        await self.trust.look()
        if other and self.trust.believes(other) and other.said.statement.key != own.public:
            raise errors.NodeIdTaken(f"another node registers as {own.node}, with another key")
        enrolled = self.trust.known.nodes.get(own.node)
        if enrolled is None or enrolled.life != self._life:
            self._life = await self.trust.enrol(own.node, own.public)
        assert self._life is not None
        said = Registration(
            self.trust.known.cluster,
            *(own.node, own.public, here.http, here.grpc, self._life, held.lease, here.since_us),
        )
        self._said = signed.sign(said, own.sign)
        await members.register(held, self._said, self.trust.believes)

    async def _during(self, etcd: client.Client, held: Session) -> None:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self._know(etcd), name="peers")
            parts.create_task(self._heed(), name="trust")
            parts.create_task(suspicion.watch(self.peers, etcd, self._rightful), name="suspicion")
            if self.voting is None:
                self.voting = await self._vote_from(await self._chain(held))
            parts.create_task(self._follow(self.voting), name="follow")
            parts.create_task(self._stand(self.voting, held), name="election")

    async def _know(self, etcd: client.Client) -> None:
        async with contextlib.aclosing(members.watch(etcd)) as shown:
            async for self._shown in shown:
                if self._said not in [each.said for each in self._shown]:
                    raise errors.LeaseLost("somebody took this node's registration out of etcd")
                await self._settle()

    async def _heed(self) -> None:
        """See the same with other eyes, when the register or the chain has changed."""
        while True:
            await self.trust.changed(trust.LOOK_S)
            await self._settle()

    async def _settle(self) -> None:
        """Make up one's mind about who is here, and know those and nobody else as peers."""
        async with self._settling:
            believed = {each.node: each for each in await self.trust.sift(self._shown)}
            self.seen = {n: each for n, each in believed.items() if self.trust.key_of(n) == each.key}
            outside = {n: each for n, each in believed.items() if n not in self.seen}
            self._tell(outside)
            self.outside = outside
            self.known = remembered(self.known, {n: each.http for n, each in self.seen.items()})
            self._tell_of_certificate()
            others = self.seen if self.identity.node in self.seen else {}  # nobody lets in who is out
            await self.peers.know({n: each.grpc for n, each in others.items()})
        enrolled = self.trust.known.nodes.get(self.identity.node)
        if enrolled is None or enrolled.life != self._life:
            raise errors.NodeIdTaken(f"another process has enrolled as {self.identity.node} meanwhile")

    def _tell(self, outside: Mapping[NodeId, Registration]) -> None:
        for node in outside.keys() - self.outside.keys():
            log.warning("a node takes no part: it was removed, or votes with another key", who=node)

    def _tell_of_certificate(self) -> None:
        counts = self.trust.counts(self.identity.node, self.peers.presented)
        if self._counts and not counts:
            advice = (
                "make another (`ccn keys renew`) and put its files in place; until then nobody lets it in"
            )
            log.error("this node's certificate was revoked", advice=advice)
        self._counts = counts

    async def _chain(self, held: Session) -> Tip:
        """The founding of the chain: known, or made by whoever is elected first, or waited for."""
        known = await rounds.tip(self.pool, 0)
        if known is not None:
            return known
        waiting = asyncio.create_task(founding.founded(self.pool))
        making = asyncio.create_task(self._found(held))
        try:
            done, _ = await asyncio.wait({waiting, making}, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in (waiting, making):
                task.cancel()
            await asyncio.gather(waiting, making, return_exceptions=True)

    async def _found(self, held: Session) -> Tip:
        elected = await election.campaign(held, self.identity.node)
        try:
            present = await founding.gathered(self._founders, self.cluster.size)
            chosen = self.cluster
            parameters = Parameters(
                chosen.scorer,
                quorum.Faults(chosen.faults),
                interval_ms=round(1000 * chosen.interval_s),
                limit_ms=round(1000 * chosen.limit_s),
            )
            return await founding.found(self.pool, self.identity.node, present, chosen.origin, parameters)
        finally:
            await election.resign(elected)

    async def _founders(self) -> Sequence[Registration]:
        """Those who are seen, and say at their doors that they are: with certificates, if there are any."""
        answers = await self.peers.hello(_HELLO_S)
        said = {each.node: each.key for each in answers.values() if isinstance(each, Who)}
        said[self.identity.node] = self.identity.public
        return [each for each in self.seen.values() if said.get(each.node) == each.key]

    async def _vote_from(self, genesis: Tip) -> Voting:
        disk = await asyncio.to_thread(self.memory, SignerState(0, genesis.hash))
        tip = await voting.standing(self.pool, disk.state, genesis, self.identity.check)
        if tip.rules.parameters.scorer != self.cluster.scorer:  # rounds go on: no leaf may wait for this
            agreed = tip.rules.parameters.scorer
            log.error("measures with another scorer than agreed", agreed=agreed, here=self.cluster.scorer)
        return Voting(
            self.identity,
            self.pool,
            disk,
            tip,
            self._rosters,
            self.writer.vouches,
            self.now_us,
            lambda: self.writer.fence.acknowledged,
        )

    async def _follow(self, standing: Voting) -> None:
        """See blocks that nobody told this node about."""
        while True:
            with contextlib.suppress(errors.Unavailable):
                await standing.decided()
            await asyncio.sleep(standing.tip.rules.parameters.interval_ms / 2000)

    async def _stand(self, standing: Voting, held: Session) -> None:
        everybody = Everybody(self.identity.node, standing, self.peers)
        candidate = Candidate(
            self.identity, standing, everybody, self.pool, self.writer, self.now_us, self.wish
        )
        while True:
            await self._entitled(standing)
            await leadership.lead(candidate, held)

    async def _entitled(self, standing: Voting) -> None:
        """Who may not vote, does not sign any more, is drained or is let in by nobody does not lead."""
        while True:
            if self._counts and await leadership.entitled(self.pool, standing, self.identity.node):
                return
            await asyncio.sleep(_AGAIN_S)

    def _rightful(self, leader: Leader) -> bool:
        """Whether a place in the election is that of a node that is seen, in its present session."""
        seen = self.seen.get(leader.node)
        return seen is not None and seen.lease == leader.lease

    def _rules(self) -> Rules | None:
        return None if self.voting is None else self.voting.tip.rules

    async def _rosters(self, tip: Tip) -> Sequence[Roster]:
        return await vectors.rosters(self.pool, self.identity.node, tip)


async def _until(stopping: asyncio.Task[object], work: Coroutine[object, object, None]) -> None:
    """Run until it ends or the node is told to stop, whichever comes first."""
    working = asyncio.create_task(work)
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _leaves(group: BaseExceptionGroup[errors.CCNError]) -> Iterator[errors.CCNError]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _leaves(each)
        else:
            yield each


def remembered(known: Mapping[NodeId, str], seen: Mapping[NodeId, str]) -> dict[NodeId, str]:
    """Those who are seen, and of those who were before, the last ones: names may come and go for ever."""
    gone = [each for each in known.items() if each[0] not in seen]
    return {**dict(gone[-REMEMBERED:]), **seen}
