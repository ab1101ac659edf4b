"""How many nodes must say yes, and how many may fail or lie before that stops working.

    fault model     quorum q      n=1   3   4   5   7    tolerates
    crash           ⌊n/2⌋+1         1   2   3   3   4    n - q nodes that are down
    byzantine       ⌊2n/3⌋+1        -   -   3   4   5    ⌊(n-1)/3⌋ nodes that lie

Under `crash` two quorums always share a node. A node that lies is detected, but not outvoted. Under
`byzantine` two quorums share more nodes than can lie, so at least one shared node is honest. Do not use the
formula 2f+1: for five nodes it gives 3, and two quorums of 3 may share only the node that lies.
"""

from __future__ import annotations

from enum import StrEnum

from ccn import errors

NODE_LIMIT = 64
"""Most validators of one cluster. Their signatures must fit into one note, and a round asks all of them."""

_BYZANTINE_NODES = 4


class FaultModel(StrEnum):
    """The worst that nodes are expected to do."""

    CRASH = "crash"
    BYZANTINE = "byzantine"


def votes_needed(faults: FaultModel, nodes: int) -> int:
    """Return the quorum: how many of `nodes` validators must agree."""
    _check_size(faults, nodes)
    if faults is FaultModel.CRASH:
        return nodes // 2 + 1
    return 2 * nodes // 3 + 1


def faults_tolerated(faults: FaultModel, nodes: int) -> int:
    """Return how many validators may be down (crash) or lie (byzantine) while the others still agree."""
    _check_size(faults, nodes)
    if faults is FaultModel.CRASH:
        return nodes - votes_needed(faults, nodes)
    return (nodes - 1) // 3


def _check_size(faults: FaultModel, nodes: int) -> None:
    if not 1 <= nodes <= NODE_LIMIT:
        raise errors.InputInvalid(f"a cluster has 1 to {NODE_LIMIT} validators, not {nodes}")
    if faults is FaultModel.BYZANTINE and nodes < _BYZANTINE_NODES:
        raise errors.InputInvalid(
            f"{nodes} validators cannot outvote a liar: the byzantine fault model needs {_BYZANTINE_NODES}"
        )
