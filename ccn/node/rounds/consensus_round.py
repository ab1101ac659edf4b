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
from ccn.core.rounds.ballot import Certificate, Draft, Leader, Proposal, Short, Vote
from ccn.core.rounds.intake import Refused
from ccn.core.rounds.refusal import Refusal
from ccn.node.rounds.voting import Identity, Voting
from ccn.peers.exchange import Ask
from ccn.store.connection.pool import Pool
from ccn.store.rounds import blocks

log = structlog.get_logger(__name__)

Refusals = Mapping[NodeId, str]
S = TypeVar("S", Report, Vote)


class Peers(Protocol):
    """All validators at once, this node included; whoever does not answer in time is a sentence."""

    async def reports(self, ask: Ask, within_s: float) -> Mapping[NodeId, Signed[Report] | Refusal | str]:
        """What each reports."""

    async def votes(
        self, proposed: Signed[Proposal], within_s: float
    ) -> Mapping[NodeId, Signed[Vote] | Refusal | str]:
        """What each says to a proposal."""

    async def decided(self, tip: Tip, within_s: float) -> None:
        """Tell them that a block is committed; who misses it reads it before the next round."""


@dataclass(frozen=True, slots=True)
class Sealed:
    """A round that committed a block."""

    tip: Tip
    votes: tuple[NodeId, ...]
    outliers: int
    refused: Refusals


@dataclass(frozen=True, slots=True)
class Failed:
    """A round that came to nothing, and why."""

    height: int
    reason: str
    refused: Refusals


@dataclass(frozen=True, slots=True)
class Agreed:
    """A block that a quorum voted for and that is to be committed."""

    draft: Draft
    certificate: Certificate
    refused: Refusals


@dataclass(frozen=True, slots=True)
class Leading:
    """What the leader of a term holds rounds with."""

    term: int
    identity: Identity
    voting: Voting
    peers: Peers
    pool: Pool
    now_us: Callable[[], int]


async def hold(leading: Leading) -> Sealed | Failed:
    """Hold one round as the leader of a term. A quorum agrees within the limit that the rules set, or not.

    What a quorum agreed on is committed however long that takes, and a node that does not listen when it is
    told cannot make a committed round a failed one.
    """
    tip = await leading.voting.decided()
    limit_s = tip.rules.parameters.limit_ms / 1000
    log.debug("round opened", height=tip.height + 1, term=leading.term)
    try:
        async with asyncio.timeout(limit_s):
            outcome = await _propose(leading, tip, limit_s / 3)
    except TimeoutError:
        outcome = Failed(tip.height + 1, f"no quorum within {limit_s:g} s", {})
    match outcome:
        case Agreed():
            return await _seal(leading, tip, outcome, limit_s / 3)
        case Failed(height, reason, refused):
            log.warning("round failed", height=height, term=leading.term, reason=reason)
            data = {"height": height, "refused": dict(refused)}
            await blocks.fail(leading.pool, leading.term, reason, data)
            return outcome
        case never:
            assert_never(never)


async def _propose(leading: Leading, tip: Tip, within_s: float) -> Agreed | Failed:
    asked = await leading.peers.reports(
        Ask(leading.identity.node, tip.height + 1, leading.term, tip.hash), within_s
    )
    reports, silent = _answers(asked)
    log.debug("reports collected", height=tip.height + 1, term=leading.term, reports=len(reports))
    leader = Leader(leading.identity.node, tip, leading.term, leading.voting.wanted)
    match ballot.propose(reports, leader, leading.now_us(), leading.identity.check):
        case Short(needed, found, refused):
            reason = f"{found} reports hold, {needed} are needed"
            return Failed(tip.height + 1, reason, silent | _details(refused))
        case Draft() as draft:
            return await _vote(leading, tip, draft, silent | _details(draft.refused), within_s)
        case never:
            assert_never(never)


async def _vote(
    leading: Leading, tip: Tip, draft: Draft, silent: dict[NodeId, str], within_s: float
) -> Agreed | Failed:
    header, identity = draft.block.header, leading.identity
    proposed = await leading.voting.propose(draft.proposal)
    if isinstance(proposed, Refusal):
        return Failed(header.height, proposed.detail, silent)
    log.debug("block proposed", height=header.height, term=header.term, block=header.hash().hex())
    asked = await leading.peers.votes(proposed, within_s)
    votes, against = _answers(asked)
    await leading.voting.hearing.hear(votes, tip.rules)
    log.debug("votes counted", height=header.height, term=header.term, votes=len(votes))
    match ballot.tally(header, votes, tip.rules, identity.check):
        case Short(needed, found):
            return Failed(header.height, f"{found} votes, {needed} are needed", silent | against)
        case Certificate() as certificate:
            return Agreed(draft, certificate, silent | against)
        case never:
            assert_never(never)


async def _seal(leading: Leading, tip: Tip, agreed: Agreed, within_s: float) -> Sealed:
    draft, header = agreed.draft, agreed.draft.block.header
    committed = await _commit(leading.pool, tip, draft, agreed.certificate)
    log.debug("block durable", height=header.height, term=header.term)
    after, *_ = await asyncio.gather(
        leading.voting.decided(),
        leading.peers.decided(committed, within_s),
        _project(leading.pool, draft),
    )
    return _told(after, draft, agreed.certificate, agreed.refused)


async def _commit(pool: Pool, tip: Tip, draft: Draft, certificate: Certificate) -> Tip:
    """Commit once. If the answer is lost, the chain itself tells what became of it."""
    try:
        return await blocks.commit(pool, tip, draft, certificate)
    except (errors.Unavailable, errors.OutcomeUnknown):
        shown = await blocks.tip(pool)
        if shown is None or shown.hash != draft.block.header.hash():
            raise
        return shown


async def _project(pool: Pool, draft: Draft) -> None:
    try:
        await blocks.project(pool, draft)
    except (errors.Unavailable, errors.OutcomeUnknown, errors.StaleTerm) as failed:
        log.info("drifts are shown after the next round", reason=str(failed))


def _told(after: Tip, draft: Draft, certificate: Certificate, refused: Refusals) -> Sealed:
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
    return Sealed(after, ayes, outliers, refused)


def _details(refused: Refused) -> dict[NodeId, str]:
    return {node: refusal.detail for node, refusal in refused}


def _answers(
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
