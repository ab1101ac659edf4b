"""The queue of a node in which its calls reserve and settle together, one statement at a time.

Every reservation changes the row of its day, so calls that come singly wait there for each other's flush.
Here the next reservations and settlements gather while one statement is under way. What was settled before
an amount was asked for is free for it. An amount that does not fit is refused alone.

    reserve, end ──> waiting ──> one statement ──> answers
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
from ccn.store.spending.spend import EndedReservation, Reservation

log = structlog.get_logger(__name__)

BATCH_LIMIT = 500
"""Changes that one statement makes at most."""
WAITING_LIMIT = 10_000
_GONE = (errors.DatabaseUnavailable, errors.DatabaseFull, errors.OutcomeUnknown)


@dataclass(frozen=True, slots=True)
class _WantedAmount:
    reservation: Reservation
    amount: int


@dataclass(slots=True, eq=False)
class _WaitingChange:
    change: EndedReservation | _WantedAmount
    answer: asyncio.Future[bool] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class ReservationQueue:
    """Make and end reservations from anywhere in the node. No task lives while nobody waits."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._waiting: deque[_WaitingChange] = deque()
        self._work: asyncio.Task[None] | None = None

    async def reserve_amount(self, wanted: Reservation, amount: int) -> None:
        """Reserve this amount for a call, or raise its reservation to it; refuse if it does not fit."""
        await self._enqueue(_WantedAmount(wanted, amount))

    async def end_reservation(self, ended: EndedReservation) -> bool:
        """Settle or release a reservation, and return whether there was one to end."""
        return await self._enqueue(ended)

    async def _enqueue(self, change: EndedReservation | _WantedAmount) -> bool:
        if len(self._waiting) >= WAITING_LIMIT:
            raise errors.Overloaded(f"{len(self._waiting)} calls wait to be paid for already")
        waiting = _WaitingChange(change)
        self._waiting.append(waiting)
        if self._work is None:
            self._work = asyncio.create_task(self._run_until_idle(), name="reservations")
        return await waiting.answer

    async def _run_until_idle(self) -> None:
        """Carry out changes until nobody waits. This is the root of its task."""
        some: list[_WaitingChange] = []
        try:
            while self._waiting:
                count = min(len(self._waiting), BATCH_LIMIT)
                taken = [self._waiting.popleft() for _ in range(count)]
                some = [each for each in taken if not each.answer.done()]  # nobody pays for who has left
                await self._change_or_split(some)
        except Exception as defect:  # whoever waits is told, and the next call begins anew
            log.exception("the queue of reservations met a defect")
            _refuse_all([*some, *self._waiting], errors.StoreBroken(f"a defect: {type(defect).__name__}"))
        finally:
            self._work = None
            _refuse_all(
                [*some, *self._waiting],
                errors.ShuttingDown("the queue of reservations was closed in the middle"),
            )
            self._waiting.clear()

    async def _change_or_split(self, some: Sequence[_WaitingChange]) -> None:
        """Change all at once. If that is refused, end what has ended, then reserve each amount alone."""
        try:
            await self._change_all(some)
        except errors.CCNError as refused:
            if len(some) == 1 or isinstance(refused, _GONE):
                _refuse_all(some, refused)
                return
            for part in _split_apart(some):
                await self._change_or_split(part)

    async def _change_all(self, some: Sequence[_WaitingChange]) -> None:
        ends = [each.change for each in some if isinstance(each.change, EndedReservation)]
        wanted = [(w.reservation, w.amount) for each in some if isinstance(w := each.change, _WantedAmount)]
        over = await spend.change_reservations(self._pool, ends, wanted) if some else ()
        for each in some:
            if not each.answer.done():
                each.answer.set_result(isinstance(each.change, _WantedAmount) or each.change.id in over)


def _split_apart(some: Sequence[_WaitingChange]) -> list[list[_WaitingChange]]:
    ends = [each for each in some if isinstance(each.change, EndedReservation)]
    if len(ends) in {0, len(some)}:
        return [[each] for each in some]
    return [ends, *([each] for each in some if isinstance(each.change, _WantedAmount))]


def _refuse_all(some: Sequence[_WaitingChange], refused: errors.CCNError) -> None:
    for each in some:
        if not each.answer.done():
            each.answer.set_exception(refused)
