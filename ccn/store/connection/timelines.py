"""The newest timeline of the database that this node has seen, or heard of: an older one is refused.

A primary that was cut off while a standby was promoted goes on as if it were the only one. Whoever still
reaches it would write into a history that has ended. It shows by its timeline, which is older.

Separate from the fence's other question, what the database has to show: there a wrong answer stops the
node, here another host may be the right one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import structlog

from ccn.core.rounds.database_timeline import DatabaseTimeline

if TYPE_CHECKING:
    from ccn.store.connection.pool import Connection, NamedRow

log = structlog.get_logger(__name__)

SHOWN = """
    (SELECT system_identifier FROM pg_control_system()) AS system, pg_is_in_recovery() AS standby,
    CASE WHEN NOT pg_is_in_recovery() THEN left(pg_walfile_name(pg_current_wal_lsn()), 8) END AS timeline
"""
"""Columns that tell it. A standby has no timeline of its own: it follows another server's."""
_ACCEPT = "If it is the right one, say so with `ccn node accept-loss`"


class SeenTimelines:
    """One node's memory of it."""

    def __init__(self, newest: DatabaseTimeline | None = None) -> None:
        self.newest = newest
        self.keep: Callable[[DatabaseTimeline], None] = _keep_nowhere
        """Puts it on the disk. This comes before anything goes through a connection that shows it."""
        self.version = 0
        """Counts up when a newer one was seen: connections from before may lead to a former primary."""

    async def find_unfitness(self, connection: Connection) -> str:
        """Why this server is not to be used; empty if it may be."""
        return self.describe_refusal(await connection.fetchrow(f"SELECT {SHOWN}"))

    def describe_refusal(self, row: Any) -> str:
        """The same, of a row that has the columns."""
        known = self.newest
        if known is None:
            return ""
        if row["system"] != known.system:
            return (
                f"is another database: its identifier is {row['system']}, and this node's database has "
                f"{known.system}. {_ACCEPT}"
            )
        shown = timeline_from_row(row)
        if shown is not None and known.is_newer_than(shown):
            return (
                f"is on timeline {shown.timeline}, and timeline {known.timeline} was seen: it was the "
                f"primary before, or was restored. {_ACCEPT}"
            )
        return ""

    async def note_shown(self, row: NamedRow) -> None:
        """Remember what a server shows that may be used: on the disk first."""
        shown = timeline_from_row(row)
        if shown is None or (self.newest is not None and not shown.is_newer_than(self.newest)):
            return
        await asyncio.to_thread(self.keep, shown)
        self._raise_to(shown)

    def learn(self, told: DatabaseTimeline | None) -> None:
        """Hear from another node which one it has seen. Of another database that counts for nothing."""
        if told is not None and told.is_newer_than(self.newest):
            log.warning("another node has seen a newer timeline of the database", timeline=told.timeline)
            self._raise_to(told)

    def _raise_to(self, newer: DatabaseTimeline) -> None:
        if self.newest is None:
            self.newest = newer
        elif newer.is_newer_than(self.newest):
            self.newest = newer
            self.version += 1


def timeline_from_row(row: NamedRow) -> DatabaseTimeline | None:
    """The timeline that a primary shows; None of a standby."""
    return None if row["timeline"] is None else DatabaseTimeline(row["system"], int(row["timeline"], 16))


def _keep_nowhere(_: DatabaseTimeline) -> None:
    """A node without a folder remembers while it lives."""
