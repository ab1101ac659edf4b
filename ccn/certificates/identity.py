"""What a node shows to the others, and the name by which they recognise it.

A node's certificate names it as NODE.ccn.internal. That is no address, so a machine that happens to have
the name of a node is never taken for it. It is a DNS name, so TLS itself compares it.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from ccn import errors
from ccn.certificates import files
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
    """PEM texts: whom this node trusts and what it shows."""

    ca: bytes
    certificate: bytes
    key: bytes = field(repr=False)


def read_identity(tls: settings.TlsSettings, node: NodeId, now: datetime) -> TlsIdentity | None:
    """Read the files that the settings name. None if they name none, which is for loopback only."""
    named = {"CCN_TLS_CA": tls.ca, "CCN_TLS_CERTIFICATE": tls.certificate, "CCN_TLS_KEY": tls.key}
    missing = [variable for variable, file in named.items() if file is None]
    if len(missing) == len(named):
        return None
    if missing:
        raise errors.SettingsInvalid(
            f"{' and '.join(missing)} must be set too: TLS between nodes is mutual"
        )
    from ccn.certificates import inspection  # noqa: PLC0415 - a large library, needed only with certificates

    texts = [files.read_pem(variable, file) for variable, file in named.items() if file is not None]
    identity = TlsIdentity(*texts)
    inspection.check_identity(identity, node, now)
    return identity


def server_name(node: NodeId) -> str:
    """Return the name that the certificate of a node must have."""
    return f"{node}.{DOMAIN}"


def certificate_names(node: NodeId, hosts: Sequence[str]) -> tuple[str, ...]:
    """List every name in the certificate of a node. Refuse hosts that are none, or the names of nodes."""
    for host in hosts:
        if not _HOST.fullmatch(host) or host.endswith(f".{DOMAIN}"):
            raise errors.InputInvalid(f"{host!r} is not a host that a certificate can be for")
    own = server_name(NodeId(ids.check_name(node, "node")))
    return tuple(dict.fromkeys((own, *LOOPBACK, *hosts)))
