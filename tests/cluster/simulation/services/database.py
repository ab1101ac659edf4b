"""PostgreSQL as a round needs it: terms with their fence, the chain with its compare-and-swap, leaves.

What a statement does happens at once when it arrives; a transaction is several statements. A leader that
dies lets go of its locks when the server notices. What the database may lie about is in `lying_database`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ccn import errors
from ccn.core.ids import NodeId
from ccn.core.rounds.readback import ShownBlock
from tests.cluster.simulation.checks.audit import Sealed
from tests.cluster.simulation.checks.invariants import Witness
from tests.cluster.simulation.nodes.conduct import Conduct


@dataclass(slots=True, eq=False)
class Transaction:
    """A leader's transaction between its first statement and its last."""

    node: NodeId
    term: int
    over: bool = False


@dataclass(frozen=True, slots=True)
class Status:
    """The newest of everything, and the hash of a block that was asked about."""

    term: int
    leader: NodeId | None
    height: int
    block: bytes | None


@dataclass(frozen=True, slots=True)
class Backup:
    """Everything, as it once was."""

    term: int
    leader: NodeId | None
    chain: tuple[Sealed, ...]
    leaves: dict[NodeId, tuple[bytes, ...]]


class Database:
    """The one database, when it is honest."""

    def __init__(self, conduct: Conduct, witness: Witness) -> None:
        self.term = 0
        self.leader: NodeId | None = None
        self.chain: list[Sealed] = []
        self.offered: list[Sealed] = []
        self.was_restored = False
        self._conduct = conduct
        self._witness = witness
        self._leaves: dict[NodeId, list[bytes]] = {}
        self._fence = set[Transaction]()

    def begin(self, node: NodeId, term: int) -> Transaction:
        """Enter the fence of a term, if it is still that one."""
        if term != self.term:
            raise errors.StaleTerm(f"term {term} is over: {self.term} has begun")
        transaction = Transaction(node, term)
        if self._conduct.fence_holds:
            self._fence.add(transaction)
        return transaction

    def commit(self, transaction: Transaction, sealed: Sealed) -> None:
        """Insert the block and move the tip; everything or nothing."""
        if transaction.over:
            raise errors.DatabaseUnavailable("the connection was ended")
        self.end([transaction])
        header = sealed.block.header
        tip = self.chain[-1].hash if self.chain else header.previous
        follows = (header.height, header.previous) == (len(self.chain) + 1, tip)
        if self._conduct.tip_compared and not follows:
            raise errors.Conflict(f"block {header.height} does not follow the tip")
        self._witness.committed(sealed, self.term)
        self.chain[header.height - 1 :] = [sealed]

    def offer(self, sealed: Sealed) -> None:
        """A block somebody tries to commit; an honest database shows it to nobody before the commit."""
        self.offered.append(sealed)
        self._witness.learn(sealed)

    def take_over(self, node: NodeId) -> int | None:
        """Begin the next term; None while a write of an older one is under way."""
        if self._fence:
            return None
        self.term, self.leader = self.term + 1, node
        return self.term

    def held(self, node: NodeId | None = None) -> list[Transaction]:
        """The transactions that hold the fence, of one node or of all."""
        return [transaction for transaction in self._fence if node in (None, transaction.node)]

    def end(self, transactions: Sequence[Transaction]) -> None:
        """End connections, because a client is gone or the patience of another; nothing is committed."""
        for transaction in transactions:
            transaction.over = True
            self._fence.discard(transaction)

    def status(self, node: NodeId, height: int) -> Status:
        """Who leads, how far the chain goes, and its block of some height, as this node gets to see it."""
        chain = self.shows(node)
        return Status(
            self.term, self.leader, len(chain), chain[height - 1].hash if 0 < height <= len(chain) else None
        )

    def shown(self, node: NodeId, height: int) -> ShownBlock | None:
        """A block, as this node gets to see it."""
        chain = self.shows(node)
        return chain[height - 1].shown() if height <= len(chain) else None

    def shows(self, node: NodeId) -> Sequence[Sealed]:
        """The chain this node gets to see; the same for all, as long as nobody lies."""
        return self.chain

    def append(self, node: NodeId, number: int, leaf: bytes) -> None:
        """One leaf, together with the row it stands for."""
        leaves = self._leaves.setdefault(node, [])
        if number != len(leaves) + 1:
            raise errors.Conflict(f"{node} goes on with leaf {len(leaves) + 1}")
        leaves.append(leaf)

    def leaves(self, node: NodeId) -> tuple[bytes, ...]:
        return tuple(self._leaves.get(node, ()))

    def back_up(self) -> Backup:
        kept = {node: tuple(leaves) for node, leaves in self._leaves.items()}
        return Backup(self.term, self.leader, tuple(self.chain), kept)

    def restore(self, backup: Backup) -> None:
        """An operator, or a thief, puts an old backup in place."""
        self.end(self.held())
        self.term, self.leader, self.chain = backup.term, backup.leader, list(backup.chain)
        self._leaves = {node: list(leaves) for node, leaves in backup.leaves.items()}
        self.was_restored = True
        self._witness.restored(self.chain)
