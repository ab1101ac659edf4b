"""Streams and sockets that are open: so many for each user, and only while their account stands."""

from __future__ import annotations

import asyncio
import gc
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any, cast
from uuid import uuid4

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
import pytest_asyncio
from starlette.websockets import WebSocket
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from ccn import settings
from ccn.core.ids import UserId
from ccn.gateway.accounts import credentials, passwords
from ccn.gateway.accounts.access import Caller
from ccn.gateway.grpc import statuses
from ccn.gateway.http import connection_limit
from ccn.gateway.http.conversations.frames import CloseCode
from ccn.gateway.open_streams import OpenStreams
from ccn.pb import cluster_pb2
from ccn.store.accounts import api_keys, users
from ccn.store.accounts.credential_checks import ApiKeyCredential, SignInCredential
from ccn.store.accounts.users import Tier, User
from ccn.store.connection.pool import Pool
from ccn.store.rounds import terms
from tests.support import databases
from tests.support.gateway import grpc_door, http_door
from tests.support.gateway.http_door import events
from tests.support.node.node_world import Model, Node, found_world

pytestmark = pytest.mark.asyncio(loop_scope="module")

PASSWORD = "correct horse battery"
HASH = passwords.hash_password(PASSWORD)
LIMIT = 3
LIMITS = settings.LimitsSettings(requests=1_000_000, sign_ins=1_000_000, streams=LIMIT)


@dataclass
class Doors:
    """Both doors of one node, whose replies wait before their second word."""

    node: Node
    http: http_door.Door
    grpc: grpc_door.Door
    may_end: asyncio.Event

    async def user(self) -> User:
        named = UserId(credentials.new_id())
        return await users.add_user(self.node.pool, named, f"user {named.hex[-12:]}", Tier.USER, HASH)

    async def token(self, user: User) -> str:
        async with self.http.client() as client:
            answer = await client.post("/token", data={"username": user.name, "password": PASSWORD})
            return str(answer.json()["access_token"])

    async def begun(self, credential: str) -> str:
        async with self.http.client(credential) as client:
            answer = await client.post("/api/v1/conversation/start", json={"character": "ada"})
            return str(answer.json()["session_id"])

    def socket(self, session: str, credential: str) -> connect:
        shown = {"Authorization": f"Bearer {credential}"}
        path = f"{self.http.ws}/ws/conversation/{session}"
        return connect(path, additional_headers=shown, proxy=None, compression=None)

    def watching(self, credential: str) -> Any:
        metadata = (("authorization", f"Bearer {credential}"),)
        return self.grpc.cluster.WatchRounds(cluster_pb2.WatchRoundsRequest(), metadata=metadata)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def doors(database_server: str) -> AsyncIterator[Doors]:
    may_end = asyncio.Event()
    model = Model(gate=lambda nth: may_end.wait() if nth else asyncio.sleep(0))
    async with databases.cloned(database_server, "streams") as database:
        world = await found_world(database)
        async with (
            world.node("node-1", model) as node,
            http_door.door(node, LIMITS) as http,
            grpc_door.serve_node(node, LIMITS, streams=http.streams) as rpc,
        ):
            await terms.take_over_term(node.pool, node.id, 1)
            yield Doors(node, http, rpc, may_end)
            may_end.set()


async def closed(socket: ClientConnection) -> CloseCode:
    async with asyncio.timeout(60):
        async for _ in told_until_closed(socket):
            pass
    assert socket.close_code is not None
    return CloseCode(socket.close_code)


async def told_until_closed(socket: ClientConnection) -> AsyncIterator[object]:
    with suppress(ConnectionClosed):
        while True:
            yield await socket.recv()


@asynccontextmanager
async def reading(
    doors: Doors, credential: str, session: str
) -> AsyncIterator[AsyncIterator[http_door.Event]]:
    """A reply of which the first word has come."""
    async with doors.http.client(credential) as client:
        path = f"/api/v1/conversation/{session}/messages"
        async with client.stream("POST", path, json={"content": "Hello?"}) as answer:
            told = aiter(events(answer))
            assert [(await anext(told)).name for _ in range(2)] == ["accepted", "delta"]
            yield told


async def signed_out(doors: Doors, _: User, credential: str) -> None:
    async with doors.http.client() as client:
        await client.post("/token/revoke", data={"token": credential})


