"""What this node answers when a leader asks: its report, its vote, and that it saw the block.

A node trusts nobody here. It takes the term from PostgreSQL, computes the proposal again, reads the block
back after the commit, and writes down what it is about to sign before it signs. A node that was away, or
joins, walks the chain from the last block it cosigned and checks each on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from ccn import errors
from ccn.core.chain import checkpoint
from ccn.core.chain.block import Tip
from ccn.core.chain.header import Header
from ccn.core.chain.report import LEAF_LIMIT, Report
from ccn.core.chain.roster import Roster
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger import merkle, note, signed
from ccn.core.ledger.signed import Check, Sign, Signed
from ccn.core.rounds import ballot, evidence, readback, signer
from ccn.core.rounds.ballot import Proposal, Vote, Voter
from ccn.core.rounds.readback import Shown
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.core.rounds.signer import Mark, SignerState
from ccn.node.rounds.contradictions import Hearing
from ccn.peers.exchange import Ask
from ccn.store.connection.fence import ADVICE
from ccn.store.connection.pool import Pool
from ccn.store.rounds import blocks, ledger, terms
from ccn.store.rounds.blocks import Standing

log = structlog.get_logger(__name__)

MEMORY = 4 * LEAF_LIMIT
"""Own leaf hashes that are remembered for comparing with what the database shows."""


class Disk(Protocol):
    """The small file that keeps a node from contradicting itself."""

    state: SignerState

    def save(self, state: SignerState) -> None:
        """On the disk, flushed, when this returns."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Who this node is, and how it signs and checks."""

    node: NodeId
    public: bytes
    sign: Sign
    check: Check


