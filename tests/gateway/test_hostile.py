"""Hostile input to the HTTP door: the answer is clear and never 500, and nobody sees what is another's.

The walk over the routes takes them from the application, so a route that is added later is tried too, and
fails until it depends on one of `auth`'s dependencies or stands in `auth.OPEN`.
"""

from __future__ import annotations

import asyncio
import base64
import json
import re
import socket
import time
from collections.abc import AsyncIterator
from typing import Annotated
from uuid import uuid4

import httpx
import jwt
import pytest
from fastapi import Depends, FastAPI
from starlette.responses import StreamingResponse

from ccn import settings
from ccn.gateway.accounts import tokens
from ccn.gateway.accounts.access import Caller
from ccn.gateway.http import auth, server, slow_clients
from ccn.gateway.http.conversations import websocket
from tests.support.gateway.accounts_door import PASSWORD, Door, bearer
from tests.support.gateway.bare_app import bare, served
from tests.support.gateway.routes import ACTS, CHARACTER, OWN, OWN_TURN, OWN_TURNS, READS, for_users, ways

pytestmark = pytest.mark.asyncio(loop_scope="module")

LIMIT = settings.HttpSettings().body_limit


def faults(application: FastAPI) -> list[str]:
    """What is wrong with the routes before anybody asks."""
    found = []
    for way in ways(application):
        name = f"{way.method} {way.path}"
        if way.method == "WEBSOCKET":
            if websocket.identify_socket not in way.needs:
                found.append(f"{name} asks nobody who calls")
        elif not way.needs & {auth.admit_anybody, auth.count_address, auth.admit_onlooker}:
            if way.path not in auth.OPEN:
                found.append(f"{name} asks nobody who calls")
        elif auth.require_admin not in way.needs and way.named:
            if way.named == CHARACTER:
                continue
            if way.named != OWN and (way.named != OWN_TURN or not OWN_TURNS & way.needs):
                found.append(f"{name} lets a user name {way.named}")
            elif not (READS if way.method == "GET" else ACTS) & way.needs:
                found.append(f"{name} does not ask whose conversation it is")
    return found


async def said(at: tuple[str, int], *sent: bytes, within_s: float = 60.0) -> bytes:
    """All that the server answers until it closes the connection."""
    reader, writer = await asyncio.open_connection(*at)
    try:
        for part in sent:
            writer.write(part)
            await writer.drain()
        async with asyncio.timeout(within_s):
            return await reader.read()
    except ConnectionError:
        return b""
    finally:
        writer.close()


def unnamed(answer: httpx.Response) -> bytes:
    """What is said, without the name that each request has of its own."""
    return re.sub(rb"req_[0-9a-f]{24}", b"", answer.content)


async def test_every_route_is_open_by_name_or_asks_who_calls(door: Door) -> None:
    assert faults(door.application) == []
    assert len(list(ways(door.application))) >= 10


async def test_a_route_that_forgets_to_ask_is_noticed() -> None:
    made = bare()

    @made.get("/api/v1/forgotten")
    async def forgotten() -> str:
        return ""

    @made.delete("/api/v1/conversation/{session_id}")
    async def unowned(session_id: str, caller: Annotated[Caller, Depends(auth.require_user)]) -> str:
        return ""

    @made.get("/api/v1/user/{name}")
    async def named(name: str, caller: Annotated[Caller, Depends(auth.require_user)]) -> str:
        return ""

    @made.get("/api/v1/admin/{name}")
    async def operated(name: str, caller: Annotated[Caller, Depends(auth.require_admin)]) -> str:
        return ""

    @made.websocket("/ws/open")
    async def listening() -> None:
        return

    assert faults(made) == [
        "GET /api/v1/forgotten asks nobody who calls",
        "DELETE /api/v1/conversation/{session_id} does not ask whose conversation it is",
        "GET /api/v1/user/{name} lets a user name {'name'}",
        "WEBSOCKET /ws/open asks nobody who calls",
    ]


