"""Taking over the instances of a node that died, froze or left, and finishing what it had begun.

    abandoned ──> ranked: whose is it? ──> adopted, by compare-and-swap ──> its turns, in order
                                               └──> somebody else was first: nothing happens

Nodes do not talk about it: all of them rank each instance in the same order, and who comes later waits a
little longer. If two take it anyway the database lets one. Taking over is cheap: the instance was
interviewed when it was spawned, and is not asked again because its host died.

The same loop finds turns that were accepted by other nodes and of which no word came here, and turns whose
conversation has no instance any more.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection
from typing import TYPE_CHECKING
from uuid import UUID

import structlog

from ccn import errors
from ccn.core import rendezvous
from ccn.core.ids import ConversationId, InstanceId, NodeId
from ccn.node.instances.hosting import Hosting
from ccn.node.pacing import every
from ccn.store.connection.pool import Pool
from ccn.store.conversations import instances, turns
from ccn.store.conversations.instances import (
    AdoptInstance,
    ChangeInstance,
    HeartbeatPatience,
    Instance,
    InstanceStatus,
)
from ccn.store.operators import drains
from ccn.store.writing.writer import Writer

if TYPE_CHECKING:
    from ccn import settings

log = structlog.get_logger(__name__)

SeenNodes = Callable[[], Collection[NodeId] | None]
"""The nodes that are seen now; None if nobody can tell."""
Rescue = Callable[[ConversationId], Awaitable[None]]
"""Give an unfinished turn's conversation an instance again, or end its turns."""

_GONE = 1 / 3
"""The share of patience for a host that left etcd as well."""
_ORPHANED_S = 5.0
_AT_ONCE = 100


class Adoption:
    """What one node does for instances that nobody hosts."""

    def __init__(
        self,
        hosting: Hosting,
        pool: Pool,
        writer: Writer,
        chosen: settings.InstancesSettings,
        here: SeenNodes,
    ) -> None:
        self.rescue: Rescue | None = None  # set by the assembly: it is the placement's, which needs this
        self._hosting = hosting
        self._pool = pool
        self._writer = writer
        self._seen_nodes = here
        self._patience = HeartbeatPatience(chosen.adopt_after_s, chosen.adopt_after_s * _GONE)
        self._pause_s = min(0.5, chosen.heartbeat_s / 2)
        self._drained: Collection[NodeId] = ()
        self._noticed: dict[UUID, float] = {}
        self._adopting = set[InstanceId]()
        self._rescuing: dict[ConversationId, asyncio.Task[None]] = {}

    async def run(self, stop: asyncio.Event) -> None:
        """Look for abandoned instances again and again, until told to stop."""
        try:
            async for _ in every(self._pause_s, stop):
                try:
                    await self.adopt_abandoned()
                except errors.CCNError as failed:
                    log.warning("no look at abandoned instances", reason=str(failed))
        finally:
            for task in self._rescuing.values():
                task.cancel()
            await asyncio.gather(*self._rescuing.values(), return_exceptions=True)

    @property
    def draining(self) -> bool:
        """Return whether an operator drains this node."""
        return self._hosting.node in self._drained

    @property
    def other_nodes(self) -> list[NodeId]:
        """Return the nodes that are seen and may take an instance."""
        return [
            each for each in self._seen_nodes() or () if each not in {self._hosting.node, *self._drained}
        ]

    async def adopt_abandoned(self) -> None:
        """Adopt abandoned instances if this node comes first, and find turns that no word came of."""
        hosting, here = self._hosting, self._seen_nodes()
        self._drained = await drains.list_draining(self._pool)
        if hosting.leaving:
            return
        if self.draining:
            await hosting.hand_over_idle()
            return
        found = await instances.list_abandoned(
            self._pool, hosting.node, hosting.hosted_ids, here, self._patience
        )
        due = [each for each in found if self._is_due(each)]
        for some in range(0, len(due), _AT_ONCE):
            await asyncio.gather(*(self.adopt_instance(each) for each in due[some : some + _AT_ONCE]))
        for turn in await turns.list_overlooked(self._pool, hosting.node, hosting.queued_turns):
            hosting.enqueue_turn(turn)
        orphans = {each.conversation for each in await turns.list_orphaned(self._pool, _ORPHANED_S)}
        for conversation in orphans:
            if self._is_my_turn(conversation):
                self.start_rescue(conversation)
        self._forget_adopted({each.id for each in found} | orphans)

    async def adopt_instance(self, found: Instance) -> Instance | None:
        """Host it here from now on; None if another node was first, or it met a defect here just now."""
        if found.id in self._adopting or self._hosting.is_backing_off(found.id):
            return None
        self._adopting.add(found.id)
        try:
            return await self._take_over(found)
        except (errors.Conflict, errors.NotFound):
            return None
        finally:
            self._adopting.discard(found.id)

    def start_rescue(self, conversation: ConversationId) -> None:
        """Begin to rescue the unfinished turns of a conversation, unless that is under way."""
        if self.rescue is not None and conversation not in self._rescuing:
            task = asyncio.ensure_future(self.rescue(conversation))
            self._rescuing[conversation] = task
            task.add_done_callback(lambda done: self._end_rescue(conversation, done))

    async def _take_over(self, found: Instance) -> Instance | None:
        reason = "its node started again" if found.host == self._hosting.node else f"{found.host} is silent"
        adopted = await self._writer.submit(AdoptInstance(found, reason))
        if adopted.status is InstanceStatus.SPAWNING:
            ended = "its host ended before the interview did"
            await self._writer.submit(ChangeInstance(adopted, InstanceStatus.FAILED, ended))
            return None
        log.info("instance adopted", instance=str(found.id), epoch=adopted.epoch, reason=reason)
        self._hosting.host_instance(adopted)
        await self._hosting.enqueue_unfinished(adopted.conversation)
        return adopted

    def _is_due(self, found: Instance) -> bool:
        """Return whether to adopt it now. This node may have taken it over while the query ran."""
        if found.host == self._hosting.node:
            return found.id not in self._hosting.hosted_ids
        return self._is_my_turn(found.id)

    def _is_my_turn(self, thing: UUID) -> bool:
        """Return whether this node comes first, or has waited long enough for those before it."""
        now = asyncio.get_running_loop().time()
        noticed = self._noticed.setdefault(thing, now)
        before = rendezvous.rank_of(thing, self._hosting.node, self.other_nodes)
        return now - noticed >= 2 * before * self._pause_s

    def _forget_adopted(self, abandoned: Collection[UUID]) -> None:
        for thing in self._noticed.keys() - set(abandoned):
            del self._noticed[thing]

    def _end_rescue(self, conversation: ConversationId, done: asyncio.Task[None]) -> None:
        del self._rescuing[conversation]
        if not done.cancelled() and (failed := done.exception()) is not None:
            log.warning(
                "no rescue", conversation=str(conversation), reason=f"{type(failed).__name__}: {failed}"
            )
