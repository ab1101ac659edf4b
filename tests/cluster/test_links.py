"""Two node processes whose doors speak TLS: each of their sockets is known, and commands trust them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil  # type: ignore[import-untyped]
import pytest

import ccn
from ccn import continuity
from ccn.certificates import inspection
from tests.support.cli import commands
from tests.support.cluster import sockets
from tests.support.cluster.up import Up, eventually, reachable_folder, started, surroundings
from tests.support.gateway import redis_server

pytestmark = pytest.mark.timeout(400)  # everything starts within the first test's time

PAGE = Path(ccn.__file__).parent / "docs" / "tls.md"
SERVERS = {"postgres": "PostgreSQL", "etcd": "etcd"}
NODES = {"node-1", "node-2"}


@dataclass
class Running:
    """The cluster, what it said of itself, and what its nodes were seen to have open."""

    up: Up
    told: dict[str, Any]
    folder: Path
    redis_port: int
    seen: dict[str, set[sockets.Socket]] = field(default_factory=lambda: {node: set() for node in NODES})

    def command(self, *arguments: str, given: str = "") -> str:
        done = commands.run(*arguments, env=surroundings(self.folder), given=given)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="module")
def redis_port() -> Iterator[int]:
    """Where a Redis answers; 0 where there is none."""
    if redis_server.LEFT_OUT:
        yield 0
        return
    with asyncio.Runner() as runner:
        serving = redis_server.running()
        yield runner.run(serving.__aenter__()).port
        runner.run(serving.__aexit__(None, None, None))


@pytest.fixture(scope="module")
def running(redis_port: int) -> Iterator[Running]:
    options = ("--ephemeral", "--json", "--port", "0", "--nodes", "2", "--tls")
    environ = {"CCN_LIMITS_REDIS_URL": f"redis://127.0.0.1:{redis_port}/0"} if redis_port else {}
    with reachable_folder() as folder, started(folder, *options, environ=environ) as up:
        cluster = Running(up, up.ready(), folder, redis_port)
        over = threading.Event()
        watching = threading.Thread(target=watch_sockets, args=(cluster, over))
        watching.start()
        yield cluster
        over.set()
        watching.join()


def watch_sockets(cluster: Running, over: threading.Event) -> None:
    """Look again and again: some connections are there for a moment only."""
    pids = {node["id"]: node["pid"] for node in cluster.told["nodes"]}
    while not over.wait(0.05):
        for node, pid in pids.items():
            with suppress(OSError):
                cluster.seen[node] |= sockets.of_process(pid)


async def test_commands_and_programs_here_trust_the_doors_and_nobody_else_does(running: Running) -> None:
    assert all(node["http"].startswith("https://127.0.0.1:") for node in running.told["nodes"])
    doors = {node["http"] for node in running.told["nodes"]}

    def all_told() -> bool:
        status = json.loads(running.command("status", "--json"))
        return {node["address"] for node in status["nodes"]} == doors

    assert eventually(all_told)
    url = running.told["nodes"][0]["http"]
    trusted = ssl.create_default_context(cafile=running.told["ca"])
    assert httpx.get(f"{url}/ready", verify=trusted).status_code == 200
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{url}/ready", verify=ssl.create_default_context())
    with pytest.raises(httpx.RemoteProtocolError):
        httpx.get(url.replace("https://", "http://") + "/ready")
    data = Path(running.told["ca"]).parents[2]
    async with continuity.connect(data=data) as cluster:
        assert (await cluster.begin("wren")).id


def test_every_socket_of_a_node_has_a_row_in_the_table(running: Running) -> None:
    assert running.command("chat", given="Hello there.\n").strip()
    rows = set(re.findall(r"^\| ([^|]+) \| (listens|calls) \|", PAGE.read_text(), re.MULTILINE))
    assert len(rows) == 8
    found = set[tuple[str, str]]()
    for node in running.told["nodes"]:
        found |= links_of(running, node)
    assert found <= rows, f"no row in {PAGE.name}: {found - rows}"
    left_out = set() if running.redis_port else {("Redis", "calls")}
    assert found == rows - left_out


def links_of(running: Running, node: dict[str, Any]) -> set[tuple[str, str]]:
    """Name what a node was seen to listen at, and whom it was seen to call."""
    had = running.seen[node["id"]]
    assert not {each for each in had if each.protocol.startswith("udp")}
    doors = {urlsplit(node["http"]).port: "HTTP door", int(node["grpc"].rpartition(":")[2]): "gRPC door"}
    listens = {each.port for each in had if each.listens}
    for port in listens - doors.keys():
        shown = ssl.get_server_certificate(("127.0.0.1", port))
        named = f"{node['id']}.ccn.internal" in inspection.list_names(shown.encode())
        doors[port] = "door for nodes" if named else f"a door at {port}"
    assert len(listens) == 3
    servers = serving_processes(running)
    called = {each.other_port for each in had if not each.listens and each.port not in listens}
    links = {(name, "listens") for port, name in doors.items() if port in listens}
    return links | {(servers.get(port, f"somebody at {port}"), "calls") for port in called}


def serving_processes(running: Running) -> dict[int, str]:
    """Which link it is to call a port, by the process that listens there."""
    ports = {running.redis_port: "Redis"}
    for process in running.up.family():
        with suppress(psutil.NoSuchProcess, OSError):
            name = process.name()
            link = "other nodes" if name in NODES else SERVERS.get(name, f"the process {name}")
            link = "model" if any("stand_in" in word for word in process.cmdline()) else link
            ports |= {each.port: link for each in sockets.of_process(process.pid) if each.listens}
    return ports


def test_a_socket_is_found_at_both_of_its_ends() -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        with closing(socket.create_connection(("127.0.0.1", port))) as calling:
            found = sockets.of_process(os.getpid())
            assert sockets.Socket("tcp", listens=True, port=port, other_port=0) in found
            own_port = calling.getsockname()[1]
            assert sockets.Socket("tcp", listens=False, port=own_port, other_port=port) in found
