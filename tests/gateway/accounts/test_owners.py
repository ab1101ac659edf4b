"""Whose a conversation is: remembered by a node, and never to be changed."""

from __future__ import annotations

from dataclasses import replace

import asyncpg
import pytest

from ccn import errors
from ccn.core.ids import ConversationId
from ccn.gateway.accounts import access, credentials
from ccn.gateway.accounts.access import ANYBODY, Caller, ConversationAccess
from ccn.gateway.deeds import house
from ccn.gateway.deeds.house import HouseRequests
from ccn.store.accounts.users import Tier, User
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations
from tests.support.gateway.accounts_door import Door, bearer

pytestmark = pytest.mark.asyncio(loop_scope="module")


class Counting(Pool):
    """A pool that counts statements."""

    def __init__(self, pool: Pool) -> None:
        self._pool, self.asked = pool, 0

    async def row(self, sql: str, *values: object) -> asyncpg.Record | None:
        self.asked += 1
        return await self._pool.row(sql, *values)

    async def rows(self, sql: str, *values: object) -> list[asyncpg.Record]:
        return await self._pool.rows(sql, *values)


def caller(user: User) -> Caller:
    return Caller(user.tier, user.id, user.name)


async def test_an_owner_is_asked_for_once_and_everybody_else_sees_nothing(door: Door) -> None:
    ada, eve, operator = await door.user(), await door.user(), await door.user(Tier.ADMIN)
    here, counting = await door.conversation(ada), Counting(door.pool)
    owners = ConversationAccess(counting, HouseRequests(counting))
    why = replace(caller(operator), reason="asked by its owner")
    for _ in range(3):
        assert await owners.open_id_to_read(caller(ada), here) == here
        assert await owners.open_id_to_read(why, here) == here
        with pytest.raises(errors.ReasonRequired):
            await owners.open_id_to_read(caller(operator), here)
        with pytest.raises(errors.NotFound, match=access.NO_SUCH):
            await owners.open_id_to_read(caller(eve), here)
        with pytest.raises(errors.Unauthenticated):
            await owners.open_id_to_read(ANYBODY, here)
    assert counting.asked == 1


async def test_what_is_nowhere_or_somebody_else_s_is_not_remembered(door: Door) -> None:
    ada, eve = await door.user(), await door.user()
    here, nowhere = await door.conversation(ada), ConversationId(credentials.new_id())
    owners, _ = house.open_house(door.pool)
    for named in (here, nowhere):
        with pytest.raises(errors.NotFound, match=access.NO_SUCH):
            await owners.open_id_to_read(caller(eve), named)
    await door.writer.submit(
        conversations.BeginConversation(nowhere, (await _of(door, here)).character, eve.id)
    )
    assert await owners.open_id_to_read(caller(eve), nowhere) == nowhere
    assert await owners.open_id_to_read(caller(ada), here) == here


async def test_no_more_are_remembered_than_may_be(door: Door) -> None:
    ada, counting = await door.user(), Counting(door.pool)
    owners = ConversationAccess(counting, HouseRequests(counting), limit=2)
    three = [await door.conversation(ada) for _ in range(3)]
    for here in (*three, *three):
        await owners.open_id_to_read(caller(ada), here)
    assert counting.asked == 6


@pytest.mark.parametrize(
    ("change", "refused"),
    [
        ("owner_id = NULL", "not allowed"),
        ("created_at = now()", "not allowed"),
        ("id = gen_random_uuid()", "violates foreign key"),
    ],
)
async def test_the_database_lets_nobody_change_whose_a_conversation_is(
    door: Door, change: str, refused: str
) -> None:
    here = await door.conversation(await door.user())
    with pytest.raises(errors.CCNError, match=refused):
        await door.pool.rows(f"UPDATE conversations SET {change} WHERE id = $1", here)


async def test_state_and_history_are_the_owner_s_alone_at_the_first_and_the_second_request(
    door: Door,
) -> None:
    ada, eve = await door.user(), await door.user()
    here = await door.conversation(ada)
    shown = {each.id: bearer(await door.key(each)) for each in (ada, eve)}
    for path in (f"/api/v1/conversation/{here}", f"/api/v1/conversation/{here}/messages"):
        for _ in range(2):
            for user, status in ((eve, 404), (ada, 200)):
                answer = await door.client.get(path, headers=shown[user.id])
                assert answer.status_code == status


async def _of(door: Door, here: ConversationId) -> conversations.StoredConversation:
    return await conversations.load_conversation(door.pool, here)
