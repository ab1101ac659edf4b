"""What a chat shows beside the words: the glance, and the prompt exactly as the model received it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

import httpx
import pytest
import pytest_asyncio

from ccn import settings
from ccn.core.axes import Vector, quantise_scores
from ccn.core.calls.call import Call, CallBlock, CallMessage, TokenUsage
from ccn.core.ids import CharacterId, ConversationId, InstanceId, UserId
from ccn.core.message import Role
from ccn.core.prompts import prompt
from ccn.node.views import sent_prompt
from ccn.store.character import vectors
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations
from ccn.store.spending import spend
from tests.support.gateway import http_door
from tests.support.gateway.http_door import Door
from tests.support.node import node_world
from tests.support.node.node_world import Node
from tests.support.speakers import ANN
from tests.support.store import reservations


@pytest_asyncio.fixture
async def door(database: settings.DatabaseSettings) -> AsyncIterator[Door]:
    world = await node_world.found_world(database)
    async with world.node("node-1") as node, http_door.door(node) as opened:
        yield opened


async def _begun(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/v1/conversation/start", json={"character": node_world.ADA})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["session_id"])


async def _said(client: httpx.AsyncClient, session: str, content: str) -> None:
    answer = await client.post(f"/api/v1/conversation/{session}/messages", json={"content": content})
    assert "event: done" in answer.text


def _as_call(told: dict[str, object]) -> Call:
    fields = dict(told)
    system, messages = fields["system"], fields["messages"]
    assert isinstance(system, list)
    assert isinstance(messages, list)
    return Call(
        str(fields["model"]),
        tuple(CallBlock(each["text"], each["mark"]) for each in system),
        tuple(CallMessage(Role(each["role"]), each["text"], each["mark"]) for each in messages),
        int(str(fields["max_tokens"])),
        None,
    )


async def _pay(
    pool: Pool, conversation: ConversationId | None, cost: int, day: date, owner: UserId | None
) -> None:
    at, ada = datetime.now(UTC), CharacterId("ada")
    wanted = spend.Reservation(uuid4(), day, at, ada, conversation, "claude-sonnet-5-5", owner=owner)
    await reservations.reserve_amount(pool, wanted, cost)
    assert await reservations.settle_reservation(pool, wanted.id, TokenUsage(10, 5, 100, 20), cost)


async def test_a_glance_tells_who_speaks_where_and_what_it_cost(door: Door) -> None:
    key = await http_door.key(door.node)
    async with door.client(key) as client:
        session = await _begun(client)
        pool, here = door.node.pool, ConversationId(UUID(session))
        today = datetime.now(UTC).date()
        owner = (await conversations.load_conversation(pool, here)).owner
        await _pay(pool, here, 400, today - timedelta(days=1), owner)
        await _pay(pool, here, 25, today, owner)
        await _pay(pool, None, 7, today, owner)
        await _pay(pool, None, 50, today, None)
        told = (await client.get(f"/api/v1/conversation/{session}/glance")).json()
    assert (told["name"], told["node"], told["status"], told["stand_in"]) == (
        "Ada",
        "node-1",
        "running",
        False,
    )
    assert told["alone"] is True
    assert told["notice"].startswith("You talk to an AI.")
    assert (told["spent"]["microdollars"], told["spent_today"]["microdollars"]) == (425, 32)
    assert told["spent"]["cache_read"] == 200


async def test_the_end_of_a_reply_tells_the_glance_and_the_axes_to_whom_asked_for_them(door: Door) -> None:
    async with door.client(await http_door.key(door.node)) as client:
        session = await _begun(client)
        path = f"/api/v1/conversation/{session}"
        body = {"content": "Hello?"}
        plain, more = [
            [
                each
                async for each in http_door.events(await client.post(f"{path}/messages{query}", json=body))
            ]
            for query in ("", "?glance=true")
        ]
        assert set(plain[-1].data) == {"stop", "model", "usage"}
        assert plain[-1].data.items() <= more[-1].data.items()
        assert more[-1].data["glance"] == (await client.get(f"{path}/glance")).json()
        assert more[-1].data["axes"] == (await client.get(f"{path}/axes")).json()
        turn = plain[0].data["turn_id"]
        again = await client.get(f"{path}/turns/{turn}/events?glance=true")
        told = [each async for each in http_door.events(again)]
        assert told[-1].data["glance"]["name"] == "Ada"


async def test_a_drift_with_nobody_to_differ_from_says_so_and_the_plate_is_a_distance_of_its_own(
    database: settings.DatabaseSettings,
) -> None:
    world = await node_world.found_world(
        database, '+++\nname = "Ada"\n[baseline]\nhonesty = 0.9\nwarmth = 0.5\n+++\n# Ada'
    )
    async with (
        world.node("node-1") as node,
        http_door.door(node) as door,
        door.client(await http_door.key(node)) as client,
    ):
        first, second = await _begun(client), await _begun(client)
        scores = quantise_scores([0.5, *[0.5] * 15])
        await node.writer.submit(vectors.RecordScore(ConversationId(UUID(first)), 1, scores, "test/v1"))
        told = (await client.get(f"/api/v1/conversation/{first}/axes")).json()
        honesty = next(each for each in told["axes"] if each["name"] == "honesty")
        assert (honesty["state"], honesty["written"]) == (0.5, 0.9)
        assert told["from_written"] == pytest.approx((0.4**2 / 2) ** 0.5), "over the axes that both have"
        assert (await client.get(f"/api/v1/conversation/{second}/axes")).json()["from_written"] is None
        assert not (await client.get(f"/api/v1/conversation/{first}/glance")).json()["alone"]


async def test_the_prompt_is_what_the_model_received_also_after_the_state_moved(door: Door) -> None:
    key = await http_door.key(door.node)
    async with door.client(key) as client:
        session = await _begun(client)
        await _said(client, session, "The harbour is called Mole.")
        await _said(client, session, "And the boat?")
        received = door.node.model.calls[-1]
        here = ConversationId(UUID(session))
        await door.node.writer.submit(
            vectors.RecordScore(
                here, 4, Vector((990_000,) * 16), "test/v1", (await _instance(door.node, here))
            )
        )
        told = (await client.get(f"/api/v1/conversation/{session}/prompt")).json()
        assert _as_call(told) == received
        assert "The harbour is called Mole." in prompt.call_to_text(received)
        await _said(client, session, "Now another turn.")
        assert door.node.model.calls[-1] != received
        earlier = f"/api/v1/conversation/{session}/prompt?turn_id={told['turn_id']}"
        assert _as_call((await client.get(earlier)).json()) == received


async def test_nobody_sees_the_prompt_of_another_users_conversation(door: Door) -> None:
    async with door.client(await http_door.key(door.node)) as owner:
        session = await _begun(owner)
        nothing = await owner.get(f"/api/v1/conversation/{session}/prompt")
        assert (nothing.status_code, nothing.json()["code"]) == (404, "not_found")
    async with door.client(await http_door.key(door.node)) as stranger:
        for what in ("prompt", "glance"):
            answer = await stranger.get(f"/api/v1/conversation/{session}/{what}")
            assert answer.status_code == 404


async def test_a_prompt_is_recounted_the_same_on_another_node(database: settings.DatabaseSettings) -> None:
    world = await node_world.found_world(database)
    async with world.node("node-1") as first, world.node("node-2") as second:
        talk = await first.begin_conversation()
        turn = await first.conversations.say(talk, "Hello.", ANN)
        async with aclosing(first.conversations.follow_turn(turn.id)) as told:
            async for _ in told:
                continue
        sent = await sent_prompt.rebuild_prompt(second.pool, second.living.prompts, talk)
        assert (sent.turn, sent.call) == (turn.id, first.model.calls[-1])


async def _instance(node: Node, here: ConversationId) -> InstanceId:
    hosted = node.living.hosting.find_hosted(here)
    assert hosted is not None
    return hosted.instance.id
