"""The replicas that one URL names: each is looked at by itself, so each gets a URL of its own.

Separate from `connection/hosts`, where several hosts are several ways to one primary.
"""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode, urlsplit

from ccn import errors
from ccn.store.connection import hosts
from ccn.store.connection.hosts import DatabaseHost

_ABOUT_HOSTS = {"host", "port", "target_session_attrs"}


def list_replica_urls(url: str) -> list[str]:
    """A URL for each host, in their order; `SettingsInvalid` says what is wrong."""
    if not url:
        return []
    found = hosts.read_hosts(url).hosts
    if not found:
        raise errors.SettingsInvalid(
            "CCN_DATABASE_REPLICA_URL names no host: the replicas are named one by one"
        )
    return [_url_of_host(url, host) for host in found]


def _url_of_host(url: str, host: DatabaseHost) -> str:
    parts = urlsplit(url)
    account, at, _ = parts.netloc.rpartition("@")
    kept = [(name, value) for name, value in parse_qsl(parts.query) if name not in _ABOUT_HOSTS]
    name = f"[{host.host}]" if ":" in host.host else host.host
    # Whether it is a standby is asked with all else, and said in words that tell what to do.
    query = urlencode([*kept, ("host", name), ("port", host.port), ("target_session_attrs", "any")])
    return parts._replace(netloc=account + at, query=query).geturl()
