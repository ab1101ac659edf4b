"""Making one batch durable: sent once, and found again if the connection breaks in the middle.

    send ──┬──> committed, no warning ──────────────> durable
           ├──> committed, but standbys lag ────────> a marker is committed until they have it too
           └──> the connection breaks ──> connect ──> the last leaf is in the ledger, or send again

The outcome is never guessed. The batch's last leaf either is in the ledger or is not, and a second try
under the same leaf numbers cannot land beside the first. Separate from the writer, which gathers writes,
prepares them, and answers those who wait.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ccn import errors
from ccn.store.connection import failure, standbys
from ccn.store.connection.fence import Fence
from ccn.store.connection.pool import Connection
from ccn.store.writing.batch import Batch
from ccn.store.writing.reconnection import ReconnectingConnection, attempts

if TYPE_CHECKING:
    from ccn import settings


class DurableCommit:
    """Commits one batch at a time, on a connection of its own."""

    def __init__(self, database: settings.DatabaseSettings, name: str, fence: Fence) -> None:
        self._fence = fence
        self._connection = ReconnectingConnection(database, name, fence)

    @property
    def connections_made(self) -> int:
        """Return how many connections were made so far: a batch notes on which its look-ups were true."""
        return self._connection.connections_made

    async def close(self) -> None:
        """Close the connection."""
        await self._connection.close()

    async def make_durable(self, batch: Batch, deadline: float) -> None:
        """Commit one transaction. If its end is not seen, find out what became of it, or try again."""
        if batch.empty and not batch.answers_repeats:
            return
        sent = False
        committed = batch.empty  # on this server, and perhaps on none of its standbys
        async for _ in attempts(deadline):
            try:
                connection = await self._connect_for(batch, sent=sent)
                if not committed:
                    again, sent = sent, True
                    committed = again and await batch.has_landed(connection)
                if not committed:
                    ran = await _run_or_find(batch, connection, again=again)
                    committed = True
                    if ran and not self._connection.warnings.take_warning(connection):
                        return
                await standbys.commit_marker(connection)
                if not self._connection.warnings.take_warning(connection):
                    return
            except failure.FOREIGN as foreign:
                await self._connection.drop_if_broken(foreign)
                if sent and (batch.answers_repeats or not batch.leaves):
                    break
                committed = batch.empty  # the next connection may lead to a server that never had it
            except errors.RecordLost as lost:
                if not sent:
                    raise
                raise errors.OutcomeUnknown(str(lost)) from lost  # it may be on another database
        if committed:
            raise errors.OutcomeUnknown("PostgreSQL's standbys did not say in time that they have it too")
        if sent:
            raise errors.OutcomeUnknown("PostgreSQL did not say whether a commit is durable")
        raise errors.DatabaseUnavailable("PostgreSQL did not answer in time; nothing was written")

    async def _connect_for(self, batch: Batch, *, sent: bool) -> Connection:
        """Connect, unless what was looked up may be on another server by now."""
        self._fence.raise_if_lost()
        connection = await self._connection.get()
        if batch.answers_repeats and not sent and self.connections_made != batch.looked_up_at:
            raise errors.Conflict("what was looked up was on a connection that is gone")
        return connection


async def _run_or_find(batch: Batch, connection: Connection, *, again: bool) -> bool:
    """Run the batch. Return False if an earlier try turns out to have landed."""
    try:
        await batch.run(connection)
    except (errors.Conflict, *failure.FOREIGN) as stopped:
        # A second try may be refused because the first one, whose end was not seen, landed after all.
        if not again or failure.lost_connection(stopped) or not await batch.has_landed(connection):
            raise
        return False
    return True
