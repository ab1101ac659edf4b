"""What anybody may ask for as often as they like costs little; and pages of strangers open no sockets."""

from __future__ import annotations

import httpx
import pytest
from fastapi import FastAPI
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from ccn import settings
from ccn.gateway import readiness
from ccn.gateway.http import app
from ccn.gateway.http.cached_bodies import FreshBodies
from tests.support.gateway.bare_app import bare, served


def made(**about: object) -> FastAPI:
    return app.create_app(
        "node-1", readiness.Readiness({}), http=settings.HttpSettings.model_validate(about)
    )


@pytest.mark.parametrize("path", ["/openapi.json", "/docs"])
async def test_the_reference_is_made_once_and_told_only_to_those_who_do_not_have_it(path: str) -> None:
    transport = httpx.ASGITransport(made())
    async with httpx.AsyncClient(transport=transport, base_url="http://node") as client:
        first = await client.get(path)
        again = await client.get(path, headers={"If-None-Match": first.headers["etag"]})
        other = await client.get(path, headers={"If-None-Match": '"other"'})
    assert (first.status_code, first.headers["cache-control"]) == (200, "no-cache")
    assert (again.status_code, again.content) == (304, b"")
    assert (other.status_code, other.content) == (200, first.content)


def test_a_body_that_changes_is_made_again_after_twenty_times_what_it_took() -> None:
    now, asked = 0.0, list[str]()

    def make(kind: str) -> bytes:
        nonlocal now
        now += 0.01
        asked.append(kind)
        return f"{kind} {len(asked)}".encode()

    fresh = FreshBodies(make, lambda: now)
    assert [fresh.get_body("text"), fresh.get_body("text"), fresh.get_body("other")] == [
        b"text 1",
        b"text 1",
        b"other 2",
    ]
    now += 0.15
    assert fresh.get_body("text") == b"text 1"
    now += 0.05
    assert fresh.get_body("text") == b"text 3"


async def test_every_answer_keeps_pages_apart_and_only_those_over_tls_demand_it() -> None:
    chosen = settings.HttpSettings(trusted_proxies=("127.0.0.1",))
    async with served(bare(chosen), chosen) as (host, port), httpx.AsyncClient() as client:
        plain = (await client.get(f"http://{host}:{port}/health")).headers
        proxied = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "10.0.0.1"}
        secure = (await client.get(f"http://{host}:{port}/health", headers=proxied)).headers
    assert plain["cross-origin-opener-policy"] == "same-origin"
    assert "camera=()" in plain["permissions-policy"]
    assert "strict-transport-security" not in plain
    assert secure["strict-transport-security"] == "max-age=31536000"


@pytest.mark.parametrize(
    ("origin", "lets_in"),
    [
        (None, True),
        ("http://{here}", True),
        ("https://friend.example", True),
        ("https://evil.example", False),
        ("http://{here}.evil.example", False),
        ("ftp://{here}", False),
        ("null", False),
    ],
)
async def test_a_socket_is_opened_by_no_page_of_a_stranger(origin: str | None, lets_in: bool) -> None:
    chosen = settings.HttpSettings(cors_origins=("https://friend.example",))
    async with served(made(cors_origins=chosen.cors_origins), chosen) as (host, port):
        headers = {} if origin is None else {"Origin": origin.format(here=f"{host}:{port}")}
        asked = connect(f"ws://{host}:{port}/ws/conversation/x", additional_headers=headers, proxy=None)
        if lets_in:
            async with asked as socket:
                assert "unauthenticated" in str(await socket.recv())
        else:
            with pytest.raises(InvalidStatus) as refused:
                await asked
            assert refused.value.response.status_code == 403
            assert b"CCN_HTTP_CORS_ORIGINS" in refused.value.response.body
