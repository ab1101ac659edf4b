"""What this node hears others sign, to find nodes that contradict themselves.

Separate from voting, which decides what this node signs. Nothing is decided here. Statements of the last
heights are remembered as they arrive. Signatures are checked only when two statements contradict each
other. Evidence against a node is stored and logged.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, TypeVar

import structlog

from ccn import errors
from ccn.core.bounded import Recent
from ccn.core.chain.rules import Rules
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Check, Signed
from ccn.core.rounds import evidence
from ccn.core.rounds.ballot import Proposal, Vote
from ccn.core.rounds.evidence import Cosigned
from ccn.store.connection.pool import Pool
from ccn.store.rounds import evidence as stored_evidence

log = structlog.get_logger(__name__)

POSITIONS = 1_000
"""For how many combinations of kind, node, height and term statements are remembered."""
VERSIONS = 4
"""How many statements each combination remembers. The limit is needed because unsigned ones count too."""

S = TypeVar("S", Proposal, Vote, Cosigned)


class HeardStatements:
    """The statements of other nodes that one node has heard."""

    def __init__(self, node: NodeId, check: Check, pool: Pool) -> None:
        self._node, self._check, self._pool = node, check, pool
        self._versions = Recent[tuple[object, ...], dict[bytes, Signed[Any]]](POSITIONS)

    async def add(self, statements: Iterable[Signed[S]], rules: Rules) -> None:
        """Remember these statements, and store evidence where they contradict earlier ones."""
        for signed in statements:
            node, height, term, block = evidence.subject_of(signed.statement)
            versions = self._versions.setdefault((type(signed.statement), node, height, term), {})
            for other in [] if block in versions else list(versions.values()):
                await self._compare_pair(other, signed, rules)
            if len(versions) < VERSIONS:
                versions.setdefault(block, signed)

    async def _compare_pair(self, first: Signed[S], second: Signed[S], rules: Rules) -> None:
        proof = evidence.find_contradiction(first, second, rules, self._check)
        if proof is None:
            return
        log.critical("a node contradicts itself", who=proof.node, kind=proof.kind, height=proof.height)
        try:
            await stored_evidence.keep_evidence(self._pool, proof, self._node)
        except (errors.Unavailable, errors.OutcomeUnknown):
            log.exception("the evidence could not be stored", who=proof.node)
