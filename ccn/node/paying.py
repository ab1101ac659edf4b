"""A call to the model that is paid for: reserved, made, settled, whatever happens in between.

    hold the most that the next try can cost ──> try ──> … again, if it broke ──> settle what was used

Nothing is sent before the budget of the day holds it. A reader who leaves, a stream that breaks and a
shutdown are settled by the best knowledge there is; a node that dies leaves what it held, and that expires
into being spent. Without a limit all the same is written down, only never refused.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import uuid4
from zoneinfo import ZoneInfo

import structlog

from ccn import errors, metrics
from ccn.claude.client import Client
from ccn.claude.meter import Meter
from ccn.core import budget, price
from ccn.core.call import Call, Piece, Reply, Usage
from ccn.core.ids import CharacterId, ConversationId
from ccn.core.price import Price
from ccn.store import spend
from ccn.store.pool import Pool
from ccn.store.spend import Ended, Reservation
from ccn.store.till import Till

if TYPE_CHECKING:
    from ccn import settings

log = structlog.get_logger(__name__)

_SETTLE_S = 10.0


@dataclass(frozen=True, slots=True)
class Payer:
    """On whose account a call is made."""

    conversation: ConversationId | None
    """None for a call that belongs to none."""
    character: CharacterId


class Paying:
    """The client, with a purse."""

    def __init__(
        self, client: Client, pool: Pool, claude: settings.Claude, now: Callable[[], datetime]
    ) -> None:
        self._client, self._pool, self._till, self._now = client, pool, Till(pool), now
        self._prices = {model: each.exact() for model, each in claude.prices.items()}
        self._zone = ZoneInfo(claude.time_zone)
        self._limit = _microdollars(claude.daily_budget_dollars)
        self._character_limit = _microdollars(claude.character_budget_dollars)
        self._settling = set[asyncio.Task[None]]()

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        """As the client streams; refused if the budget of the day does not hold it."""
        async with self._paid(call, who) as meter, aclosing(self._client.stream(call, meter)) as pieces:
            async for piece in pieces:
                yield piece

    async def ask(self, call: Call, who: Payer) -> Reply:
        """The whole reply at once."""
        async with self._paid(call, who) as meter:
            return await self._client.ask(call, meter)

    async def count(self, call: Call) -> int:
        """How many tokens the prompt has, which costs nothing."""
        return await self._client.count(call)

    async def structured(self, call: Call, schema: Mapping[str, object], who: Payer) -> Mapping[str, Any]:
        """A reply that is an object of this JSON schema."""
        async with self._paid(call, who) as meter:
            return await self._client.structured(call, schema, meter)

    async def today(self, character: CharacterId | None = None) -> budget.Day:
        """What is spent, held and left of this day: for the cluster, or for one character."""
        if character is None:
            return await spend.standing(self._pool, self._day(), limit=self._limit)
        scope = spend.of(character)
        return await spend.standing(self._pool, self._day(), scope, self._character_limit)

    @asynccontextmanager
    async def _paid(self, call: Call, who: Payer) -> AsyncIterator[Meter]:
        cost = price.of(self._prices, call.model)
        purse = _Purse(self._client, self._till, call, cost, self._wanted(call, who))
        meter = Meter(purse.hold)
        try:
            yield meter
        finally:
            await self._finished(purse, meter)

    def _wanted(self, call: Call, who: Payer) -> Reservation:
        return Reservation(
            uuid4(),
            self._day(),
            self._now(),
            who.character,
            who.conversation,
            call.model,
            self._limit,
            self._character_limit,
        )

    async def _finished(self, purse: _Purse, meter: Meter) -> None:
        """Settle even if whoever asked is cancelled meanwhile; their wait ends, the settling does not."""
        settling = asyncio.create_task(purse.settle(meter.usage), name="settle")
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)
        await asyncio.shield(settling)

    def _day(self) -> date:
        return budget.day_of(self._now(), self._zone)


class _Purse:
    """What one call holds."""

    def __init__(self, client: Client, till: Till, call: Call, cost: Price, wanted: Reservation) -> None:
        self._client, self._till = client, till
        self._call, self._price, self._wanted = call, cost, wanted
        self._most: int | None = None
        self._asked = False

    async def hold(self, used: Usage) -> None:
        """Hold what was used and the most that the next try can cost."""
        self._asked = True
        if self._most is None:
            self._most = price.bound(self._price, price.prompt(self._call), self._call.max_tokens)
            try:
                await self._till.hold(self._wanted, self._most)
            except errors.BudgetSpent:
                # The estimate errs upwards; before anybody is turned away, the API counts.
                self._most = price.bound(
                    self._price, await self._client.count(self._call), self._call.max_tokens
                )
            else:
                return
        await self._till.hold(self._wanted, price.cost(self._price, used) + self._most)

    async def settle(self, used: Usage) -> None:
        """Exchange what was held for what was used; with the database away it stays held, which is safe."""
        if not self._asked:
            return
        cost = price.cost(self._price, used)
        try:
            async with asyncio.timeout(_SETTLE_S):
                made = used != Usage()
                if await self._till.end(Ended(self._wanted.id, used, cost, made)) and made:
                    metrics.paid(self._call.model, used, cost)
        except (errors.CCNError, TimeoutError) as failed:
            log.warning("spend not settled", reservation=str(self._wanted.id), error=type(failed).__name__)


def _microdollars(dollars: Decimal | None) -> int | None:
    return None if dollars is None else price.exact(dollars)
