"""What this node hears others sign, so that whoever contradicts itself is found out.

Separate from voting, which decides what this node signs. Here nothing is decided: statements of the last
heights are remembered as they arrive, signatures are looked at only when two of them contradict each other,
and what convicts somebody is written down and logged.
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
from ccn.store.rounds import evidence as kept

log = structlog.get_logger(__name__)

POSITIONS = 1_000
"""Of so many nodes, heights and terms statements are remembered."""
VERSIONS = 4
"""Statements for one of them; what is not signed takes up room as well."""

S = TypeVar("S", Proposal, Vote, Cosigned)


class HeardStatements:
    """The ears of one node."""

    def __init__(self, node: NodeId, check: Check, pool: Pool) -> None:
        self._node, self._check, self._pool = node, check, pool
        self._versions = Recent[tuple[object, ...], dict[bytes, Signed[Any]]](POSITIONS)

    async def add(self, said: Iterable[Signed[S]], rules: Rules) -> None:
        """Remember what was said, and keep the evidence that it makes with what was said before."""
        for one in said:
            node, height, term, block = evidence.subject_of(one.statement)
            versions = self._versions.setdefault((type(one.statement), node, height, term), {})
            for other in [] if block in versions else list(versions.values()):
                await self._compare_pair(other, one, rules)
            if len(versions) < VERSIONS:
                versions.setdefault(block, one)

    async def _compare_pair(self, first: Signed[S], second: Signed[S], rules: Rules) -> None:
        found = evidence.find_contradiction(first, second, rules, self._check)
        if found is None:
            return
        log.critical("a node contradicts itself", who=found.node, kind=found.kind, height=found.height)
        try:
            await kept.keep_evidence(self._pool, found, self._node)
        except (errors.Unavailable, errors.OutcomeUnknown):
            log.exception("the evidence could not be kept", who=found.node)
