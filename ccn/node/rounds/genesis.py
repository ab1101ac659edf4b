"""Founding a chain: the first leader stores who may vote, and every node starts from there.

Genesis lists as many nodes as the cluster is meant to have. Each of them enrolled in the database, so it
has the credentials of the database. Each also answers at its doors with the certificate of its name.
Genesis is written once in the life of a database. Afterwards the list changes only by blocks that a quorum
of it signed.
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

_FOUNDING_POLL_S = 0.2


async def found_chain(
    pool: Pool, node: NodeId, members: Sequence[Registration], origin: str, parameters: Parameters
) -> Tip:
    """Found the chain with these members, in a term of this node. A chain that exists is returned."""
    existing = await blocks.load_tip(pool, 0)
    if existing is not None:
        return existing
    origin = origin or f"ccn.local/{secrets.token_hex(8)}"
    validators = sorted(Validator(member.node, member.key) for member in members)
    genesis = block.genesis_tip(origin, Rules(tuple(validators), parameters))
    term = await terms.take_over_term(pool, node, 1.0)
    await blocks.write_genesis(pool, term, genesis)
    log.info("chain founded", origin=origin, validators=[validator.node for validator in validators])
    return genesis


async def wait_for_genesis(pool: Pool) -> Tip:
    """Wait until the chain is founded, and return its first tip."""
    while True:
        genesis = await blocks.load_tip(pool, 0)
        if genesis is not None:
            return genesis
        await asyncio.sleep(_FOUNDING_POLL_S)


async def wait_for_founders(
    present: Callable[[], Awaitable[Sequence[Registration]]], count: int
) -> list[Registration]:
    """Wait until `count` nodes are present. If there are more, return the first ones by name."""
    while True:
        members = await present()
        if len(members) >= count:
            return sorted(members, key=lambda member: member.node)[:count]
        await asyncio.sleep(_FOUNDING_POLL_S)
