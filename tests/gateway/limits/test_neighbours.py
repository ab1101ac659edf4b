"""Two users at all the doors of one node: one is at every limit, and the other is refused nothing."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import grpc  # type: ignore[import-untyped]
import httpx
from websockets.asyncio.client import connect

from ccn import settings
from ccn.claude.stand_in.faults import FaultRule
from ccn.core.ids import ConversationId, UserId
from ccn.gateway.grpc import statuses
from ccn.pb import instances_pb2 as pb
from ccn.store.conversations import conversations
from ccn.store.spending import spend
from tests.support.gateway import grpc_door, http_door
from tests.support.gateway.paying_doors import ADA, BEGIN, NEW, SPAWN, START, paying
from tests.support.node import node_world
from tests.support.node.node_world import PATIENT
from tests.support.store import reservations

LIMITS = settings.LimitsSettings(
    requests=40, conversations=5, instances=3, calls_at_once=2, spawns_at_once=1
)
FULL = PATIENT.model_copy(update={"limit": 4})
"""A node on which three of one user and three of another do not fit."""


@dataclass
class Somebody:
    """A user at all doors, and how often each of them refused what."""

    http: http_door.Door
    rpc: grpc_door.Door
    key: str
    client: httpx.AsyncClient
    refused: Counter[str] = field(default_factory=Counter)

    @property
    def metadata(self) -> tuple[tuple[str, str], ...]:
        return (("x-api-key", self.key),)

    async def asks(self, method: str, path: str, body: Any = None, **headers: str) -> httpx.Response:
        answer = await self.client.request(method, path, json=body, headers=headers)
        if answer.status_code >= 400:
            told = answer.json()
            self.refused[told.get("code") or told["error"]["type"]] += 1
        return answer

    async def calls(self, call: Any) -> Any:
        try:
            return [event async for event in call] if hasattr(call, "__aiter__") else await call
        except grpc.aio.AioRpcError as refused:
            self.refused[dict(refused.trailing_metadata())[statuses.CODE]] += 1
            return None

    async def starts(self) -> str:
        return str((await self.asks("POST", START, ADA)).json().get("session_id", ""))

    async def says(self, session: str, words: str = "Hello?") -> str:
        path = f"/api/v1/conversation/{session}/messages"
        return (await self.asks("POST", path, {"content": words})).text

    async def asks_once(self, words: str = "Hello?", **headers: str) -> str:
        said = [{"role": "user", "content": words}]
        body = {"model": "ada", "max_tokens": 50, "messages": said}
        return (await self.asks("POST", "/v1/messages", body, **headers)).text


@asynccontextmanager
async def two(database: settings.DatabaseSettings) -> AsyncIterator[tuple[Somebody, Somebody]]:
    """Whoever takes all they can, and whoever only talks."""
    async with AsyncExitStack() as stack:
        http = await stack.enter_async_context(
            paying(database, LIMITS, FULL, FaultRule(match="SLOWLY", after=2, end="stall"))
        )
        rpc = await stack.enter_async_context(grpc_door.serve_node(http.node, LIMITS))
        keys = [await http_door.key(http.node) for _ in range(2)]
        clients = [await stack.enter_async_context(http.client(key)) for key in keys]
        busy, quiet = (Somebody(http, rpc, *each) for each in zip(keys, clients, strict=True))
        yield busy, quiet


async def everything(quiet: Somebody) -> None:
    """What an ordinary user does, through every door."""
    session = await quiet.starts()
    assert "event: done" in await quiet.says(session)
    socket = f"{quiet.http.ws}/ws/conversation/{session}"
    async with connect(socket, additional_headers={"x-api-key": quiet.key}, proxy=None) as made:
        await made.send(json.dumps({"type": "message", "content": "And over a socket?"}))
        while (frame := json.loads(await made.recv()))["type"] != "response":
            assert frame["type"] != "error", frame
    spawned = await quiet.calls(quiet.rpc.instances.Spawn(SPAWN, metadata=quiet.metadata))
    asked = pb.ConverseRequest(conversation=spawned.conversation.id, content="And by gRPC?")
    events = await quiet.calls(quiet.rpc.instances.Converse(asked, metadata=quiet.metadata))
    assert events[-1].WhichOneof("what") == "done"
    assert '"type":"message"' in await quiet.asks_once()
    assert '"type":"message"' in await quiet.asks_once(**NEW)
    for path in ("/api/v1/conversations", "/api/v1/search?q=socket", f"/api/v1/conversation/{session}"):
        assert (await quiet.asks("GET", path)).status_code == 200
    for each in (await quiet.asks("GET", "/api/v1/conversations")).json()["conversations"]:
        await quiet.asks("DELETE", f"/api/v1/conversation/{each['session_id']}")


async def test_one_user_at_every_limit_keeps_another_from_nothing(
    database: settings.DatabaseSettings,
) -> None:
    async with two(database) as (busy, quiet), asyncio.TaskGroup() as tasks:
        sessions = [await busy.starts() for _ in range(3)]
        lasting = [tasks.create_task(busy.asks_once("SLOWLY, please.")) for _ in range(8)]
        while busy.refused["rate_limit_error"] < 4:  # two are under way then, and two wait
            await asyncio.sleep(0.01)
        saying = [tasks.create_task(busy.says(each, "SLOWLY as well.")) for each in sessions]
        while len(await unfinished(busy)) < len(sessions):
            await asyncio.sleep(0.01)
        assert await busy.starts() == "", "all of its instances are at work"
        spawn = busy.rpc.instances.Spawn(SPAWN, metadata=busy.metadata)
        assert await busy.calls(spawn) is None
        while await busy.calls(busy.rpc.continuity.Begin(BEGIN, metadata=busy.metadata)):
            continue
        assert {*busy.refused} == {"rate_limit_error", "too_many_instances", "too_many_conversations"}
        await everything(quiet)

        await reservations.reserve_amount(
            busy.http.node.pool, await allowance(busy, sessions[0]), 10_000_000
        )
        while "too_many_requests" not in busy.refused:
            await busy.asks("GET", "/api/v1/conversations")
        over_http = busy.refused["too_many_requests"]
        while busy.refused["too_many_requests"] == over_http:
            await busy.calls(busy.rpc.continuity.Begin(BEGIN, metadata=busy.metadata))
        await everything(quiet)
        assert quiet.refused == Counter()
        for each in (*lasting, *saying):
            each.cancel()


async def unfinished(busy: Somebody) -> list[object]:
    return list(await busy.http.node.pool.rows("SELECT FROM turns WHERE status IN ('accepted', 'running')"))


async def allowance(busy: Somebody, session: str) -> spend.Reservation:
    """All that the owner of a conversation may spend today."""
    pool, now = busy.http.node.pool, datetime.now(UTC)
    owner: UserId | None = (
        await conversations.load_conversation(pool, ConversationId(UUID(session)))
    ).owner
    return spend.Reservation(uuid4(), now.date(), now, node_world.ADA, None, "any", owner=owner)
