"""The instances that live on this node: their queues, their heartbeats, and how they are left to others.

    taken ──> idle <──> at work on its turns, one after the other ──> dropped: ended, or hosted elsewhere

An idle instance is a row in a table and nothing else: no task, no call, no token. Whether this node still
hosts what it believes to host only the database knows; it says so when a write is refused or a heartbeat
finds another epoch, and then the instance is dropped without a word to anybody.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import structlog

from ccn import errors, metrics
from ccn.core import turn as states
from ccn.core.bounded import Recent
from ccn.core.ids import ConversationId, InstanceId, NodeId, TurnId, UserId
from ccn.node.pacing import every
from ccn.node.turns.turn_stream import LiveStream
from ccn.store.connection.pool import Pool
from ccn.store.conversations import instances, turns
from ccn.store.conversations.instances import Instance
from ccn.store.conversations.turns import Turn

if TYPE_CHECKING:
    from ccn import settings

log = structlog.get_logger(__name__)

RunTurn = Callable[[Instance, Turn, LiveStream, asyncio.Event], Awaitable[None]]
"""Bring one turn to its end, or raise if this node may not any more."""

_REST_S = (1.0, 60.0)
"""How long an instance is left alone that met a defect, the first time and at most; doubled in between."""
_RESTING_LIMIT = 10_000
_SPARE_S = 1.0
"""Of the time to stop, what is kept for handing over."""


class HostStore(Protocol):
    """The database, as a host needs it."""

    async def keep_alive(self, node: NodeId, mine: Collection[InstanceId]) -> Mapping[InstanceId, int]:
        """Say that these are alive at the node; those that still are its own, with their epochs."""

    async def release_instances(self, node: NodeId, mine: Collection[InstanceId]) -> None:
        """Leave these to whichever node wants them."""

    async def list_unfinished(self, conversation: ConversationId) -> Sequence[Turn]:
        """List the turns that have no end yet, in the order of their messages."""


class DatabaseHostStore:
    """The database itself."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool

    async def keep_alive(self, node: NodeId, mine: Collection[InstanceId]) -> Mapping[InstanceId, int]:
        """Say that these are alive at the node; those that still are its own, with their epochs."""
        return await instances.keep_alive(self._pool, node, mine)

    async def release_instances(self, node: NodeId, mine: Collection[InstanceId]) -> None:
        """Leave these to whichever node wants them."""
        await instances.release_instances(self._pool, node, mine)

    async def list_unfinished(self, conversation: ConversationId) -> Sequence[Turn]:
        """List the turns that have no end yet, in the order of their messages."""
        return await turns.list_unfinished(self._pool, conversation)


@dataclass(slots=True, eq=False)
class QueuedTurn:
    """A turn that was accepted, and what readers get of it."""

    turn: Turn
    live: LiveStream
    cancelled: asyncio.Event = field(default_factory=asyncio.Event)
    begun: bool = False


