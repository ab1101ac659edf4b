"""Certificates for a cluster that has no authority of its own: for development and small sites.

A node's certificate is for NODE.ccn.internal, by which nodes know each other (`identity`), for loopback and
for the hosts that are named; with it a node both calls and is called. The only module that knows the
`cryptography` library. Bytes in, bytes out: who keeps them where is for the caller to say.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ccn import errors
from ccn.core import ids
from ccn.core.identity import revocation
from ccn.core.identity.revocation import PresentedCertificate
from ccn.core.ids import NodeId
from ccn.peers import identity
from ccn.peers.identity import TlsIdentity

AUTHORITY_DAYS = 3_650
NODE_DAYS = 30
"""Short, because whoever takes one has it for as long; nodes read renewed ones without a restart."""
_SKEW = timedelta(minutes=5)  # a node whose clock is a little behind must not find its peers in its future
_LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PEM = serialization.Encoding.PEM


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class CertificateSummary:
    """What people want to know of a certificate."""

    names: tuple[str, ...]
    until: datetime
    serial: str

    def extra_hosts(self, node: NodeId) -> tuple[str, ...]:
        """The names that it has beyond those which every certificate of a node has."""
        return tuple(name for name in self.names if name not in certificate_names(node, ()))


def issue_authority(now: datetime, days: int = AUTHORITY_DAYS) -> IssuedCertificate:
    """Somebody whom the nodes of one cluster trust, and nobody else should."""
    key, name = ec.generate_private_key(ec.SECP256R1()), _common_name("CCN development authority")
    certificate = (
        _begin_certificate(name, name, key.public_key(), now - _SKEW, now + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_key_usage(issues=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    return IssuedCertificate(certificate.public_bytes(_PEM), _encode_private_key(key))


def issue_certificate(
    by: IssuedCertificate,
    node: NodeId,
    hosts: Sequence[str],
    now: datetime,
    days: int = NODE_DAYS,
    *,
    renews: bool = False,
) -> IssuedCertificate:
    """A certificate by which a node is known; it ends with that of its authority at the latest.

    One that renews another is not dated back: those of before may have been revoked until just now.
    """
    issuer, issuer_key = _load_issuer(by)
    key, names = ec.generate_private_key(ec.SECP256R1()), certificate_names(node, hosts)
    until = min(now + timedelta(days=days), issuer.not_valid_after_utc)
    purposes = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    trusted = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    certificate = (
        _begin_certificate(
            _common_name(node), issuer.subject, key.public_key(), now if renews else now - _SKEW, until
        )
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(issues=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(purposes), critical=False)
        .add_extension(x509.SubjectAlternativeName(list(map(_general_name, names))), critical=False)
        .add_extension(trusted, critical=False)
        .sign(issuer_key, hashes.SHA256())
    )
    return IssuedCertificate(certificate.public_bytes(_PEM), _encode_private_key(key))


def certificate_names(node: NodeId, hosts: Sequence[str]) -> tuple[str, ...]:
    """Every name in the certificate of a node; another node's name is not for it."""
    for host in hosts:
        if not identity.HOST.fullmatch(host) or host.endswith(f".{identity.DOMAIN}"):
            raise errors.InputInvalid(f"{host!r} is not a host that a certificate can be for")
    own = identity.server_name(NodeId(ids.check_name(node, "node")))
    return tuple(dict.fromkeys((own, *_LOOPBACK, *hosts)))


def summarise_certificate(certificate: bytes) -> CertificateSummary:
    """The names in a certificate, and when it ends."""
    try:
        read = x509.load_pem_x509_certificate(certificate)
        names = read.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, x509.ExtensionNotFound) as unread:
        raise errors.InputInvalid(f"this is not the certificate of a node: {unread}") from None
    serial = revocation.serial_from_number(read.serial_number)
    return CertificateSummary(tuple(str(name.value) for name in names), read.not_valid_after_utc, serial)


@lru_cache(maxsize=256)  # a node shows the same one with every call
def read_presented(certificate: bytes) -> PresentedCertificate:
    """What a certificate is known by that TLS has found to be good."""
    read = x509.load_pem_x509_certificate(certificate)
    return PresentedCertificate(
        revocation.serial_from_number(read.serial_number), read.not_valid_before_utc
    )


def check_identity(shown: TlsIdentity, node: NodeId, now: datetime) -> None:
    """Refuse at the start what every peer would refuse later: another node's certificate, or an old one."""
    try:
        certificate = x509.load_pem_x509_certificate(shown.certificate)
        key = serialization.load_pem_private_key(shown.key, None)
        x509.load_pem_x509_certificates(shown.ca)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise errors.SettingsInvalid("the files that CCN_TLS_… name are no certificates and key") from None
    if key.public_key() != certificate.public_key():
        raise errors.SettingsInvalid("CCN_TLS_KEY is not the key of CCN_TLS_CERTIFICATE")
    described, name = summarise_certificate(shown.certificate), identity.server_name(node)
    if name not in described.names:
        raise errors.SettingsInvalid(f"CCN_TLS_CERTIFICATE is not for {name}")
    if not certificate.not_valid_before_utc <= now < described.until:
        raise errors.SettingsInvalid(
            f"CCN_TLS_CERTIFICATE is not valid now; it ends {described.until:%Y-%m-%d}"
        )


def _begin_certificate(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, since: datetime, until: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(since)
        .not_valid_after(until)
    )


def _key_usage(*, issues: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not issues,
        key_cert_sign=issues,
        crl_sign=issues,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _common_name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _encode_private_key(key: ec.EllipticCurvePrivateKey) -> bytes:
    plain = serialization.NoEncryption()
    return key.private_bytes(_PEM, serialization.PrivateFormat.PKCS8, plain)


def _load_issuer(issued: IssuedCertificate) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    try:
        certificate = x509.load_pem_x509_certificate(issued.certificate)
        key = serialization.load_pem_private_key(issued.key, None)
    except (ValueError, TypeError):
        raise errors.InputInvalid("the files of the authority are damaged") from None
    if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != certificate.public_key():
        raise errors.InputInvalid("the key of the authority does not belong to its certificate")
    return certificate, key
