"""What is left to say at the end: is everything sealed, and does every lie that had an effect show?"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable
from typing import TYPE_CHECKING, TypeVar

from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Signed
from ccn.core.rounds import evidence
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.evidence import Cosigned
from tests.cluster.simulation.checks.invariants import Invariant

if TYPE_CHECKING:
    from tests.cluster.simulation.world import World

S = TypeVar("S", Proposal, Vote, Cosigned)


def conclude(world: World) -> set[NodeId]:
    """The last checks of a run, and the nodes that signed statements convict."""
    witness, liars = world.witness, world.liars
    witness.checkpoints()
    lost = [node for node in world.honest if world.lost(node)]
    for node in lost:
        if node.alarm is None:
            witness.saw(Invariant.UNDETECTED, f"{node.name} stands for a block that is gone, and is calm")
    convicted = _convicted(world)
    if not convicted <= liars:
        witness.saw(Invariant.TWO_PROPOSED, f"{sorted(convicted - liars)} convicted, and honest")
    if world.scenario.excused:
        _excuse(world, seen=bool(lost or convicted))
    rules = world.database.chain[-1].block.next_rules if world.database.chain else world.genesis.rules
    able = [node for node in world.honest if node not in lost and rules.key_of(node.name) is not None]
    if len(able) >= rules.quorum and not world.database.was_restored:
        sealed_by = {node.name for node in world.honest if node not in lost}
        told = {place: leaf for place, leaf in world.acknowledged.items() if place[0] in sealed_by}
        witness.leaves(world.database.chain, told)
    return convicted


def _excuse(world: World, *, seen: bool) -> None:
    """A liar that nobody can outvote may split the record, but not without a trace."""
    split = {Invariant.TWO_FINAL, Invariant.INCONSISTENT}
    found = [seen for seen in world.witness.violations if seen.invariant in split]
    for violation in found:
        world.witness.violations.remove(violation)
    if found and not seen:
        world.witness.saw(Invariant.UNDETECTED, found[0].detail)


def _convicted(world: World) -> set[NodeId]:
    """Compare all proposals that honest nodes heard, all votes that the database has, all cosignatures."""
    votes: dict[tuple[NodeId, int, int, bytes], Signed[Vote]] = {}
    for sealed in world.database.offered:
        for vote in sealed.votes:
            said = vote.statement
            votes[said.node, said.height, said.term, said.block] = vote
    proposals = {block: heard for node in world.honest for block, heard in node.proposals.items()}
    return (
        _contradicting(world, votes.values())
        | _contradicting(world, proposals.values())
        | _contradicting(world, world.cosigned.values())
    )


def _contradicting(world: World, said: Iterable[Signed[S]]) -> set[NodeId]:
    beside = defaultdict[tuple[NodeId, int, int], list[Signed[S]]](list)
    for one in said:
        beside[evidence.subject_of(one.statement)[:3]].append(one)
    pairs = (pair for together in beside.values() for pair in itertools.combinations(together, 2))
    found = (evidence.find_contradiction(one, other, world.everyone, world.check) for one, other in pairs)
    return {proof.node for proof in found if proof is not None}
