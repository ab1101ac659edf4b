"""Who asks, and what is theirs. Every door asks here before it touches a conversation.

A conversation of somebody else looks like none at all, so nobody learns which ids exist. An admin operates
all of them: ends what goes on in them, and reads them for a reason; both are written down, to be sealed,
before anything is shown. Nobody speaks in anybody's name: only its owner says something in a conversation.
"""

from __future__ import annotations

import uuid
from collections import OrderedDict
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from ccn import errors
from ccn.core.ids import ConversationId, UserId
from ccn.store.accounts.credential_checks import Ground
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations
from ccn.store.conversations.conversations import Conversation
from ccn.store.operators import requests


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody at a door; `user` is None for those who have not signed in.

    `ground` is what they were let in on. `reason` is why an admin opens what is not theirs, as they say it
    themselves.
    """

    tier: Tier
    user: UserId | None = None
    name: str = ""
    reason: str = ""
    ground: Ground | None = field(default=None, compare=False, repr=False)


ANYBODY = Caller(Tier.PUBLIC)
REASON_LIMIT = 500
"""Characters of a reason."""
READ = "read"
"""To open somebody else's conversation; everything else that can be done there has its own word."""
_REMEMBERED = 50_000
_OPENINGS = UUID("f0a6d9a4-3f0b-4c1c-8d61-0f4f8c9b1a57")
"""The name space of what admins did in conversations of others."""


def require(caller: Caller, tier: Tier) -> Caller:
    """The caller, if this tier is theirs."""
    if caller.tier.reaches(tier):
        return caller
    if caller.user is None:
        raise errors.Unauthenticated("this needs an access token or an API key")
    raise errors.Forbidden(f"this is for tier {tier}, and {caller.name} has tier {caller.tier}")


def reason(said: str) -> str:
    """Why somebody opens what is not theirs, as it came with the request."""
    words = said.strip()
    if len(words) > REASON_LIMIT or not words.isprintable():
        raise errors.InputInvalid(f"a reason is one line of at most {REASON_LIMIT} characters")
    return words


def speaker(caller: Caller) -> UserId:
    """Who will have said what the caller says."""
    require(caller, Tier.USER)
    assert caller.user is not None, "everybody above PUBLIC is somebody"
    return caller.user


async def own(pool: Pool, caller: Caller, conversation: ConversationId) -> Conversation:
    """A conversation to speak in, if it is the caller's own."""
    found = await _found(pool, caller, conversation)
    require_own(caller, found.owner)
    return found


async def look_into(pool: Pool, caller: Caller, conversation: ConversationId) -> Conversation:
    """A conversation to read: the caller's own, or any for an admin who says why."""
    found = await _found(pool, caller, conversation)
    await _look(pool, caller, conversation, found.owner)
    return found


async def operate(
    pool: Pool, caller: Caller, conversation: ConversationId, deed: str, why: str = ""
) -> Conversation:
    """A conversation in which something is to be ended: the caller's own, or any for an admin, sealed."""
    found = await _found(pool, caller, conversation)
    if not is_own(caller, found.owner):
        await _seal(pool, caller, conversation, found.owner, deed, why or caller.reason)
    return found


class Owners:
    """Who owns which conversation, remembered: the schema lets no owner change. The oldest give way."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._limit = limit
        self._known: OrderedDict[ConversationId, UserId | None] = OrderedDict()

    async def named(self, pool: Pool, caller: Caller, conversation: ConversationId) -> ConversationId:
        """The same as `look_into` for who reads the conversation anyway: its id."""
        require(caller, Tier.USER)
        if conversation not in self._known:
            found = await _found(pool, caller, conversation)  # so nobody fills this with what is not theirs
            self._known[conversation] = found.owner
            if len(self._known) > self._limit:
                self._known.popitem(last=False)
        owner = self._known[conversation]
        _theirs(caller, owner)
        await _look(pool, caller, conversation, owner)
        return conversation


def require_own(caller: Caller, owner: UserId | None) -> None:
    """Refuse to let anybody speak where they own nothing."""
    if not is_own(caller, owner):
        raise errors.NotYours(
            "this is somebody else's conversation: an admin may read it, and never speaks in it"
        )


def is_own(caller: Caller, owner: UserId | None) -> bool:
    """Whether somebody owns it, and that is the caller."""
    return owner is not None and owner == caller.user


async def _found(pool: Pool, caller: Caller, conversation: ConversationId) -> Conversation:
    require(caller, Tier.USER)
    found = await conversations.get(pool, conversation)
    _theirs(caller, found.owner)
    return found


def _theirs(caller: Caller, owner: UserId | None) -> None:
    if caller.tier is not Tier.ADMIN and not is_own(caller, owner):
        raise errors.NotFound(NO_SUCH)


async def _look(pool: Pool, caller: Caller, conversation: ConversationId, owner: UserId | None) -> None:
    if is_own(caller, owner):
        return
    if not caller.reason:
        raise errors.ReasonRequired(
            "this is somebody else's conversation: say why you open it, in the header X-CCN-Reason or the"
            " gRPC metadata ccn-reason; it is sealed in the record"
        )
    await _seal(pool, caller, conversation, owner, READ, caller.reason)


async def _seal(  # noqa: PLR0917 - who did what to whose, and why
    pool: Pool, caller: Caller, conversation: ConversationId, owner: UserId | None, deed: str, why: str
) -> None:
    """Write down who does what in whose conversation, once in an hour for one reason; a node seals it."""
    hour = f"{datetime.now(UTC):%Y-%m-%dT%H}"
    once = f"{caller.user}/{deed}/{conversation}/{hour}/{why}"
    body = {
        "action": deed,
        "conversation": str(conversation),
        "owner": None if owner is None else str(owner),
        "reason": why,
        "user": str(caller.user),
    }
    await requests.ask(pool, uuid.uuid5(_OPENINGS, once), requests.ACCESS, caller.name, body)


NO_SUCH = "there is no such conversation"  # word for word what the store says of an id nobody has
