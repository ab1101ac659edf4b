"""etcd as an election needs it: one lease, or none, or one for everybody who asks."""

from __future__ import annotations

from ccn.core.ids import NodeId
from tests.cluster.simulation.loop import SECOND, Loop

TTL_US = 5 * SECOND


class Etcd:
    """Says who leads. Nothing that must be right depends on it."""

    def __init__(self, loop: Loop) -> None:
        self.says_yes_to_all = False
        self._loop = loop
        self._holder: NodeId | None = None
        self._until_us = 0

    def campaign(self, node: NodeId) -> bool:
        """Take the lease if it is free, keep it if it is ours; whether this node leads now."""
        if self.says_yes_to_all:
            return True
        if self._holder not in (None, node) and self._loop.now_us < self._until_us:
            return False
        self._holder, self._until_us = node, self._loop.now_us + TTL_US
        return True

    def elect(self, node: NodeId) -> None:
        """Give the lease to this node, whoever holds it."""
        self._holder, self._until_us = node, self._loop.now_us + TTL_US

    def wipe(self) -> None:
        """Forget everything."""
        self._holder = None
