"""What this node answers when a leader asks: its report, its vote, and its cosignature.

A node does not trust the leader. It takes the term from PostgreSQL, computes the proposal again, and reads
the block back after the commit. It saves what it is about to sign before it signs. A node that was away, or
that is new, walks the chain from the last block that it cosigned and checks each block.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from ccn import errors
from ccn.core.chain import checkpoint, protocol
from ccn.core.chain.block import Tip
from ccn.core.chain.header import Header
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.chain.report import LEAF_LIMIT, Report
from ccn.core.chain.roster import Roster
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger import merkle, note, signed
from ccn.core.ledger.signed import Check, Sign, Signed
from ccn.core.rounds import ballot, evidence, readback, signer
from ccn.core.rounds.ballot import Proposal, Vote, Voter
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Reason, Refusal
from ccn.core.rounds.signer import NumberedHash, SignerState
from ccn.node.rounds.contradictions import HeardStatements
from ccn.peers.exchange import ReportRequest
from ccn.store.connection.fence import ADVICE
from ccn.store.connection.pool import Pool
from ccn.store.rounds import blocks, ledger, terms
from ccn.store.rounds.blocks import ChainState

log = structlog.get_logger(__name__)

MEMORY = 4 * LEAF_LIMIT
"""Most own leaf hashes that are remembered, to compare them with what the database shows."""


class SignerFile(Protocol):
    """The small file that keeps a node from contradicting itself: its signing memory."""

    state: SignerState

    def save(self, state: SignerState) -> None:
        """Save the state. It is flushed to the disk when this returns."""


@dataclass(frozen=True, slots=True)
class NodeIdentity:
    """The name and key of this node, and how it signs and checks signatures."""

    node: NodeId
    public: bytes
    sign: Sign
    check: Check


class Voting:
    """One node's part in the rounds, whichever node leads them."""

    def __init__(  # noqa: PLR0917 - its neighbours, each once
        self,
        identity: NodeIdentity,
        pool: Pool,
        disk: SignerFile,
        tip: Tip,
        rosters: Callable[[Tip], Awaitable[Sequence[Roster]]],
        vouches: Callable[[int, bytes], bool],
        now_us: Callable[[], int],
        acknowledged: Callable[[], NumberedHash | None] = lambda: None,
        spoken: ProtocolRange = protocol.SPOKEN,
    ) -> None:
        self.tip = tip
        self.wanted_rules: Rules = tip.rules
        """The rules that this node would like to be in force."""
        self.cosignature: note.Signature | None = None
        """This node's line under the checkpoint of its tip. None until it cosigns one after its start."""
        self.stop_reason: Refusal | None = None
        """Why this node signs nothing any more: the database contradicts what it has signed, or its program
        does not speak the protocol in force."""
        self.unsupported = ""
        """The second of these reasons, if it is that one."""
        self.heard = HeardStatements(identity.node, identity.check, pool)
        """What other nodes signed, compared with each other."""
        self._identity, self._pool, self._file = identity, pool, disk
        self._rosters, self._vouches, self._now_us = rosters, vouches, now_us
        self._acknowledged = acknowledged
        self._own_report: Signed[Report] | None = None
        self._own_proposal: Signed[Proposal] | None = None
        self._recalled_leaves = False
        self._tip_below: Tip | None = None
        self._tip_and_tree: tuple[Header, merkle.Tree] | None = None
        self._heard_cosignatures = frozenset[note.Signature]()
        self._own_leaves: dict[int, bytes] = {}
        self._one_at_a_time = asyncio.Lock()
        self._spoken = spoken
        self._check_protocol()

    async def sign_report(self, ask: ReportRequest) -> Signed[Report] | Refusal:
        """Report this node's instances and unsealed leaves, signed for that round alone."""
        async with self._one_at_a_time:
            chain = await self._confirm_new_blocks()
            if self.stop_reason is not None:
                return self.stop_reason
            if (ask.height, ask.previous) != (self.tip.height + 1, self.tip.hash):
                return Refusal(
                    Reason.TIP, f"asked for height {ask.height}, this node is at {self.tip.height}"
                )
            if chain.term != ask.term:
                return Refusal(Reason.TERM, f"asked in term {ask.term}, the database shows {chain.term}")
            node, last = self._identity.node, self.tip.last_sealed(self._identity.node)
            leaves, loaded = await asyncio.gather(
                ledger.load_unsealed(self._pool, node, last, LEAF_LIMIT), self._rosters(self.tip)
            )
            foreign = await self._find_foreign_leaves(last, leaves)
            if foreign is not None:
                return self._stop_signing(foreign)
            self._remember_leaves(last + 1, leaves)
            rosters = tuple(sorted(loaded, key=lambda roster: roster.character))
            report = Report(
                node,
                ask.height,
                ask.term,
                ask.previous,
                rosters,
                last + 1,
                b"".join(leaves),
                self.wanted_rules.hash(),
            )
            self._own_report = signed.sign_statement(report, self._identity.sign)
            log.debug("report signed", height=ask.height, term=ask.term, leaves=len(leaves))
            return self._own_report

    async def sign_proposal(self, proposal: Proposal) -> Signed[Proposal] | Refusal:
        """Sign a block that this node proposes, after it saved its own vote for that block.

        The saved vote keeps it from proposing a second block in the same term.
        """
        async with self._one_at_a_time:
            if self.stop_reason is not None:
                return self.stop_reason
            refusal = await self._persist_vote(proposal.header)
            if refusal is not None:
                return refusal
            self._own_proposal = signed.sign_statement(proposal, self._identity.sign)
            return self._own_proposal

    def has_voted_in(self, term: int) -> bool:
        """Return whether this node voted in this term, so that it can propose no other block in it."""
        return signer.has_voted_in(self._file.state, self.tip.height + 1, term)

    async def vote_on(self, proposed: Signed[Proposal]) -> Signed[Vote] | Refusal:
        """Save and sign a vote, or return the reason against it."""
        async with self._one_at_a_time:
            if self.stop_reason is not None:
                return self.stop_reason
            if proposed is self._own_proposal:  # this node made the block, and saved its vote for it
                header = proposed.statement.header
                own = Vote(self._identity.node, header.height, header.term, header.hash())
                return signed.sign_statement(own, self._identity.sign)
            term = await terms.load_term(self._pool)
            if term.leader is None:
                return Refusal(Reason.LEADER, "the database shows no leader")
            await self.heard.add([proposed], self.tip.rules)
            state = self._file.state
            voter = Voter(self._identity.node, self.tip, term.number, term.leader, self._own_report, state)
            answer = ballot.judge(proposed, voter, self._now_us(), self._identity.check)
            if isinstance(answer, Refusal):
                return answer
            refusal = await self._persist_vote(proposed.statement.header)
            return refusal or signed.sign_statement(answer, self._identity.sign)

    async def catch_up(self) -> Tip:
        """Read back and cosign the blocks that were committed, and move the tip to the newest one."""
        async with self._one_at_a_time:
            await self._confirm_new_blocks()
            return self.tip

    async def _confirm_new_blocks(self) -> ChainState:
        """Confirm and cosign every block above the tip, one after the other.

        A node never gives up a block that it cosigned. So the standbys must have the block first, or it
        could be lost with the primary.
        """
        chain = await blocks.chain_state(self._pool, self.tip.height)
        await self._check_own_tip(chain)
        if chain.standbys and self.tip.height < chain.height:
            await self._pool.confirm_standbys()
        while self.stop_reason is None and self.tip.height < chain.height:
            shown = await self._load_next_block()
            if shown is None:
                return chain
            identity = self._identity
            confirmed = readback.confirm_block(
                shown, self.tip, identity.node, self._own_leaves, identity.check
            )
            if isinstance(confirmed, Refusal):
                self._stop_signing(confirmed)
                return chain
            match signer.allow_cosignature(self._file.state, shown.header):
                case SignerState() as state:
                    await self._save_state(state)
                case refusal:
                    self._stop_signing(refusal)
                    return chain
            log.debug("block confirmed", height=confirmed.height, block=confirmed.hash.hex())
            await self.heard.add(shown.votes, self.tip.rules)
            self._advance_tip(confirmed, shown)
            at_s, head = self._now_us() // 1_000_000, confirmed.checkpoint()
            line = checkpoint.cosign(head, identity.node, identity.public, at_s, identity.sign)
            await ledger.keep_cosignature(self._pool, confirmed, line)
            self.cosignature = line
            self._check_protocol()
        return chain

    async def _load_next_block(self) -> ShownBlock | None:
        try:
            return await blocks.load_block(self._pool, self.tip.height + 1)
        except errors.ProtocolUnsupported as unreadable:
            self._leave(str(unreadable))
            return None

    def _check_protocol(self) -> None:
        """Sign nothing under rules whose protocol this program does not speak. The next program may."""
        in_force = self.tip.rules.parameters.protocol
        if in_force not in self._spoken:
            self._leave(protocol.describe_gap(in_force, self._spoken))

    def _leave(self, gap: str) -> None:
        self.unsupported = gap
        self._stop_signing(Refusal(Reason.RULES, gap))

    async def _persist_vote(self, header: Header) -> Refusal | None:
        """Save that this node votes for a block in its height and term, or return why it must not."""
        state = signer.allow_vote(self._file.state, header)
        if isinstance(state, Refusal):
            return state
        if self._own_report is not None:
            state = signer.with_report(state, self._own_report.statement)
        await self._save_state(state)
        block = header.hash().hex()
        log.debug("vote saved", height=header.height, term=header.term, block=block)
        return None

    async def _save_state(self, state: SignerState) -> None:
        """Save a state, with the newest acknowledged leaf, which then needs no flush of its own."""
        await asyncio.to_thread(self._file.save, signer.with_acknowledged(state, self._acknowledged()))

    async def _find_foreign_leaves(self, sealed: int, leaves: Sequence[bytes]) -> Refusal | None:
        """Refuse unsealed leaves that are not those this node made: more, other or fewer."""
        node = self._identity.node
        for number, leaf in enumerate(leaves, sealed + 1):
            if not self._vouches(number, leaf) or self._own_leaves.get(number, leaf) != leaf:
                return Refusal(Reason.LEAVES, f"{node} did not make leaf {number} that the database shows")
        too_few = max(self._own_leaves, default=0) > sealed + len(leaves)
        if too_few or not await self._shows_reported_leaves(sealed):
            return Refusal(Reason.LEAVES, f"the database no longer shows leaves that {node} reported")
        return None

    async def _shows_reported_leaves(self, sealed: int) -> bool:
        """Check once after a restart that the database still shows the leaves this node reported."""
        state, checked, self._recalled_leaves = self._file.state, self._recalled_leaves, True
        if checked or state.reported_first + state.reported_count <= sealed + 1:
            return True
        shown = await ledger.load_unsealed(
            self._pool, self._identity.node, state.reported_first - 1, state.reported_count
        )
        return signer.begins_with_reported(state, shown)

    async def _check_own_tip(self, chain: ChainState) -> None:
        """Stop signing if the database shows another block, or none, at the height of this node's tip."""
        if chain.hash is None:
            self._stop_signing(
                Refusal(Reason.BACK, f"the database no longer shows block {self.tip.height}")
            )
        elif chain.hash != self.tip.hash:
            self._stop_signing(
                Refusal(Reason.SIDEWAYS, f"the database shows another block {self.tip.height}")
            )
            await self._collect_fork_evidence(chain.lines)
        elif self._tip_and_tree is not None and not self._heard_cosignatures.issuperset(chain.lines):
            self._heard_cosignatures = frozenset(chain.lines)
            await self._hear_cosignatures(chain.lines, *self._tip_and_tree)

    async def _collect_fork_evidence(self, lines: Sequence[note.Signature]) -> None:
        """Find nodes that voted for or cosigned both this node's tip and the other block at its height."""
        other, below = await blocks.load_block(self._pool, self.tip.height), self._tip_below
        if other is not None and below is not None and other.header.previous == below.hash:
            await self.heard.add(other.votes, below.rules)
            await self._hear_cosignatures(lines, other.header, below.tree.extend(other.leaves))

    async def _hear_cosignatures(
        self, lines: Sequence[note.Signature], header: Header, tree: merkle.Tree
    ) -> None:
        origin = self.tip.origin
        cosigned = [evidence.cosigned_from_signature(line, origin, header, tree) for line in lines]
        await self.heard.add(cosigned, self.tip.rules)

    def _advance_tip(self, confirmed: Tip, shown: ShownBlock) -> None:
        self._tip_below, self._heard_cosignatures = self.tip, frozenset()
        self._tip_and_tree = shown.header, self.tip.tree.extend(shown.leaves)
        if self.wanted_rules == self.tip.rules:
            self.wanted_rules = confirmed.rules
        self.tip, self._own_report = confirmed, None
        sealed = confirmed.last_sealed(self._identity.node)
        self._own_leaves = {number: leaf for number, leaf in self._own_leaves.items() if number > sealed}

    def _remember_leaves(self, first: int, leaves: Sequence[bytes]) -> None:
        self._own_leaves |= dict(zip(range(first, first + len(leaves)), leaves, strict=True))
        for number in list(self._own_leaves)[: max(0, len(self._own_leaves) - MEMORY)]:
            del self._own_leaves[number]

    def _stop_signing(self, refusal: Refusal) -> Refusal:
        self.stop_reason = refusal
        log.critical("this node stops signing", reason=refusal.reason.value, detail=refusal.detail)
        return refusal


async def load_signed_tip(pool: Pool, state: SignerState, genesis: Tip, check: Check) -> Tip:
    """Rebuild the tip that this node signed last from a database that may lie about it.

    The node knows the hash of the block. The header has that hash and names the root of the tree, so the
    tree below the block can be trusted too.
    """
    if state.height == 0:
        if genesis.hash != state.block:
            raise errors.RecordLost(f"the database belongs to another cluster than this node. {ADVICE}")
        return genesis
    below = genesis if state.height == 1 else await blocks.load_tip(pool, state.height - 1)
    shown = await blocks.load_block(pool, state.height)
    if below is None or shown is None or shown.header.hash() != state.block:
        raise errors.RecordLost(
            f"the database does not show block {state.height}, which this node signed: it was put back to "
            f"an earlier moment, or is another one. {ADVICE}"
        )
    confirmed = readback.confirm_block(shown, below, NodeId(""), _no_leaves(), check)
    if isinstance(confirmed, Refusal):
        raise errors.RecordLost(
            f"block {state.height}, which this node signed, was changed in the database: "
            f"{confirmed.detail}. {ADVICE}"
        )
    return confirmed


def _no_leaves() -> Mapping[int, bytes]:
    return {}
