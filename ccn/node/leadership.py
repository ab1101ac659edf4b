"""Leading: wait for one's turn, take a term, hold a round every interval, and step down in time.

etcd only says whose turn it is. The term comes from PostgreSQL, and what a leader writes is fenced by it,
so a node that believes too long that it leads does no harm. A failed round costs the term: nodes that voted
in it are bound by that vote, and only a new term frees them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

import structlog

from ccn import errors
from ccn.etcd import election
from ccn.etcd.session import Session
from ccn.node import rounds
from ccn.node.rounds import Failed, Leading, Peers, Sealed
from ccn.node.voting import Identity, Voting
from ccn.store import terms
from ccn.store.pool import Pool

log = structlog.get_logger(__name__)

TAKEOVER_PATIENCE_S = 1.0
"""How long a write of the old term may still take before its connection is ended."""


@dataclass(slots=True)
class Bell:
    """Rings for a round now; whoever rang can wait for its outcome."""

    rung: asyncio.Event = field(default_factory=asyncio.Event)
    waiting: list[asyncio.Future[Sealed | Failed]] = field(default_factory=list)

    def ring(self) -> asyncio.Future[Sealed | Failed]:
        """Ask for a round now."""
        outcome: asyncio.Future[Sealed | Failed] = asyncio.get_running_loop().create_future()
        self.waiting.append(outcome)
        self.rung.set()
        return outcome

    def answer(self, asked: list[asyncio.Future[Sealed | Failed]], outcome: Sealed | Failed) -> None:
        """Tell those who had rung before the round began."""
        for each in asked:
            if not each.done():
                each.set_result(outcome)

    def taken(self) -> list[asyncio.Future[Sealed | Failed]]:
        """Who waits for the round that begins now."""
        self.rung.clear()
        asked, self.waiting = self.waiting, []
        return asked


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a node campaigns and leads with."""

    identity: Identity
    voting: Voting
    peers: Peers
    pool: Pool
    now_us: Callable[[], int]
    bell: Bell


async def lead(candidate: Candidate, held: Session) -> None:
    """Campaign, and lead until the session or the term ends; says why by raising."""
    leadership = await election.campaign(held, candidate.identity.node)
    log.info("leading", node=candidate.identity.node)
    try:
        await held.during(_rule(candidate))
    finally:
        log.info("no longer leading", node=candidate.identity.node)
        if held.alive:
            await election.resign(leadership)


async def _rule(candidate: Candidate) -> None:
    clock = asyncio.get_running_loop().time
    term = await _take_over(candidate)
    while True:
        began, asked = clock(), candidate.bell.taken()
        outcome = await rounds.hold(_leading(candidate, term))
        candidate.bell.answer(asked, outcome)
        if candidate.voting.stopped is not None:
            raise errors.Conflict(f"this node signs nothing any more: {candidate.voting.stopped.detail}")
        if isinstance(outcome, Failed):
            term = await _take_over(candidate)
        interval_s = candidate.voting.tip.rules.parameters.interval_ms / 1000
        await _pause(began + interval_s - clock(), candidate.bell.rung)


async def _take_over(candidate: Candidate) -> int:
    term = await terms.take_over(candidate.pool, candidate.identity.node, TAKEOVER_PATIENCE_S)
    log.info("term taken", term=term)
    return term


def _leading(candidate: Candidate, term: int) -> Leading:
    return Leading(
        term, candidate.identity, candidate.voting, candidate.peers, candidate.pool, candidate.now_us
    )


async def _pause(for_s: float, rung: asyncio.Event) -> None:
    try:
        async with asyncio.timeout(max(0.0, for_s)):
            await rung.wait()
    except TimeoutError:
        return
