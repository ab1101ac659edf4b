"""`ccn up` as its users meet it: real processes, real signals, nothing left behind.

Starts are dear, so each one shows several things; what one start shows stands in one test.
"""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import grpc  # type: ignore[import-untyped]
import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]

from ccn import errors
from ccn.certificates.issuing import IssuedCertificate
from ccn.core.ids import NodeId
from ccn.etcd import client, members
from ccn.peers import client as peers
from ccn.peers.exchange import ForwardedRequest
from tests.support import ports
from tests.support.cluster.up import (
    ANSWER_S,
    DEADLINE_S,
    START_S,
    Up,
    complaint,
    crowded,
    eventually,
    is_gone,
    reachable_folder,
    ready,
    started,
)
from tests.support.core import registrations
from tests.support.peers import peer_node

pytestmark = pytest.mark.timeout(400)


@pytest.fixture
def folder() -> Iterator[Path]:
    with reachable_folder() as made:
        yield made


@pytest.fixture(scope="module")
def shared() -> Iterator[tuple[Up, dict[str, Any]]]:
    options = ("--ephemeral", "--json", "--port", "0")
    with reachable_folder() as made, started(made, *options, anew=True) as running:
        yield running, running.ready()


def test_it_tells_where_everything_is_and_all_of_it_answers(shared: tuple[Up, dict[str, Any]]) -> None:
    running, told = shared
    assert set(told) == {"nodes", "database_url", "etcd_endpoints", "admin"}
    assert [node["id"] for node in told["nodes"]] == ["node-1", "node-2", "node-3"]
    assert len({node["pid"] for node in told["nodes"]} - {running.process.pid}) == 3
    (spoken,) = [each.cmdline() for each in running.family() if "ccn.claude.stand_in" in each.cmdline()]
    assert spoken[-2:] == ["--words-s", "0.0"], "as the settings have it"
    for node in told["nodes"]:
        assert ready(node)
        assert httpx.get(f"{node['http']}/health", timeout=ANSWER_S).json()["node"] == node["id"]
        with grpc.insecure_channel(node["grpc"]) as channel:
            answer = health_pb2_grpc.HealthStub(channel).Check(
                health_pb2.HealthCheckRequest(), timeout=ANSWER_S
            )
            assert answer.status == health_pb2.HealthCheckResponse.SERVING
    for endpoint in told["etcd_endpoints"]:
        assert httpx.get(f"http://{endpoint}/health", timeout=ANSWER_S).json()["health"] == "true"
    assert told["database_url"].startswith("postgresql://ccn_node:")  # who owns nothing
    assert told["database_url"].split(":")[2].split("@")[0] not in running.errors()


def test_it_makes_an_admin_whose_credentials_every_node_accepts(shared: tuple[Up, dict[str, Any]]) -> None:
    running, told = shared
    admin = told["admin"]
    form = {"username": admin["user"], "password": admin["password"]}
    door = f"{told['nodes'][0]['http']}/token"
    token = httpx.post(door, data=form, timeout=ANSWER_S).json()["access_token"]
    for node in told["nodes"]:
        for credential in (admin["api_key"], token):
            shown = {"Authorization": f"Bearer {credential}"}
            me = httpx.get(f"{node['http']}/api/v1/me", headers=shown, timeout=ANSWER_S).json()
            assert (me["name"], me["tier"]) == ("admin", "admin")
    for secret in (admin["password"], admin["api_key"]):
        assert secret not in running.errors()


def test_a_node_that_is_killed_comes_back_on_its_ports(shared: tuple[Up, dict[str, Any]]) -> None:
    running, told = shared
    first, second, _ = told["nodes"]
    assert [running.node(node["id"]) for node in told["nodes"]] == [node["pid"] for node in told["nodes"]]
    os.kill(second["pid"], signal.SIGKILL)
    record = Path(re.findall(r" on (.*ccn-up-\w+)", running.errors())[0]) / "cluster.json"

    def recorded() -> int:
        pid = json.loads(record.read_text())["nodes"][1]["pid"]
        return 0 if pid == second["pid"] else int(pid)

    pid = eventually(recorded)
    assert ready(second)
    assert ready(first)
    listening = {
        each.laddr.port for each in psutil.Process(pid).net_connections() if each.status == "LISTEN"
    }
    assert listening >= {int(second[door].rsplit(":", 1)[1]) for door in ("http", "grpc")}
    assert record.stat().st_mode & 0o777 == 0o600
    said = running.errors()
    assert re.search(r"^node-2 +\d\d:\d\d:\d\d error +died after .* killed by SIGKILL$", said, re.MULTILINE)
    log = (record.parent / "logs" / "node-2.log").read_text().splitlines()
    assert [json.loads(line)["event"] for line in log].count("listening") == 2


