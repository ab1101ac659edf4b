"""A call to the model that is paid for: reserved, made, settled, whatever happens in between.

    hold the most that the next try can cost ──> try ──> … again, if it broke ──> settle what was used

Nothing is sent before the budget of the day holds it. A reader who leaves, a stream that breaks and a
shutdown are settled by the best knowledge there is; a node that dies leaves what it held, and that expires
into being spent. Without a limit all the same is written down, only never refused.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
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
from ccn.claude.client import Client
from ccn.claude.meter import Meter
from ccn.core.calls import budget, price
from ccn.core.calls.call import Call, Piece, Reply, Retry, Usage
from ccn.core.calls.price import Size
from ccn.core.ids import CharacterId, ConversationId, UserId
from ccn.node.spending.concurrency import Place, Shares
from ccn.node.spending.reservation import Purse
from ccn.store.connection.pool import Pool
from ccn.store.conversations.instances import Instance
from ccn.store.spending import spend
from ccn.store.spending.reservation_batch import Till
from ccn.store.spending.spend import Reservation

log = structlog.get_logger(__name__)


_PLENTY = 5 * price.DOLLAR
"""More than an interview costs, unless long prompts meet the dearest of models."""
_REFUSED_S = 5.0
"""How long a user is refused at once after a call did not fit; then one is tried again."""
_REFUSED_LIMIT = 10_000
_AT_ONCE = (
    "of your calls to the model are under way at this node, which is all that may be "
    "(CCN_LIMITS_CALLS_AT_ONCE), and as many wait: ask again in a moment"
)


@dataclass(frozen=True, slots=True)
class Payer:
    """On whose account a call is made."""

    conversation: ConversationId | None
    """None for a call that belongs to none."""
    character: CharacterId
    owner: UserId | None = None
    """Whose it is; None where nobody owns the conversation."""
    purse: Purse | None = field(default=None, repr=False, compare=False)
    """What is put aside for the call already."""

    @classmethod
    def of(cls, instance: Instance) -> Payer:
        """Whoever an instance speaks with, or is asked about."""
        return cls(instance.conversation, instance.character, instance.owner)


class Paying:
    """The client, with a purse."""

    def __init__(
        self,
        client: Client,
        pool: Pool,
        claude: settings.Claude,
        now: Callable[[], datetime],
        limits: settings.Limits,
    ) -> None:
        self._client, self._pool, self._till, self._now = client, pool, Till(pool), now
        self._prices = {model: each.exact() for model, each in claude.prices.items()}
        self._zone = ZoneInfo(claude.time_zone)
        self._limit = _microdollars(claude.daily_budget_dollars)
        self._character_limit = _microdollars(claude.character_budget_dollars)
        self._owner_limit = _microdollars(limits.daily_dollars)
        self._refused = OrderedDict[UserId, tuple[float, errors.AllowanceSpent]]()
        if claude.is_unbounded:
            log.warning("what may be spent in a day has no limit", unset=settings.BUDGET)
        most = limits.calls_at_once
        self._calls = Shares(most, most, errors.TooManyCalls, _AT_ONCE)
        self._settling = set[asyncio.Task[None]]()

    async def stream(self, call: Call, who: Payer) -> AsyncGenerator[Piece, None]:
        """As the client streams; refused if the budget of the day does not hold it.

        Who closes the stream need not wait until it is settled: `settled` does.
        """
        async with (
            self._paid(call, who) as (meter, place),
            aclosing(self._client.stream(call, meter)) as pieces,
        ):
            async for piece in pieces:
                if isinstance(piece, Reply):
                    place.leave()  # what its reader does before closing the stream takes none
                yield piece

    def reserve(self, what: Call | Size, who: Payer) -> Payer:
        """Begin to put aside what a call, or one of a size, can cost, while it waits for something else.

        To be streamed or asked with, or given back by `release`. If it does not fit, or the database does
        not answer, or the call turns out to be larger, that is seen to when the call is made.
        """
        purse = self._purse(what.model, who)
        purse.fill(what)
        return replace(who, purse=purse)

    def release(self, who: Payer) -> None:
        """Give back what was put aside for a call that is not made."""
        if who.purse is not None:
            self._settle(who.purse, Usage())

    async def ask(self, call: Call, who: Payer) -> Reply:
        """The whole reply at once."""
        async with self._paid(call, who) as (meter, _):
            reply = await self._client.ask(call, meter)
        await self.settled()
        return reply

    @property
    def trouble(self) -> Retry | None:
        """Which try comes next, of a call that failed."""
        return self._client.trouble

    async def count(self, call: Call) -> int:
        """How many tokens the prompt has, which costs nothing."""
        return await self._client.count(call)

    async def structured(self, call: Call, schema: Mapping[str, object], who: Payer) -> Mapping[str, Any]:
        """A reply that is an object of this JSON schema."""
        async with self._paid(call, who) as (meter, _):
            told = await self._client.structured(call, schema, meter)
        await self.settled()
        return told

    def check(self, owner: UserId | None) -> None:
        """Refuse at once for whom a call was refused a moment ago, before anything is kept of it."""
        if owner is None or owner not in self._refused:
            return
        until, refused = self._refused[owner]
        if asyncio.get_running_loop().time() < until:
            raise self._with_its_end(refused)
        del self._refused[owner]

    async def is_short(self, who: Payer) -> bool:
        """Whether it is not sure that the budgets of this day hold an interview."""
        limits = {spend.CLUSTER: self._limit, spend.of(who.character): self._character_limit}
        if who.owner is not None:
            limits[spend.of_user(who.owner)] = self._owner_limit
        limited = {scope: limit for scope, limit in limits.items() if limit is not None}
        days = await spend.standings(self._pool, self._day(), limited) if limited else ()
        return any(day.left is not None and day.left < _PLENTY for day in days)

    async def put_aside(self, payers: Iterable[Payer]) -> None:
        """Wait until what was reserved for these is put aside; refused if it does not fit."""
        for each in payers:
            if each.purse is not None:
                with self._told(each):
                    await each.purse.filled()

    async def today(self, character: CharacterId | None = None) -> budget.Day:
        """What is spent, held and left of this day: for the cluster, or for one character."""
        await self.settled()
        if character is None:
            return await spend.standing(self._pool, self._day(), limit=self._limit)
        scope = spend.of(character)
        return await spend.standing(self._pool, self._day(), scope, self._character_limit)

    @asynccontextmanager
    async def _paid(self, call: Call, who: Payer) -> AsyncIterator[tuple[Meter, Place]]:
        """Once its owner has a place for it. An accepted message waits; who can come again may have to."""
        purse = who.purse or self._purse(call.model, who)
        meter = Meter(partial(purse.hold, call))
        try:
            with self._told(who):
                async with self._calls.one(who.owner, patient=who.conversation is not None) as place:
                    yield meter, place
        finally:
            self._settle(purse, meter.usage)

    @contextmanager
    def _told(self, who: Payer) -> Iterator[None]:
        """Whatever does not fit is refused with its end, and remembered of who it is."""
        try:
            yield
        except errors.BudgetSpent as spent:
            if who.owner is not None and isinstance(spent, errors.AllowanceSpent):
                self._remember(who.owner, spent)
            raise self._with_its_end(spent) from None

    def _with_its_end(self, spent: errors.BudgetSpent) -> errors.BudgetSpent:
        """Saying when it begins anew."""
        now = self._now()
        renewed = budget.renewed_after(now, self._zone)
        words = f"{spent}; it begins anew at {renewed:%Y-%m-%d %H:%M} {self._zone.key}"
        return type(spent)(words, (renewed - now).total_seconds())

    def _remember(self, owner: UserId, refused: errors.AllowanceSpent) -> None:
        self._refused.pop(owner, None)
        self._refused[owner] = asyncio.get_running_loop().time() + _REFUSED_S, refused
        while len(self._refused) > _REFUSED_LIMIT:
            self._refused.popitem(last=False)

    async def settled(self) -> None:
        """Return when what has ended here so far is settled, or could not be."""
        if self._settling:
            await asyncio.wait([*self._settling])

    def _purse(self, model: str, who: Payer) -> Purse:
        return Purse(self._client, self._till, price.of(self._prices, model), self._wanted(model, who))

    def _wanted(self, model: str, who: Payer) -> Reservation:
        return Reservation(
            uuid4(),
            self._day(),
            self._now(),
            who.character,
            who.conversation,
            model,
            self._limit,
            self._character_limit,
            who.owner,
            None if who.owner is None else self._owner_limit,
        )

    def _settle(self, purse: Purse, used: Usage) -> None:
        """In a task of its own, which nobody who leaves can cancel."""
        settling = asyncio.create_task(purse.settle(used), name="settle")
        self._settling.add(settling)
        settling.add_done_callback(self._settling.discard)

    def _day(self) -> date:
        return budget.day_of(self._now(), self._zone)


def _microdollars(dollars: Decimal | None) -> int | None:
    return None if dollars is None else price.exact(dollars)
