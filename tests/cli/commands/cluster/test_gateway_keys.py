"""`ccn keys gateway` as somebody types it: certificates that voters know, and nothing that signs."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime
from pathlib import Path

import pytest

from ccn import errors, settings
from ccn.certificates import identity, inspection
from ccn.cli.cluster.credentials import gateway_credentials
from ccn.core.ids import NodeId
from tests.support.cli import commands

NAME = NodeId("gateway-1")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "keys of us"


def ccn_keys(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run(
        "keys", *arguments, "--dir", str(folder), cwd=folder.parent, env=commands.environment()
    )


def test_a_gateway_gets_certificates_of_the_authority_and_new_ones_when_asked_again(
    folder: Path,
) -> None:
    without = ccn_keys(folder, "gateway", NAME)
    assert without.returncode != 0
    assert "ccn keys init" in without.stderr
    assert ccn_keys(folder, "init", "--node", "node-1").returncode == 0
    made = ccn_keys(folder, "gateway", NAME, "--host", "doors.example.org")
    assert (made.returncode, made.stderr) == (0, "")
    place = folder / "gateways" / NAME
    links = ("database", "door", "etcd", "peers", "redis")
    assert {path.name for path in place.iterdir()} == {
        "ca.pem", *(f"{link}{end}" for link in links for end in (".pem", ".key"))
    }  # fmt: skip
    assert (place / "ca.pem").read_bytes() == (folder / "ca" / "ca.pem").read_bytes()
    before = (place / "peers.pem").read_bytes()
    assert inspection.list_names(before) == ("gateway-1.gateway.ccn.internal",)
    assert "doors.example.org" in inspection.list_names((place / "door.pem").read_bytes())
    assert ccn_keys(folder, "gateway", NAME).returncode == 0
    assert (place / "peers.pem").read_bytes() != before
    assert inspection.list_names((place / "peers.pem").read_bytes()) == inspection.list_names(before)


def test_what_a_gateway_was_given_makes_it_one_and_no_node(folder: Path) -> None:
    now = datetime.now(UTC)
    (given,) = gateway_credentials.prepare_gateways(folder, [NAME], (), now).values()
    files = {name.removeprefix("CCN_TLS_").lower(): path for name, path in given.to_environment().items()}
    chosen = settings.TlsSettings.model_validate(files)
    assert identity.read_identity(chosen, NAME, now, gateway=True) is not None
    with pytest.raises(errors.SettingsInvalid, match=r"is not for gateway-1\.ccn\.internal"):
        identity.read_identity(chosen, NAME, now)
    with pytest.raises(errors.SettingsInvalid, match=r"is not for gateway-2\.gateway\.ccn\.internal"):
        identity.read_identity(chosen, NodeId("gateway-2"), now, gateway=True)
    kept = (given.folder / "peers.pem").read_bytes()
    gateway_credentials.prepare_gateways(folder, [NAME], (), now)
    assert (given.folder / "peers.pem").read_bytes() == kept, "what lasts is kept"
    with pytest.raises(errors.InputInvalid):
        gateway_credentials.prepare_gateways(folder, [NodeId("a.gateway")], (), now)
