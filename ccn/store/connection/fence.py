"""What the database has to show this node: the block it signed last and the newest leaf it acknowledged.

A database that was put back to an earlier moment, or a standby that took over without the last commits,
looks like any other. So each new connection is asked before anything is read or written through it, and
readiness asks now and then through one that is open. After one wrong answer nothing passes any more: who
went on from there would number its leaves a second time, and answer for what is gone.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING

from ccn import errors
from ccn.core.ids import NodeId
from ccn.core.rounds.signer import NOTHING, NumberedHash
from ccn.store.connection import timelines
from ccn.store.connection.timelines import SeenTimelines

if TYPE_CHECKING:
    from ccn.store.connection.pool import Connection

ADVICE = (
    "This node serves nobody and writes nothing until the database shows it again. Put back the database "
    "that has it: the server that was the primary before, a standby that is further, or the newest backup "
    "with all of its log. ccn/docs/recovery.md says more"
)


class Fence:
    """One node's memory, held against each database it is shown."""

    def __init__(self, node: NodeId) -> None:
        self._node = node
        self.broken = asyncio.Event()
        """Set once anything was missing."""
        self.signed: Callable[[], NumberedHash | None] = _nothing_signed
        """The block that this node cosigned last; None while it has signed nothing."""
        self.acknowledged: NumberedHash | None = None
        """The newest leaf of this node that somebody was told to be durable."""
        self.lost: errors.RecordLost | None = None
        """What was missing, once anything was."""
        self.timelines = SeenTimelines()
        """Which histories of the database have ended."""

    def acknowledge_leaf(self, newest: NumberedHash | None) -> None:
        """From now on the database must show this leaf. Numbers only rise."""
        if newest is not None and newest.number > (self.acknowledged or NOTHING).number:
            self.acknowledged = newest

    async def check_database(self, connection: Connection) -> None:
        """Raise `RecordLost` unless the database behind this connection shows what it must."""
        if unfit := await self.find_unfitness(connection):
            raise errors.DatabaseUnavailable(f"the database {unfit}")

    async def find_unfitness(self, connection: Connection) -> str:
        """The same, but say why another host may be the right one; empty if this one is."""
        self.raise_if_lost()
        block, leaf = self.signed(), self.acknowledged
        if block is None and leaf is None:
            (row,) = await connection.fetch(_TIMELINE)
            lost = None
        else:
            (row,) = await connection.fetch(
                _SHOWN, block.number if block else None, self._node, leaf.number if leaf else None
            )
            lost = _find_loss(self._node, block, row["block"], leaf, row["leaf"])
        if unfit := self.timelines.describe_refusal(row):
            return unfit
        if lost is not None and row["standby"]:
            return "is a standby that is behind: wait, or name the primary"
        if lost is not None:
            self.mark_lost(lost)
            raise lost
        await self.timelines.note_shown(row)
        return ""

    def mark_lost(self, lost: errors.RecordLost) -> None:
        """From now on nothing passes."""
        self.lost = self.lost or lost
        self.broken.set()

    def raise_if_lost(self) -> None:
        """Raise what was missing, once anything was."""
        if self.lost is not None:  # a new one: raised again and again, it would gather every way it went
            raise type(self.lost)(str(self.lost))


def _find_loss(
    node: NodeId,
    block: NumberedHash | None,
    shown_block: bytes | None,
    leaf: NumberedHash | None,
    shown_leaf: bytes | None,
) -> errors.RecordLost | None:
    if block is not None and shown_block != block.hash:
        shows = "does not show" if shown_block is None else "shows another block in the place of"
        return errors.RecordLost(
            f"the database {shows} block {block.number}, which {node} signed: it was put back to an "
            f"earlier moment, or is another one. {ADVICE}"
        )
    if leaf is not None and shown_leaf != leaf.hash:
        shows = "does not show" if shown_leaf is None else "shows another leaf in the place of"
        return errors.AcknowledgedLost(
            f"the database {shows} leaf {leaf.number}, which {node} acknowledged: what people were told to "
            f"be durable is gone from it. {ADVICE}"
        )
    return None


def _nothing_signed() -> None:
    return None


_TIMELINE = f"SELECT {timelines.SHOWN}"
_SHOWN = f"""
    SELECT {timelines.SHOWN},
           (SELECT hash FROM verification_chain WHERE height = $1) AS block,
           (SELECT hash FROM leaves WHERE node_id = $2 AND number = $3) AS leaf
"""  # noqa: S608 - columns of ours
