"""A call to the model that is paid for: reserved, made, settled, whatever happens in between.

    reserve the most that the next try can cost ──> try ──> … again, if it broke ──> settle what was used

Nothing is sent before the budget of the day covers it. When a reader leaves, a stream breaks or the node
stops, the call is settled by what is known of its use. What a node that dies had reserved expires, and then
counts as spent. Without a limit all calls are recorded in the same way, but none is refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import date, datetime
from decimal import Decimal
from functools import partial
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import structlog

from ccn import errors, settings
from ccn.claude.client import ModelClient
from ccn.claude.meter import UsageMeter
from ccn.core.bounded import Recent
from ccn.core.calls import budget, price
from ccn.core.calls.call import Call, CallRetry, Piece, Reply, TokenUsage
from ccn.core.calls.price import CallSize
from ccn.core.ids import CharacterId, ConversationId, UserId
from ccn.node.spending.concurrency import ConcurrencyLimit, ConcurrencySlot
from ccn.node.spending.reservation import CallReservation
from ccn.store.connection.pool import Pool
from ccn.store.conversations.instances import Instance
from ccn.store.spending import spend
from ccn.store.spending.reservation_queue import ReservationQueue
from ccn.store.spending.spend import Reservation

log = structlog.get_logger(__name__)


_PLENTY = 5 * price.DOLLAR
"""More than an interview costs, except with long prompts and the most expensive models."""
_REFUSED_S = 5.0
"""How long a user is refused at once after the budget did not cover a call. Then a call is tried again."""
_REFUSED_LIMIT = 10_000
_AT_ONCE = (
    "of your calls to the model are under way at this node, which is all that may be "
    "(CCN_LIMITS_CALLS_AT_ONCE), and as many wait: ask again in a moment"
)


@dataclass(frozen=True, slots=True)
class Payer:
    """Who pays for a call."""

    conversation: ConversationId | None
    """None for a call that belongs to no conversation."""
    character: CharacterId
    owner: UserId | None = None
    """The owner of the conversation; None if it has none."""
    reservation: CallReservation | None = field(default=None, repr=False, compare=False)
    """What is reserved for the call already."""

    @classmethod
    def of_instance(cls, instance: Instance) -> Payer:
        """Return the payer for calls of an instance: the owner of its conversation."""
        return cls(instance.conversation, instance.character, instance.owner)


class PaidModel:
    """The client of the model. Each call is reserved before it is made and settled after it."""

    def __init__(
        self,
        client: ModelClient,
        pool: Pool,
        claude: settings.ClaudeSettings,
        now: Callable[[], datetime],
        limits: settings.LimitsSettings,
    ) -> None:
        self._client = client
        self._pool = pool
        self._reservations = ReservationQueue(pool)
        self._now = now
        self._prices = {model: cost.to_microdollars() for model, cost in claude.prices.items()}
        self._zone = ZoneInfo(claude.time_zone)
        self._limit = _dollars_to_microdollars(claude.daily_budget_dollars)
        self._character_limit = _dollars_to_microdollars(claude.character_budget_dollars)
        self._owner_limit = _dollars_to_microdollars(limits.daily_dollars)
        self._refused = Recent[UserId, tuple[float, errors.AllowanceSpent]](_REFUSED_LIMIT)
        if claude.is_unbounded:
            log.warning("what may be spent in a day has no limit", unset=settings.BUDGET)
        most = limits.calls_at_once
        self._calls = ConcurrencyLimit(most, most, errors.TooManyCalls, _AT_ONCE)
        self._settling = set[asyncio.Task[None]]()

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        """Stream as the client does; refuse the call if the budget of the day does not cover it.

        Closing the stream begins to settle the call and does not wait for it. `await_settlements` waits.
        """
        async with (
            self._pay_for_call(call, who) as (meter, slot),
            aclosing(self._client.stream(call, meter)) as pieces,
        ):
            async for piece in pieces:
                if isinstance(piece, Reply):
                    slot.leave()  # the call is over, whatever its reader does before closing the stream
                yield piece

    def reserve(self, what: Call | CallSize, who: Payer) -> Payer:
        """Begin to reserve what a call, or a call of this size, can cost.

        Use the result in `stream`, or return it with `release`. Errors (no budget, no database, a larger
        call) are raised there, not here.
        """
        reservation = self._new_reservation(what.model, who)
        reservation.begin_reservation(what)
        return replace(who, reservation=reservation)

    def release(self, who: Payer) -> None:
        """Give back what was reserved for a call that is not made."""
        if who.reservation is not None:
            self._settle_later(who.reservation, TokenUsage())

    @property
    def trouble(self) -> CallRetry | None:
        """Return the next try of a call that failed, or None if no call is in trouble."""
        return self._client.trouble

    async def count_tokens(self, call: Call) -> int:
        """Count the tokens of the prompt, which costs nothing."""
        return await self._client.count_tokens(call)

    async def ask_structured(
        self, call: Call, schema: Mapping[str, object], who: Payer
    ) -> Mapping[str, Any]:
        """Return a reply that is an object of this JSON schema."""
        async with self._pay_for_call(call, who) as (meter, _):
            answer = await self._client.ask_structured(call, schema, meter)
        await self.await_settlements()
        return answer

    def check_allowance(self, owner: UserId | None) -> None:
        """Refuse at once a user whose call was refused a moment ago, before anything is stored."""
        if owner is None or owner not in self._refused:
            return
        until, refused = self._refused[owner]
        if asyncio.get_running_loop().time() < until:
            raise self._add_renewal(refused)
        del self._refused[owner]

    async def is_short(self, who: Payer) -> bool:
        """Return whether the budgets of this day may not cover an interview."""
        limits = {
            spend.CLUSTER: self._limit,
            spend.scope_of_character(who.character): self._character_limit,
        }
        if who.owner is not None:
            limits[spend.scope_of_user(who.owner)] = self._owner_limit
        limited = {scope: limit for scope, limit in limits.items() if limit is not None}
        days = await spend.day_totals(self._pool, self._today(), limited) if limited else ()
        return any(day.left is not None and day.left < _PLENTY for day in days)

    async def await_reservations(self, payers: Iterable[Payer]) -> None:
        """Wait until everything is reserved for these payers; refuse if the budget does not cover it."""
        for payer in payers:
            if payer.reservation is not None:
                with self._explain_refusal(payer):
                    await payer.reservation.await_reservation()

    async def load_day(self, character: CharacterId | None = None) -> budget.Day:
        """Load what is spent, reserved and left of this day, for the cluster or for one character."""
        await self.await_settlements()
        if character is None:
            return await spend.day_total(self._pool, self._today(), limit=self._limit)
        scope = spend.scope_of_character(character)
        return await spend.day_total(self._pool, self._today(), scope, self._character_limit)

    @asynccontextmanager
    async def _pay_for_call(
        self, call: Call, who: Payer
    ) -> AsyncIterator[tuple[UsageMeter, ConcurrencySlot]]:
        """Wait for one of its owner's slots, and settle the call at the end.

        The call of an accepted message waits however long. Other calls are refused if too many wait.
        """
        reservation = who.reservation or self._new_reservation(call.model, who)
        meter = UsageMeter(partial(reservation.reserve_for_try, call))
        try:
            with self._explain_refusal(who):
                async with self._calls.take_slot(who.owner, patient=who.conversation is not None) as slot:
                    yield meter, slot
        finally:
            self._settle_later(reservation, meter.usage)

    @contextmanager
    def _explain_refusal(self, who: Payer) -> Iterator[None]:
        """Add to a refusal when the budget is renewed, and remember whose allowance is spent."""
        try:
            yield
        except errors.BudgetSpent as spent:
            if who.owner is not None and isinstance(spent, errors.AllowanceSpent):
                self._remember_refusal(who.owner, spent)
            raise self._add_renewal(spent) from None

    def _add_renewal(self, spent: errors.BudgetSpent) -> errors.BudgetSpent:
        """Return the same refusal, with the time at which the budget is renewed."""
        now = self._now()
        renewed = budget.renewed_after(now, self._zone)
        words = f"{spent}; it begins anew at {renewed:%Y-%m-%d %H:%M} {self._zone.key}"
        return type(spent)(words, (renewed - now).total_seconds())

    def _remember_refusal(self, owner: UserId, refused: errors.AllowanceSpent) -> None:
        self._refused[owner] = asyncio.get_running_loop().time() + _REFUSED_S, refused

    async def await_settlements(self) -> None:
        """Wait until every call that ended here so far is settled, or could not be."""
        if self._settling:
            await asyncio.wait([*self._settling])

    def _new_reservation(self, model: str, who: Payer) -> CallReservation:
        return CallReservation(
            self._client,
            self._reservations,
            price.price_of(self._prices, model),
            self._describe_reservation(model, who),
        )

    def _describe_reservation(self, model: str, who: Payer) -> Reservation:
        return Reservation(
            uuid4(),
            self._today(),
            self._now(),
            who.character,
            who.conversation,
            model,
            self._limit,
            self._character_limit,
            who.owner,
            None if who.owner is None else self._owner_limit,
        )

    def _settle_later(self, reservation: CallReservation, used: TokenUsage) -> None:
        """Settle in a task of its own, so that a caller who is cancelled does not cancel it."""
        settling = asyncio.create_task(reservation.settle(used), name="settle")
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)

    def _today(self) -> date:
        return budget.day_of(self._now(), self._zone)


def _dollars_to_microdollars(dollars: Decimal | None) -> int | None:
    return None if dollars is None else price.microdollars_from(dollars)
