"""Decides what a caller may do with a conversation. Every door asks here before it touches one.

To a user, a conversation of another user looks as if it did not exist, so ids cannot be tried out. An admin
may end turns and conversations of others, and may read them for a reason. Both are written down, to be
sealed, before anything is shown. Only the owner of a conversation speaks in it.
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
    """Somebody at a door. `user` is None for a caller who has not signed in.

    `credential` is what let them in. `reason` is the reason that an admin gives for opening a conversation
    of somebody else.
    """

    tier: Tier
    user: UserId | None = None
    name: str = ""
    reason: str = ""
    credential: Credential | None = field(default=None, compare=False, repr=False)


ANYBODY = Caller(Tier.PUBLIC)
REASON_LIMIT = 500
"""The most characters that a reason may have."""
READ = "read"
"""The action of opening somebody else's conversation to read it. Other actions are named by the routes."""
_REMEMBERED = 50_000
_ACCESS_IDS = UUID("f0a6d9a4-3f0b-4c1c-8d61-0f4f8c9b1a57")
"""The name space for the ids of what admins do in conversations of others."""


def require_tier(caller: Caller, tier: Tier) -> Caller:
    """Return the caller if they have this tier, else raise."""
    if caller.tier.reaches(tier):
        return caller
    if caller.user is None:
        raise errors.Unauthenticated("this needs an access token or an API key")
    raise errors.Forbidden(f"this is for tier {tier}, and {caller.name} has tier {caller.tier}")


def clean_reason(text: str) -> str:
    """Strip the reason that came with a request, and refuse one that is too long or not printable."""
    reason = text.strip()
    if len(reason) > REASON_LIMIT or not reason.isprintable():
        raise errors.InputInvalid(f"a reason is one line of at most {REASON_LIMIT} characters")
    return reason


def require_user(caller: Caller) -> UserId:
    """Return the user that the caller speaks as, else raise."""
    require_tier(caller, Tier.USER)
    assert caller.user is not None, "a caller above PUBLIC has a user"
    return caller.user


async def open_to_speak(pool: Pool, caller: Caller, conversation: ConversationId) -> StoredConversation:
    """Open a conversation to speak in it: the caller has to own it."""
    stored = await _load_visible(pool, caller, conversation)
    require_owner(caller, stored.owner)
    return stored


async def open_to_read(pool: Pool, caller: Caller, conversation: ConversationId) -> StoredConversation:
    """Open a conversation to read it: the caller's own, or any for an admin who gives a reason."""
    stored = await _load_visible(pool, caller, conversation)
    await _check_reader(pool, caller, conversation, stored.owner)
    return stored


async def open_to_operate(
    pool: Pool, caller: Caller, conversation: ConversationId, action: str, reason: str = ""
) -> StoredConversation:
    """Open a conversation to end something in it: the caller's own, or any for an admin. That is sealed."""
    stored = await _load_visible(pool, caller, conversation)
    if not is_owner(caller, stored.owner):
        await _seal_access(pool, caller, conversation, stored.owner, action, reason or caller.reason)
    return stored


class Owners:
    """Remembers the owners of conversations, which never change by the schema. Drops the oldest first."""

    def __init__(self, limit: int = _REMEMBERED) -> None:
        self._known = Recent[ConversationId, UserId | None](limit)

    async def open_id_to_read(
        self, pool: Pool, caller: Caller, conversation: ConversationId
    ) -> ConversationId:
        """Check like `open_to_read` without loading the conversation, and return its id."""
        require_tier(caller, Tier.USER)
        if conversation not in self._known:
            # Refuses conversations of others first, so a user cannot fill this memory with them.
            stored = await _load_visible(pool, caller, conversation)
            self._known[conversation] = stored.owner
        owner = self._known[conversation]
        _check_visible(caller, owner)
        await _check_reader(pool, caller, conversation, owner)
        return conversation


def require_owner(caller: Caller, owner: UserId | None) -> None:
    """Refuse a caller who wants to speak in a conversation of somebody else."""
    if not is_owner(caller, owner):
        raise errors.NotYours(
            "this is somebody else's conversation: an admin may read it, and never speaks in it"
        )


def is_owner(caller: Caller, owner: UserId | None) -> bool:
    """Whether the conversation has an owner, and the caller is the owner."""
    return owner is not None and owner == caller.user


async def _load_visible(pool: Pool, caller: Caller, conversation: ConversationId) -> StoredConversation:
    require_tier(caller, Tier.USER)
    stored = await conversations.load_conversation(pool, conversation)
    _check_visible(caller, stored.owner)
    return stored


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
    pool: Pool, caller: Caller, conversation: ConversationId, owner: UserId | None, action: str, reason: str
) -> None:
    """Write down for the next round who does what in whose conversation: once an hour for one reason."""
    hour = f"{datetime.now(UTC):%Y-%m-%dT%H}"
    once = f"{caller.user}/{action}/{conversation}/{hour}/{reason}"
    body = {
        "action": action,
        "conversation": str(conversation),
        "owner": None if owner is None else str(owner),
        "reason": reason,
        "user": str(caller.user),
    }
    await requests.add_request(pool, uuid.uuid5(_ACCESS_IDS, once), requests.ACCESS, caller.name, body)


NO_SUCH = "there is no such conversation"  # word for word what the store says of an unknown id
