"""The cluster of deploy/compose as it is: real containers, a newcomer, storms, and what is left afterwards.

One test, since a cluster is dear: what happens in it is one story, each part on top of the one before.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import pytest

from tests.support.deploy import compose_cluster
from tests.support.deploy.compose_cluster import NODES, PATIENCE_S, ComposeCluster, read_status
from tests.support.gateway import http_door

SPEAKERS_PER_NODE = 4
STORMS = 5
SECRET_WORDS = "the plover nests on shingle"
TRIES = 200


@pytest.fixture
def compose_cluster_here(tmp_path: Path) -> Iterator[ComposeCluster]:
    with compose_cluster.running(tmp_path) as cluster:
        yield cluster


@dataclass
class Speaker:
    """Somebody who says one thing after the other in one conversation, at whatever door answers."""

    client: httpx.AsyncClient
    doors: list[str]
    conversation: str = ""
    said: list[str] = field(default_factory=list)
    broken: int = 0

    async def begin(self) -> None:
        answer = await self.client.post(
            f"{self.doors[0]}/api/v1/conversation/start", json={"character": "wren"}
        )
        assert answer.status_code == 201, answer.text
        self.conversation = answer.json()["session_id"]

    async def say(self, words: str) -> None:
        """Say it once, however often it has to be sent: the key makes it the same message."""
        self.said.append(words)
        key = f"{self.conversation}-{len(self.said)}"
        async with asyncio.timeout(PATIENCE_S):
            for attempt in range(TRIES):
                try:
                    if await self._send(self.doors[attempt % len(self.doors)], words, key):
                        return
                except (httpx.TransportError, json.JSONDecodeError):
                    pass
                self.broken += 1
                await asyncio.sleep(0.5)
        raise AssertionError(f"no reply after {TRIES} tries")

    async def _send(self, door: str, words: str, key: str) -> bool:
        async with self.client.stream(
            "POST",
            f"{door}/api/v1/conversation/{self.conversation}/messages",
            json={"content": words},
            headers={"Idempotency-Key": key},
        ) as answer:
            if answer.status_code != 200:
                return False
            async for event in http_door.events(answer):
                if event.name == "done":
                    return True
        return False

    async def check_history(self) -> tuple[int, int]:
        """How many of the messages are lost, and how many are there twice; each has one reply after it."""
        url = f"{self.doors[0]}/api/v1/conversation/{self.conversation}/messages"
        messages = (await self.client.get(url, params={"limit": 200})).raise_for_status().json()["messages"]
        heard = [each["content"] for each in messages if each["role"] == "user"]
        lost = sum(words not in heard for words in self.said)
        doubled = len(heard) - len(set(heard))
        assert [each["role"] for each in messages] == ["user", "assistant"] * len(self.said), messages
        return lost, doubled


class Story:
    """The cluster under test, seen by an operator and by clients."""

    def __init__(self, cluster: ComposeCluster, watching: httpx.Client) -> None:
        self.cluster, self.watching = cluster, watching

    def height(self) -> int:
        heights = [read_status(self.watching, self.cluster.node_door(node)).get("height") for node in NODES]
        return max((int(str(each)) for each in heights if each), default=0)

    def leader(self) -> str:
        for node in NODES:
            if leader := read_status(self.watching, self.cluster.node_door(node)).get("leader"):
                return str(leader)
        return ""

    def is_whole(self) -> bool:
        """Whether every node is ready, and sees the others."""
        for node in NODES:
            status = read_status(self.watching, self.cluster.node_door(node))
            if not status or not all(each["here"] for each in status["nodes"]):
                return False
        return True

    def wait_for(self, what: Callable[[], object], why: str) -> None:
        until = time.monotonic() + PATIENCE_S
        while not what():
            assert time.monotonic() < until, f"{why}: not within {PATIENCE_S:.0f} s"
            time.sleep(0.5)

    def wait_for_blocks(self, why: str, count: int = 2) -> float:
        """Wait for so many more blocks; how long they took."""
        began, before = time.monotonic(), self.height()
        self.wait_for(lambda: self.height() >= before + count, f"blocks {why}")
        return time.monotonic() - began

    def kill_the_leader(self) -> float:
        leader = self.leader()
        self.cluster.compose("kill", leader)
        took = self.wait_for_blocks("after the leader's death")
        self.cluster.compose("start", leader)
        return took

    def cut_a_node_off(self) -> float:
        node = next(node for node in NODES if node != self.leader())
        self.cluster.cut_off(node)
        took = self.wait_for_blocks("without a node")
        self.cluster.connect(node)
        return took

    def restart_postgres(self) -> float:
        self.cluster.compose("restart", "postgres")
        return self.wait_for_blocks("after PostgreSQL")

    def kill_a_member_of_etcd(self) -> float:
        self.cluster.compose("kill", "etcd-2")
        took = self.wait_for_blocks("without etcd-2")
        self.cluster.compose("start", "etcd-2")
        return took

    def stop_redis(self) -> float:
        self.cluster.compose("stop", "redis")
        took = self.wait_for_blocks("without Redis")
        self.cluster.compose("start", "redis")
        return took


@pytest.mark.timeout(1200)
async def test_a_newcomer_talks_and_nothing_is_lost_whatever_dies(
    compose_cluster_here: ComposeCluster, tmp_path: Path
) -> None:
    cluster = compose_cluster_here
    told: dict[str, object] = {"ready_s": round(await asyncio.to_thread(cluster.start), 1)}
    trusted = cluster.trust()
    with httpx.Client(verify=trusted, timeout=15) as watching:
        story = Story(cluster, watching)
        async with httpx.AsyncClient(verify=trusted, timeout=30) as client:
            password = ask_for_password(cluster)
            await sign_in(client, cluster, password)
            newcomer = Speaker(client, [cluster.door])
            await newcomer.begin()
            await newcomer.say(f"Hello! Did you know that {SECRET_WORDS}?")
            told |= await weather_storms(story, client)
            told["targets"] = check_monitoring(story)
            told["verified"] = export_and_verify(cluster, tmp_path)
            check_logs(cluster)
            await asyncio.to_thread(cluster.compose, "down")
            told["again_s"] = round(await asyncio.to_thread(cluster.start), 1)
            await sign_in(client, cluster, password)
            await newcomer.say("Are you still there?")
            assert await newcomer.check_history() == (0, 0)
            await asyncio.to_thread(story.wait_for_blocks, "after all was stopped")
    sys.stdout.write(json.dumps(told))


def ask_for_password(cluster: ComposeCluster) -> str:
    """That of the first admin, which is told once."""
    asked = ("--entrypoint", "python", "operator", "/compose/setup.py", "admin")
    shown = cluster.run_operator(*asked)
    assert "password was shown before" in cluster.run_operator(*asked)
    return shown.split("password")[1].split()[0]


async def sign_in(client: httpx.AsyncClient, cluster: ComposeCluster, password: str) -> None:
    """As the first admin; what it gives lasts for a quarter of an hour."""
    form = {"grant_type": "password", "username": "admin", "password": password}
    token = (await client.post(f"{cluster.door}/token", data=form)).raise_for_status().json()
    client.headers["Authorization"] = f"Bearer {token['access_token']}"


async def weather_storms(story: Story, client: httpx.AsyncClient) -> dict[str, object]:
    """Twelve people talk through five storms: twenty turns a node."""
    doors = [story.cluster.node_door(node) for node in NODES]
    speakers = [
        Speaker(client, [*doors[place:], *doors[:place], story.cluster.door])
        for place in range(len(doors))
        for _ in range(SPEAKERS_PER_NODE)
    ]
    for speaker in speakers:
        await speaker.begin()
    storms = (
        story.kill_the_leader,
        story.cut_a_node_off,
        story.restart_postgres,
        story.kill_a_member_of_etcd,
        story.stop_redis,
    )
    assert len(storms) == STORMS
    took = dict[str, float]()
    for storm in storms:
        talking = [asyncio.create_task(each.say(f"And what of {storm.__name__}?")) for each in speakers]
        await asyncio.sleep(0.3)
        took[storm.__name__] = round(await asyncio.to_thread(storm), 1)
        await asyncio.gather(*talking)
        await asyncio.to_thread(story.wait_for, story.is_whole, "every node is ready")
    counts = [await speaker.check_history() for speaker in speakers]
    lost, doubled = (sum(each) for each in zip(*counts, strict=True))
    turns = sum(len(speaker.said) for speaker in speakers)
    assert (lost, doubled, turns) == (0, 0, len(NODES) * SPEAKERS_PER_NODE * STORMS)
    return {
        "turns": turns,
        "lost": lost,
        "doubled": doubled,
        "two_blocks_s": took,
        "sent_again": sum(speaker.broken for speaker in speakers),
    }


def check_monitoring(story: Story) -> int:
    """Every target is up, and no alert fires but the watchdog."""
    ask = f"http://127.0.0.1:{story.cluster.ports['PROMETHEUS_PORT']}/api/v1"

    def find_targets() -> list[dict[str, str]]:
        targets: list[dict[str, str]] = story.watching.get(f"{ask}/targets").json()["data"]["activeTargets"]
        return targets

    story.wait_for(lambda: all(each["health"] == "up" for each in find_targets()), "every target is up")
    alerts = story.watching.get(f"{ask}/alerts").json()["data"]["alerts"]
    assert {each["labels"]["alertname"] for each in alerts} == {"Watchdog"}
    jobs = {each["scrapePool"] for each in find_targets()}
    assert {"ccn", "ccn-gateway", "etcd", "proxy", "prometheus", "alertmanager"} <= jobs
    return len(find_targets())


def export_and_verify(cluster: ComposeCluster, folder: Path) -> str:
    """An auditor gets the record, and checks it with the standard library alone."""
    out = folder / "out"
    out.mkdir()
    out.chmod(0o777)
    cluster.run_operator("--volume", f"{out}:/out", "operator", "record", "export", "/out/record.jsonl")
    command = [sys.executable, "-m", "ccn.cli.verify", str(out / "record.jsonl")]
    checked = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    return checked.stdout.strip().splitlines()[0]


def check_logs(cluster: ComposeCluster) -> None:
    """No log has a word that was said, or a password."""
    show = "import pathlib; [print(f.read_text()) for f in pathlib.Path('/run/secrets').glob('*.password')]"
    passwords = cluster.run_operator("--entrypoint", "python", "operator", "-c", show).split()
    assert passwords
    logs = cluster.compose("logs", "--no-color")
    assert "ready" in logs
    assert [secret for secret in (SECRET_WORDS, *passwords) if secret in logs] == []
