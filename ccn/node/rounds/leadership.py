"""Leading: wait to be elected, take a term, run a round every interval, and step down in time.

etcd only says whose turn it is. The term comes from PostgreSQL, and every write of a leader is fenced by
it. So a node that believes for too long that it leads does no harm.

If a round fails after a block was proposed, the leader takes a new term: nodes that voted in the old term
are bound by their vote, and only a new term frees them. If too few nodes reported, the leader keeps its
term, so that terms do not race while a majority is gone.
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
"""Failed rounds in a row after which the leader resigns, because the cause may be on its own side."""
REQUEST_POLL_S = 0.25
"""How often the leader checks whether an operator asked for something."""
TOUCH_S = 1.0
"""How often the leader checks that it reaches PostgreSQL."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """What a node needs to campaign and to lead."""

    identity: NodeIdentity
    voting: Voting
    peers: RoundPeers
    pool: Pool
    writer: Writer
    now_us: Callable[[], int]
    load_change: Callable[[], Awaitable[WantedChange | None]]
    """Load the change of the validators that an operator asked for, and want it too if it is allowed."""


async def campaign_and_lead(candidate: Candidate, session: EtcdSession) -> None:
    """Campaign, and lead until another node should try. The end of the session or the term is raised."""
    leadership = await election.campaign(session, candidate.identity.node)
    log.info("leading", node=candidate.identity.node)
    parts = [asyncio.create_task(part) for part in (_run_rounds(candidate), _watch_database(candidate))]
    try:
        await session.run_while_alive(_wait_for_first(parts))
    finally:
        log.info("no longer leading", node=candidate.identity.node)
        for part in parts:
            part.cancel()
        try:
            if session.alive:
                await election.resign(leadership)
        finally:
            # Last, because a statement under way may need its whole time limit.
            await asyncio.gather(*parts, return_exceptions=True)


async def _wait_for_first(parts: Sequence[asyncio.Task[None]]) -> None:
    done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
    for part in done:
        part.result()


async def _watch_database(candidate: Candidate) -> None:
    """Raise when PostgreSQL does not answer for as long as a round may last: other nodes may reach it.

    It sends a statement of its own, because the statements of a round wait until their own time limit.
    """
    while True:
        probe = asyncio.create_task(candidate.pool.value("SELECT 1"))
        try:
            limit_s = candidate.voting.tip.rules.parameters.limit_ms / 1000
            await asyncio.wait({probe}, timeout=limit_s)
            if not probe.done():
                raise errors.DatabaseUnavailable(
                    f"PostgreSQL did not answer the leader within {limit_s:g} s"
                )
            probe.result()
        finally:
            probe.cancel()
        await asyncio.sleep(TOUCH_S)


async def _run_rounds(candidate: Candidate) -> None:
    clock, pool, voting = asyncio.get_running_loop().time, candidate.pool, candidate.voting
    if not await may_lead(pool, voting, candidate.identity.node):
        return
    term, failed, tries = await _take_term(candidate), 0, Counter[UUID]()
    while await may_lead(pool, voting, candidate.identity.node):
        # Read before the round: a request that comes while it runs is for the next one.
        began, waiting = clock(), await requests.list_waiting(pool, requests.ROUND)
        await voting.catch_up()
        change = await candidate.load_change()
        outcome = await consensus_round.run_round(_round_leader(candidate, term))
        metrics.rounds.observe_round(
            clock() - began, outcome.outliers if isinstance(outcome, SealedRound) else None
        )
        await _answer_requests(candidate, term, waiting, _outcome_to_body(outcome))
        if change is not None and (
            answer := await validator_changes.conclude_change(pool, term, change, voting, tries)
        ):
            await _answer_requests(candidate, term, [change.request], answer)
        if voting.stop_reason is not None:
            raise errors.Conflict(f"this node signs nothing any more: {voting.stop_reason.detail}")
        failed = failed + 1 if isinstance(outcome, FailedRound) else 0
        if failed == RESIGN_AFTER:
            log.warning("resigning", rounds=failed, reason="another node may reach more validators")
            return
        if failed and voting.has_voted_in(term):
            term = await _take_term(candidate)
        await _pause_until(candidate, term, began + voting.tip.rules.parameters.interval_ms / 1000)


async def may_lead(pool: Pool, voting: Voting, node: NodeId) -> bool:
    """Return whether a node may lead: it votes, it signs, and no operator drains it."""
    votes = voting.tip.rules.key_of(node) is not None and voting.stop_reason is None
    return votes and node not in await drains.list_draining(pool)


async def _take_term(candidate: Candidate) -> int:
    term = await terms.take_over_term(candidate.pool, candidate.identity.node, TAKEOVER_PATIENCE_S)
    log.info("term taken", term=term)
    return term


async def _answer_requests(
    candidate: Candidate, term: int, waiting: Sequence[OperatorRequest], outcome: Body
) -> None:
    """Answer these requests with the outcome. PostgreSQL refuses the answers if the term is over."""
    answers = [AnswerRequest(request, outcome, term) for request in waiting]
    await asyncio.gather(*map(candidate.writer.submit, answers))


def _round_leader(candidate: Candidate, term: int) -> RoundLeader:
    return RoundLeader(
        term, candidate.identity, candidate.voting, candidate.peers, candidate.pool, candidate.now_us
    )


async def _pause_until(candidate: Candidate, term: int, until: float) -> None:
    """Wait until the next round is due, or an operator asks for something, or this node may not lead.

    Meanwhile, answer requests that operators took back.
    """
    clock, pool = asyncio.get_running_loop().time, candidate.pool
    while (left := until - clock()) > 0:
        await asyncio.sleep(min(left, REQUEST_POLL_S))
        for request in await requests.list_taken_back(pool, *requests.LEADING):
            await _answer_requests(candidate, term, [request], requests.withdrawal_to_outcome(request))
        if await requests.list_waiting(pool, *requests.LEADING):
            return
        if not await may_lead(pool, candidate.voting, candidate.identity.node):
            return


def _outcome_to_body(outcome: SealedRound | FailedRound) -> dict[str, object]:
    """Write the answer for an operator who asked for the round."""
    refused = dict(outcome.refused)
    match outcome:
        case SealedRound(tip, votes, outliers):
            return {
                "committed": True,
                "height": tip.height,
                "term": tip.term,
                "votes": list(votes),
                "outliers": outliers,
                "refused": refused,
            }
        case FailedRound(height, reason):
            return {"committed": False, "height": height, "reason": reason, "refused": refused}
