"""From an instance and a turn to the call that is sent: plate, anchor, state and history, read and layered.

What holds still is the anchor, which is kept before it is used; so every node builds the same bytes for the
same turn, and the provider's cache hits from turn to turn and from host to host.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Protocol

from ccn import errors
from ccn.core import anchor as anchoring
from ccn.core import interview, plate, prompt
from ccn.core.anchor import Anchor, Measured
from ccn.core.call import Call
from ccn.core.character import Vector
from ccn.core.ids import CharacterId, ConversationId, TurnId, UserId
from ccn.core.interview import Interview
from ccn.core.message import Message, Role
from ccn.core.plate import Plate
from ccn.core.prompt import Limits, Scene
from ccn.store import anchors, characters, conversations, memories, vectors
from ccn.store.anchors import Keep
from ccn.store.conversations import Conversation
from ccn.store.instances import Instance
from ccn.store.pool import Pool
from ccn.store.turns import Turn
from ccn.store.vectors import State
from ccn.store.writer import Writer

if TYPE_CHECKING:
    from ccn import settings

_PLATES_KEPT = 64
_NAMES_KEPT = 10_000
_FORESEEN_KEPT = 256
_NEXT = 2**52
_TRIES = 5
"""The place of a message that has none yet: after all that were said."""


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
class _Read:
    """What a prompt is made of."""

    plate: Plate
    anchor: Anchor
    scene: Scene
    now: Measured


@dataclass(frozen=True, slots=True)
class _Foreseen:
    """What was read before its message had a place."""

    content: str
    epoch: int
    reading: asyncio.Task[_Read]

    def met(self, turn: Turn, read: _Read) -> _Read | None:
        """With the message of the turn; None if something before it was not there yet."""
        last = max((each.seq for each in read.scene.said), default=0)
        if last >= turn.user_seq:  # the message was there already
            return replace(read, scene=replace(read.scene, this=turn.user_seq))
        if (last + 1, self.epoch) != (turn.user_seq, turn.epoch):
            return None
        this = Message(turn.conversation, turn.user_seq, Role.USER, self.content, turn.accepted_at, turn.id)
        return replace(read, scene=replace(read.scene, this=this.seq, said=(*read.scene.said, this)))


async def _nothing() -> None:
    """Where there is nothing to wait for."""


class Prompting:
    """Builds prompts on one node; what never changes is read once."""

    def __init__(self, pool: Pool, writer: Writer, claude: settings.Claude) -> None:
        self._pool, self._writer, self._claude = pool, writer, claude
        self._plates: OrderedDict[tuple[CharacterId, int], Plate] = OrderedDict()
        self._names: OrderedDict[ConversationId, str] = OrderedDict()
        self._anchors: OrderedDict[ConversationId, Anchor] = OrderedDict()
        self._foreseen: OrderedDict[TurnId, _Foreseen] = OrderedDict()

    async def call(self, instance: Instance, turn: Turn) -> Call:
        """The whole prompt of a turn; its anchor is kept first if it had to move."""
        foreseen = self._foreseen.pop(turn.id, None)
        if foreseen is not None:
            with contextlib.suppress(errors.Unavailable):  # then it is read again
                read = foreseen.met(turn, await foreseen.reading)
                if read is not None:
                    return await self._built(instance, turn.user_seq, read)
        return await self.after(instance, turn.user_seq)

    async def after(self, speaker: Speaker, seq: int) -> Call:
        """The same for a message by its place."""
        return await self._built(speaker, seq, await self._read(speaker, seq))

    def foresee(self, instance: Instance, turn: TurnId, content: str) -> None:
        """Read what the prompt of a turn is made of while its message is made durable; `call` finds it."""
        reading = asyncio.ensure_future(self._read(instance, _NEXT))
        reading.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._foreseen[turn] = _Foreseen(content, instance.epoch, reading)
        while len(self._foreseen) > _FORESEEN_KEPT:
            self.forget(next(iter(self._foreseen)))

    def forget(self, turn: TurnId) -> None:
        """What was read for a turn that did not come to be."""
        foreseen = self._foreseen.pop(turn, None)
        if foreseen is not None:
            foreseen.reading.cancel()

    async def _built(self, speaker: Speaker, seq: int, read: _Read, tries: int = _TRIES) -> Call:
        here, limits, scene = speaker.conversation, self.limits(speaker.model), read.scene
        fresh = prompt.settled(read.plate, read.anchor, scene, read.now, limits)
        if fresh is not read.anchor:
            try:
                await self._writer.submit(Keep(here, fresh, speaker.epoch))
            except errors.Conflict as other:  # the instance was reminded of its plate at the same moment
                if isinstance(other, errors.StaleHost) or tries == 1:
                    raise
                return await self._built(speaker, seq, await self._read(speaker, seq), tries - 1)
            scene = await memories.scene(self._pool, here, fresh, seq, limits, scene.collaborator)
        return prompt.build(read.plate, fresh, scene, limits)

    async def _read(self, speaker: Speaker, seq: int) -> _Read:
        """All at once: the anchor too, because it is seldom another one than last time."""
        pool, here, limits = self._pool, speaker.conversation, self.limits(speaker.model)
        name = await self._collaborator(here)
        known = self._anchors.get(here)
        character, relational, anchor, found, scene = await asyncio.gather(
            vectors.latest(pool, here),
            vectors.relational(pool, here),
            anchors.latest(pool, here),
            self.plate(speaker.character, speaker.plate_version),
            _nothing() if known is None else memories.scene(pool, here, known, seq, limits, name),
        )
        if anchor is None:
            anchor = (await self.opened(speaker)).anchor
        if scene is None or anchor != known:
            scene = await memories.scene(pool, here, anchor, seq, limits, name)
        self._anchors[here] = anchor
        while len(self._anchors) > _NAMES_KEPT:
            self._anchors.popitem(last=False)
        return _Read(found, anchor, scene, Measured(_vector(character), _vector(relational)))

    async def first(
        self, conversation: ConversationId, character: CharacterId, owner: UserId | None
    ) -> Anchor:
        """What a conversation holds fast in which nothing was said, by the character's newest plate."""
        newest, recent, state = await asyncio.gather(
            characters.plate(self._pool, character),
            memories.recent(self._pool, character, owner, besides=conversation),
            vectors.of_character(self._pool, character),
        )
        return Anchor(newest.version, (anchoring.State(0, _vector(state)),), recent)

    async def began(self, speaker: Speaker, here: Conversation, anchor: Anchor) -> Opening:
        """What an instance begins with whose anchor was kept when its conversation was begun."""
        limits, last = self.limits(speaker.model), here.head_seq + 1
        name, found, scene = await asyncio.gather(
            self._collaborator(here.id),
            self.plate(speaker.character, speaker.plate_version),
            memories.scene(self._pool, here.id, anchor, last, limits),
        )
        at = Message(here.id, last, Role.USER, "", here.created_at)
        return Opening(found, anchor, interview.of(found, name), replace(scene, collaborator=name), at)

    async def opened(self, speaker: Speaker) -> Opening:
        """Load what an instance begins with, and hold it fast: memories and state for a new conversation,
        what it had for a continued one, under the instance's plate."""
        here, anchor, name, found = await asyncio.gather(
            conversations.get(self._pool, speaker.conversation),
            anchors.latest(self._pool, speaker.conversation),
            self._collaborator(speaker.conversation),
            self.plate(speaker.character, speaker.plate_version),
        )
        fresh = anchor or await self.first(here.id, here.character, here.owner)
        if fresh.plate != speaker.plate_version:
            version = fresh.version + (fresh is anchor)
            fresh = replace(fresh, plate=speaker.plate_version, version=version)
        limits, last = self.limits(speaker.model), here.head_seq + 1
        reading = memories.scene(self._pool, here.id, fresh, last, limits, name)
        if fresh is anchor:
            scene = await reading
        else:  # what it names is there already
            scene, _ = await asyncio.gather(
                reading, self._writer.submit(Keep(here.id, fresh, speaker.epoch))
            )
        at = Message(here.id, last, Role.USER, "", here.created_at)
        return Opening(found, fresh, interview.of(found, name), scene, at)

    def question(self, speaker: Speaker, opening: Opening, asks: str) -> Call:
        """A question of the interview, as if it came next; it is no message of the conversation."""
        asked = replace(opening.at, content=asks)
        said = tuple(each for each in opening.scene.said if each.seq < asked.seq)
        scene = replace(opening.scene, this=asked.seq, said=(*said, asked))
        return prompt.build(opening.plate, opening.anchor, scene, self.limits(speaker.model))

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
            known = self._names[conversation] = await conversations.collaborator(self._pool, conversation)
            while len(self._names) > _NAMES_KEPT:
                self._names.popitem(last=False)
        return known


def _vector(state: State | None) -> Vector | None:
    return None if state is None else state.vector
