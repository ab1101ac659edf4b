"""An honest node, asked: what it reports and when it votes. How it leads is in `validator`.

It decides nothing itself: every answer comes from a function of its conduct, which is the real rule unless
a test has put a mutant there. What is here is the order in which a node does things, and where it waits,
which is where it can die.
"""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING
from uuid import UUID

from ccn import errors
from ccn.core.axes import Vector
from ccn.core.chain.report import Report
from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.ids import CharacterId, InstanceId, NodeId
from ccn.core.ledger import signed
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Proposal, Vote, Voter
from ccn.core.rounds.refusal import Refusal
from ccn.core.rounds.signer import SignerState
from tests.cluster.simulation import scenario
from tests.cluster.simulation.checks.audit import block_hash
from tests.cluster.simulation.nodes.reader import Reader
from tests.support.core.rosters import pack_rows

if TYPE_CHECKING:
    from tests.cluster.simulation.world import World

Round = tuple[int, int, bytes]
"""Height, term and previous block: what a report is bound to."""


class Node(Reader):
    """A node that takes part in rounds."""

    def __init__(self, world: World, name: NodeId) -> None:
        super().__init__(world, name)
        self.proposals: dict[bytes, Signed[Proposal]] = {}

    def start(self) -> None:
        super().start()
        self.reported: dict[Round, Signed[Report]] = {}

    async def report(self, place: Round) -> Signed[Report] | None:
        """What this node brings to a round; the same answer as often as it is asked."""
        if place[0] != self.tip.height + 1 or place[2] != self.tip.hash:
            return None
        if place not in self.reported:
            scenario.strike(self.world, self)
            self.reported[place] = signed.sign_statement(self.statement(place), self.sign)
        return self.reported[place]

    def statement(self, place: Round) -> Report:
        """Its instances and the leaves that wait."""
        height, term, previous = place
        sealed = self.tip.last_sealed(self.name)
        leaves = b"".join(self.stored[sealed:])
        wants = self.world.wanted(self.tip).hash()
        return Report(self.name, height, term, previous, self.rosters(), sealed + 1, leaves, wants)

    def rosters(self) -> tuple[Roster, ...]:
        """A few instances with vectors of the moment; some runs have none, which is faster."""
        random = self.loop.random
        if not self.world.scenario.instances:
            return ()
        numbers = range(random.randrange(self.world.scenario.instances + 1))
        base = int.from_bytes(hashlib.sha256(self.name.encode()).digest()[:8], "big")
        rows = [
            RosterRow(InstanceId(UUID(int=base + number)), self.life, vector, (base + number) % 3)
            for number in numbers
            for vector in [Vector((*self._scores(), *(500_000,) * 12))]
        ]
        return (pack_rows(CharacterId("ada"), rows),)

    async def vote(self, proposed: Signed[Proposal]) -> Signed[Vote] | None:
        """A signed yes, once it can no longer be forgotten; None for a no."""
        self.proposals[block_hash(proposed.statement.header)] = proposed
        try:
            status = await self.ask_status()
        except (errors.Unavailable, errors.OutcomeUnknown):
            return None
        header = proposed.statement.header
        own = self.reported.get((header.height, header.term, header.previous))
        leader = status.leader or self.name
        voter = Voter(self.name, self.tip, status.term, leader, own, self.signer)
        answer = self.conduct.judge(proposed, voter, self.clock_us, self.world.check)
        state = self.conduct.vote(self.signer, header)
        match answer, state:
            case Vote(), SignerState() if self.alarm is None:
                self.signer = state
                await self.conduct.remember_vote(self.disk, state)
                if self.signer == state:
                    self.world.witness.voted(answer, proposed.statement, own)
                    scenario.strike(self.world, self)
                    return signed.sign_statement(answer, self.sign)
            case Refusal(), _:
                self.world.refusals.add(answer.reason)
        return None

    def _scores(self) -> tuple[int | None, ...]:
        random = self.loop.random
        return tuple(random.choice((None, random.randrange(1_000_001))) for _ in range(4))
