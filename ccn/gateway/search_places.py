"""Limits the searches of users, because a search costs the database more than most other requests.

Searches have database connections of their own, so no other request waits for them. A user may have a few
at once. A search that finds all connections busy waits a moment, and is then refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

from ccn import errors, settings
from ccn.core.ids import ConversationId
from ccn.gateway.accounts.access import Caller
from ccn.node.spending.concurrency import ConcurrencyLimit
from ccn.store.connection import pool
from ccn.store.connection.fence import Fence
from ccn.store.conversations import search
from ccn.store.conversations.search import SearchHits
from ccn.store.replicas import reads
from ccn.store.replicas.reads import ReplicaReads
from ccn.store.replicas.replica_set import ReplicaSet

_WAIT_S = 1.0
_AT_ONCE = "of your searches are under way at this node (CCN_LIMITS_SEARCHES_AT_ONCE): wait for one of them"


@contextlib.asynccontextmanager
async def open_searches(
    database: settings.DatabaseSettings,
    limits: settings.LimitsSettings,
    node: str,
    replicas: ReplicaSet,
    fence: Fence | None = None,
) -> AsyncIterator[Searches]:
    """Open the connections for the searches of a node, to the primary and to each replica."""
    size, name = database.search_pool_size, f"{node} search"
    search_database = database.model_copy(update={"pool_size": size})
    async with (
        pool.open(search_database, name, fence, least=0) as connections,
        reads.open_reads(
            connections, replicas, name, pool_size=size, patience_s=database.statement_timeout_s
        ) as searching,
    ):
        yield Searches(searching, database, limits)


class Searches:
    """The searches of one node, over connections that nothing else uses."""

    def __init__(
        self, reads: ReplicaReads, database: settings.DatabaseSettings, limits: settings.LimitsSettings
    ) -> None:
        self._reads, self._within_s = reads, database.search_timeout_s
        self._per_user = ConcurrencyLimit(limits.searches_at_once, 0, errors.TooManySearches, _AT_ONCE)
        self._connections = asyncio.Semaphore(database.search_pool_size)

    async def search(
        self, caller: Caller, query: str, conversation: ConversationId | None, limit: int
    ) -> SearchHits:
        """Find messages in the caller's conversations, the best match first."""
        assert caller.user is not None, "a caller above PUBLIC has a user"
        async with self._per_user.take_slot(caller.user):
            await self._take_connection()
            try:
                return await self._reads.read(
                    lambda connections: search.find_messages(
                        connections,
                        query,
                        owner=caller.user,
                        conversation=conversation,
                        limit=limit,
                        within_s=self._within_s,
                    )
                )
            finally:
                self._connections.release()

    async def _take_connection(self) -> None:
        try:
            async with asyncio.timeout(_WAIT_S):
                await self._connections.acquire()
        except TimeoutError:
            raise errors.Overloaded("others are searching at this node; try again in a moment") from None
