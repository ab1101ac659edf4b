"""Whether this node may open its doors to anybody: the database has to show what the node remembers.

It is asked before anything is written, the schema included, and then of each connection. A node that only
signed nothing any more and served on would give the numbers of lost leaves to others, and answer from a
past that its cluster has left.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import structlog

from ccn import errors
from ccn.core.ids import NodeId
from ccn.core.ledger.signed import Check
from ccn.core.rounds.signer import Mark, SignerState
from ccn.node.rounds import voting
from ccn.node.signing import memory
from ccn.node.signing.memory import Signing
from ccn.store.connection import pool
from ccn.store.connection.fence import ADVICE, Fence
from ccn.store.rounds import blocks

if TYPE_CHECKING:
    from ccn import settings

log = structlog.get_logger(__name__)


@asynccontextmanager
async def right_to_sign(chosen: settings.Settings) -> AsyncIterator[Signing | None]:
    """This node's key and its memory; none without a place in a cluster."""
    if not chosen.etcd.endpoints or chosen.node.state_dir is None:
        yield None
        return
    await asyncio.to_thread(memory.prepare, chosen.node.state_dir)
    with memory.opened(chosen.node.state_dir) as right:
        yield right


def fence(node: NodeId, right: Signing | None, acknowledged: Mark | None) -> Fence:
    """What this node remembers, on its disk and of the time since this process began."""
    made = Fence(node)
    if right is not None:
        made.signed = partial(_signed, right)
        made.acknowledge(right.state.acknowledged if right.state is not None else None)
    made.acknowledge(acknowledged)
    return made


async def look_for(database: settings.Database, node: NodeId, folder: Path, check: Check) -> None:
    """Look for a node that does not run, by what lies in its folder."""
    if not (folder / memory.STATE).exists():
        return
    state = await asyncio.to_thread(memory.known, folder / memory.STATE)
    asked = Fence(node)
    if state is not None:
        asked.signed = lambda: state.signed
        asked.acknowledge(state.acknowledged)
    await look(database, asked, state, check)


async def look(database: settings.Database, asked: Fence, state: SignerState | None, check: Check) -> None:
    """Raise `RecordLost` unless the database shows what this node signed and acknowledged."""
    if state is None and asked.acknowledged is None:
        return
    alone = database.model_copy(update={"pool_size": 1})
    async with pool.open(alone, "gate") as connections:
        if not await connections.value(_HAS_A_RECORD):
            raise errors.RecordLost(f"the database is empty, and this node signed in another. {ADVICE}")
        async with connections.transaction() as connection:
            await asked.check(connection)
        genesis = await blocks.tip(connections, 0)
        if state is not None and genesis is not None:
            await voting.standing(connections, state, genesis, check)


async def watch(asked: Fence, right: Signing | None, told: asyncio.Event, stop: asyncio.Event) -> None:
    """Stop when told to, or when the fence broke: then with what was acknowledged on the disk first."""
    await first_of(told, asked.broken)
    if asked.lost is not None:
        log.critical("this node stops", reason=str(asked.lost))
        await remember(asked, right)
    stop.set()


async def remember(asked: Fence, right: Signing | None) -> None:
    """Put on the disk what was acknowledged since this node last signed something."""
    if right is None:
        return
    try:
        await asyncio.to_thread(right.remember, asked.acknowledged)
    except errors.SigningRefused as refused:
        log.critical("what was acknowledged last is not on the disk", reason=str(refused))


async def first_of(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waiting = [asyncio.create_task(each.wait()) for each in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


def _signed(right: Signing) -> Mark | None:
    return right.state.signed if right.state is not None else None


_HAS_A_RECORD = "SELECT to_regclass('verification_chain') IS NOT NULL"
