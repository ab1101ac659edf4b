"""The certificates of a development authority: one for each link of a node, and for the servers it calls.

    FOLDER/ca/             ca.pem, ca.key     the authority; only ca.key can make further certificates
           tls/NODE/       ca.pem, and each with its key:
                           peers.pem          NODE.ccn.internal, between nodes
                           door.pem           what clients see at the HTTP door and the gRPC door
                           database.pem, etcd.pem, redis.pem   what the node shows to those servers
           tls/postgres/   ca.pem, server.pem, server.key; the same in tls/etcd/ and tls/redis/

Separate from the keys that nodes sign with, which no authority can replace. Each folder has all that its
owner needs of this, and nothing of another owner.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ccn import errors
from ccn.certificates import identity, inspection, issuing
from ccn.certificates.issuing import IssuedCertificate, LinkUse
from ccn.core.ids import NodeId
from ccn.embedded import folder as folders
from ccn.node.signing import durable_files
from ccn.store.connection import roles

SOON = timedelta(days=10)
"""A certificate that ends sooner is renewed where nobody asks for more."""
ALWAYS = timedelta(days=3_650)
"""No certificate lasts longer than its authority."""
SERVERS: Mapping[str, tuple[str, ...]] = {
    "postgres": ("postgres",),
    "etcd": ("etcd", "etcd-1", "etcd-2", "etcd-3"),
    "redis": ("redis",),
}
"""The servers that nodes call, and what they are called where nobody says otherwise."""
PEERS, DOOR = "peers", "door"
NODE_LINKS = (PEERS, DOOR, "database", "etcd", "redis")
_CLIENT = "ccn"
_SECRET, _PUBLIC = 0o600, 0o644


@dataclass(frozen=True, slots=True)
class LinkCertificate:
    """What one certificate says. It lies in NAME.pem, its key in NAME.key."""

    name: str
    owner: str
    hosts: tuple[str, ...]
    use: LinkUse
    days: int = issuing.NODE_DAYS


def plan_node(node: NodeId, hosts: Sequence[str]) -> Sequence[LinkCertificate]:
    """List the certificates of a node. Refuse what is no host, and names that folders here have."""
    if node in {"ca", "tls", "gateways", *SERVERS}:
        raise errors.InputInvalid(f"a node cannot be called {node!r}: a folder beside it has that name")
    doors = tuple(dict.fromkeys((*identity.LOOPBACK, *hosts)))
    return (
        LinkCertificate(PEERS, node, identity.certificate_names(node, hosts), LinkUse.BOTH),
        LinkCertificate(DOOR, node, doors, LinkUse.SERVER),
        LinkCertificate("database", roles.NODE, (), LinkUse.CLIENT),
        LinkCertificate("etcd", _CLIENT, (), LinkUse.CLIENT),
        LinkCertificate("redis", _CLIENT, (), LinkUse.CLIENT),
    )


def plan_server(server: str, hosts: Sequence[str]) -> LinkCertificate:
    """Describe the certificate of a server. Members of etcd call each other with theirs."""
    names = tuple(dict.fromkeys((*identity.LOOPBACK, *SERVERS[server], *identity.check_hosts(hosts))))
    use = LinkUse.BOTH if server == "etcd" else LinkUse.SERVER
    return LinkCertificate("server", SERVERS[server][0], names, use, issuing.SERVER_DAYS)


def load_or_make_authority(folder: Path, now: datetime) -> IssuedCertificate:
    """Load the authority in FOLDER/ca, or make one if there is none."""
    place = folder / "ca"
    with folders.translate_refusals(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        place.mkdir(mode=0o700, exist_ok=True)
        certificate, key = place / "ca.pem", place / "ca.key"
        if not certificate.exists():
            made = issuing.issue_authority(now)
            durable_files.replace_file(key, made.key, _SECRET)
            durable_files.create_file(certificate, made.certificate, _PUBLIC)
            return made
        if not key.exists():
            raise errors.InputInvalid(f"{key} is not here, and without it no certificate can be issued")
        return IssuedCertificate(certificate.read_bytes(), key.read_bytes())


def issue_missing(
    folder: Path,
    wanted: Sequence[LinkCertificate],
    authority: IssuedCertificate,
    now: datetime,
    lasting: timedelta = SOON,
) -> None:
    """Write certificates that are missing in FOLDER, and new ones for those that do not last."""
    with folders.translate_refusals(folder):
        folder.parent.mkdir(mode=0o700, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        for each in wanted:
            _issue_one(folder, each, authority, now, lasting)


def _issue_one(
    folder: Path, wanted: LinkCertificate, authority: IssuedCertificate, now: datetime, lasting: timedelta
) -> None:
    file = folder / f"{wanted.name}.pem"
    before = file.read_bytes() if file.exists() else None
    if before is not None and inspection.find_end(before) > now + lasting:
        return
    names = dict.fromkeys((*wanted.hosts, *(inspection.list_names(before) if before else ())))
    made = issuing.issue_link_certificate(
        authority, wanted.owner, tuple(names), wanted.use, now, wanted.days, renews=before is not None
    )
    file.unlink(missing_ok=True)  # it comes last: with it, all of them are there
    durable_files.replace_file(folder / "ca.pem", authority.certificate, _PUBLIC)
    durable_files.replace_file(folder / f"{wanted.name}.key", made.key, _SECRET)
    durable_files.create_file(file, made.certificate, _PUBLIC)
