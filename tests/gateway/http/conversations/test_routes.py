"""Conversations over REST, as an application uses them: begin, say, look back, end, and nothing twice."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from ccn import errors
from ccn.store.accounts.users import Tier
from ccn.store.operators import requests
from ccn.store.operators.requests import AnswerRequest
from ccn.store.rounds import terms
from tests.support.gateway import http_door
from tests.support.gateway.http_door import Door, events

pytestmark = pytest.mark.asyncio(loop_scope="module")

START = "/api/v1/conversation/start"


@asynccontextmanager
async def somebody(home: Door, tier: Tier = Tier.USER) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a new user."""
    async with home.client(await http_door.key(home.node, tier)) as client:
        yield client


async def begun(client: httpx.AsyncClient, title: str = "") -> str:
    answer = await client.post(START, json={"character": "ada", "title": title})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["session_id"])


async def says(
    client: httpx.AsyncClient, session: str, content: str, **headers: str
) -> list[http_door.Event]:
    path = f"/api/v1/conversation/{session}/messages"
    async with client.stream("POST", path, json={"content": content}, headers=headers) as answer:
        assert answer.status_code == 200, await answer.aread()
        return [each async for each in events(answer)]


async def test_a_start_tells_where_the_conversation_is(home: Door) -> None:
    async with somebody(home) as client:
        answer = await client.post(START, json={"character": "ada", "title": "Lamps"})
        told = answer.json()
        session = told["session_id"]
        assert told["websocket_url"] == f"{home.ws}/ws/conversation/{session}"
        assert told["metrics_url"] == f"{home.url}/api/v1/metrics/conversation/{session}"
        assert (told["instance"]["node"], told["instance"]["status"]) == ("node-1", "running")
        state = (await client.get(answer.headers["location"])).json()
        assert (state["title"], state["open"], state["messages"]) == ("Lamps", True, 0)
        assert state["instance"] == told["instance"]
        metrics = (await client.get(told["metrics_url"])).json()
        assert metrics["latest"]["ccc"] is None
        assert re.fullmatch("[0-9a-f]{16}", metrics["series"]), "its name in /metrics"
        assert metrics["series"] not in session.replace("-", "")
        assert metrics["spent"]["calls"] == 0


async def test_the_same_key_begins_one_conversation(home: Door) -> None:
    async with somebody(home) as ada, somebody(home) as eve:
        key = {"Idempotency-Key": "once"}
        first, again = [
            (await ada.post(START, json={"character": "ada"}, headers=key)).json() for _ in "12"
        ]
        assert first == again
        other = await ada.post(START, json={"character": "ada", "title": "x"}, headers=key)
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
        hers = (await eve.post(START, json={"character": "ada"}, headers=key)).json()
        assert hers["session_id"] != first["session_id"]


async def test_the_same_key_says_one_thing_and_streams_it_again(home: Door) -> None:
    async with somebody(home) as client:
        session = await begun(client)
        first = await says(client, session, "Hello?", **{"Idempotency-Key": "k"})
        assert await says(client, session, "Hello?", **{"Idempotency-Key": "k"}) == first
        path = f"/api/v1/conversation/{session}"
        other = await client.post(
            f"{path}/messages", json={"content": "Other"}, headers={"Idempotency-Key": "k"}
        )
        assert (other.status_code, other.json()["code"]) == (409, "idempotency_conflict")
        assert (await client.get(path)).json()["messages"] == 2