@dataclass(slots=True, eq=False)
class HostedInstance:
    """An instance that lives here."""

    instance: Instance
    used_at: float
    queue: dict[TurnId, QueuedTurn] = field(default_factory=dict)
    work: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Return whether no turn waits or runs. A turn whose end was said to its readers is over."""
        return all(queued.live.ended for queued in self.queue.values())

    @property
    def at_rest(self) -> bool:
        """Return whether it could end unnoticed: it is well, and nothing is left to do."""
        return (
            self.instance.status is instances.InstanceStatus.RUNNING
            and not self.queue
            and self.work is None
        )

    def next_turn(self) -> QueuedTurn | None:
        """The next turn to run: first one that a previous host had started, then the oldest message.

        The previous host may have known a later message sooner, and only one turn of it runs at a time.
        """
        waiting = (queued for queued in self.queue.values() if not queued.begun)
        return min(
            waiting,
            key=lambda queued: (queued.turn.status is not states.TurnStatus.RUNNING, queued.turn.user_seq),
            default=None,
        )


class Hosting:
    """Which instances live here."""

    def __init__(
        self, node: NodeId, store: HostStore, chosen: settings.InstancesSettings, run_turn: RunTurn
    ) -> None:
        self.node = node
        self.leaving = False
        self._store = store
        self._chosen = chosen
        self._run_turn = run_turn
        self._hosted: dict[ConversationId, HostedInstance] = {}
        self._beating = asyncio.Lock()
        self._of_turn: dict[TurnId, HostedInstance] = {}
        self._coming: set[InstanceId] = set()
        self._beginning: dict[TurnId, int] = {}
        self._resting = Recent[InstanceId, tuple[float, float]](_RESTING_LIMIT)

    def find_hosted(self, conversation: ConversationId) -> HostedInstance | None:
        """Find the instance of a conversation, if this node hosts it."""
        return self._hosted.get(conversation)

    def find_live(self, turn: TurnId) -> LiveStream | None:
        """Find the live stream of a turn that has not ended."""
        hosted = self._of_turn.get(turn)
        return hosted.queue[turn].live if hosted is not None else None

    @property
    def hosted_ids(self) -> Collection[InstanceId]:
        """Return the ids of all instances that this node hosts or spawns."""
        return {*(each.instance.id for each in self._hosted.values()), *self._coming}

    @property
    def queued_turns(self) -> Collection[TurnId]:
        """List all turns that wait or run here."""
        return self._of_turn.keys()

    def __len__(self) -> int:
        return len(self._hosted)

    def __iter__(self) -> Iterator[HostedInstance]:
        return iter(self._hosted.values())

    def is_backing_off(self, instance: InstanceId) -> bool:
        """Return whether it met a defect here a moment ago, which it would meet again at once."""
        until, _ = self._resting.get(instance, (0.0, 0.0))
        return asyncio.get_running_loop().time() < until

    def host_instance(self, instance: Instance) -> None:
        """Host it from now on; a later epoch replaces an earlier one."""
        hosted = self._hosted.get(instance.conversation)
        if hosted is not None:
            if hosted.instance.epoch == instance.epoch:
                hosted.instance = instance
            if hosted.instance.epoch >= instance.epoch:
                return
            self.drop_instance(instance.conversation, hosted.instance.epoch)
        self._hosted[instance.conversation] = HostedInstance(instance, asyncio.get_running_loop().time())
        metrics.instances.set_instances(len(self._hosted))

    @contextlib.contextmanager
    def announce_spawn(self, instance: InstanceId) -> Iterator[None]:
        """Count it as hosted while it is spawned: this node itself would adopt what it does not know."""
        self._coming.add(instance)
        try:
            yield
        finally:
            self._coming.discard(instance)

    @contextlib.contextmanager
    def announce_beginning(self, turn: TurnId, epoch: int) -> Iterator[None]:
        """Record that a turn is begun here in the write that accepts it.

        A look at the database may find and queue it before that write returns; it is begun all the same.
        """
        self._beginning[turn] = epoch
        try:
            yield
        finally:
            del self._beginning[turn]

    def enqueue_turn(self, turn: Turn) -> None:
        """Queue an accepted turn of an instance that lives here, unless it is queued or has ended."""
        hosted = self._hosted.get(turn.conversation)
        if hosted is None or self.leaving or turn.id in hosted.queue or states.is_ended(turn.status):
            return
        epoch = hosted.instance.epoch
        begun = (
            turn.epoch == epoch == self._beginning.get(turn.id) and turn.status is states.TurnStatus.RUNNING
        )
        hosted.queue[turn.id] = QueuedTurn(turn, LiveStream(turn.id, epoch, turn.event_head, begun=begun))
        self._of_turn[turn.id] = hosted
        if hosted.work is None:
            hosted.work = asyncio.create_task(
                self._run_queue(hosted), name=f"turns of {hosted.instance.id}"
            )

    async def enqueue_unfinished(self, conversation: ConversationId) -> None:
        """Queue every turn that was accepted for it, by this node or by others."""
        for turn in await self._store.list_unfinished(conversation):
            self.enqueue_turn(turn)

    async def cancel_turn(self, turn: TurnId) -> None:
        """End a turn that waits or runs here, without a reply."""
        hosted = self._of_turn.get(turn)
        if hosted is None:
            return
        queued = hosted.queue[turn]
        queued.cancelled.set()
        if not queued.begun:
            queued.begun = True  # before anything is awaited: its queue must not begin it as well
            await self._run_queued(hosted, queued)

    async def end_instance(self, conversation: ConversationId) -> None:
        """Cancel everything that waits or runs for it, and host it no longer."""
        hosted = self._hosted.get(conversation)
        if hosted is None:
            return
        for turn in [*hosted.queue]:
            await self.cancel_turn(turn)
        if hosted.work is not None:
            await asyncio.wait({hosted.work}, timeout=self._chosen.adopt_after_s)
        self.drop_instance(conversation, hosted.instance.epoch)

    def drop_instance(self, conversation: ConversationId, epoch: int) -> None:
        """Host it no longer; its readers look elsewhere, its turns stay as they are."""
        hosted = self._hosted.get(conversation)
        if hosted is None or hosted.instance.epoch != epoch:
            return
        del self._hosted[conversation]
        metrics.instances.set_instances(len(self._hosted))
        for turn, queued in hosted.queue.items():
            queued.live.close()
            self._of_turn.pop(turn, None)
        hosted.queue.clear()
        if hosted.work is not None and hosted.work is not asyncio.current_task():
            hosted.work.cancel()

    def find_longest_at_rest(
        self, owner: UserId | None = None, but: Collection[ConversationId] = ()
    ) -> HostedInstance | None:
        """Find the instance that nobody has talked to for longest: of one user, or of all."""
        mine = (each for each in self if owner is None or each.instance.owner == owner)
        idle = (each for each in mine if each.at_rest and each.instance.conversation not in but)
        return min(idle, key=lambda each: each.used_at, default=None)

    async def run(self, stop: asyncio.Event, grace_s: float) -> None:
        """Say that all of them are alive, until told to stop; then leave them to the other nodes."""
        async for _ in every(self._chosen.heartbeat_s, stop):
            await self._send_heartbeat()
        await self._leave_instances(max(0.0, grace_s - _SPARE_S))

    async def hand_over_idle(self) -> None:
        """Give away the instances that do nothing now: this node is being drained."""
        # No heartbeat may be on its way: after the release it would claim them for this node again.
        async with self._beating:
            idle = [each.instance for each in self._hosted.values() if not each.queue]
            await self._release_instances([each.id for each in idle])
            for each in idle:
                self.drop_instance(each.conversation, each.epoch)

    async def _send_heartbeat(self) -> None:
        async with self._beating:
            # Noted before the database answers: an instance that comes meanwhile is not in its answer.
            believed = [each.instance for each in self._hosted.values()]
            try:
                epoch_of = (
                    await self._store.keep_alive(self.node, self.hosted_ids) if self.hosted_ids else {}
                )
            except errors.CCNError as failed:
                log.warning("no heartbeat", reason=str(failed))
                return
        for each in believed:
            if epoch_of.get(each.id) != each.epoch:
                log.info("another node hosts the instance", instance=str(each.id), epoch=each.epoch)
                self.drop_instance(each.conversation, each.epoch)

    async def _leave_instances(self, within_s: float) -> None:
        """Give all instances away: the idle ones at once, the others when their turns have ended."""
        self.leaving = True
        idle = [each.instance.id for each in self._hosted.values() if each.work is None]
        await self._release_instances(idle)
        late = await self._wait_for_turns(within_s)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
        await self._release_instances(self.hosted_ids)
        log.info("instances left to other nodes", instances=len(self._hosted), interrupted=len(late))
        for hosted in [*self._hosted.values()]:
            self.drop_instance(hosted.instance.conversation, hosted.instance.epoch)

    async def _wait_for_turns(self, within_s: float) -> Collection[asyncio.Task[None]]:
        """Keep instances alive while their turns end; returns the turns that did not in time."""
        clock = asyncio.get_running_loop().time
        until = clock() + within_s
        late = {each.work: each.instance.id for each in self._hosted.values() if each.work is not None}
        while late and (left_s := until - clock()) > 0:
            with contextlib.suppress(errors.CCNError, TimeoutError):  # then somebody adopts them
                async with asyncio.timeout(left_s):
                    await self._store.keep_alive(self.node, [*late.values()])
            pause_s = min(max(0.0, until - clock()), self._chosen.heartbeat_s)
            ended, _ = await asyncio.wait(late, timeout=pause_s)
            late = {work: instance for work, instance in late.items() if work not in ended}
        return late.keys()

    async def _release_instances(self, mine: Collection[InstanceId]) -> None:
        if mine:
            with contextlib.suppress(errors.CCNError):  # then they are found by their silence
                await self._store.release_instances(self.node, mine)

    async def _run_queue(self, hosted: HostedInstance) -> None:
        """Run the turns of one instance, one after the other: the root of their task."""
        try:
            while not self.leaving and (queued := hosted.next_turn()) is not None:
                queued.begun = True
                await self._run_queued(hosted, queued)
        finally:
            hosted.work = None
            hosted.used_at = asyncio.get_running_loop().time()

    def _back_off(self, instance: InstanceId) -> None:
        _, before_s = self._resting.get(instance, (0.0, 0.0))
        first_s, most_s = _REST_S
        rest_s = min(most_s, 2 * before_s) or first_s
        self._resting[instance] = (asyncio.get_running_loop().time() + rest_s, rest_s)

    async def _run_queued(self, hosted: HostedInstance, queued: QueuedTurn) -> None:
        turn, instance = queued.turn, hosted.instance
        try:
            await self._run_turn(instance, turn, queued.live, queued.cancelled)
            self._resting.pop(instance.id, None)
        except (errors.StaleHost, errors.ShuttingDown) as over:
            log.info("a turn is left to another host", turn=str(turn.id), reason=str(over))
            self.drop_instance(instance.conversation, instance.epoch)
        except Exception:  # the root of a turn: the instance is given up, and whoever adopts it begins anew
            log.exception("an instance is given up", instance=str(instance.id), turn=str(turn.id))
            self._back_off(instance.id)
            self.drop_instance(instance.conversation, instance.epoch)
        finally:
            queued.live.close()
            hosted.queue.pop(turn.id, None)
            self._of_turn.pop(turn.id, None)
