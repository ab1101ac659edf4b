"""Which URLs of databases may be used, and what the settings add to one."""

from __future__ import annotations

from pathlib import Path

import pytest

from ccn import errors, settings
from ccn.store.connection import hosts
from ccn.store.encryption import parameters

BEYOND = "postgresql://ccn@db.example.org/ccn"


@pytest.mark.parametrize(
    "url",
    [
        BEYOND,
        BEYOND + "?sslmode=require",
        BEYOND + "?sslmode=verify-ca&sslrootcert=ca.pem",
        "postgresql://ccn@127.0.0.1,db.example.org/ccn",
        "postgresql://ccn@/ccn?host=192.0.2.7",
    ],
)
def test_a_database_beyond_this_machine_in_the_clear_says_what_to_set(url: str) -> None:
    with pytest.raises(errors.SettingsInvalid) as refused:
        hosts.prepare_url(url, settings.DatabaseSettings())
    for words in (
        "CCN_DATABASE_URL",
        "CCN_DATABASE_CA",
        "sslmode=verify-full",
        "CCN_DATABASE_INSECURE=true",
    ):
        assert words in str(refused.value)
    assert hosts.prepare_url(url, settings.DatabaseSettings(insecure=True)) == url


def test_loopback_a_socket_and_a_certificate_are_let_through() -> None:
    nothing = settings.DatabaseSettings()
    for url in (
        "",
        "postgresql://ccn@127.0.0.1:5432/ccn",
        "postgresql://ccn@localhost,[::1]/ccn",
        "postgresql://ccn@/ccn?host=/run/postgresql",
        BEYOND + "?sslmode=verify-full&sslrootcert=ca.pem",
    ):
        assert hosts.prepare_url(url, nothing) == url
    named = hosts.prepare_url(BEYOND, settings.DatabaseSettings(ca=Path("/a b/ca.pem")))
    wanted = parameters.read_wanted(named)
    assert wanted is not None
    assert wanted.files.ca == Path("/a b/ca.pem")
    older = BEYOND + "?sslmode=verify-full&ssl_min_protocol_version=TLSv1.2"
    with pytest.raises(errors.SettingsInvalid, match=r"ssl_min_protocol_version must be TLSv1\.3"):
        hosts.prepare_url(older, nothing)
