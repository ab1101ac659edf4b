"""How etcd is reached: reads the settings as a client needs them, or says what is wrong with them.

Separate from the client, so that a node is told at its start what no server would ever mend.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from ccn import errors
from ccn.certificates import files
from ccn.core.identity import address
from ccn.etcd.endpoint import EtcdTls
from ccn.etcd.signin import EtcdUser

if TYPE_CHECKING:
    from ccn import settings

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EtcdAccess:
    """The servers (host:port), and what is shown to them."""

    servers: tuple[str, ...]
    tls: EtcdTls | None = None
    user: EtcdUser | None = None


def read_access(chosen: settings.EtcdSettings) -> EtcdAccess:
    """Read the servers. TLS is used if an authority is named or they are written with https://."""
    endpoints = [_parse_endpoint(given) for given in chosen.endpoints]
    servers = tuple(server for _, server in endpoints)
    schemes = {scheme for scheme, _ in endpoints}
    if "https" in schemes and schemes != {"https"}:
        raise errors.SettingsInvalid("CCN_ETCD_ENDPOINTS: write all servers with https://, or none")
    access = EtcdAccess(servers, _read_tls(chosen, schemes), _read_user(chosen))
    if access.user and not access.tls and not all(map(_is_loopback, servers)):
        log.warning("the password for etcd travels in the clear: set CCN_ETCD_CA, or write https://")
    return access


def _parse_endpoint(given: str) -> tuple[str, str]:
    """Return the scheme, and host:port."""
    parts = urlsplit(given if "://" in given else f"//{given}")
    if "@" in parts.netloc:
        raise errors.SettingsInvalid(
            "CCN_ETCD_ENDPOINTS: a user belongs into CCN_ETCD_USER, its password into CCN_ETCD_PASSWORD"
        )
    try:
        whole = parts.hostname and parts.port and parts.path in {"", "/"}
    except ValueError:  # no port, or no host
        whole = None
    if not whole or parts.scheme not in {"", "http", "https"} or parts.query or parts.fragment:
        raise errors.SettingsInvalid(
            f"CCN_ETCD_ENDPOINTS: {given!r} must be host:port, or https://host:port for TLS"
        )
    return parts.scheme, parts.netloc


def _read_tls(chosen: settings.EtcdSettings, schemes: set[str]) -> EtcdTls | None:
    pair = {"CCN_ETCD_CERTIFICATE": chosen.certificate, "CCN_ETCD_KEY": chosen.key}
    missing = [name for name, file in pair.items() if file is None]
    if len(missing) == 1:
        raise errors.SettingsInvalid(f"{missing[0]} must be set too: a certificate and its key go together")
    named = [name for name, file in {"CCN_ETCD_CA": chosen.ca, **pair}.items() if file is not None]
    if "http" in schemes and named:
        raise errors.SettingsInvalid(f"{named[0]} is set, but CCN_ETCD_ENDPOINTS says http://")
    if chosen.ca is None and "https" not in schemes:
        if named:
            raise errors.SettingsInvalid(
                "CCN_ETCD_CERTIFICATE needs TLS: set CCN_ETCD_CA, or write the endpoints with https://"
            )
        return None
    texts = {name: _read_pem(name, file) for name, file in {"CCN_ETCD_CA": chosen.ca, **pair}.items()}
    if chosen.certificate is not None and chosen.key is not None:
        _check_pair(chosen.certificate, chosen.key)
    return EtcdTls(texts["CCN_ETCD_CA"], texts["CCN_ETCD_CERTIFICATE"], texts["CCN_ETCD_KEY"])


def _read_user(chosen: settings.EtcdSettings) -> EtcdUser | None:
    password = chosen.password.get_secret_value()
    match bool(chosen.user), bool(password):
        case (True, False):
            raise errors.SettingsInvalid("CCN_ETCD_PASSWORD must be set too: CCN_ETCD_USER has a password")
        case (False, True):
            raise errors.SettingsInvalid("CCN_ETCD_USER must be set too: a password is somebody's")
    return EtcdUser(chosen.user, password) if chosen.user else None


def _read_pem(variable: str, file: Path | None) -> bytes | None:
    return None if file is None else files.read_pem(variable, file)


def _check_pair(certificate: Path, key: Path) -> None:
    """Refuse what gRPC would only call a failed handshake, again and again."""
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=lambda: b"")
    except ssl.SSLError as wrong:
        raise errors.SettingsInvalid(
            f"CCN_ETCD_KEY is not the key of CCN_ETCD_CERTIFICATE, or a file is damaged ({wrong.reason})"
        ) from None


def _is_loopback(server: str) -> bool:
    return address.is_loopback(urlsplit(f"//{server}").hostname or "")
