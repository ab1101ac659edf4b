"""Who does a piece of work, without asking anybody: every node ranks all nodes for it in the same order.

The first node that is present does it; if it does not, the next one does it a little later. When a node
goes, only its own work moves, and it moves to all the others in equal parts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from uuid import UUID

from ccn.core.ids import NodeId


def rank_nodes(thing: UUID, nodes: Iterable[NodeId]) -> list[NodeId]:
    """Rank the nodes in the order in which they take care of the thing."""
    return sorted(nodes, key=lambda node: hashlib.sha256(thing.bytes + node.encode()).digest())


def rank_of(thing: UUID, node: NodeId, nodes: Iterable[NodeId]) -> int:
    """Count the nodes that come before this one."""
    return rank_nodes(thing, {*nodes, node}).index(node)
