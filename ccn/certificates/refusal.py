"""What one end of TLS has against the other, by the codes of OpenSSL: the only table of them.

Separate from who says it in words: `handshake` names settings to whoever runs a node, `trust` names options
to whoever calls one.
"""

from __future__ import annotations

import ssl
from collections.abc import Mapping
from enum import Enum
from types import MappingProxyType


class TlsRefusal(Enum):
    """What one end has against the other, as a node says it of a server that it calls."""

    NO_TLS = "speaks no TLS there"
    HUNG_UP = "ends the connection when TLS begins: it may speak none there"
    NO_TLS_1_3 = "speaks no TLS 1.3, and nothing older is agreed on"
    THEIR_DATE = "shows a certificate that has ended: renew the server's"
    THEIR_BEGINNING = "shows a certificate that is not valid yet: look at the clocks of both machines"
    THEIR_AUTHORITY = "shows a certificate of an authority that is not in {prefix}_CA"
    THEIR_NAME = "shows a certificate that is not for {host}, the name in {address}"
    THEIR_CERTIFICATE = "shows a certificate that is not good for a server"
    OURS_MISSING = "asks for a certificate: set {prefix}_CERTIFICATE and {prefix}_KEY"
    OUR_AUTHORITY = "does not know the authority of {prefix}_CERTIFICATE"
    OUR_DATE = "says that {prefix}_CERTIFICATE has ended"
    OUR_CERTIFICATE = "refuses {prefix}_CERTIFICATE"

    def describe(self, prefix: str, address: str, host: str) -> str:
        """Say it as what the server does, with the names of the settings of its link."""
        return self.value.format(prefix=prefix, address=address, host=host)


def classify_error(failed: OSError, *, shows: bool) -> TlsRefusal | None:
    """Return what an error of TLS means; None if it is about something else.

    `shows` says whether this end has a certificate: a server that wants one refuses in the same words.
    """
    if isinstance(failed, ssl.SSLCertVerificationError):
        return _THEIRS.get(failed.verify_code, TlsRefusal.THEIR_CERTIFICATE)
    if isinstance(failed, ssl.SSLEOFError | ConnectionResetError):
        return TlsRefusal.HUNG_UP
    if isinstance(failed, ssl.SSLError):
        return _classify_reason(failed.reason or "", shows=shows)
    return None


def _classify_reason(reason: str, *, shows: bool) -> TlsRefusal | None:
    for words, refusal in _REASONS.items():
        if words in reason:
            return refusal if shows or refusal not in _OURS else TlsRefusal.OURS_MISSING
    return None


_THEIRS: Mapping[int, TlsRefusal] = MappingProxyType(
    {
        9: TlsRefusal.THEIR_BEGINNING,
        10: TlsRefusal.THEIR_DATE,
        **dict.fromkeys((2, 18, 19, 20, 21), TlsRefusal.THEIR_AUTHORITY),
        26: TlsRefusal.THEIR_CERTIFICATE,
        **dict.fromkeys((62, 64), TlsRefusal.THEIR_NAME),
    }
)
"""By the numbers of OpenSSL's X509_V_ERR_…, whose words differ from one version to the next."""
_REASONS: Mapping[str, TlsRefusal] = MappingProxyType(
    {
        "CERTIFICATE_REQUIRED": TlsRefusal.OURS_MISSING,
        "CERTIFICATE_EXPIRED": TlsRefusal.OUR_DATE,
        "UNKNOWN_CA": TlsRefusal.OUR_AUTHORITY,
        "BAD_CERTIFICATE": TlsRefusal.OUR_CERTIFICATE,
        "UNSUPPORTED_CERTIFICATE": TlsRefusal.OUR_CERTIFICATE,
        "CERTIFICATE_UNKNOWN": TlsRefusal.OUR_CERTIFICATE,
        "CERTIFICATE_REVOKED": TlsRefusal.OUR_CERTIFICATE,
        "ACCESS_DENIED": TlsRefusal.OUR_CERTIFICATE,
        "PROTOCOL_VERSION": TlsRefusal.NO_TLS_1_3,
        "UNSUPPORTED_PROTOCOL": TlsRefusal.NO_TLS_1_3,
        "WRONG_VERSION_NUMBER": TlsRefusal.NO_TLS,
        "RECORD_LAYER_FAILURE": TlsRefusal.NO_TLS,
    }
)
"""By parts of the names of alerts, and of what OpenSSL itself finds."""
_OURS = frozenset({TlsRefusal.OUR_DATE, TlsRefusal.OUR_AUTHORITY, TlsRefusal.OUR_CERTIFICATE})
