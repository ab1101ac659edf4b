"""Making room for one more instance: within the quota of its owner, and on this node.

If an owner is at the limit, one of the owner's own instances is put to sleep, never one of another owner.
If the node is full, an instance that was idle for long is put to sleep. If no other node has room either,
an idle instance of the owner with most instances here is put to sleep.

Putting an instance to sleep ends it. Its conversation stays open, and the next message there gets a new
instance. An instance that is at work or out of character is never put to sleep: an operator must find the
latter as it is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from ccn import errors
from ccn.core.bounded import Recent
from ccn.core.ids import ConversationId, UserId
from ccn.node.instances.adoption import Adoption
from ccn.node.instances.forwarding import Body, Forwarding, Method
from ccn.node.instances.hosting import HostedInstance, Hosting
from ccn.store.connection.pool import Pool
from ccn.store.conversations import instances, turns
from ccn.store.conversations.instances import ChangeInstance, Instance, InstanceStatus
from ccn.store.writing import quotas
from ccn.store.writing.quotas import Quota
from ccn.store.writing.writer import Writer

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from ccn import settings

log = structlog.get_logger(__name__)

PATIENCE_S = 10.0
"""How long another node may take to put an instance to sleep."""
_CANDIDATES = 16
"""How many of the owner's instances are tried, beyond those needed, before the limit is reported. Some may
be put to sleep by others, or be spoken to, at the same time."""
_RECENT_S = 10.0
_REMEMBERED = 10_000
_OTHERS = (errors.Conflict, errors.NotFound, errors.Unavailable, errors.OutcomeUnknown, errors.PeerRefused)


class Room:
    """Makes room on one node."""

    def __init__(
        self,
        pool: Pool,
        writer: Writer,
        *,
        hosting: Hosting,
        adoption: Adoption,
        forwarding: Forwarding,
        chosen: settings.InstancesSettings,
        quota: Quota,
    ) -> None:
        self._pool = pool
        self._writer = writer
        self._hosting = hosting
        self._adoption = adoption
        self._forwarding = forwarding
        self._chosen = chosen
        self._quota = quota
        self._falling_asleep = set[ConversationId]()
        self._little = Recent[UserId, float](_REMEMBERED)
        self._made = 0

    @property
    def methods(self) -> Mapping[str, Method]:
        """Return the methods that other nodes may call."""
        return {"sleep": self._on_sleep}

    async def check_quota(self, owner: UserId | None) -> None:
        """Refuse one more conversation to an owner who has as many as the quota allows."""
        if owner is not None:
            self._check_conversations(await quotas.count_used(self._pool, owner))

    async def make_room_for_owner(
        self, owner: UserId | None, *, begins: bool = False, again: bool = False
    ) -> None:
        """Make room for one more instance of an owner, and if it `begins` one, for a conversation.

        An owner who had less than half of the quota a moment ago is not counted again, except `again` after
        a refusal.
        """
        if owner is None or (not again and self._had_little(owner)):
            return
        used = await quotas.count_used(self._pool, owner)
        self._remember_little(owner, used)
        if begins:
            self._check_conversations(used)
        wanted = used.instances + 1 - self._quota.instances
        if wanted <= 0:
            return
        for instance in await instances.list_at_rest(self._pool, owner, wanted + _CANDIDATES):
            try:
                await self._put_to_sleep_anywhere(instance)
            except _OTHERS as busy:
                log.info("an instance stays awake", instance=str(instance.id), reason=str(busy))
            else:
                wanted -= 1
                if not wanted:
                    return
        raise errors.TooManyInstances(
            f"all {used.instances} instances that you may have at once (CCN_LIMITS_INSTANCES) are at work: "
            "wait until one has answered, or end a conversation"
        )

    async def make_room_here(
        self, owner: UserId | None, coming: Collection[object], *, pressing: bool
    ) -> str:
        """Make room on this node, and return why it takes no new instance; empty if it takes one.

        It is `pressing` if no other node has room. If there is room, the caller must add the new instance
        to those that are `coming` before the next call.
        """
        if self.closed or len(self._hosting) + len(coming) + self._made < self._chosen.limit:
            return self.closed
        self._made += 1  # reserves the room that is made here
        try:
            while True:
                idle = self._find_idle_for_long() or (self._find_dispensable(owner) if pressing else None)
                if idle is None:
                    return f"this node hosts {self._chosen.limit} instances"
                try:
                    await self.put_to_sleep(
                        idle.instance.conversation, "asleep: idle, and others need the room"
                    )
                except errors.Conflict as busy:  # the next look does not find this one at rest
                    log.info("an instance stays awake", instance=str(idle.instance.id), reason=str(busy))
                else:
                    return self.closed
        finally:
            self._made -= 1

    @property
    def closed(self) -> str:
        """Return why this node takes no instance at all; empty if it takes some."""
        if self._hosting.leaving:
            return "this node is stopping"
        return "this node is being drained" if self._adoption.draining else ""

    async def put_to_sleep(self, conversation: ConversationId, reason: str) -> None:
        """End an instance that this node hosts, unless it is at work.

        A message that arrives meanwhile gets a new instance.
        """
        if conversation in self._falling_asleep:
            raise errors.Conflict("the instance is falling asleep already")
        self._falling_asleep.add(conversation)
        try:
            await self._end_at_rest(conversation, reason)
        finally:
            self._falling_asleep.discard(conversation)

    async def _end_at_rest(self, conversation: ConversationId, reason: str) -> None:
        await self._hosting.enqueue_unfinished(conversation)
        hosted = self._hosting.find_hosted(conversation)
        if hosted is None:
            raise errors.StaleHost("this node does not host the conversation")
        if not hosted.at_rest:
            raise errors.Conflict("the instance is at work")
        self._hosting.drop_instance(conversation, hosted.instance.epoch)
        await self._writer.submit(ChangeInstance(hosted.instance, InstanceStatus.TERMINATED, reason))
        if await turns.list_unfinished(self._pool, conversation):
            self._adoption.start_rescue(conversation)

    def _had_little(self, owner: UserId) -> bool:
        return asyncio.get_running_loop().time() < self._little.get(owner, 0.0)

    def _remember_little(self, owner: UserId, used: Quota) -> None:
        self._little.pop(owner, None)
        most = self._quota
        if 2 * used.conversations < most.conversations and 2 * used.instances < most.instances:
            self._little[owner] = asyncio.get_running_loop().time() + _RECENT_S

    def _check_conversations(self, used: Quota) -> None:
        if used.conversations >= self._quota.conversations:
            raise errors.TooManyConversations(
                f"you have {used.conversations} open conversations, which is all you may have "
                "(CCN_LIMITS_CONVERSATIONS): end one first"
            )

    async def _put_to_sleep_anywhere(self, instance: Instance) -> None:
        """Put an instance to sleep, whichever node hosts it."""
        reason = "asleep: its owner needs the room"
        if instance.host == self._hosting.node:
            await self.put_to_sleep(instance.conversation, reason)
            return
        body = {"conversation": str(instance.conversation), "reason": reason}
        await self._forwarding.ask_host(instance.host, instance.id, "sleep", body, PATIENCE_S)

    def _find_idle_for_long(self) -> HostedInstance | None:
        idle = self._find_longest_at_rest()
        if idle is None or asyncio.get_running_loop().time() - idle.used_at < self._chosen.idle_s:
            return None
        return idle

    def _find_dispensable(self, owner: UserId | None) -> HostedInstance | None:
        """Find an idle instance of the owner with most instances here.

        That owner must keep at least as many as `owner` will have. Otherwise find one of `owner`'s own.
        """
        counts = Counter(
            hosted.instance.owner for hosted in self._hosting if hosted.instance.owner is not None
        )
        own_count = counts[owner] if owner is not None else 0
        for other, count in counts.most_common():
            if count > own_count + 1 and (idle := self._find_longest_at_rest(other)) is not None:
                return idle
        return None if owner is None else self._find_longest_at_rest(owner)

    def _find_longest_at_rest(self, owner: UserId | None = None) -> HostedInstance | None:
        return self._hosting.find_longest_at_rest(owner, but=self._falling_asleep)

    async def _on_sleep(self, body: Body) -> AsyncGenerator[object]:
        await self.put_to_sleep(ConversationId(UUID(body["conversation"])), str(body["reason"]))
        yield True