async def test_nobody_gets_anywhere_without_signing_in(door: Door) -> None:
    for way in for_users(door.application):
        if way.method == "WEBSOCKET":
            continue  # the socket's own tests open those
        for headers in ({}, bearer("ccn_made-up"), bearer("made.up.token"), {"X-API-Key": "made up"}):
            answer = await door.client.request(way.method, way.to(uuid4()), headers=headers)
            assert answer.status_code == 401, way
            assert answer.headers["www-authenticate"].startswith("Bearer")


async def test_a_user_operates_nothing(door: Door) -> None:
    shown = bearer(await door.key(await door.user()))
    for way in for_users(door.application):
        if auth.require_admin in way.needs and way.method != "WEBSOCKET":
            answer = await door.client.request(way.method, way.to(uuid4()), headers=shown)
            assert (answer.status_code, answer.json()["code"]) == (403, "forbidden"), way


async def test_of_two_hostile_users_neither_sees_or_changes_what_is_the_other_s(door: Door) -> None:
    ada, eve = await door.user(), await door.user()
    theirs = {user.id: await door.conversation(user) for user in (ada, eve)}
    for user, other in ((ada, eve), (eve, ada)):
        shown = bearer(await door.key(user))
        for way in for_users(door.application):
            if auth.require_admin in way.needs or way.method == "WEBSOCKET":
                continue
            answer = await door.client.request(way.method, way.to(theirs[other.id]), headers=shown)
            for secret in (str(other.id), other.name):
                assert secret not in answer.text, way
            if way.named:
                nowhere = await door.client.request(way.method, way.to(uuid4()), headers=shown)
                assert (answer.status_code, unnamed(answer)) == (404, unnamed(nowhere)), way


def unsigned(header: object, claims: object = None) -> str:
    """A token whose parts are whatever they are."""

    def part(value: object) -> str:
        text = value if isinstance(value, bytes) else json.dumps(value).encode()
        return base64.urlsafe_b64encode(text).rstrip(b"=").decode()

    return f"{part(header)}.{part(claims or {'sub': 'x'})}."


async def test_no_forged_token_lets_anybody_in(door: Door) -> None:
    ada = await door.user()
    good = (await door.another_node().sign_in(ada.name, PASSWORD)).access_token
    other = tokens.new_pair().private
    header, claims = (json.loads(base64.urlsafe_b64decode(part + "==")) for part in good.split(".")[:2])
    assert (await door.client.get("/api/v1/me", headers=bearer(good))).status_code == 200
    kids: list[object] = [None, 7, [], "../../dev/null", "' OR 1=1 --", "x" * 1000, header["kid"]]
    headers: list[object] = [[], "x", 1, None, b"\xff\xfe", b"[" * 2000]
    forged = [
        *[unsigned(header | {"alg": alg}, claims) for alg in ("none", "None", "NONE", "", "RS256")],
        *[unsigned(header | {"kid": kid}, claims) for kid in kids],
        *[unsigned(each, claims) for each in headers],
        *[jwt.encode(claims, "x" * 64, alg, headers=header | {"alg": alg}) for alg in ("HS256", "HS512")],
        jwt.encode(claims, other, "EdDSA", headers=header | {"jku": "http://127.0.0.1/keys"}),
        jwt.encode(claims, other, "EdDSA", headers=header),
        f"{good[:-4]}AAAA",
        good.split(".")[0] + "." + good.split(".")[1],
        good.replace(".", ".."),
        good + ".",
        "%00",
        "x" * 60_000,
    ]
    for token in forged:
        answer = await door.client.get("/api/v1/me", headers=bearer(token))
        assert (answer.status_code, answer.json()["code"]) == (401, "credential_invalid"), token[:80]


