"""What probes ask: quick, in one line, with the right exit code, and without the rest of CCN."""

from __future__ import annotations

import socket
import ssl
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from ccn import health
from ccn.gateway.http import schemas
from tests.support.certificates import link_authority

ALIVE = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
TRUSTED_MODULES = {"ccn", "ccn.__main__", "ccn.health"}
NOT_READY = schemas.ReadyAnswer(
    ready=False,
    node="node-1",
    pid=1,
    checks=(
        schemas.ReadyCheck(name="database", passes=False, needed=True, reason="it is away"),
        schemas.ReadyCheck(name="redis", passes=False, needed=False, reason="not looked at"),
        schemas.ReadyCheck(name="record", passes=True, needed=True, reason=""),
    ),
)


@contextmanager
def answering(answer: bytes, tls: ssl.SSLContext | None = None) -> Iterator[tuple[int, list[bytes]]]:
    """A door that gives the same answer to everybody; its port, and what it was asked."""
    asked = list[bytes]()

    def serve() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            with connection, suppress(OSError):  # a client that TLS refused
                line = tls.wrap_socket(connection, server_side=True) if tls else connection
                with line:
                    asked.append(line.recv(4_096))
                    line.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield listening.getsockname()[1], asked
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(10)


def ask(port: int, variables: Mapping[str, str] | None = None, *, ready: bool = False) -> tuple[int, str]:
    return health.ask_door(ready, {"CCN_HTTP_PORT": str(port), **(variables or {})})


def test_a_door_that_answers_is_healthy() -> None:
    with answering(ALIVE) as (port, asked):
        assert ask(port) == (health.HEALTHY, "healthy")
        assert ask(port, ready=True) == (health.HEALTHY, "ready")
    assert [each.split()[1] for each in asked] == [b"/health", b"/ready"]


def test_a_node_that_is_not_ready_says_which_needed_checks_fail() -> None:
    body = NOT_READY.model_dump_json().encode()
    answer = (
        b"HTTP/1.1 503 Service Unavailable\r\ntransfer-encoding: chunked\r\n\r\n1\r\n"
        + body
        + b"\r\n0\r\n\r\n"
    )
    with answering(answer) as (port, _):
        assert ask(port, ready=True) == (health.UNWELL, "not ready: database: it is away")
        assert ask(port) == (health.UNWELL, "the door answered 503")


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 503 No\r\n\r\n{broken", b"SSH-2.0\r\n"])
def test_an_answer_that_makes_no_sense_is_unwell(answer: bytes) -> None:
    with answering(answer) as (port, _):
        assert ask(port, ready=True)[0] == health.UNWELL


def test_a_door_that_nobody_opened_is_unwell_and_named() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        assert ask(port) == (
            health.UNWELL,
            f"the HTTP door at port {port} does not answer: Connection refused",
        )


def test_a_door_with_tls_is_asked_by_tls(tmp_path: Path) -> None:
    authority = link_authority.LinkAuthority(tmp_path)
    pair = authority.issue_server()
    with answering(ALIVE, link_authority.serving_context(pair)) as (port, _):
        assert ask(port, name_pair(pair), ready=True) == (health.HEALTHY, "ready")
        assert ask(port)[0] == health.UNWELL


def test_a_door_that_wants_certificates_of_clients_is_shown_its_own(tmp_path: Path) -> None:
    authority = link_authority.LinkAuthority(tmp_path)
    asks = {"CCN_HTTP_TLS_CA": str(authority.ca)}
    both_ways, server = authority.issue_member(), authority.issue_server()
    with answering(ALIVE, link_authority.serving_context(both_ways, authority.ca)) as (port, _):
        assert ask(port, asks | name_pair(both_ways)) == (health.HEALTHY, "healthy")
        assert ask(port, asks | name_pair(server)) == (
            health.HEALTHY,
            "healthy, and wants certificates of clients",
        )
        assert ask(port, asks | name_pair(server), ready=True)[0] == health.UNWELL


def test_the_named_file_counts_where_no_variable_does(tmp_path: Path) -> None:
    file = tmp_path / "ccn.toml"
    with answering(ALIVE) as (port, _):
        file.write_text(f'[http]\nhost = "0.0.0.0"\nport = {port}\n')
        assert health.ask_door(False, {"CCN_SETTINGS": str(file)}) == (health.HEALTHY, "healthy")
        file.write_text("[http\n")
        code, line = health.ask_door(False, {"CCN_SETTINGS": str(file)})
    assert (code, line.split(":")[0]) == (health.MISUSED, "the settings of the HTTP door cannot be read")


@pytest.mark.parametrize("port", ["0", "none"])
def test_a_port_that_is_none_is_a_misuse(port: str) -> None:
    assert health.ask_door(False, {"CCN_HTTP_PORT": port})[0] == health.MISUSED


def test_the_command_imports_nothing_else_of_ccn_and_no_library() -> None:
    with answering(ALIVE) as (port, _):
        started = run_command("-X", "importtime", "-m", "ccn", "node", "health", port=port)
    assert (started.returncode, started.stdout) == (0, "healthy\n")
    imported = {line.rpartition("|")[2].strip() for line in started.stderr.splitlines()}
    assert {name for name in imported if name.split(".")[0] == "ccn"} <= TRUSTED_MODULES
    libraries = {name.split(".")[0] for name in imported} - set(sys.stdlib_module_names)
    assert not libraries & {"typer", "rich", "pydantic", "structlog", "grpc", "numpy", "httpx2", "orjson"}
    assert not imported & {"argparse", "asyncio", "http.client", "json", "ssl", "urllib.request"}


def test_the_command_refuses_words_it_does_not_know() -> None:
    refused = run_command("-m", "ccn", "node", "health", "--now", port=1)
    assert (refused.returncode, refused.stderr.strip()) == (health.MISUSED, health.USAGE)


def name_pair(pair: link_authority.Pair) -> dict[str, str]:
    return {"CCN_HTTP_TLS_CERTIFICATE": str(pair[0]), "CCN_HTTP_TLS_KEY": str(pair[1])}


def run_command(*arguments: str, port: int) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        env={"CCN_HTTP_PORT": str(port)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
