"""What doors ask for that ends in the record, in the name of a caller.

Separate from who answers: a voter in its own house (`house`), or a voter that a gateway asks (`remote`).
Whoever answers checks nothing that the door has checked, but `answers` does so again for gateways.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from ccn.core import stream
from ccn.core.calls.call import Call, CallRetry, Piece
from ccn.core.ids import CharacterId, ConversationId, NodeId
from ccn.core.message import Message, Role
from ccn.core.stream import EventKind, StreamEvent, StreamPosition
from ccn.gateway.accounts.access import Caller, ConversationAccess, OpenedConversation
from ccn.gateway.accounts.accounts import AccountDesk
from ccn.node.conversations import StartedConversation
from ccn.node.views.cluster_status import ClusterStatus
from ccn.store.conversations.conversations import StoredConversation
from ccn.store.conversations.turns import Turn
from ccn.store.operators.requests import Body

NO_REASON = "asked for by a client"
"""Why an instance ended, when a client gave no reason."""
PATIENCE_S = 30.0
"""How long an operator's request is waited for."""


@dataclass(frozen=True, slots=True)
class BegunReply:
    """A message that was accepted, and what is said to it: whoever got this reads or closes `batches`."""

    turn: Turn
    batches: AsyncGenerator[Sequence[StreamEvent]]
    """Every piece of the reply to its end, those that are there at once together."""


class ConversationDeeds(Protocol):
    """What a caller does in conversations."""

    async def start(
        self, caller: Caller, character: CharacterId, title: str, key: str | None
    ) -> StartedConversation:
        """Begin a conversation, and spawn who speaks in it. The same key again: the same conversation."""

    async def begin_without_instance(
        self, caller: Caller, character: CharacterId, title: str, key: str | None
    ) -> StoredConversation:
        """Begin one in which nobody speaks yet."""

    async def say(
        self,
        caller: Caller,
        conversation: ConversationId,
        content: str,
        *,
        idempotency_key: str | None = None,
        refuse: bool = False,
        language: str | None = None,
        also: Collection[EventKind] = (),
    ) -> BegunReply:
        """Accept a message: when this returns it is durable. The same key again: the same turn.

        `also` are kinds of events that are kept nowhere, and sent only to who asks.
        """

    def follow_batches(
        self,
        caller: Caller,
        turn: Turn,
        after: StreamPosition = stream.START,
        *,
        also: Collection[EventKind] = (),
    ) -> AsyncGenerator[Sequence[StreamEvent]]:
        """Every piece of a turn after a place, to its end, whoever hosts it meanwhile."""

    async def cancel_turn(self, caller: Caller, turn: Turn) -> Turn:
        """End a turn without a reply; one that has ended stays as it is."""

    async def end(self, caller: Caller, conversation: ConversationId, reason: str) -> None:
        """Close a conversation."""

    async def terminate_instance(self, caller: Caller, conversation: ConversationId, reason: str) -> None:
        """End the instance of a conversation; whoever speaks there next speaks with a new one."""


class LoopDeeds(Protocol):
    """What a caller does whose loop runs elsewhere."""

    async def build_prompt(self, caller: Caller, conversation: ConversationId) -> Call:
        """Build what would be sent to the model now, and keep what it rests on."""

    async def record_message(
        self,
        caller: Caller,
        conversation: ConversationId,
        role: Role,
        content: str,
        *,
        idempotency_key: str | None = None,
        language: str | None = None,
    ) -> Message:
        """Add a message: when this returns it is durable."""


class RequestDeeds(Protocol):
    """What a caller asks of the cluster as an operator; the same request again asks nothing new."""

    async def ask_and_wait(
        self,
        caller: Caller,
        request: UUID,
        command: str,
        *,
        beside: str = "",
        body: Body | None = None,
        node: NodeId | None = None,
        patience_s: float = PATIENCE_S,
    ) -> Body:
        """Ask, and what came of it. `beside` names a person beside the account."""

    async def take_back(self, caller: Caller, request: UUID, beside: str, why: str) -> dict[str, Any]:
        """Take a request back that nobody has begun, and how it stands then."""

    async def seal_access(self, caller: Caller, opened: OpenedConversation) -> None:
        """Write down what an admin does in somebody else's conversation, before it is done."""


class ModelDeeds(Protocol):
    """What a caller asks of the model outside any conversation, on their own account."""

    @property
    def trouble(self) -> CallRetry | None:
        """The next try of a call that failed; None while no call waits for one."""

    def answer_call(
        self, caller: Caller, character: CharacterId, call: Call
    ) -> AsyncGenerator[Piece, None]:
        """Yield deltas, a restart whenever they begin again, and last the whole reply."""

    async def count_tokens(self, caller: Caller, call: Call) -> int:
        """Count the tokens of the prompt."""

    async def await_settlements(self) -> None:
        """Return when every call that has ended in this process is in the figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Deeds:
    """All that there is to ask for, as a node does it or as a gateway has it done."""

    accounts: AccountDesk
    access: ConversationAccess
    conversations: ConversationDeeds
    loop: LoopDeeds
    requests: RequestDeeds
    model: ModelDeeds
    load_status: Callable[[], Awaitable[ClusterStatus]] | None
    """How the cluster is; None where there is none."""


def name_asker(caller: Caller, beside: str) -> str:
    """Who asks, as the record keeps it."""
    return f"{caller.name} ({beside})" if beside else caller.name
