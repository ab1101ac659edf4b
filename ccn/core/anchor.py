"""What a prompt holds fast from turn to turn, although the world behind it moves.

A provider caches a prompt up to the first byte that changed. So the state that is shown, the conversations
that are remembered and the place where history begins in full are decided now and then and kept; between
two decisions every node builds the same bytes.

An anchor holds numbers and places, never words: those are read from the messages each time. What was
redacted is therefore gone from the next prompt, and nothing here has to be found and taken out.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import zip_longest
from uuid import UUID

from ccn.core.character import UNIT, Vector
from ccn.core.ids import ConversationId

NEUTRAL = UNIT // 2
MOVED = UNIT // 10
"""How far an axis has to move to be shown anew."""
LEAPT = UNIT // 4
"""How far, to be shown at once."""
SETTLED = 20
"""How many messages a shown state stays at least, unless an axis leaps: the state averages ten replies."""
MEMORIES_LIMIT = 20


def refreshed(shown: Anchor, now: Measured, *, ordered: bool = False, free: bool = False) -> Anchor:
    """The anchor with the state of now, or the very same while the difference is not worth a cache.

    `ordered` re-anchors: the state is shown at once, with a reminder of the plate that stays until the
    character has moved again. `free` is for when the cache is lost anyhow.
    """
    moved = max(_distance(shown.character, now.character), _distance(shown.relational, now.relational))
    waited = now.seq - shown.at_seq >= SETTLED
    due = moved >= LEAPT or (moved >= MOVED and waited) or (free and moved > 0)
    if not due and not ordered:
        return shown
    return replace(
        shown,
        version=shown.version + 1,
        at_seq=now.seq,
        character=now.character,
        relational=now.relational,
        reminder=ordered or (shown.reminder and not (moved >= MOVED)),
    )


@dataclass(frozen=True, slots=True)
class Recalled:
    """An earlier conversation as it was remembered: up to which message, so that it never grows."""

    conversation: ConversationId
    upto: int

    def places(self) -> tuple[int, ...]:
        """The messages to quote: the first exchange and the last."""
        return tuple(sorted({1, 2, self.upto - 1, self.upto} & set(range(1, self.upto + 1))))


@dataclass(frozen=True, slots=True)
class Anchor:
    """What one conversation's prompt holds fast; its next version replaces it."""

    plate: int
    character: Vector | None = None
    relational: Vector | None = None
    memories: tuple[Recalled, ...] = ()
    kept_from: int = 1
    """The first message that stands in the history in full; what is older is quoted."""
    reminder: bool = False
    at_seq: int = 0
    """The head of the conversation when the state was read."""
    version: int = 1

    def as_json(self) -> dict[str, object]:
        """What is shown, for the database."""
        return {
            "character": self.character and list(self.character.millionths),
            "relational": self.relational and list(self.relational.millionths),
            "memories": [[str(each.conversation), each.upto] for each in self.memories],
            "reminder": self.reminder,
        }


@dataclass(frozen=True, slots=True)
class Measured:
    """The state after a message."""

    seq: int
    character: Vector | None = None
    relational: Vector | None = None


def read(plate: int, kept_from: int, at_seq: int, version: int, shown: Mapping[str, object]) -> Anchor:
    """The opposite of `as_json`."""
    memories = shown["memories"]
    assert isinstance(memories, list)
    return Anchor(
        plate,
        _vector(shown["character"]),
        _vector(shown["relational"]),
        tuple(Recalled(ConversationId(UUID(conversation)), upto) for conversation, upto in memories),
        kept_from,
        bool(shown["reminder"]),
        at_seq,
        version,
    )


def _vector(stored: object) -> Vector | None:
    return Vector(tuple(stored)) if isinstance(stored, list) else None


def _distance(shown: Vector | None, now: Vector | None) -> int:
    """The largest difference of an axis; one that was not observed counts as neutral."""
    before, after = _scores(shown), _scores(now)
    return max((abs(a - b) for a, b in zip_longest(before, after, fillvalue=NEUTRAL)), default=0)


def _scores(vector: Vector | None) -> list[int]:
    return [] if vector is None else [NEUTRAL if m is None else m for m in vector.millionths]
