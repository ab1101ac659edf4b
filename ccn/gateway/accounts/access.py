"""Decides what a caller may do with a conversation. Every door asks here before it touches one.

To a user, a conversation of another user looks as if it did not exist, so ids cannot be tried out. An admin
may end turns and conversations of others, and may read them for a reason. Both are written down, to be
sealed, before anything is shown. Only the owner of a conversation speaks in it.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Protocol

from ccn import errors
from ccn.core.bounded import Recent
from ccn.core.ids import ConversationId, UserId
from ccn.store.accounts.credential_checks import Credential
from ccn.store.accounts.users import Tier
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations
from ccn.store.conversations.conversations import StoredConversation


@dataclass(frozen=True, slots=True)
class Caller:
    """Somebody at a door. `user` is None for a caller who has not signed in.

    `credential` is what let them in. `reason` is the reason that an admin gives for opening a conversation
    of somebody else. `shown` is the credential itself, which a caller has at a gateway only: it passes that
    on.
    """

    tier: Tier
    user: UserId | None = None
    name: str = ""
    reason: str = ""
    credential: Credential | None = field(default=None, compare=False, repr=False)
    shown: str = field(default="", compare=False, repr=False)


ANYBODY = Caller(Tier.PUBLIC)
REASON_LIMIT = 500
"""The most characters that a reason may have."""
READ = "read"
"""The action of opening somebody else's conversation to read it. Other actions are named by the routes."""
_REMEMBERED = 50_000


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


class AccessSealing(Protocol):
    """Has it sealed what an admin does in somebody else's conversation."""

    async def seal_access(self, caller: Caller, opened: OpenedConversation) -> None:
        """Return once it is written down: nothing is shown or done before."""


@dataclass(frozen=True, slots=True)
class OpenedConversation:
    """A conversation of somebody else, what an admin does in it, and why."""

    conversation: ConversationId
    owner: UserId | None
    action: str
    reason: str


class ConversationAccess:
    """Opens conversations to callers at the doors of one process.

    Remembers the owners of conversations, which never change by the schema. Drops the oldest first.
    """

    def __init__(self, pool: Pool, sealing: AccessSealing, limit: int = _REMEMBERED) -> None:
        self.pool = pool
        self._sealing = sealing
        self._owners = Recent[ConversationId, UserId | None](limit)

    async def open_to_speak(self, caller: Caller, conversation: ConversationId) -> StoredConversation:
        """Open a conversation to speak in it: the caller has to own it."""
        stored = await self._load_visible(caller, conversation)
        require_owner(caller, stored.owner)
        return stored

    async def open_to_read(self, caller: Caller, conversation: ConversationId) -> StoredConversation:
        """Open a conversation to read it: the caller's own, or any for an admin who gives a reason."""
        stored = await self._load_visible(caller, conversation)
        await self._check_reader(caller, conversation, stored.owner)
        return stored

    async def open_to_operate(
        self, caller: Caller, conversation: ConversationId, action: str, reason: str = ""
    ) -> StoredConversation:
        """Open a conversation to end something in it: the caller's own, or, sealed, any for an admin."""
        stored = await self._load_visible(caller, conversation)
        if not is_owner(caller, stored.owner):
            opened = OpenedConversation(conversation, stored.owner, action, reason or caller.reason)
            await self._sealing.seal_access(caller, opened)
        return stored

    async def open_id_to_read(self, caller: Caller, conversation: ConversationId) -> ConversationId:
        """Check like `open_to_read` without loading the conversation, and return its id."""
        owner = await self.load_owner(caller, conversation)
        await self._check_reader(caller, conversation, owner)
        return conversation

    async def open_id_to_speak(self, caller: Caller, conversation: ConversationId) -> ConversationId:
        """Check like `open_to_speak` without loading the conversation, and return its id."""
        require_owner(caller, await self.load_owner(caller, conversation))
        return conversation

    async def load_owner(self, caller: Caller, conversation: ConversationId) -> UserId | None:
        """Who owns a conversation that the caller may see."""
        require_tier(caller, Tier.USER)
        if conversation not in self._owners:
            # Refuses conversations of others first, so a user cannot fill this memory with them.
            self._owners[conversation] = (await self._load_visible(caller, conversation)).owner
        owner = self._owners[conversation]
        _check_visible(caller, owner)
        return owner

    async def _load_visible(self, caller: Caller, conversation: ConversationId) -> StoredConversation:
        require_tier(caller, Tier.USER)
        stored = await conversations.load_conversation(self.pool, conversation)
        _check_visible(caller, stored.owner)
        return stored

    async def _check_reader(
        self, caller: Caller, conversation: ConversationId, owner: UserId | None
    ) -> None:
        if is_owner(caller, owner):
            return
        if not caller.reason:
            raise errors.ReasonRequired(
                "this is somebody else's conversation: say why you open it, in the header X-CCN-Reason or"
                " the gRPC metadata ccn-reason; it is sealed in the record"
            )
        opened = OpenedConversation(conversation, owner, READ, caller.reason)
        await self._sealing.seal_access(caller, opened)


def require_owner(caller: Caller, owner: UserId | None) -> None:
    """Refuse a caller who wants to speak in a conversation of somebody else."""
    if not is_owner(caller, owner):
        raise errors.NotYours(
            "this is somebody else's conversation: an admin may read it, and never speaks in it"
        )


def is_owner(caller: Caller, owner: UserId | None) -> bool:
    """Whether the conversation has an owner, and the caller is the owner."""
    return owner is not None and owner == caller.user


def _check_visible(caller: Caller, owner: UserId | None) -> None:
    if caller.tier is not Tier.ADMIN and not is_owner(caller, owner):
        raise errors.NotFound(NO_SUCH)


NO_SUCH = "there is no such conversation"  # word for word what the store says of an unknown id