async def test_the_history_is_read_page_by_page(home: Door) -> None:
    async with somebody(home) as client:
        session = await begun(client)
        for number in range(3):
            await says(client, session, f"Number {number}")
        path, seen, cursor = f"/api/v1/conversation/{session}/messages", list[dict[str, Any]](), None
        for _ in range(3):
            page = (
                await client.get(path, params={"limit": 2, **({"cursor": cursor} if cursor else {})})
            ).json()
            seen = page["messages"] + seen
            cursor = page["next"]
        assert cursor is None
        assert [(each["seq"], each["role"]) for each in seen] == [
            (seq, "user" if seq % 2 else "assistant") for seq in range(1, 7)
        ]
        assert seen[0]["content"] == "Number 0"
        for wrong in ("x", "p0", "p99999999999999999999", f"n{uuid4().hex}", "\x00"):
            answer = await client.get(path, params={"cursor": wrong})
            assert (answer.status_code, answer.json()["code"]) == (422, "input_invalid")


async def test_one_lists_one_s_own_conversations_page_by_page(home: Door) -> None:
    async with somebody(home) as ada, somebody(home) as eve:
        begun_here = [await begun(ada, str(number)) for number in range(5)]
        theirs = await begun(eve)
        seen, cursor = list[str](), None
        while True:
            params = {"limit": 2, **({"cursor": cursor} if cursor else {})}
            page = (await ada.get("/api/v1/conversations", params=params)).json()
            seen += [each["session_id"] for each in page["conversations"]]
            if (cursor := page["next"]) is None:
                break
        assert seen == begun_here[::-1]
        stolen = await ada.get("/api/v1/conversations", params={"cursor": "n" + theirs.replace("-", "")})
        assert stolen.status_code == 404


async def test_a_list_tells_conversations_apart_by_how_they_began(home: Door) -> None:
    async with somebody(home) as ada:
        silent, spoken = await begun(ada), await begun(ada)
        await says(ada, spoken, "The lighthouse keeper\n  counts marmalade jars" + "." * 100)
        await says(ada, spoken, "And honey?")
        page = (await ada.get("/api/v1/conversations")).json()
        told = {each["session_id"]: each["opening"] for each in page["conversations"]}
        assert told[spoken].startswith("The lighthouse keeper counts marmalade jars...")
        assert len(told[spoken]) <= 80
        assert told[silent] == ""


async def test_one_finds_what_one_said_and_nobody_else_does(home: Door) -> None:
    async with somebody(home) as ada, somebody(home) as eve:
        session = await begun(ada)
        await says(ada, session, "The lighthouse keeper counts marmalade jars.")
        for params in ({"q": "marmalade"}, {"q": "marmalade", "session_id": session}):
            (found,) = (await ada.get("/api/v1/search", params=params)).json()["found"]
            assert (found["session_id"], found["seq"]) == (session, 1)
            assert "marmalade" in found["excerpt"][1::2]
            assert (await eve.get("/api/v1/search", params=params)).json()["found"] == []


async def test_a_busy_conversation_refuses_who_does_not_want_to_wait(home: Door) -> None:
    held = asyncio.Event()
    home.node.model.gate = lambda nth: held.wait()
    try:
        async with somebody(home) as client:
            path = f"/api/v1/conversation/{await begun(client)}"
            async with client.stream("POST", f"{path}/messages", json={"content": "One"}) as answer:
                told = events(answer)
                first = await anext(told)
                refused = await client.post(
                    f"{path}/messages", json={"content": "Two"}, params={"refuse_busy": True}
                )
                assert (refused.status_code, refused.json()["code"]) == (409, "turn_running")
                (running,) = (await client.get(path)).json()["unfinished"]
                assert running["turn_id"] == first.data["turn_id"]
                cancelled = await client.post(f"{path}/turns/{running['turn_id']}/cancel")
                assert cancelled.json()["status"] == "cancelled"
                assert [each.name async for each in told] == ["cancelled"]
            turn = (await client.get(f"{path}/turns/{running['turn_id']}")).json()
            assert (turn["status"], turn["reply_seq"]) == ("cancelled", None)
    finally:
        home.node.model.gate = None


