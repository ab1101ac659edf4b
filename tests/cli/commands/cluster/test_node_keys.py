"""`ccn keys` as somebody types it: what it makes, what it leaves alone, and what it never prints."""

from __future__ import annotations

import json
import stat
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ccn import errors, settings
from ccn.certificates import identity, inspection, issuing
from ccn.cli.cluster.credentials import node_credentials
from ccn.cli.commands.cluster import node_keys as command
from ccn.core.identity import revocation
from ccn.core.ids import NodeId
from ccn.node.signing import memory, signing_key
from ccn.store.accounts import node_register
from ccn.store.connection import pool
from ccn.store.operators import requests
from tests.support.cli import commands
from tests.support.peers import peer_node
from tests.support.peers.peer_node import ASK, ONE, TWO, Node

NOW = datetime.now(UTC)
SERVERS = ("postgres", "etcd", "redis")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys of us"


def ccn_keys(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run(
        "keys", *arguments, "--dir", str(folder), cwd=folder.parent, env=commands.environment()
    )


def contents(folder: Path) -> dict[str, bytes]:
    return {
        str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()
    }


def test_init_makes_an_authority_and_all_that_each_node_needs(folder: Path) -> None:
    made = ccn_keys(folder, "init", "--node", "node-1", "--node", "node-2", "--host", "ccn.example.org")
    assert (made.returncode, made.stderr) == (0, "")
    links = {
        f"{name}.{end}" for name in ("peers", "door", "database", "etcd", "redis") for end in ("pem", "key")
    }
    signs = {"signer.lock", "signer.state", "signing.key"}
    wanted = {"ca/ca.pem", "ca/ca.key"} | {f"{node}/{file}" for node in (ONE, TWO) for file in signs}
    wanted |= {f"tls/{node}/{file}" for node in (ONE, TWO) for file in {*links, "ca.pem"}}
    wanted |= {
        f"tls/{server}/{file}" for server in SERVERS for file in ("ca.pem", "server.pem", "server.key")
    }
    assert set(contents(folder)) == wanted
    for name in wanted:
        secret = not name.endswith(".pem")
        assert stat.S_IMODE((folder / name).stat().st_mode) == (0o600 if secret else 0o644), name
    for name in (".", "ca", "node-1", "tls", "tls/node-1", "tls/etcd"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o700
    public = signing_key.read_key(folder / "node-1").public.hex()
    first = made.stdout.splitlines()[0].split("  ")
    assert first == ["node-1", public, str(folder / "node-1"), str(folder / "tls/node-1")]


def test_each_link_has_a_certificate_that_is_good_for_it_and_for_nothing_else(folder: Path) -> None:
    init = ("--node", "node-1", "--host", "ccn.example.org", "--etcd-host", "10.0.0.9")
    assert ccn_keys(folder, "init", *init).returncode == 0
    expected = {
        "node-1/peers": ("node-1", {"node-1.ccn.internal", "ccn.example.org"}, {"sslserver", "sslclient"}),
        "node-1/door": ("node-1", {"ccn.example.org"}, {"sslserver"}),  # a door must not pass for a node
        "node-1/database": ("ccn_node", set(), {"sslclient"}),
        "node-1/etcd": ("ccn", set(), {"sslclient"}),
        "node-1/redis": ("ccn", set(), {"sslclient"}),
        "postgres/server": ("postgres", {"postgres"}, {"sslserver"}),
        "etcd/server": (
            "etcd",
            {"etcd", *(f"etcd-{n}" for n in (1, 2, 3)), "10.0.0.9"},
            {"sslserver", "sslclient"},
        ),
        "redis/server": ("redis", {"redis"}, {"sslserver"}),
    }
    for name, (owner, hosts, purposes) in expected.items():
        file = folder / "tls" / f"{name}.pem"
        usual = set(identity.LOOPBACK) if hosts else set[str]()
        assert set(inspection.list_names(file.read_bytes())) == hosts | usual, name
        verify = ["openssl", "verify", "-x509_strict", "-CAfile", str(file.with_name("ca.pem")), "-purpose"]
        good = {
            purpose
            for purpose in ("sslserver", "sslclient")
            if subprocess.run([*verify, purpose, str(file)], capture_output=True, check=False).returncode
            == 0
        }
        assert good == purposes, name
        subject = ["openssl", "x509", "-noout", "-subject", "-in", str(file)]
        assert (
            subprocess.run(subject, capture_output=True, text=True, check=True).stdout.strip()
            == f"subject=CN = {owner}"
        )


def test_three_nodes_are_the_default(folder: Path) -> None:
    assert len(ccn_keys(folder, "init").stdout.splitlines()) == 7
    assert {each.name for each in folder.iterdir()} == {"ca", "tls", "node-1", "node-2", "node-3"}


def test_what_is_there_is_never_overwritten(folder: Path) -> None:
    assert ccn_keys(folder, "init", "--node", "node-1").returncode == 0
    before = contents(folder)
    again = ccn_keys(folder, "init", "--node", "node-2", "--node", "node-1")
    assert (again.returncode, again.stdout) == (1, "")
    assert "node-1/signing.key exists, and nothing is overwritten" in again.stderr
    assert contents(folder) == before


def test_further_nodes_come_from_the_same_authority(folder: Path) -> None:
    ccn_keys(folder, "init", "--node", "node-1")
    before = contents(folder)
    assert ccn_keys(folder, "init", "--node", "node-4").returncode == 0
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert after["tls/node-4/ca.pem"] == after["ca/ca.pem"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--node", "Node 1"), "node 'Node 1' must be"),
        (("--node", "../node-1"), "must be"),
        (("--host", "a b"), "'a b' is not a host"),
        (("--host", "node-2.ccn.internal"), "is not a host"),
        (("--redis-host", "a b"), "'a b' is not a host"),
        (("--node", "etcd"), "a node cannot be called 'etcd'"),
    ],
)
def test_names_that_cannot_be_are_refused_before_anything_is_written(
    folder: Path, arguments: tuple[str, ...], words: str
) -> None:
    made = ccn_keys(folder, "init", *arguments)
    assert made.returncode == 1
    assert words in made.stderr
    assert not folder.exists()


def test_a_folder_that_cannot_be_used_is_refused_in_words(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    made = ccn_keys(tmp_path / "file", "init")
    assert made.returncode == 1
    assert made.stderr.startswith("error: ")
    assert "Traceback" not in made.stderr


def test_without_its_key_an_authority_makes_no_further_nodes(folder: Path) -> None:
    ccn_keys(folder, "init", "--node", "node-1")
    (folder / "ca/ca.key").unlink()
    more = ccn_keys(folder, "init", "--node", "node-2")
    assert more.returncode == 1
    assert "without it no certificate can be issued" in more.stderr


def test_show_tells_public_keys_and_certificates_and_no_secret(folder: Path) -> None:
    ccn_keys(folder, "init")
    shown = ccn_keys(folder, "show")
    assert shown.returncode == 0
    public = signing_key.read_key(folder / "node-2").public.hex()
    assert f"node-2  {public}" in shown.stdout.splitlines()
    assert shown.stdout.count("ccn.internal") == 3
    secrets = [file.read_text().split()[2] for file in folder.glob("*/signing.key")]
    assert len(secrets) == 3
    assert not any(secret in shown.stdout + shown.stderr for secret in secrets)


def test_show_without_keys_says_so(folder: Path) -> None:
    shown = ccn_keys(folder, "show")
    assert shown.returncode == 1
    assert "has no keys of nodes" in shown.stderr


def test_preparing_makes_what_is_missing_and_keeps_the_rest(folder: Path) -> None:
    first = node_credentials.prepare_nodes(folder, [ONE], (), NOW)
    before = contents(folder)
    second = node_credentials.prepare_nodes(folder, [ONE, TWO], (), NOW + timedelta(days=1))
    assert second[ONE] == first[ONE]
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    (folder / "tls/node-2/peers.pem").unlink()  # as if killed just before the last file
    node_credentials.prepare_nodes(folder, [TWO], (), NOW)
    assert (folder / "tls/node-2/peers.pem").exists()
    assert (folder / "node-2/signing.key").read_bytes() == after["node-2/signing.key"]


def test_preparing_renews_a_certificate_that_soon_ends_and_never_a_signing_key(folder: Path) -> None:
    node_credentials.prepare_nodes(folder, [ONE], (), NOW)
    before = contents(folder)
    node_credentials.prepare_nodes(folder, [ONE], (), NOW + timedelta(days=issuing.NODE_DAYS - 11))
    assert contents(folder) == before
    late = NOW + timedelta(days=issuing.NODE_DAYS - 9)
    node_credentials.prepare_nodes(folder, [ONE], (), late)
    after = contents(folder)
    links = ("peers", "door", "database", "etcd", "redis")
    changed = {f"tls/node-1/{name}.{end}" for name in links for end in ("pem", "key")}
    assert {name for name in after if after[name] != before[name]} == changed
    until = inspection.find_end(after["tls/node-1/peers.pem"])
    assert until == late.replace(microsecond=0) + timedelta(days=issuing.NODE_DAYS)


def test_certificates_are_renewed_with_their_names_and_nothing_else_is(folder: Path) -> None:
    ccn_keys(folder, "init", "--node", "node-1", "--node", "node-2", "--host", "ccn.example.org")
    before = contents(folder)
    made = ccn_keys(folder, "renew", "--node", "node-2", "--host", "further.example.org")
    assert (made.returncode, made.stderr) == (0, "")
    after = contents(folder)
    changed = {name for name in after if after[name] != before[name]}
    assert changed == {
        name for name in after if name.startswith("tls/node-2/") and not name.endswith("ca.pem")
    }
    old, new = (inspection.summarise_certificate(each["tls/node-2/peers.pem"]) for each in (before, after))
    assert new.serial != old.serial
    assert set(new.names) == {*old.names, "further.example.org"}
    assert len(ccn_keys(folder, "renew").stdout.splitlines()) == 5
    refused = ccn_keys(folder, "renew", "--node", "node-9")
    assert refused.returncode == 1
    assert "has no certificate of node-9" in refused.stderr


async def test_what_was_revoked_counts_no_more_and_what_is_renewed_does(
    folder: Path, database: settings.DatabaseSettings
) -> None:
    ccn_keys(folder, "init", "--node", "node-1")
    old = (folder / "tls/node-1/peers.pem").read_bytes()
    where = ("--database-url", database.url.get_secret_value())

    def revoke(named: str) -> subprocess.CompletedProcess[str]:
        return commands.run("keys", "revoke", named, "--reason", "lost", *where, env=commands.environment())

    async with pool.open(database, "test") as connections:
        assert revoke("node-1").stdout == "revoked every certificate of node-1 until now\n"
        ccn_keys(folder, "renew")
        new = (folder / "tls/node-1/peers.pem").read_bytes()
        register = await node_register.load_register(connections)
        assert not revocation.still_counts(ONE, inspection.read_presented(old), register.revoked)
        assert revocation.still_counts(ONE, inspection.read_presented(new), register.revoked)
        number = json.loads(ccn_keys(folder, "show", "--json").stdout)["serial"]
        assert revoke(number).returncode == 0
        register = await node_register.load_register(connections)
        assert not revocation.still_counts(ONE, inspection.read_presented(new), register.revoked)
        (asked, _) = await requests.list_waiting(connections, requests.ACCOUNT)
        assert asked.body["action"] == "revoke certificate"
        assert (asked.body["node"], asked.body["reason"]) == ("node-1", "lost")
    listed = commands.run("keys", "revoked", *where, env=commands.environment()).stdout.splitlines()
    assert listed[0].endswith("UTC  all of node-1 until then")
    assert listed[1].endswith(f"UTC  {number}")


async def test_nodes_talk_with_what_was_prepared(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = node_credentials.prepare_nodes(folder, [ONE, TWO], (), NOW)

    def shown(node: NodeId) -> identity.TlsIdentity | None:
        for name, value in made[node].to_environment().items():
            monkeypatch.setenv(name, value)
        return identity.read_identity(settings.load().tls, node, NOW)

    from ccn.peers import client

    async with (
        peer_node.served(Node(), shown(TWO)) as address,
        client.open_client(ONE, shown(ONE)) as peers,
    ):
        await peers.set_addresses({TWO: address})
        assert (await peers.report(ASK, 5))[TWO] == peer_node.report_of(TWO)


def test_a_node_signs_with_what_was_prepared(folder: Path) -> None:
    made = node_credentials.prepare_nodes(folder, [ONE], (), NOW)[ONE]
    with memory.open_right(made.state) as held:
        assert held.key.public == made.public
        assert held.known_state is None
    with pytest.raises(errors.NotFound):
        command.show(folder / "nowhere")