async def test_a_node_that_somebody_made_up_in_etcd_is_told_to_nobody(
    shared: tuple[Up, dict[str, Any]],
) -> None:
    """Neither clients, who would send it what they show to a node, nor browsers, which would let them."""
    running, told = shared
    listener = "http://127.0.0.1:6666"
    as_ever = {"node": "a-node", "http": listener, "grpc": "127.0.0.1:6667", "key": "aa" * 32}
    signed = members.registration_to_bytes(
        registrations.registration("b-node", 0, by="stranger", http=listener)
    )
    async with client.open_client(told["etcd_endpoints"], deadline_s=30.0) as etcd:
        for name, value in {"a-node": json.dumps(as_ever).encode(), "b-node": signed}.items():
            await etcd.put_entry(members.PREFIX + name, value, lease=0, if_modified=0)
    logs = Path(re.findall(r" on (.*ccn-up-\w+)", running.errors())[0]) / "logs"

    def noticed() -> bool:
        return all('"registration not believed"' in log.read_text() for log in logs.glob("node-*.log"))

    eventually(noticed)
    for node in told["nodes"]:
        here = httpx.get(f"{node['http']}/status", timeout=ANSWER_S).json()["nodes"]
        assert listener not in {each["address"] for each in here}
        assert not {"a-node", "b-node"} & {each["node"] for each in here}
        page = httpx.get(node["http"], headers={"Accept": "text/html"}, timeout=ANSWER_S)
        assert "127.0.0.1:6666" not in page.headers["Content-Security-Policy"]
        asked = {"Origin": listener, "Access-Control-Request-Method": "GET"}
        allowed = httpx.options(f"{node['http']}/api/v1/me", headers=asked, timeout=ANSWER_S)
        assert "Access-Control-Allow-Origin" not in allowed.headers


async def test_a_certificate_of_the_authority_alone_reads_and_ends_nothing(
    shared: tuple[Up, dict[str, Any]],
) -> None:
    """It is for a name that nobody ever enrolled."""
    running, told = shared
    folder = Path(re.findall(r" on (.*ccn-up-\w+)", running.errors())[0]) / "nodes" / "ca"
    authority = IssuedCertificate((folder / "ca.pem").read_bytes(), (folder / "ca.key").read_bytes())
    shown = peer_node.identity_of(authority, NodeId("node-77"))
    async with client.open_client(told["etcd_endpoints"], deadline_s=30.0) as etcd:
        doors = {each.name: each.said.statement.grpc for each in await members.read_registrations(etcd)}
    headers = {"Authorization": f"Bearer {told['admin']['api_key']}"}
    at = {"base_url": told["nodes"][0]["http"], "headers": headers, "timeout": ANSWER_S}
    async with httpx.AsyncClient(**at) as http, peers.open_client(NodeId("node-77"), shown) as known:
        begun = (await http.post("/api/v1/conversation/start", json={"character": "wren"})).json()
        host, session = begun["instance"]["node"], begun["session_id"]
        await known.set_addresses({host: doors[host]})
        asked = json.dumps({"conversation": session, "reason": "x"}).encode()
        for method in ("end", "follow"):
            forwarded = ForwardedRequest(NodeId("node-77"), peer_node.INSTANCE, method, asked)
            with pytest.raises(errors.PeerRefused, match="node-77 takes no part in this cluster"):
                await anext(known.find_peer(host).forward(forwarded, ANSWER_S))
        with pytest.raises(errors.PeerRefused, match="node-77 takes no part in this cluster"):
            await known.find_peer(host).fetch_blocks(1, ANSWER_S)
        state = (await http.get(f"/api/v1/conversation/{session}")).json()
        assert state["instance"]["status"] == "running"


def test_ctrl_c_stops_everything_within_seconds_and_says_so(shared: tuple[Up, dict[str, Any]]) -> None:
    running, told = shared
    family = running.family()
    assert len(family) >= 3 + 3  # itself, the nodes, PostgreSQL and etcd
    began = time.monotonic()
    running.interrupt()
    assert running.process.wait(START_S) == 0
    assert time.monotonic() - began < 10 * crowded()
    assert [process for process in family if not is_gone(process)] == []
    assert running.stdout.read() == b""
    said = running.errors()
    assert said.splitlines()[-1] == "stopped"
    assert all(re.search(rf"^{node['id']} .* stopped$", said, re.MULTILINE) for node in told["nodes"])
    assert not Path(re.findall(r" on (.*ccn-up-\w+)", said)[0]).exists()