async def test_a_body_that_is_too_large_is_refused_without_reading_it(door: Door) -> None:
    announced = await door.client.post("/token/refresh", content=b"x" * (LIMIT + 1))
    assert (announced.status_code, announced.json()["code"]) == (413, "body_too_large")
    assert announced.headers["connection"] == "close"
    sent = 0

    async def endless() -> AsyncIterator[bytes]:
        nonlocal sent
        while sent < 100 * LIMIT:
            sent += 65_536
            yield b"x" * 65_536

    for path in ("/token/refresh", "/token"):
        sent = 0
        kind = "application/json" if path == "/token/refresh" else "application/x-www-form-urlencoded"
        answer = await door.client.post(path, content=endless(), headers={"Content-Type": kind})
        assert answer.status_code == 413
        assert sent <= LIMIT + 2 * 65_536


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b'{"refresh_token":' + b"[" * 100_000, 400),
        (b'{"refresh_token":' + b'{"a":' * 50_000, 400),
        (b'{"refresh_token":"\xff\xfe"}', 400),
        (b'{"refresh_token":"\\ud800"}', 422),
        (b'{"\\ud800":1}', 422),
        (b'{"refresh_token":' + b"9" * 10_000 + b"}", 400),
        (b'{"refresh_token":NaN}', 422),
        (b'{"refresh_token":null}', 422),
        (b'{"refresh_token":"a\\u0000b"}', 401),
        (b'{"refresh_token":"x","refresh_token":"y"}', 401),
        (b"{" + b",".join(b'"%d":1' % n for n in range(10_000)) + b"}", 422),
        (b"[]", 422),
        (b"", 422),
        (b"\x00", 422),
        ("é".encode("utf-16"), 422),
    ],
)
async def test_broken_json_is_a_clear_error(door: Door, body: bytes, status: int) -> None:
    headers = {"Content-Type": "application/json"}
    answer = await door.client.post("/token/refresh", content=body, headers=headers)
    assert answer.status_code in {400, 401, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.json().get("faults", ())) <= 20
    assert len(answer.content) < 10_000
    assert answer.status_code == status


@pytest.mark.parametrize(
    "body",
    [
        b"username=%00&password=x",
        b"username=%ff%fe&password=%ff",
        b"username=%ED%A0%80&password=x",
        b"username=" + b"x" * 100_000,
        b"&".join(b"a%d=1" % n for n in range(5_000)),
        b"grant_type=client_credentials",
        b"grant_type=refresh_token",
        b"username=a%0d%0aX-Evil:%201&password=x",
        b"%",
        b"\x00\xff",
        b"",
    ],
)
async def test_a_broken_form_is_a_clear_error(door: Door, body: bytes) -> None:
    kind = {"Content-Type": "application/x-www-form-urlencoded"}
    answer = await door.client.post("/token", content=body, headers=kind)
    assert answer.status_code in {400, 401, 422}
    assert answer.headers["content-type"] == "application/problem+json"
    assert "x-evil" not in answer.headers


async def test_a_multipart_form_with_a_flood_of_parts_or_files_is_a_clear_error(door: Door) -> None:
    part = b'--b\r\nContent-Disposition: form-data; name="a%d"%s\r\n\r\nx\r\n'
    for more in (b"", b'; filename="f"'):
        body = b"".join(part % (n, more) for n in range(2_000)) + b"--b--\r\n"
        kind = {"Content-Type": "multipart/form-data; boundary=b"}
        answer = await door.client.post("/token", content=body, headers=kind)
        assert answer.status_code in {400, 401, 422}
    for kind in ({"Content-Type": "multipart/form-data"}, {"Content-Type": "text/plain"}, {}):
        answer = await door.client.post("/token", content=b"--b", headers=kind)
        assert answer.status_code in {400, 401, 422}


async def test_what_a_client_writes_becomes_no_header_and_no_redirect(door: Door) -> None:
    for path in ("/health%0d%0aX-Evil:1", "/%0d%0aX-Evil:%201", "/health/", "/docs/"):
        answer = await door.client.get(path, headers={"Host": "evil.example"})
        assert answer.status_code == 404
        assert not {"x-evil", "location"} & set(answer.headers)
        assert "evil" not in answer.text


