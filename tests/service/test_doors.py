"""Doors that could not open are refused before anything else is begun, by the name of the setting."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ccn import errors, settings
from ccn.certificates import identity, issuing
from ccn.certificates.issuing import IssuedCertificate, LinkUse
from ccn.service import doors

NOW = datetime.now(UTC)
GROUPS: dict[str, Any] = {"http": settings.HttpSettings, "grpc": settings.GrpcSettings}


@pytest.fixture(scope="module")
def authority() -> IssuedCertificate:
    return issuing.issue_authority(NOW)


def door_pair(authority: IssuedCertificate, since: datetime = NOW) -> IssuedCertificate:
    names = identity.LOOPBACK
    return issuing.issue_link_certificate(authority, "node-1", names, LinkUse.SERVER, since, 1)


@pytest.fixture
def files(tmp_path: Path, authority: IssuedCertificate) -> dict[str, Path]:
    """A pair that can be used, and what cannot."""
    good = door_pair(authority)
    texts = {
        "pem": good.certificate,
        "key": good.key,
        "other.key": door_pair(authority).key,
        "no.pem": b"nothing",
        "damaged.pem": b"-----BEGIN CERTIFICATE-----\nnothing\n-----END CERTIFICATE-----\n",
    }
    for name, text in texts.items():
        (tmp_path / name).write_bytes(text)
    return {name: tmp_path / name for name in (*texts, "nowhere")}


def check(link: str, **chosen: Any) -> None:
    doors.check_doors(settings.Settings(**{link: GROUPS[link](port=0, **chosen)}))


@pytest.mark.parametrize("link", GROUPS)
@pytest.mark.parametrize(
    ("certificate", "key", "words"),
    [
        ("pem", None, "{}_KEY must be set too: a certificate and its key go together"),
        (None, "key", "{}_CERTIFICATE must be set too"),
        ("nowhere", "key", "{}_CERTIFICATE: .*nowhere cannot be read: No such file"),
        ("pem", "nowhere", "{}_KEY: .*nowhere cannot be read: No such file"),
        ("no.pem", "key", "{}_CERTIFICATE: .*no.pem is not a PEM file"),
        ("damaged.pem", "key", "{}_CERTIFICATE: the file holds no certificate that can be read"),
        ("pem", "damaged.pem", "{}_KEY: the file holds no key without a password"),
        ("pem", "other.key", "{}_KEY is not the key of {}_CERTIFICATE"),
    ],
)
def test_files_that_clients_could_not_use_are_refused_by_name(
    files: dict[str, Path], link: str, certificate: str | None, key: str | None, words: str
) -> None:
    named = {"tls_certificate": certificate, "tls_key": key}
    chosen = {name: files[file] for name, file in named.items() if file is not None}
    with pytest.raises(errors.SettingsInvalid, match=words.replace("{}", f"CCN_{link.upper()}_TLS")):
        check(link, **chosen)


@pytest.mark.parametrize(
    ("days", "words"), [(-3, "is not valid now; it ended"), (3, "is not valid now; it begins")]
)
def test_a_certificate_of_another_time_is_refused(
    tmp_path: Path, authority: IssuedCertificate, days: int, words: str
) -> None:
    made = door_pair(authority, NOW + timedelta(days=days))
    (tmp_path / "pem").write_bytes(made.certificate)
    (tmp_path / "key").write_bytes(made.key)
    for link in GROUPS:
        with pytest.raises(errors.SettingsInvalid, match=f"CCN_{link.upper()}_TLS_CERTIFICATE {words}"):
            check(link, tls_certificate=tmp_path / "pem", tls_key=tmp_path / "key")


@pytest.mark.parametrize("link", GROUPS)
def test_a_door_beyond_this_machine_needs_a_pair_that_can_be_used(
    files: dict[str, Path], link: str
) -> None:
    with pytest.raises(
        errors.SettingsInvalid, match=f"CCN_{link.upper()}_HOST: 0.0.0.0 is beyond this machine"
    ):
        check(link, host="0.0.0.0")
    check(link, host="0.0.0.0", insecure=True)
    check(link, host="0.0.0.0", tls_certificate=files["pem"], tls_key=files["key"])
