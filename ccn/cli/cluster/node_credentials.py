"""What nodes are given in a folder: keys to sign with, and certificates by which they know each other.

Separate from `ccn keys`, the command, because `ccn up` equips its nodes itself: whenever it starts, and
while it runs. Keys that sign are never replaced; certificates are, and nodes read the new ones without a
restart.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ccn import errors
from ccn.certificates import identity, inspection, issuing
from ccn.certificates.issuing import IssuedCertificate
from ccn.core.ids import NodeId
from ccn.embedded import folder as folders
from ccn.node.signing import durable_files, memory

SOON = timedelta(days=10)
"""A certificate that ends sooner is renewed where nobody asks for more."""
ALWAYS = timedelta(days=3_650)
"""No certificate lasts longer than its authority."""
_SECRET, _PUBLIC = 0o600, 0o644


@dataclass(frozen=True, slots=True)
class NodeCredentials:
    """What a node was given, and where it lies."""

    node: NodeId
    folder: Path
    public: bytes

    def to_environment(self) -> Mapping[str, str]:
        """The settings that make a node use it."""
        return {
            "CCN_NODE_STATE_DIR": str(self.folder),
            "CCN_TLS_CA": str(self.folder / "ca.pem"),
            "CCN_TLS_CERTIFICATE": str(self.folder / "node.pem"),
            "CCN_TLS_KEY": str(self.folder / "node.key"),
        }


def prepare_nodes(
    folder: Path,
    nodes: Sequence[NodeId],
    hosts: Sequence[str],
    now: datetime,
    *,
    lasting: timedelta = SOON,
) -> Mapping[NodeId, NodeCredentials]:
    """Make what is missing in FOLDER, and renew certificates that do not last; keys that sign are kept."""
    for node in nodes:
        identity.certificate_names(node, hosts)
    with folders.translate_refusals(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = _load_or_make_authority(folder / "ca", now)
        return {
            node: _equip_node(folder / node, node, hosts, authority, now + lasting, now) for node in nodes
        }


def _load_or_make_authority(folder: Path, now: datetime) -> IssuedCertificate:
    folder.mkdir(mode=0o700, exist_ok=True)
    certificate, key = folder / "ca.pem", folder / "ca.key"
    if not certificate.exists():
        made = issuing.issue_authority(now)
        durable_files.replace_file(key, made.key, _SECRET)
        durable_files.create_file(certificate, made.certificate, _PUBLIC)
        return made
    if not key.exists():
        raise errors.InputInvalid(f"{key} is not here, and without it no certificate can be issued")
    return IssuedCertificate(certificate.read_bytes(), key.read_bytes())


def _equip_node(  # noqa: PLR0917 - what a node is equipped with
    folder: Path,
    node: NodeId,
    hosts: Sequence[str],
    authority: IssuedCertificate,
    lasting: datetime,
    now: datetime,
) -> NodeCredentials:
    folder.mkdir(mode=0o700, exist_ok=True)
    key, file = memory.prepare_folder(folder), folder / "node.pem"
    before = inspection.summarise_certificate(file.read_bytes()) if file.exists() else None
    if before is None or before.until <= lasting:
        names = [*hosts, *(before.extra_hosts(node) if before else ())]
        made = issuing.issue_certificate(authority, node, names, now, renews=before is not None)
        file.unlink(missing_ok=True)  # it comes last: with it, all of them are there
        durable_files.replace_file(folder / "ca.pem", authority.certificate, _PUBLIC)
        durable_files.replace_file(folder / "node.key", made.key, _SECRET)
        durable_files.create_file(file, made.certificate, _PUBLIC)
    return NodeCredentials(node, folder, key.public)