async def test_a_client_that_is_slow_with_its_headers_is_cut_off() -> None:
    chosen = settings.HttpSettings(head_s=0.3)
    async with served(bare(chosen), chosen) as at:
        for sent in (b"", b"GET / HT", b"GET /health HTTP/1.1\r\nHost: x\r\nX-Slow: "):
            began = time.monotonic()
            assert await said(at, sent) == b""
            assert 0.2 < time.monotonic() - began < 30

        reader, writer = await asyncio.open_connection(*at)
        writer.write(b"GET /health HTTP/1.1\r\nHost: x\r\n\r\nGET /hea")  # good, and then slow
        async with asyncio.timeout(60):
            answer = await reader.read()
        writer.close()
        assert answer.startswith(b"HTTP/1.1 200")
        assert answer.count(b"HTTP/1.1") == 1


async def test_a_client_that_is_slow_with_its_body_is_told_and_cut_off() -> None:
    chosen = settings.HttpSettings(patience_s=0.3)
    async with served(bare(chosen), chosen) as at:
        head = b"POST /token/refresh HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        for framed in (b"Content-Length: 100\r\n\r\n{", b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n"):
            answer = await said(at, head + framed)
            assert answer.startswith(b"HTTP/1.1 408"), answer
            assert b'"code":"request_timeout"' in answer


async def test_a_slow_answer_is_not_taken_for_a_slow_client() -> None:
    chosen = settings.HttpSettings(patience_s=1.0)
    made = bare(chosen)

    @made.post("/test/stream")
    async def stream() -> StreamingResponse:
        async def parts() -> AsyncIterator[bytes]:
            for _ in range(4):
                await asyncio.sleep(0.4)
                yield b"part"

        return StreamingResponse(parts())

    async with served(made, chosen) as (host, port), httpx.AsyncClient(timeout=60) as client:
        answer = await client.post(f"http://{host}:{port}/test/stream", content=b"{}")
        assert answer.text == "part" * 4


@pytest.mark.parametrize(
    "sent",
    [
        b"GET /health HTTP/1.1\r\nHost: x\r\n" + b"X-Many: 1\r\n" * 20_000 + b"\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"x" * (slow_clients.HEAD_LIMIT * 2) + b"\r\n\r\n",
        b"GET /" + b"x" * (slow_clients.HEAD_LIMIT * 2),
        b"POST /token HTTP/1.1\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"POST /token HTTP/1.1\r\nHost: x\r\nContent-Length: -3\r\n\r\nabc",
        b"POST /token HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"GET /health HTTP/1.1\r\nHost: x\r\nX: a\x00b\r\n\r\n",
        b"GET /health HTTP/1.1\r\nHost : x\r\n\r\n",
        b"GET /h\xffealth HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"\x00" * 100,
    ],
)
async def test_what_is_no_request_is_refused_and_the_connection_ends(sent: bytes) -> None:
    chosen = settings.HttpSettings(head_s=1.0)
    async with served(bare(chosen), chosen) as at:
        answer = await said(at, sent)
        assert answer == b"" or re.match(rb"HTTP/1.1 4\d\d ", answer), answer
        assert (await said(at, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")).startswith(
            b"HTTP/1.1 200"
        )


async def test_a_forwarded_address_is_believed_of_a_trusted_proxy_only() -> None:
    strict = settings.LimitsSettings(requests=2)
    for trusted, status in (((), 429), (("127.0.0.1",), 503)):
        chosen = settings.HttpSettings(trusted_proxies=trusted)
        async with served(bare(chosen, strict), chosen) as (host, port), httpx.AsyncClient() as client:
            for n in range(5):
                claimed = {"X-Forwarded-For": f"10.0.0.{n}"}
                answer = await client.get(f"http://{host}:{port}/status", headers=claimed)
            assert answer.status_code == status


async def test_who_stops_reading_is_cut_off_by_the_kernel() -> None:
    with server.listen_on_port(settings.HttpSettings(port=0)) as listening:
        with socket.create_connection(listening.getsockname()), listening.accept()[0] as accepted:
            unread_ms = accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
        assert unread_ms == 60_000
