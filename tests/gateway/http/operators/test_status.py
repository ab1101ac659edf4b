"""The status of a cluster, field by field as clients read it."""

from __future__ import annotations

import httpx

from ccn import settings
from ccn.core.chain.protocol import ProtocolRange
from ccn.core.ids import NodeId
from ccn.gateway import readiness
from ccn.gateway.http import app, auth
from ccn.gateway.limiting import Limiter
from ccn.node.views.cluster_status import ClusterStatus, GatewaySeat, NodeSeat


async def test_every_field_of_a_node_reaches_clients() -> None:
    here = NodeSeat(
        *(NodeId("node-1"), True, True, False, "https://a:7700"),
        version="0.1.0",
        spoken=ProtocolRange(1, 2),
    )
    away = NodeSeat(NodeId("node-2"), True, False, False, "")

    async def load_status() -> ClusterStatus:
        return ClusterStatus(
            *(NodeId("node-1"), (here, away), NodeId("node-1"), 3, 7, None, 2, 0, "plain", ""),
            gateways=(GatewaySeat(NodeId("gateway-1"), "https://b:7700"),),
            protocol=2,
        )

    desk = auth.AuthContext(Limiter(settings.LimitsSettings()))
    application = app.create_app("node-1", readiness.Readiness({}), load_status, desk)
    inside = httpx.ASGITransport(application)
    async with httpx.AsyncClient(transport=inside, base_url="http://node") as client:
        answer = (await client.get("/status")).json()
    assert [seat["protocol"] for seat in answer["nodes"]] == [[1, 2], None]
    assert [seat["address"] for seat in answer["nodes"]] == ["https://a:7700", ""]
    assert answer["gateways"] == [{"gateway": "gateway-1", "address": "https://b:7700"}]
    assert (answer["protocol"], answer["height"], answer["term"]) == (2, 7, 3)
