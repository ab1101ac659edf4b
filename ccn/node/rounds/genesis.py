"""Founding a chain: the first leader writes down who may vote, and everybody begins from there.

Genesis lists the first nodes that registered, as many as the cluster is meant to have: nodes that enrolled
in the database, and so have its credentials, and that answer at their doors with the certificates of their
names. It happens once in the life of a database; afterwards the list changes only by blocks that a quorum
of it has signed.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Sequence

import structlog

from ccn.core.chain import block
from ccn.core.chain.block import Tip
from ccn.core.chain.rules import Parameters, Rules, Validator
from ccn.core.identity.registration import Registration
from ccn.core.ids import NodeId
from ccn.store.connection.pool import Pool
from ccn.store.rounds import blocks, terms

log = structlog.get_logger(__name__)

_LOOK_S = 0.2


async def found_chain(
    pool: Pool, node: NodeId, members: Sequence[Registration], origin: str, parameters: Parameters
) -> Tip:
    """Found the chain with these members, in a term of one's own; if it is founded, that chain."""
    known = await blocks.load_tip(pool, 0)
    if known is not None:
        return known
    origin = origin or f"ccn.local/{secrets.token_hex(8)}"
    validators = sorted(Validator(member.node, member.key) for member in members)
    genesis = block.genesis_tip(origin, Rules(tuple(validators), parameters))
    term = await terms.take_over_term(pool, node, 1.0)
    await blocks.write_genesis(pool, term, genesis)
    log.info("chain founded", origin=origin, validators=[each.node for each in validators])
    return genesis


async def wait_for_genesis(pool: Pool) -> Tip:
    """Wait until the chain is founded, and begin from there."""
    while True:
        genesis = await blocks.load_tip(pool, 0)
        if genesis is not None:
            return genesis
        await asyncio.sleep(_LOOK_S)


async def wait_for_founders(
    present: Callable[[], Awaitable[Sequence[Registration]]], count: int
) -> list[Registration]:
    """Wait until so many nodes are here; the first by name if there are more."""
    while True:
        members = await present()
        if len(members) >= count:
            return sorted(members, key=lambda member: member.node)[:count]
        await asyncio.sleep(_LOOK_S)