async def test_what_the_model_refuses_ends_the_stream_with_a_code(home: Door) -> None:
    async with somebody(home) as client:
        session = await begun(client)
        home.node.model.fails = errors.ModelUnavailable("nobody home")
        try:
            told = await says(client, session, "Hello?")
        finally:
            home.node.model.fails = None
        assert told[-1].name == "error"
        assert told[-1].data == {"code": "model_unavailable", "detail": "nobody home"}
        path = f"/api/v1/conversation/{session}/turns/{told[0].data['turn_id']}"
        assert (await client.get(path)).json()["code"] == "model_unavailable"


async def test_an_ended_conversation_stays_to_be_read(home: Door) -> None:
    async with somebody(home) as client:
        session = await begun(client)
        await says(client, session, "Hello?")
        path = f"/api/v1/conversation/{session}"
        for _ in range(2):
            assert (await client.delete(path)).status_code == 204
        state = (await client.get(path)).json()
        assert (state["open"], state["instance"], state["messages"]) == (False, None, 2)
        refused = await client.post(f"{path}/messages", json={"content": "More?"})
        assert (refused.status_code, refused.json()["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"content": ""}, 422),
        ({"content": "  "}, 422),
        ({"content": "a\x00b"}, 422),
        ({"content": "x", "more": 1}, 422),
        ({"content": "x" * 1_000_001}, 422),
        ({"content": "x" * 700_000}, 422),
        (None, 422),
        ([], 422),
    ],
)
async def test_a_message_that_cannot_be_said_is_refused_before_it_is_kept(
    home: Door, body: object, status: int
) -> None:
    async with somebody(home) as client:
        path = f"/api/v1/conversation/{await begun(client)}"
        answer = await client.post(f"{path}/messages", json=body)
        assert answer.status_code == status, answer.text
        assert answer.headers["content-type"] == "application/problem+json"
        assert (await client.get(path)).json()["messages"] == 0


async def test_nobody_begins_with_a_character_that_is_not_there(home: Door) -> None:
    async with somebody(home) as client:
        assert (await client.post(START, json={"character": "nobody"})).status_code == 404
        assert (await client.post(START, json={"character": "../ada"})).status_code == 422
        found = (await client.get("/api/v1/characters")).json()["characters"]
        assert [(each["id"], each["name"]) for each in found] == [("ada", "Ada")]


async def test_everybody_sees_aggregates_and_admins_see_instances(home: Door) -> None:
    async with somebody(home) as ada, somebody(home, Tier.ADMIN) as operator, home.client() as nobody:
        session = await begun(ada)
        told = (await nobody.get("/api/v1/metrics/realtime")).json()
        assert told["conversations"] >= 1
        assert told["ccc"] is None
        assert (await ada.get("/api/v1/admin/instances")).status_code == 403
        seen, cursor = list[str](), None
        while True:
            params = {"limit": 3, **({"cursor": cursor} if cursor else {})}
            page = (await operator.get("/api/v1/admin/instances", params=params)).json()
            seen += [each["session_id"] for each in page["instances"]]
            if (cursor := page["next"]) is None:
                break
        assert session in seen
        assert len(seen) == len(set(seen))


async def test_a_forced_round_waits_for_whoever_leads(home: Door) -> None:
    path, key = "/api/v1/admin/consensus/force", {"Idempotency-Key": "now"}
    async with somebody(home, Tier.ADMIN) as operator:
        asked = await operator.post(path, params={"wait_s": 0}, headers=key)
        assert (asked.status_code, asked.json()["answered"]) == (202, False)
        (waiting,) = await requests.list_waiting(home.node.pool, requests.ROUND)
        assert waiting.id == UUID(asked.json()["request_id"])
        term = await terms.take_over_term(home.node.pool, home.node.id, 1.0)
        told = {"committed": False, "height": 3, "reason": "no quorum", "refused": {}}
        await home.node.writer.submit(AnswerRequest(waiting, told, term))
        answer = await operator.post(path, headers=key)
        assert answer.status_code == 200
        assert (answer.json()["committed"], answer.json()["reason"]) == (False, "no quorum")
