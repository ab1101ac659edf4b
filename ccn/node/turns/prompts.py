"""From an instance and a turn to the call that is sent: plate, anchor, state and history, read and layered.

What holds still is the anchor, which is kept before it is used; so every node builds the same bytes for the
same turn, and the provider's cache hits from turn to turn and from host to host.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from ccn import errors
from ccn.core.bounded import Recent
from ccn.core.calls.call import Call
from ccn.core.ids import CharacterId, ConversationId, UserId
from ccn.core.message import Message, Role
from ccn.core.prompts import interview, prompt
from ccn.core.prompts.anchor import Anchor, MeasuredStates
from ccn.core.prompts.interview import Interview
from ccn.core.prompts.plate import Plate
from ccn.core.prompts.prompt import Scene
from ccn.node.turns.plates import Plates
from ccn.store.connection.pool import Pool
from ccn.store.conversations import anchors, conversations, prompt_sources
from ccn.store.conversations.anchors import KeepAnchor
from ccn.store.conversations.conversations import BeginConversation
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.prompt_sources import Beginning
from ccn.store.writing.writer import Writer

if TYPE_CHECKING:
    from ccn import settings

_KNOWN = 10_000
_TRIES = 5
_UNSAID = datetime.min.replace(tzinfo=UTC)
"""No prompt shows when a message came, so one that was not sent yet has no moment."""


class PromptSpeaker(Protocol):
    """Who speaks in a conversation: an instance, or whoever borrowed the character."""

    @property
    def conversation(self) -> ConversationId:
        """Return the conversation."""

    @property
    def character(self) -> CharacterId:
        """Return the character."""

    @property
    def plate_version(self) -> int:
        """Return the version of the plate."""

    @property
    def model(self) -> str:
        """Return the model."""

    @property
    def epoch(self) -> int:
        """Return the epoch under which its anchor is stored."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What an instance is spawned with."""

    plate: Plate
    anchor: Anchor
    interview: Interview
    scene: Scene
    at: Message
    """Where a question stands: after everything that was said."""


@dataclass(frozen=True, slots=True)
class PromptMaterial:
    """What a prompt is made of."""

    plate: Plate
    anchor: Anchor
    scene: Scene
    now: MeasuredStates


async def _read_nothing() -> None:
    """Return at once, in place of something to read."""


