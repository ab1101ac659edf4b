"""Calls that are paid for: nothing is sent that the budget does not hold, all that was used is charged."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from uuid import uuid4

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from ccn import errors, metrics, settings
from ccn.claude import client
from ccn.claude.retries import RetryDelays
from ccn.claude.stand_in import server
from ccn.claude.stand_in.faults import FaultRule, FaultRules
from ccn.core import ids
from ccn.core.calls import price
from ccn.core.calls.call import Call, CallBlock, CallMessage, CallRestart, Reply, TokenUsage
from ccn.core.ids import CharacterId, ConversationId, NodeId, UserId
from ccn.core.message import Role
from ccn.node.spending.paid_model import PaidModel, Payer
from ccn.node.upkeep import errands
from ccn.store.connection import pool
from ccn.store.connection.pool import Pool
from ccn.store.conversations import characters, conversations
from ccn.store.spending import spend
from ccn.store.spending.spend import UsageTotal
from ccn.store.writing.writer import Writer
from tests.support.replies import ask_and_settle
from tests.support.store import reservations

ADA = CharacterId("ada")
CALL = Call(
    "claude-sonnet-5-5", (CallBlock("# Ada\nAda is kind."),), (CallMessage(Role.USER, "About tides?"),), 300
)
SONNET = settings.PRICES["claude-sonnet-5-5"].to_microdollars()
MOST = price.bound_cost(SONNET, price.estimate_prompt(CALL), CALL.max_tokens)
SERIES = ("ccn_api_tokens_total", "ccn_api_cost_dollars_total")
AT_ONCE = RetryDelays((0.001,) * 4, (0.001,) * 5, (0.001,) * 3)


@dataclass
class Shop:
    """Everything a call needs, and a clock that is moved by hand."""

    database: settings.DatabaseSettings
    pool: Pool
    url: str
    faults: FaultRules
    payer: Payer
    now: datetime = datetime(2026, 1, 5, 12, tzinfo=UTC)
    limits: settings.LimitsSettings = field(default_factory=settings.LimitsSettings)

    @asynccontextmanager
    async def open(self, **limits: object) -> AsyncIterator[PaidModel]:
        """A node that pays; another one of the cluster each time."""
        told: dict[str, object] = {"base_url": self.url, "api_key": SecretStr("any"), **limits}
        claude = settings.ClaudeSettings.model_validate(told)
        async with pool.open(self.database, "node") as own, client.open_client(claude, AT_ONCE) as model:
            paying = PaidModel(model, own, claude, lambda: self.now, self.limits)
            yield paying
            await paying.await_settlements()

    async def user(self) -> UserId:
        named = UserId(ids.make_uuid7(1, secrets.token_bytes(10)))
        sql = "INSERT INTO users (id, name, tier) VALUES ($1, $2, 'user')"
        await self.pool.rows(sql, named, f"{named}")
        return named

    async def used(self) -> UsageTotal:
        assert self.payer.conversation is not None
        return await spend.load_of_conversation(self.pool, self.payer.conversation)


@pytest.fixture
async def shop(database: settings.DatabaseSettings) -> AsyncIterator[Shop]:
    """A conversation with Ada, and a stand-in."""
    writer = Writer(database, NodeId("node-1"), lambda: datetime(2026, 1, 5, 12, tzinfo=UTC))
    async with (
        pool.open(database, "test") as connections,
        server.run_stand_in() as api,
        asyncio.TaskGroup() as tasks,
    ):
        tasks.create_task(writer.run())
        await characters.import_plate(connections, writer, ADA, "Ada", "# Ada", "test")
        here = ConversationId(ids.make_uuid7(1, secrets.token_bytes(10)))
        await writer.submit(conversations.BeginConversation(here, ADA))
        yield Shop(database, connections, api.url, api.faults, Payer(here, ADA))
        writer.stop()


def dollars(microdollars: int) -> Decimal:
    return Decimal(microdollars) / price.DOLLAR


async def test_a_call_is_charged_for_what_it_used(shop: Shop) -> None:
    before = [_sum_series(series) for series in SERIES]
    async with shop.open(daily_budget_dollars=1) as paying:
        *_, reply = [piece async for piece in paying.stream(CALL, shop.payer)]
        await paying.await_settlements()
        assert isinstance(reply, Reply)
        cost = price.cost_of_usage(SONNET, reply.usage)
        assert await shop.used() == UsageTotal(1, reply.usage, cost)
        today = await paying.load_day()
        assert (today.limit, today.spent, today.held) == (1_000_000, cost, 0)
        assert (await paying.load_day(ADA)).spent == cost
        assert cost < MOST
    for series, then in zip(SERIES, before, strict=True):
        assert _sum_series(series) > then


def _sum_series(series: str) -> float:
    lines = metrics.series.render_page("")[0].decode().splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{series}{{"))


async def test_every_way_of_asking_is_paid_for(shop: Shop) -> None:
    async with shop.open() as paying:
        await ask_and_settle(paying, CALL, shop.payer)
        await paying.ask_structured(CALL, {"type": "object", "properties": {}}, shop.payer)
    assert (await shop.used()).calls == 2


async def test_a_call_that_might_not_fit_is_not_sent(shop: Shop) -> None:
    shop.faults.add_rule(FaultRule(match="tides", times=100))
    async with shop.open(daily_budget_dollars=dollars(MOST // 2)) as paying:
        with pytest.raises(errors.BudgetSpent, match="CCN_CLAUDE_DAILY_BUDGET_DOLLARS"):
            await ask_and_settle(paying, CALL, shop.payer)
        assert (await paying.load_day()).held == 0
    assert shop.faults.list_rules()[0]["times"] == 100
    assert (await shop.used()).calls == 0


async def test_a_character_has_a_budget_of_its_own(shop: Shop) -> None:
    async with shop.open(character_budget_dollars=dollars(MOST // 2)) as paying:
        with pytest.raises(errors.BudgetSpent, match="CCN_CLAUDE_CHARACTER_BUDGET_DOLLARS"):
            await ask_and_settle(paying, CALL, shop.payer)


async def test_before_a_call_is_refused_its_tokens_are_counted_exactly(shop: Shop) -> None:
    long = replace(CALL, messages=(CallMessage(Role.USER, "1, 2, 3; " * 500),))
    async with shop.open() as paying:
        exact = (await ask_and_settle(paying, long, shop.payer)).usage.input
    enough = price.bound_cost(SONNET, exact, long.max_tokens)
    assert enough < price.bound_cost(SONNET, price.estimate_prompt(long), long.max_tokens)
    shop.now += timedelta(days=1)
    async with shop.open(daily_budget_dollars=dollars(enough)) as paying:
        assert (await ask_and_settle(paying, long, shop.payer)).text


async def test_nodes_that_race_at_the_last_cent_spend_no_more_than_there_is(shop: Shop) -> None:
    limit = 3 * MOST + MOST // 2
    async with (
        shop.open(daily_budget_dollars=dollars(limit)) as one,
        shop.open(daily_budget_dollars=dollars(limit)) as two,
    ):
        asked = [ask_and_settle(paying, CALL, shop.payer) for paying in (one, two) for _ in range(10)]
        outcomes = await asyncio.gather(*asked, return_exceptions=True)
        today = await one.load_day()
    assert {type(each) for each in outcomes} == {Reply, errors.BudgetSpent}
    assert today.held == 0
    assert today.spent <= limit
    assert today.spent == (await shop.used()).microdollars


async def test_a_budget_survives_a_restart_and_begins_anew_at_midnight_of_its_zone(shop: Shop) -> None:
    limits = {"daily_budget_dollars": dollars(MOST), "time_zone": "Europe/Berlin"}
    async with shop.open(**limits) as paying:
        await ask_and_settle(paying, CALL, shop.payer)
    async with shop.open(**limits) as paying:
        with pytest.raises(errors.BudgetSpent):
            await ask_and_settle(paying, CALL, shop.payer)
        shop.now = datetime(2026, 1, 5, 23, 0, tzinfo=UTC)
        assert (await ask_and_settle(paying, CALL, shop.payer)).text


async def test_a_reader_who_leaves_pays_for_what_came(shop: Shop) -> None:
    shop.faults.add_rule(FaultRule(after=4, end="stall"))
    async with shop.open(daily_budget_dollars=1) as paying:
        async with aclosing(paying.stream(CALL, shop.payer)) as pieces:
            await anext(pieces)
        await paying.await_settlements()
        used = (await shop.used()).usage
        assert used.input > 0
        assert used.output > 0
        assert (await paying.load_day()).held == 0


async def test_a_call_that_is_cancelled_is_settled_all_the_same(shop: Shop) -> None:
    shop.faults.add_rule(FaultRule(after=4, end="stall"))
    seen = asyncio.Event()

    async def listen(paying: PaidModel) -> None:
        async for _ in paying.stream(CALL, shop.payer):
            seen.set()

    async with shop.open(daily_budget_dollars=1) as paying:
        listening = asyncio.create_task(listen(paying))
        await seen.wait()
        listening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await listening
        async with asyncio.timeout(60):
            while (await paying.load_day()).held:
                await asyncio.sleep(0.01)
    assert (await shop.used()).usage.output > 0


async def test_a_stream_that_breaks_is_paid_for_twice_and_held_for_twice(shop: Shop) -> None:
    shop.faults.add_rule(FaultRule(times=1, after=4, end="cut"))
    async with shop.open(daily_budget_dollars=1) as paying:
        pieces = [piece async for piece in paying.stream(CALL, shop.payer)]
    assert [type(piece) for piece in pieces].count(CallRestart) == 1
    reply = pieces[-1]
    assert isinstance(reply, Reply)
    used = (await shop.used()).usage
    assert used.input == 2 * reply.usage.input
    assert used.output > reply.usage.output


async def test_a_stream_that_breaks_is_not_made_again_when_that_would_not_fit(shop: Shop) -> None:
    shop.faults.add_rule(FaultRule(times=1, after=4, end="cut"))
    async with shop.open(daily_budget_dollars=dollars(MOST)) as paying:
        with pytest.raises(errors.BudgetSpent):
            await ask_and_settle(paying, CALL, shop.payer)
        assert 0 < (await paying.load_day()).spent <= MOST


async def test_a_refused_call_costs_nothing(shop: Shop) -> None:
    shop.faults.add_rule(FaultRule(status=400))
    async with shop.open(daily_budget_dollars=1) as paying:
        with pytest.raises(errors.ModelRefused):
            await ask_and_settle(paying, CALL, shop.payer)
        today = await paying.load_day()
    assert (today.spent, today.held) == (0, 0)
    assert await shop.used() == UsageTotal(0, TokenUsage(), 0)


async def test_a_call_is_made_with_what_was_put_aside_for_it(shop: Shop) -> None:
    async with shop.open(daily_budget_dollars=dollars(MOST)) as paying:
        payer = paying.reserve(CALL, shop.payer)
        async with asyncio.timeout(10):
            while (await paying.load_day()).held != MOST:
                await asyncio.sleep(0.005)
        with pytest.raises(errors.BudgetSpent):
            await ask_and_settle(paying, CALL, shop.payer)
        assert (await ask_and_settle(paying, CALL, payer)).text, "it fits, because its part is held already"
        today = await paying.load_day()
    assert (today.held, today.spent) == (0, (await shop.used()).microdollars)
    assert await shop.pool.value("SELECT count(*) FROM spend_reservations WHERE status = 'settled'") == 1


@pytest.mark.parametrize("part", [0.5, 2.0], ids=["too little", "too much"])
async def test_what_was_put_aside_by_size_is_made_up_for_when_the_call_is_known(
    shop: Shop, part: float
) -> None:
    size = price.measure_call(CALL)
    about = replace(size, prompt=int(size.prompt * part), reply=int(size.reply * part))
    seen = list[int]()
    async with shop.open(daily_budget_dollars=1) as paying:
        payer = paying.reserve(about, shop.payer)
        async with aclosing(paying.stream(CALL, payer)) as pieces:
            async for _ in pieces:
                seen.append((await paying.load_day()).held)
        assert (await paying.load_day()).held == 0
    assert seen[0] == max(MOST, price.bound_cost(SONNET, about.prompt, about.reply))
    assert (await shop.used()).calls == 1


@pytest.mark.parametrize("after_s", [0.0, 0.1], ids=["at once", "when it is held"])
async def test_what_was_put_aside_for_a_call_that_is_not_made_is_given_back(
    shop: Shop, after_s: float
) -> None:
    async with shop.open(daily_budget_dollars=1) as paying:
        payers = [paying.reserve(CALL, shop.payer) for _ in range(3)]
        await asyncio.sleep(after_s)
        for each in payers:
            paying.release(each)
        await ask_and_settle(paying, CALL, shop.payer)
        async with asyncio.timeout(10):
            while (await paying.load_day()).held:
                await asyncio.sleep(0.005)
    assert (await shop.used()).calls == 1


async def test_what_cannot_be_put_aside_is_asked_for_once_more_and_counted_exactly(shop: Shop) -> None:
    long = replace(CALL, messages=(CallMessage(Role.USER, "1, 2, 3; " * 500),))
    async with shop.open() as paying:
        exact = (await ask_and_settle(paying, long, shop.payer)).usage.input
    shop.now += timedelta(days=1)
    enough = price.bound_cost(SONNET, exact, long.max_tokens)
    async with shop.open(daily_budget_dollars=dollars(enough)) as paying:
        assert (await ask_and_settle(paying, long, paying.reserve(long, shop.payer))).text
        with pytest.raises(errors.BudgetSpent):
            await ask_and_settle(paying, long, paying.reserve(long, shop.payer))
        assert (await paying.load_day()).held == 0


async def test_a_model_without_a_price_is_not_asked(shop: Shop) -> None:
    async with shop.open() as paying:
        with pytest.raises(errors.ModelRefused, match="CCN_CLAUDE_PRICES"):
            await ask_and_settle(paying, replace(CALL, model="claude-unheard-of"), shop.payer)


async def test_what_a_dead_node_held_is_counted_by_the_errands_of_the_house(shop: Shop) -> None:
    async with shop.open() as paying:
        wanted = paying._describe_reservation(CALL.model, shop.payer)
        await reservations.reserve_amount(shop.pool, wanted, 60)
        assert await errands.expire_reservations(shop.pool, shop.now + timedelta(hours=1)) == 0
        assert await errands.expire_reservations(shop.pool, shop.now + timedelta(hours=5)) == 1
        assert (await paying.load_day()).spent == 60


async def test_a_user_has_no_more_calls_under_way_than_allowed_and_nobody_else_waits(shop: Shop) -> None:
    shop.limits = settings.LimitsSettings(calls_at_once=2)
    ada, eve = await shop.user(), await shop.user()
    shop.faults.add_rule(FaultRule(match="tides", times=2, after=3, end="stall"))
    turn, stateless = replace(shop.payer, owner=ada), Payer(None, ADA, ada)
    async with shop.open(timeout_s=60) as paying, asyncio.TaskGroup() as tasks:
        stalled = [tasks.create_task(ask_and_settle(paying, CALL, stateless)) for _ in range(2)]
        while shop.faults.list_rules():
            await asyncio.sleep(0.01)
        waiting = [
            tasks.create_task(ask_and_settle(paying, CALL, who)) for who in (turn, stateless, turn, turn)
        ]
        await asyncio.sleep(0)
        with pytest.raises(errors.TooManyCalls, match=r"2 of your calls .*CCN_LIMITS_CALLS_AT_ONCE"):
            await ask_and_settle(paying, CALL, stateless)
        assert (await ask_and_settle(paying, CALL, Payer(None, ADA, eve))).text
        assert not any(each.done() for each in waiting), "what was accepted waits, however many there are"
        for each in stalled:
            each.cancel()
        assert all([(await each).text for each in waiting])


async def test_a_call_takes_a_place_until_it_is_answered_and_not_until_its_stream_is_closed(
    shop: Shop,
) -> None:
    """An interview keeps its first stream open while the other questions are asked."""
    shop.limits = settings.LimitsSettings(calls_at_once=1)
    who = replace(shop.payer, owner=await shop.user())
    async with shop.open() as paying, aclosing(paying.stream(CALL, who)) as first:
        async for piece in first:
            if isinstance(piece, Reply):
                assert (await ask_and_settle(paying, CALL, who)).text


async def test_a_user_spends_no_more_in_a_day_than_allowed_wherever_and_after_whatever_restart(
    shop: Shop,
) -> None:
    shop.limits = settings.LimitsSettings(daily_dollars=dollars(2 * MOST))
    ada, eve = await shop.user(), await shop.user()
    mine = Payer(None, ADA, ada)
    for _ in range(2):
        async with shop.open(time_zone="Europe/Berlin") as paying:
            outcomes = await asyncio.gather(
                *(ask_and_settle(paying, CALL, mine) for _ in range(5)), return_exceptions=True
            )
            assert (await spend.load_of_owner(shop.pool, ada, shop.now.date())).microdollars <= 2 * MOST
            failed = [each for each in outcomes if isinstance(each, BaseException)]
            assert {type(each) for each in failed} == {errors.AllowanceSpent}
            assert (await ask_and_settle(paying, CALL, Payer(None, ADA, eve))).text, (
                "nobody else is concerned"
            )
            spent = failed[0]
            assert isinstance(spent, errors.AllowanceSpent)
            assert "CCN_LIMITS_DAILY_DOLLARS" in str(spent)
            assert "anew at 2026-01-06 00:00 Europe/Berlin" in str(spent)
            assert spent.retry_after_s == 11 * 3600
    shop.now += timedelta(hours=11)
    async with shop.open(time_zone="Europe/Berlin") as paying:
        assert (await ask_and_settle(paying, CALL, mine)).text


async def test_who_was_refused_a_moment_ago_is_refused_at_once(shop: Shop) -> None:
    ada, eve = await shop.user(), await shop.user()
    shop.limits = settings.LimitsSettings(daily_dollars=dollars(MOST // 2))
    async with shop.open() as paying:
        paying.check_allowance(ada)
        with pytest.raises(errors.AllowanceSpent):
            await ask_and_settle(paying, CALL, Payer(None, ADA, ada))
        with pytest.raises(errors.AllowanceSpent, match="anew at 2026-01-06 00:00 UTC"):
            paying.check_allowance(ada)
        paying.check_allowance(eve)
        paying.check_allowance(None)


async def test_whether_an_interview_can_be_paid_for_is_found_out_before_it_begins(shop: Shop) -> None:
    ada, eve = await shop.user(), await shop.user()
    mine, theirs = Payer(None, ADA, ada), Payer(None, ADA, eve)
    half_spent = spend.Reservation(uuid4(), shop.now.date(), shop.now, ADA, None, "model-1", owner=ada)
    await reservations.reserve_amount(shop.pool, half_spent, 6 * price.DOLLAR)
    async with shop.open() as paying:
        assert await paying.is_short(mine)
        assert not await paying.is_short(theirs)
    async with shop.open(daily_budget_dollars=10) as paying:
        assert await paying.is_short(theirs), "what all may spend is short for everybody"
    shop.limits = settings.LimitsSettings(daily_dollars=dollars(2 * MOST))
    async with shop.open() as paying:
        fits = paying.reserve(CALL, theirs)
        await paying.await_reservations([fits])
        more = [paying.reserve(CALL, theirs) for _ in range(2)]
        with pytest.raises(errors.AllowanceSpent, match="anew at"):
            await paying.await_reservations(more)
        with pytest.raises(errors.AllowanceSpent):
            paying.check_allowance(eve)
        for each in (fits, *more):
            paying.release(each)


async def test_a_node_says_once_which_setting_bounds_what_all_spend(shop: Shop) -> None:
    for given, said in (
        ({}, [settings.BUDGET]),
        ({"daily_budget_dollars": 5}, []),
        ({"stand_in": True}, []),
    ):
        with capture_logs() as logged:
            async with shop.open(**given) as paying:
                await ask_and_settle(paying, CALL, shop.payer)
        assert [each["unset"] for each in logged if each["log_level"] == "warning"] == said
