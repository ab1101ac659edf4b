"""What a node at an address answers becomes an object or an error of ours, whoever else answers there."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from ccn import errors
from ccn.cli.reach import remote
from ccn.cli.reach.target import HttpTarget


@contextmanager
def answering(answer: bytes) -> Iterator[HttpTarget]:
    """A port that takes one request and answers with these bytes."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_one() -> None:
            connection, _ = listening.accept()
            with connection:
                connection.recv(65_536)
                connection.sendall(answer)
                connection.shutdown(socket.SHUT_WR)
                while connection.recv(65_536):
                    continue

        thread = threading.Thread(target=answer_one)
        thread.start()
        yield target(f"http://127.0.0.1:{listening.getsockname()[1]}")
        thread.join(5)


def target(url: str, key: str = "") -> HttpTarget:
    return HttpTarget((url,), key, "here")


def respond(status: int, body: bytes, length: int | None = None) -> bytes:
    return b"HTTP/1.1 %d x\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        len(body) if length is None else length,
        body,
    )


def ask(answer: bytes) -> dict[str, object]:
    with answering(answer) as at:
        return remote.get(at, "/x", timeout_s=5)


def test_an_object_is_returned_as_it_is() -> None:
    assert ask(respond(200, b'{"a": [1]}')) == {"a": [1]}


@pytest.mark.parametrize(
    "answer",
    [
        respond(200, b"[]"),
        respond(200, b"<html></html>"),
        respond(200, b"\xff"),
        respond(200, b""),
        respond(200, b'{"a": 1}', length=100),
        respond(200, b"[" * 100_000),
        b"SSH-2.0-OpenSSH_9.9\r\n",
    ],
    ids=["list", "page", "bytes", "nothing", "half", "depth", "ssh"],
)
def test_what_answers_with_anything_else_is_no_node(answer: bytes) -> None:
    with pytest.raises(errors.Unavailable, match="no node"):
        ask(answer)


def test_a_connection_that_ends_without_an_answer_says_so() -> None:
    with pytest.raises(errors.Unavailable, match=r"ended the connection$"):
        ask(b"")


@pytest.mark.parametrize(
    ("status", "problem", "kind"),
    [
        (404, {"code": "not_found", "title": "x", "detail": "gone"}, errors.NotFound),
        (409, {"code": "turn_running", "title": "x", "detail": "gone"}, errors.TurnRunning),
        (429, {"code": "too_many_requests", "title": "x", "detail": "gone"}, errors.TooManyRequests),
        (503, {"code": "overloaded", "title": "gone"}, errors.Overloaded),
        (401, {"code": "credential_invalid", "title": "x", "detail": "gone"}, errors.Forbidden),
        (403, {"code": "forbidden", "title": "gone"}, errors.Forbidden),
        (404, {"code": "of_a_later_version", "title": "gone"}, errors.NotFound),
        (409, {"code": "of_a_later_version", "title": "gone"}, errors.Conflict),
        (418, {"title": "gone"}, errors.InputInvalid),
        (500, {"title": "gone"}, errors.Unavailable),
    ],
)
def test_a_problem_is_raised_as_the_error_it_stands_for(
    status: int, problem: dict[str, str], kind: type[errors.CCNError]
) -> None:
    with pytest.raises(kind, match=r"^gone") as raised:
        ask(respond(status, json.dumps(problem).encode()))
    assert type(raised.value) is kind


@pytest.mark.parametrize(
    "body", [b"", b"<html></html>", b"[]", b'"x"', b"{}", b"\xff", b"[" * 100_000], ids=range(7)
)
def test_a_refusal_without_a_problem_tells_its_status(body: bytes) -> None:
    with pytest.raises(errors.Unavailable, match="answered 502"):
        ask(respond(502, body))


def test_a_refusal_that_ends_in_the_middle_tells_its_status() -> None:
    with pytest.raises(errors.Unavailable, match="answered 503"):
        ask(respond(503, b'{"code": ', length=500))


@pytest.mark.parametrize("url", ["127.0.0.1:80", "file:///etc/passwd", "", "HTTP//x"])
def test_what_is_no_http_address_is_never_opened(url: str) -> None:
    with pytest.raises(errors.InputInvalid, match="is not an address"):
        remote.get(target(url), "/x")


@pytest.mark.parametrize(
    "url", ["http://127.0.0.1:99999", "http://127.0.0.1:port", "http://[::1", "http://"]
)
def test_an_address_that_cannot_be_is_told_as_one(url: str) -> None:
    with pytest.raises(errors.CCNError, match="address"):
        remote.get(target(url), "/x")


@pytest.mark.parametrize("key", ["two\nlines", "an emoji \N{GRINNING FACE}"])
def test_a_key_that_no_header_can_carry_is_not_blamed_on_the_node(key: str) -> None:
    with pytest.raises(errors.InputInvalid, match="key"):
        remote.get(target("http://127.0.0.1:9", key), "/x")


@pytest.mark.parametrize(
    ("send", "begins"),
    [
        (lambda at: remote.get(at, "/a?b=c"), b"GET /a?b=c HTTP/1.1"),
        (lambda at: remote.delete(at, "/a"), b"DELETE /a HTTP/1.1"),
        (lambda at: remote.post(at, "/a", {"said": "ä"}), b"POST /a HTTP/1.1"),
    ],
)
def test_a_request_goes_to_its_path_with_the_key(
    send: Callable[[HttpTarget], dict[str, object]], begins: bytes
) -> None:
    asked = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def answer_one() -> None:
            connection, _ = listening.accept()
            with connection:
                asked.append(connection.recv(65_536))
                connection.sendall(respond(200, b"{}"))

        thread = threading.Thread(target=answer_one)
        thread.start()
        assert send(target(f"http://127.0.0.1:{listening.getsockname()[1]}/", "ccn_k")) == {}
        thread.join(5)
    assert asked[0].startswith(begins)
    assert b"\r\nX-Api-Key: ccn_k\r\n" in asked[0]
