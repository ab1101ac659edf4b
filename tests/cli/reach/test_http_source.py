"""A cluster over the HTTP API of a node: each call is one request with the key."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from uuid import UUID

import pytest

from ccn import errors
from ccn.cli.reach.http_source import HttpSource
from ccn.cli.reach.target import HttpTarget

REQUEST = UUID("00000000-0000-4000-8000-000000000001")
ANSWERS: dict[str, object] = {
    "GET /api/v1/admin/requests?limit=3&ended=false": {"requests": [{"request": "r"}]},
    f"DELETE /api/v1/admin/requests/{REQUEST}?reason=a+slip&by=bob": {"state": "taken back"},
    "POST /api/v1/admin/requests": {"outcome": {"committed": True}},
    "GET /api/v1/admin/rounds?limit=2": {"rounds": [{"height": 2}, {"height": 1}]},
    "GET /api/v1/admin/rounds/2": {"height": 2},
    "GET /api/v1/admin/validators": {"nodes": [{"node": "node-1"}]},
    "GET /api/v1/characters": {"characters": [{"id": "ada", "name": "Ada", "plate_version": 3}]},
    "GET /api/v1/admin/instances?limit=200": {
        "instances": [{"instance_id": str(UUID(int=1)), "session_id": str(UUID(int=2)), "node": "node-1"}],
        "next": "n1",
    },
    "GET /api/v1/admin/instances?limit=200&cursor=n1": {
        "instances": [{"instance_id": str(UUID(int=3)), "session_id": str(UUID(int=4)), "node": "node-2"}],
        "next": None,
    },
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
    with _listening() as url:
        cluster = HttpSource(HttpTarget((url,), "ccn_key", "a test"))
        assert cluster.list_requests(3, ended=False) == [{"request": "r"}]
        assert cluster.take_back(REQUEST, "bob", "a slip") == {"state": "taken back"}
        assert cluster.ask("round", {}, "ann") == {"committed": True}
        assert [block["height"] for block in cluster.list_rounds(2)] == [2, 1]
        assert cluster.load_round(2) == {"height": 2}
        assert cluster.list_validators() == [{"node": "node-1"}]
        load = cluster.load_of_node("node-1")
        assert (load.draining, load.leads, load.instances, load.unsealed) == (True, False, 2, 0)
        assert not load.empty


def test_a_node_tells_the_characters_and_not_when_their_plates_were_imported() -> None:
    with _listening() as url:
        (entry,) = HttpSource(HttpTarget((url,), "ccn_key", "a test")).list_plates()
    assert entry == {"character": "ada", "name": "Ada", "version": 3, "at": None, "by": None}


def test_the_host_of_an_instance_is_looked_for_on_every_page() -> None:
    with _listening() as url:
        cluster = HttpSource(HttpTarget((url,), "ccn_key", "a test"))
        assert cluster.find_host(UUID(int=1)) == (UUID(int=1), "node-1")
        assert cluster.find_host(UUID(int=4)) == (UUID(int=3), "node-2")
        with pytest.raises(errors.NotFound, match="and no conversation in which one lives"):
            cluster.find_host(UUID(int=5))


def test_a_node_that_refuses_the_key_says_which_option_gives_one() -> None:
    with (
        _listening() as url,
        pytest.raises(errors.Forbidden, match="--api-key-file or CCN_CLIENT_API_KEY"),
    ):
        HttpSource(HttpTarget((url,), "", "a test")).list_validators()
