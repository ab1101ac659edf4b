"""What the URL of a database says about TLS.

    postgresql://…?sslmode=verify-full&sslrootcert=ca.pem&sslcert=node.pem&sslkey=node.key

`CCN_DATABASE_CA`, `…_CERTIFICATE` and `…_KEY` are the same, for URLs that are written without. Beyond this
machine nothing less than verify-full will do.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qs, urlencode, urlsplit

from ccn import errors
from ccn.certificates.identity import LinkFiles
from ccn.core.identity import address

if TYPE_CHECKING:
    from ccn import settings

PREFIX = "CCN_DATABASE"
_FULL = "verify-full"
_OLDEST, _NEWEST = "ssl_min_protocol_version", "TLSv1.3"
_FILES = {"ca": "sslrootcert", "certificate": "sslcert", "key": "sslkey"}
_UNKNOWN = ("sslcrl", "sslpassword", "ssl_max_protocol_version")


@dataclass(frozen=True, slots=True)
class WantedTls:
    """What a URL with verify-full asks for."""

    files: LinkFiles
    oldest: ssl.TLSVersion


def read_wanted(url: str) -> WantedTls | None:
    """Read what a URL asks for; None if that is not verify-full."""
    query = _read_query(url)
    if query.get("sslmode") != _FULL:
        return None
    if unknown := [name for name in _UNKNOWN if name in query]:
        raise errors.SettingsInvalid(f"{PREFIX}_URL: {unknown[0]} is not known here together with {_FULL}")
    oldest = query.get(_OLDEST, _NEWEST)
    if oldest not in {"TLSv1.2", _NEWEST}:
        raise errors.SettingsInvalid(f"{PREFIX}_URL: {_OLDEST} is {_NEWEST}, not {oldest}")
    named = {name: query[parameter] for name, parameter in _FILES.items() if query.get(parameter)}
    if named.get("ca") == "system":  # as libpq has it
        del named["ca"]
    files = {name: Path(file) for name, file in named.items()}
    return WantedTls(LinkFiles("database", PREFIX, **files), ssl.TLSVersion[oldest.replace(".", "_")])


def complete_url(url: str, database: settings.DatabaseSettings) -> str:
    """Return the URL with what the settings add; what it says itself counts."""
    named = {name: file for name in _FILES if (file := getattr(database, name)) is not None}
    if not named or not url:
        return url
    added = {"sslmode": _FULL} | {_FILES[name]: str(file) for name, file in named.items()}
    return urlsplit(url)._replace(query=urlencode(added | dict(_read_query(url)))).geturl()


def refuse_plain_way(url: str, hosts: Iterable[str]) -> None:
    """Refuse a URL that leads beyond this machine where others could read along, or pretend to be it."""
    beyond = [host for host in hosts if not host.startswith(("/", "@")) and not address.is_loopback(host)]
    if not beyond:
        return
    query = _read_query(url)
    if query.get("sslmode") != _FULL:
        raise errors.SettingsInvalid(
            f"{PREFIX}_URL: {beyond[0]} is beyond this machine, where others could read along or pretend "
            f"to be it: set {PREFIX}_CA to the authority of its certificate, or write sslmode={_FULL} and "
            f"sslrootcert into the URL; {PREFIX}_INSECURE=true if the network between encrypts"
        )
    if query.get(_OLDEST, _NEWEST) != _NEWEST:
        raise errors.SettingsInvalid(
            f"{PREFIX}_URL: {_OLDEST} must be {_NEWEST} for {beyond[0]}, which is beyond this machine"
        )


def _read_query(url: str) -> Mapping[str, str]:
    return {name: values[-1] for name, values in parse_qs(urlsplit(url).query).items()}
