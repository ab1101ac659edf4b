"""Gateways before a real cluster: what they let through, what they may not, and what losing them costs.

Three nodes and three gateways, each a process. With CCN_GATEWAY_STREAMS=100 a hundred streams are open when
the gateways die; without it a few.
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
from collections.abc import Iterator
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from websockets.asyncio.client import connect

from tests.support.cluster import resuming
from tests.support.cluster.resuming import Reading
from tests.support.cluster.up import Up, eventually, reachable_folder, ready, started

pytestmark = [pytest.mark.timeout(900), pytest.mark.asyncio(loop_scope="module")]

STREAMS = int(os.environ.get("CCN_GATEWAY_STREAMS", "9"))
PLENTY = {
    f"CCN_LIMITS_{name}": "100000"
    for name in ("REQUESTS", "SIGN_INS", "CONVERSATIONS", "STREAMS", "INSTANCES")
}
SLOWLY = {
    "CCN_CLAUDE_STAND_IN_WORDS_S": "25" if STREAMS < 50 else "8",
    "CCN_LIMITS_CALLS_AT_ONCE": "100",
    "CCN_LIMITS_SPAWNS_AT_ONCE": "20",
}


class Cluster:
    """Three nodes and three gateways, and what an admin is told."""

    def __init__(self, running: Up) -> None:
        self.running, self.told = running, running.ready()
        self.key: str = self.told["admin"]["api_key"]
        self.gateways: list[str] = [each["http"] for each in self.told["gateways"]]
        self.nodes: list[str] = [each["http"] for each in self.told["nodes"]]

    def client(self, door: str, key: str | None = None) -> httpx.AsyncClient:
        headers = {"Authorization": f"Bearer {self.key if key is None else key}"}
        return httpx.AsyncClient(base_url=door, headers=headers, timeout=120)

    async def begin(self, door: str) -> str:
        async with self.client(door) as client:
            answer = await client.post("/api/v1/conversation/start", json={"character": "wren"})
            assert answer.status_code == 201, answer.text
            return str(answer.json()["session_id"])

    def kill_gateways(self) -> None:
        for each in self.told["gateways"]:
            os.kill(self.running.node(each["id"]), signal.SIGKILL)


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    options = ("--ephemeral", "--json", "--port", "0", "--gateways", "3")
    with reachable_folder() as folder, started(folder, *options, environ=PLENTY | SLOWLY) as running:
        yield Cluster(running)


async def test_no_word_is_lost_or_told_twice_when_all_gateways_die_under_open_streams(
    cluster: Cluster,
) -> None:
    """Some go on at a gateway that came back, and some at a node."""
    doors, count = [*cluster.gateways, *cluster.nodes], len(cluster.gateways)
    gate = asyncio.Semaphore(6)

    async def begin_one(number: int) -> Reading:
        async with gate:
            here = await cluster.begin(cluster.gateways[number % count])
        return Reading(here, f"Tell me about lighthouse number {number}, please.")

    readings = await asyncio.gather(*map(begin_one, range(STREAMS)))
    speaking, all_speak = set[str](), asyncio.Event()

    def note_begun(reading: Reading) -> None:
        speaking.add(reading.conversation)
        if len(speaking) == len(readings):
            all_speak.set()

    async with asyncio.TaskGroup() as clients:
        for number, reading in enumerate(readings):
            order = doors[number % count :] + doors[: number % count]
            clients.create_task(
                resuming.read_to_end(reading, order, cluster.key, lambda each=reading: note_begun(each))  # type: ignore[misc]
            )
        await asyncio.wait_for(all_speak.wait(), resuming.PATIENCE_S)
        open_then = [each for each in readings if not each.ended]
        cluster.kill_gateways()
    broken = [each for each in open_then if each.broken]
    assert len(broken) >= STREAMS // 2, f"{len(open_then)} were open and {len(broken)} broke"
    async with cluster.client(cluster.nodes[0]) as client:
        for each in readings:
            answer = await client.get(f"/api/v1/conversation/{each.conversation}/messages")
            said = [(told["role"], told["content"]) for told in answer.json()["messages"]]
            assert said == [("user", each.words), ("assistant", each.text)], each
            assert each.in_order
            assert (each.ended, each.restarts) == ("done", 0), "its host went on all the time"
    eventually(lambda: all(ready({"http": url}) for url in cluster.gateways))


async def test_a_gateway_has_no_folder_and_no_key_that_signs(cluster: Cluster) -> None:
    """What lies there for it, and what it holds open: certificates to read, and nothing to write."""
    (folder,) = cluster.running.folder.rglob("gateways")
    links = ("database", "door", "etcd", "peers", "redis")
    for each in cluster.told["gateways"]:
        kept = {path.name for path in (folder / each["id"]).iterdir()}
        assert kept == {"ca.pem", *(f"{link}{end}" for link in links for end in (".pem", ".key"))}
        process = psutil.Process(cluster.running.node(each["id"]))
        assert [file for file in process.open_files() if file.mode != "r"] == []
        changed = {path.stat().st_mtime for path in (folder / each["id"]).iterdir()}
        assert max(changed) < process.create_time(), "nothing was written since it began"
    nodes = {path.parent.name for path in cluster.running.folder.rglob("signing.key")}
    assert nodes == {each["id"] for each in cluster.told["nodes"]}


async def test_whatever_a_node_does_for_people_a_gateway_lets_through(cluster: Cluster) -> None:
    door, admin = cluster.gateways[0], cluster.told["admin"]
    form = {"username": admin["user"], "password": admin["password"]}
    async with cluster.client(door, "") as client:
        client.headers.pop("authorization")
        wrong = await client.post("/token", data={**form, "password": "nobody has this one"})
        assert (wrong.status_code, wrong.json()["code"]) == (401, "sign_in_refused")
        tokens = (await client.post("/token", data=form)).json()
    async with cluster.client(door, tokens["access_token"]) as client:
        assert (await client.get("/api/v1/me")).json()["name"] == admin["user"]
        begun = await client.post("/api/v1/conversation/start", json={"character": "wren"})
        path = f"/api/v1/conversation/{begun.json()['session_id']}"
        said = await client.post(f"{path}/messages", json={"content": "Is the harbour empty?"})
        assert "event: done" in said.text
        for tail in ("", "/messages", "/glance", "/axes", "/prompt", "/restarts"):
            assert (await client.get(path + tail)).status_code == 200, tail
        async with asyncio.timeout(60):  # what is searched is made after the acknowledgement
            while not (await client.get("/api/v1/search", params={"q": "harbour"})).json()["found"]:
                await asyncio.sleep(0.05)
        forced = (await client.post("/api/v1/admin/consensus/force")).json()
        assert forced["committed"]
        counted = await client.post(
            "/v1/messages/count_tokens",
            json={"model": "wren", "messages": [{"role": "user", "content": "Hi"}]},
        )
        assert counted.json()["input_tokens"] > 100
        assert (await client.delete(path)).status_code == 204
        closed = await client.post(f"{path}/messages", json={"content": "Still there?"})
        assert closed.status_code == 409
        renewed = await client.post("/token/refresh", json={"refresh_token": tokens["refresh_token"]})
        await client.post("/token/revoke", data={"token": renewed.json()["refresh_token"]})
        assert (await client.get("/api/v1/me")).status_code == 401


async def test_a_socket_at_a_gateway_speaks_with_an_instance_behind_it(cluster: Cluster) -> None:
    here = await cluster.begin(cluster.gateways[1])
    url = cluster.gateways[1].replace("http", "ws") + f"/ws/conversation/{here}"
    headers = {"Authorization": f"Bearer {cluster.key}"}
    async with connect(url, additional_headers=headers) as socket:
        await socket.send(json.dumps({"type": "message", "content": "Say something."}))
        frames: list[dict[str, Any]] = []
        async with asyncio.timeout(60):
            while not frames or frames[-1]["type"] != "response":
                frames.append(json.loads(await socket.recv()))
    told = "".join(each["text"] for each in frames if each["type"] == "delta")
    assert frames[-1]["content"] == told


async def test_what_is_somebody_else_s_a_gateway_does_not_show(cluster: Cluster) -> None:
    here = await cluster.begin(cluster.nodes[0])
    async with cluster.client(cluster.gateways[0], "ccn_made_up") as client:
        assert (await client.get(f"/api/v1/conversation/{here}")).status_code == 401
    async with httpx.AsyncClient(base_url=cluster.gateways[0], timeout=60) as client:
        assert (await client.post("/api/v1/admin/consensus/force")).status_code == 401


async def test_the_cluster_shows_its_gateways_and_they_show_the_cluster(cluster: Cluster) -> None:
    for door in (cluster.nodes[1], cluster.gateways[2]):
        status = httpx.get(f"{door}/status", timeout=60).json()
        assert {each["gateway"]: each["address"] for each in status["gateways"]} == {
            each["id"]: each["http"] for each in cluster.told["gateways"]
        }
        assert [each["node"] for each in status["nodes"]] == ["node-1", "node-2", "node-3"]
    metrics = httpx.get(f"{cluster.gateways[2]}/metrics", timeout=60).text
    assert 'ccn_node_role{role="gateway"} 1.0' in metrics


async def test_without_voters_a_gateway_lives_reads_and_says_when_to_come_again(cluster: Cluster) -> None:
    """The last of this file: afterwards no node answers."""
    here, door = await cluster.begin(cluster.gateways[0]), cluster.gateways[0]
    for each in cluster.told["nodes"]:
        os.kill(cluster.running.node(each["id"]), signal.SIGSTOP)
    try:
        eventually(lambda: not ready({"http": door}))
        assert httpx.get(f"{door}/health", timeout=60).status_code == 200
        (missing,) = [
            each for each in httpx.get(f"{door}/ready", timeout=60).json()["checks"] if not each["passes"]
        ]
        assert missing["name"] == "voter"
        async with cluster.client(door) as client:
            read = await client.get(f"/api/v1/conversation/{here}/messages")
            assert read.status_code == 200, "reading goes on"
            said = await client.post(f"/api/v1/conversation/{here}/messages", json={"content": "Hello?"})
            assert (said.status_code, said.json()["code"]) == (503, "no_voter")
            assert int(said.headers["retry-after"]) >= 1
    finally:
        for each in cluster.told["nodes"]:
            os.kill(cluster.running.node(each["id"]), signal.SIGCONT)
    eventually(lambda: ready({"http": door}))
