"""Commits that the standbys have too, where the server waits for some (`synchronous_standby_names`).

A commit whose wait is ended, by our own time-out, an operator or a restart of the server, stands all the
same: everybody sees it, and it is gone if the primary is. The server says so by a warning, or nobody is
left to hear it. Standbys confirm in the order of the log, so one more commit that comes back without a
warning says that all before it are there as well. Without synchronous standbys it comes back at once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from asyncpg import PostgresLogMessage

if TYPE_CHECKING:
    from ccn.store.connection.pool import Connection

_WARNING = "01000"
"""What "canceling wait for synchronous replication" has; its words depend on the server's language."""


class CommitWarnings:
    """Which connections heard a warning since they were last asked about it."""

    def __init__(self) -> None:
        self._warned = set[object]()

    def listen_to(self, connection: Connection) -> None:
        """From now on hear what the server warns of."""
        connection.add_log_listener(self._note_warning)

    def stop_listening(self, connection: Connection) -> None:
        """Hear it no more."""
        self._warned.discard(connection)
        connection.remove_log_listener(self._note_warning)

    def take_warning(self, connection: Connection) -> bool:
        """Whether there was one; asking settles it."""
        warned = connection in self._warned
        self._warned.discard(connection)
        return warned

    def _note_warning(self, connection: object, message: PostgresLogMessage) -> None:
        if message.sqlstate == _WARNING:
            self._warned.add(connection)


async def commit_marker(connection: Connection) -> None:
    """Commit something small, which waits for the standbys like every commit."""
    await connection.execute(_SOMETHING)


_SOMETHING = "SELECT pg_logical_emit_message(true, 'ccn', '')"
