"""Who is here, for tests of what depends on it."""

from __future__ import annotations

from collections.abc import Mapping

from ccn.core.chain.protocol import ProtocolRange
from ccn.core.identity.registration import Registration
from ccn.core.ids import NodeId
from ccn.node.rounds.member_snapshot import MemberSnapshot
from tests.support.core.registrations import CLUSTER, GRPC, HTTP, LIFE, SINCE_US, notice


def members(
    keys: Mapping[NodeId, bytes], spoken: Mapping[NodeId, ProtocolRange] | None = None
) -> MemberSnapshot:
    """The nodes that are here, under these keys, and what those speak that say so."""
    seen = {
        node: Registration(CLUSTER, node, key, HTTP, GRPC, LIFE, 1, SINCE_US) for node, key in keys.items()
    }
    programs = {node: notice(node, 1, each).statement for node, each in (spoken or {}).items()}
    return MemberSnapshot(seen, programs=programs)
