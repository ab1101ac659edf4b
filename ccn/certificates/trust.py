"""Whom a client trusts at a door, and in plain words why it does not.

The words of TLS libraries name neither the setting nor the side that has to mend something. Here each
reason says whether the authority, the name or the date is wrong.
"""

from __future__ import annotations

import contextlib
import socket
import ssl
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from types import MappingProxyType

from ccn import errors
from ccn.certificates import refusal
from ccn.certificates.files import read_pem
from ccn.certificates.refusal import TlsRefusal

_WORDS: Mapping[TlsRefusal, str] = MappingProxyType(
    {
        TlsRefusal.THEIR_AUTHORITY: "no authority that is trusted here issued its certificate: name the "
        "authority with --ca",
        TlsRefusal.THEIR_BEGINNING: "its certificate is not valid yet: is a clock wrong?",
        TlsRefusal.THEIR_DATE: "its certificate has ended: it has to be renewed there",
        TlsRefusal.THEIR_NAME: "its certificate is for other names than this one",
        TlsRefusal.THEIR_CERTIFICATE: "its certificate is not good for a door",
        TlsRefusal.NO_TLS: "it does not speak TLS: write http://, or give that door a certificate",
        TlsRefusal.NO_TLS_1_3: "it speaks no TLS 1.3",
        TlsRefusal.OURS_MISSING: "it wants a certificate of the client, and has got none",
    }
)
"""What it means for whoever calls a door, and shows no certificate there."""


@lru_cache(maxsize=4)  # reading all authorities of the system takes longer than most requests
def make_client_context(ca: Path | None) -> ssl.SSLContext:
    """Make what a client connects with; it trusts the authority in a file, else those of the system."""
    context = ssl.create_default_context() if ca is None else _trust_only(read_pem("--ca", ca).decode())
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    return context


def describe_failure(failed: BaseException) -> str:
    """Say why a door was not trusted; empty if it was not about that."""
    cause = getattr(failed, "reason", None)  # urllib's has the error of TLS inside
    failed = cause if isinstance(cause, ssl.SSLError) else failed
    if not isinstance(failed, ssl.SSLError):
        return ""
    found = refusal.classify_error(failed, shows=False)
    if found is None or found not in _WORDS:
        return f"TLS failed ({failed.reason})"
    if found is TlsRefusal.THEIR_CERTIFICATE and isinstance(failed, ssl.SSLCertVerificationError):
        return f"{_WORDS[found]} ({failed.verify_message})"
    return _WORDS[found]


def find_reason(host: str, port: int, ca: bytes | None, within_s: float) -> str:
    """Connect once to see why a door was not trusted; empty if it was trusted or nobody is there.

    For clients whose library does not tell.
    """
    context = ssl.create_default_context() if ca is None else _trust_only(ca.decode())
    context.set_alpn_protocols(["h2"])
    try:
        with (
            contextlib.closing(socket.create_connection((host, port), within_s)) as plain,
            context.wrap_socket(plain, server_hostname=host),
        ):
            return ""
    except OSError as failed:
        return describe_failure(failed)


def _trust_only(ca: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    try:
        context.load_verify_locations(cadata=ca)
    except ssl.SSLError:
        raise errors.SettingsInvalid("--ca: the file holds no certificate that can be read") from None
    return context
