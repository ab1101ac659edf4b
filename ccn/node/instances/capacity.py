"""Making room for one more instance: among what its owner may have, and on this node.

Whoever is at a limit of their own makes room among their own, never among a stranger's. On a full node goes
who was idle for long; and if no other node has room, an idle one of whoever has most of them here.

An instance that goes is asleep: its conversation stays open, and gets another when somebody speaks there.
Nobody is put to sleep who is at work, or out of character: an operator is to find those as they are.
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
"""How long another node may take to put one to sleep."""
_CANDIDATES = 16
"""Of one's own, how many are tried before the limit is told: others may take them, or speak there."""
_RECENT_S = 10.0
_REMEMBERED = 10_000
_OTHERS = (errors.Conflict, errors.NotFound, errors.Unavailable, errors.OutcomeUnknown, errors.PeerRefused)


class Room:
    """What one node does about room."""

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
        """What other nodes may ask of this one."""
        return {"sleep": self._on_sleep}

    async def check_quota(self, owner: UserId | None) -> None:
        """Refuse one more conversation to who has as many as they may."""
        if owner is not None:
            self._check_conversations(await quotas.count_used(self._pool, owner))

    async def make_room_for_owner(
        self, owner: UserId | None, *, begins: bool = False, again: bool = False
    ) -> None:
        """Have room for one more instance of a user, and where that `begins` it, for its conversation.

        Who had less than half of everything a moment ago is not counted again, unless they were refused.
        """
        if owner is None or (not again and self._had_little(owner)):
            return
        has = await quotas.count_used(self._pool, owner)
        self._remember_little(owner, has)
        if begins:
            self._check_conversations(has)
        wanted = has.instances + 1 - self._quota.instances
        if wanted <= 0:
            return
        for each in await instances.list_at_rest(self._pool, owner, wanted + _CANDIDATES):
            try:
                await self._put_to_sleep_anywhere(each)
            except _OTHERS as busy:
                log.info("an instance stays awake", instance=str(each.id), reason=str(busy))
            else:
                wanted -= 1
                if not wanted:
                    return
        raise errors.TooManyInstances(
            f"all {has.instances} instances that you may have at once (CCN_LIMITS_INSTANCES) are at work: "
            "wait until one has answered, or end a conversation"
        )

    async def make_room_here(
        self, owner: UserId | None, coming: Collection[object], *, pressing: bool
    ) -> str:
        """Why this node takes no new instance; empty if it does, perhaps because one was put to sleep.

        If it is `pressing`, no other node has room. Who is told that there is room has to be among those
        that are `coming` before anybody else asks.
        """
        if self.closed or len(self._hosting) + len(coming) + self._made < self._chosen.limit:
            return self.closed
        self._made += 1  # what is made here is nobody else's in the meantime
        try:
            while True:
                idle = self._find_idle_for_long() or (self._find_dispensable(owner) if pressing else None)
                if idle is None:
                    return f"this node hosts {self._chosen.limit} instances"
                try:
                    await self.put_to_sleep(
                        idle.instance.conversation, "asleep: idle, and others need the room"
                    )
                except errors.Conflict as busy:  # so it is not found at rest any more
                    log.info("an instance stays awake", instance=str(idle.instance.id), reason=str(busy))
                else:
                    return self.closed
        finally:
            self._made -= 1

    @property
    def closed(self) -> str:
        """Why this node takes nothing; empty if it does."""
        if self._hosting.leaving:
            return "this node is stopping"
        return "this node is being drained" if self._adoption.draining else ""

    async def put_to_sleep(self, conversation: ConversationId, reason: str) -> None:
        """End an instance that lives here, if nobody waits for it. What is said meanwhile wakes another."""
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

    def _remember_little(self, owner: UserId, has: Quota) -> None:
        self._little.pop(owner, None)
        most = self._quota
        if 2 * has.conversations < most.conversations and 2 * has.instances < most.instances:
            self._little[owner] = asyncio.get_running_loop().time() + _RECENT_S

    def _check_conversations(self, has: Quota) -> None:
        if has.conversations >= self._quota.conversations:
            raise errors.TooManyConversations(
                f"you have {has.conversations} open conversations, which is all you may have "
                "(CCN_LIMITS_CONVERSATIONS): end one first"
            )

    async def _put_to_sleep_anywhere(self, found: Instance) -> None:
        """Wherever it lives."""
        reason = "asleep: its owner needs the room"
        if found.host == self._hosting.node:
            await self.put_to_sleep(found.conversation, reason)
            return
        body = {"conversation": str(found.conversation), "reason": reason}
        await self._forwarding.ask_host(found.host, found.id, "sleep", body, PATIENCE_S)

    def _find_idle_for_long(self) -> HostedInstance | None:
        idle = self._find_longest_at_rest()
        if idle is None or asyncio.get_running_loop().time() - idle.used_at < self._chosen.idle_s:
            return None
        return idle

    def _find_dispensable(self, owner: UserId | None) -> HostedInstance | None:
        """One of whoever has most here, and keeps no fewer than the owner will have; else one's own."""
        counted = Counter(each.instance.owner for each in self._hosting if each.instance.owner is not None)
        mine = counted[owner] if owner is not None else 0
        for rival, count in counted.most_common():
            if count > mine + 1 and (idle := self._find_longest_at_rest(rival)) is not None:
                return idle
        return None if owner is None else self._find_longest_at_rest(owner)

    def _find_longest_at_rest(self, owner: UserId | None = None) -> HostedInstance | None:
        return self._hosting.find_longest_at_rest(owner, but=self._falling_asleep)

    async def _on_sleep(self, body: Body) -> AsyncGenerator[object]:
        await self.put_to_sleep(ConversationId(UUID(body["conversation"])), str(body["reason"]))
        yield True
