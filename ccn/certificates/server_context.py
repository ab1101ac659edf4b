"""What a door shows to those who connect, where Python's own TLS serves it: TLS 1.3 and no older one.

The context that listens stays the same for as long as the door is open. Each connection is handed over to
the newest one, so a renewed certificate is shown from the next connection on, and open ones notice nothing.
"""

from __future__ import annotations

import ssl

from ccn import errors
from ccn.certificates.identity import LinkFiles, TlsIdentity


class RenewableContext:
    """The context of one door, whose certificate may be replaced."""

    def __init__(self, files: LinkFiles) -> None:
        self._files = files
        self.listening = self._newest = _make_context(files)
        self.listening.sni_callback = self._hand_over

    async def renew(self, identity: TlsIdentity) -> None:
        """Show from now on what the files hold; what they held before stays if they cannot be used.

        Python's TLS reads files, not texts, so `identity` only says that they have changed.
        """
        del identity
        self._newest = _make_context(self._files)

    def _hand_over(self, connection: ssl.SSLObject, name: str | None, listening: ssl.SSLContext) -> None:
        """OpenSSL calls this for each connection, also for clients that name nobody."""
        del name, listening
        connection.context = self._newest


def _make_context(files: LinkFiles) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.num_tickets = 0  # a resumed connection would show no certificate, and ask for none
    context.set_alpn_protocols(["http/1.1"])
    assert files.certificate is not None
    try:
        # Without a function that gives one, OpenSSL would ask whoever sits at the terminal for a password.
        context.load_cert_chain(files.certificate, files.key, password=lambda: b"")
        if files.ca is not None:
            context.load_verify_locations(files.ca)
            context.verify_mode = ssl.CERT_REQUIRED
    except (ssl.SSLError, OSError) as refused:
        why = getattr(refused, "reason", None) or refused.strerror
        raise errors.SettingsInvalid(f"{files.prefix}_…: the files cannot be used ({why})") from None
    return context
