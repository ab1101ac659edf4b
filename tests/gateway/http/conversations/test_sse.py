"""Streams of replies as readers get them: ids to go on from, at any node, and an end that says which."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from uuid import uuid4

import httpx
from websockets.asyncio.client import connect

from ccn import settings
from tests.support.gateway import http_door
from tests.support.gateway.http_door import Door, Event, events
from tests.support.node.node_world import Model, World, found_world

REPLY = "Well, I am here."


@asynccontextmanager
async def two_doors(database: settings.DatabaseSettings, model: Model) -> AsyncIterator[tuple[Door, Door]]:
    """Of two nodes, the first of which hosts what is begun there."""
    world: World = await found_world(database)
    async with (
        world.node("node-1", model) as first,
        world.node("node-2", Model()) as second,
        http_door.door(first) as one,
        http_door.door(second) as other,
    ):
        yield one, other


async def begun(client: httpx.AsyncClient) -> str:
    answer = await client.post("/api/v1/conversation/start", json={"character": "ada"})
    assert answer.status_code == 201, answer.text
    return f"/api/v1/conversation/{answer.json()['session_id']}"


async def all_of(answer: httpx.Response) -> list[Event]:
    return [each async for each in events(answer)]


async def test_a_reply_streams_with_an_id_for_every_piece(database: settings.DatabaseSettings) -> None:
    async with (
        two_doors(database, Model()) as (one, _),
        one.client(await http_door.key(one.node)) as client,
    ):
        here = await begun(client)
        async with client.stream("POST", f"{here}/messages", json={"content": "Hello?"}) as answer:
            assert answer.status_code == 200
            assert answer.headers["content-type"].startswith("text/event-stream")
            assert answer.headers["cache-control"] == "no-store"
            told = await all_of(answer)
        assert [each.name for each in told] == ["accepted", *["delta"] * 4, "done"]
        assert http_door.text(told) == REPLY
        turn = told[0].data["turn_id"]
        assert [each.id for each in told] == [f"{turn}:0-0", *[f"{turn}:1-{n}" for n in range(1, 6)]]
        assert told[-1].data["stop"] == "end_turn"
        assert told[-1].data["usage"]["input"] == 10


async def test_a_reader_hears_that_the_model_is_asked_again_whichever_node_it_reads_from(
    database: settings.DatabaseSettings,
) -> None:
    held = asyncio.Event()

    async def gate(_: int) -> None:
        await held.wait()

    async with two_doors(database, Model(retries=1, gate=gate)) as (one, other):
        key = await http_door.key(one.node)
        async with one.client(key) as here, other.client(key) as there:
            path = await begun(here)
            async with here.stream("POST", f"{path}/messages", json={"content": "Hello?"}) as first:
                near = events(first)
                turn = (await anext(near)).data["turn_id"]
                async with there.stream("GET", f"{path}/turns/{turn}/events") as second:
                    far = events(second)
                    assert (await anext(far)).name == "accepted"
                    waiting = [await anext(near), await anext(far)]
                    address = f"{one.ws}/ws/conversation/{path.rpartition('/')[2]}"
                    async with connect(
                        address, additional_headers={"Authorization": f"Bearer {key}"}, proxy=None
                    ) as socket:
                        await socket.send(json.dumps({"type": "resume", "after": f"{turn}:0-0"}))
                        frame = json.loads(await socket.recv())
                    held.set()
                    rest = [[each async for each in reading] for reading in (near, far)]
    assert frame == {"type": "waiting", "turn_id": turn, **waiting[0].data}
    assert [each.name for each in waiting] == ["waiting"] * 2
    assert [each.id for each in waiting] == [""] * 2, "there is nothing to go on after"
    assert waiting[0].data == {"number": 2, "most": 2, "pause_s": 0.0, "reason": "network"}
    for told in rest:
        assert [each.name for each in told] == [*["delta"] * 4, "done"]
        assert http_door.text(told) == REPLY
        assert told[0].id == f"{turn}:1-1"


async def test_after_any_event_the_rest_is_read_from_any_node(database: settings.DatabaseSettings) -> None:
    held = asyncio.Event()

    async def gate(nth: int) -> None:
        if nth == 3:
            await held.wait()

    async with two_doors(database, Model(gate=gate)) as (one, other):
        key = await http_door.key(one.node)
        async with one.client(key) as here, other.client(key) as there:
            path = await begun(here)
            first = list[Event]()
            async with here.stream("POST", f"{path}/messages", json={"content": "Hello?"}) as answer:
                async for each in events(answer):
                    first.append(each)
                    if len(first) == 3:
                        break
            later = [{"Last-Event-ID": each.id} for each in first]
            turn = first[0].data["turn_id"]
            asked = [
                *[there.stream("POST", f"{path}/messages", headers=each) for each in later],
                *[there.stream("GET", f"{path}/turns/{turn}/events", headers=each) for each in later],
            ]

            async def read(stream: object) -> list[Event]:
                async with stream as answer:  # type: ignore[attr-defined]
                    return await all_of(answer)

            reading = [asyncio.create_task(read(each)) for each in asked]
            held.set()
            for nth, rest in enumerate(await asyncio.gather(*reading)):
                seen = first[: nth % 3 + 1]
                assert http_door.text([*seen, *rest]) == REPLY
                ids = [each.id for each in (*seen, *rest)]
                assert len(set(ids)) == len(ids) == 6


async def test_nothing_follows_the_last_event(database: settings.DatabaseSettings) -> None:
    async with (
        two_doors(database, Model()) as (one, _),
        one.client(await http_door.key(one.node)) as client,
    ):
        path = await begun(client)
        async with client.stream("POST", f"{path}/messages", json={"content": "Hello?"}) as answer:
            told = await all_of(answer)
        last = {"Last-Event-ID": told[-1].id}
        assert (await client.post(f"{path}/messages", headers=last)).status_code == 204


async def test_the_pause_before_a_reconnect_stands_in_the_first_event_and_in_no_empty_one(
    database: settings.DatabaseSettings,
) -> None:
    async with (
        two_doors(database, Model()) as (one, _),
        one.client(await http_door.key(one.node)) as client,
    ):
        path = await begun(client)
        said = await client.post(f"{path}/messages", json={"content": "Hello?"})
        first, *rest = said.text.strip().split("\n\n")
        assert first.startswith("retry: 1000\nid: ")
        assert "\nevent: accepted\ndata: {" in first
        after = {"Last-Event-ID": first.split("\n")[1].removeprefix("id: ")}
        again = (await client.post(f"{path}/messages", headers=after)).text.strip().split("\n\n")
        assert again == [f"retry: 1000\n{rest[0]}", *rest[1:]]


async def test_only_one_s_own_streams_are_replayed(database: settings.DatabaseSettings) -> None:
    async with (
        two_doors(database, Model()) as (one, _),
        one.client(await http_door.key(one.node)) as ada,
        one.client(await http_door.key(one.node)) as eve,
    ):
        hers, mine = await begun(ada), await begun(eve)
        async with ada.stream("POST", f"{hers}/messages", json={"content": "Hello?"}) as answer:
            told = await all_of(answer)
        turn, last = told[0].data["turn_id"], {"Last-Event-ID": told[1].id}
        for path in (hers, mine):
            assert (await eve.post(f"{path}/messages", headers=last)).status_code == 404
            assert (await eve.get(f"{path}/turns/{turn}/events")).status_code == 404
            assert (await eve.post(f"{path}/turns/{turn}/cancel")).status_code == 404
        for wrong in ("x", f"{uuid4()}:1", f"{turn}:1-99999999999999999999"):
            refused = await ada.post(f"{hers}/messages", headers={"Last-Event-ID": wrong})
            assert (refused.status_code, refused.json()["code"]) == (422, "input_invalid")


async def test_a_stopping_node_ends_a_stream_in_time_and_says_to_resume(
    database: settings.DatabaseSettings,
) -> None:
    held = asyncio.Event()

    async def gate(nth: int) -> None:
        if nth == 2:
            await held.wait()

    world: World = await found_world(database)
    async with world.node("node-1", Model(gate=gate)) as node, http_door.door(node, within_s=0.3) as door:
        async with door.client(await http_door.key(node)) as client:
            path, told = await begun(client), list[Event]()
            async with client.stream("POST", f"{path}/messages", json={"content": "Hello?"}) as answer:
                async for each in events(answer):
                    told.append(each)
                    if len(told) == 3:
                        door.stop.set()
        held.set()
    assert [each.name for each in told] == ["accepted", "delta", "delta", "resume"]
    assert told[-1].id == ""
    assert told[-1].data["reason"] == "this node is stopping"
