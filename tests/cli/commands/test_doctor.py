"""`ccn doctor` says what a node would miss: on its machine, and of the servers that it calls."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ccn import settings
from ccn.cli.cluster.credentials import node_credentials
from ccn.cli.doctor import servers
from ccn.cli.doctor.findings import FindingLevel
from ccn.core.ids import NodeId
from ccn.etcd.server_status import EtcdServerStatus
from tests.support.cli import commands

NODE = NodeId("node-1")


def told(folder: Path, variables: Mapping[str, str], *options: str) -> tuple[int, dict[str, list[str]]]:
    """The exit code, and what has to be mended or looked at, by what it is about."""
    environ = {"HOME": str(folder), "CCN_NODE_STATE_DIR": str(folder / "state")} | {**variables}
    ended = commands.run("doctor", "--json", *options, env=environ, cwd=folder)
    found = dict[str, list[str]]()
    for line in map(json.loads, ended.stdout.splitlines()):
        if line["level"] != "ok":
            found.setdefault(line["about"], []).append(line["says"])
    return ended.returncode, found


@pytest.fixture
def free_ports() -> dict[str, str]:
    with socket.socket() as one, socket.socket() as two, socket.socket() as three:
        for each in (one, two, three):
            each.bind(("127.0.0.1", 0))
        numbers = [str(each.getsockname()[1]) for each in (one, two, three)]
    return dict(zip(("CCN_HTTP_PORT", "CCN_GRPC_PORT", "CCN_PEERS_PORT"), numbers, strict=True))


def test_a_machine_that_has_everything_has_nothing_to_mend(
    tmp_path: Path, free_ports: dict[str, str]
) -> None:
    assert told(tmp_path, free_ports) == (0, {})


def test_what_is_wrong_with_a_machine_is_named_with_its_setting(
    tmp_path: Path, free_ports: dict[str, str]
) -> None:
    (tmp_path / "state").mkdir()
    (tmp_path / "state").chmod(0o777)
    wrong = free_ports | {
        "CCN_PEERS_HOST": "0.0.0.0",
        "CCN_HTTP_ADVERTISE": "https://no-such-host.invalid:7700",
        "CCN_GRPC_PORT": free_ports["CCN_HTTP_PORT"],
        "CCN_GRPC_HOST": "192.0.2.1",
        "CCN_GRPC_INSECURE": "true",
    }
    code, found = told(tmp_path, wrong)
    assert code == 1
    assert "others can write to" in found["node"][0]
    assert found["ports"] == ["two doors have the same port"]
    assert "cannot be listened at" in found["port grpc"][0]
    assert found["names"][0] == "CCN_PEERS_ADVERTISE is not set, and nobody can reach '0.0.0.0'"
    assert "CCN_HTTP_ADVERTISE: no-such-host.invalid means no address here" in found["names"][1]
    assert "CCN_TLS_CA, CCN_TLS_CERTIFICATE and CCN_TLS_KEY are not set" in found["certificates"][0]


def test_a_port_that_is_taken_is_worth_a_look_because_the_node_may_run(
    tmp_path: Path, free_ports: dict[str, str]
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        code, found = told(tmp_path, free_ports | {"CCN_HTTP_PORT": str(port)})
    assert code == 0
    assert found == {"port http": [f"somebody listens at 127.0.0.1:{port} already: this node, if it runs"]}


def test_a_certificate_of_another_node_is_refused_and_one_that_ends_soon_is_named(
    tmp_path: Path, free_ports: dict[str, str]
) -> None:
    lately = datetime.now(UTC) - timedelta(days=25)
    made = node_credentials.prepare_nodes(tmp_path / "keys", [NODE], (), lately)
    shown = free_ports | {**made[NODE].to_environment()}
    code, found = told(tmp_path, shown)
    assert code == 0
    assert found == {"certificates": ["CCN_TLS_CERTIFICATE: ends in 4 days: renew it"]}
    code, found = told(tmp_path, shown | {"CCN_NODE_ID": "node-2"})
    assert code == 1
    assert "node-2.ccn.internal" in found["certificates"][0]


def test_the_servers_are_asked_only_for_a_deployment(
    tmp_path: Path, free_ports: dict[str, str], database: settings.DatabaseSettings
) -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        port = nobody.getsockname()[1]
        known = free_ports | {
            "CCN_DATABASE_URL": database.url.get_secret_value(),
            "CCN_ETCD_ENDPOINTS": f"127.0.0.1:{port}",
            "CCN_LIMITS_REDIS_URL": f"redis://127.0.0.1:{port}/0",
        }
        assert told(tmp_path, known) == (0, {})
        code, found = told(tmp_path, known, "--deploy")
    assert code == 1
    assert found["etcd"][0].startswith(f"127.0.0.1:{port}: ")
    assert "until it answers each door counts requests alone" in found["Redis"][0]
    assert "clock" not in found
    assert all("superuser" in each or "max_connections" in each for each in found.get("PostgreSQL", ()))


def test_without_a_database_and_etcd_a_deployment_lacks_both(
    tmp_path: Path, free_ports: dict[str, str]
) -> None:
    code, found = told(tmp_path, free_ports, "--deploy")
    assert code == 1
    assert found["PostgreSQL"] == ["CCN_DATABASE_URL is not set: a node needs its cluster's database"]
    assert found["etcd"] == ["CCN_ETCD_ENDPOINTS is not set: nodes find each other there"]


@pytest.mark.parametrize(
    ("version", "level"),
    [
        ("3.5.16", "look"),
        ("3.5.28", "ok"),
        ("3.6.8", "look"),
        ("3.6.9", "ok"),
        ("3.4.40", "look"),
        ("x", "look"),
    ],
)
def test_an_etcd_that_can_lose_writes_is_worth_a_look(version: str, level: str) -> None:
    assert servers.judge_etcd(EtcdServerStatus("etcd:2379", version), among=3).level == level


def test_of_several_members_of_etcd_one_may_be_away() -> None:
    away = EtcdServerStatus("etcd:2379", failure="refused")
    assert servers.judge_etcd(away, among=3).level is FindingLevel.LOOK
    assert servers.judge_etcd(away, among=1).level is FindingLevel.MEND


@pytest.mark.parametrize(
    ("least_s", "most_s", "level"),
    [(0.1, -0.1, "ok"), (0.9, 0.7, "look"), (-0.6, -0.9, "look"), (3.0, 2.5, "mend"), (-2.1, -2.6, "mend")],
)
def test_a_clock_is_judged_by_what_it_is_off_at_least(least_s: float, most_s: float, level: str) -> None:
    assert servers.judge_clock(least_s, most_s).level == level
