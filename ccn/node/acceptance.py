"""How a message is accepted: checked, made durable under the epoch of its host, and its host told.

    who answers, and may it be said ──> its host is here and idle: accepted and begun in one write
                                   └──> else: is there room in the queue? ──> accepted ──> its host is told

Separate from the other requests of doors, because this has several steps, and each try has all of them.
While hosts die and are replaced, a message is tried again. The database knows it by its key.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import structlog

from ccn import errors
from ccn.core import turn as states
from ccn.core.ids import ConversationId, TurnId, UserId
from ccn.node.instances.forwarding import Forwarding
from ccn.node.instances.hosting import Hosting, HostStore
from ccn.node.instances.placement import Placement
from ccn.node.turns.execution import SpeakingModel
from ccn.node.turns.prefetch import Prefetch
from ccn.node.turns.prompts import Prompts
from ccn.store.connection.pool import Pool
from ccn.store.conversations import turns
from ccn.store.conversations.instances import Instance, InstanceStatus
from ccn.store.conversations.turns import AcceptTurn, Turn
from ccn.store.writing.writer import Writer

log = structlog.get_logger(__name__)

_TOLD_S = 2.0


class Arrivals:
    """The messages that this node is accepting now."""

    def __init__(self) -> None:
        self._turns = defaultdict[ConversationId, set[TurnId]](set)

    @contextlib.contextmanager
    def announce(self, conversation: ConversationId, turn: TurnId) -> Iterator[frozenset[TurnId]]:
        """Record that this turn is being accepted, and yield the turns accepted concurrently before it.

        The queue in the database may not show them yet. Each turn counts those before it as waiting, so
        that no number of concurrent messages gets past the limit.
        """
        arriving = self._turns[conversation]
        before = frozenset(arriving)
        arriving.add(turn)
        try:
            yield before
        finally:
            arriving.remove(turn)
            if not arriving:
                del self._turns[conversation]

    def count(self, conversation: ConversationId) -> int:
        """Count the messages that arrive in a conversation."""
        return len(self._turns.get(conversation, ()))


@dataclass(frozen=True, slots=True, kw_only=True)
class AcceptanceParts:
    """What accepting any message needs; one for each node."""

    pool: Pool
    writer: Writer
    placement: Placement
    hosting: Hosting
    forwarding: Forwarding
    prompts: Prompts
    prefetch: Prefetch
    model: SpeakingModel
    store: HostStore
    queue_limit: int
    arrivals: Arrivals = field(default_factory=Arrivals)
    notices: set[asyncio.Task[None]] = field(default_factory=set)
    """Notices that are on their way to other hosts."""


@dataclass(frozen=True, slots=True)
class NewMessage:
    """A message as it came in: the same in every try."""

    turn: TurnId
    conversation: ConversationId
    content: str
    speaker: UserId
    key: str
    language: str | None = None
    refuse: bool = False
    """Whether it is refused instead of waiting for its turn."""


class Accepting:
    """Accepts one message."""

    def __init__(self, parts: AcceptanceParts, message: NewMessage, *, unused: bool) -> None:
        """Set up one message. Its key is `unused` if it was made for this message: none can know it."""
        self._parts = parts
        self._message = message
        self._unused = unused

    async def try_once(self) -> Turn:
        """Accept the message, or find that it was accepted before. Doing this twice accepts it once."""
        message, instance = self._message, await self._find_speaker()
        accept = AcceptTurn(
            message.turn,
            message.conversation,
            message.content,
            message.speaker,
            instance.epoch,
            message.language,
            message.key,
            unused=self._unused,
        )
        self._unused = False  # if nobody learns what becomes of this try, it may have been accepted
        with self._parts.arrivals.announce(message.conversation, message.turn) as before:
            accepted = None
            if self._is_idle(instance):
                accepted = await self._begin_at_once(instance, accept)
            if accepted is None:
                accepted = await self._enqueue(instance, accept, before)
        return accepted

    async def _find_speaker(self) -> Instance:
        """Step 1: who will answer; refused if nobody may now, or if no prompt has room for the message."""
        instance = await self._parts.placement.find_instance(self._message.conversation)
        if instance.status is InstanceStatus.QUARANTINED:
            raise errors.Quarantined("the instance is quarantined: an operator has to look at it first")
        self._parts.model.check_allowance(instance.owner)
        await self._parts.prompts.check_fits(instance, self._message.content)
        return instance

    def _is_idle(self, instance: Instance) -> bool:
        """Return whether the message can be answered here at once: nothing else waits or arrives."""
        hosting = self._parts.hosting
        hosted = hosting.find_hosted(instance.conversation)
        if hosted is None or hosting.leaving or self._parts.arrivals.count(instance.conversation) > 1:
            return False
        return hosted.idle and hosted.instance.epoch == instance.epoch

    async def _begin_at_once(self, instance: Instance, accept: AcceptTurn) -> Turn | None:
        """Step 2, at an idle host: accept and begin in one write, while the prompt is read.

        None if the turn of a previous host, which is not known here yet, has to end first.
        """
        parts, is_new = self._parts, False
        parts.prefetch.prepare_turn(instance, accept.id, accept.content)
        try:
            # Announced first: another look at the database may queue the turn before this write returns.
            with parts.hosting.announce_beginning(accept.id, instance.epoch):
                accepted = await parts.writer.submit(replace(accept, begun=True))
                is_new = accepted.id == accept.id
                self._notify_host(instance, accepted)
        except (errors.StaleHost, errors.SequenceConflict):
            raise
        except errors.Conflict:
            return None
        else:
            return accepted
        finally:
            if not is_new:
                parts.prefetch.discard_turn(accept.id)

    async def _enqueue(self, instance: Instance, accept: AcceptTurn, before: frozenset[TurnId]) -> Turn:
        """Step 3, at any other host: accept it to wait for its turn, if there is room in the queue."""
        await self._check_queue_limit(before)
        accepted = await self._parts.writer.submit(accept)
        self._notify_host(instance, accepted)
        return accepted

    async def _check_queue_limit(self, before: frozenset[TurnId]) -> None:
        """Refuse a message that may not wait, or if too many wait, unless it was accepted before."""
        parts, message = self._parts, self._message
        unfinished = await parts.store.list_unfinished(message.conversation)
        waiting = len(before.union(turn.id for turn in unfinished))
        if waiting <= (0 if message.refuse else parts.queue_limit):
            return
        if await turns.find_accepted(parts.pool, message.conversation, message.key) is not None:
            return
        if message.refuse:
            raise errors.TurnRunning("the conversation is busy with another message")
        raise errors.Overloaded(f"{waiting} messages of the conversation are waiting already")

    def _notify_host(self, instance: Instance, accepted: Turn) -> None:
        """Tell the host at once. If the notice is lost, the host finds the turn by itself."""
        hosting = self._parts.hosting
        hosted = hosting.find_hosted(accepted.conversation)
        if hosted is not None and hosted.instance.epoch == accepted.epoch:
            hosting.enqueue_turn(accepted)
        elif instance.host != hosting.node and not states.is_ended(accepted.status):
            notice = asyncio.ensure_future(_notify_remote_host(self._parts.forwarding, instance))
            self._parts.notices.add(notice)
            notice.add_done_callback(self._parts.notices.discard)


async def _notify_remote_host(forwarding: Forwarding, instance: Instance) -> None:
    body = {"conversation": str(instance.conversation)}
    try:
        await forwarding.ask_host(instance.host, instance.id, "look", body, _TOLD_S)
    except errors.CCNError as lost:
        log.info("the host was not told of a turn", host=instance.host, reason=str(lost))
