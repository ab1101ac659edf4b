"""A conversation that begins together with whoever speaks in it: all of it, or nothing.

One write and not three, because three are judged one by one: of an instance for which there was no room,
the conversation would stay behind.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccn.core.ids import ConversationId
from ccn.store.anchors import Keep
from ccn.store.batch import Batch, Write
from ccn.store.conversations import Begin, Conversation
from ccn.store.instances import Instance, Spawn


@dataclass(frozen=True, slots=True)
class Birth(Write[tuple[Conversation, Instance]]):
    """A conversation, its first instance, and what their prompts hold fast."""

    begin: Begin
    spawn: Spawn
    keep: Keep

    def begins(self) -> ConversationId | None:
        """The conversation."""
        return self.begin.id

    def prepare(self, batch: Batch) -> tuple[Conversation, Instance]:
        """One after the other; nothing refuses the later ones once the conversation has begun."""
        begun, born = self.begin.prepare(batch), self.spawn.prepare(batch)
        self.keep.prepare(batch)
        return begun, born
