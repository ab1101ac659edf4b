"""A database that lies: an old tip, another chain for some of the nodes, blocks with something missing.

It keeps every block that anybody ever tried to commit, and shows half of the nodes another chain whenever
there are blocks to make one of. What it cannot do is sign.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from random import Random

from ccn.core.ids import NodeId
from ccn.core.rounds.readback import ShownBlock
from tests.cluster.simulation.checks.audit import Sealed
from tests.cluster.simulation.checks.invariants import Witness
from tests.cluster.simulation.nodes.conduct import Conduct
from tests.cluster.simulation.services.database import Database, Status


class Lie(StrEnum):
    """What it may do."""

    STALE = "an old tip"
    FORK = "another chain"
    MANGLED = "altered blocks"
    TERM = "another term"


class LyingDatabase(Database):
    """Tells some nodes the truth and others what suits it; `misled` are the others."""

    def __init__(
        self, conduct: Conduct, witness: Witness, random: Random, misled: frozenset[NodeId]
    ) -> None:
        super().__init__(conduct, witness)
        self.lies = frozenset[Lie]()
        self._random = random
        self._misled = misled

    def be_honest(self) -> None:
        self.lies = frozenset()

    def shows(self, node: NodeId) -> Sequence[Sealed]:
        chain = super().shows(node)
        if node not in self._misled:
            return chain
        if Lie.FORK in self.lies:
            chain = self._fork()
        if Lie.STALE in self.lies and self._random.random() < 0.5:
            chain = chain[: -self._random.randrange(1, 3)]
        return chain

    def shown(self, node: NodeId, height: int) -> ShownBlock | None:
        shown = super().shown(node, height)
        if shown is None or Lie.MANGLED not in self.lies or self._random.random() < 0.3:
            return shown
        return self._random.choice(MANGLED)(shown)

    def status(self, node: NodeId, height: int) -> Status:
        told = super().status(node, height)
        if Lie.TERM in self.lies and self._random.random() < 0.5:
            return replace(told, term=max(1, told.term - self._random.randrange(3)), leader=node)
        return told

    def _fork(self) -> list[Sealed]:
        """The chain of whatever was offered that leaves the true one as early as it can."""
        forked, true = list[Sealed](), [sealed.hash for sealed in self.chain]
        while True:
            previous = forked[-1].hash if forked else None
            fit = [sealed for sealed in self.offered if _fits(sealed, len(forked) + 1, previous)]
            if not fit:
                return forked
            forked.append(min(fit, key=lambda sealed: sealed.hash in true))


def _fits(sealed: Sealed, height: int, previous: bytes | None) -> bool:
    header = sealed.block.header
    return header.height == height and previous in (None, header.previous)


MANGLED: Sequence[Callable[[ShownBlock], ShownBlock]] = (
    lambda shown: replace(shown, leaves=shown.leaves[:-1]),
    lambda shown: replace(shown, leaves=(*shown.leaves[:-1], bytes(32))),
    lambda shown: replace(shown, leaves=shown.leaves[::-1]),
    lambda shown: replace(shown, votes=shown.votes[:1]),
    lambda shown: replace(shown, votes=shown.votes[:1] * len(shown.votes)),
    lambda shown: replace(shown, header=replace(shown.header, time_us=shown.header.time_us + 1)),
    lambda shown: replace(shown, header=replace(shown.header, root=bytes(32))),
)
"""What can be altered without leaving the shape of a block; some do nothing to a block without leaves."""
