"""What one call reserves of the day's budget, before it is made or while it waits, and settles after it.

Separate from `paid_model`, which knows who pays. Here is only how much, and when.
"""

from __future__ import annotations

import asyncio

import structlog

from ccn import errors, metrics
from ccn.claude.client import ModelClient
from ccn.core.calls import price
from ccn.core.calls.call import Call, TokenUsage
from ccn.core.calls.price import CallSize, Price
from ccn.store.spending.reservation_queue import ReservationQueue
from ccn.store.spending.spend import EndedReservation, Reservation

log = structlog.get_logger(__name__)

_SETTLE_S = 10.0


class CallReservation:
    """The reservation of one call, for all its tries."""

    def __init__(
        self, client: ModelClient, queue: ReservationQueue, cost: Price, wanted: Reservation
    ) -> None:
        self._client, self._queue = client, queue
        self._price, self._wanted = cost, wanted
        self._most: int | None = None
        self._begun = False
        self._ahead: tuple[Call | CallSize, CallSize, asyncio.Task[None]] | None = None
        """What was reserved before the call was made: for what, its size, and the task that reserves it."""

    def begin_reservation(self, what: Call | CallSize) -> None:
        """Begin to reserve for the first try of a call, or of a call of about this size."""
        self._begun = True
        size = price.measure_call(what) if isinstance(what, Call) else what
        reserving = asyncio.create_task(
            self._queue.reserve_amount(self._wanted, self._upper_bound(size)), name="reserve"
        )
        reserving.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._ahead = what, size, reserving

    async def reserve_for_try(self, call: Call, used: TokenUsage) -> None:
        """Reserve what was used so far and the most that the next try can cost."""
        self._begun = True
        size, ahead = await self._finish_reservation(call)
        if self._most is None:
            self._most = self._upper_bound(size or price.measure_call(call))
            if self._most <= ahead:
                return
            try:
                await self._queue.reserve_amount(self._wanted, self._most)
            except errors.BudgetSpent:
                # The estimate is too high rather than too low. Count exactly before the call is refused.
                exact = CallSize(call.model, await self._client.count_tokens(call), call.max_tokens)
                self._most = self._upper_bound(exact)
            else:
                return
        await self._queue.reserve_amount(self._wanted, price.cost_of_usage(self._price, used) + self._most)

    async def await_reservation(self) -> None:
        """Wait until what `begin_reservation` began is reserved; refuse if the budget does not cover it."""
        if self._ahead is not None:
            await self._ahead[2]

    async def _finish_reservation(self, call: Call) -> tuple[CallSize | None, int]:
        """Return the size of the call if it is known, and the amount reserved ahead, 0 if it failed."""
        if self._ahead is None:
            return None, 0
        (what, size, reserving), self._ahead = self._ahead, None
        try:
            await reserving
        except errors.CCNError:  # `reserve_for_try` reserves again, and raises what goes wrong then
            return None, 0
        return size if what is call else None, self._upper_bound(size)

    async def settle(self, used: TokenUsage) -> None:
        """Replace the reservation by what was used.

        Without a database the amount stays reserved, which is safe: it expires into being spent.
        """
        if not self._begun:
            return
        if self._ahead is not None:  # the queue drops it if it still waits there
            self._ahead[2].cancel()
        cost = price.cost_of_usage(self._price, used)
        try:
            async with asyncio.timeout(_SETTLE_S):
                made = used != TokenUsage()
                ended = EndedReservation(self._wanted.id, used, cost, made)
                if await self._queue.end_reservation(ended) and made:
                    metrics.spending.count_payment(self._wanted.model, used, cost)
        except (errors.CCNError, TimeoutError) as failed:
            log.warning("spend not settled", reservation=str(self._wanted.id), error=type(failed).__name__)

    def _upper_bound(self, size: CallSize) -> int:
        return price.bound_cost(self._price, size.prompt, size.reply)
