"""What a node shows to a server that it calls, where Python's own TLS calls: TLS 1.3, the name compared.

PostgreSQL, etcd and Redis have one link each. Its files are read again when they change, and connections
that are made from then on use what they hold. Separate from `server_context`, because here the other end is
named by a setting, and who cannot reach it has to be told which end has to mend what.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime

from ccn import errors
from ccn.certificates import handshake
from ccn.certificates.files import read_pem
from ccn.certificates.identity import LinkFiles, TlsIdentity


@dataclass(frozen=True, slots=True)
class ClientPems:
    """PEM texts: whom to trust and, where the server asks for it, who we are."""

    ca: bytes | None
    """Without one, the authorities that this machine trusts count."""
    certificate: bytes | None = None
    key: bytes | None = field(default=None, repr=False)


def read_client_pems(files: LinkFiles, now: datetime) -> ClientPems:
    """Read what the files hold, and refuse what no server would take."""
    from ccn.certificates import inspection  # noqa: PLC0415 - a large library, needed only with certificates

    by_variable = files.by_variable()
    missing = [
        each for each in by_variable if each.endswith(("_CERTIFICATE", "_KEY")) and not by_variable[each]
    ]
    if len(missing) == 1:
        raise errors.SettingsInvalid(f"{missing[0]} must be set too: a certificate and its key go together")
    ca, certificate, key = (
        None if file is None else read_pem(each, file) for each, file in by_variable.items()
    )
    if certificate is not None and key is not None:
        inspection.check_pair(TlsIdentity(ca, certificate, key), files.prefix, now)
    elif ca is not None:
        inspection.check_authority(ca, files.prefix)
    return ClientPems(ca, certificate, key)


class ClientLink:
    """The link to one kind of server, and what connections to it use."""

    def __init__(
        self,
        server: str,
        files: LinkFiles,
        address_setting: str,
        oldest: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3,
    ) -> None:
        self.files = files
        self._server = server
        self._address_setting = address_setting
        self._oldest = oldest
        self._context: ssl.SSLContext | None = None

    @property
    def context(self) -> ssl.SSLContext:
        """What a new connection uses."""
        if self._context is None:
            self._context = self._make_context()
        return self._context

    def read_pems(self, now: Callable[[], datetime]) -> ClientPems:
        """Read what the files hold now."""
        return read_client_pems(self.files, now())

    async def renew(self, pems: ClientPems) -> None:
        """Use from now on what the files hold; what they held before stays if they cannot be used.

        Python's TLS reads files, not texts, so `pems` only says that they have changed.
        """
        del pems
        self.reload()

    def reload(self) -> None:
        """Read the files again, and use them from now on."""
        self._context = self._make_context()

    async def explain_failure(self, host: str, port: int, greeting: bytes = b"") -> str:
        """Say what TLS has against a connection that failed, and which setting it is about, or nothing."""
        shows = self.files.certificate is not None
        refusal = await asyncio.to_thread(
            handshake.find_refusal, host, port, self.context, greeting, shows=shows
        )
        if refusal is None:
            return ""
        why = refusal.describe(self.files.prefix, self._address_setting, host)
        return f"{self._server} at {host}:{port} {why}"

    def _make_context(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # which compares names, and takes no stranger
        context.minimum_version = self._oldest
        files = self.files
        try:
            if files.ca is None:
                context.load_default_certs(ssl.Purpose.SERVER_AUTH)
            else:
                context.load_verify_locations(files.ca)
            if files.certificate is not None:
                # Without a function that gives one, OpenSSL would ask the terminal for a password.
                context.load_cert_chain(files.certificate, files.key, password=lambda: b"")
        except (ssl.SSLError, OSError) as refused:
            why = getattr(refused, "reason", None) or refused.strerror
            raise errors.SettingsInvalid(f"{files.prefix}_…: the files cannot be used ({why})") from None
        return context
