"""Where callers' reads go that nothing is decided upon: to replicas of the database, or to the primary.

History, searches and measures are such reads. Whatever a door checks or has written goes past this.
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass

from ccn import settings
from ccn.gateway import search_places
from ccn.gateway.search_places import Searches
from ccn.store.connection.fence import Fence
from ccn.store.connection.pool import Pool
from ccn.store.replicas import reads, replica_set
from ccn.store.replicas.reads import ReplicaReads


@dataclass(frozen=True, slots=True)
class ReadingPlaces:
    """The reads of one process, over connections of their own."""

    history: ReplicaReads
    """Conversations, what was said in them, and what was measured."""
    searches: Searches


@contextlib.asynccontextmanager
async def open_places(
    chosen: settings.Settings, primary: Pool, name: str, fence: Fence | None = None
) -> AsyncIterator[ReadingPlaces]:
    """Open the reads of a process; its replicas have been looked at once."""
    database = chosen.database
    async with (
        replica_set.open_replicas(database, primary, name) as replicas,
        reads.open_reads(
            primary,
            replicas,
            f"{name} history",
            pool_size=database.pool_size,
            # What takes as long as a replica may be late is better asked of the primary.
            patience_s=min(database.statement_timeout_s, database.replica_lag_s),
        ) as history,
        search_places.open_searches(database, chosen.limits, name, replicas, fence) as searches,
    ):
        await replicas.probe_all()
        yield ReadingPlaces(history, searches)


def read_primary(primary: Pool) -> ReadingPlaces:
    """Make reads of a process that knows no replicas, all over the same connections."""
    alone = reads.read_primary(primary)
    return ReadingPlaces(alone, Searches(alone, settings.DatabaseSettings(), settings.LimitsSettings()))
