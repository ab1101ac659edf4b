"""An admin reads other people's conversations for a reason that is sealed, and never speaks in them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import grpc  # type: ignore[import-untyped]
import pytest
import pytest_asyncio
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ccn.core.ids import ConversationId
from ccn.gateway.grpc import statuses
from ccn.node.operators import execution
from ccn.pb import instances_pb2 as pb
from ccn.store.accounts.users import Tier
from ccn.store.conversations import conversations
from tests.support.gateway import grpc_door, http_door
from tests.support.gateway.grpc_door import Door as Rpc
from tests.support.gateway.http_door import Door
from tests.support.gateway.routes import OWN, READS, for_users

pytestmark = pytest.mark.asyncio(loop_scope="module")

WHY = "she asked for help with it"
CODE = grpc.StatusCode.PERMISSION_DENIED


@dataclass
class Scene:
    """A user who talked, and an admin who did not."""

    home: Door
    rpc: Rpc
    here: str
    turn: str
    owner: str
    admin: str

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-api-key", self.admin),)

    async def said(self) -> list[str | None]:
        page = await conversations.load_history(self.home.node.pool, ConversationId(UUID(self.here)))
        return [each.content for each in page.messages]

    async def sealed(self) -> list[dict[str, Any]]:
        """What is in the record of what admins did, once a node has looked; the body has no secrets."""
        node = self.home.node
        while await execution.run_oldest(
            node.pool, node.writer, execution.node_handlers(node.pool, node.writer)
        ):
            continue
        rows = await node.pool.rows(
            "SELECT asked_by, r.body, convert_from(l.body, 'UTF8') AS leaf FROM operator_requests r"
            " JOIN leaves l ON l.node_id = r.leaf_node AND l.number = r.leaf_number"
            " WHERE command = 'access' AND r.body->>'conversation' = $1 ORDER BY asked_at",
            self.here,
        )
        return [{"by": row["asked_by"], **row["body"], "leaf": json.loads(row["leaf"])} for row in rows]


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def rpc(home: Door) -> AsyncIterator[Rpc]:
    async with grpc_door.serve_node(home.node) as served:
        yield served


@pytest_asyncio.fixture(loop_scope="module")
async def scene(home: Door, rpc: Rpc) -> Scene:
    owner, admin = await http_door.key(home.node), await http_door.key(home.node, Tier.ADMIN)
    async with home.client(owner) as client:
        begun = await client.post("/api/v1/conversation/start", json={"character": "ada"})
        here = str(begun.json()["session_id"])
        answer = await client.post(f"/api/v1/conversation/{here}/messages", json={"content": "My secret"})
        told = [each async for each in http_door.events(answer)]
        turn = told[0].id.partition(":")[0]
    return Scene(home, rpc, here, turn, owner, admin)


@asynccontextmanager
async def socket(scene: Scene, **headers: str) -> AsyncIterator[ClientConnection]:
    shown = {"x-api-key": scene.admin} | {name.replace("_", "-"): value for name, value in headers.items()}
    path = f"{scene.home.ws}/ws/conversation/{scene.here}"
    async with connect(path, additional_headers=shown, proxy=None) as made:
        yield made


async def refused(call: Any) -> str:
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await (call.read() if hasattr(call, "read") else call)
    assert failed.value.code() is CODE
    return str(dict(failed.value.trailing_metadata())[statuses.CODE])


async def test_no_admin_speaks_in_the_conversation_of_somebody_else_at_any_door(scene: Scene) -> None:
    here, before = scene.here, await scene.said()
    async with scene.home.client(scene.admin) as client:
        client.headers["X-CCN-Reason"] = WHY
        answer = await client.post(f"/api/v1/conversation/{here}/messages", json={"content": "I confess"})
        assert (answer.status_code, answer.json()["code"]) == (403, "not_yours")
        ask = {"model": "ada", "max_tokens": 9, "messages": [{"role": "user", "content": "I confess"}]}
        answer = await client.post("/v1/messages", json=ask, headers={"x-ccn-conversation": here})
        assert (answer.status_code, answer.json()["error"]["type"]) == (403, "permission_error")
    why = (*scene.metadata, ("ccn-reason", WHY))
    said = pb.ConverseRequest(conversation=here, content="I confess")
    assert await refused(scene.rpc.instances.Converse(said, metadata=why)) == "not_yours"
    for role in ("user", "assistant"):
        recorded = pb.RecordRequest(conversation=here, role=role, content="I confess")
        assert await refused(scene.rpc.continuity.Record(recorded, metadata=why)) == "not_yours"
    async with socket(scene, x_ccn_reason=WHY) as made:
        await made.send(json.dumps({"type": "message", "content": "I confess"}))
        frame = json.loads(await made.recv())
        assert (frame["type"], frame["code"]) == ("error", "not_yours")
    assert await scene.said() == before


async def test_an_admin_without_a_reason_reads_nothing_at_any_door(scene: Scene) -> None:
    here, turn = scene.here, scene.turn
    paths = [
        way.path.replace("{session_id}", here).replace("{turn_id}", turn)
        for way in for_users(scene.home.application)
        if way.named >= OWN and READS & way.needs
    ]
    assert len(paths) >= 8
    async with scene.home.client(scene.admin) as client:
        for path in paths:
            answer = await client.get(path)
            assert (answer.status_code, answer.json()["code"]) == (403, "reason_required"), path
            assert "X-CCN-Reason" in answer.json()["detail"]
        found = await client.get("/api/v1/search", params={"q": "secret", "session_id": here})
        assert found.json()["found"] == []
    stub, own = scene.rpc.instances, scene.rpc.continuity
    for call in (
        stub.Get(pb.GetRequest(conversation=here), metadata=scene.metadata),
        stub.History(pb.HistoryRequest(conversation=here), metadata=scene.metadata),
        stub.Follow(pb.FollowRequest(conversation=here, after=f"{turn}:0-0"), metadata=scene.metadata),
        own.Prompt(pb.PromptRequest(conversation=here), metadata=scene.metadata),
        own.Health(pb.HealthRequest(conversation=here), metadata=scene.metadata),
    ):
        assert await refused(call) == "reason_required"
    async with socket(scene) as made:
        assert json.loads(await made.recv())["code"] == "reason_required"
        with pytest.raises(ConnectionClosed):
            await made.recv()
        assert made.close_code == 4403
    assert await scene.sealed() == []


async def test_what_an_admin_opens_is_sealed_once_with_who_whose_when_and_why(scene: Scene) -> None:
    here = scene.here
    async with scene.home.client(scene.admin) as client:
        me = (await client.get("/api/v1/me")).json()
        client.headers.encoding = "utf-8"
        client.headers["X-CCN-Reason"] = "sie bat um Hilfe: \u00e4rgerlich"
        for path in ("", "/messages", "/prompt", "/glance", "/axes", f"/turns/{scene.turn}/events"):
            assert (await client.get(f"/api/v1/conversation/{here}{path}")).status_code == 200
        for wrong in ("x" * 501, "two\tcolumns"):
            answer = await client.get(f"/api/v1/conversation/{here}", headers={"X-CCN-Reason": wrong})
            assert answer.status_code == 422
    why = (*scene.metadata, ("ccn-reason", WHY))
    history = await scene.rpc.instances.History(pb.HistoryRequest(conversation=here), metadata=why)
    assert history.messages[0].content == "My secret"
    async with scene.home.client(scene.owner) as client:
        owner = (await client.get("/api/v1/me")).json()
        assert (await client.get(f"/api/v1/conversation/{here}/messages")).status_code == 200
    first, second = await scene.sealed()
    assert (first["reason"], second["reason"]) == ("sie bat um Hilfe: \u00e4rgerlich", WHY)
    for each in (first, second):
        assert (each["by"], each["user"], each["owner"], each["action"]) == (
            me["name"], me["id"], owner["id"], "read",
        )  # fmt: skip
        assert (each["leaf"]["command"], each["leaf"]["by"]) == ("access", me["name"])
        asked = datetime.fromtimestamp(each["leaf"]["asked"] / 1e6, UTC)
        assert abs((datetime.now(UTC) - asked).total_seconds()) < 600


async def test_an_operator_may_end_what_goes_on_in_any_conversation_and_that_is_sealed(
    scene: Scene,
) -> None:
    here = scene.here
    async with scene.home.client(scene.admin) as client:
        path = f"/api/v1/conversation/{here}"
        assert (await client.post(f"{path}/turns/{scene.turn}/cancel")).status_code == 200
        ended = pb.TerminateRequest(conversation=here, reason="it costs too much")
        await scene.rpc.instances.Terminate(ended, metadata=scene.metadata)
        assert (await client.delete(path, headers={"X-CCN-Reason": WHY})).status_code == 204
    told = [(each["action"], each["reason"]) for each in await scene.sealed()]
    assert told == [("cancel", ""), ("terminate", "it costs too much"), ("end", WHY)]
