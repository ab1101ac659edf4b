"""What nodes are given in a folder: keys to sign with, and certificates by which they know each other.

    FOLDER/NODE/   signing.key, signer.state   what the node signs the record with, and what it last signed
           tls/    the certificates (`link_certificates`)

Separate from `ccn keys`, the command, because `ccn up` equips its nodes itself: whenever it starts, and
while it runs. Keys that sign are never replaced; certificates are, and nodes read the new ones without a
restart.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ccn.cli.cluster.credentials import link_certificates
from ccn.core.ids import NodeId
from ccn.embedded import folder as folders
from ccn.node.signing import memory


@dataclass(frozen=True, slots=True)
class NodeCredentials:
    """What a node was given, and where it lies."""

    node: NodeId
    state: Path
    certificates: Path
    public: bytes

    def to_environment(self) -> Mapping[str, str]:
        """Return the settings that make a node sign with its keys, and show its certificates to others."""
        return {
            "CCN_NODE_STATE_DIR": str(self.state),
            "CCN_TLS_CA": str(self.certificates / "ca.pem"),
            "CCN_TLS_CERTIFICATE": str(self.certificates / "peers.pem"),
            "CCN_TLS_KEY": str(self.certificates / "peers.key"),
        }

    def to_door_environment(self) -> Mapping[str, str]:
        """Return the settings that make a node show its certificate to clients."""
        pair = {"CERTIFICATE": self.certificates / "door.pem", "KEY": self.certificates / "door.key"}
        doors = ("CCN_HTTP_TLS", "CCN_GRPC_TLS")
        return {f"{door}_{end}": str(file) for door in doors for end, file in pair.items()}


def prepare_nodes(
    folder: Path,
    nodes: Sequence[NodeId],
    hosts: Sequence[str],
    now: datetime,
    *,
    lasting: timedelta = link_certificates.SOON,
    links: Collection[str] = link_certificates.NODE_LINKS,
) -> Mapping[NodeId, NodeCredentials]:
    """Make what is missing in FOLDER, and renew certificates that end soon. Keys that sign are kept."""
    plans = {node: link_certificates.plan_node(node, hosts) for node in nodes}
    authority = link_certificates.load_or_make_authority(folder, now)
    with folders.translate_refusals(folder):
        prepared = {}
        for node, plan in plans.items():
            state, certificates = folder / node, find_certificates(folder, node)
            state.mkdir(mode=0o700, exist_ok=True)
            key = memory.prepare_folder(state)
            wanted = [each for each in plan if each.name in links]
            link_certificates.issue_missing(certificates, wanted, authority, now, lasting)
            prepared[node] = NodeCredentials(node, state, certificates, key.public)
        return prepared


def prepare_servers(
    folder: Path,
    hosts: Mapping[str, Sequence[str]],
    now: datetime,
    *,
    lasting: timedelta = link_certificates.SOON,
) -> Mapping[str, Path]:
    """Do the same for the servers that nodes call, and return the folder of each."""
    plans = {
        server: link_certificates.plan_server(server, hosts.get(server, ()))
        for server in link_certificates.SERVERS
    }
    authority = link_certificates.load_or_make_authority(folder, now)
    for server, plan in plans.items():
        link_certificates.issue_missing(find_certificates(folder, server), [plan], authority, now, lasting)
    return {server: find_certificates(folder, server) for server in plans}


def find_certificates(folder: Path, owner: str) -> Path:
    """Name the folder with the certificates of a node or a server."""
    return folder / "tls" / owner
