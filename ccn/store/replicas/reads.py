"""A read on a replica where one will do, and else on the primary: once, and counted with the reason.

    page = await reads.read(lambda pool: conversations.load_history(pool, conversation))

The work may run twice, so it changes nothing outside. Separate from `replica_set` because each use has
connections of its own: history does not wait for searches.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TypeVar

import structlog

from ccn import errors, metrics
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.replicas.primary_log import PrimaryLog
from ccn.store.replicas.replica import SILENT, Replica
from ccn.store.replicas.replica_set import ReplicaSet

T = TypeVar("T")

log = structlog.get_logger(__name__)

_CONFLICT = "40001"
"""What a standby says that has to end a statement, because the log removes rows that it reads."""


class ReplicaReads:
    """Reads of one kind: over connections of their own to each replica, and to the primary."""

    def __init__(self, primary: Pool, replicas: ReplicaSet, pools: Mapping[Replica, Pool]) -> None:
        self.primary = primary
        self.replicas = replicas
        self._pools = pools

    async def read(self, work: Callable[[Pool], Awaitable[T]]) -> T:
        """Do the work where everything is that anybody was told to be durable before this call."""
        if (replica := await self._find_ready()) is not None:
            try:
                answer = await work(self._pools[replica])
            except errors.Unavailable as failed:
                _note_failure(replica, failed)
            else:
                metrics.database.count_replica_read("replica")
                return answer
        return await work(self.primary)

    async def _find_ready(self) -> Replica | None:
        if not self._pools:
            return None
        if not self.replicas.is_any_fit():
            metrics.database.count_replica_read("none")
            return None
        try:
            ready = await self.replicas.find_ready()
        except errors.CCNError:
            metrics.database.count_replica_read("none")  # what is wrong with the primary, the primary says
            return None
        if ready is None:
            metrics.database.count_replica_read("late")
        return ready


def _note_failure(replica: Replica, failed: errors.Unavailable) -> None:
    """Count what the replica failed with; raise it again if the primary would say the same."""
    if getattr(failed.__cause__, "sqlstate", None) == _CONFLICT:
        metrics.database.count_replica_read("conflict")
        return
    is_lost = isinstance(failed, (errors.DatabaseUnavailable, errors.DatabaseFull))
    if not is_lost and type(failed) is not errors.Unavailable:
        raise failed
    metrics.database.count_replica_read("lost")
    if is_lost and not isinstance(failed.__cause__, TimeoutError):  # a statement can be slow by itself
        replica.note_unfitness(SILENT, str(failed))


def read_primary(primary: Pool) -> ReplicaReads:
    """Make reads that know no replica."""
    return ReplicaReads(primary, ReplicaSet((), PrimaryLog(primary), 0), {})


@asynccontextmanager
async def open_reads(
    primary: Pool, replicas: ReplicaSet, name: str, *, pool_size: int, patience_s: float
) -> AsyncIterator[ReplicaReads]:
    """Open reads of one kind. A statement that takes longer than the patience goes to the primary."""
    limits = {"pool_size": pool_size, "statement_timeout_s": patience_s}
    async with AsyncExitStack() as stack:
        pools = {
            replica: await stack.enter_async_context(
                pool.open(
                    replica.database.model_copy(update=limits), name, accept=replica.find_unfitness, least=0
                )
            )
            for replica in replicas.replicas
        }
        yield ReplicaReads(primary, replicas, pools)
