"""Leading: wait for one's turn, take a term, hold a round every interval, and step down in time.

etcd only says whose turn it is. The term comes from PostgreSQL, and what a leader writes is fenced by it,
so a node that believes too long that it leads does no harm. A round that fails once a block was asked for
costs the term: nodes that voted in it are bound by that vote, and only a new term frees them. A round to
which too few nodes came costs nothing, so that terms do not race while a majority is gone.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from uuid import UUID

import structlog

from ccn import errors, metrics
from ccn.core.ids import NodeId
from ccn.etcd import election
from ccn.etcd.session import EtcdSession
from ccn.node.rounds import consensus_round, validator_changes
from ccn.node.rounds.consensus_round import FailedRound, RoundLeader, RoundPeers, SealedRound
from ccn.node.rounds.validator_changes import WantedChange
from ccn.node.rounds.voting import NodeIdentity, Voting
from ccn.store.connection.pool import Pool
from ccn.store.operators import drains, requests
from ccn.store.operators.requests import AnswerRequest, Body, OperatorRequest
from ccn.store.rounds import terms
from ccn.store.writing.writer import Writer

log = structlog.get_logger(__name__)

TAKEOVER_PATIENCE_S = 1.0
"""How long a write of the old term may still take before its connection is ended."""
RESIGN_AFTER = 3
"""Failed rounds in a row after which another node gets its turn: the reason may be this one's own."""
LOOK_S = 0.25
"""How often the leader looks whether an operator wants something now."""
TOUCH_S = 1.0
"""How often the leader makes sure that it reaches PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a node campaigns and leads with."""

    identity: NodeIdentity
    voting: Voting
    peers: RoundPeers
    pool: Pool
    writer: Writer
    now_us: Callable[[], int]
    load_change: Callable[[], Awaitable[WantedChange | None]]
    """Look which change of the validators is asked for, and want it too if nothing is against it."""


async def campaign_and_lead(candidate: Candidate, held: EtcdSession) -> None:
    """Campaign, and lead until others should try; that the session or the term ended is raised."""
    leadership = await election.campaign(held, candidate.identity.node)
    log.info("leading", node=candidate.identity.node)
    parts = [asyncio.create_task(part) for part in (_run_rounds(candidate), _watch_database(candidate))]
    try:
        await held.run_while_alive(_wait_for_first(parts))
    finally:
        log.info("no longer leading", node=candidate.identity.node)
        for part in parts:
            part.cancel()
        try:
            if held.alive:
                await election.resign(leadership)
        finally:
            # Last, because a statement that is under way may take as long as statements may.
            await asyncio.gather(*parts, return_exceptions=True)


async def _wait_for_first(parts: Sequence[asyncio.Task[None]]) -> None:
    done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    for part in done:
        part.result()


async def _watch_database(candidate: Candidate) -> None:
    """Raise when PostgreSQL is silent for as long as a round may last: others may reach it.

    A question of its own, because what is under way in a round waits for its statement's time to end.
    """
    while True:
        asked = asyncio.create_task(candidate.pool.value("SELECT 1"))
        try:
            limit_s = candidate.voting.tip.rules.parameters.limit_ms / 1000
            await asyncio.wait({asked}, timeout=limit_s)
            if not asked.done():
                raise errors.DatabaseUnavailable(
                    f"PostgreSQL did not answer the leader within {limit_s:g} s"
                )
            asked.result()
        finally:
            asked.cancel()
        await asyncio.sleep(TOUCH_S)


async def _run_rounds(candidate: Candidate) -> None:
    clock, pool, voting = asyncio.get_running_loop().time, candidate.pool, candidate.voting
    if not await may_lead(pool, voting, candidate.identity.node):
        return
    term, failed, tries = await _take_term(candidate), 0, Counter[UUID]()
    while await may_lead(pool, voting, candidate.identity.node):
        began, asked = clock(), await requests.list_waiting(pool, requests.ROUND)
        await voting.catch_up()
        wish = await candidate.load_change()
        outcome = await consensus_round.run_round(_round_leader(candidate, term))
        metrics.observe_round(
            clock() - began, outcome.outliers if isinstance(outcome, SealedRound) else None
        )
        await _answer_requests(candidate, term, asked, _outcome_to_body(outcome))
        if wish is not None and (
            told := await validator_changes.conclude_change(pool, term, wish, voting, tries)
        ):
            await _answer_requests(candidate, term, [wish.request], told)
        if voting.stop_reason is not None:
            raise errors.Conflict(f"this node signs nothing any more: {voting.stop_reason.detail}")
        failed = failed + 1 if isinstance(outcome, FailedRound) else 0
        if failed == RESIGN_AFTER:
            log.warning("resigning", rounds=failed, reason="others may reach whom this node does not")
            return
        if failed and voting.has_voted_in(term):
            term = await _take_term(candidate)
        await _pause_until(candidate, term, began + voting.tip.rules.parameters.interval_ms / 1000)


async def may_lead(pool: Pool, voting: Voting, node: NodeId) -> bool:
    """Whether a node may lead: it votes, it signs, and no operator drains it."""
    votes = voting.tip.rules.key_of(node) is not None and voting.stop_reason is None
    return votes and node not in await drains.list_draining(pool)


async def _take_term(candidate: Candidate) -> int:
    term = await terms.take_over_term(candidate.pool, candidate.identity.node, TAKEOVER_PATIENCE_S)
    log.info("term taken", term=term)
    return term


async def _answer_requests(
    candidate: Candidate, term: int, asked: Sequence[OperatorRequest], outcome: Body
) -> None:
    """The outcome, for all who asked before it began; refused if the term is over."""
    answers = [AnswerRequest(request, outcome, term) for request in asked]
    await asyncio.gather(*map(candidate.writer.submit, answers))


def _round_leader(candidate: Candidate, term: int) -> RoundLeader:
    return RoundLeader(
        term, candidate.identity, candidate.voting, candidate.peers, candidate.pool, candidate.now_us
    )


async def _pause_until(candidate: Candidate, term: int, until: float) -> None:
    """Wait for the next round's time, or for an operator who wants something now or takes it back."""
    clock, pool = asyncio.get_running_loop().time, candidate.pool
    while (left := until - clock()) > 0:
        await asyncio.sleep(min(left, LOOK_S))
        for request in await requests.list_taken_back(pool, *requests.LEADING):
            await _answer_requests(candidate, term, [request], requests.withdrawal_to_outcome(request))
        if await requests.list_waiting(pool, *requests.LEADING):
            return
        if not await may_lead(pool, candidate.voting, candidate.identity.node):
            return


def _outcome_to_body(outcome: SealedRound | FailedRound) -> dict[str, object]:
    """What an operator who asked for the round is told."""
    refused = dict(outcome.refused)
    match outcome:
        case SealedRound(tip, votes, outliers):
            votes_of = list(votes)
            return {
                "committed": True,
                "height": tip.height,
                "term": tip.term,
                "votes": votes_of,
                "outliers": outliers,
                "refused": refused,
            }
        case FailedRound(height, reason):
            return {"committed": False, "height": height, "reason": reason, "refused": refused}
