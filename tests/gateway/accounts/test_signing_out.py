"""Signing out ends a sign-in at every door: `POST /token/revoke`, as RFC 7009 has it."""

from __future__ import annotations

import asyncio

import grpc  # type: ignore[import-untyped]
import httpx
import pytest
from websockets.asyncio.client import connect

from ccn import errors, settings
from ccn.core.ids import UserId
from ccn.gateway import readiness
from ccn.gateway.accounts import credentials
from ccn.gateway.deeds import house
from ccn.gateway.http import app, auth
from ccn.gateway.http.conversations.frames import CloseCode
from ccn.gateway.limiting import Limiter
from ccn.pb import instances_pb2 as pb
from ccn.store.accounts import users
from ccn.store.accounts.users import Tier
from tests.support.gateway import grpc_door, http_door
from tests.support.gateway.accounts_door import PASSWORD, PLENTY, RECHECK_S, Door, bearer, kept_password

pytestmark = pytest.mark.asyncio(loop_scope="module")

REVOKE = "/token/revoke"


async def signed_in(door: Door) -> dict[str, str]:
    ada = await door.user()
    answer = await door.client.post("/token", data={"username": ada.name, "password": PASSWORD})
    return dict(answer.json())


async def me(door: Door, tokens: dict[str, str]) -> int:
    return (await door.client.get("/api/v1/me", headers=bearer(tokens["access_token"]))).status_code


@pytest.mark.parametrize("kind", ["access_token", "refresh_token"])
async def test_either_token_ends_the_whole_sign_in_and_no_other(door: Door, kind: str) -> None:
    tokens, others = await signed_in(door), await signed_in(door)
    assert await me(door, tokens) == 200
    answer = await door.client.post(REVOKE, data={"token": tokens[kind], "token_type_hint": kind})
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    assert await me(door, tokens) == 401
    again = {"refresh_token": tokens["refresh_token"]}
    assert (await door.client.post("/token/refresh", json=again)).status_code == 401
    assert await me(door, others) == 200


async def test_a_token_that_was_used_or_renewed_ends_what_came_from_it(door: Door) -> None:
    first = await signed_in(door)
    again = {"refresh_token": first["refresh_token"]}
    second = (await door.client.post("/token/refresh", json=again)).json()
    assert (await door.client.post(REVOKE, data={"token": first["refresh_token"]})).status_code == 200
    assert await me(door, second) == 401


async def test_other_nodes_let_go_within_the_time_that_is_stated(door: Door) -> None:
    tokens, other = await signed_in(door), door.another_node()
    await other.identify_caller(tokens["access_token"])
    await door.client.post(REVOKE, data={"token": tokens["access_token"]})
    door.clock.forward(RECHECK_S + 0.01)
    with pytest.raises(errors.CredentialInvalid, match="has ended"):
        await other.identify_caller(tokens["access_token"])


@pytest.mark.parametrize(
    "token", ["ccnr_made-up", "a.b.c", "x" * 100_000, "ccnr_\ud800", "\x00", "eyJhbGciOiJub25lIn0.e30."]
)
async def test_what_is_no_token_of_ours_is_answered_alike(door: Door, token: str) -> None:
    form = httpx.QueryParams({"token": token.encode("utf-8", "replace").decode(), "client_id": "page"})
    answer = await door.client.post(
        REVOKE, content=str(form), headers={"Content-Type": "application/x-www-form-urlencoded"}
    )
    assert answer.status_code == 200


async def test_a_token_that_has_ended_needs_no_credential_that_counts(door: Door) -> None:
    tokens = await signed_in(door)
    for _ in "12":
        headers = bearer(tokens["access_token"])
        answer = await door.client.post(REVOKE, data={"token": tokens["refresh_token"]}, headers=headers)
        assert answer.status_code == 200


async def test_a_request_without_a_token_and_an_api_key_are_told_apart(door: Door) -> None:
    key = await door.key(await door.user())
    for form, error in (
        ({}, "invalid_request"),
        ({"token": ""}, "invalid_request"),
        ({"token_type_hint": "access_token"}, "invalid_request"),
        ({"token": key}, "unsupported_token_type"),
    ):
        answer = await door.client.post(REVOKE, data=form)
        assert (answer.status_code, answer.json()["error"]) == (400, error)
    assert (await door.client.get("/api/v1/me", headers=bearer(key))).status_code == 200
    assert (await door.client.get(REVOKE)).status_code == 405


async def test_a_door_where_nobody_can_sign_in_asks_to_come_back(door: Door) -> None:
    made = app.create_app("node-3", readiness.Readiness({}), None, auth.AuthContext(Limiter(PLENTY)))
    transport = httpx.ASGITransport(made, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        answer = await client.post(REVOKE, data={"token": "ccnr_x"})
    assert (answer.status_code, answer.json()["error"]) == (503, "temporarily_unavailable")
    assert "retry-after" in answer.headers


async def test_who_signs_out_is_counted_like_anybody(door: Door) -> None:
    desk = auth.AuthContext(
        Limiter(settings.LimitsSettings(requests=2)), door.accounts, *house.open_house(door.pool)
    )
    made = app.create_app("node-3", readiness.Readiness({}), None, desk)
    transport = httpx.ASGITransport(made, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        told = [(await client.post(REVOKE, data={"token": "x"})).status_code for _ in "123"]
    assert told == [200, 200, 429]


async def test_sockets_and_grpc_refuse_whoever_signed_out(home: http_door.Door) -> None:
    name, pool = "ada who leaves", home.node.pool
    await users.add_user(pool, UserId(credentials.new_id()), name, Tier.USER, kept_password())
    async with home.client() as client, grpc_door.serve_node(home.node) as other:
        tokens = (await client.post("/token", data={"username": name, "password": PASSWORD})).json()
        shown = bearer(tokens["access_token"])
        metadata = (("authorization", shown["Authorization"]),)
        begun = await client.post("/api/v1/conversation/start", json={"character": "ada"}, headers=shown)
        path = f"{home.ws}/ws/conversation/{begun.json()['session_id']}"
        async with connect(path, additional_headers=shown) as socket:
            assert (await client.post(REVOKE, data={"token": tokens["refresh_token"]})).status_code == 200
            async with asyncio.timeout(60):
                await socket.wait_closed()
        assert socket.close_code == CloseCode.UNAUTHENTICATED
        with pytest.raises(grpc.aio.AioRpcError) as refused:
            await other.instances.Spawn(pb.SpawnRequest(character="ada"), metadata=metadata, timeout=60)
        assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
