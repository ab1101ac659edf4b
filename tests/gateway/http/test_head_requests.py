"""HEAD is GET without its body, once, however the application sends one."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from ccn.gateway.http.head_requests import HeadRequests

START = {"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"5")]}
END = {"type": "http.response.body", "body": b"", "more_body": False}


def body(data: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def never_receive() -> Message:
    raise AssertionError("nothing is to be received")


async def send_through(scope: Scope, *messages: Message) -> tuple[Scope, list[Message]]:
    """What the application saw, and what came of what it sent."""
    seen, sent = list[Scope](), list[Message]()

    async def answer(scope: Scope, _receive: Receive, send: Send) -> None:
        seen.append(scope)
        for message in messages:
            await send(message)

    async def keep(message: Message) -> None:
        sent.append(message)

    await HeadRequests(answer)(scope, never_receive, keep)
    return seen[0], sent


@pytest.mark.parametrize(
    "bodies",
    [
        (body(b"hello"),),
        (body(b""),),
        (body(b"he", more=True), body(b"llo")),
        (body(b"event", more=True), body(b"event", more=True), body(b"event", more=True)),
    ],
)
async def test_a_head_is_sent_and_ended_once_and_no_byte_of_a_body(bodies: tuple[Message, ...]) -> None:
    asked = {"type": "http", "method": "HEAD", "path": "/x"}
    seen, sent = await send_through(asked, START, *bodies)
    assert seen == {**asked, "method": "GET"}
    assert sent == [START, END]
    assert asked["method"] == "HEAD"


@pytest.mark.parametrize("method", ["GET", "POST", "head", "OPTIONS"])
async def test_any_other_request_is_passed_on_as_it_is(method: str) -> None:
    asked = {"type": "http", "method": method}
    seen, sent = await send_through(asked, START, body(b"hello"))
    assert seen is asked
    assert sent == [START, body(b"hello")]


@pytest.mark.parametrize("kind", ["websocket", "lifespan"])
async def test_what_has_no_method_is_passed_on_as_it_is(kind: str) -> None:
    asked = {"type": kind}
    seen, sent = await send_through(asked, {"type": f"{kind}.x"})
    assert seen is asked
    assert sent == [{"type": f"{kind}.x"}]
