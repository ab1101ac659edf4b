"""The gateways of a local cluster: processes with doors alone, in front of its nodes.

Separate from the nodes, of which they get neither keys nor folders. The password of their database role
is made anew at each start, and stands in no file.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ccn.cli.cluster import nodes, ports
from ccn.cli.cluster.credentials import gateway_credentials, link_certificates
from ccn.cli.cluster.database import ClusterDatabase, describe_database
from ccn.core.ids import NodeId
from ccn.store.connection import roles


@dataclass(frozen=True, slots=True)
class LocalGateways:
    """The gateways that a local cluster is to have."""

    count: int
    password: str = field(default_factory=lambda: secrets.token_urlsafe(24), repr=False)

    @property
    def names(self) -> list[str]:
        """Return the names of the gateways."""
        return [f"gateway-{number}" for number in range(1, self.count + 1)]

    def list_passwords(self) -> Mapping[str, str]:
        """Return the database roles of the gateways with their passwords."""
        return {roles.GATEWAY: self.password} if self.count else {}

    def plan_processes(
        self,
        folder: Path,
        doors: Sequence[ports.NodePorts],
        database: ClusterDatabase,
        cluster: Mapping[str, str],
        *,
        tls: bool = False,
    ) -> list[nodes.NodeProcess]:
        """Plan each gateway: its ports, its certificate, and a role that only reads."""
        given = self.equip(folder, link_certificates.ALWAYS)
        common = {
            **cluster,
            "CCN_NODE_ROLE": "gateway",
            "CCN_NODE_STATE_DIR": "",
            **describe_database(database, roles.GATEWAY, self.password),
            "CCN_CLAUDE_API_KEY": "",
        }
        return [
            nodes.NodeProcess(
                name,
                replace(each, scheme="https") if tls else each,
                nodes.node_environment(name, each, {**common, **own.to_environment(with_doors=tls)}),
            )
            for (name, own), each in zip(given.items(), doors, strict=True)
        ]

    def equip(
        self, folder: Path, lasting: timedelta
    ) -> Mapping[NodeId, gateway_credentials.GatewayCredentials]:
        """Give the gateways certificates that last."""
        if not self.count:
            return {}
        names = [NodeId(name) for name in self.names]
        return gateway_credentials.prepare_gateways(
            folder, names, [ports.HOST], datetime.now(UTC), lasting=lasting
        )
