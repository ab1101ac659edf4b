"""What groups of settings say about the certificate of one link, the same for every link.

A door shows a certificate and demands TLS 1.3. `CCN_HTTP_TLS_CERTIFICATE` belongs to the HTTP door,
`CCN_GRPC_TLS_CERTIFICATE` to the gRPC door; the links to other servers name their files in the same way.
"""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from ccn.settings.fields import SettingsGroup


class DoorTls(SettingsGroup):
    """The certificate of a door for clients."""

    tls_certificate: Path | None = Field(
        default=None,
        description="PEM file with the certificate that clients see, and those that lead to its authority.",
    )
    tls_key: Path | None = Field(default=None, description="PEM file with the key of that certificate.")
    tls_ca: Path | None = Field(
        default=None,
        description="PEM file with the authority of clients' certificates; if unset, they need none.",
    )
    insecure: bool = Field(
        default=False,
        description="Whether to listen beyond loopback without a certificate, as behind a proxy with TLS.",
    )


class ServerTls(SettingsGroup):
    """What this node shows to a server that it calls, and whom it takes for that server."""

    ca: Path | None = Field(
        default=None,
        description="PEM file with the authority of that server's certificates; with it, TLS is used.",
    )
    certificate: Path | None = Field(
        default=None, description="PEM file with the certificate that this node shows to that server."
    )
    key: Path | None = Field(default=None, description="PEM file with the key of that certificate.")
    insecure: bool = Field(
        default=False,
        description="Whether that server may be beyond loopback without TLS: the network encrypts.",
    )
