"""Which gateways a voter has heard of lately."""

from __future__ import annotations

from ccn.core.ids import NodeId
from ccn.gateway.deeds.seen_gateways import LATELY_S, SeenGateways
from ccn.node.views.cluster_status import GatewaySeat

ONE, TWO = NodeId("gateway-1"), NodeId("gateway-2")


def test_a_gateway_is_there_as_long_as_it_asks() -> None:
    ticks = [0.0]
    seen = SeenGateways(lambda: ticks[0])
    seen.see(TWO, "http://two")
    ticks[0] += LATELY_S - 1
    seen.see(ONE, "http://one")
    assert seen.list_seats() == (GatewaySeat(ONE, "http://one"), GatewaySeat(TWO, "http://two"))
    ticks[0] += 1.5
    assert seen.list_seats() == (GatewaySeat(ONE, "http://one"),)
    seen.see(ONE, "http://elsewhere")
    assert seen.list_seats() == (GatewaySeat(ONE, "http://elsewhere"),)
