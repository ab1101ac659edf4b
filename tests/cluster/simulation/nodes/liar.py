"""A lying node. All liars of a run work together: each can sign for all, and they know who is misled.

As a voter it says yes to everything and forgets it at once. As a leader it tries one attack a round, and
whatever collects enough votes goes to the database, honest or not; it cannot make others sign.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ccn import errors
from ccn.core.axes import Vector
from ccn.core.chain import block
from ccn.core.chain.block import Block
from ccn.core.chain.report import Report
from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.ids import CharacterId, NodeId
from ccn.core.ledger import signed
from ccn.core.ledger.signed import Signed
from ccn.core.rounds import ballot
from ccn.core.rounds.ballot import Certificate, Draft, Proposal, Vote
from ccn.core.rounds.refusal import Refusal
from tests.cluster.simulation.checks.audit import Sealed
from tests.cluster.simulation.loop import MS
from tests.cluster.simulation.nodes.node import Node, Round
from tests.cluster.simulation.nodes.validator import Validator
from tests.support.core.rosters import pack_rows

if TYPE_CHECKING:
    from tests.cluster.simulation.world import World


class Liar(Validator):
    """Does what no rule allows, as well as it can."""

    def __init__(self, world: World, name: NodeId) -> None:
        super().__init__(world, name)
        self.heard: dict[NodeId, list[Signed[Report]]] = {}
        self.seen: list[Signed[Proposal]] = []

    async def report(self, place: Round) -> Signed[Report] | None:
        """A report, not always the same: with leaves left out, or claiming all instances, or worse."""
        honest, random = self.statement(place), self.loop.random
        said = random.choice(
            (
                honest,
                replace(honest, rosters=self._claimed()),
                replace(honest, leaves=random.randbytes(32)),
                replace(honest, height=place[0] + 1),
                replace(honest, first=honest.first + 1),
            )
        )
        return signed.sign_statement(said, self.sign)

    def _claimed(self) -> tuple[Roster, ...]:
        """Everybody's instances as if it had adopted them, far from what they are and of made-up owners."""
        vector = Vector((1_000_000,) * 16)
        named = {
            row.instance for node in self.world.honest for roster in node.rosters() for row in roster.rows()
        }
        return (
            pack_rows(
                CharacterId("ada"), [RosterRow(each, 1 << 40, vector, each.int % 999) for each in named]
            ),
        )

    async def vote(self, proposed: Signed[Proposal]) -> Signed[Vote] | None:
        """Yes, to whatever it is."""
        self.seen.append(proposed)
        header = proposed.statement.header
        return signed.sign_statement(Vote(self.name, header.height, header.term, header.hash()), self.sign)

    async def hold_round(self, term: int) -> bool:
        place = self.round_of(term)
        reports = await self.everybody(lambda node: node.report(place))
        for report in reports:
            self.heard.setdefault(report.statement.node, []).append(report)
        await self.loop.sleep(self.loop.random.choice((0, 0, 300 * MS, 1000 * MS)))
        if self.tip.hash != place[2]:
            return False
        draft = ballot.propose(reports, self.lead(term), self.clock_us, self.world.check)
        if not isinstance(draft, Draft):
            return False
        if self.loop.random.random() < 0.5:
            await self._equivocate(draft)
        else:
            await self._commit([await self._ask(self._false(draft), self.world.validators(self.tip))])
        if self.seen and self.loop.random.random() < 0.3:
            await self.votes(self.loop.random.choice(self.seen))
        return self.loop.random.random() < 0.3

    async def _equivocate(self, draft: Draft) -> None:
        """One block for one half of the nodes, and another for the other; or nothing comes of either."""
        misled = self.world.misled
        nodes = self.world.validators(self.tip)
        later = self._sealed(draft, draft.proposal.reports, time_us=draft.block.header.time_us + 1)
        one = await self._ask(draft, [node for node in nodes if node.name not in misled])
        other = await self._ask(later, [node for node in nodes if node.name in misled])
        if self.loop.random.random() < 0.6:
            await self._commit([one, other])

    async def _ask(self, draft: Draft, nodes: Sequence[Node]) -> Sealed | None:
        """Collect votes, and add those of all liars as often as they are useful."""
        tip, header = self.tip, draft.block.header
        proposed = signed.sign_statement(draft.proposal, self.sign)
        votes = await self.everybody(lambda node: node.vote(proposed), nodes)
        own = [
            signed.sign_statement(
                Vote(liar, header.height, header.term, header.hash()), self.world.keys.pair(liar).sign
            )
            for liar in sorted(self.world.liars)
        ]
        votes = [vote for vote in votes if vote.statement.node not in self.world.liars] + own
        certificate = self.conduct.tally(
            header, votes + own * tip.rules.quorum, tip.rules, self.world.check
        )
        if isinstance(certificate, Certificate):
            return Sealed(draft.proposal, draft.block, certificate.votes)
        return None

    async def _commit(self, collected: Sequence[Sealed | None]) -> None:
        """Try to commit whatever has enough votes; the database keeps what it refuses."""
        for sealed in collected:
            if sealed is not None:
                with contextlib.suppress(errors.Conflict):
                    await self.commit(sealed)

    def _false(self, draft: Draft) -> Draft:
        """A proposal with one thing wrong, everything else computed anew as if it were right."""
        header, reports, random = draft.block.header, draft.proposal.reports, self.loop.random
        other = random.choice(reports)
        before = [heard for heard in self.heard[other.statement.node] if heard != other]
        older = random.choice(before or [other])
        forged = replace(other.statement, leaves=b"", wants=bytes(32))
        foreign = [older if report is other else report for report in reports]
        match random.randrange(9):
            case 0:
                return self._altered(draft, replace(draft.block, header=replace(header, result=bytes(32))))
            case 1:
                return self._altered(draft, replace(draft.block, header=replace(header, root=bytes(32))))
            case 2:
                return self._altered(draft, replace(draft.block, header=replace(header, reports=bytes(32))))
            case 3:
                return self._sealed(draft, [*reports, signed.sign_statement(forged, self.sign)])
            case 4:
                unsigned = Signed(forged, other.signature)
                return self._sealed(draft, [unsigned if report is other else report for report in reports])
            case 5:
                return self._sealed(draft, reports[: self.tip.rules.quorum - 1])
            case 6:
                early = self.tip.time_us
                return self._sealed(draft, reports, time_us=max(1, early))
            case _:
                return self._sealed(draft, foreign)

    def _sealed(self, draft: Draft, reports: Sequence[Signed[Report]], time_us: int = 0) -> Draft:
        header = draft.block.header
        sealed = block.seal(
            self.tip,
            [report.statement for report in reports],
            term=header.term,
            leader=self.name,
            time_us=time_us or header.time_us,
            next_rules=draft.block.next_rules,
        )
        return Draft(Proposal(sealed.header, tuple(reports), sealed.next_rules), sealed, ())

    def _altered(self, draft: Draft, sealed: Block) -> Draft:
        return Draft(replace(draft.proposal, header=sealed.header), sealed, ())

    async def follow(self) -> None:
        """It reads the chain but is bound by nothing it signed."""
        height = (await self.ask_status()).height
        while self.tip.height < height:
            shown = await self.ask_shown(self.tip.height + 1)
            if shown is None:
                return
            moved = self.conduct.confirm(shown, self.tip, self.name, {}, self.world.check)
            if isinstance(moved, Refusal):
                return
            self.tip = moved
