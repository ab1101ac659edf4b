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
from ccn.etcd.access import Access
from ccn.etcd.session import Session
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
from ccn.node.rounds.poll import Everybody
from ccn.node.rounds.presence import Doors, Presence
from ccn.node.rounds.trust import Trust
from ccn.node.rounds.validator_changes import Wish
from ccn.node.rounds.voting import Disk, Identity, Voting
from ccn.peers.client import Client
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

    identity: Identity
    memory: Callable[[SignerState], Disk]
    """What this node last signed; a new node begins with the state it is given."""
    writer: Writer
    """It also knows whether a leaf under this node's name is one that it made."""
    pool: Pool
    peers: Client
    access: Callable[[], Access]
    """How etcd is reached; asked for each session, because certificates are renewed."""
    lease_ttl_s: float
    cluster: settings.Cluster
    now_us: Callable[[], int]
    look_s: float = trust.LOOK_S
    """How often the register of nodes is read."""
    voting: Voting | None = None
    presence: Presence = field(init=False)
    """Who is here."""
    standing_up: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held while this node finds its place in the chain: what it last signed is opened once."""

    def __post_init__(self) -> None:
        """The chain is known from when this node votes on."""
        believed = Trust(self.pool, self.identity.check, self._rules, self.look_s)
        self.presence = Presence(self.identity, believed, self.peers)

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
        return (
            None
            if self.voting is None
            else await validator_changes.look(self.pool, self.voting, self.presence.keys)
        )

    async def voters(self) -> Rules | None:
        """The rules of the newest block that this node has verified; None while it knows no chain.

        Asked without etcd, too: what a node signed last and the database are enough to go on from there.
        """
        if self.voting is None and (genesis := await blocks.tip(self.pool, 0)) is not None:
            try:
                await self._stand_up(genesis)
            except (errors.Conflict, errors.RecordLost) as strange:
                log.warning("the record is not the one this node knows", reason=str(strange))
        return None if self.voting is None else self.voting.tip.rules

    async def takes_on(self) -> bool:
        """Whether this node begins things by itself: it is not drained, and what it writes gets sealed."""
        voting, node = self.voting, self.identity.node
        votes = voting is None or voting.tip.rules.key(node) is not None
        return votes and node not in await drains.draining(self.pool)

    async def _session(self, here: Doors) -> None:
        access = await asyncio.to_thread(self.access)
        async with (
            client.opened(access.servers, tls=access.tls, user=access.user) as etcd,
            session.opened(etcd, ttl_s=self.lease_ttl_s, keepalive_s=0.3 * self.lease_ttl_s) as held,
        ):
            await self.presence.register(held, here)
            await held.during(self._during(etcd, held))

    async def _during(self, etcd: client.Client, held: Session) -> None:
        async with asyncio.TaskGroup() as parts:
            parts.create_task(self.presence.watch(etcd), name="presence")
            parts.create_task(
                leader_watch.watch(self.peers, etcd, self.presence.rightful), name="suspicion"
            )
            if self.voting is None:
                await self._stand_up(await self._chain(held))
            assert self.voting is not None
            parts.create_task(self._follow(self.voting), name="follow")
            parts.create_task(self._stand(self.voting, held), name="election")

    async def _chain(self, held: Session) -> Tip:
        """The founding of the chain: known, or made by whoever is elected first, or waited for."""
        known = await blocks.tip(self.pool, 0)
        if known is not None:
            return known
        waiting = asyncio.create_task(rounds_genesis.founded(self.pool))
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
            present = await rounds_genesis.gathered(self.presence.founders, self.cluster.size)
            chosen = self.cluster
            parameters = Parameters(
                chosen.scorer,
                quorum.Faults(chosen.faults),
                interval_ms=round(1000 * chosen.interval_s),
                limit_ms=round(1000 * chosen.limit_s),
            )
            return await rounds_genesis.found(
                self.pool, self.identity.node, present, chosen.origin, parameters
            )
        finally:
            await election.resign(elected)

    async def _stand_up(self, genesis: Tip) -> None:
        async with self.standing_up:
            if self.voting is None:
                self.voting = await self._vote_from(genesis)

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
            with contextlib.suppress(errors.Unavailable, errors.OutcomeUnknown):
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
            if self.presence.let_in and await leadership.entitled(self.pool, standing, self.identity.node):
                return
            await asyncio.sleep(_AGAIN_S)

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
