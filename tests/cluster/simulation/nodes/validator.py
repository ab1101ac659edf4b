"""An honest node that leads: campaign, take a term, hold rounds, and stop when another one took over.

In one height and term it proposes once, and it writes its own vote down before it shows the proposal to
anybody. To propose again would be evidence against it: after a round that came to nothing, and just as well
after a restart on a database that was put back and counts its terms again.

"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from functools import partial
from typing import Any, TypeVar

from ccn import errors
from ccn.core.ledger import signed
from ccn.core.ledger.signed import Signed
from ccn.core.rounds.ballot import Certificate, Draft, Proposal, TermLeader, Vote
from ccn.core.rounds.refusal import Refusal
from tests.cluster.simulation import scenario
from tests.cluster.simulation.checks.audit import Sealed
from tests.cluster.simulation.loop import MS, SECOND
from tests.cluster.simulation.nodes.node import Node, Round

T = TypeVar("T")

_INTERVAL_US = 900 * MS
_PHASE_US = 600 * MS
_FENCE_PATIENCE = 5
_FENCE_LOOK_US = 100 * MS


class Validator(Node):
    """A node that also leads when it is its turn."""

    def start(self) -> None:
        super().start()
        self.spawn(self._campaign())

    def crash(self) -> None:
        """The database learns of it a little later than everybody else would like."""
        super().crash()
        database = self.world.database
        held = database.held(self.name)
        self.loop.after(self.loop.random.randrange(SECOND), lambda: database.end(held))

    async def _campaign(self) -> None:
        term: int | None = None
        while True:
            await self.loop.sleep(_INTERVAL_US // 2 + self.loop.random.randrange(_INTERVAL_US))
            try:
                if self.tip.rules.key_of(self.name) is None or self.alarm is not None:
                    continue
                if not await self.world.network.call(
                    self.name, lambda: self.world.etcd.campaign(self.name)
                ):
                    term = None
                    continue
                term = term or await self._take_over()
                if self.alarm is None and await self.hold_round(term):
                    term = None
            except (errors.Unavailable, errors.OutcomeUnknown, errors.Conflict):
                term = None

    async def hold_round(self, term: int) -> bool:
        """Collect, propose, vote, commit; whether the term is used up."""
        place = self.tip.height + 1, term, self.tip.hash
        reports = await self.everybody(lambda node: node.report(place))
        if self.tip.hash != place[2]:
            return False
        draft = self.conduct.propose(reports, self.lead(term), self.clock_us, self.world.check)
        self.world.left_out(draft.refused)
        if not isinstance(draft, Draft):
            return False
        tip, state = self.tip, self.conduct.vote(self.signer, draft.block.header)
        if isinstance(state, Refusal):
            return True
        self.signer = state
        await self.conduct.remember_proposed(self.disk, state)
        self.world.witness.proposed(draft.proposal)
        scenario.strike(self.world, self)
        proposed = signed.sign_statement(draft.proposal, self.sign)
        votes = await self.votes(proposed)
        certificate = self.conduct.tally(draft.block.header, votes, tip.rules, self.world.check)
        if not isinstance(certificate, Certificate):
            return True
        await self.commit(Sealed(draft.proposal, draft.block, certificate.votes))
        await self.follow()
        return False

    def lead(self, term: int) -> TermLeader:
        """What it brings to a round as its leader."""
        return TermLeader(self.name, self.tip, term, self.world.wanted(self.tip))

    async def votes(self, proposed: Signed[Proposal]) -> list[Signed[Vote]]:
        """The votes that come in time."""
        return await self.everybody(lambda node: node.vote(proposed))

    async def everybody(
        self, question: Callable[[Node], Coroutine[Any, None, T | None]], among: Sequence[Node] = ()
    ) -> list[T]:
        """Ask every validator at once, itself too, and take the answers that come in time."""
        nodes, ask = among or self.world.validators(self.tip), self.world.network.ask
        asked = [
            ask((self.name, self), (node.name, node), partial(question, node), _PHASE_US) for node in nodes
        ]
        answers = [await future for future in asked]
        return [answer for answer in answers if answer is not None]

    async def commit(self, sealed: Sealed) -> None:
        """One transaction inside the fence."""
        scenario.strike(self.world, self)
        database, call = self.world.database, self.world.network.call
        term = sealed.block.header.term
        transaction = await call(self.name, lambda: database.begin(self.name, term))
        await call(self.name, lambda: database.offer(sealed))
        await call(self.name, lambda: database.commit(transaction, sealed))

    async def _take_over(self) -> int:
        """The next term, once no write of an older one is under way, or once patience ends."""
        database, call = self.world.database, self.world.network.call
        for _ in range(_FENCE_PATIENCE):
            term = await call(self.name, lambda: database.take_over(self.name))
            if term is not None:
                return term
            await self.loop.sleep(_FENCE_LOOK_US)
        await call(self.name, lambda: database.end(database.held()))
        return await self._take_over()

    def round_of(self, term: int) -> Round:
        """The round that would be held now."""
        return self.tip.height + 1, term, self.tip.hash
