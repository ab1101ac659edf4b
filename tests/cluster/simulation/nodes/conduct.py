"""How the nodes and the database behave: the real rules, each of which a mutant replaces by a worse one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from ccn.core.chain.block import Tip
from ccn.core.chain.header import Header
from ccn.core.chain.report import Report
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Check, Signed
from ccn.core.rounds import ballot, readback, signer
from ccn.core.rounds.ballot import Certificate, Draft, NoQuorum, Proposal, TermLeader, Vote, Voter
from ccn.core.rounds.readback import ShownBlock
from ccn.core.rounds.refusal import Refusal
from ccn.core.rounds.signer import SignerState
from tests.cluster.simulation.nodes.machine import Disk

Propose = Callable[[Sequence[Signed[Report]], TermLeader, int, Check], Draft | NoQuorum]
Judge = Callable[[Signed[Proposal], Voter, int, Check], Vote | Refusal]
Tally = Callable[[Header, Sequence[Signed[Vote]], Rules, Check], Certificate | NoQuorum]
Confirm = Callable[[ShownBlock, Tip, NodeId, Mapping[int, bytes], Check], Tip | Refusal]
Remember = Callable[[Disk, SignerState], Awaitable[None]]
Next = Callable[[SignerState, Header], SignerState | Refusal]


async def flushed(disk: Disk, state: SignerState) -> None:
    """Write it down, and go on when it is safe."""
    disk.write(state.body())
    await disk.flush()


@dataclass(frozen=True, slots=True)
class Conduct:
    """What an honest node does, and what the database promises."""

    propose: Propose = ballot.propose
    judge: Judge = ballot.judge
    tally: Tally = ballot.tally
    confirm: Confirm = readback.confirm_block
    vote: Next = signer.allow_vote
    cosign: Next = signer.allow_cosignature
    remember_proposed: Remember = flushed
    remember_vote: Remember = flushed
    remember_cosigned: Remember = flushed
    rules: type[Rules] = Rules
    fence_holds: bool = True
    tip_compared: bool = True
