"""What was said: a message, its place in a conversation, and the limits it must keep."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NewType

from ccn import errors
from ccn.core.ids import ConversationId, InstanceId, TurnId, UserId

CONTENT_LIMIT = 1_000_000
"""Characters in one message: beyond any context window, far below what a row can hold."""


class Role(StrEnum):
    """Who speaks."""

    USER = "user"
    ASSISTANT = "assistant"


Speaker = NewType("Speaker", str)
"""Who said it, as the record names them: an account, or an instance that CCN asked for a reply.

What somebody's own loop records is said by the account that recorded it, in either role: so everybody sees
which words of the character no instance said.
"""


def account_speaker(user: UserId) -> Speaker:
    """Somebody at a door."""
    return Speaker(f"account:{user}")


def instance_speaker(speaking: InstanceId) -> Speaker:
    """The character, through an instance of it."""
    return Speaker(f"instance:{speaking}")


@dataclass(frozen=True, slots=True)
class Message:
    """One message as the record has it; `content` is None once it was redacted."""

    conversation: ConversationId
    seq: int
    role: Role
    content: str | None
    at: datetime
    turn: TurnId | None = None


def check_content(content: str) -> str:
    """Refuse what PostgreSQL, JSON or a model could not hold, before anything is written."""
    if not content or content.isspace():
        raise errors.InputInvalid("the message is empty")
    if len(content) > CONTENT_LIMIT:
        raise errors.InputInvalid(f"the message has {len(content)} characters of {CONTENT_LIMIT} allowed")
    if "\x00" in content:
        raise errors.InputInvalid("the message contains a NUL character")
    if not content.isascii():
        try:
            content.encode()
        except UnicodeEncodeError:
            raise errors.InputInvalid("the message contains half of a surrogate pair") from None
    return content
