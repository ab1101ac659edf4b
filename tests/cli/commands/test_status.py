"""The page of `ccn status`: who is here with which program, and what that means."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

NODE = {
    "node": "node-1", "votes": True, "here": True, "draining": False, "address": "http://127.0.0.1:7700",
    "since": "2020-01-01T10:00:00Z", "version": "0.1.0", "protocol": [1, 2], "outside": False,
}  # fmt: skip
STATUS: dict[str, Any] = {
    "node": "node-1", "nodes": [], "leader": "node-1", "term": 3, "height": 4, "last_round": None,
    "quorum": 2, "unsealed": 0, "database_mode": "plain", "stopped": "", "protocol": 1,
}  # fmt: skip


class _Door(BaseHTTPRequestHandler):
    """Answers with the status that its server was given."""

    def do_GET(self) -> None:
        """Any path is the status."""
        body = json.dumps(self.server.told).encode()  # type: ignore[attr-defined]
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def door() -> Iterator[ThreadingHTTPServer]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def _show(door: ThreadingHTTPServer, **told: object) -> list[list[str]]:
    door.told = STATUS | told  # type: ignore[attr-defined]
    command = [sys.executable, "-m", "ccn", "status", "--endpoint", f"http://127.0.0.1:{door.server_port}"]
    shown = subprocess.run(
        command,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )
    assert shown.returncode == 0, shown.stderr
    return [line.split() for line in shown.stdout.splitlines()]


def test_each_node_has_its_version_and_what_it_speaks(door: ThreadingHTTPServer) -> None:
    old = NODE | {"node": "node-2", "version": "", "protocol": [1, 1], "outside": True, "address": ""}
    away = NODE | {"node": "node-3", "here": False, "version": "", "protocol": None, "address": ""}
    lines = _show(door, nodes=[NODE, old, away], protocol=2)
    assert lines[1][-3:] == ["0.1.0", "1-2", "http://127.0.0.1:7700"]
    assert lines[1][:3] == ["node-1", "(leader)", "here"]
    assert lines[2] == ["node-2", "here,", "takes", "no", "part", "yes", "2020-01-01", "10:00:00", "-", "1"]
    assert ["protocol", "2"] in lines


def test_that_all_voters_speak_a_higher_protocol_is_said(door: ThreadingHTTPServer) -> None:
    lines = _show(door, nodes=[NODE])
    assert ["protocol", "1,", "all", "voters", "speak", "2"] in lines


def test_a_node_from_before_there_were_protocols_can_be_asked(door: ThreadingHTTPServer) -> None:
    node = {name: value for name, value in NODE.items() if name not in {"version", "protocol", "outside"}}
    lines = _show(door, nodes=[node], protocol=None)
    assert lines[1][-3:] == ["-", "-", "http://127.0.0.1:7700"]
    assert not [line for line in lines if line[:1] == ["protocol"]]
