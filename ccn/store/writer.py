"""The group commit: one writer a node, which makes what is waiting durable in one transaction at a time.

A caller hands in a write and awaits its answer; the answer comes when the write is on disk. While one
transaction is under way the next writes gather, so sixty-four callers share one flush instead of queueing
for sixty-four. One writer is also what lets a node number its leaves without gaps.

    submit ──> waiting ──> prepare: answers, leaves, rows ──> one transaction ──> answers released

When the connection breaks in the middle the outcome is not guessed: the batch's last leaf either is in the
ledger or is not, and a second try under the same leaf numbers cannot land beside the first.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

import structlog

from ccn import errors
from ccn.core.ids import NodeId
from ccn.store import failure, pool
from ccn.store.batch import Batch, Numbering, Write

if TYPE_CHECKING:
    from ccn import settings

log = structlog.get_logger(__name__)
Answer = TypeVar("Answer")

_RETRY_FIRST_S = 0.05
_RETRY_MOST_S = 2.0
_CLOSE_S = 2.0


@dataclass(slots=True, eq=False)
class _Waiting:
    write: Write[Any]
    answer: asyncio.Future[Any]


class Writer:
    """Submit writes from anywhere in the node; `run` is the one task that commits them."""

    def __init__(self, database: settings.Database, node: NodeId, now: Callable[[], datetime]) -> None:
        self._database = database
        self._node = node
        self._now = now
        self._waiting: deque[_Waiting] = deque()
        self._wake = asyncio.Event()
        self._stopping = False
        self._connection: pool.Connection | None = None
        self._numbering: Numbering | None = None

    async def submit(self, write: Write[Answer]) -> Answer:
        """Durable when this returns; not there when it raises, except OutcomeUnknown: perhaps."""
        if self._stopping:
            raise errors.ShuttingDown("this node is stopping and takes no more writes")
        if len(self._waiting) >= self._database.write_queue_limit:
            raise errors.Overloaded(f"{len(self._waiting)} writes are waiting already")
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(write, answer))
        self._wake.set()
        return await answer

    def stop(self) -> None:
        """Take no more writes; `run` returns when those already taken are settled."""
        self._stopping = True
        self._wake.set()

    async def run(self) -> None:
        """Commit what is waiting, again and again, until stopped."""
        batch: list[_Waiting] = []
        try:
            while await self._work():
                count = min(len(self._waiting), self._database.write_batch_limit)
                batch = [
                    each
                    for each in (self._waiting.popleft() for _ in range(count))
                    if not each.answer.done()
                ]
                await self._settle(batch, again=True)
        finally:
            _refuse(batch, errors.OutcomeUnknown("this node stopped in the middle of a commit"))
            _refuse(self._waiting, errors.ShuttingDown("this node stopped before the write was begun"))
            await self._disconnect()

    async def _work(self) -> bool:
        while not self._waiting:
            if self._stopping:
                return False
            self._wake.clear()
            await self._wake.wait()
        return True

    async def _settle(self, waiting: list[_Waiting], *, again: bool) -> None:
        """Commit together; if that is refused, look again, and then find the guilty one by halving."""
        try:
            await self._commit(waiting)
        except errors.CCNError as refused:
            self._numbering = None  # heads and leaf number are read afresh
            if isinstance(refused, errors.Conflict) and again:
                await self._settle(waiting, again=False)
            elif len(waiting) == 1 or isinstance(refused, (errors.Unavailable, errors.OutcomeUnknown)):
                _refuse(waiting, refused)
            else:
                middle = len(waiting) // 2
                await self._settle(waiting[:middle], again=False)
                await self._settle(waiting[middle:], again=False)

    async def _commit(self, waiting: list[_Waiting]) -> None:
        deadline = asyncio.get_running_loop().time() + self._database.statement_timeout_s
        batch, answers = await self._prepare(waiting, deadline)
        if not batch.empty:
            await self._make_durable(batch, deadline)
        if self._numbering is not None:
            self._numbering.advance(batch)
        for each, answer in answers:
            if not each.answer.done():
                each.answer.set_result(answer)

    async def _prepare(
        self, waiting: list[_Waiting], deadline: float
    ) -> tuple[Batch, list[tuple[_Waiting, Any]]]:
        batch = await self._loaded([each.write for each in waiting], deadline)
        answers = []
        for each in waiting:
            try:
                answers.append((each, each.write.prepare(batch)))
            except errors.CCNError as refused:
                if isinstance(refused, errors.Conflict) and batch.remembered:
                    raise  # decided on what was remembered; read it again before refusing anybody
                _refuse([each], refused)
        return batch, answers

    async def _loaded(self, writes: list[Write[Any]], deadline: float) -> Batch:
        """Reading may be repeated until the deadline; nothing has been written yet."""
        async for _ in _attempts(deadline):
            try:
                connection = await self._connected()
                if self._numbering is None:
                    self._numbering = Numbering(
                        self._node, await connection.fetchval(_LEAF_HEAD, self._node)
                    )
                batch = Batch(self._numbering, self._now())
                await batch.load(connection, writes)
            except failure.FOREIGN as foreign:
                await self._failed(foreign)
            else:
                return batch
        raise errors.DatabaseUnavailable("PostgreSQL did not answer in time; nothing was written")

    async def _make_durable(self, batch: Batch, deadline: float) -> None:
        """One transaction. If the connection breaks meanwhile, find out what became of it, or try again."""
        severed = False
        async for _ in _attempts(deadline):
            try:
                connection = await self._connected()
                if severed and await batch.landed(connection):
                    return
                await batch.run(connection)
            except errors.Conflict:
                if severed:
                    continue  # perhaps it is the broken try that landed after all: look
                raise
            except failure.FOREIGN as foreign:
                conflict = severed and not failure.severed(foreign)
                if not conflict:
                    await self._failed(foreign)
                severed = True
                if not batch.leaves:
                    break
            else:
                return
        raise errors.OutcomeUnknown("the connection to PostgreSQL broke during a commit")

    async def _failed(self, foreign: BaseException) -> None:
        """A broken connection is closed, so that the next attempt makes a new one; the rest is raised."""
        if not failure.severed(foreign):
            raise failure.translate(foreign) from foreign
        log.warning("connection to PostgreSQL lost", error=type(foreign).__name__)
        await self._disconnect()

    async def _connected(self) -> pool.Connection:
        if self._connection is None or self._connection.is_closed():
            self._connection = await pool.connect(self._database, f"ccn/{self._node}/writer")
        return self._connection

    async def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                await connection.close(timeout=_CLOSE_S)
            except failure.FOREIGN:
                connection.terminate()


async def _attempts(deadline: float) -> AsyncIterator[None]:
    """Once at once, and then again with growing pauses until the deadline."""
    pause = _RETRY_FIRST_S
    while True:
        yield
        left = deadline - asyncio.get_running_loop().time()
        if left <= 0:
            return
        await asyncio.sleep(min(pause, left))
        pause = min(2 * pause, _RETRY_MOST_S)


def _refuse(waiting: Iterable[_Waiting], refused: errors.CCNError) -> None:
    for each in waiting:
        if not each.answer.done():
            each.answer.set_exception(refused)


_LEAF_HEAD = """
    WITH born AS (INSERT INTO leaf_sources (node_id) VALUES ($1) ON CONFLICT DO NOTHING RETURNING head)
    SELECT head FROM born UNION ALL SELECT head FROM leaf_sources WHERE node_id = $1 LIMIT 1
"""