class Prompts(Plates):
    """Builds prompts on one node; what never changes is read once."""

    def __init__(self, pool: Pool, writer: Writer, claude: settings.ClaudeSettings) -> None:
        super().__init__(pool, claude)
        self._writer = writer
        self._names = Recent[ConversationId, str](_KNOWN)
        self._anchors = Recent[ConversationId, Anchor](_KNOWN)

    async def build_call(self, speaker: PromptSpeaker, seq: int) -> Call:
        """Build the whole prompt of the message at this place; store its anchor first if it moved."""
        return await self._build_call(speaker, seq, _TRIES)

    async def _build_call(self, speaker: PromptSpeaker, seq: int, tries: int) -> Call:
        read = await self.read_material(speaker, seq)
        fresh = self._choose_anchor(speaker, read)
        if fresh is not read.anchor:
            conversation, limits = speaker.conversation, self.limit_call(speaker.model)
            name = read.scene.collaborator
            try:
                await self._writer.submit(KeepAnchor(conversation, fresh, speaker.epoch))
            except errors.Conflict as other:  # the instance was reminded of its plate at the same moment
                if isinstance(other, errors.StaleHost) or tries == 1:
                    raise
                return await self._build_call(speaker, seq, tries - 1)
            scene = await prompt_sources.load_scene(self._pool, conversation, fresh, seq, limits, name)
            read = replace(read, anchor=fresh, scene=scene)
        return self._build_from(speaker, read)

    def build_if_unmoved(self, speaker: PromptSpeaker, read: PromptMaterial) -> Call | None:
        """Build the prompt of what was read. Return None if its anchor has to move first."""
        return (
            self._build_from(speaker, read) if self._choose_anchor(speaker, read) is read.anchor else None
        )

    def _choose_anchor(self, speaker: PromptSpeaker, read: PromptMaterial) -> Anchor:
        return prompt.update_anchor(
            read.plate, read.anchor, read.scene, read.now, self.limit_call(speaker.model)
        )

    def _build_from(self, speaker: PromptSpeaker, read: PromptMaterial) -> Call:
        return prompt.build_call(read.plate, read.anchor, read.scene, self.limit_call(speaker.model))

    async def read_material(self, speaker: PromptSpeaker, seq: int) -> PromptMaterial:
        """Read everything at once, the scene under the anchor of last time, which seldom moves."""
        pool, here, limits = self._pool, speaker.conversation, self.limit_call(speaker.model)
        name = await self._load_collaborator(here)
        known = self._anchors.get(here)
        (anchor, measured), found, scene = await asyncio.gather(
            anchors.anchor_and_state(pool, here),
            self.load_plate(speaker.character, speaker.plate_version),
            _read_nothing()
            if known is None
            else prompt_sources.load_scene(pool, here, known, seq, limits, name),
        )
        if anchor is None:
            anchor = (await self.load_opening(speaker)).anchor
        if scene is None or anchor != known:
            scene = await prompt_sources.load_scene(pool, here, anchor, seq, limits, name)
        self._anchors[here] = anchor
        return PromptMaterial(found, anchor, scene, measured)

    async def prepare_opening(self, begin: BeginConversation) -> Opening:
        """Load what the first instance of a new conversation begins with, by the newest plate."""
        new = await self._load_beginning(begin.id, begin.character, begin.owner)
        found = await self.load_plate(begin.character, new.plate)
        anchor, scene = _first_anchor(new), Scene(1, (), new.memories, new.collaborator)
        self._anchors[begin.id] = anchor
        at = Message(begin.id, 1, Role.USER, "", _UNSAID)
        return Opening(found, anchor, interview.make_interview(found, new.collaborator), scene, at)

    async def _load_beginning(
        self, here: ConversationId, character: CharacterId, owner: UserId | None
    ) -> Beginning:
        new = await prompt_sources.load_beginning(self._pool, character, owner, besides=here)
        self._names[here] = new.collaborator
        return new

    async def load_opening(self, speaker: PromptSpeaker) -> Opening:
        """Load what an instance begins with, under its plate, and store it as the anchor of its prompts.

        In a new conversation these are memories and a state, in a continued one those that it had.
        """
        here, anchor, name, found = await asyncio.gather(
            conversations.load_conversation(self._pool, speaker.conversation),
            anchors.load_anchor(self._pool, speaker.conversation),
            self._load_collaborator(speaker.conversation),
            self.load_plate(speaker.character, speaker.plate_version),
        )
        fresh = anchor or _first_anchor(await self._load_beginning(here.id, here.character, here.owner))
        if fresh.plate != speaker.plate_version:
            version = fresh.version if anchor is None else fresh.version + 1
            fresh = replace(fresh, plate=speaker.plate_version, version=version)
        limits, last = self.limit_call(speaker.model), here.head_seq + 1
        reading = prompt_sources.load_scene(self._pool, here.id, fresh, last, limits, name)
        if fresh is anchor:
            scene = await reading
        else:  # what it names is there already
            scene, _ = await asyncio.gather(
                reading, self._writer.submit(KeepAnchor(here.id, fresh, speaker.epoch))
            )
        at = Message(here.id, last, Role.USER, "", here.created_at)
        return Opening(found, fresh, interview.make_interview(found, name), scene, at)

    def build_questions(self, model: str, opening: Opening, asks: Sequence[str]) -> list[Call]:
        """Build a prompt for each question, as if it came next; none is a message of the conversation."""
        asked = replace(opening.at, content=asks[0])
        said = tuple(each for each in opening.scene.messages if each.seq < asked.seq)
        scene = replace(opening.scene, this_seq=asked.seq, messages=(*said, asked))
        limits = self.limit_call(model)
        for each in asks:
            prompt.check_message(opening.plate, each, limits)
        first = prompt.build_call(opening.plate, opening.anchor, scene, limits)
        return [first, *(prompt.replace_message(first, asks[0], other) for other in asks[1:])]

    async def check_fits(self, instance: Instance, content: str) -> None:
        """Refuse a message that no prompt has room for, before it is accepted."""
        found = await self.load_plate(instance.character, instance.plate_version)
        prompt.check_message(found, content, self.limit_call(instance.model))

    async def _load_collaborator(self, conversation: ConversationId) -> str:
        known = self._names.get(conversation)
        if known is None:
            known = await conversations.load_collaborator(self._pool, conversation)
            self._names[conversation] = known
        return known


def _first_anchor(new: Beginning) -> Anchor:
    """Make the anchor of a conversation in which nothing was said."""
    return Anchor(new.plate, (new.state,), new.places)
