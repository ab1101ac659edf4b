"""Certificates name one node each, and a node is told at its start what its peers would refuse."""

from __future__ import annotations

import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from ccn import errors, settings
from ccn.core.ids import NodeId
from ccn.peers import certificates, identity
from ccn.peers.certificates import IssuedCertificate
from tests.peering import ONE, TWO, identity_of

NOW = datetime(2026, 6, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def authority() -> IssuedCertificate:
    return certificates.issue_authority(NOW)


@pytest.fixture
def files(tmp_path: Path, authority: IssuedCertificate) -> settings.TlsSettings:
    """What `ccn keys init` would write."""
    shown = identity_of(authority, ONE, NOW)
    for name, text in (("ca", shown.ca), ("certificate", shown.certificate), ("key", shown.key)):
        (tmp_path / name).write_bytes(text)
    return settings.TlsSettings(
        ca=tmp_path / "ca", certificate=tmp_path / "certificate", key=tmp_path / "key"
    )


def test_openssl_takes_the_chain_for_what_it_is(tmp_path: Path, authority: IssuedCertificate) -> None:
    issued = certificates.issue_certificate(authority, ONE, ("ccn.example.org",), NOW)
    (tmp_path / "ca.pem").write_bytes(authority.certificate)
    (tmp_path / "node.pem").write_bytes(issued.certificate)
    at = str(int(NOW.timestamp()))
    for purpose in ("sslserver", "sslclient"):
        command = ["openssl", "verify", "-x509_strict", "-purpose", purpose, "-attime", at]
        checked = subprocess.run(
            [*command, "-CAfile", tmp_path / "ca.pem", tmp_path / "node.pem"],
            capture_output=True,
            text=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stderr


def test_a_certificate_is_for_the_node_loopback_and_the_hosts(authority: IssuedCertificate) -> None:
    issued = certificates.issue_certificate(
        authority, ONE, ("ccn.example.org", "10.0.0.7", "localhost"), NOW
    )
    described = certificates.summarise_certificate(issued.certificate)
    assert described.names == (
        "node-1.ccn.internal",
        "localhost",
        "127.0.0.1",
        "::1",
        "ccn.example.org",
        "10.0.0.7",
    )
    assert described.until == NOW + timedelta(days=certificates.NODE_DAYS)


def test_no_certificate_outlives_its_authority() -> None:
    short = certificates.issue_authority(NOW, days=10)
    issued = certificates.issue_certificate(short, ONE, (), NOW)
    assert certificates.summarise_certificate(issued.certificate).until == NOW + timedelta(days=10)


@pytest.mark.parametrize(
    "host", ["node-2.ccn.internal", "a b", "", "https://x", "x/y", "-x", "x-", "é", "a" * 300]
)
def test_a_host_that_is_none_or_is_another_node_is_refused(authority: IssuedCertificate, host: str) -> None:
    with pytest.raises(errors.InputInvalid, match="host"):
        certificates.issue_certificate(authority, ONE, (host,), NOW)


def test_a_node_has_a_name(authority: IssuedCertificate) -> None:
    with pytest.raises(errors.InputInvalid, match="node"):
        certificates.issue_certificate(authority, NodeId("*"), (), NOW)


def test_damaged_files_of_an_authority_are_refused(authority: IssuedCertificate) -> None:
    other = certificates.issue_authority(NOW)
    for damaged in (
        IssuedCertificate(b"", authority.key),
        IssuedCertificate(authority.certificate, b"-----BEGIN"),
        IssuedCertificate(authority.certificate, other.key),
    ):
        with pytest.raises(errors.InputInvalid, match="authority"):
            certificates.issue_certificate(damaged, ONE, (), NOW)
    with pytest.raises(errors.InputInvalid, match="not the certificate of a node"):
        certificates.summarise_certificate(authority.certificate)


def test_keys_are_never_shown(authority: IssuedCertificate) -> None:
    shown = identity_of(authority, ONE, NOW)
    assert "PRIVATE" not in repr(authority) + repr(shown)


def test_a_node_reads_what_its_settings_name(
    files: settings.TlsSettings, authority: IssuedCertificate
) -> None:
    read = identity.read_identity(files, ONE, NOW)
    assert read is not None
    assert read.ca == authority.certificate
    assert identity.read_identity(settings.TlsSettings(), ONE, NOW) is None


def test_tls_needs_all_three_files(files: settings.TlsSettings) -> None:
    with pytest.raises(errors.SettingsInvalid, match="CCN_TLS_CA and CCN_TLS_KEY must be set too"):
        identity.read_identity(settings.TlsSettings(certificate=files.certificate), ONE, NOW)


def test_what_peers_would_refuse_is_refused_at_the_start(
    files: settings.TlsSettings, authority: IssuedCertificate
) -> None:
    assert files.key
    assert files.certificate
    with pytest.raises(errors.SettingsInvalid, match=r"not for node-2\.ccn\.internal"):
        identity.read_identity(files, TWO, NOW)
    for moment in (NOW - timedelta(days=1), NOW + timedelta(days=2)):
        with pytest.raises(errors.SettingsInvalid, match="not valid now"):
            identity.read_identity(files, ONE, moment)
    files.key.write_bytes(identity_of(authority, ONE, NOW).key)
    with pytest.raises(errors.SettingsInvalid, match="CCN_TLS_KEY is not the key"):
        identity.read_identity(files, ONE, NOW)
    files.key.write_bytes(b"-----BEGIN nothing")
    with pytest.raises(errors.SettingsInvalid, match="no certificates and key"):
        identity.read_identity(files, ONE, NOW)
    files.certificate.write_bytes(b"nothing")
    with pytest.raises(errors.SettingsInvalid, match=r"CCN_TLS_CERTIFICATE: .* is not a PEM file"):
        identity.read_identity(files, ONE, NOW)
    files.certificate.unlink()
    with pytest.raises(errors.SettingsInvalid, match=r"CCN_TLS_CERTIFICATE: .* cannot be read"):
        identity.read_identity(files, ONE, NOW)


@pytest.mark.parametrize(
    ("address", "here"),
    [
        ("127.0.0.1:1", True),
        ("127.9.9.9", True),
        ("[::1]:1", True),
        ("::1", True),
        ("localhost:1", True),
        ("localhost", True),
        ("0.0.0.0:1", False),
        ("10.0.0.7:1", False),
        ("127.0.0.1.example.org:1", False),
        ("[::]:1", False),
        ("", False),
    ],
)
def test_what_stays_on_this_machine(address: str, here: bool) -> None:
    assert identity.is_loopback(address) is here
