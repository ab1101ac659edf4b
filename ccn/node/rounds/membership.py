"""A node's place in the cluster: be seen, find or found the chain, vote, and stand for election.

    registered ──> founded ──> voting ──> campaigning ──> leading
         └── over and over, whatever etcd does: losing it ends a session, not the node

Serving does not wait for any of this. A node that cannot reach etcd still answers what leaders ask.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog

from ccn import errors
from ccn.core.chain import quorum
from ccn.core.chain.block import Tip
from ccn.core.chain.roster import Roster
from ccn.core.chain.rules import Parameters, Rules
from ccn.core.rounds.signer import SignerState
from ccn.etcd import client, election, session
from ccn.etcd.access import EtcdAccess
from ccn.etcd.session import EtcdSession
from ccn.node.rounds import (
    genesis as rounds_genesis,
)
from ccn.node.rounds import (
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
from ccn.store.character import vectors
from ccn.store.connection.pool import Pool
from ccn.store.operators import drains
from ccn.store.rounds import blocks
from ccn.store.writing.writer import Writer

if TYPE_CHECKING:
    from ccn import settings

log = structlog.get_logger(__name__)

_AGAIN_S = 0.5
"""Pause before the next session after one was lost."""
_REFUSED_S = 5.0
"""Pause after etcd refused: only people mend that, and comparing passwords costs it something."""


@dataclass(slots=True)
class Membership:
    """One node's part in its cluster."""

    identity: NodeIdentity
    open_memory: Callable[[SignerState], SignerFile]
    """What this node last signed; a new node begins with the state it is given."""
    writer: Writer
    """It also knows whether a leaf under this node's name is one that it made."""
    pool: Pool
    peers: PeerClient
    load_access: Callable[[], EtcdAccess]
    """How etcd is reached; asked for each session, because certificates are renewed."""
    lease_ttl_s: float
    cluster: settings.ClusterSettings
    now_us: Callable[[], int]
    look_s: float = trust.LOOK_S
    """How often the register of nodes is read."""
    voting: Voting | None = None
    presence: Presence = field(init=False)
    """Who is here."""
    opening_voting: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while this node finds its place in the chain: what it last signed is opened once."""

    def __post_init__(self) -> None:
        """The chain is known from when this node votes on."""
        believed = Trust(self.pool, self.identity.check, self._current_rules, self.look_s)
        self.presence = Presence(self.identity, believed, self.peers)

    async def take_part(self, here: NodeDoors, stop: asyncio.Event) -> None:
        """Until told to stop; what ends a session is logged and the next one is opened."""
        stopping = asyncio.create_task(stop.wait())
        while not stop.is_set():
            pause_s = _AGAIN_S
            try:
                await _run_until(stopping, self._run_session(here))
            except* errors.CCNError as ended:
                leaves = list(_flatten_errors(ended))
                for lost in leaves:
                    if isinstance(lost, errors.RecordLost):
                        self.writer.fence.mark_lost(lost)
                reasons = sorted({str(each) or type(each).__name__ for each in leaves})
                log.warning("out of the cluster for now", reason="; ".join(reasons))
                if any(isinstance(each, errors.CoordinationRefused) for each in leaves):
                    pause_s = _REFUSED_S
            await asyncio.wait({stopping}, timeout=pause_s)

    async def load_wanted_change(self) -> WantedChange | None:
        """The change of the validators that is asked for, which this node's reports want from here on."""
        return (
            None
            if self.voting is None
            else await validator_changes.load_wanted(
                self.pool, self.voting, self.presence.members.registered_keys
            )
        )

    async def load_voters(self) -> Rules | None:
        """The rules of the newest block that this node has verified; None while it knows no chain.

        Asked without etcd, too: what a node signed last and the database are enough to go on from there.
        """
        if self.voting is None and (genesis := await blocks.load_tip(self.pool, 0)) is not None:
            try:
                await self._open_voting(genesis)
            except (errors.Conflict, errors.RecordLost) as strange:
                log.warning("the record is not the one this node knows", reason=str(strange))
        return None if self.voting is None else self.voting.tip.rules

    async def accepts_new_work(self) -> bool:
        """Whether this node begins things by itself: it is not drained, and what it writes gets sealed."""
        voting, node = self.voting, self.identity.node
        votes = voting is None or voting.tip.rules.key_of(node) is not None
        return votes and node not in await drains.list_draining(self.pool)

    async def _run_session(self, here: NodeDoors) -> None:
        access = await asyncio.to_thread(self.load_access)
        async with (
            client.open_client(access.servers, tls=access.tls, user=access.user) as etcd,
            session.open_session(etcd, ttl_s=self.lease_ttl_s, keepalive_s=0.3 * self.lease_ttl_s) as held,
        ):
            await self.presence.register(held, here)
            await held.run_while_alive(self._run_parts(etcd, held))

    async def _run_parts(self, etcd: client.EtcdClient, held: EtcdSession) -> None:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self.presence.watch(etcd), name="presence")
            parts.create_task(
                leader_watch.watch_leader(self.peers, etcd, self.presence.is_rightful), name="suspicion"
            )
            if self.voting is None:
                await self._open_voting(await self._find_genesis(held))
            assert self.voting is not None
            parts.create_task(self._follow_blocks(self.voting), name="follow")
            parts.create_task(self._stand_for_election(self.voting, held), name="election")

    async def _find_genesis(self, held: EtcdSession) -> Tip:
        """The founding of the chain: known, or made by whoever is elected first, or waited for."""
        known = await blocks.load_tip(self.pool, 0)
        if known is not None:
            return known
        waiting = asyncio.create_task(rounds_genesis.wait_for_genesis(self.pool))
        making = asyncio.create_task(self._found_chain(held))
        try:
            done, _ = await asyncio.wait({waiting, making}, return_when=asyncio.FIRST_COMPLETED)
            return done.pop().result()
        finally:
            for task in (waiting, making):
                task.cancel()
            await asyncio.gather(waiting, making, return_exceptions=True)

    async def _found_chain(self, held: EtcdSession) -> Tip:
        elected = await election.campaign(held, self.identity.node)
        try:
            present = await rounds_genesis.wait_for_founders(self.presence.find_founders, self.cluster.size)
            chosen = self.cluster
            parameters = Parameters(
                chosen.scorer,
                quorum.FaultModel(chosen.faults),
                interval_ms=round(1000 * chosen.interval_s),
                limit_ms=round(1000 * chosen.limit_s),
            )
            return await rounds_genesis.found_chain(
                self.pool, self.identity.node, present, chosen.origin, parameters
            )
        finally:
            await election.resign(elected)

    async def _open_voting(self, genesis: Tip) -> None:
        async with self.opening_voting:
            if self.voting is None:
                self.voting = await self._load_voting(genesis)

    async def _load_voting(self, genesis: Tip) -> Voting:
        disk = await asyncio.to_thread(self.open_memory, SignerState(0, genesis.hash))
        tip = await voting.load_signed_tip(self.pool, disk.state, genesis, self.identity.check)
        if tip.rules.parameters.scorer != self.cluster.scorer:  # rounds go on: no leaf may wait for this
            agreed = tip.rules.parameters.scorer
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
        )

    async def _follow_blocks(self, standing: Voting) -> None:
        """See blocks that nobody told this node about."""
        while True:
            with contextlib.suppress(errors.Unavailable, errors.OutcomeUnknown):
                await standing.catch_up()
            await asyncio.sleep(standing.tip.rules.parameters.interval_ms / 2000)

    async def _stand_for_election(self, standing: Voting, held: EtcdSession) -> None:
        everybody = NodePoll(self.identity.node, standing, self.peers)
        candidate = Candidate(
            self.identity, standing, everybody, self.pool, self.writer, self.now_us, self.load_wanted_change
        )
        while True:
            await self._wait_until_entitled(standing)
            await leadership.campaign_and_lead(candidate, held)

    async def _wait_until_entitled(self, standing: Voting) -> None:
        """Who may not vote, does not sign any more, is drained or is let in by nobody does not lead."""
        while True:
            if self.presence.let_in and await leadership.may_lead(self.pool, standing, self.identity.node):
                return
            await asyncio.sleep(_AGAIN_S)

    def _current_rules(self) -> Rules | None:
        return None if self.voting is None else self.voting.tip.rules

    async def _load_rosters(self, tip: Tip) -> Sequence[Roster]:
        return await vectors.load_rosters(self.pool, self.identity.node, tip)


async def _run_until(stopping: asyncio.Task[object], work: Coroutine[object, object, None]) -> None:
    """Run until it ends or the node is told to stop, whichever comes first."""
    working = asyncio.create_task(work)
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if working.done():
            await working
    finally:
        working.cancel()
        await asyncio.gather(working, return_exceptions=True)


def _flatten_errors(group: BaseExceptionGroup[errors.CCNError]) -> Iterator[errors.CCNError]:
    for each in group.exceptions:
        if isinstance(each, BaseExceptionGroup):
            yield from _flatten_errors(each)
        else:
            yield each
