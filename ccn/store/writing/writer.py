"""The group commit: one writer for each node, which commits the waiting writes, one transaction at a time.

A caller submits a write and awaits its answer. The answer comes when the write is on disk. While one
transaction is under way, the next writes gather and are prepared on top of it. So many callers share few
flushes, and hashing here overlaps with inserting in PostgreSQL. Because there is only one writer, a node
can number its leaves without gaps.

    submit ──> waiting ──> prepare: answers, leaves, rows ──> one transaction ──> answers released

`durable_commit` sends a batch and finds out what became of it. `own_leaves` remembers what was sent.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from ccn import errors
from ccn.core.ids import NodeId
from ccn.core.rounds.signer import NumberedHash
from ccn.store.connection import failure
from ccn.store.connection.fence import Fence
from ccn.store.connection.pool import Connection
from ccn.store.writing.batch import Batch, Numbering, Write
from ccn.store.writing.durable_commit import DurableCommit
from ccn.store.writing.own_leaves import OwnLeaves
from ccn.store.writing.reconnection import ReconnectingConnection, attempts

if TYPE_CHECKING:
    from ccn import settings

Answer = TypeVar("Answer")

_WORTH_HALVING = 16
"""From this number of waiting writes on, half of them are sent while the other half is prepared."""


@dataclass(slots=True, eq=False)
class _WaitingWrite:
    write: Write[Any]
    answer: asyncio.Future[Any]


@dataclass(slots=True, eq=False)
class _PreparedBatch:
    """Writes that share a transaction, with the answer of each once the transaction is durable."""

    waiting: list[_WaitingWrite]
    batch: Batch
    answers: list[tuple[_WaitingWrite, Any]] = field(default_factory=list)
    flight: asyncio.Task[None] | None = None


class Writer:
    """Takes writes from anywhere in the node. `run` is the one task that commits them."""

    def __init__(
        self,
        database: settings.DatabaseSettings,
        node: NodeId,
        now: Callable[[], datetime],
        fence: Fence | None = None,
    ) -> None:
        self._database = database
        self.node = node
        self.fence = fence or Fence(node)
        """What the database must keep showing. The writer tells it of every leaf that is acknowledged."""
        self._now = now
        self._waiting: deque[_WaitingWrite] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._commits = DurableCommit(database, f"ccn/{node}/writer", self.fence)
        self._lookup_connection = ReconnectingConnection(
            database, f"ccn/{node}/writer-looks-up", self.fence
        )
        self._numbering: Numbering | None = None
        self._own_leaves = OwnLeaves()

    async def submit(self, write: Write[Answer]) -> Answer:
        """Commit a write and return its answer once it is durable.

        If this raises, the write did not happen. Only after OutcomeUnknown it may have happened.
        """
        self.fence.raise_if_lost()
        if self._stopping:
            raise errors.ShuttingDown("this node is stopping and takes no more writes")
        if len(self._waiting) >= self._database.write_queue_limit:
            raise errors.Overloaded(f"{len(self._waiting)} writes are waiting already")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_WaitingWrite(write, answer))
        self._wake.set()
        return await answer

    def vouches_for(self, number: int, leaf_hash: bytes) -> bool:
        """Return whether this node made a leaf that the database shows under its name, or cannot know."""
        return self._own_leaves.vouches_for(number, leaf_hash)

    def stop(self) -> None:
        """Take no more writes. `run` returns when those already taken have their answers."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Commit what is waiting, again and again, until stopped."""
        under_way: _PreparedBatch | None = None
        durable: _PreparedBatch | None = None
        taken: list[_WaitingWrite] = []
        try:
            await self._find_first_leaf()
            while under_way is not None or await self._wait_for_work():
                # Prepare first: numbering and hashing overlap with the flush that the server is busy with.
                taken = self._take_waiting(alone=under_way is None)
                following = await self._prepare_on_top(taken, under_way) if taken else None
                # Send nothing before the outcome is known: what was prepared has numbers that follow leaves
                # which never come to be, if the batch under way is refused.
                if under_way is not None:
                    durable = under_way if await self._await_commit(under_way) else None
                    if durable is None:
                        following = None  # it was prepared on top of a batch that was refused
                    under_way = None
                # Send before answering: callers that are answered run at once, and the statement would wait
                # for them. `durable` remembers whom to answer, so that a cancellation in between does not
                # tell them that the outcome is unknown.
                if following is not None:
                    under_way = following
                    await self._launch_commit(following)
                # Answering also advances the numbering, which the next batch is prepared on.
                if durable is not None:
                    self._release_answers(durable)
                    durable = None
                    if under_way is not None:
                        await asyncio.sleep(0)  # lets answered callers submit more, to prepare meanwhile
                # Only now is nothing under way: refused writes are found by halving, one commit at a time.
                if taken and following is None:
                    await self._commit_alone(taken, again=True)
        finally:
            self._stopping = True  # no task is left that could commit a write
            lost = errors.OutcomeUnknown("this node stopped in the middle of a commit")
            if durable is not None:
                self._release_answers(durable)
            if under_way is not None and under_way.flight is not None:
                under_way.flight.cancel()
                _refuse_all(under_way.waiting, lost)
            _refuse_all(taken, lost)
            _refuse_all(self._waiting, errors.ShuttingDown("this node stopped before the write was begun"))
            await self._commits.close()
            await self._lookup_connection.close()

    async def _find_first_leaf(self) -> None:
        """Read where this node's leaves end, to vouch for those that follow. If it fails, read it later."""
        try:
            self._numbering = await self._read_numbering(await self._lookup_connection.get())
        except (errors.Unavailable, *failure.FOREIGN):
            await self._lookup_connection.close()

    async def _wait_for_work(self) -> bool:
        while not self._waiting:
            if self._stopping:
                return False
            self._wake.clear()
            await self._wake.wait()
        return True

    def _take_waiting(self, *, alone: bool) -> list[_WaitingWrite]:
        count = len(self._waiting)
        if not count:
            return []
        if alone and count >= _WORTH_HALVING:
            count //= 2
        count = min(count, self._database.write_batch_limit)
        taken = [self._waiting.popleft() for _ in range(count)]
        return [entry for entry in taken if not entry.answer.done()]  # drops those whose caller gave up

    async def _prepare_on_top(
        self, taken: list[_WaitingWrite], under_way: _PreparedBatch | None
    ) -> _PreparedBatch | None:
        """Prepare a batch on top of the one under way, or return None if it must be committed alone."""
        try:
            return await self._prepare_batch(
                taken, self._deadline(), under_way.batch if under_way else None
            )
        except errors.CCNError:
            return None

    async def _launch_commit(self, following: _PreparedBatch) -> None:
        self._own_leaves.remember(following.batch.leaves)
        following.flight = asyncio.create_task(
            self._commits.make_durable(following.batch, self._deadline()), name="group commit"
        )
        await asyncio.sleep(0)  # lets the statement leave before callers are answered

    async def _await_commit(self, under_way: _PreparedBatch) -> bool:
        assert under_way.flight is not None
        try:
            await under_way.flight
        except errors.CCNError as refused:
            await self._recover_from(under_way.waiting, refused, again=True)
            return False
        return True

    async def _commit_alone(self, waiting: list[_WaitingWrite], *, again: bool) -> None:
        """Commit these writes while nothing else is under way."""
        waiting = [entry for entry in waiting if not entry.answer.done()]
        if not waiting:
            return
        deadline = self._deadline()
        try:
            ready = await self._prepare_batch(waiting, deadline, None)
            self._own_leaves.remember(ready.batch.leaves)
            await self._commits.make_durable(ready.batch, deadline)
        except errors.CCNError as refused:
            await self._recover_from(waiting, refused, again=again)
        else:
            self._release_answers(ready)

    async def _recover_from(
        self, waiting: list[_WaitingWrite], refused: errors.CCNError, *, again: bool
    ) -> None:
        """Read the database again after a refusal, and find the refused write by halving."""
        self._numbering = None
        if isinstance(refused, errors.Conflict) and again:
            await self._commit_alone(waiting, again=False)
        elif len(waiting) == 1 or _concerns_all(refused):
            _refuse_all(waiting, refused)
        else:
            middle = len(waiting) // 2
            await self._commit_alone(waiting[:middle], again=False)
            await self._commit_alone(waiting[middle:], again=False)

    async def _prepare_batch(
        self, waiting: list[_WaitingWrite], deadline: float, after: Batch | None
    ) -> _PreparedBatch:
        batch = await self._load_batch([entry.write for entry in waiting], deadline, after)
        ready = _PreparedBatch(waiting, batch)
        for entry in waiting:
            try:
                ready.answers.append((entry, entry.write.prepare(batch)))
            except errors.CCNError as refused:
                if isinstance(refused, errors.Conflict) and batch.remembered:
                    raise  # it was decided from memory: read the database before a write is refused
                ready.answers.append((entry, refused))
        batch.pack()  # packs while another batch is under way, so that the server need not wait for it
        return ready

    async def _load_batch(self, writes: list[Write[Any]], deadline: float, after: Batch | None) -> Batch:
        """Read what the writes need. Nothing was written yet, so try until the deadline."""
        async for _ in attempts(deadline):
            try:
                if self._numbering is None:
                    self._numbering = await self._read_numbering(await self._lookup_connection.get())
                batch = Batch(self._numbering, self._now(), after)
                batch.looked_up_at = self._commits.connections_made
                if not batch.recall_needed(writes):
                    await batch.look_up_missing(await self._lookup_connection.get())
            except failure.FOREIGN as foreign:
                await self._lookup_connection.drop_if_broken(foreign)
            else:
                return batch
        raise errors.DatabaseUnavailable("PostgreSQL did not answer in time; nothing was written")

    async def _read_numbering(self, connection: Connection) -> Numbering:
        # Believe a head only if every acknowledged leaf is below it, or a number would be given twice.
        await self.fence.check_database(connection)
        # Two statements, because one does not see a row that another process of this node has just made.
        await connection.execute(_ADD_SOURCE, self.node)
        head = await connection.fetchval(_LEAF_HEAD, self.node)
        self._own_leaves.begin_after(head)
        if in_doubt := self._own_leaves.in_doubt:
            for row in await connection.fetch(_LEAVES, self.node, in_doubt):
                self._own_leaves.settle(row["number"], row["hash"])
        return Numbering(self.node, head)

    def _release_answers(self, done: _PreparedBatch) -> None:
        leaves = done.batch.leaves
        self._own_leaves.settle_durable(leaves)
        if leaves:
            self.fence.acknowledge_leaf(NumberedHash(leaves[-1].number, leaves[-1].hash))
        if self._numbering is not None:
            self._numbering.advance_past(done.batch)
        for entry, answer in done.answers:
            if isinstance(answer, errors.CCNError):
                _refuse_all([entry], answer)
            elif not entry.answer.done():
                entry.answer.set_result(answer)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._database.statement_timeout_s


def _concerns_all(refused: errors.CCNError) -> bool:
    """Return whether an error is about the database, and not about one of the writes."""
    gone = isinstance(refused, (errors.Unavailable, errors.OutcomeUnknown))
    return gone and not isinstance(refused, errors.TooManyRequests)


def _refuse_all(waiting: Iterable[_WaitingWrite], refused: errors.CCNError) -> None:
    for entry in waiting:
        if not entry.answer.done():
            entry.answer.set_exception(refused)


_ADD_SOURCE = "INSERT INTO leaf_sources (node_id) VALUES ($1::text) ON CONFLICT DO NOTHING"
_LEAF_HEAD = "SELECT head FROM leaf_sources WHERE node_id = $1"
_LEAVES = "SELECT number, hash FROM leaves WHERE node_id = $1 AND number = ANY ($2::bigint[])"
