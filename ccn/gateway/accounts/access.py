"""Who asks, and what is theirs. Every door asks here before it touches a conversation.

A conversation of somebody else looks like none at all, so nobody learns which ids exist. An admin operates
all of them: ends what goes on in them, and reads them for a reason; both are written down, to be sealed,
before anything is shown. Nobody speaks in anybody's name: only its owner says something in a conversation.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, field
from datetime import UTC, datetime
from uuid import UUID

from ccn import errors
from ccn.core.bounded import Recent
from ccn.core.ids import ConversationId, UserId
from ccn.store.accounts.credential_checks import Credential
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations
from ccn.store.conversations.conversations import StoredConversation
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
    ground: Credential | None = field(default=None, compare=False, repr=False)


ANYBODY = Caller(Tier.PUBLIC)
REASON_LIMIT = 500
"""Characters of a reason."""
READ = "read"
"""To open somebody else's conversation; everything else that can be done there has its own word."""
_REMEMBERED = 50_000
_OPENINGS = UUID("f0a6d9a4-3f0b-4c1c-8d61-0f4f8c9b1a57")
"""The name space of what admins did in conversations of others."""


def require_tier(caller: Caller, tier: Tier) -> Caller:
    """The caller, if this tier is theirs."""
    if caller.tier.reaches(tier):
        return caller
    if caller.user is None:
        raise errors.Unauthenticated("this needs an access token or an API key")
    raise errors.Forbidden(f"this is for tier {tier}, and {caller.name} has tier {caller.tier}")


def clean_reason(said: str) -> str:
    """Why somebody opens what is not theirs, as it came with the request."""
    words = said.strip()
    if len(words) > REASON_LIMIT or not words.isprintable():
        raise errors.InputInvalid(f"a reason is one line of at most {REASON_LIMIT} characters")
    return words


def require_user(caller: Caller) -> UserId:
    """Who will have said what the caller says."""
    require_tier(caller, Tier.USER)
    assert caller.user is not None, "everybody above PUBLIC is somebody"
    return caller.user


async def open_to_speak(pool: Pool, caller: Caller, conversation: ConversationId) -> StoredConversation:
    """A conversation to speak in, if it is the caller's own."""
    found = await _load_visible(pool, caller, conversation)
    require_owner(caller, found.owner)
    return found


async def open_to_read(pool: Pool, caller: Caller, conversation: ConversationId) -> StoredConversation:
    """A conversation to read: the caller's own, or any for an admin who says why."""
    found = await _load_visible(pool, caller, conversation)
    await _check_reader(pool, caller, conversation, found.owner)
    return found


async def open_to_operate(
    pool: Pool, caller: Caller, conversation: ConversationId, deed: str, why: str = ""
) -> StoredConversation:
    """A conversation in which something is to be ended: the caller's own, or any for an admin, sealed."""
    found = await _load_visible(pool, caller, conversation)
    if not is_owner(caller, found.owner):
        await _seal_access(pool, caller, conversation, found.owner, deed, why or caller.reason)
    return found


class Owners:
    """Who owns which conversation, remembered: the schema lets no owner change. The oldest give way."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._known = Recent[ConversationId, UserId | None](limit)

    async def open_id_to_read(
        self, pool: Pool, caller: Caller, conversation: ConversationId
    ) -> ConversationId:
        """The same as `open_to_read` for who reads the conversation anyway: its id."""
        require_tier(caller, Tier.USER)
        if conversation not in self._known:
            found = await _load_visible(
                pool, caller, conversation
            )  # so nobody fills this with what is not theirs
            self._known[conversation] = found.owner
        owner = self._known[conversation]
        _check_visible(caller, owner)
        await _check_reader(pool, caller, conversation, owner)
        return conversation


def require_owner(caller: Caller, owner: UserId | None) -> None:
    """Refuse to let anybody speak where they own nothing."""
    if not is_owner(caller, owner):
        raise errors.NotYours(
            "this is somebody else's conversation: an admin may read it, and never speaks in it"
        )


def is_owner(caller: Caller, owner: UserId | None) -> bool:
    """Whether somebody owns it, and that is the caller."""
    return owner is not None and owner == caller.user


async def _load_visible(pool: Pool, caller: Caller, conversation: ConversationId) -> StoredConversation:
    require_tier(caller, Tier.USER)
    found = await conversations.load_conversation(pool, conversation)
    _check_visible(caller, found.owner)
    return found


def _check_visible(caller: Caller, owner: UserId | None) -> None:
    if caller.tier is not Tier.ADMIN and not is_owner(caller, owner):
        raise errors.NotFound(NO_SUCH)


async def _check_reader(
    pool: Pool, caller: Caller, conversation: ConversationId, owner: UserId | None
) -> None:
    if is_owner(caller, owner):
        return
    if not caller.reason:
        raise errors.ReasonRequired(
            "this is somebody else's conversation: say why you open it, in the header X-CCN-Reason or the"
            " gRPC metadata ccn-reason; it is sealed in the record"
        )
    await _seal_access(pool, caller, conversation, owner, READ, caller.reason)


async def _seal_access(  # noqa: PLR0917 - who did what to whose, and why
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
    await requests.add_request(pool, uuid.uuid5(_OPENINGS, once), requests.ACCESS, caller.name, body)


NO_SUCH = "there is no such conversation"  # word for word what the store says of an id nobody has
