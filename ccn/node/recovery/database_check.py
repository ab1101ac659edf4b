"""Checks before a node serves that the database shows what the node remembers.

The check runs before anything is written, even the schema, and then for each connection. It is not enough
that a node with the wrong database stops signing. If it still served, it would give the numbers of lost
leaves to other leaves, and answer from a past that its cluster has left.
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
from ccn.node.recovery import timeline_file
from ccn.node.rounds import voting
from ccn.node.signing import memory
from ccn.node.signing.memory import SigningRight
from ccn.store.connection import pool
from ccn.store.connection.fence import ADVICE, Fence
from ccn.store.connection.timelines import SeenTimelines
from ccn.store.rounds import blocks

if TYPE_CHECKING:
    from ccn import settings

log = structlog.get_logger(__name__)


@asynccontextmanager
async def open_right(chosen: settings.Settings) -> AsyncIterator[SigningRight | None]:
    """Open this node's key and signing memory, or yield None for a node outside a cluster."""
    if not chosen.etcd.endpoints or chosen.node.state_dir is None:
        yield None
        return
    await asyncio.to_thread(memory.prepare_folder, chosen.node.state_dir)
    with memory.open_right(chosen.node.state_dir) as right:
        yield right


def make_fence(
    node: NodeId,
    right: SigningRight | None,
    acknowledged: NumberedHash | None,
    timelines: SeenTimelines | None = None,
) -> Fence:
    """Make a fence of what this node remembers on its disk, and of what this process acknowledged."""
    fence = Fence(node)
    fence.timelines = timelines or timeline_file.open_memory(
        right.file.parent if right is not None else None
    )
    if right is not None:
        fence.signed = partial(_last_signed, right)
        fence.acknowledge_leaf(right.state.acknowledged if right.state is not None else None)
    fence.acknowledge_leaf(acknowledged)
    return fence


async def check_folder(
    database: settings.DatabaseSettings, node: NodeId, folder: Path, check: Check
) -> None:
    """Check the database for a node that does not run, with the signing memory in its folder."""
    if not (folder / memory.STATE).exists():
        return
    state = await asyncio.to_thread(memory.read_state, folder / memory.STATE)
    fence = Fence(node)
    fence.timelines.newest = timeline_file.read_timeline(folder)
    if state is not None:
        fence.signed = lambda: state.last_cosigned
        fence.acknowledge_leaf(state.acknowledged)
    await check_database(database, fence, state, check)


async def check_database(
    database: settings.DatabaseSettings, fence: Fence, state: SignerState | None, check: Check
) -> None:
    """Raise `RecordLost` unless the database shows what this node signed and acknowledged."""
    alone = database.model_copy(update={"pool_size": 1})
    async with pool.open(alone, "gate", accept=fence.timelines.find_unfitness) as connections:
        if state is None and fence.acknowledged is None:
            return
        if not await connections.value(_HAS_A_RECORD):
            raise errors.RecordLost(
                f"the database is empty, but this node signed blocks of another one. {ADVICE}"
            )
        async with connections.transaction() as connection:
            await fence.check_database(connection)
        try:
            genesis = await blocks.load_tip(connections, 0)
            if state is not None and genesis is not None:
                await voting.load_signed_tip(connections, state, genesis, check)
        except errors.ProtocolUnsupported as gap:  # the block is there; only a newer program can check it
            log.warning("the record was not checked further", reason=str(gap))


async def watch_fence(
    fence: Fence, right: SigningRight | None, told: asyncio.Event, stop: asyncio.Event
) -> None:
    """Set `stop` when `told` to, or when the fence broke.

    When the fence broke, what was acknowledged is saved on the disk first.
    """
    await wait_for_first(told, fence.broken)
    if fence.lost is not None:
        log.critical("this node stops", reason=str(fence.lost))
        await remember_acknowledged(fence, right)
    stop.set()


async def remember_acknowledged(fence: Fence, right: SigningRight | None) -> None:
    """Save on the disk what was acknowledged since this node last signed something."""
    if right is None:
        return
    try:
        await asyncio.to_thread(right.remember_acknowledged, fence.acknowledged)
    except errors.SigningRefused as refused:
        log.critical("what was acknowledged last is not on the disk", reason=str(refused))


async def wait_for_first(*events: asyncio.Event) -> None:
    """Wait until one of the events is set."""
    waiting = [asyncio.create_task(event.wait()) for event in events]
    try:
        await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in waiting:
            task.cancel()


def _last_signed(right: SigningRight) -> NumberedHash | None:
    return right.state.last_cosigned if right.state is not None else None


_HAS_A_RECORD = "SELECT to_regclass('verification_chain') IS NOT NULL"
