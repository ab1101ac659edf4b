"""What a door of gRPC's shows to whoever connects, and what it shows from the next connection on.

The same for the door of clients and for that of the other nodes. That nothing older than TLS 1.3 is agreed
on is set for the whole process, before gRPC is imported (`certificates.tls_floor`); no door opens without.
"""

from __future__ import annotations

from typing import Any

import grpc  # type: ignore[import-untyped]

from ccn.certificates import tls_floor
from ccn.certificates.identity import TlsIdentity


class DoorCredentials:
    """The certificate of one door. Callers must show one too if it comes with an authority."""

    def __init__(self, identity: TlsIdentity) -> None:
        self._identity = self._configured_identity = identity

    async def show_identity(self, identity: TlsIdentity) -> None:
        """Show this certificate on connections that begin from now on. Open ones go on."""
        self._identity = identity

    def make_credentials(self) -> Any:
        """Make what a port is opened with."""
        tls_floor.check_floor()
        return grpc.dynamic_ssl_server_credentials(
            self._make_configuration(),
            self._renew_configuration,
            require_client_authentication=self._identity.ca is not None,
        )

    def _make_configuration(self) -> Any:
        identity = self._configured_identity = self._identity
        return grpc.ssl_server_certificate_configuration(
            [(identity.key, identity.certificate)], identity.ca
        )

    def _renew_configuration(self) -> Any:
        """Return a new configuration, or None if nothing has changed.

        gRPC calls this for each connection, in a thread of its own.
        """
        changed = self._identity is not self._configured_identity
        return self._make_configuration() if changed else None
