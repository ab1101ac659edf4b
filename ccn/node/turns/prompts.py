"""From an instance and a turn to the call that is sent: plate, anchor, state and history, read and layered.

What holds still is the anchor, which is kept before it is used; so every node builds the same bytes for the
same turn, and the provider's cache hits from turn to turn and from host to host.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, TypeVar

from ccn import errors
from ccn.core.calls.call import Call
from ccn.core.ids import CharacterId, ConversationId, UserId
from ccn.core.message import Message, Role
from ccn.core.prompts import interview, plate, prompt
from ccn.core.prompts.anchor import Anchor, Measured
from ccn.core.prompts.interview import Interview
from ccn.core.prompts.plate import Plate
from ccn.core.prompts.prompt import Limits, Scene
from ccn.store.connection.pool import Pool
from ccn.store.conversations import anchors, characters, conversations, prompt_sources
from ccn.store.conversations.anchors import Keep
from ccn.store.conversations.conversations import Begin
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.prompt_sources import Beginning
from ccn.store.writing.writer import Writer

if TYPE_CHECKING:
    from ccn import settings

K = TypeVar("K")

_PLATES_KEPT = 64
_KNOWN = 10_000
_TRIES = 5
_UNSAID = datetime.min.replace(tzinfo=UTC)
"""No prompt shows when a message came, so one that was not sent yet has no moment."""


class Speaker(Protocol):
    """Who speaks in a conversation: an instance, or whoever borrowed the character."""

    @property
    def conversation(self) -> ConversationId:
        """Where."""

    @property
    def character(self) -> CharacterId:
        """As whom."""

    @property
    def plate_version(self) -> int:
        """By which plate."""

    @property
    def model(self) -> str:
        """With which model."""

    @property
    def epoch(self) -> int:
        """Under which epoch its anchor is kept."""


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
class Read:
    """What a prompt is made of."""

    plate: Plate
    anchor: Anchor
    scene: Scene
    now: Measured


async def _nothing() -> None:
    """Where there is nothing to wait for."""


class Prompting:
    """Builds prompts on one node; what never changes is read once."""

    def __init__(self, pool: Pool, writer: Writer, claude: settings.Claude) -> None:
        self._pool, self._writer, self._claude = pool, writer, claude
        self._plates: OrderedDict[tuple[CharacterId, int], Plate] = OrderedDict()
        self._names: OrderedDict[ConversationId, str] = OrderedDict()
        self._anchors: OrderedDict[ConversationId, Anchor] = OrderedDict()

    async def after(self, speaker: Speaker, seq: int) -> Call:
        """The whole prompt of a message by its place; its anchor is kept first if it had to move."""
        return await self._after(speaker, seq, _TRIES)

    async def _after(self, speaker: Speaker, seq: int, tries: int) -> Call:
        read = await self.read(speaker, seq)
        fresh = self._settled(speaker, read)
        if fresh is not read.anchor:
            here, limits, name = speaker.conversation, self.limits(speaker.model), read.scene.collaborator
            try:
                await self._writer.submit(Keep(here, fresh, speaker.epoch))
            except errors.Conflict as other:  # the instance was reminded of its plate at the same moment
                if isinstance(other, errors.StaleHost) or tries == 1:
                    raise
                return await self._after(speaker, seq, tries - 1)
            scene = await prompt_sources.scene(self._pool, here, fresh, seq, limits, name)
            read = replace(read, anchor=fresh, scene=scene)
        return self._built(speaker, read)

    def unmoved(self, speaker: Speaker, read: Read) -> Call | None:
        """The prompt of what was read; None if its anchor has to move first."""
        return self._built(speaker, read) if self._settled(speaker, read) is read.anchor else None

    def _settled(self, speaker: Speaker, read: Read) -> Anchor:
        return prompt.settled(read.plate, read.anchor, read.scene, read.now, self.limits(speaker.model))

    def _built(self, speaker: Speaker, read: Read) -> Call:
        return prompt.build(read.plate, read.anchor, read.scene, self.limits(speaker.model))

    async def read(self, speaker: Speaker, seq: int) -> Read:
        """All at once: the anchor too, because it is seldom another one than last time."""
        pool, here, limits = self._pool, speaker.conversation, self.limits(speaker.model)
        name = await self._collaborator(here)
        known = self._anchors.get(here)
        (anchor, measured), found, scene = await asyncio.gather(
            anchors.standing(pool, here),
            self.plate(speaker.character, speaker.plate_version),
            _nothing() if known is None else prompt_sources.scene(pool, here, known, seq, limits, name),
        )
        if anchor is None:
            anchor = (await self.opened(speaker)).anchor
        if scene is None or anchor != known:
            scene = await prompt_sources.scene(pool, here, anchor, seq, limits, name)
        _remember(self._anchors, here, anchor)
        return Read(found, anchor, scene, measured)

    async def beginning(self, begin: Begin) -> Opening:
        """What an instance begins with in a conversation that is about to be begun, by the newest plate."""
        new = await self._new(begin.id, begin.character, begin.owner)
        found = await self.plate(begin.character, new.plate)
        anchor, scene = _first(new), Scene(1, (), new.memories, new.collaborator)
        _remember(self._anchors, begin.id, anchor)
        at = Message(begin.id, 1, Role.USER, "", _UNSAID)
        return Opening(found, anchor, interview.of(found, new.collaborator), scene, at)

    async def _new(self, here: ConversationId, character: CharacterId, owner: UserId | None) -> Beginning:
        new = await prompt_sources.beginning(self._pool, character, owner, besides=here)
        _remember(self._names, here, new.collaborator)
        return new

    async def opened(self, speaker: Speaker) -> Opening:
        """Load what an instance begins with, and hold it fast: memories and state for a new conversation,
        what it had for a continued one, under the instance's plate."""
        here, anchor, name, found = await asyncio.gather(
            conversations.get(self._pool, speaker.conversation),
            anchors.latest(self._pool, speaker.conversation),
            self._collaborator(speaker.conversation),
            self.plate(speaker.character, speaker.plate_version),
        )
        fresh = anchor or _first(await self._new(here.id, here.character, here.owner))
        if fresh.plate != speaker.plate_version:
            version = fresh.version + (fresh is anchor)
            fresh = replace(fresh, plate=speaker.plate_version, version=version)
        limits, last = self.limits(speaker.model), here.head_seq + 1
        reading = prompt_sources.scene(self._pool, here.id, fresh, last, limits, name)
        if fresh is anchor:
            scene = await reading
        else:  # what it names is there already
            scene, _ = await asyncio.gather(
                reading, self._writer.submit(Keep(here.id, fresh, speaker.epoch))
            )
        at = Message(here.id, last, Role.USER, "", here.created_at)
        return Opening(found, fresh, interview.of(found, name), scene, at)

    def questions(self, model: str, opening: Opening, asks: Sequence[str]) -> list[Call]:
        """Questions such as an interview has, each as if it came next; no messages of the conversation."""
        asked = replace(opening.at, content=asks[0])
        said = tuple(each for each in opening.scene.said if each.seq < asked.seq)
        scene, limits = replace(opening.scene, this=asked.seq, said=(*said, asked)), self.limits(model)
        for each in asks:
            prompt.check(opening.plate, each, limits)
        first = prompt.build(opening.plate, opening.anchor, scene, limits)
        return [first, *(prompt.instead(first, asks[0], other) for other in asks[1:])]

    async def check(self, instance: Instance, content: str) -> None:
        """Refuse a message that no prompt has room for, before it is accepted."""
        found = await self.plate(instance.character, instance.plate_version)
        prompt.check(found, content, self.limits(instance.model))

    async def plate(self, character: CharacterId, version: int) -> Plate:
        """A version of a plate, taken apart."""
        known = self._plates.get((character, version))
        if known is None:
            stored = await characters.plate(self._pool, character, version)
            known = self._plates[character, version] = plate.read(stored.content)
            while len(self._plates) > _PLATES_KEPT:
                self._plates.popitem(last=False)
        return known

    def model(self, found: Plate) -> str:
        """The model that speaks for a plate."""
        return found.model or self._claude.model

    def limits(self, model: str) -> Limits:
        """What a call may cost."""
        return Limits(model, self._claude.max_tokens)

    async def _collaborator(self, conversation: ConversationId) -> str:
        known = self._names.get(conversation)
        if known is None:
            known = await conversations.collaborator(self._pool, conversation)
            _remember(self._names, conversation, known)
        return known


def _remember(known: OrderedDict[ConversationId, K], here: ConversationId, what: K) -> None:
    known[here] = what
    while len(known) > _KNOWN:
        known.popitem(last=False)


def _first(new: Beginning) -> Anchor:
    """What a conversation holds fast in which nothing was said."""
    return Anchor(new.plate, (new.state,), new.places)
