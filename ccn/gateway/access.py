"""Who asks, and what is theirs. Every door asks `owned` or `Owners` before it touches a conversation.

A conversation of somebody else looks like none at all, so nobody learns which ids exist.
"""

from __future__ import annotations

from collections import OrderedDict
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
_REMEMBERED = 50_000


def require(caller: Caller, tier: Tier) -> Caller:
    """The caller, if this tier is theirs."""
    if caller.tier.reaches(tier):
        return caller
    if caller.user is None:
        raise errors.Unauthenticated("this needs an access token or an API key")
    raise errors.Forbidden(f"this is for tier {tier}, and {caller.name} has tier {caller.tier}")


def speaker(caller: Caller) -> UserId:
    """Who will have said what the caller says."""
    if caller.user is None:
        raise errors.Unauthenticated("this needs an access token or an API key")
    return caller.user


async def owned(pool: Pool, caller: Caller, conversation: ConversationId) -> Conversation:
    """A conversation, if it is the caller's; an admin operates all of them."""
    require(caller, Tier.USER)
    found = await conversations.get(pool, conversation)
    _theirs(caller, found.owner)
    return found


class Owners:
    """Who owns which conversation, remembered: the schema lets no owner change. The oldest give way."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._known: OrderedDict[ConversationId, UserId | None] = OrderedDict()

    async def named(self, pool: Pool, caller: Caller, conversation: ConversationId) -> ConversationId:
        """The same as `owned` for who reads the conversation anyway: its id, if it is the caller's."""
        require(caller, Tier.USER)
        if conversation not in self._known:
            found = await owned(pool, caller, conversation)  # so nobody fills this with what is not theirs
            self._known[conversation] = found.owner
            if len(self._known) > self._limit:
                self._known.popitem(last=False)
        _theirs(caller, self._known[conversation])
        return conversation


def _theirs(caller: Caller, owner: UserId | None) -> None:
    if caller.tier is not Tier.ADMIN and (owner is None or owner != caller.user):
        raise errors.NotFound(NO_SUCH)


NO_SUCH = "there is no such conversation"  # word for word what the store says of an id nobody has
