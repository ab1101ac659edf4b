"""Finds out why TLS with a server fails, by one more handshake that is looked at closely.

Clients of servers hide the reason: a server that refuses a certificate says so after the handshake of TLS
1.3, and what arrives is a connection that was closed. Nothing is sent here that says who we are, but what
TLS itself shows.
"""

from __future__ import annotations

import contextlib
import socket
import ssl

from ccn.certificates import refusal
from ccn.certificates.refusal import TlsRefusal

WITHIN_S = 2.0
_ALERT_S = 0.5
"""How long a server may take to refuse a certificate once the handshake is done."""


def find_refusal(
    host: str, port: int, context: ssl.SSLContext, greeting: bytes = b"", *, shows: bool
) -> TlsRefusal | None:
    """Return what one end has against the other; None if the handshake succeeds, or never begins.

    `greeting` goes first in the clear, where a server wants to be asked for TLS; it answers N if it has
    none. `shows` says whether the context has a certificate of ours.
    """
    try:
        with socket.create_connection((host, port), WITHIN_S) as plain:
            if greeting:
                plain.sendall(greeting)
                if plain.recv(1) == b"N":
                    return TlsRefusal.NO_TLS
            with context.wrap_socket(plain, server_hostname=host) as wrapped:
                wrapped.settimeout(_ALERT_S)
                with contextlib.suppress(TimeoutError):
                    wrapped.recv(1)
    except OSError as failed:
        return refusal.classify_error(failed, shows=shows)
    return None
