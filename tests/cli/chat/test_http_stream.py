"""One request and its answer as it comes: whole, in pieces, broken, silent, or not from a node at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from ccn import errors
from ccn.cli.chat import http_stream
from ccn.cli.chat.http_stream import ConnectionBroken, HttpRequest

PROBLEM = b'{"code": "turn_running", "title": "Conflict", "detail": "wait for it"}'


class Door:
    """Answers every request with the same bytes, and keeps what it was asked."""

    def __init__(self, answer: bytes) -> None:
        self.asked, self.url, self._answer = b"", "", answer

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[16:]) for line in head.split(b"\r\n") if line.startswith(b"Content-Length: ")), 0
        )
        self.asked = head + await reader.readexactly(length)
        writer.write(self._answer)
        writer.close()


@asynccontextmanager
async def open_door(answer: bytes) -> AsyncIterator[Door]:
    door = Door(answer)
    server = await asyncio.start_server(door.serve, "127.0.0.1", 0)
    door.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield door


async def read_answer(answer: bytes) -> tuple[int, bytes]:
    async with (
        open_door(answer) as door,
        http_stream.open_request(door.url, HttpRequest("GET", "/x"), "") as got,
    ):
        return got.status, await got.read_whole()


@pytest.mark.parametrize(
    "framed",
    [
        b"Content-Length: 5\r\n\r\nhello",
        b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n",
    ],
)
async def test_a_body_is_read_to_its_end_however_it_is_framed(framed: bytes) -> None:
    assert await read_answer(b"HTTP/1.1 200 OK\r\n" + framed) == (200, b"hello")


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nContent-Le", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nhello", "in the middle"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel", "in the middle"),
        (b"SSH-2.0-OpenSSH_9.9\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
    ],
)
async def test_an_answer_that_is_not_whole_is_a_broken_connection(answer: bytes, why: str) -> None:
    with pytest.raises(ConnectionBroken, match=why):
        await read_answer(answer)


async def test_nobody_at_the_address_is_a_broken_connection() -> None:
    async with open_door(b"") as door:
        url = door.url
    with pytest.raises(ConnectionBroken, match="refused"):
        async with http_stream.open_request(url, HttpRequest("GET", "/"), ""):
            pass


async def test_names_of_headers_are_found_in_lower_case() -> None:
    async with (
        open_door(b"HTTP/1.1 429 x\r\nReTrY-aFtEr: 7\r\nContent-Length: 0\r\n\r\n") as door,
        http_stream.open_request(door.url, HttpRequest("GET", "/x"), "") as got,
    ):
        assert (got.status, got.headers["retry-after"]) == (429, "7")


async def test_a_request_carries_its_key_its_body_and_the_prefix_of_the_address() -> None:
    async with open_door(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as door:
        asking = HttpRequest("POST", "/api", {"said": "ä"}, {"X-CCN-Reason": "weil ä"})
        async with http_stream.open_request(f"{door.url}/prefix/", asking, "ccn_k"):
            pass
    head, _, body = door.asked.decode().partition("\r\n\r\n")
    lines = head.split("\r\n")
    assert lines[0] == "POST /prefix/api HTTP/1.1"
    assert {"Authorization: Bearer ccn_k", "X-CCN-Reason: weil ä", f"Content-Length: {len(body)}"} <= {
        *lines
    }
    assert body == '{"said": "\\u00e4"}'


async def test_the_password_in_an_address_is_not_sent_as_its_host() -> None:
    async with open_door(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as door:
        named = door.url.replace("http://", "http://somebody:secret@")
        async with http_stream.open_request(named, HttpRequest("GET", "/"), ""):
            pass
    assert b"secret" not in door.asked
    assert b"Authorization" not in door.asked


@pytest.mark.parametrize(
    "url", ["", "127.0.0.1:8080", "ftp://127.0.0.1", "http://", "http://[::1", "https:///x"]
)
async def test_what_is_no_address_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(errors.InputInvalid, match="is not an http address"):
        async with http_stream.open_request(url, HttpRequest("GET", "/"), ""):
            pass


async def test_a_port_that_cannot_be_is_a_broken_connection() -> None:
    with pytest.raises(ConnectionBroken):
        async with http_stream.open_request("http://127.0.0.1:99999", HttpRequest("GET", "/"), ""):
            pass


@pytest.mark.parametrize(
    ("asking", "key"),
    [
        (HttpRequest("GET", "/x"), "key\r\nX-Injected: 1"),
        (HttpRequest("GET", "/x"), "clé"),
        (HttpRequest("GET", "/x y\n"), ""),
        (HttpRequest("GET", "/ä"), ""),
        (HttpRequest("GET", "/", headers={"X-CCN-Reason": "one\r\nX-Injected: 1"}), ""),
        (HttpRequest("GET", "/", headers={"X-Other": "ä"}), ""),
    ],
)
async def test_nothing_can_add_a_line_to_a_request(asking: HttpRequest, key: str) -> None:
    async with open_door(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n") as door:
        with pytest.raises(errors.InputInvalid, match="no request can carry"):
            async with http_stream.open_request(door.url, asking, key):
                pass
    assert b"Injected" not in door.asked


async def test_an_authority_that_is_no_file_is_told_before_anything_is_sent(tmp_path: Path) -> None:
    with pytest.raises(errors.CCNError, match="nowhere"):
        async with http_stream.open_request(
            "https://127.0.0.1:1", HttpRequest("GET", "/"), "", tmp_path / "nowhere.pem"
        ):
            pass


def test_a_problem_is_raised_as_the_error_it_stands_for() -> None:
    failed = http_stream.error_from_answer(409, {}, PROBLEM)
    assert type(failed) is errors.TurnRunning
    assert str(failed) == "wait for it"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (401, PROBLEM, errors.Forbidden),
        (503, b"<html>busy</html>", errors.Unavailable),
        (500, b"", errors.CCNError),
        (502, b"[]", errors.CCNError),
        (404, b'"text"', errors.CCNError),
        (404, b'{"code": null}', errors.CCNError),
        (404, b"\xff\xfe", errors.CCNError),
        (503, b'{"code": "no_such_code", "title": "x"}', errors.Unavailable),
        (500, b"[" * 100_000, errors.CCNError),
    ],
)
def test_an_answer_that_is_no_problem_of_ours_is_an_error_all_the_same(
    status: int, body: bytes, kind: type[errors.CCNError]
) -> None:
    assert type(http_stream.error_from_answer(status, {}, body)) is kind


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [("7", 7.0), (None, 1.0), ("Wed, 21 Oct 2026 07:28:00 GMT", 1.0), ("", 1.0), ("soon", 1.0)],
)
def test_a_wait_is_read_from_the_header_or_is_a_second(header: str | None, wait_s: float) -> None:
    body = b'{"code": "too_many_requests", "title": "Too Many Requests"}'
    headers = {} if header is None else {"retry-after": header}
    failed = http_stream.error_from_answer(429, headers, body)
    assert isinstance(failed, errors.TooManyRequests)
    assert failed.retry_after_s == wait_s
