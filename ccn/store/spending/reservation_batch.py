"""The till: one a node, where its calls reserve and settle together, one statement at a time.

Every reservation changes the row of its day, so calls that come singly wait for each other's flush there.
Here, while one statement is under way, the next holds and settlements gather; and whatever was settled
before a hold was asked for is free for it. A hold that does not fit is refused alone.

    hold, end ──> waiting ──> one statement ──> answers
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import structlog

from ccn import errors
from ccn.store.connection.pool import Pool
from ccn.store.spending import spend
from ccn.store.spending.spend import Ended, Reservation

log = structlog.get_logger(__name__)

BATCH_LIMIT = 500
"""Changes that one statement makes at most."""
WAITING_LIMIT = 10_000
_GONE = (errors.DatabaseUnavailable, errors.DatabaseFull, errors.OutcomeUnknown)


@dataclass(frozen=True, slots=True)
class _Wanted:
    reservation: Reservation
    amount: int


@dataclass(slots=True, eq=False)
class _Waiting:
    change: Ended | _Wanted
    answer: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Till:
    """Hold and end reservations from anywhere in the node; no task lives while nobody waits."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: deque[_Waiting] = deque()
        self._work: asyncio.Task[None] | None = None

    async def hold(self, wanted: Reservation, amount: int) -> None:
        """Hold this amount for a call, or as much for one that held less; refused when it does not fit."""
        await self._changed(_Wanted(wanted, amount))

    async def end(self, ended: Ended) -> bool:
        """Settle or release; whether there was something to end."""
        return await self._changed(ended)

    async def _changed(self, change: Ended | _Wanted) -> bool:
        if len(self._waiting) >= WAITING_LIMIT:
            raise errors.Overloaded(f"{len(self._waiting)} calls wait to be paid for already")
        waiting = _Waiting(change)
        self._waiting.append(waiting)
        if self._work is None:
            self._work = asyncio.create_task(self._run(), name="till")
        return await waiting.answer

    async def _run(self) -> None:
        """Until nobody waits: the root of its task."""
        some: list[_Waiting] = []
        try:
            while self._waiting:
                count = min(len(self._waiting), BATCH_LIMIT)
                taken = [self._waiting.popleft() for _ in range(count)]
                some = [each for each in taken if not each.answer.done()]  # nobody pays for who has left
                await self._change(some)
        except Exception as defect:  # whoever waits is told, and the next call begins anew
            log.exception("the till met a defect")
            _refuse([*some, *self._waiting], errors.StoreBroken(f"a defect: {type(defect).__name__}"))
        finally:
            self._work = None
            _refuse([*some, *self._waiting], errors.ShuttingDown("the till was closed in the middle"))
            self._waiting.clear()

    async def _change(self, some: Sequence[_Waiting]) -> None:
        """All at once; if that is refused, what has ended first, and then each hold alone."""
        try:
            await self._made(some)
        except errors.CCNError as refused:
            if len(some) == 1 or isinstance(refused, _GONE):
                _refuse(some, refused)
                return
            for part in _apart(some):
                await self._change(part)

    async def _made(self, some: Sequence[_Waiting]) -> None:
        ends = [each.change for each in some if isinstance(each.change, Ended)]
        holds = [(w.reservation, w.amount) for each in some if isinstance(w := each.change, _Wanted)]
        over = await spend.change(self._pool, ends, holds) if some else ()
        for each in some:
            if not each.answer.done():
                each.answer.set_result(isinstance(each.change, _Wanted) or each.change.id in over)


def _apart(some: Sequence[_Waiting]) -> list[list[_Waiting]]:
    ends = [each for each in some if isinstance(each.change, Ended)]
    if len(ends) in {0, len(some)}:
        return [[each] for each in some]
    return [ends, *([each] for each in some if isinstance(each.change, _Wanted))]


def _refuse(some: Sequence[_Waiting], refused: errors.CCNError) -> None:
    for each in some:
        if not each.answer.done():
            each.answer.set_exception(refused)
