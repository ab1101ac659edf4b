"""A conversation that begins together with whoever speaks in it: all of it, or nothing.

One write and not three, because three are judged one by one: of an instance for which there was no room,
the conversation would stay behind.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccn.core.ids import ConversationId
from ccn.store.conversations.anchors import KeepAnchor
from ccn.store.conversations.conversations import BeginConversation, StoredConversation
from ccn.store.conversations.instances import Instance, SpawnInstance
from ccn.store.writing.batch import Batch, Write


@dataclass(frozen=True, slots=True)
class Birth(Write[tuple[StoredConversation, Instance]]):
    """A conversation, its first instance, and what their prompts hold fast."""

    begin: BeginConversation
    spawn: SpawnInstance
    keep: KeepAnchor

    def begins_conversation(self) -> ConversationId | None:
        """Name the conversation."""
        return self.begin.id

    def prepare(self, batch: Batch) -> tuple[StoredConversation, Instance]:
        """Prepare each write in order. Once the conversation has begun, nothing refuses the later ones."""
        begun, born = self.begin.prepare(batch), self.spawn.prepare(batch)
        self.keep.prepare(batch)
        return begun, born
