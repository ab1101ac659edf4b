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
from ccn.core.rounds.signer import NumberedHash, SignerState
from ccn.node.rounds import voting
from ccn.node.signing import memory
from ccn.node.signing.memory import SigningRight
from ccn.store.connection import pool
from ccn.store.connection.fence import ADVICE, Fence
from ccn.store.rounds import blocks

if TYPE_CHECKING:
    from ccn import settings

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_right(chosen: settings.Settings) -> AsyncIterator[SigningRight | None]:
    """This node's key and its memory; none without a place in a cluster."""
    if not chosen.etcd.endpoints or chosen.node.state_dir is None:
        yield None
        return
    await asyncio.to_thread(memory.prepare_folder, chosen.node.state_dir)
    with memory.open_right(chosen.node.state_dir) as right:
        yield right


def make_fence(node: NodeId, right: SigningRight | None, acknowledged: NumberedHash | None) -> Fence:
    """What this node remembers, on its disk and of the time since this process began."""
    made = Fence(node)
    if right is not None:
        made.signed = partial(_last_signed, right)
        made.acknowledge_leaf(right.state.acknowledged if right.state is not None else None)
    made.acknowledge_leaf(acknowledged)
    return made


async def check_folder(
    database: settings.DatabaseSettings, node: NodeId, folder: Path, check: Check
) -> None:
    """Look for a node that does not run, by what lies in its folder."""
    if not (folder / memory.STATE).exists():
        return
    state = await asyncio.to_thread(memory.read_state, folder / memory.STATE)
    asked = Fence(node)
    if state is not None:
        asked.signed = lambda: state.last_cosigned
        asked.acknowledge_leaf(state.acknowledged)
    await check_database(database, asked, state, check)


async def check_database(
    database: settings.DatabaseSettings, asked: Fence, state: SignerState | None, check: Check
) -> None:
    """Raise `RecordLost` unless the database shows what this node signed and acknowledged."""
    if state is None and asked.acknowledged is None:
        return
    alone = database.model_copy(update={"pool_size": 1})
    async with pool.open(alone, "gate") as connections:
        if not await connections.value(_HAS_A_RECORD):
            raise errors.RecordLost(f"the database is empty, and this node signed in another. {ADVICE}")
        async with connections.transaction() as connection:
            await asked.check_database(connection)
        genesis = await blocks.load_tip(connections, 0)
        if state is not None and genesis is not None:
            await voting.load_signed_tip(connections, state, genesis, check)


async def watch_fence(
    asked: Fence, right: SigningRight | None, told: asyncio.Event, stop: asyncio.Event
) -> None:
    """Stop when told to, or when the fence broke: then with what was acknowledged on the disk first."""
    await wait_for_first(told, asked.broken)
    if asked.lost is not None:
        log.critical("this node stops", reason=str(asked.lost))
        await remember_acknowledged(asked, right)
    stop.set()


async def remember_acknowledged(asked: Fence, right: SigningRight | None) -> None:
    """Put on the disk what was acknowledged since this node last signed something."""
    if right is None:
        return
    try:
        await asyncio.to_thread(right.remember_acknowledged, asked.acknowledged)
    except errors.SigningRefused as refused:
        log.critical("what was acknowledged last is not on the disk", reason=str(refused))


async def wait_for_first(*events: asyncio.Event) -> None:
    """Wait until one of them is set."""
    waiting = [asyncio.create_task(each.wait()) for each in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for each in waiting:
            each.cancel()


def _last_signed(right: SigningRight) -> NumberedHash | None:
    return right.state.last_cosigned if right.state is not None else None


_HAS_A_RECORD = "SELECT to_regclass('verification_chain') IS NOT NULL"
