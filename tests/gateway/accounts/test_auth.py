"""The dependencies of the HTTP door: who is let in, what everybody else is told, and what it costs them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import httpx
import jwt
import pytest
from fastapi import Depends

from ccn import settings
from ccn.gateway import readiness
from ccn.gateway.accounts import tokens
from ccn.gateway.accounts.access import Caller
from ccn.gateway.deeds import house
from ccn.gateway.http import app, auth
from ccn.gateway.limiting import Limiter
from ccn.store.accounts.users import Tier
from ccn.store.conversations.conversations import StoredConversation
from tests.support.gateway.accounts_door import PASSWORD, PLENTY, Clock, Door, bearer

pytestmark = pytest.mark.asyncio(loop_scope="module")


@asynccontextmanager
async def node(
    door: Door, limits: settings.LimitsSettings = PLENTY, chosen: settings.HttpSettings | None = None
) -> AsyncIterator[httpx.AsyncClient]:
    """Another application over the same accounts."""
    desk = auth.AuthContext(Limiter(limits), door.accounts, *house.open_house(door.pool))
    made = app.create_app("node-2", readiness.Readiness({}), None, desk, chosen)

    @made.get("/test/anybody")
    async def anybody(caller: Annotated[Caller, Depends(auth.admit_anybody)]) -> str:
        return caller.tier

    @made.get("/test/admin")
    async def admin(caller: Annotated[Caller, Depends(auth.require_admin)]) -> str:
        return caller.tier

    @made.get("/test/{session_id}")
    async def own(conversation: Annotated[StoredConversation, Depends(auth.open_to_speak)]) -> str:
        return str(conversation.id)

    @made.get("/test/read/{session_id}")
    async def read(conversation: Annotated[StoredConversation, Depends(auth.open_to_read)]) -> str:
        return str(conversation.id)

    transport = httpx.ASGITransport(made, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        yield client


async def test_a_password_becomes_a_bearer_token_and_renews(door: Door) -> None:
    ada = await door.user()
    form = {"grant_type": "password", "username": ada.name, "password": PASSWORD, "scope": "x", "more": "y"}
    answer = await door.client.post("/token", data=form)
    assert (answer.status_code, answer.headers["cache-control"]) == (200, "no-store")
    first = answer.json()
    assert (first["token_type"], first["expires_in"]) == ("bearer", 900)
    again = {"grant_type": "refresh_token", "refresh_token": first["refresh_token"]}
    second = (await door.client.post("/token", data=again)).json()
    third = (
        await door.client.post("/token/refresh", json={"refresh_token": second["refresh_token"]})
    ).json()
    for given in (first, second, third):
        me = await door.client.get("/api/v1/me", headers=bearer(given["access_token"]))
        assert me.json() == {"id": str(ada.id), "name": ada.name, "tier": "user"}
    reused = await door.client.post("/token", data=again)
    assert (reused.status_code, reused.json()["code"]) == (401, "credential_invalid")


async def test_an_api_key_is_shown_as_a_bearer_or_in_its_own_header(door: Door) -> None:
    ada = await door.user()
    key = await door.key(ada)
    for headers in (bearer(key), {"X-API-Key": key}, {"Authorization": f"bearer {key}"}):
        assert (await door.client.get("/api/v1/me", headers=headers)).json()["name"] == ada.name


async def test_everybody_who_is_not_let_in_is_told_why_and_how(door: Door) -> None:
    key = await door.key(await door.user())
    expired = jwt.encode(
        {"exp": 1}, tokens.new_pair().private, "EdDSA", headers={"kid": "0" * 16, "typ": "at+jwt"}
    )
    wrong = {"username": "nobody", "password": "x"}
    async with node(door) as client:
        answers = [
            (await client.get("/api/v1/me"), 401, "unauthenticated", 'Bearer realm="ccn"'),
            (
                await client.get("/api/v1/me", headers={"Authorization": "Basic eDp5"}),
                401,
                "unauthenticated",
                'Bearer realm="ccn"',
            ),
            (
                await client.get("/test/anybody", headers=bearer(expired)),
                401,
                "credential_invalid",
                'Bearer realm="ccn", error="invalid_token"',
            ),
            (
                await client.get("/test/admin", headers=bearer(key)),
                403,
                "forbidden",
                'Bearer realm="ccn", error="insufficient_scope"',
            ),
            (await client.post("/token", data=wrong), 401, "sign_in_refused", 'Bearer realm="ccn"'),
        ]
    for answer, status, code, challenge in answers:
        assert (answer.status_code, answer.json()["code"]) == (status, code)
        assert answer.headers["www-authenticate"] == challenge
        assert answer.headers["content-type"] == "application/problem+json"


async def test_libraries_for_oauth2_read_why_there_is_no_token(door: Door) -> None:
    ada = await door.user()
    for form, status, error in (
        ({"username": ada.name, "password": "wrong"}, 401, "invalid_grant"),
        ({"grant_type": "refresh_token", "refresh_token": "ccnr_made-up"}, 401, "invalid_grant"),
        ({"grant_type": "magic"}, 422, "invalid_request"),
    ):
        answer = await door.client.post("/token", data=form)
        assert (answer.status_code, answer.json()["error"]) == (status, error)
    assert "error" not in (await door.client.get("/api/v1/me")).json()


async def test_a_token_that_has_expired_is_told_from_one_that_never_was(door: Door) -> None:
    ada, clock = await door.user(), Clock()
    clock.forward(-3_600)
    late = (await door.another_node(clock).sign_in(ada.name, PASSWORD)).access_token
    answer = await door.client.get("/api/v1/me", headers=bearer(late))
    assert (answer.status_code, answer.json()["code"]) == (401, "token_expired")


async def test_the_conversation_in_a_path_is_its_owner_s(door: Door) -> None:
    ada, eve, operator = await door.user(), await door.user(), await door.user(Tier.ADMIN)
    here = await door.conversation(ada)
    async with node(door) as client:
        for owner, status in ((ada, 200), (eve, 404), (operator, 403)):
            for path in (f"/test/{here}", f"/test/read/{here}"):
                answer = await client.get(path, headers=bearer(await door.key(owner)))
                assert answer.status_code == status
        nowhere = await client.get(f"/test/{eve.id}", headers=bearer(await door.key(eve)))
        theirs = await client.get(f"/test/{here}", headers=bearer(await door.key(eve)))
        assert nowhere.content == theirs.content
        assert (await client.get("/test/not-an-id", headers=bearer(await door.key(eve)))).status_code == 422


async def test_a_user_has_a_hundred_requests_a_minute_whatever_it_shows(door: Door) -> None:
    ada, eve = await door.user(), await door.user()
    shown = [await door.signed_in(ada), bearer(await door.key(ada)), {"X-API-Key": await door.key(ada)}]
    async with node(door, settings.LimitsSettings()) as client:
        answers = [await client.get("/api/v1/me", headers=shown[n % 3]) for n in range(101)]
        assert [each.status_code for each in answers] == [200] * 100 + [429]
        assert [int(each.headers["x-ratelimit-remaining"]) for each in answers[:100]] == [
            *range(99, -1, -1)
        ]
        refused = answers[-1]
        assert refused.json()["code"] == "too_many_requests"
        assert (refused.headers["x-ratelimit-limit"], refused.headers["x-ratelimit-remaining"]) == (
            "100",
            "0",
        )
        assert 50 <= int(refused.headers["retry-after"]) <= 60
        assert refused.headers["x-ratelimit-reset"] == refused.headers["retry-after"]
        assert (await client.get("/api/v1/me", headers=bearer(await door.key(eve)))).status_code == 200
        assert (await client.get("/test/anybody")).status_code == 200


async def test_who_has_not_signed_in_is_counted_by_address_and_guessing_counts_too(door: Door) -> None:
    async with node(door, settings.LimitsSettings(requests=4)) as client:
        for headers in ({}, bearer("ccn_guess"), bearer("guess"), {}):
            assert (await client.get("/test/anybody", headers=headers)).status_code in {200, 401}
        for headers in ({}, bearer("ccn_another")):
            assert (await client.get("/test/anybody", headers=headers)).status_code == 429
        assert (await client.get("/health")).status_code == 200
        assert "x-ratelimit-limit" not in (await client.get("/ready")).headers


async def test_attempts_to_sign_in_as_one_user_have_a_lower_limit(door: Door) -> None:
    ada = await door.user()
    async with node(door, settings.LimitsSettings(sign_ins=3)) as client:
        for name, password, status in (
            (ada.name, "x", 401),
            (ada.name.upper(), "y", 401),
            (ada.name, "z", 401),
            (ada.name, PASSWORD, 429),
            ("somebody else", "x", 401),
        ):
            answer = await client.post("/token", data={"username": name, "password": password})
            assert answer.status_code == status
        assert "retry-after" in (await client.post("/token", data={"username": ada.name})).headers


async def test_a_door_without_accounts_says_so(door: Door) -> None:
    made = app.create_app("node-3", readiness.Readiness({}))
    transport = httpx.ASGITransport(made, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        assert (await client.get("/api/v1/me")).status_code == 401
        assert (await client.get("/api/v1/me", headers=bearer("x"))).status_code == 503


async def test_every_answer_has_the_headers_that_protect_browsers(door: Door) -> None:
    @door.application.get("/test/defect")
    async def defect() -> None:
        raise ZeroDivisionError

    for path, status in (("/health", 200), ("/nowhere", 404), ("/api/v1/me", 401), ("/test/defect", 500)):
        answer = await door.client.get(path)
        assert answer.status_code == status
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cache-control"] == "no-store"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]
    door.application.router.routes.pop()


async def test_other_origins_are_let_in_only_if_an_operator_names_them(door: Door) -> None:
    asks = {"Origin": "https://pages.example", "Access-Control-Request-Method": "GET"}
    assert (
        "access-control-allow-origin" not in (await door.client.options("/api/v1/me", headers=asks)).headers
    )
    async with node(door, chosen=settings.HttpSettings(cors_origins=("https://pages.example",))) as client:
        preflight = await client.options("/api/v1/me", headers=asks)
        assert preflight.headers["access-control-allow-origin"] == "https://pages.example"
        assert "access-control-allow-credentials" not in preflight.headers
        sdk = "anthropic-version, anthropic-dangerous-direct-browser-access, x-api-key, x-stainless-lang"
        more = asks | {"Access-Control-Request-Headers": sdk, "Access-Control-Request-Method": "POST"}
        assert (await client.options("/v1/messages", headers=more)).status_code == 200
        seen = await client.get("/health", headers={"Origin": "https://pages.example"})
        exposed = seen.headers["access-control-expose-headers"].lower().split(", ")
        assert {"request-id", "x-ccn-conversation", "retry-after"} <= set(exposed)
        other = await client.get("/health", headers={"Origin": "https://evil.example"})
        assert "access-control-allow-origin" not in other.headers


async def test_the_reference_tells_how_to_sign_in(door: Door) -> None:
    document = (await door.client.get("/openapi.json")).json()
    schemes = document["components"]["securitySchemes"]
    assert schemes["OAuth2PasswordBearer"]["flows"]["password"]["tokenUrl"] == "token"
    assert schemes["APIKeyHeader"]["name"] == "X-API-Key"
    assert document["paths"]["/api/v1/me"]["get"]["security"]
    page = (await door.client.get("/docs")).text
    assert "POST /token" in page
    assert "correct horse" in page


async def test_many_at_once_are_let_in_side_by_side(door: Door) -> None:
    shown = await door.signed_in(await door.user())
    answers = await asyncio.gather(*[door.client.get("/api/v1/me", headers=shown) for _ in range(100)])
    assert {each.status_code for each in answers} == {200}
