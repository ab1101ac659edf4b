"""A user at a limit of their own, at every door: a code, the name of the limit, and what to do."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import grpc  # type: ignore[import-untyped]
import pytest
from websockets.asyncio.client import connect

from ccn import settings
from ccn.core.ids import ConversationId
from ccn.gateway.grpc import statuses
from ccn.store.conversations import conversations
from ccn.store.spending import spend
from tests.support.gateway import grpc_door, http_door
from tests.support.gateway.paying_doors import ADA, ASK, BEGIN, NEW, SPAWN, START, paying
from tests.support.node import node_world
from tests.support.node.node_world import Model
from tests.support.speakers import ANN
from tests.support.store import reservations

LIMITS = settings.LimitsSettings(conversations=3, instances=1)


async def refused(call: Any) -> tuple[str, str]:
    """The code and the words with which a call is refused for there being too much already."""
    with pytest.raises(grpc.aio.AioRpcError) as failed:
        await call
    assert failed.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    return dict(failed.value.trailing_metadata())[statuses.CODE], failed.value.details()


async def test_every_door_says_which_limit_is_reached_and_what_helps(
    database: settings.DatabaseSettings,
) -> None:
    opened = asyncio.Event()

    async def gate(_: int) -> None:
        await opened.wait()

    world = await node_world.found_world(database)
    async with (
        world.node("node-1", Model(gate=gate), limits=LIMITS) as node,
        http_door.door(node) as http,
        grpc_door.serve_node(node) as rpc,
    ):
        key, other = await http_door.key(node), await http_door.key(node)
        caller = (("x-api-key", key),)
        async with http.client(key) as client:
            busy = (await client.post(START, json=ADA)).json()["session_id"]
            await node.conversations.say(ConversationId(UUID(busy)), "Take your time", ANN)
            silent = (await rpc.continuity.Begin(BEGIN, metadata=caller)).conversation.id

            for path, body in ((START, ADA), (f"/api/v1/conversation/{silent}/messages", {"content": "?"})):
                full = await client.post(path, json=body)
                assert (full.status_code, full.json()["code"]) == (429, "too_many_instances")
                assert full.headers["retry-after"] == "1"
                assert "CCN_LIMITS_INSTANCES" in full.json()["detail"]
            asked = await client.post("/v1/messages", json=ASK, headers=NEW)
            assert (asked.status_code, asked.json()["error"]["type"]) == (429, "rate_limit_error")
            assert asked.headers["retry-after"] == "1"
            code, _ = await refused(rpc.instances.Spawn(SPAWN, metadata=caller))
            assert code == "too_many_instances"
            socket = f"{http.ws}/ws/conversation/{silent}"
            async with connect(socket, additional_headers={"x-api-key": key}, proxy=None) as made:
                await made.send(json.dumps({"type": "message", "content": "Hello?"}))
                frame = json.loads(await made.recv())
                assert (frame["type"], frame["code"]) == ("error", "too_many_instances")
            mine = await client.get("/api/v1/conversations")
            assert len(mine.json()["conversations"]) == 2, "nothing that was refused has begun"

            await rpc.continuity.Begin(BEGIN, metadata=caller)
            full = await client.post(START, json=ADA)
            assert (full.status_code, full.json()["code"]) == (409, "too_many_conversations")
            assert "retry-after" not in full.headers, "waiting does not help"
            asked = await client.post("/v1/messages", json=ASK, headers=NEW)
            assert (asked.status_code, "end one first" in asked.text) == (409, True)
            spawn, begin = rpc.instances.Spawn, rpc.continuity.Begin
            for call in (spawn(SPAWN, metadata=caller), begin(BEGIN, metadata=caller)):
                code, told = await refused(call)
                assert code == "too_many_conversations"
                assert "CCN_LIMITS_CONVERSATIONS" in told
        async with http.client(other) as client:
            assert (await client.post(START, json=ADA)).status_code == 201, "nobody else is concerned"
        opened.set()


async def test_an_allowance_that_is_spent_is_told_at_once_and_nothing_begins_that_cannot_be_paid_for(
    database: settings.DatabaseSettings,
) -> None:
    async with paying(database, settings.LimitsSettings(daily_dollars=Decimal("0.6"))) as door:
        key, poor = await http_door.key(door.node), await http_door.key(door.node)
        async with door.client(key) as user, door.client(poor) as other:
            started = (await user.post(START, json=ADA)).json()
            messages = f"/api/v1/conversation/{started['session_id']}/messages"
            here = ConversationId(UUID(started["session_id"]))
            owner = (await conversations.load_conversation(door.node.pool, here)).owner
            stateless = await user.post("/v1/messages", json=ASK)
            glance = (await user.get(f"/api/v1/conversation/{here}/glance")).json()
            assert stateless.status_code == 200
            assert glance["spent_today"]["calls"] == glance["spent"]["calls"] + 1 == 7

            today = datetime.now(UTC).date()
            rest = spend.Reservation(
                uuid4(), today, datetime.now(UTC), node_world.ADA, None, "any", owner=owner
            )
            await reservations.reserve_amount(door.node.pool, rest, 600_000)
            full = await user.post(START, json=ADA)
            assert (full.status_code, full.json()["code"]) == (429, "allowance_spent")
            assert "CCN_LIMITS_DAILY_DOLLARS" in full.json()["detail"]
            assert "begins anew at" in full.json()["detail"]
            assert 0 < int(full.headers["retry-after"]) <= 24 * 3600
            assert len((await user.get("/api/v1/conversations")).json()["conversations"]) == 1
            asked = await user.post("/v1/messages", json=ASK)
            assert (asked.status_code, asked.json()["error"]["type"]) == (429, "rate_limit_error")
            said = await user.post(messages, json={"content": "Hello?"})
            assert (said.status_code, said.json()["code"]) == (429, "allowance_spent")
            assert (await user.get(messages)).json()["messages"] == [], "what is refused is not kept"
            assert (await other.post(START, json=ADA)).status_code == 201, "others have their own"
