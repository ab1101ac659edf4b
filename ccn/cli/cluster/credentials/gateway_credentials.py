"""What gateways are given: certificates for their links, and nothing that signs.

    FOLDER/gateways/NAME/  ca.pem, and each with its key:
                           peers.pem   NAME.gateway.ccn.internal: by it voters know a gateway
                           door.pem, database.pem, etcd.pem, redis.pem   as a node has them

Separate from what nodes are given, so that no certificate ever has the names of both. A gateway reads these
files, and writes none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from ccn.certificates import identity
from ccn.certificates.issuing import LinkUse
from ccn.cli.cluster.credentials import link_certificates
from ccn.cli.cluster.credentials.link_certificates import LinkCertificate
from ccn.core import ids
from ccn.core.ids import NodeId
from ccn.store.connection import roles

FOLDER = "gateways"
_CLIENT = "ccn"


@dataclass(frozen=True, slots=True)
class GatewayCredentials:
    """What a gateway was given, and where it lies."""

    gateway: NodeId
    folder: Path

    def to_environment(self, *, with_doors: bool = False) -> Mapping[str, str]:
        """Return the settings that make a gateway show these certificates to voters and to clients."""
        pair = {"CERTIFICATE": self.folder / "door.pem", "KEY": self.folder / "door.key"}
        doors = ("CCN_HTTP_TLS", "CCN_GRPC_TLS") if with_doors else ()
        return {f"{door}_{end}": str(file) for door in doors for end, file in pair.items()} | {
            "CCN_TLS_CA": str(self.folder / "ca.pem"),
            "CCN_TLS_CERTIFICATE": str(self.folder / f"{link_certificates.PEERS}.pem"),
            "CCN_TLS_KEY": str(self.folder / f"{link_certificates.PEERS}.key"),
        }


def prepare_gateways(
    folder: Path,
    gateways: Sequence[NodeId],
    hosts: Sequence[str],
    now: datetime,
    *,
    lasting: timedelta = link_certificates.SOON,
) -> Mapping[NodeId, GatewayCredentials]:
    """Make what is missing in FOLDER, with the authority there, and renew what ends soon."""
    plans = {gateway: plan_gateway(gateway, hosts) for gateway in gateways}
    authority = link_certificates.load_or_make_authority(folder, now)
    prepared = {}
    for gateway, plan in plans.items():
        place = folder / FOLDER / gateway
        link_certificates.issue_missing(place, plan, authority, now, lasting)
        prepared[gateway] = GatewayCredentials(gateway, place)
    return prepared


def plan_gateway(gateway: NodeId, hosts: Sequence[str]) -> Sequence[LinkCertificate]:
    """List the certificates of a gateway: it calls voters, and is called by clients alone."""
    name = identity.gateway_name(NodeId(ids.check_name(gateway, "gateway")))
    doors = tuple(dict.fromkeys((*identity.LOOPBACK, *identity.check_hosts(hosts))))
    return (
        LinkCertificate(link_certificates.PEERS, gateway, (name,), LinkUse.CLIENT),
        LinkCertificate("door", gateway, doors, LinkUse.SERVER),
        LinkCertificate("database", roles.GATEWAY, (), LinkUse.CLIENT),
        LinkCertificate("etcd", _CLIENT, (), LinkUse.CLIENT),
        LinkCertificate("redis", _CLIENT, (), LinkUse.CLIENT),
    )
