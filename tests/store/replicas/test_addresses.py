"""Each replica of a URL gets a URL of its own, with all that the URL says beside the hosts."""

from __future__ import annotations

import pytest

from ccn import errors
from ccn.store.connection import hosts
from ccn.store.connection.hosts import DatabaseHost
from ccn.store.replicas import addresses


@pytest.mark.parametrize(
    ("url", "named"),
    [
        ("postgresql://u:p%40@a:1,b/db", [DatabaseHost("a", 1), DatabaseHost("b", 5432)]),
        ("postgresql://u@/db?host=a,/run/pg&port=7", [DatabaseHost("a", 7), DatabaseHost("/run/pg", 7)]),
        ("postgresql://u@[::1]:9/db?target_session_attrs=standby", [DatabaseHost("::1", 9)]),
        ("", []),
    ],
)
def test_every_host_has_its_own_url(url: str, named: list[DatabaseHost]) -> None:
    found = [hosts.read_hosts(each) for each in addresses.list_replica_urls(url)]
    assert [each.hosts for each in found] == [(host,) for host in named]
    assert {each.wanted for each in found} <= {"any"}


def test_what_else_the_url_says_stays() -> None:
    url = "postgresql://u:p%40@a,b/db?sslmode=verify-full&sslrootcert=/ca%20file"
    for each in addresses.list_replica_urls(url):
        assert each.startswith("postgresql://u:p%40@/db?sslmode=verify-full&sslrootcert=%2Fca+file&host=")


def test_a_url_without_a_host_is_refused() -> None:
    with pytest.raises(errors.SettingsInvalid, match="names no host"):
        addresses.list_replica_urls("postgresql:///db")
