"""A node reads what it shows from files, or is told at its start what its peers would refuse."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from ccn import errors, settings
from ccn.certificates import identity
from ccn.certificates.issuing import IssuedCertificate
from tests.certificates.conftest import NOW
from tests.support.peers.peer_node import ONE, TWO, identity_of


@pytest.fixture
def files(tmp_path: Path, authority: IssuedCertificate) -> settings.TlsSettings:
    """What `ccn keys init` would write."""
    shown = identity_of(authority, ONE, NOW)
    assert shown.ca is not None
    for name, text in (("ca", shown.ca), ("certificate", shown.certificate), ("key", shown.key)):
        (tmp_path / name).write_bytes(text)
    return settings.TlsSettings(
        ca=tmp_path / "ca", certificate=tmp_path / "certificate", key=tmp_path / "key"
    )


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
    with pytest.raises(errors.SettingsInvalid, match="CCN_TLS_KEY: the file holds no key"):
        identity.read_identity(files, ONE, NOW)
    files.certificate.write_bytes(b"nothing")
    with pytest.raises(errors.SettingsInvalid, match=r"CCN_TLS_CERTIFICATE: .* is not a PEM file"):
        identity.read_identity(files, ONE, NOW)
    files.certificate.unlink()
    with pytest.raises(errors.SettingsInvalid, match=r"CCN_TLS_CERTIFICATE: .* cannot be read"):
        identity.read_identity(files, ONE, NOW)
