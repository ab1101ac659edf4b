"""One round: collect, propose, vote, commit, and have it read back.

The leader of a term asks every validator for its report, makes the one block that these reports make, and
asks for votes. With a quorum it commits the block in one transaction under its term's fence. Without one
the round fails with its reason in the log; serving goes on, and the next round seals what has gathered.
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
    """All validators at once, this node included; whoever does not answer in time is a sentence."""

    async def collect_reports(
        self, ask: ReportRequest, within_s: float
    ) -> Mapping[NodeId, Signed[Report] | Refusal | str]:
        """What each reports."""

    async def collect_votes(
        self, proposed: Signed[Proposal], within_s: float
    ) -> Mapping[NodeId, Signed[Vote] | Refusal | str]:
        """What each says to a proposal."""

    async def announce_block(self, tip: Tip, within_s: float) -> None:
        """Tell them that a block is committed; who misses it reads it before the next round."""


@dataclass(frozen=True, slots=True)
class SealedRound:
    """A round that committed a block."""

    tip: Tip
    votes: tuple[NodeId, ...]
    outliers: int
    refused: Refusals


@dataclass(frozen=True, slots=True)
class FailedRound:
    """A round that came to nothing, and why."""

    height: int
    reason: str
    refused: Refusals


@dataclass(frozen=True, slots=True)
class AgreedBlock:
    """A block that a quorum voted for and that is to be committed."""

    draft: Draft
    certificate: Certificate
    refused: Refusals


@dataclass(frozen=True, slots=True)
class RoundLeader:
    """What the leader of a term holds rounds with."""

    term: int
    identity: NodeIdentity
    voting: Voting
    peers: RoundPeers
    pool: Pool
    now_us: Callable[[], int]


async def run_round(leading: RoundLeader) -> SealedRound | FailedRound:
    """Hold one round as the leader of a term. A quorum agrees within the limit that the rules set, or not.

    What a quorum agreed on is committed however long that takes, and a node that does not listen when it is
    told cannot make a committed round a failed one.
    """
    tip = await leading.voting.catch_up()
    limit_s = tip.rules.parameters.limit_ms / 1000
    log.debug("round opened", height=tip.height + 1, term=leading.term)
    try:
        async with asyncio.timeout(limit_s):
            outcome = await _propose_block(leading, tip, limit_s / 3)
    except TimeoutError:
        outcome = FailedRound(tip.height + 1, f"no quorum within {limit_s:g} s", {})
    match outcome:
        case AgreedBlock():
            return await _seal_block(leading, tip, outcome, limit_s / 3)
        case FailedRound(height, reason, refused):
            log.warning("round failed", height=height, term=leading.term, reason=reason)
            data = {"height": height, "refused": dict(refused)}
            await consensus_log.log_failed(leading.pool, leading.term, reason, data)
            return outcome
        case never:
            assert_never(never)


async def _propose_block(leading: RoundLeader, tip: Tip, within_s: float) -> AgreedBlock | FailedRound:
    asked = await leading.peers.collect_reports(
        ReportRequest(leading.identity.node, tip.height + 1, leading.term, tip.hash), within_s
    )
    reports, silent = _split_answers(asked)
    log.debug("reports collected", height=tip.height + 1, term=leading.term, reports=len(reports))
    leader = TermLeader(leading.identity.node, tip, leading.term, leading.voting.wanted_rules)
    match ballot.propose(reports, leader, leading.now_us(), leading.identity.check):
        case NoQuorum(needed, found, refused):
            reason = f"{found} reports hold, {needed} are needed"
            return FailedRound(tip.height + 1, reason, silent | _refusal_details(refused))
        case Draft() as draft:
            return await _put_to_vote(
                leading, tip, draft, silent | _refusal_details(draft.refused), within_s
            )
        case never:
            assert_never(never)


async def _put_to_vote(
    leading: RoundLeader, tip: Tip, draft: Draft, silent: dict[NodeId, str], within_s: float
) -> AgreedBlock | FailedRound:
    header, identity = draft.block.header, leading.identity
    proposed = await leading.voting.sign_proposal(draft.proposal)
    if isinstance(proposed, Refusal):
        return FailedRound(header.height, proposed.detail, silent)
    log.debug("block proposed", height=header.height, term=header.term, block=header.hash().hex())
    asked = await leading.peers.collect_votes(proposed, within_s)
    votes, against = _split_answers(asked)
    await leading.voting.heard.add(votes, tip.rules)
    log.debug("votes counted", height=header.height, term=header.term, votes=len(votes))
    match ballot.tally(header, votes, tip.rules, identity.check):
        case NoQuorum(needed, found):
            return FailedRound(header.height, f"{found} votes, {needed} are needed", silent | against)
        case Certificate() as certificate:
            return AgreedBlock(draft, certificate, silent | against)
        case never:
            assert_never(never)


async def _seal_block(leading: RoundLeader, tip: Tip, agreed: AgreedBlock, within_s: float) -> SealedRound:
    draft, header = agreed.draft, agreed.draft.block.header
    committed = await _commit_once(leading.pool, tip, draft, agreed.certificate)
    log.debug("block durable", height=header.height, term=header.term)
    after, *_ = await asyncio.gather(
        leading.voting.catch_up(),
        leading.peers.announce_block(committed, within_s),
        _project_results(leading.pool, draft),
    )
    return _report_sealed(after, draft, agreed.certificate, agreed.refused)


async def _commit_once(pool: Pool, tip: Tip, draft: Draft, certificate: Certificate) -> Tip:
    """Commit once. If the answer is lost, the chain itself tells what became of it."""
    try:
        return await blocks.write_block(pool, tip, draft, certificate)
    except (errors.Unavailable, errors.OutcomeUnknown):
        shown = await blocks.load_tip(pool)
        if shown is None or shown.hash != draft.block.header.hash():
            raise
        return shown


async def _project_results(pool: Pool, draft: Draft) -> None:
    try:
        await blocks.project_drift(pool, draft)
    except (errors.Unavailable, errors.OutcomeUnknown, errors.StaleTerm) as failed:
        log.info("drifts are shown after the next round", reason=str(failed))


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
    asked: Mapping[NodeId, Signed[S] | Refusal | str],
) -> tuple[list[Signed[S]], dict[NodeId, str]]:
    """Those who answered with a statement, and why the others did not."""
    given: list[Signed[S]] = []
    missing: dict[NodeId, str] = {}
    for node, answer in asked.items():
        match answer:
            case Signed():
                given.append(answer)
            case Refusal(detail=detail):
                missing[node] = detail
            case reason:
                missing[node] = reason
    return given, missing
