"""What one end of a link shows to the other, read from the files that settings name, and names in it.

A node's certificate names it as NODE.ccn.internal. That is no address, so a machine that happens to have
the name of a node is never taken for it. It is a DNS name, so TLS itself compares it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ccn import errors
from ccn.certificates.files import read_pem
from ccn.core import ids
from ccn.core.ids import NodeId

if TYPE_CHECKING:
    from ccn import settings

DOMAIN = "ccn.internal"  # RFC 9476 keeps .internal for private use; nothing resolves it
LOOPBACK = ("localhost", "127.0.0.1", "::1")
_HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_*](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")
"""A DNS name or an IP address, near enough."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """PEM texts: whom one end of a link trusts and what it shows."""

    ca: bytes | None
    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class LinkFiles:
    """The files that settings name for one link; `prefix` begins the names of their variables."""

    link: str
    prefix: str
    ca: Path | None = None
    certificate: Path | None = None
    key: Path | None = None

    def by_variable(self) -> dict[str, Path | None]:
        """The files by the variables that name them, set or not, as `TlsIdentity` has them."""
        files = {"CA": self.ca, "CERTIFICATE": self.certificate, "KEY": self.key}
        return {f"{self.prefix}_{end}": file for end, file in files.items()}


def door_files(link: str, door: settings.DoorTls) -> LinkFiles:
    """Name the files of a door for clients."""
    prefix = f"CCN_{link.upper()}_TLS"
    return LinkFiles(link, prefix, door.tls_ca, door.tls_certificate, door.tls_key)


def peer_files(tls: settings.TlsSettings) -> LinkFiles:
    """Name the files by which nodes know each other."""
    return LinkFiles("peers", "CCN_TLS", tls.ca, tls.certificate, tls.key)


def read_pair(files: LinkFiles, now: datetime) -> TlsIdentity | None:
    """Read what one end shows, and refuse what the other would refuse. None if no file is named."""
    by_variable = files.by_variable()
    named = [variable for variable, file in by_variable.items() if file is not None]
    if not named:
        return None
    missing = [each for each, file in by_variable.items() if file is None and not each.endswith("_CA")]
    if missing:
        raise errors.SettingsInvalid(
            f"{' and '.join(missing)} must be set too: a certificate and its key go together"
        )
    from ccn.certificates import inspection  # noqa: PLC0415 - a large library, needed only with certificates

    texts = [None if file is None else read_pem(each, file) for each, file in by_variable.items()]
    ca, certificate, key = texts
    assert certificate is not None
    assert key is not None
    pair = TlsIdentity(ca, certificate, key)
    inspection.check_pair(pair, files.prefix, now)
    return pair


def read_identity(
    tls: settings.TlsSettings, node: NodeId, now: datetime, *, gateway: bool = False
) -> TlsIdentity | None:
    """Read what a node shows to the others. None if no file is named, which is for loopback only."""
    files = peer_files(tls)
    by_variable = files.by_variable()
    missing = [variable for variable, file in by_variable.items() if file is None]
    if missing and len(missing) < len(by_variable):
        raise errors.SettingsInvalid(
            f"{' and '.join(missing)} must be set too: TLS between nodes is mutual"
        )
    identity = read_pair(files, now)
    if identity is not None:
        from ccn.certificates import inspection  # noqa: PLC0415 - as above

        name = gateway_name(node) if gateway else server_name(node)
        inspection.check_name(identity, name, files.prefix)
    return identity


def gateway_name(gateway: NodeId) -> str:
    """Return the name that the certificate of a gateway must have. No node has it: names have no dots."""
    return f"{gateway}.gateway.{DOMAIN}"


def server_name(node: NodeId) -> str:
    """Return the name that the certificate of a node must have."""
    return f"{node}.{DOMAIN}"


def certificate_names(node: NodeId, hosts: Sequence[str]) -> tuple[str, ...]:
    """List every name in the certificate of a node. Refuse hosts that are none, or the names of nodes."""
    own = server_name(NodeId(ids.check_name(node, "node")))
    return tuple(dict.fromkeys((own, *LOOPBACK, *check_hosts(hosts))))


def check_hosts(hosts: Sequence[str]) -> Sequence[str]:
    """Return the hosts, unless one of them is none, or is the name of a node."""
    for host in hosts:
        if not _HOST.fullmatch(host) or host.endswith(f".{DOMAIN}"):
            raise errors.InputInvalid(f"{host!r} is not a host that a certificate can be for")
    return hosts
