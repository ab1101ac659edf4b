"""Streams outlive the node behind them: clients come back to another one, and nothing is lost or doubled.

Three node processes and a stand-in that speaks slowly. Each test kills the host of a reply with SIGKILL
while a client reads it, at the host's own door or at another's.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed

from tests.support import processes
from tests.support.cluster.up import Up, eventually, reachable_folder, ready, started
from tests.support.gateway import http_door

QUICK = {
    "CCN_ETCD_LEASE_TTL_S": "4",
    "CCN_INSTANCES_HEARTBEAT_S": "0.3",
    "CCN_INSTANCES_ADOPT_AFTER_S": "9",
    "CCN_LIMITS_REQUESTS": "1000000",
    "CCN_CLAUDE_API_KEY": "any",
}
ASKS = "Tell me all about lighthouses, their keepers and the sea."
SHOWN_FIRST = 3
BEGUN = {"match": "lighthouses", "times": 1, "after": 4 * SHOWN_FIRST, "end": "stall"}
"""The first reply does not come to its end before its host is killed, however late that is."""


@dataclass
class Told:
    """What a client has of a reply: the ids it saw, and the text it shows."""

    ids: list[str] = field(default_factory=list)
    text: str = ""
    ended: str = ""
    restarts: int = 0

    def take(self, name: str, ident: str, words: str) -> None:
        if ident:
            self.ids.append(ident)
        if name == "restart":
            self.text, self.restarts = "", self.restarts + 1
        self.text += words
        if name in {"done", "response", "error", "cancelled"}:
            self.ended = name


class Cluster:
    """A local cluster as its clients see it."""

    def __init__(self, running: Up, told: dict[str, Any], model: str) -> None:
        self._running, self._model = running, model
        self.key = told["admin"]["api_key"]
        self.http = {node["id"]: node["http"] for node in told["nodes"]}

    def client(self, node: str) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.key}"}
        return httpx.AsyncClient(base_url=self.http[node], headers=headers, timeout=30)

    def kill(self, node: str) -> None:
        os.kill(self._running.node(node), signal.SIGKILL)

    async def begun(self) -> tuple[str, str, str]:
        """A conversation, the node that hosts it, and another node."""
        eventually(lambda: all(ready({"http": url}) for url in self.http.values()))
        async with self.client("node-1") as client:
            answer = await client.post("/api/v1/conversation/start", json={"character": "wren"})
            assert answer.status_code == 201, answer.text
            told = answer.json()
            (await client.post(f"{self._model}/stand-in/faults", json=BEGUN)).raise_for_status()
        host = told["instance"]["node"]
        return told["session_id"], host, next(node for node in self.http if node != host)

    async def holds(self, session: str, node: str, told: Told) -> None:
        """What the client shows is what was committed, and it was committed once."""
        async with self.client(node) as client:
            said = (await client.get(f"/api/v1/conversation/{session}/messages")).json()["messages"]
        assert [each["role"] for each in said] == ["user", "assistant"]
        assert told.text == said[1]["content"]
        assert told.ended in {"done", "response"}
        places = [tuple(map(int, ident.rpartition(":")[2].split("-"))) for ident in told.ids]
        assert places == sorted(set(places))


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    argv = (sys.executable, "-m", "ccn.claude.stand_in", "--json")
    with processes.start(argv, stdout=subprocess.PIPE) as model:
        assert model.stdout is not None
        url = json.loads(model.stdout.readline())["url"]
        environ = QUICK | {"CCN_CLAUDE_BASE_URL": url}
        with (
            reachable_folder() as folder,
            started(folder, "--ephemeral", "--json", "--port", "0", environ=environ) as running,
        ):
            yield Cluster(running, running.ready(), url)
        model.terminate()


@asynccontextmanager
async def streamed(
    client: httpx.AsyncClient, session: str, last: str = ""
) -> AsyncIterator[AsyncIterator[http_door.Event]]:
    path = f"/api/v1/conversation/{session}/messages"
    asked: dict[str, Any] = {"headers": {"Last-Event-ID": last}} if last else {"json": {"content": ASKS}}
    async with client.stream("POST", path, **asked) as answer:
        assert answer.status_code == 200, await answer.aread()
        yield http_door.events(answer)


@pytest.mark.timeout(400)
async def test_server_sent_events_go_on_at_another_node_when_the_host_dies(cluster: Cluster) -> None:
    session, host, other = await cluster.begun()
    told = Told()
    with suppress(httpx.TransportError):
        async with cluster.client(host) as client, streamed(client, session) as events:
            async for each in events:
                told.take(each.name, each.id, each.data.get("text", ""))
                if len(told.ids) == SHOWN_FIRST + 1:
                    cluster.kill(host)
    assert not told.ended
    async with cluster.client(other) as client, streamed(client, session, told.ids[-1]) as events:
        async for each in events:
            told.take(each.name, each.id, each.data.get("text", ""))
    assert told.restarts == 1
    await cluster.holds(session, other, told)


@pytest.mark.timeout(400)
async def test_a_stream_at_another_door_goes_on_by_itself_when_the_host_dies(cluster: Cluster) -> None:
    session, host, other = await cluster.begun()
    told = Told()
    async with cluster.client(other) as client, streamed(client, session) as events:
        async for each in events:
            told.take(each.name, each.id, each.data.get("text", ""))
            if len(told.ids) == SHOWN_FIRST + 1:
                cluster.kill(host)
    assert told.restarts == 1
    await cluster.holds(session, other, told)


@pytest.mark.timeout(400)
async def test_a_websocket_goes_on_at_another_node_when_the_host_dies(cluster: Cluster) -> None:
    session, host, other = await cluster.begun()
    told = Told()

    def opened(node: str) -> connect:
        url = f"{cluster.http[node].replace('http', 'ws')}/ws/conversation/{session}"
        return connect(url, subprotocols=["ccn.v1", f"ccn.bearer.{cluster.key}"], proxy=None)  # type: ignore[list-item]

    async def read(node: str, sends: dict[str, object]) -> None:
        async with opened(node) as socket:
            await socket.send(json.dumps(sends))
            while not told.ended:
                frame = json.loads(await socket.recv())
                told.take(frame["type"], frame.get("id", ""), frame.get("text", ""))
                if node == host and len(told.ids) == SHOWN_FIRST + 1:
                    cluster.kill(host)

    with suppress(ConnectionClosed):
        await read(host, {"type": "message", "content": ASKS})
    assert not told.ended
    await read(other, {"type": "resume", "after": told.ids[-1]})
    assert told.restarts == 1
    await cluster.holds(session, other, told)
