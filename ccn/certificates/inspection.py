"""What a certificate says, and whether a node can show it.

A node refuses at its start what every peer would refuse later. This module loads the `cryptography`
library, which is large: import it where there are certificates.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import TypeVar

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes

from ccn import errors
from ccn.certificates.identity import TlsIdentity
from ccn.core.identity import revocation
from ccn.core.identity.revocation import PresentedCertificate

L = TypeVar("L")


@dataclass(frozen=True, slots=True)
class CertificateSummary:
    """What people want to know of a certificate."""

    names: tuple[str, ...]
    until: datetime
    serial: str


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


def list_names(pem: bytes) -> tuple[str, ...]:
    """List the names that a certificate is for; that of a client has none."""
    certificate = x509.load_pem_x509_certificate(pem)
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except x509.ExtensionNotFound:
        return ()
    return tuple(str(name.value) for name in found.value)


@lru_cache(maxsize=64)
def find_end(pem: bytes) -> datetime:
    """Return the moment at which a certificate ends."""
    return x509.load_pem_x509_certificate(pem).not_valid_after_utc


@lru_cache(maxsize=256)  # a node shows the same one with every call
def read_presented(pem: bytes) -> PresentedCertificate:
    """Read what revocations know a certificate by. TLS has found it to be good before."""
    certificate = x509.load_pem_x509_certificate(pem)
    serial = revocation.serial_from_number(certificate.serial_number)
    return PresentedCertificate(serial, certificate.not_valid_before_utc)


def check_pair(shown: TlsIdentity, prefix: str, now: datetime) -> None:
    """Refuse what the other end would refuse: what is damaged or too old, and another certificate's key."""
    certificate = _load_pem(f"{prefix}_CERTIFICATE", x509.load_pem_x509_certificate, shown.certificate)
    key = _load_pem(f"{prefix}_KEY", _load_key, shown.key)
    if shown.ca is not None:
        check_authority(shown.ca, prefix)
    if key.public_key() != certificate.public_key():
        raise errors.SettingsInvalid(f"{prefix}_KEY is not the key of {prefix}_CERTIFICATE")
    since, until = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if now < since:
        raise errors.SettingsInvalid(f"{prefix}_CERTIFICATE is not valid now; it begins {_moment(since)}")
    if now >= until:
        raise errors.SettingsInvalid(f"{prefix}_CERTIFICATE is not valid now; it ended {_moment(until)}")


def check_authority(pem: bytes, prefix: str) -> None:
    """Refuse a file of authorities in which there is none."""
    _load_pem(f"{prefix}_CA", x509.load_pem_x509_certificates, pem)


def check_name(shown: TlsIdentity, name: str, prefix: str) -> None:
    """Refuse a certificate that is for somebody else."""
    try:
        names = summarise_certificate(shown.certificate).names
    except errors.InputInvalid as unnamed:
        raise errors.SettingsInvalid(f"{prefix}_CERTIFICATE: {unnamed}") from unnamed
    if name not in names:
        raise errors.SettingsInvalid(f"{prefix}_CERTIFICATE is not for {name}")


def _load_pem(variable: str, load: Callable[[bytes], L], text: bytes) -> L:
    what = "key without a password" if variable.endswith("_KEY") else "certificate"
    try:
        return load(text)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise errors.SettingsInvalid(f"{variable}: the file holds no {what} that can be read") from None


def _load_key(text: bytes) -> PrivateKeyTypes:
    return serialization.load_pem_private_key(text, None)


def _moment(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"
