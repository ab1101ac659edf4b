"""A certificate is for one node, and tools of others take it for what it is."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from ccn import errors
from ccn.certificates import inspection, issuing
from ccn.certificates.issuing import IssuedCertificate
from ccn.core.ids import NodeId
from tests.certificates.conftest import NOW
from tests.support.peers.peer_node import ONE, identity_of


def test_openssl_takes_the_chain_for_what_it_is(tmp_path: Path, authority: IssuedCertificate) -> None:
    issued = issuing.issue_certificate(authority, ONE, ("ccn.example.org",), NOW)
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
    issued = issuing.issue_certificate(authority, ONE, ("ccn.example.org", "10.0.0.7", "localhost"), NOW)
    described = inspection.summarise_certificate(issued.certificate)
    assert described.names == (
        "node-1.ccn.internal",
        "localhost",
        "127.0.0.1",
        "::1",
        "ccn.example.org",
        "10.0.0.7",
    )
    assert described.until == NOW + timedelta(days=issuing.NODE_DAYS)


def test_no_certificate_outlives_its_authority() -> None:
    short = issuing.issue_authority(NOW, days=10)
    issued = issuing.issue_certificate(short, ONE, (), NOW)
    assert inspection.summarise_certificate(issued.certificate).until == NOW + timedelta(days=10)


@pytest.mark.parametrize(
    "host", ["node-2.ccn.internal", "a b", "", "https://x", "x/y", "-x", "x-", "é", "a" * 300]
)
def test_a_host_that_is_none_or_is_another_node_is_refused(authority: IssuedCertificate, host: str) -> None:
    with pytest.raises(errors.InputInvalid, match="host"):
        issuing.issue_certificate(authority, ONE, (host,), NOW)


def test_a_node_has_a_name(authority: IssuedCertificate) -> None:
    with pytest.raises(errors.InputInvalid, match="node"):
        issuing.issue_certificate(authority, NodeId("*"), (), NOW)


def test_damaged_files_of_an_authority_are_refused(authority: IssuedCertificate) -> None:
    other = issuing.issue_authority(NOW)
    for damaged in (
        IssuedCertificate(b"", authority.key),
        IssuedCertificate(authority.certificate, b"-----BEGIN"),
        IssuedCertificate(authority.certificate, other.key),
    ):
        with pytest.raises(errors.InputInvalid, match="authority"):
            issuing.issue_certificate(damaged, ONE, (), NOW)
    with pytest.raises(errors.InputInvalid, match="not the certificate of a node"):
        inspection.summarise_certificate(authority.certificate)


def test_keys_are_never_shown(authority: IssuedCertificate) -> None:
    shown = identity_of(authority, ONE, NOW)
    assert "PRIVATE" not in repr(authority) + repr(shown)