async def disabled(doors: Doors, user: User, _: str) -> None:
    await users.disable_user(doors.node.pool, user.name)


async def renamed(doors: Doors, user: User, _: str) -> None:
    await users.set_password(doors.node.pool, user.name, passwords.hash_password("another one entirely"))


async def revoked(doors: Doors, _: User, credential: str) -> None:
    await api_keys.revoke_key(doors.node.pool, credentials.key_prefix(credential))


End = Callable[[Doors, User, str], Awaitable[None]]


@pytest.mark.parametrize(
    ("end", "by_key"),
    [(disabled, False), (disabled, True), (renamed, False), (signed_out, False), (revoked, True)],
)
async def test_streams_end_at_every_door_when_what_they_were_let_in_on_does(
    doors: Doors, end: End, by_key: bool
) -> None:
    user, other = await doors.user(), await grpc_door.api_key(doors.node.pool)
    shown = await (grpc_door.api_key(doors.node.pool, owner=user) if by_key else doors.token(user))
    session = await doors.begun(shown)
    async with (
        doors.socket(session, shown) as socket,
        doors.socket(await doors.begun(other), other) as others,
        reading(doors, shown, session) as told,
    ):
        watching = doors.watching(shown)
        await watching.initial_metadata()
        await end(doors, user, shown)
        assert await closed(socket) is CloseCode.UNAUTHENTICATED
        last = [each async for each in told][-1]
        assert (last.name, last.id, last.data["code"]) == ("error", "", "credential_invalid")
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await anext(aiter(watching))
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
        assert dict(refused.value.trailing_metadata())[statuses.CODE] == "credential_invalid"
        await others.send(json.dumps({"type": "nonsense"}))
        assert json.loads(await others.recv())["code"] == "input_invalid"


async def test_a_new_password_does_not_end_what_an_api_key_opened(doors: Doors) -> None:
    user = await doors.user()
    by_key, by_token = await grpc_door.api_key(doors.node.pool, owner=user), await doors.token(user)
    session = await doors.begun(by_key)
    async with doors.socket(session, by_key) as stays, doors.socket(session, by_token) as goes:
        await renamed(doors, user, by_token)
        assert await closed(goes) is CloseCode.UNAUTHENTICATED
        await stays.send(json.dumps({"type": "nonsense"}))
        assert json.loads(await stays.recv())["code"] == "input_invalid"


async def test_a_user_has_so_many_streams_through_all_doors_and_is_refused_before_anything_is_said(
    doors: Doors,
) -> None:
    shown = await grpc_door.api_key(doors.node.pool)
    session = await doors.begun(shown)
    async with (
        asyncio.timeout(60),  # a request that should have been refused would be pinged for ever
        doors.http.client(shown) as client,
        doors.socket(session, shown),
    ):
        watching = doors.watching(shown)
        await watching.initial_metadata()
        async with reading(doors, shown, session):
            said = await client.post(f"/api/v1/conversation/{session}/messages", json={"content": "More"})
            assert (said.status_code, said.json()["code"]) == (429, "too_many_streams")
            assert await refused_at_messages_api(client)
            async with doors.socket(session, shown) as one_more:
                assert await closed(one_more) is CloseCode.TOO_FAST
            with pytest.raises(grpc.aio.AioRpcError) as over:
                await anext(aiter(doors.watching(shown)))
            assert over.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
        messages = (await client.get(f"/api/v1/conversation/{session}/messages")).json()["messages"]
        assert [each["content"] for each in messages] == ["Hello?"]
        watching.cancel()
        while not await opens(doors, session, shown):
            await asyncio.sleep(0.02)


@pytest.mark.parametrize("by_grpc", [False, True])
async def test_a_stream_has_its_place_before_its_client_hears_of_it(doors: Doors, by_grpc: bool) -> None:
    for _ in range(10):
        shown = await grpc_door.api_key(doors.node.pool)
        session = await doors.begun(shown)
        async with (
            asyncio.timeout(60),
            doors.http.client(shown) as client,
            doors.socket(session, shown),
            doors.socket(session, shown) as last,
        ):
            if by_grpc:
                watching = doors.watching(shown)
                await watching.initial_metadata()
                assert await refused_at_messages_api(client)
                watching.cancel()
            else:
                async with doors.socket(session, shown):
                    assert await refused_at_messages_api(client)
            await last.send(json.dumps({"type": "nonsense"}))
            assert json.loads(await last.recv())["code"] == "input_invalid"


