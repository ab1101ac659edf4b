"""A node's place in the cluster: be seen, find or found the chain, vote, and stand for election.

    registered ──> founded ──> voting ──> campaigning ──> leading
         └── again for each session: losing etcd ends a session, not the node

Serving does not wait for any of this. A node that cannot reach etcd still answers the leader's requests.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from ccn import errors
from ccn.core.chain import protocol, quorum
from ccn.core.chain.block import Tip
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.chain.roster import Roster
from ccn.core.chain.rules import Parameters, Rules
from ccn.core.ids import NodeId
from ccn.core.rounds.signer import SignerState
from ccn.etcd import client, election
from ccn.etcd import session as etcd_session
from ccn.etcd.link import EtcdLink
from ccn.etcd.session import EtcdSession
from ccn.node.rounds import (
    genesis,
    leader_watch,
    leadership,
    trust,
    validator_changes,
    voting,
)
from ccn.node.rounds.leadership import Candidate
from ccn.node.rounds.poll import NodePoll
from ccn.node.rounds.presence import NodeDoors, Presence
from ccn.node.rounds.trust import Trust
from ccn.node.rounds.validator_changes import WantedChange
from ccn.node.rounds.voting import NodeIdentity, SignerFile, Voting
from ccn.peers.client import PeerClient
from ccn.peers.exchange import NodeIntroduction
from ccn.store.character import vectors
from ccn.store.connection.pool import Pool
from ccn.store.operators import drains
from ccn.store.rounds import blocks
from ccn.store.writing.writer import Writer

if TYPE_CHECKING:
    from ccn import settings

log = structlog.get_logger(__name__)

_AGAIN_S = 0.5
"""Pause after a session was lost, before the next one."""
_REFUSED_S = 5.0
"""Pause after etcd refused this node. It is long, because only an operator can repair that, and because
checking passwords costs etcd computing time."""


@dataclass(slots=True)
class Membership:
    """One node's part in its cluster."""

    identity: NodeIdentity
    open_memory: Callable[[SignerState], SignerFile]
    """Opens what this node last signed. A new node begins with the state that is given."""
    writer: Writer
    """Also tells whether this node made a leaf that has its name."""
    pool: Pool
    peers: PeerClient
    etcd: EtcdLink
    lease_ttl_s: float
    cluster: settings.ClusterSettings
    now_us: Callable[[], int]
    register_read_s: float = trust.REGISTER_READ_S
    """How often the register of nodes is read."""
    spoken: ProtocolRange = protocol.SPOKEN
    """Which protocols this program speaks."""
    voting: Voting | None = None
    presence: Presence = field(init=False)
    """Which nodes are present."""
    opening_voting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Ensures that what this node last signed is opened once."""
    unreadable: str = ""
    """Why this program cannot read the rules in force: they are of a protocol that it does not speak."""

    def __post_init__(self) -> None:
        """Make the presence and the trust of this node. They read the chain once this node votes."""
        trust_of_node = Trust(self.pool, self.identity.check, self._current_rules, self.register_read_s)
        self.presence = Presence(self.identity, trust_of_node, self.peers, self.spoken)

    async def take_part(self, doors: NodeDoors, stop: asyncio.Event) -> None:
        """Take part until told to stop. When a session ends, log why and open the next one."""
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            pause_s = _AGAIN_S
            try:
                await _run_until(stopping, self._run_session(doors))
            except* errors.CCNError as group:
                causes = list(_flatten_errors(group))
                for cause in causes:
                    if isinstance(cause, errors.RecordLost):
                        self.writer.fence.mark_lost(cause)
                reasons = sorted({str(cause) or type(cause).__name__ for cause in causes})
                log.warning("out of the cluster for now", reason="; ".join(reasons))
                if any(isinstance(cause, errors.CoordinationRefused) for cause in causes):
                    pause_s = _REFUSED_S
            await asyncio.wait({stopping}, timeout=pause_s)

    async def load_wanted_change(self) -> WantedChange | None:
        """Load the change of the validators that an operator asked for. From now on, reports want it."""
        return (
            None
            if self.voting is None
            else await validator_changes.load_wanted(
                self.pool, self.voting, self.presence.members, self.cluster.protocol
            )
        )

    @property
    def unsupported(self) -> str:
        """Return why this program can take no part in rounds, or nothing if it speaks the protocol."""
        return self.unreadable or (self.voting.unsupported if self.voting is not None else "")

    async def load_voters(self) -> Rules | None:
        """Return the rules of the newest block that this node verified, or None if it knows no chain.

        This needs no etcd: the database and what this node last signed are enough.
        """
        if self.voting is None:
            try:
                first_tip = await blocks.load_tip(self.pool, 0)
                if first_tip is not None:
                    await self._open_voting(first_tip)
            except (errors.Conflict, errors.RecordLost) as failed:
                log.warning("the record is not the one this node knows", reason=str(failed))
            except errors.ProtocolUnsupported as gap:
                self._note_unreadable(gap)
        return None if self.voting is None else self.voting.tip.rules

    async def accepts_new_work(self) -> bool:
        """Return whether this node starts work by itself: it is not drained, and its leaves get sealed."""
        voting, node = self.voting, self.identity.node
        votes = voting is None or voting.tip.rules.key_of(node) is not None
        return votes and not self.unsupported and node not in await drains.list_draining(self.pool)

    def _learn_timeline(self, introduction: NodeIntroduction) -> None:
        self.writer.fence.timelines.learn(introduction.timeline)

    async def _run_session(self, doors: NodeDoors) -> None:
        async with (
            self.etcd.open_client() as etcd,
            etcd_session.open_session(
                etcd, ttl_s=self.lease_ttl_s, keepalive_s=0.3 * self.lease_ttl_s
            ) as session,
        ):
            await self.presence.register(session, doors)
            await session.run_while_alive(self._run_parts(etcd, session))

    async def _run_parts(self, etcd: client.EtcdClient, session: EtcdSession) -> None:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self.presence.watch(etcd), name="presence")
            parts.create_task(
                leader_watch.watch_leader(
                    self.peers, etcd, self.presence.is_rightful, on_introduction=self._learn_timeline
                ),
                name="watch leader",
            )
            try:
                if self.voting is None:
                    await self._open_voting(await self._find_genesis(session))
            except errors.ProtocolUnsupported as gap:
                self._note_unreadable(gap)
                return  # it stays present, so that the others show what it speaks
            assert self.voting is not None
            parts.create_task(self._follow_blocks(self.voting), name="follow blocks")
            parts.create_task(self._stand_for_election(self.voting, session), name="election")

    def _note_unreadable(self, gap: errors.ProtocolUnsupported) -> None:
        if not self.unreadable:
            log.critical("this node takes no part", reason=str(gap))
        self.unreadable = str(gap)

    async def _find_genesis(self, session: EtcdSession) -> Tip:
        """Return the first tip of the chain, once there is one.

        If the chain is not founded yet, the node that is elected first founds it, and the others wait.
        """
        existing = await blocks.load_tip(self.pool, 0)
        if existing is not None:
            return existing
        waiting = asyncio.create_task(genesis.wait_for_genesis(self.pool))
        founding = asyncio.create_task(self._found_chain(session))
        try:
            done, _ = await asyncio.wait({waiting, founding}, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in (waiting, founding):
                task.cancel()
            await asyncio.gather(waiting, founding, return_exceptions=True)

    async def _found_chain(self, session: EtcdSession) -> Tip:
        elected = await election.campaign(session, self.identity.node)
        try:
            founders = await genesis.wait_for_founders(self.presence.find_founders, self.cluster.size)
            cluster = self.cluster
            parameters = Parameters(
                cluster.scorer,
                quorum.FaultModel(cluster.faults),
                interval_ms=round(1000 * cluster.interval_s),
                limit_ms=round(1000 * cluster.limit_s),
                protocol=self._choose_protocol([founder.node for founder in founders]),
            )
            return await genesis.found_chain(
                self.pool, self.identity.node, founders, cluster.origin, parameters
            )
        finally:
            await election.resign(elected)

    def _choose_protocol(self, founders: Sequence[NodeId]) -> int:
        """The highest that this node wants and all founders speak."""
        spoken = [self.presence.members.spoken_by(node).highest for node in founders]
        return min(self.cluster.protocol, *spoken)

    async def _open_voting(self, first_tip: Tip) -> None:
        async with self.opening_voting:
            if self.voting is None:
                self.voting = await self._load_voting(first_tip)

    async def _load_voting(self, first_tip: Tip) -> Voting:
        disk = await asyncio.to_thread(self.open_memory, SignerState(0, first_tip.hash))
        tip = await voting.load_signed_tip(self.pool, disk.state, first_tip, self.identity.check)
        agreed = tip.rules.parameters.scorer
        if agreed != self.cluster.scorer:  # rounds go on, because leaves must be sealed all the same
            log.error("measures with another scorer than agreed", agreed=agreed, here=self.cluster.scorer)
        return Voting(
            self.identity,
            self.pool,
            disk,
            tip,
            self._load_rosters,
            self.writer.vouches_for,
            self.now_us,
            lambda: self.writer.fence.acknowledged,
            self.spoken,
        )

    async def _follow_blocks(self, voter: Voting) -> None:
        """Read new blocks, in case this node was not told about them."""
        while True:
            with contextlib.suppress(errors.Unavailable, errors.OutcomeUnknown):
                await voter.catch_up()
            await asyncio.sleep(voter.tip.rules.parameters.interval_ms / 2000)

    async def _stand_for_election(self, voter: Voting, session: EtcdSession) -> None:
        all_nodes = NodePoll(self.identity.node, voter, self.peers)
        candidate = Candidate(
            self.identity, voter, all_nodes, self.pool, self.writer, self.now_us, self.load_wanted_change
        )
        while True:
            await self._wait_until_entitled(voter)
            await leadership.campaign_and_lead(candidate, session)

    async def _wait_until_entitled(self, voter: Voting) -> None:
        """Wait until this node may lead.

        It must vote and sign, must not be drained, and its certificate must not be revoked.
        """
        while True:
            if self.presence.let_in and await leadership.may_lead(self.pool, voter, self.identity.node):
                return
            await asyncio.sleep(_AGAIN_S)

    def _current_rules(self) -> Rules | None:
        return None if self.voting is None else self.voting.tip.rules

    async def _load_rosters(self, tip: Tip) -> Sequence[Roster]:
        return await vectors.load_rosters(self.pool, self.identity.node, tip)


async def _run_until(stopping: asyncio.Task[object], work: Coroutine[object, object, None]) -> None:
    """Run the work until it ends or until the node is told to stop, whichever comes first."""
    working = asyncio.create_task(work)
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _flatten_errors(group: BaseExceptionGroup[errors.CCNError]) -> Iterator[errors.CCNError]:
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            yield from _flatten_errors(error)
        else:
            yield error
