"""`ccn spend` as an operator types it: sums by day, character and conversation, and what is left."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime, timedelta
from uuid import UUID, uuid4

from ccn import settings
from ccn.core.calls.call import TokenUsage
from ccn.core.ids import CharacterId, ConversationId, NodeId, UserId
from ccn.store.accounts import users
from ccn.store.accounts.users import Tier
from ccn.store.connection import pool
from ccn.store.conversations import characters, conversations
from ccn.store.spending import spend
from tests.cli.conftest import writing
from tests.support.cli import commands
from tests.support.store import reservations

ADA, BOB = CharacterId("ada"), CharacterId("bob")
HERE, THERE = (ConversationId(UUID(int=number)) for number in (1, 2))


async def _spent(database: settings.DatabaseSettings, today: date) -> None:
    """Three calls of two characters on two days, and one that is under way."""
    calls = [(ADA, HERE, today - timedelta(days=1), 100), (ADA, HERE, today, 20), (BOB, THERE, today, 7)]
    async with pool.open(database, "test") as connections, writing(database, NodeId("node-1")) as writer:
        for character, here in ((ADA, HERE), (BOB, THERE)):
            await characters.import_plate(connections, writer, character, character, f"# {character}", "t")
            await writer.submit(conversations.BeginConversation(here, character))
        eve = UserId(uuid4())
        await users.add_user(connections, eve, "eve", Tier.USER, None)
        for character, here, day, cost in calls:
            owner = eve if character == BOB else None
            at = datetime.now(UTC)
            wanted = spend.Reservation(uuid4(), day, at, character, here, "model-1", owner=owner)
            await reservations.reserve_amount(connections, wanted, cost)
            assert await reservations.settle_reservation(
                connections, wanted.id, TokenUsage(10, 5, 100, 20), cost
            )
        await reservations.reserve_amount(
            connections, spend.Reservation(uuid4(), today, datetime.now(UTC), ADA, HERE, "model-1"), 3
        )


def _told(database: settings.DatabaseSettings, *options: str) -> str:
    url = database.url.get_secret_value()
    own = {"CCN_DATABASE_URL": url, "CCN_CLAUDE_DAILY_BUDGET_DOLLARS": "0.0001", "COLUMNS": "200"}
    done = commands.run("spend", *options, env=settings.child_environment(own))
    assert done.returncode == 0, done.stderr
    return done.stdout


async def test_spend_is_summed_by_day_character_and_conversation(
    database: settings.DatabaseSettings,
) -> None:
    today = datetime.now(UTC).date()
    await _spent(database, today)
    *lines, left = map(json.loads, (_told(database, "--json")).splitlines())
    summed = [(each["day"], each["character"], each["microdollars"]) for each in lines]
    yesterday = f"{today - timedelta(days=1)}"
    assert summed == [(f"{today}", "ada", 20), (f"{today}", "bob", 7), (yesterday, "ada", 100)]
    assert left == {"today": {"limit": 100, "spent": 27, "held": 3, "left": 70}}
    *lines, _ = map(json.loads, (_told(database, "--json", "--day", f"{today}")).splitlines())
    assert [each["conversation"] for each in lines] == [str(HERE), str(THERE)]
    *lines, _ = map(json.loads, (_told(database, "--json", "--conversation", str(HERE))).splitlines())
    assert [each["microdollars"] for each in lines] == [20, 100]
    assert f"  {HERE}  " in _told(database, "--conversation", str(HERE)), "however narrow a terminal is"
    people = _told(database, "--character", "ada")
    assert "bob" not in people
    assert "$0.0001" in people
    assert "no limit is set here" in people
    *lines, _ = map(json.loads, (_told(database, "--json", "--by-user")).splitlines())
    assert [(each["character"], each["user"]) for each in lines] == [
        ("ada", None),
        ("bob", "eve"),
        ("ada", None),
    ]
    *lines, left = map(json.loads, (_told(database, "--json", "--user", "eve")).splitlines())
    assert [(each["user"], each["microdollars"]) for each in lines] == [("eve", 7)]
    assert left == {"today": {"limit": 10_000_000, "spent": 7, "held": 0, "left": 9_999_993}}
    people = _told(database, "--by-user")
    assert "nobody" in people
    assert "eve" in people
