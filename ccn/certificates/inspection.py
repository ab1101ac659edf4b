"""What a certificate says, and whether a node can show it.

A node refuses at its start what every peer would refuse later. This module loads the `cryptography`
library, which is large: import it where there are certificates.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from ccn import errors
from ccn.certificates import identity
from ccn.certificates.identity import TlsIdentity
from ccn.core.identity import revocation
from ccn.core.identity.revocation import PresentedCertificate
from ccn.core.ids import NodeId


@dataclass(frozen=True, slots=True)
class CertificateSummary:
    """What people want to know of a certificate."""

    names: tuple[str, ...]
    until: datetime
    serial: str

    def extra_hosts(self, node: NodeId) -> tuple[str, ...]:
        """List the names that it has beyond those which every certificate of the node has."""
        usual = identity.certificate_names(node, ())
        return tuple(name for name in self.names if name not in usual)


def summarise_certificate(pem: bytes) -> CertificateSummary:
    """Read the names in a node's certificate, its end and its serial number."""
    try:
        certificate = x509.load_pem_x509_certificate(pem)
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as unread:
        raise errors.InputInvalid(f"this is not the certificate of a node: {unread}") from None
    serial = revocation.serial_from_number(certificate.serial_number)
    return CertificateSummary(
        tuple(str(name.value) for name in names), certificate.not_valid_after_utc, serial
    )


@lru_cache(maxsize=256)  # a node shows the same one with every call
def read_presented(pem: bytes) -> PresentedCertificate:
    """Read what revocations know a certificate by. TLS has found it to be good before."""
    certificate = x509.load_pem_x509_certificate(pem)
    serial = revocation.serial_from_number(certificate.serial_number)
    return PresentedCertificate(serial, certificate.not_valid_before_utc)


def check_identity(shown: TlsIdentity, node: NodeId, now: datetime) -> None:
    """Refuse what every peer would refuse: another node's certificate, an old one, or another's key."""
    try:
        certificate = x509.load_pem_x509_certificate(shown.certificate)
        key = serialization.load_pem_private_key(shown.key, None)
        x509.load_pem_x509_certificates(shown.ca)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise errors.SettingsInvalid("the files that CCN_TLS_… name are no certificates and key") from None
    if key.public_key() != certificate.public_key():
        raise errors.SettingsInvalid("CCN_TLS_KEY is not the key of CCN_TLS_CERTIFICATE")
    summary = summarise_certificate(shown.certificate)
    name = identity.server_name(node)
    if name not in summary.names:
        raise errors.SettingsInvalid(f"CCN_TLS_CERTIFICATE is not for {name}")
    if not certificate.not_valid_before_utc <= now < summary.until:
        raise errors.SettingsInvalid(
            f"CCN_TLS_CERTIFICATE is not valid now; it ends {summary.until:%Y-%m-%d}"
        )
