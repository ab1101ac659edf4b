"""A node that is drained in its own name, because it is about to stop, takes part again when it starts.

`ccn drain --self` asks in the name of the node. What an operator drained stays drained. Separate from
`execution`: nobody asks for this.
"""

from __future__ import annotations

import contextlib

import structlog

from ccn import errors
from ccn.core.ids import NodeId
from ccn.node.operators import execution
from ccn.store.connection.pool import Pool
from ccn.store.operators import drains, requests

log = structlog.get_logger(__name__)


async def end_own_drain(pool: Pool, node: NodeId) -> None:
    """End the drain that a node asked for before it stopped, also one that nobody has begun yet."""
    for request in await requests.list_waiting(pool, execution.DRAIN):
        if request.node == request.by == node:
            with contextlib.suppress(errors.Conflict):  # answered meanwhile: then the drain is a row
                await requests.take_back_request(pool, request.id, node, "this node was started again")
    if await drains.end_own_drain(pool, node):
        log.info("takes part again", node=node)
