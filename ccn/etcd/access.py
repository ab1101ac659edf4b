"""How etcd is reached: reads the settings as a client needs them, or says what is wrong with them.

Separate from the client, so that a node is told at its start what no server would ever mend.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import structlog

from ccn import errors
from ccn.certificates.client_link import ClientLink, ClientPems
from ccn.certificates.identity import LinkFiles
from ccn.core.identity import address
from ccn.etcd.endpoint import EtcdTls
from ccn.etcd.signin import EtcdUser

if TYPE_CHECKING:
    from ccn import settings

PREFIX = "CCN_ETCD"
_ADDRESS = f"{PREFIX}_ENDPOINTS"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EtcdAccess:
    """The servers (host:port), and what is shown to them."""

    servers: tuple[str, ...]
    tls: EtcdTls | None = None
    user: EtcdUser | None = None
    link: ClientLink | None = field(default=None, repr=False, compare=False)
    """The same files, to find out why TLS fails."""

    @property
    def certificate(self) -> bytes | None:
        """What is shown to etcd; None if nothing is."""
        return self.tls.certificate if self.tls is not None else None

    async def explain_failure(self, host: str, port: int) -> str:
        """Say what TLS has against a connection to a server that failed; nothing if that was not TLS."""
        if self.link is None:
            return ""
        try:
            return await self.link.explain_failure(host, port)
        except errors.SettingsInvalid as refused:  # the files are others by now
            return str(refused)


def read_access(chosen: settings.EtcdSettings, now: datetime) -> EtcdAccess:
    """Read the servers. TLS is used if an authority is named or they are written with https://."""
    endpoints = [_parse_endpoint(given) for given in chosen.endpoints]
    servers = tuple(server for _, server in endpoints)
    schemes = {scheme for scheme, _ in endpoints}
    if "https" in schemes and schemes != {"https"}:
        raise errors.SettingsInvalid("CCN_ETCD_ENDPOINTS: write all servers with https://, or none")
    link = _find_link(chosen, schemes)
    tls = _tls_from_pems(link.read_pems(lambda: now)) if link is not None else None
    access = EtcdAccess(servers, tls, _read_user(chosen), link)
    _refuse_plain_way(access, insecure=chosen.insecure)
    return access


def _refuse_plain_way(access: EtcdAccess, *, insecure: bool) -> None:
    beyond = [server for server in access.servers if not _is_loopback(server)]
    if access.tls is not None or not beyond:
        return
    if not insecure:
        raise errors.SettingsInvalid(
            f"{_ADDRESS}: {beyond[0]} is beyond this machine, where others could read along or pretend to "
            f"be it: set {PREFIX}_CA to the authority of its certificate, or write https://; "
            f"{PREFIX}_INSECURE=true if the network between encrypts"
        )
    if access.user:
        log.warning("the password for etcd travels in the clear: set CCN_ETCD_CA, or write https://")


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


def _find_link(chosen: settings.EtcdSettings, schemes: set[str]) -> ClientLink | None:
    """Return the link that the settings ask for; None if they ask for no TLS."""
    files = LinkFiles("etcd", PREFIX, chosen.ca, chosen.certificate, chosen.key)
    named = [variable for variable, file in files.by_variable().items() if file is not None]
    if "http" in schemes and named:
        raise errors.SettingsInvalid(f"{named[0]} is set, but {_ADDRESS} says http://")
    if chosen.ca is not None or "https" in schemes:
        return ClientLink("etcd", files, _ADDRESS)
    if len(named) == 1:
        missing = "KEY" if named[0].endswith("CERTIFICATE") else "CERTIFICATE"
        raise errors.SettingsInvalid(
            f"{PREFIX}_{missing} must be set too: a certificate and its key go together"
        )
    if named:
        raise errors.SettingsInvalid(
            "CCN_ETCD_CERTIFICATE needs TLS: set CCN_ETCD_CA, or write the endpoints with https://"
        )
    return None


def _tls_from_pems(pems: ClientPems) -> EtcdTls:
    return EtcdTls(pems.ca, pems.certificate, pems.key)


def _read_user(chosen: settings.EtcdSettings) -> EtcdUser | None:
    password = chosen.password.get_secret_value()
    match bool(chosen.user), bool(password):
        case (True, False):
            raise errors.SettingsInvalid("CCN_ETCD_PASSWORD must be set too: CCN_ETCD_USER has a password")
        case (False, True):
            raise errors.SettingsInvalid("CCN_ETCD_USER must be set too: a password is somebody's")
    return EtcdUser(chosen.user, password) if chosen.user else None


def _is_loopback(server: str) -> bool:
    return address.is_loopback(urlsplit(f"//{server}").hostname or "")