def test_it_survives_kill_9_refuses_a_second_starter_and_hurries_when_asked_twice(folder: Path) -> None:
    """One folder, started twice: first with the default port taken, then with a node that does not stop."""
    data = folder / "my data"
    options = ("--data", str(data), "--nodes", "1", "--json")
    with default_port_taken(), started(folder, *options, anew=True) as first:
        told = first.ready()
        assert "port 7700 is in use; taking free ports instead" in first.errors()
        family = first.family()
        first.process.kill()
        first.process.wait()
        eventually(lambda: all(is_gone(process) for process in family))
        assert (data / "cluster.json").exists()
        shown = (data / "nodes" / "tls" / "node-1" / "peers.pem").read_bytes()
    with ports.reserve_ports(3) as before, started(folder, *options, "--port", str(before + 1)) as second:
        http = before + 1
        again = second.ready()
        assert (
            data / "nodes" / "tls" / "node-1" / "peers.pem"
        ).read_bytes() != shown  # it is new at each start
        assert again["nodes"][0]["http"] == f"http://127.0.0.1:{http}"
        assert ready(again["nodes"][0])
        kept = json.loads((data / "cluster.json").read_text())
        assert kept == again | {"data": str(data), "pid": second.process.pid}
        assert again["admin"] == {name: told["admin"][name] for name in ("user", "api_key")}

        code, said = complaint(folder, *options)
        assert code == 1
        assert said.startswith(
            f"error: a cluster runs on {data}: pid {second.process.pid}, http://127.0.0.1:{http}"
        )
        assert len(said.splitlines()) == 1

        code, said = complaint(folder, "--ephemeral", "--json", "--port", str(before))
        assert code == 1
        advice = "stop what listens there, or choose another --port (0 takes free ones)"
        assert said.splitlines()[-1] == f"error: port {http} is in use; {advice}"

        os.kill(again["nodes"][0]["pid"], signal.SIGSTOP)  # a node that cannot stop in order
        family = second.family()
        second.interrupt()
        eventually(lambda: "stopping" in second.errors())
        time.sleep(1)
        assert second.process.poll() is None
        second.interrupt()
        assert second.process.wait(DEADLINE_S) == 0
        assert [process for process in family if not is_gone(process)] == []
    assert not (data / "cluster.json").exists()


@contextmanager
def default_port_taken() -> Iterator[None]:
    with socket.socket() as listening:
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with suppress(OSError):  # somebody else has taken it already
            listening.bind(("127.0.0.1", 7700))
            listening.listen()
        yield


def test_a_node_that_cannot_start_is_an_error_with_its_last_words(folder: Path) -> None:
    code, said = complaint(
        folder,
        *("--ephemeral", "--json", "--nodes", "1", "--port", "0"),
        environ={"CCN_DATABASE_CONNECT_TIMEOUT_S": "0.000001"},
    )
    assert code == 1
    assert re.search(
        r"^error: node-\d ended while starting \(exit status 1\); its last lines:$", said, re.MULTILINE
    )
    assert said.count("starts again") == 0
    assert re.search(r"^    error: PostgreSQL does not answer in time", said, re.MULTILINE | re.IGNORECASE)


def test_wrong_settings_are_refused_before_anything_starts(folder: Path) -> None:
    code, said = complaint(folder, environ={"CCN_RETENTION_CONTENT_DAYS": "many"})
    assert code == 1
    assert said.startswith("error: CCN_RETENTION_CONTENT_DAYS: ")
    assert list(folder.glob("share/*")) == []


def test_it_goes_on_when_nobody_reads_any_more_and_asks_for_little(folder: Path) -> None:
    with started(folder, "--ephemeral", "--nodes", "1", "--port", "0") as running:
        first = running.stdout.readline()
        assert first.startswith(b"starting PostgreSQL, etcd and one node on ")
        running.stdout.close()
        data = Path(first.decode().strip().split(" on ", 1)[1])
        told = eventually(lambda: json.loads((data / "cluster.json").read_text()), START_S)
        assert ready(told["nodes"][0])
        itself = psutil.Process(running.process.pid)
        before, since = sum(itself.cpu_times()[:2]), time.monotonic()
        time.sleep(1)
        asked_for = sum(itself.cpu_times()[:2]) - before
        assert asked_for < 0.2 * (time.monotonic() - since)
        running.process.send_signal(signal.SIGTERM)
        assert running.process.wait(DEADLINE_S) == 0
        assert running.errors() == ""
    assert not data.exists()
