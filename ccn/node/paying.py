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
from dataclasses import dataclass, field, replace
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
    purse: Purse | None = field(default=None, repr=False, compare=False)
    """What is put aside for the call already."""


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

    def reserve(self, call: Call, who: Payer) -> Payer:
        """Begin to put aside what the call can cost, while it has to wait for something else.

        To be streamed or asked with, or given back by `release`. If it does not fit, or the database does
        not answer, the call tries again when it is made.
        """
        purse = self._purse(call, who)
        purse.fill()
        return replace(who, purse=purse)

    def release(self, who: Payer) -> None:
        """Give back what was put aside for a call that is not made."""
        if who.purse is not None:
            self._settling_of(who.purse, Usage())

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
        purse = who.purse or self._purse(call, who)
        meter = Meter(purse.hold)
        try:
            yield meter
        finally:  # settled even if whoever asked is cancelled meanwhile; then only their wait ends
            await asyncio.shield(self._settling_of(purse, meter.usage))

    def _purse(self, call: Call, who: Payer) -> Purse:
        cost = price.of(self._prices, call.model)
        return Purse(self._client, self._till, call, cost, self._wanted(call, who))

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

    def _settling_of(self, purse: Purse, used: Usage) -> asyncio.Task[None]:
        settling = asyncio.create_task(purse.settle(used), name="settle")
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)
        return settling

    def _day(self) -> date:
        return budget.day_of(self._now(), self._zone)


class Purse:
    """What one call holds."""

    def __init__(self, client: Client, till: Till, call: Call, cost: Price, wanted: Reservation) -> None:
        self._client, self._till = client, till
        self._call, self._price, self._wanted = call, cost, wanted
        self._most: int | None = None
        self._asked = False
        self._filling: asyncio.Task[None] | None = None

    def fill(self) -> None:
        """Begin to hold for the first try; whether that could be done, `hold` finds out."""
        self._asked = True
        self._most = price.bound(self._price, price.prompt(self._call), self._call.max_tokens)
        self._filling = asyncio.create_task(self._till.hold(self._wanted, self._most), name="purse")
        self._filling.add_done_callback(lambda done: done.cancelled() or done.exception())

    async def hold(self, used: Usage) -> None:
        """Hold what was used and the most that the next try can cost."""
        self._asked = True
        if await self._filled():
            return
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

    async def _filled(self) -> bool:
        """Whether the first try is held for already; if it does not fit, it is tried once more."""
        filling, self._filling = self._filling, None
        if filling is None:
            return False
        try:
            await filling
        except errors.CCNError:
            self._most = None
            return False
        return True

    async def settle(self, used: Usage) -> None:
        """Exchange what was held for what was used; with the database away it stays held, which is safe."""
        if not self._asked:
            return
        if self._filling is not None:
            self._filling.cancel()  # left out at the till if it waits there; if it is on its way, it ends
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
