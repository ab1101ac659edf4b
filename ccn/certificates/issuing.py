"""Issues certificates where a cluster has no authority yet: for development and small sites.

A node's certificate is for NODE.ccn.internal, by which nodes know each other (`identity`), for loopback and
for the hosts that are named. A node both calls and is called with it. Every other link has certificates of
its own, good for nothing else. The functions take and return bytes; their caller decides who keeps them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from ccn import errors
from ccn.certificates import identity
from ccn.core.ids import NodeId

AUTHORITY_DAYS = 3_650
NODE_DAYS = 30
"""Short, because a thief has a certificate until its end. Nodes read renewed ones without a restart."""
SERVER_DAYS = 90
"""For servers of others, which may have to be told to read a renewed one."""
_SKEW = timedelta(minutes=5)  # a node whose clock is a little behind must not find its peers in its future
_PEM = serialization.Encoding.PEM


class LinkUse(Enum):
    """Which ends of a link a certificate is for."""

    SERVER = "server"
    CLIENT = "client"
    BOTH = "both"


_PURPOSES = {
    LinkUse.SERVER: [ExtendedKeyUsageOID.SERVER_AUTH],
    LinkUse.CLIENT: [ExtendedKeyUsageOID.CLIENT_AUTH],
    LinkUse.BOTH: [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH],
}


@dataclass(frozen=True, slots=True)
class IssuedCertificate:
    """A certificate and its key, in PEM."""

    certificate: bytes
    key: bytes = field(repr=False)


def issue_authority(now: datetime, days: int = AUTHORITY_DAYS) -> IssuedCertificate:
    """Make an authority that the nodes of one cluster trust, and nobody else should."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = _common_name("CCN development authority")
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
    """Issue a certificate by which a node is known to the others."""
    names = identity.certificate_names(node, hosts)
    return issue_link_certificate(by, node, names, LinkUse.BOTH, now, days, renews=renews)


def issue_gateway_certificate(
    by: IssuedCertificate, gateway: NodeId, now: datetime, days: int = NODE_DAYS, *, renews: bool = False
) -> IssuedCertificate:
    """Issue a certificate by which voters know a gateway: it can call with it, and not be called."""
    names = [identity.gateway_name(gateway)]
    return issue_link_certificate(by, gateway, names, LinkUse.CLIENT, now, days, renews=renews)


def issue_link_certificate(  # noqa: PLR0917 - what a certificate says
    by: IssuedCertificate,
    owner: str,
    names: Sequence[str],
    use: LinkUse,
    now: datetime,
    days: int,
    *,
    renews: bool = False,
) -> IssuedCertificate:
    """Issue a certificate for one end of a link. It ends with that of its authority at the latest.

    Servers are recognised by their names, clients by their owner. One that renews another is not dated
    back: those before it may have been revoked until this moment.
    """
    issuer, issuer_key = _load_issuer(by)
    key = ec.generate_private_key(ec.SECP256R1())
    since = now if renews else now - _SKEW
    until = min(now + timedelta(days=days), issuer.not_valid_after_utc)
    trusted = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    certificate = (
        _begin_certificate(_common_name(owner), issuer.subject, key.public_key(), since, until)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(issues=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(_PURPOSES[use]), critical=False)
        .add_extension(trusted, critical=False)
    )
    if names:
        alternative = x509.SubjectAlternativeName(list(map(_general_name, names)))
        certificate = certificate.add_extension(alternative, critical=False)
    signed = certificate.sign(issuer_key, hashes.SHA256())
    return IssuedCertificate(signed.public_bytes(_PEM), _encode_private_key(key))


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


def _common_name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


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
