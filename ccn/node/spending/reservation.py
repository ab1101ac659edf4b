"""What one call holds of its day's budget: filled before it is made or while it waits, settled after it.

Separate from `paying`, which knows whose money it is: here is only how much, and when.
"""

from __future__ import annotations

import asyncio

import structlog

from ccn import errors, metrics
from ccn.claude.client import ModelClient
from ccn.core.calls import price
from ccn.core.calls.call import Call, TokenUsage
from ccn.core.calls.price import CallSize, Price
from ccn.store.spending.reservation_batch import ReservationQueue
from ccn.store.spending.spend import EndedReservation, Reservation

log = structlog.get_logger(__name__)

_SETTLE_S = 10.0


class CallReservation:
    """One reservation."""

    def __init__(
        self, client: ModelClient, till: ReservationQueue, cost: Price, wanted: Reservation
    ) -> None:
        self._client, self._till = client, till
        self._price, self._wanted = cost, wanted
        self._most: int | None = None
        self._asked = False
        self._ahead: tuple[Call | CallSize, CallSize, asyncio.Task[None]] | None = None

    def begin_hold(self, what: Call | CallSize) -> None:
        """Begin to hold for the first try of a call, or of one that is about as large."""
        self._asked = True
        size = price.measure_call(what) if isinstance(what, Call) else what
        filling = asyncio.create_task(
            self._till.hold_amount(self._wanted, self._upper_bound(size)), name="purse"
        )
        filling.add_done_callback(lambda done: done.cancelled() or done.exception())
        self._ahead = what, size, filling

    async def hold_for_try(self, call: Call, used: TokenUsage) -> None:
        """Hold what was used and the most that the next try can cost."""
        self._asked = True
        size, ahead = await self._finish_hold(call)
        if self._most is None:
            self._most = self._upper_bound(size or price.measure_call(call))
            if self._most <= ahead:
                return
            try:
                await self._till.hold_amount(self._wanted, self._most)
            except errors.BudgetSpent:
                # The estimate errs upwards; before anybody is turned away, the API counts.
                exact = CallSize(call.model, await self._client.count_tokens(call), call.max_tokens)
                self._most = self._upper_bound(exact)
            else:
                return
        await self._till.hold_amount(self._wanted, price.cost_of_usage(self._price, used) + self._most)

    async def await_hold(self) -> None:
        """Wait until what `fill` began is held; refused where it does not fit."""
        if self._ahead is not None:
            await self._ahead[2]

    async def _finish_hold(self, call: Call) -> tuple[CallSize | None, int]:
        """The size of the call if that is known already, and what is held; nothing if it did not fit."""
        if self._ahead is None:
            return None, 0
        (what, size, filling), self._ahead = self._ahead, None
        try:
            await filling
        except errors.CCNError:  # tried once more, now that the call is made
            return None, 0
        return size if what is call else None, self._upper_bound(size)

    async def settle(self, used: TokenUsage) -> None:
        """Exchange what was held for what was used; with the database away it stays held, which is safe."""
        if not self._asked:
            return
        if self._ahead is not None:  # left out at the till if it waits there; if it is on its way, it ends
            self._ahead[2].cancel()
        cost = price.cost_of_usage(self._price, used)
        try:
            async with asyncio.timeout(_SETTLE_S):
                made = used != TokenUsage()
                if (
                    await self._till.end_reservation(EndedReservation(self._wanted.id, used, cost, made))
                    and made
                ):
                    metrics.count_payment(self._wanted.model, used, cost)
        except (errors.CCNError, TimeoutError) as failed:
            log.warning("spend not settled", reservation=str(self._wanted.id), error=type(failed).__name__)

    def _upper_bound(self, size: CallSize) -> int:
        return price.bound_cost(self._price, size.prompt, size.reply)
