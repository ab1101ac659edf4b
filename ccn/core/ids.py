"""The names of things: one type each, so that a turn is never passed where a conversation belongs."""

from __future__ import annotations

import re
from typing import NewType
from uuid import UUID

from ccn import errors

ConversationId = NewType("ConversationId", UUID)
TurnId = NewType("TurnId", UUID)
InstanceId = NewType("InstanceId", UUID)
SnapshotId = NewType("SnapshotId", UUID)
UserId = NewType("UserId", UUID)
CharacterId = NewType("CharacterId", str)
NodeId = NewType("NodeId", str)

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")


def make_uuid7(at_ms: int, randomness: bytes) -> UUID:
    """A time-ordered id (RFC 9562, version 7) from a clock reading and ten random bytes.

    Ordered ids keep the newest rows of an index side by side, which is what most reads ask for.
    """
    if not 0 <= at_ms < 1 << 48 or len(randomness) != 10:
        raise errors.InputInvalid("an id needs milliseconds below 2**48 and ten random bytes")
    version, variant = 7 << 76, 2 << 62
    number = (
        at_ms << 80
        | version
        | _lowest_bits(randomness[:2], 12) << 64
        | variant
        | _lowest_bits(randomness[2:], 62)
    )
    return UUID(int=number)


def _lowest_bits(data: bytes, count: int) -> int:
    return int.from_bytes(data, "big") & ((1 << count) - 1)


def check_name(text: str, what: str) -> str:
    """Names of nodes and characters are labels: they stand in paths, metrics and logs unescaped."""
    if not _NAME.fullmatch(text):
        raise errors.InputInvalid(f"{what} {text!r} must be 1 to 63 of a-z, 0-9 and '-', not at either end")
    return text
