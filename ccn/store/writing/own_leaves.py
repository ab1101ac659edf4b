"""Which leaves this node made, so that it can vouch for those the database shows under its name.

    about to be sent ──> remembered ──> (another leaf is sent under its number) ──> in doubt ──> settled

Separate from the writer, which decides when a leaf is sent. Here is only what was sent: a leaf is
remembered before it is sent, because a round reads a leaf as soon as it is committed, and that may be
before this node hears of the commit. If the leaf was remembered only then, this node would take its own
leaf for a forged one.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from ccn.core.ledger.commitment import Leaf

REMEMBERED = 40_000
"""Most leaves that are remembered: four times what one block seals."""


class OwnLeaves:
    """The newest leaves that this process sent, by number."""

    def __init__(self, limit: int = REMEMBERED) -> None:
        self._limit = limit
        self._first: int | None = None
        self._hashes: dict[int, tuple[bytes, ...]] = {}
        self._in_order: deque[int] = deque()
        self._in_doubt: set[int] = set()

    @property
    def in_doubt(self) -> list[int]:
        """Numbers that were sent with two leaves. It is not known yet which of them the ledger has."""
        return list(self._in_doubt)

    def begin_after(self, head: int) -> None:
        """Vouch for the leaves after `head` from now on. Only the first call counts."""
        if self._first is None:
            self._first = head + 1

    def vouches_for(self, number: int, leaf_hash: bytes) -> bool:
        """Return whether this process made a leaf, or cannot know.

        It cannot know leaves from before it began, or leaves that it made too long ago to remember. While a
        number is in doubt, both of its leaves count.
        """
        if self._first is None or number < self._first:
            return True
        return leaf_hash in self._hashes.get(number, ())

    def remember(self, leaves: Sequence[Leaf]) -> None:
        """Remember leaves that are about to be sent, and forget the oldest if there are too many."""
        for leaf in leaves:
            earlier = self._hashes.get(leaf.number)
            if earlier is None:
                self._hashes[leaf.number] = (leaf.hash,)
                self._in_order.append(leaf.number)
            elif leaf.hash not in earlier:
                self._hashes[leaf.number] = (*earlier, leaf.hash)
                self._in_doubt.add(leaf.number)
        while len(self._hashes) > self._limit:
            oldest = self._in_order.popleft()
            del self._hashes[oldest]
            self._in_doubt.discard(oldest)
            self._first = max(self._first or 0, oldest + 1)

    def settle(self, number: int, leaf_hash: bytes) -> None:
        """Forget the other leaf of this number, because the ledger has this one."""
        if leaf_hash in self._hashes.get(number, ()):
            self._hashes[number] = (leaf_hash,)
            self._in_doubt.discard(number)

    def settle_durable(self, leaves: Sequence[Leaf]) -> None:
        """Settle leaves that this node saw committed."""
        for leaf in leaves if self._in_doubt else ():
            self.settle(leaf.number, leaf.hash)