class Voting:
    """One node's part in the rounds, whoever leads them."""

    def __init__(  # noqa: PLR0917 - its neighbours, each once
        self,
        identity: Identity,
        pool: Pool,
        disk: Disk,
        tip: Tip,
        rosters: Callable[[Tip], Awaitable[Sequence[Roster]]],
        vouches: Callable[[int, bytes], bool],
        now_us: Callable[[], int],
        acknowledged: Callable[[], Mark | None] = lambda: None,
    ) -> None:
        self.tip = tip
        self.wanted: Rules = tip.rules
        """The rules this node would like; an operator changes them on every node."""
        self.cosignature: note.Signature | None = None
        """This node's line under the checkpoint of its tip, once it has cosigned one since it started."""
        self.stopped: Refusal | None = None
        """Why this node signs nothing any more: what it is shown contradicts what it has signed."""
        self.hearing = Hearing(identity.node, identity.check, pool)
        """What others sign, compared as it is heard."""
        self._identity, self._pool, self._disk = identity, pool, disk
        self._rosters, self._vouches, self._now_us = rosters, vouches, now_us
        self._acknowledged = acknowledged
        self._report: Signed[Report] | None = None
        self._proposed: Signed[Proposal] | None = None
        self._asked_disk = False
        self._below: Tip | None = None
        self._placed: tuple[Header, merkle.Tree] | None = None
        self._lines = frozenset[note.Signature]()
        self._own: dict[int, bytes] = {}
        self._one_at_a_time = asyncio.Lock()

    async def report(self, ask: Ask) -> Signed[Report] | Refusal:
        """This node's instances and unsealed leaves, signed for that round alone."""
        async with self._one_at_a_time:
            standing = await self._catch_up()
            if self.stopped is not None:
                return self.stopped
            if (ask.height, ask.previous) != (self.tip.height + 1, self.tip.hash):
                return Refusal(
                    Reason.TIP, f"asked for height {ask.height}, this node is at {self.tip.height}"
                )
            if standing.term != ask.term:
                return Refusal(Reason.TERM, f"asked in term {ask.term}, the database shows {standing.term}")
            node, last = self._identity.node, self.tip.last(self._identity.node)
            leaves, hosted = await asyncio.gather(
                ledger.unsealed(self._pool, node, last, LEAF_LIMIT), self._rosters(self.tip)
            )
            foreign = await self._foreign(last, leaves)
            if foreign is not None:
                return self._stop(foreign)
            self._remember(last + 1, leaves)
            rosters = tuple(sorted(hosted, key=lambda roster: roster.character))
            said = Report(
                node,
                ask.height,
                ask.term,
                ask.previous,
                rosters,
                last + 1,
                b"".join(leaves),
                self.wanted.hash(),
            )
            self._report = signed.sign(said, self._identity.sign)
            log.debug("report signed", height=ask.height, term=ask.term, leaves=len(leaves))
            return self._report

    async def propose(self, proposal: Proposal) -> Signed[Proposal] | Refusal:
        """Sign a block that this node asks for, its vote for it on the disk: there is no second."""
        async with self._one_at_a_time:
            if self.stopped is not None:
                return self.stopped
            kept = await self._keep(proposal.header)
            if kept is not None:
                return kept
            self._proposed = signed.sign(proposal, self._identity.sign)
            return self._proposed

    def spent(self, term: int) -> bool:
        """Whether this node can ask for no other block in this term."""
        return signer.spent(self._disk.state, self.tip.height + 1, term)

    async def judge(self, proposed: Signed[Proposal]) -> Signed[Vote] | Refusal:
        """A signed vote, written down first, or the reason against it."""
        async with self._one_at_a_time:
            if self.stopped is not None:
                return self.stopped
            if proposed is self._proposed:  # it made the block itself, and has voted for it on its disk
                header = proposed.statement.header
                own = Vote(self._identity.node, header.height, header.term, header.hash())
                return signed.sign(own, self._identity.sign)
            term = await terms.current(self._pool)
            if term.leader is None:
                return Refusal(Reason.LEADER, "the database shows no leader")
            await self.hearing.hear([proposed], self.tip.rules)
            state = self._disk.state
            voter = Voter(self._identity.node, self.tip, term.number, term.leader, self._report, state)
            answer = ballot.judge(proposed, voter, self._now_us(), self._identity.check)
            if isinstance(answer, Refusal):
                return answer
            kept = await self._keep(proposed.statement.header)
            return kept or signed.sign(answer, self._identity.sign)

    async def decided(self) -> Tip:
        """A block was committed: read it back, cosign it, and stand on it."""
        async with self._one_at_a_time:
            await self._catch_up()
            return self.tip

    async def _catch_up(self) -> Standing:
        """Confirm and cosign every block above the tip, one after the other.

        A block that is cosigned is never let go again, so it must not be gone with the primary.
        """
        standing = await blocks.standing(self._pool, self.tip.height)
        await self._still_there(standing)
        if standing.standbys and self.tip.height < standing.height:
            await self._pool.confirm()
        while self.stopped is None and self.tip.height < standing.height:
            shown = await blocks.shown(self._pool, self.tip.height + 1)
            if shown is None:
                return standing
            identity = self._identity
            confirmed = readback.confirm(shown, self.tip, identity.node, self._own, identity.check)
            if isinstance(confirmed, Refusal):
                self._stop(confirmed)
                return standing
            match signer.cosign(self._disk.state, shown.header):
                case SignerState() as state:
                    await self._save(state)
                case refusal:
                    self._stop(refusal)
                    return standing
            log.debug("block confirmed", height=confirmed.height, block=confirmed.hash.hex())
            await self.hearing.hear(shown.votes, self.tip.rules)
            self._stand_on(confirmed, shown)
            at_s, head = self._now_us() // 1_000_000, confirmed.checkpoint()
            line = checkpoint.cosign(head, identity.node, identity.public, at_s, identity.sign)
            await ledger.cosign(self._pool, confirmed, line)
            self.cosignature = line
        return standing

    async def _keep(self, header: Header) -> Refusal | None:
        """Write down that this node stands for a block in its height and term; None when it is written."""
        state = signer.vote(self._disk.state, header)
        if isinstance(state, Refusal):
            return state
        if self._report is not None:
            state = signer.reporting(state, self._report.statement)
        await self._save(state)
        block = header.hash().hex()
        log.debug("vote written down", height=header.height, term=header.term, block=block)
        return None

    async def _save(self, state: SignerState) -> None:
        """With what was acknowledged by now, which rides along with a flush that happens anyway."""
        await asyncio.to_thread(self._disk.save, signer.acknowledging(state, self._acknowledged()))

    async def _foreign(self, sealed: int, leaves: Sequence[bytes]) -> Refusal | None:
        """What shows that these unsealed leaves are not the ones this node made: more, others or fewer."""
        node = self._identity.node
        for number, leaf in enumerate(leaves, sealed + 1):
            if not self._vouches(number, leaf) or self._own.get(number, leaf) != leaf:
                return Refusal(Reason.LEAVES, f"{node} did not make the leaf {number} it is shown")
        if max(self._own, default=0) > sealed + len(leaves) or not await self._recalled(sealed):
            return Refusal(Reason.LEAVES, f"{node} is not shown the leaves that it reported before")
        return None

    async def _recalled(self, sealed: int) -> bool:
        """Once after a restart: whether the database still shows the leaves this node has reported."""
        state, asked, self._asked_disk = self._disk.state, self._asked_disk, True
        if asked or state.reported_first + state.reported_count <= sealed + 1:
            return True
        shown = await ledger.unsealed(
            self._pool, self._identity.node, state.reported_first - 1, state.reported_count
        )
        return signer.reported(state, shown)

    async def _still_there(self, standing: Standing) -> None:
        """The block this node stands on must be the one the database shows at that height."""
        if standing.hash is None:
            self._stop(Refusal(Reason.BACK, f"the database no longer shows block {self.tip.height}"))
        elif standing.hash != self.tip.hash:
            self._stop(Refusal(Reason.SIDEWAYS, f"the database shows another block {self.tip.height}"))
            await self._find_out(standing.lines)
        elif self._placed is not None and not self._lines.issuperset(standing.lines):
            self._lines = frozenset(standing.lines)
            await self._hear(standing.lines, *self._placed)

    async def _find_out(self, lines: Sequence[note.Signature]) -> None:
        """Another block where this node's tip was: who voted for it or cosigned it, and both blocks?"""
        other, below = await blocks.shown(self._pool, self.tip.height), self._below
        if other is not None and below is not None and other.header.previous == below.hash:
            await self.hearing.hear(other.votes, below.rules)
            await self._hear(lines, other.header, below.tree.extend(other.leaves))

    async def _hear(self, lines: Sequence[note.Signature], header: Header, tree: merkle.Tree) -> None:
        said = [evidence.cosigned(line, self.tip.origin, header, tree) for line in lines]
        await self.hearing.hear(said, self.tip.rules)

    def _stand_on(self, confirmed: Tip, shown: Shown) -> None:
        self._below, self._lines = self.tip, frozenset()
        self._placed = shown.header, self.tip.tree.extend(shown.leaves)
        if self.wanted == self.tip.rules:
            self.wanted = confirmed.rules
        self.tip, self._report = confirmed, None
        sealed = confirmed.last(self._identity.node)
        self._own = {number: made for number, made in self._own.items() if number > sealed}

    def _remember(self, first: int, leaves: Sequence[bytes]) -> None:
        self._own |= dict(zip(range(first, first + len(leaves)), leaves, strict=True))
        for number in list(self._own)[: max(0, len(self._own) - MEMORY)]:
            del self._own[number]

    def _stop(self, refusal: Refusal) -> Refusal:
        self.stopped = refusal
        log.critical("this node stops signing", reason=refusal.reason.value, detail=refusal.detail)
        return refusal


async def standing(pool: Pool, state: SignerState, genesis: Tip, check: Check) -> Tip:
    """The tip that this node signed last, rebuilt from a database that may lie about it.

    The block itself is known by its hash. The tree below it is believed because the header, whose hash was
    signed, names its root.
    """
    if state.height == 0:
        if genesis.hash != state.block:
            raise errors.RecordLost(f"the database is of another cluster than this node is of. {ADVICE}")
        return genesis
    below = genesis if state.height == 1 else await blocks.tip(pool, state.height - 1)
    shown = await blocks.shown(pool, state.height)
    if below is None or shown is None or shown.header.hash() != state.block:
        raise errors.RecordLost(
            f"the database does not show block {state.height}, which this node signed: it was put back to "
            f"an earlier moment, or is another one. {ADVICE}"
        )
    confirmed = readback.confirm(shown, below, NodeId(""), _nothing(), check)
    if isinstance(confirmed, Refusal):
        raise errors.RecordLost(
            f"block {state.height}, which this node signed, was changed in the database: "
            f"{confirmed.detail}. {ADVICE}"
        )
    return confirmed


def _nothing() -> Mapping[int, bytes]:
    return {}
