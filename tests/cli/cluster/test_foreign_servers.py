"""What is set for servers elsewhere neither reaches nor stops the nodes of a cluster on this machine."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccn import errors, settings
from ccn.cli.cluster import foreign_servers, nodes
from ccn.cli.cluster.ports import NodePorts

ELSEWHERE = {
    "CCN_DATABASE_URL": "postgresql://ccn@db.example.org/ccn",
    "CCN_DATABASE_REPLICA_URL": "postgresql://ccn@copy.example.org/ccn",
    "CCN_DATABASE_CA": "/etc/ccn/ca.pem",
    "CCN_ETCD_ENDPOINTS": "https://etcd.example.org:2379",
    "CCN_ETCD_CA": "/etc/ccn/ca.pem",
    "CCN_ETCD_USER": "ccn",
    "CCN_TLS_CA": "/etc/ccn/ca.pem",
}


def describe() -> str:
    return foreign_servers.describe_unused(settings.load_with_origins())


def read_file(monkeypatch: pytest.MonkeyPatch, folder: Path, text: str) -> Path:
    file = folder / "ccn.toml"
    file.write_text(text)
    monkeypatch.setenv("CCN_SETTINGS", str(file))
    return file


def test_without_any_of_it_nothing_is_said() -> None:
    assert describe() == ""


def test_what_has_no_effect_is_named_and_no_node_gets_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in ELSEWHERE.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "password").write_text("hunter2")
    monkeypatch.setenv("CCN_ETCD_PASSWORD_FILE", str(tmp_path / "password"))
    said = describe()
    assert said.startswith("left alone, because ccn up brings servers and certificates of its own: ")
    assert {*said.partition(": ")[2].split(", ")} == {*ELSEWHERE, "CCN_ETCD_PASSWORD_FILE"}
    given = nodes.node_environment("node-1", NodePorts(1, 2), foreign_servers.blank_variables())
    assert {name for name in ELSEWHERE if given.get(name)} == set()
    assert "CCN_ETCD_PASSWORD_FILE" not in given


@pytest.mark.parametrize(
    "text",
    ['[etcd]\nca = "/etc/ccn/ca.pem"', '[database]\nreplica_url = "postgresql://copy/ccn"'],
)
def test_what_nodes_would_read_in_a_file_is_refused_by_its_name(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str
) -> None:
    file = read_file(monkeypatch, tmp_path, text)
    group, field = text.removeprefix("[").split("]\n")
    with pytest.raises(errors.SettingsInvalid) as refused:
        describe()
    assert str(refused.value).startswith(
        f"{file}: [{group}] {field.split(' =')[0]} is for servers elsewhere, and ccn up brings its own"
    )


def test_what_they_would_not_use_in_a_file_is_only_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    file = read_file(monkeypatch, tmp_path, '[database]\nca = "/etc/ccn/ca.pem"')
    assert describe().endswith(f": {file}: [database] ca")


def test_doors_that_want_certificates_of_clients_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CCN_HTTP_TLS_CA", "/etc/ccn/ca.pem")
    with pytest.raises(errors.SettingsInvalid, match=r"^CCN_HTTP_TLS_CA: ccn up asks its own doors"):
        describe()
