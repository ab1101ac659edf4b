"""Who asks, and what is theirs. Every door calls `owned` before it touches a conversation.

A conversation of somebody else looks like none at all, so nobody learns which ids exist.
"""

from __future__ import annotations

from dataclasses import dataclass

from ccn import errors
from ccn.core.ids import ConversationId, UserId
from ccn.store import conversations
from ccn.store.conversations import Conversation
from ccn.store.pool import Pool
from ccn.store.users import Tier


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody at a door; `user` is None for those who have not signed in."""

    tier: Tier
    user: UserId | None = None
    name: str = ""


ANYBODY = Caller(Tier.PUBLIC)


def require(caller: Caller, tier: Tier) -> Caller:
    """The caller, if this tier is theirs."""
    if caller.tier.reaches(tier):
        return caller
    if caller.user is None:
        raise errors.Unauthenticated("this needs an access token or an API key")
    raise errors.Forbidden(f"this is for tier {tier}, and {caller.name} has tier {caller.tier}")


async def owned(pool: Pool, caller: Caller, conversation: ConversationId) -> Conversation:
    """A conversation, if it is the caller's; an admin operates all of them."""
    require(caller, Tier.USER)
    found = await conversations.get(pool, conversation)
    if caller.tier is not Tier.ADMIN and (found.owner is None or found.owner != caller.user):
        raise errors.NotFound(NO_SUCH)
    return found


NO_SUCH = "there is no such conversation"  # word for word what the store says of an id nobody has
