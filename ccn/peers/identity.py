"""Which node is at the other end: certificates, and the name by which one is recognised.

A node's certificate names it as NODE.ccn.internal. That is no address, so a machine that happens to be
called like a node is never taken for it; and it is a DNS name, so TLS itself compares it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ccn import errors
from ccn.core.ids import NodeId

if TYPE_CHECKING:
    from ccn import settings

DOMAIN = "ccn.internal"  # RFC 9476 keeps .internal for private use; nothing resolves it
HOST = re.compile(r"(?=.{1,253}$)[A-Za-z0-9_*](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?|[0-9A-Fa-f:.]{2,45}")
"""A DNS name or an IP address, near enough."""


@dataclass(frozen=True, slots=True)
class TlsIdentity:
    """PEM texts: whom this node trusts and what it shows."""

    ca: bytes
    certificate: bytes
    key: bytes = field(repr=False)


def read_identity(tls: settings.TlsSettings, node: NodeId, now: datetime) -> TlsIdentity | None:
    """The identity that the settings give a node; None if they name none, which is for loopback only."""
    files = {"CCN_TLS_CA": tls.ca, "CCN_TLS_CERTIFICATE": tls.certificate, "CCN_TLS_KEY": tls.key}
    missing = [name for name, file in files.items() if file is None]
    if len(missing) == len(files):
        return None
    if missing:
        raise errors.SettingsInvalid(
            f"{' and '.join(missing)} must be set too: TLS between nodes is mutual"
        )
    from ccn.peers import certificates  # noqa: PLC0415 - a large library, needed only with certificates

    found = TlsIdentity(*(_read_pem(name, file) for name, file in files.items() if file is not None))
    certificates.check_identity(found, node, now)
    return found


def server_name(node: NodeId) -> str:
    """The name that the certificate of a node must have."""
    return f"{node}.{DOMAIN}"


def is_loopback(address: str) -> bool:
    """Whether host or host:port stays on this machine."""
    host = address.rpartition(":")[0] if address.count(":") == 1 or "]" in address else address
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host == "localhost"


def _read_pem(name: str, file: Path) -> bytes:
    try:
        text = file.read_bytes()
    except OSError as unreadable:
        raise errors.SettingsInvalid(
            f"{name}: {file} cannot be read: {unreadable.strerror}"
        ) from unreadable
    if b"-----BEGIN " not in text:
        raise errors.SettingsInvalid(f"{name}: {file} is not a PEM file")
    return text
