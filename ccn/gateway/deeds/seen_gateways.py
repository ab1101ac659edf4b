"""Which gateways a voter has heard of lately: registered nowhere, they ask for news once a second."""

from __future__ import annotations

import time
from collections.abc import Callable

from ccn import metrics
from ccn.core.bounded import Recent
from ccn.core.ids import NodeId
from ccn.node.views.cluster_status import GatewaySeat

LATELY_S = 5.0
_LIMIT = 1_000


class SeenGateways:
    """The gateways that asked lately, and where their doors are, as they say themselves."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen = Recent[NodeId, tuple[float, str]](_LIMIT)

    def see(self, gateway: NodeId, door: str) -> None:
        """A gateway asked for news."""
        self._seen[gateway] = self._clock(), door
        metrics.gateways.set_gateways(len(self.list_seats()))

    def list_seats(self) -> tuple[GatewaySeat, ...]:
        """List those that are there, by name."""
        now = self._clock()
        for name in [name for name, (at, _) in self._seen.items() if now - at > LATELY_S]:
            del self._seen[name]
        return tuple(GatewaySeat(name, door) for name, (_, door) in sorted(self._seen.items()))