async def refused_at_messages_api(client: httpx.AsyncClient) -> bool:
    """Whether one more stream is refused there, which does not ask the database whether it may be."""
    asked = {"model": "ada", "max_tokens": 9, "messages": [{"role": "user", "content": "More"}]}
    answer = await client.post("/v1/messages", json=asked | {"stream": True})
    return (answer.status_code, answer.json()["error"]["type"]) == (429, "rate_limit_error")


async def opens(doors: Doors, session: str, shown: str) -> bool:
    """Whether one more socket stays open, which it does if it answers."""
    async with doors.socket(session, shown) as socket:
        await socket.send(json.dumps({"type": "nonsense"}))
        return bool(json.loads(await socket.recv())["code"] == "input_invalid")


async def test_places_are_given_back_by_requests_that_come_to_nothing(doors: Doors) -> None:
    shown = await grpc_door.api_key(doors.node.pool)
    session = await doors.begun(shown)
    async with doors.http.client(shown) as client:
        for _ in range(LIMIT + 1):
            path = f"/api/v1/conversation/{session}/messages"
            assert (await client.post(path)).status_code == 422
            assert (
                await client.get(f"/api/v1/conversation/{session}/turns/{uuid4()}/events")
            ).status_code == 404
        for _ in range(LIMIT + 1):
            with pytest.raises(httpx.ReadTimeout):
                await client.post(path, json={"content": "Hello?"}, timeout=httpx.Timeout(60, read=0.1))
        async with asyncio.timeout(60):
            while not await opens(doors, session, shown):
                await asyncio.sleep(0.02)


async def test_a_silent_socket_ends_and_one_that_waits_for_a_reply_does_not(doors: Doors) -> None:
    limits = LIMITS.model_copy(update={"socket_idle_s": 0.3})
    async with http_door.door(doors.node, limits) as hasty:
        here = Doors(doors.node, hasty, doors.grpc, doors.may_end)
        shown = await grpc_door.api_key(doors.node.pool)
        session = await here.begun(shown)
        async with here.socket(session, shown) as waits:
            await waits.send(json.dumps({"type": "message", "content": "Hello?"}))
            async with here.socket(session, shown) as silent:
                assert await closed(silent) is CloseCode.IDLE
            async with here.socket(session, shown) as silent:
                assert await closed(silent) is CloseCode.IDLE
            doors.may_end.set()
            async with asyncio.timeout(60):
                while json.loads(await waits.recv())["type"] != "response":
                    pass
            doors.may_end.clear()


class Counted:
    """A database in which everything stands, and how often it was asked."""

    def __init__(self) -> None:
        self.asked = 0

    async def rows(self, sql: str, *values: object) -> list[object]:
        self.asked += 1
        return []


async def test_however_many_streams_are_open_the_database_is_asked_twice_at_most() -> None:
    counted = Counted()
    streams = OpenStreams(cast("Pool", counted), settings.AccountsSettings(), settings.LimitsSettings())
    for nth in range(40):
        user = UserId(uuid4())
        streams.open_stream(Caller(Tier.USER, user, credential=ApiKeyCredential(bytes([nth]))))
        streams.open_stream(Caller(Tier.USER, user, credential=SignInCredential(user, uuid4(), 1)))
    await streams.end_invalid_streams()
    assert counted.asked == 2


async def test_nothing_is_left_of_sockets_that_have_ended(doors: Doors) -> None:
    shown = await grpc_door.api_key(doors.node.pool)
    session = await doors.begun(shown)
    async with doors.socket(session, shown):
        assert {type(each).__name__ for each in left()} == {
            "WebSocket",
            "ClientConnection",
            LIMITED_WEBSOCKET,
        }
    for _ in range(5):
        assert await opens(doors, session, shown)
    async with asyncio.timeout(60):
        while left():
            await asyncio.sleep(0.1)


# By its name, because each server makes this class anew.
LIMITED_WEBSOCKET = "LimitedWebSocket"


def left() -> list[object]:
    """What is still there of sockets, once what nobody can reach is gone."""
    gc.collect()
    return [
        each
        for each in gc.get_objects()
        if type(each) in {WebSocket, connection_limit.ClientConnection}
        or type(each).__name__ == LIMITED_WEBSOCKET
    ]
