"""The two ways to a cluster answer alike."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import UUID

import pytest

from ccn import errors, settings
from ccn.cli.reach import source
from ccn.cli.reach.target import DatabaseTarget, HttpTarget

REQUEST = UUID("00000000-0000-4000-8000-000000000001")
ANSWERS: dict[str, object] = {
    "GET /api/v1/admin/requests?limit=3&ended=false": {"requests": [{"request": "r"}]},
    f"DELETE /api/v1/admin/requests/{REQUEST}?reason=a+slip&by=bob": {"state": "taken back"},
    "POST /api/v1/admin/requests": {"outcome": {"committed": True}},
    "GET /api/v1/admin/rounds?limit=2": {"rounds": [{"height": 2}, {"height": 1}]},
    "GET /api/v1/admin/rounds/2": {"height": 2},
    "GET /api/v1/admin/validators": {"nodes": [{"node": "node-1"}]},
    "GET /api/v1/admin/nodes/node-1/load": {
        "draining": True,
        "leads": False,
        "instances": 2,
        "unsealed": 0,
    },
}


class _Node(BaseHTTPRequestHandler):
    """Answers what it knows, to whoever shows the key."""

    def do_GET(self) -> None:
        """Look the request up."""
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        body = json.dumps(ANSWERS[f"{self.command} {self.path}"]).encode()
        self.send_response(200 if self.headers["X-API-Key"] == "ccn_key" else 401)
        self.end_headers()
        self.wfile.write(body)

    do_POST = do_DELETE = do_GET  # noqa: N815 - the names of the base class

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class's name
        """Be silent."""


@contextmanager
def _listening() -> Iterator[str]:
    server = HTTPServer(("127.0.0.1", 0), _Node)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_node_is_asked_for_what_the_database_would_show() -> None:
    with (
        _listening() as url,
        source.open_source(HttpTarget((url,), "ccn_key", "a test"), quiet=True) as cluster,
    ):
        assert cluster.list_requests(3, ended=False) == [{"request": "r"}]
        assert cluster.take_back(REQUEST, "bob", "a slip") == {"state": "taken back"}
        assert cluster.ask("round", {}, "ann") == {"committed": True}
        assert [block["height"] for block in cluster.list_rounds(2)] == [2, 1]
        assert cluster.load_round(2) == {"height": 2}
        assert cluster.list_validators() == [{"node": "node-1"}]
        load = cluster.load_of_node("node-1")
        assert (load.draining, load.leads, load.instances, load.unsealed) == (True, False, 2, 0)
        assert not load.empty


def test_a_database_is_asked_as_often_as_a_command_likes(database: settings.DatabaseSettings) -> None:
    at = DatabaseTarget(database.url.get_secret_value(), "a test")
    with source.open_source(at, quiet=True) as cluster:
        assert cluster.list_rounds(5) == []
        with pytest.raises(errors.NotFound, match="not founded yet"):
            cluster.list_validators()
        with pytest.raises(errors.NotFound):
            cluster.load_round(7)
        with pytest.raises(errors.Unanswered):
            cluster.ask("round", {}, "ann", patience_s=0.1)
        (waiting,) = cluster.list_requests(5, ended=False)
        assert (waiting["command"], waiting["state"]) == ("round", "waiting")
        with pytest.raises(errors.NotFound, match="no node node-1"):
            cluster.load_of_node("node-1")
        cluster.take_back(UUID(str(waiting["request"])), "bob", "a slip")
        (back,) = cluster.list_requests(5, ended=False)
        assert back["state"] == "taken back"
