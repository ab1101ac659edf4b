"""Where instances live, as a gateway remembers it, so that it asks their hosts and no other voter for them.

Nothing rests on it. A voter that does not host an instance does what it is asked all the same, and says who
hosts it: the next question goes there.
"""

from __future__ import annotations

from ccn.core.bounded import Recent
from ccn.core.ids import ConversationId, NodeId
from ccn.store.connection.pool import Pool
from ccn.store.conversations import instances

_REMEMBERED = 50_000


class KnownHosts:
    """The hosts of the conversations that were spoken in last. Drops the oldest first."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._hosts = Recent[ConversationId, NodeId](_REMEMBERED)

    async def find_host(self, conversation: ConversationId) -> NodeId | None:
        """The node that hosts the conversation, if any does; the database is asked once."""
        if (known := self._hosts.get(conversation)) is not None:
            return known
        found = await instances.find_in_conversation(self._pool, conversation)
        self.remember(conversation, found.host if found is not None else None)
        return found.host if found is not None else None

    def remember(self, conversation: ConversationId, host: NodeId | None) -> None:
        """A voter, or the database, said where it lives; None changes nothing."""
        if host is not None:
            self._hosts[conversation] = host

    def forget(self, conversation: ConversationId) -> None:
        """Look again next time: its host does not answer."""
        self._hosts.pop(conversation, None)
