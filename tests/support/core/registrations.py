"""Registrations as nodes sign them, for tests of what shows them and of what believes them."""

from __future__ import annotations

from uuid import UUID

from ccn.core.chain.protocol import ProtocolRange
from ccn.core.identity.registration import ProgramNotice, Registration, ShownRegistration
from ccn.core.ids import NodeId
from ccn.core.ledger import signed
from ccn.core.ledger.signed import Signed
from tests.support.core.keys import pair_of

CLUSTER, LIFE = UUID(int=1), UUID(int=2)
HTTP, GRPC = "http://127.0.0.1:7700", "127.0.0.1:7702"
SINCE_US = 1_800_000_000_250_000


def registration(
    node: str,
    lease: int,
    *,
    by: str = "",
    http: str = HTTP,
    grpc: str = GRPC,
    cluster: UUID = CLUSTER,
    life: UUID = LIFE,
) -> Signed[Registration]:
    """What a node says of itself, with its own key or with that of somebody else."""
    pair = pair_of(by or node)
    said = Registration(cluster, NodeId(node), pair.public, http, grpc, life, lease, SINCE_US)
    return signed.sign_statement(said, pair.sign)


def shown(said: Signed[Registration]) -> ShownRegistration:
    """As it stands in etcd."""
    return ShownRegistration(said.statement.node, said.statement.lease, said)


def notice(
    node: str, lease: int, spoken: ProtocolRange, *, by: str = "", life: UUID = LIFE, version: str = "0.1.0"
) -> Signed[ProgramNotice]:
    """What a node says of its program."""
    said = ProgramNotice(CLUSTER, NodeId(node), life, lease, version, spoken)
    return signed.sign_statement(said, pair_of(by or node).sign)
