"""The group commit: one writer a node, which makes what is waiting durable in one transaction at a time.

A caller hands in a write and awaits its answer; the answer comes when the write is on disk. While one
transaction is under way the next writes gather and are prepared on top of it, so sixty-four callers share
few flushes, and hashing here overlaps with inserting there. One writer is also what lets a node number its
leaves without gaps.

    submit ──> waiting ──> prepare: answers, leaves, rows ──> one transaction ──> answers released

When the connection breaks in the middle the outcome is not guessed: the batch's last leaf either is in the
ledger or is not, and a second try under the same leaf numbers cannot land beside the first. What is found
there, or came back with a warning, is acknowledged once the standbys have it too (see `standbys`).
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from ccn import errors
from ccn.core.ids import NodeId
from ccn.core.ledger.commitment import Leaf
from ccn.core.rounds.signer import NumberedHash
from ccn.store.connection import failure, standbys
from ccn.store.connection.fence import Fence
from ccn.store.connection.pool import Connection
from ccn.store.connection.reconnection import ReconnectingConnection, attempts
from ccn.store.writing.batch import Batch, Numbering, Write

if TYPE_CHECKING:
    from ccn import settings

Answer = TypeVar("Answer")

REMEMBERED = 40_000
"""Leaves of its own that a writer can vouch for: four times what one block seals."""
_WORTH_HALVING = 16
"""From so many waiting writes on, half of them travel while the other half is prepared."""


@dataclass(slots=True, eq=False)
class _WaitingWrite:
    write: Write[Any]
    answer: asyncio.Future[Any]


@dataclass(slots=True, eq=False)
class _PreparedBatch:
    """Writes that share a transaction, with what each of them will be told once it is durable."""

    waiting: list[_WaitingWrite]
    batch: Batch
    answers: list[tuple[_WaitingWrite, Any]] = field(default_factory=list)
    flight: asyncio.Task[None] | None = None


class Writer:
    """Submit writes from anywhere in the node; `run` is the one task that commits them."""

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
        """What the database must go on to show; it learns here of every leaf that is acknowledged."""
        self._now = now
        self._waiting: deque[_WaitingWrite] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._write_connection = ReconnectingConnection(database, f"ccn/{node}/writer", self.fence)
        self._lookup_connection = ReconnectingConnection(
            database, f"ccn/{node}/writer-looks-up", self.fence
        )
        self._numbering: Numbering | None = None
        self._first: int | None = None
        self._made: dict[int, tuple[bytes, ...]] = {}
        self._made_in_order: deque[int] = deque()
        self._twice: set[int] = set()
        """Numbers that were sent with two leaves: which of them the ledger has is not known yet."""

    async def submit(self, write: Write[Answer]) -> Answer:
        """Commit a write and return its answer once it is durable.

        If this raises, the write did not happen, except with OutcomeUnknown, which leaves that open.
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
        """Whether a leaf that the database shows under this node's name is one this node made.

        What was there when this process began, or was made too long ago to be remembered, is believed. Of
        two leaves that were sent under one number, as the first failed, one counts once that is settled.
        """
        if self._first is None or number < self._first:
            return True
        return leaf_hash in self._made.get(number, ())

    def stop(self) -> None:
        """Take no more writes. `run` returns when those already taken are settled."""
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
                        following = None  # it was prepared on top of something that did not happen
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
                        await asyncio.sleep(0)  # whoever was answered may have more, to prepare meanwhile
                # Only now is nothing under way: refused writes are found by halving, one commit at a time.
                if taken and following is None:
                    await self._commit_alone(taken, again=True)
        finally:
            self._stopping = True  # whatever ended this, nobody is left to answer
            lost = errors.OutcomeUnknown("this node stopped in the middle of a commit")
            if durable is not None:
                self._release_answers(durable)
            if under_way is not None and under_way.flight is not None:
                under_way.flight.cancel()
                _refuse_all(under_way.waiting, lost)
            _refuse_all(taken, lost)
            _refuse_all(self._waiting, errors.ShuttingDown("this node stopped before the write was begun"))
            await self._write_connection.close()
            await self._lookup_connection.close()

    async def _find_first_leaf(self) -> None:
        """See at once where this node's leaves end, so as to vouch for all that follow; or else later."""
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
        return [each for each in taken if not each.answer.done()]  # whoever gave up meanwhile gets no write

    async def _prepare_on_top(
        self, taken: list[_WaitingWrite], under_way: _PreparedBatch | None
    ) -> _PreparedBatch | None:
        """Prepare a batch on top of the one under way; None if these writes have to be committed alone."""
        try:
            return await self._prepare_batch(
                taken, self._deadline(), under_way.batch if under_way else None
            )
        except errors.CCNError:
            return None

    async def _launch_commit(self, following: _PreparedBatch) -> None:
        following.flight = asyncio.create_task(
            self._make_durable(following.batch, self._deadline()), name="group commit"
        )
        await asyncio.sleep(0)  # lets the statement leave before anybody is answered or anything prepared

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
        waiting = [each for each in waiting if not each.answer.done()]
        if not waiting:
            return
        deadline = self._deadline()
        try:
            ready = await self._prepare_batch(waiting, deadline, None)
            await self._make_durable(ready.batch, deadline)
        except errors.CCNError as refused:
            await self._recover_from(waiting, refused, again=again)
        else:
            self._release_answers(ready)

    async def _recover_from(
        self, waiting: list[_WaitingWrite], refused: errors.CCNError, *, again: bool
    ) -> None:
        """After a refusal, read again what is there, and find the refused write by halving."""
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
        batch = await self._load_batch([each.write for each in waiting], deadline, after)
        ready = _PreparedBatch(waiting, batch)
        for each in waiting:
            try:
                ready.answers.append((each, each.write.prepare(batch)))
            except errors.CCNError as refused:
                if isinstance(refused, errors.Conflict) and batch.remembered:
                    raise  # decided on what was remembered; read it again before refusing anybody
                ready.answers.append((each, refused))
        batch.pack()  # now, while another is under way, and not when the server waits for it
        return ready

    async def _load_batch(self, writes: list[Write[Any]], deadline: float, after: Batch | None) -> Batch:
        """Read what the writes need, again and again until the deadline: nothing was written yet."""
        async for _ in attempts(deadline):
            try:
                if self._numbering is None:
                    self._numbering = await self._read_numbering(await self._lookup_connection.get())
                batch = Batch(self._numbering, self._now(), after)
                batch.looked_up_at = self._write_connection.connections_made
                if not batch.recall_needed(writes):
                    await batch.look_up_missing(await self._lookup_connection.get())
            except failure.FOREIGN as foreign:
                await self._lookup_connection.drop_if_broken(foreign)
            else:
                return batch
        raise errors.DatabaseUnavailable("PostgreSQL did not answer in time; nothing was written")

    async def _read_numbering(self, connection: Connection) -> Numbering:
        # A head is believed if what was acknowledged lies below it: else a number would be given twice.
        await self.fence.check_database(connection)
        # Two statements: one alone does not see the row that another process of this node has just born.
        await connection.execute(_BORN, self.node)
        head = await connection.fetchval(_LEAF_HEAD, self.node)
        if self._first is None:
            self._first = head + 1
        if self._twice:
            for row in await connection.fetch(_LEAVES, self.node, list(self._twice)):
                self._settle_leaf(row["number"], row["hash"])
        return Numbering(self.node, head)

    async def _make_durable(self, batch: Batch, deadline: float) -> None:
        """Commit one transaction. If its end is not seen, find out what became of it, or try again."""
        if batch.empty and not batch.answers_repeats:
            return
        self._remember_leaves(batch)
        sent, committed = (
            False,
            batch.empty,
        )  # `committed`: on this server, and perhaps on none of its standbys
        async for _ in attempts(deadline):
            try:
                connection = await self._connect_for(batch, sent=sent)
                if not committed:
                    again, sent = sent, True
                    committed = again and await batch.has_landed(connection)
                if not committed:
                    ran = await _run_or_find(batch, connection, again=again)
                    committed = True
                    if ran and not self._write_connection.warnings.take_warning(connection):
                        return
                await standbys.commit_marker(connection)
                if not self._write_connection.warnings.take_warning(connection):
                    return
            except failure.FOREIGN as foreign:
                await self._write_connection.drop_if_broken(foreign)
                if sent and (batch.answers_repeats or not batch.leaves):
                    break
                committed = batch.empty  # the next connection may lead to a server that never had it
            except errors.RecordLost as lost:
                if not sent:
                    raise
                raise errors.OutcomeUnknown(str(lost)) from lost  # on another database, perhaps
        if committed:
            raise errors.OutcomeUnknown("PostgreSQL's standbys did not say in time that they have it too")
        if sent:
            raise errors.OutcomeUnknown("PostgreSQL did not say whether a commit is durable")
        raise errors.DatabaseUnavailable("PostgreSQL did not answer in time; nothing was written")

    async def _connect_for(self, batch: Batch, *, sent: bool) -> Connection:
        """The line to write on, unless what was looked up may be on another server by now."""
        self.fence.raise_if_lost()
        connection = await self._write_connection.get()
        if (
            batch.answers_repeats
            and not sent
            and self._write_connection.connections_made != batch.looked_up_at
        ):
            raise errors.Conflict("what was looked up was on a connection that is gone")
        return connection

    def _remember_leaves(self, batch: Batch) -> None:
        """Remember what is about to be sent. A number that was sent again, as a try failed, has two leaves.

        A round reads a leaf as soon as it is committed, which may be before this node hears of the commit.
        Were it remembered only then, this node would take its own leaf for a forged one.
        """
        for leaf in batch.leaves:
            earlier = self._made.get(leaf.number)
            if earlier is None:
                self._made[leaf.number] = (leaf.hash,)
                self._made_in_order.append(leaf.number)
            elif leaf.hash not in earlier:
                self._made[leaf.number] = (*earlier, leaf.hash)
                self._twice.add(leaf.number)
        while len(self._made) > REMEMBERED:
            oldest = self._made_in_order.popleft()
            del self._made[oldest]
            self._twice.discard(oldest)
            self._first = max(self._first or 0, oldest + 1)

    def _settle_leaf(self, number: int, leaf_hash: bytes) -> None:
        """Forget other leaves under this number: the ledger has this one."""
        if leaf_hash in self._made.get(number, ()):
            self._made[number] = (leaf_hash,)
            self._twice.discard(number)

    def _acknowledge_leaves(self, leaves: Sequence[Leaf]) -> None:
        for leaf in leaves if self._twice else ():
            self._settle_leaf(leaf.number, leaf.hash)
        if leaves:
            self.fence.acknowledge_leaf(NumberedHash(leaves[-1].number, leaves[-1].hash))

    def _release_answers(self, done: _PreparedBatch) -> None:
        self._acknowledge_leaves(done.batch.leaves)
        if self._numbering is not None:
            self._numbering.advance_past(done.batch)
        for each, answer in done.answers:
            if isinstance(answer, errors.CCNError):
                _refuse_all([each], answer)
            elif not each.answer.done():
                each.answer.set_result(answer)

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._database.statement_timeout_s


async def _run_or_find(batch: Batch, connection: Connection, *, again: bool) -> bool:
    """Run the batch. False means that an earlier try turned out to have landed."""
    try:
        await batch.run(connection)
    except (errors.Conflict, *failure.FOREIGN) as stopped:
        # A second try that is refused: perhaps because the first, whose end was not seen, landed after all.
        if not again or failure.lost_connection(stopped) or not await batch.has_landed(connection):
            raise
        return False
    return True


def _concerns_all(refused: errors.CCNError) -> bool:
    """Tell whether an error is about the database, and not about one of the writes."""
    gone = isinstance(refused, (errors.Unavailable, errors.OutcomeUnknown))
    return gone and not isinstance(refused, errors.TooManyRequests)


def _refuse_all(waiting: Iterable[_WaitingWrite], refused: errors.CCNError) -> None:
    for each in waiting:
        if not each.answer.done():
            each.answer.set_exception(refused)


_BORN = "INSERT INTO leaf_sources (node_id) VALUES ($1::text) ON CONFLICT DO NOTHING"
_LEAF_HEAD = "SELECT head FROM leaf_sources WHERE node_id = $1"
_LEAVES = "SELECT number, hash FROM leaves WHERE node_id = $1 AND number = ANY ($2::bigint[])"
