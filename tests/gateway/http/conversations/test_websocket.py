"""Conversations over a WebSocket: frames, resuming elsewhere, limits, and a close code for every reason."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ccn import settings
from ccn.core.ids import ConversationId
from ccn.gateway.http.conversations import websocket
from ccn.gateway.http.conversations.frames import CloseCode
from ccn.store.character import measures
from ccn.store.character.measures import ConversationMeasure
from tests.support import databases
from tests.support.gateway import http_door
from tests.support.gateway.http_door import Door
from tests.support.node.node_world import Model, found_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPLY = "Well, I am here."
HELLO = {"type": "message", "content": "Hello?"}


@pytest.fixture(scope="module", autouse=True)
def hurried() -> Iterator[None]:
    """Nothing measures the replies of most of these tests: let nobody wait three seconds to hear so."""
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(websocket, "_MEASURED_S", (0.05, 0.1, 0.2))
        yield


async def begun(door: Door, key: str) -> str:
    async with door.client(key) as client:
        answer = await client.post("/api/v1/conversation/start", json={"character": "ada"})
        return str(answer.json()["session_id"])


def opened(door: Door, session: object, key: str = "") -> connect:
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    path = f"{door.ws}/ws/conversation/{session}"
    return connect(path, additional_headers=headers, proxy=None, compression=None, max_size=None)


@asynccontextmanager
async def socket(home: Door) -> AsyncIterator[ClientConnection]:
    """Of a new user in a new conversation."""
    key = await http_door.key(home.node)
    async with opened(home, await begun(home, key), key) as made:
        yield made


async def sends(made: ClientConnection, *frames: Any) -> None:
    for each in frames:
        await made.send(each if isinstance(each, str | bytes) else json.dumps(each))


async def gets(made: ClientConnection, until: str = "metrics") -> list[dict[str, Any]]:
    """Frames up to the first of a kind."""
    got = list[dict[str, Any]]()
    async with asyncio.timeout(60):
        while not got or got[-1]["type"] != until:
            got.append(json.loads(await made.recv()))
    return got


async def closed(made: ClientConnection) -> CloseCode:
    async with asyncio.timeout(60):
        with suppress(ConnectionClosed):
            while True:
                await made.recv()
    assert made.close_code is not None
    return CloseCode(made.close_code)


async def test_a_message_is_answered_word_by_word_and_then_whole(home: Door) -> None:
    async with socket(home) as made:
        await sends(made, HELLO)
        got = await gets(made)
        assert [each["type"] for each in got] == ["accepted", *["delta"] * 4, "response", "metrics"]
        assert "".join(each["text"] for each in got[1:5]) == got[5]["content"] == REPLY
        assert got[5]["metrics"]["usage"]["input"] == 10
        assert {"ccc", "phi"} <= got[6].keys()
        assert [each["id"] for each in got[:-1]] == [
            f"{got[0]['turn_id']}:{place}" for place in ("0-0", *[f"1-{n}" for n in range(1, 6)])
        ]


async def test_what_a_reply_measures_is_told_when_it_is_known(home: Door) -> None:
    key = await http_door.key(home.node)
    session = await begun(home, key)
    async with opened(home, session, key) as made:
        await sends(made, HELLO)
        (response,) = [each for each in await gets(made, "response") if each["type"] == "response"]
        assert response["metrics"]["ccc"] is None
        here = ConversationId(UUID(session))
        await measures.keep_measures(
            home.node.pool, [ConversationMeasure(here, datetime.now(UTC), 2, phi=0.5, ccc=0.75)]
        )
        (told,) = await gets(made)
        assert (told["ccc"], told["phi"], told["seq"]) == (0.75, 0.5, 2)


async def test_messages_are_answered_in_order_while_more_come(home: Door) -> None:
    async with socket(home) as made:
        await sends(made, *[{"type": "message", "content": f"Number {n}"} for n in range(3)])
        got = list[dict[str, Any]]()
        while sum(each["type"] == "response" for each in got) < 3:
            got += await gets(made, "response")
        accepted = [each["turn_id"] for each in got if each["type"] == "accepted"]
        assert [each["turn_id"] for each in got if each["type"] == "response"] == accepted


async def test_a_running_reply_can_be_cancelled_and_a_busy_one_refused(home: Door) -> None:
    held = asyncio.Event()
    home.node.model.gate = lambda nth: held.wait()
    try:
        async with socket(home) as made:
            await sends(made, HELLO)
            (accepted,) = await gets(made, "accepted")
            await sends(made, HELLO | {"refuse_busy": True})
            (refused,) = await gets(made, "error")
            assert refused["code"] == "turn_running"
            await sends(made, {"type": "cancel", "turn_id": accepted["turn_id"]})
            (cancelled,) = await gets(made, "cancelled")
            assert cancelled["turn_id"] == accepted["turn_id"]
    finally:
        home.node.model.gate = None


async def test_the_same_key_is_answered_once(home: Door) -> None:
    async with socket(home) as made:
        await sends(made, HELLO | {"idempotency_key": "k"})
        first = await gets(made)
        await sends(made, HELLO | {"idempotency_key": "k"})
        again = await gets(made)
        assert again[:-1] == first[:-1]


async def test_a_reply_is_resumed_after_any_frame_at_another_node(database_server: str) -> None:
    held = asyncio.Event()

    async def gate(nth: int) -> None:
        if nth == 2:
            await held.wait()

    async with databases.cloned(database_server, "door") as database:
        world = await found_world(database)
        async with (
            world.node("node-1", Model(gate=gate)) as first,
            world.node("node-2") as second,
            http_door.door(first) as one,
            http_door.door(second) as other,
        ):
            key = await http_door.key(first)
            session = await begun(one, key)
            async with opened(one, session, key) as made:
                await sends(made, HELLO)
                seen = [json.loads(await made.recv()) for _ in range(3)]
            for nth in range(3):
                async with opened(other, session, key) as made:
                    await sends(made, {"type": "resume", "after": seen[nth]["id"]})
                    held.set()
                    rest = await gets(made, "response")
                    whole = [*seen[: nth + 1], *rest]
                    assert "".join(each.get("text", "") for each in whole) == REPLY
                    ids = [each["id"] for each in whole]
                    assert len(set(ids)) == len(ids)
                    assert rest[-1]["content"] == REPLY


async def test_a_socket_opens_for_whoever_shows_a_credential_in_one_of_three_ways(home: Door) -> None:
    key = await http_door.key(home.node)
    path = f"{home.ws}/ws/conversation/{await begun(home, key)}"
    for shown in (
        {"additional_headers": {"Authorization": f"Bearer {key}"}},
        {"additional_headers": {"X-API-Key": key}},
        {"subprotocols": ["ccn.v1", f"ccn.bearer.{key}"]},
    ):
        async with connect(path, proxy=None, **shown) as made:
            assert made.subprotocol == ("ccn.v1" if "subprotocols" in shown else None)
            await sends(made, HELLO)
            await gets(made)


async def test_who_may_not_come_in_is_told_why(home: Door) -> None:
    key, other = await http_door.key(home.node), await http_door.key(home.node)
    session = await begun(home, key)
    for shown, named, code, why in (
        ("", session, "unauthenticated", CloseCode.UNAUTHENTICATED),
        ("ccn_made-up", session, "credential_invalid", CloseCode.UNAUTHENTICATED),
        ("x.y.z", session, "credential_invalid", CloseCode.UNAUTHENTICATED),
        (other, session, "not_found", CloseCode.NOT_FOUND),
        (other, str(uuid4()), "not_found", CloseCode.NOT_FOUND),
        (other, "no-id", "not_found", CloseCode.NOT_FOUND),
    ):
        async with opened(home, named, shown) as made:
            (error,) = await gets(made, "error")
            assert error["code"] == code
            assert await closed(made) is why


async def test_a_credential_that_ends_ends_the_socket(home: Door) -> None:
    key = await http_door.key(home.node)
    async with opened(home, await begun(home, key), key) as made:
        await sends(made, HELLO)
        await gets(made)
        await home.node.pool.rows("UPDATE api_keys SET revoked_at = now()")
        home.application.state.auth.require_accounts()._callers._recent._known.clear()
        await sends(made, HELLO)
        assert await closed(made) is CloseCode.UNAUTHENTICATED


async def test_nobody_resumes_or_cancels_what_is_another_s(home: Door) -> None:
    async with socket(home) as hers, socket(home) as mine:
        await sends(hers, HELLO)
        accepted, *_ = await gets(hers)
        await sends(mine, {"type": "resume", "after": accepted["id"]})
        await sends(mine, {"type": "cancel", "turn_id": accepted["turn_id"]})
        for _ in range(2):
            (error,) = await gets(mine, "error")
            assert error["code"] == "not_found"


@pytest.mark.parametrize(
    "frame",
    [
        "",
        "x",
        "[]",
        "{}",
        '{"type":"message"}',
        '{"type":"message","content":7}',
        '{"type":"message","content":"x","more":1}',
        '{"type":"message","content":"\\ud800"}',
        '{"type":"message","content":"a\\u0000b"}',
        '{"type":"message","content":" "}',
        '{"type":"other"}',
        '{"type":"resume","after":"x"}',
        '{"type":"cancel","turn_id":"x"}',
        "[" * 100_000,
    ],
)
async def test_a_frame_that_is_none_is_refused_and_the_socket_goes_on(home: Door, frame: str) -> None:
    async with socket(home) as made:
        await sends(made, frame)
        (error,) = await gets(made, "error")
        assert error["code"] == "input_invalid"
        assert len(error["detail"]) < 300
        await sends(made, HELLO)
        assert (await gets(made, "response"))[-1]["content"] == REPLY


async def test_sockets_are_closed_for_what_they_should_not_carry(home: Door) -> None:
    async with socket(home) as made:
        await sends(made, b"bytes")
        assert await closed(made) is CloseCode.BINARY
        assert made.close_reason == "frames are text"
    async with socket(home) as made:
        await sends(made, *["nonsense"] * 11)
        assert await closed(made) is CloseCode.NONSENSE
        assert made.close_reason == "too many frames that make no sense"
    async with socket(home) as made:
        await sends(made, json.dumps(HELLO | {"content": "x" * settings.HttpSettings().body_limit}))
        with pytest.raises(ConnectionClosed) as ended:
            await made.recv()
        assert ended.value.rcvd is not None
        assert ended.value.rcvd.code == 1009


async def test_who_sends_too_fast_is_told_when_to_go_on_and_then_cut_off(home: Door) -> None:
    async with http_door.door(home.node, settings.LimitsSettings(requests=5)) as strict:
        key = await http_door.key(home.node)
        async with opened(strict, await begun(strict, key), key) as made:
            await sends(made, *['{"type":"resume","after":"x"}'] * 3)
            for _ in range(3):
                assert (await gets(made, "error"))[0]["code"] == "input_invalid"
            await sends(made, HELLO)
            (error,) = await gets(made, "error")
            assert error["code"] == "too_many_requests"
            assert 0 < error["retry_after"] <= 60
            await sends(made, *[HELLO] * 10)
            assert await closed(made) is CloseCode.TOO_FAST


async def test_a_stopping_node_finishes_replies_and_sends_everybody_elsewhere(home: Door) -> None:
    held = asyncio.Event()
    home.node.model.gate = lambda nth: held.wait()
    try:
        async with http_door.door(home.node, within_s=60) as leaving:
            key = await http_door.key(home.node)
            idle, busy = await begun(leaving, key), await begun(leaving, key)
            async with opened(leaving, idle, key) as quiet, opened(leaving, busy, key) as made:
                await sends(made, HELLO)
                await gets(made, "accepted")
                leaving.stop.set()
                assert await closed(quiet) is CloseCode.GOING
                held.set()
                assert (await gets(made, "response"))[-1]["content"] == REPLY
                assert await closed(made) is CloseCode.GOING
    finally:
        home.node.model.gate = None


async def test_open_sockets_are_counted(home: Door) -> None:
    async def count() -> float:
        async with home.client() as client:
            page = (await client.get("/metrics")).text
        (line,) = [
            each for each in page.splitlines() if each.startswith("ccn_websocket_connections_active")
        ]
        return float(line.split()[1])

    async def until(wanted: float) -> None:
        async with asyncio.timeout(60):
            while await count() != wanted:
                await asyncio.sleep(0.02)

    await until(0)
    async with socket(home):
        await until(1)
    await until(0)
