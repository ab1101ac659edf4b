"""One round: collect, propose, vote, commit, and have it read back.

The leader of a term asks every validator for its report. From the reports follows one block, and the leader
asks for votes on it. With a quorum the leader commits the block in one transaction, fenced by its term.
Without a quorum the round fails, and the log says why. Serving goes on, and the next round seals the leaves
that gathered meanwhile.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol, TypeVar, assert_never

import structlog

from ccn import errors
from ccn.core.chain.block import Tip
from ccn.core.chain.report import Report
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Signed
from ccn.core.rounds import ballot
from ccn.core.rounds.ballot import Certificate, Draft, NoQuorum, Proposal, TermLeader, Vote
from ccn.core.rounds.intake import RefusedReports
from ccn.core.rounds.refusal import Refusal
from ccn.node.rounds.voting import NodeIdentity, Voting
from ccn.peers.exchange import ReportRequest
from ccn.store.connection.pool import Pool
from ccn.store.rounds import blocks, consensus_log

log = structlog.get_logger(__name__)

Refusals = Mapping[NodeId, str]
S = TypeVar("S", Report, Vote)


class RoundPeers(Protocol):
    """Asks all validators at once, this node included. A string says why a node gave no answer."""

    async def collect_reports(
        self, ask: ReportRequest, within_s: float
    ) -> Mapping[NodeId, Signed[Report] | Refusal | str]:
        """Collect the report of each validator."""

    async def collect_votes(
        self, proposed: Signed[Proposal], within_s: float
    ) -> Mapping[NodeId, Signed[Vote] | Refusal | str]:
        """Collect the vote of each validator on a proposal."""

    async def announce_block(self, tip: Tip, within_s: float) -> None:
        """Tell them that a block is committed. A node that misses this reads it before the next round."""


@dataclass(frozen=True, slots=True)
class SealedRound:
    """A round that committed a block."""

    tip: Tip
    votes: tuple[NodeId, ...]
    outliers: int
    refused: Refusals


@dataclass(frozen=True, slots=True)
class FailedRound:
    """A round that committed no block, and why."""

    height: int
    reason: str
    refused: Refusals


@dataclass(frozen=True, slots=True)
class AgreedBlock:
    """A block that a quorum voted for and that is not committed yet."""

    draft: Draft
    certificate: Certificate
    refused: Refusals


@dataclass(frozen=True, slots=True)
class RoundLeader:
    """What the leader of a term needs to run rounds."""

    term: int
    identity: NodeIdentity
    voting: Voting
    peers: RoundPeers
    pool: Pool
    now_us: Callable[[], int]


async def run_round(leader: RoundLeader) -> SealedRound | FailedRound:
    """Run one round as the leader of a term.

    A quorum must agree within the limit that the rules set. A block on which a quorum agreed is committed,
    however long that takes. After the commit, a peer that does not answer cannot make the round a failed
    one.
    """
    tip = await leader.voting.catch_up()
    limit_s = tip.rules.parameters.limit_ms / 1000
    log.debug("round opened", height=tip.height + 1, term=leader.term)
    try:
        async with asyncio.timeout(limit_s):
            outcome = await _propose_block(leader, tip, limit_s / 3)
    except TimeoutError:
        outcome = FailedRound(tip.height + 1, f"no quorum within {limit_s:g} s", {})
    match outcome:
        case AgreedBlock():
            return await _seal_block(leader, tip, outcome, limit_s / 3)
        case FailedRound(height, reason, refused):
            log.warning("round failed", height=height, term=leader.term, reason=reason)
            data = {"height": height, "refused": dict(refused)}
            await consensus_log.log_failed(leader.pool, leader.term, reason, data)
            return outcome
        case never:
            assert_never(never)


async def _propose_block(leader: RoundLeader, tip: Tip, within_s: float) -> AgreedBlock | FailedRound:
    answers = await leader.peers.collect_reports(
        ReportRequest(
            *(leader.identity.node, tip.height + 1, leader.term, tip.hash, leader.pool.newest_timeline)
        ),
        within_s,
    )
    reports, silent = _split_answers(answers)
    log.debug("reports collected", height=tip.height + 1, term=leader.term, reports=len(reports))
    term_leader = TermLeader(leader.identity.node, tip, leader.term, leader.voting.wanted_rules)
    match ballot.propose(reports, term_leader, leader.now_us(), leader.identity.check):
        case NoQuorum(needed, found, refused):
            reason = f"{found} reports are valid, {needed} are needed"
            return FailedRound(tip.height + 1, reason, silent | _refusal_details(refused))
        case Draft() as draft:
            return await _put_to_vote(
                leader, tip, draft, silent | _refusal_details(draft.refused), within_s
            )
        case never:
            assert_never(never)


async def _put_to_vote(
    leader: RoundLeader, tip: Tip, draft: Draft, silent: dict[NodeId, str], within_s: float
) -> AgreedBlock | FailedRound:
    header, identity = draft.block.header, leader.identity
    proposed = await leader.voting.sign_proposal(draft.proposal)
    if isinstance(proposed, Refusal):
        return FailedRound(header.height, proposed.detail, silent)
    log.debug("block proposed", height=header.height, term=header.term, block=header.hash().hex())
    answers = await leader.peers.collect_votes(proposed, within_s)
    votes, against = _split_answers(answers)
    await leader.voting.heard.add(votes, tip.rules)
    log.debug("votes counted", height=header.height, term=header.term, votes=len(votes))
    match ballot.tally(header, votes, tip.rules, identity.check):
        case NoQuorum(needed, found):
            return FailedRound(header.height, f"{found} votes, {needed} are needed", silent | against)
        case Certificate() as certificate:
            return AgreedBlock(draft, certificate, silent | against)
        case never:
            assert_never(never)


async def _seal_block(leader: RoundLeader, tip: Tip, agreed: AgreedBlock, within_s: float) -> SealedRound:
    draft, header = agreed.draft, agreed.draft.block.header
    committed = await _commit_once(leader.pool, tip, draft, agreed.certificate)
    log.debug("block durable", height=header.height, term=header.term)
    after, *_ = await asyncio.gather(
        leader.voting.catch_up(),
        leader.peers.announce_block(committed, within_s),
        _project_results(leader.pool, draft),
    )
    return _report_sealed(after, draft, agreed.certificate, agreed.refused)


async def _commit_once(pool: Pool, tip: Tip, draft: Draft, certificate: Certificate) -> Tip:
    """Commit once. If the answer of the database is lost, look in the chain for the block."""
    try:
        return await blocks.write_block(pool, tip, draft, certificate)
    except (errors.Unavailable, errors.OutcomeUnknown):
        newest = await blocks.load_tip(pool)
        if newest is None or newest.hash != draft.block.header.hash():
            raise
        return newest


async def _project_results(pool: Pool, draft: Draft) -> None:
    try:
        await blocks.project_drift(pool, draft)
    except (errors.Unavailable, errors.OutcomeUnknown, errors.StaleTerm) as failed:
        log.info("drifts of this round were not stored", reason=str(failed))


def _report_sealed(after: Tip, draft: Draft, certificate: Certificate, refused: Refusals) -> SealedRound:
    ayes = tuple(vote.statement.node for vote in certificate.votes)
    outliers = sum(len(result.outliers) for result in draft.block.results)
    header = draft.block.header
    log.info(
        "block committed",
        height=header.height,
        term=header.term,
        leaves=header.count,
        votes=len(ayes),
        outliers=outliers,
    )
    return SealedRound(after, ayes, outliers, refused)


def _refusal_details(refused: RefusedReports) -> dict[NodeId, str]:
    return {node: refusal.detail for node, refusal in refused}


def _split_answers(
    answers: Mapping[NodeId, Signed[S] | Refusal | str],
) -> tuple[list[Signed[S]], dict[NodeId, str]]:
    """Return the signed statements, and for each other node why it gave none."""
    statements: list[Signed[S]] = []
    missing: dict[NodeId, str] = {}
    for node, answer in answers.items():
        match answer:
            case Signed():
                statements.append(answer)
            case Refusal(detail=detail):
                missing[node] = detail
            case reason:
                missing[node] = reason
    return statements, missing
