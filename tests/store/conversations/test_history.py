"""Reading a conversation page by page, and the lists of conversations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.core.ids import ConversationId
from ccn.store.conversations import conversations

if TYPE_CHECKING:
    from tests.support.store.open_store import Store


async def test_pages_backwards_show_everything_once_in_order(shared: Store) -> None:
    here = await shared.conversation()
    await shared.say(here, *[f"{n}" for n in range(1, 24)])
    seen: list[int] = []
    before, pages = None, 0
    while True:
        page = await conversations.load_history(shared.pool, here, before=before, limit=5)
        seen = [each.seq for each in page.messages] + seen
        before, pages = page.before, pages + 1
        if before is None:
            break
    assert seen == list(range(1, 24))
    assert pages == 5


async def test_a_first_page_that_ends_at_the_beginning_says_so(shared: Store) -> None:
    here = await shared.conversation()
    assert await conversations.load_history(shared.pool, here) == conversations.MessagePage((), None)
    await shared.say(here, "a", "b", "c")
    assert (await conversations.load_history(shared.pool, here, limit=3)).before is None
    assert (await conversations.load_history(shared.pool, here, limit=2)).before == 2


async def test_a_reader_follows_along(shared: Store) -> None:
    here = await shared.conversation()
    await shared.say(here, "a", "b", "c", "d")
    assert [each.content for each in await conversations.load_after(shared.pool, here, 1, limit=2)] == [
        "b",
        "c",
    ]
    assert await conversations.load_after(shared.pool, here, 4) == []


@pytest.mark.parametrize("limit", [0, -1, conversations.PAGE_LIMIT + 1])
async def test_a_page_has_a_sensible_size(shared: Store, limit: int) -> None:
    with pytest.raises(errors.InputInvalid):
        await conversations.load_history(shared.pool, shared.new_id(), limit=limit)


async def test_an_owner_sees_only_its_own_newest_first(shared: Store) -> None:
    owner, other = await shared.user(), await shared.user()
    mine: list[ConversationId] = []
    for _ in range(5):
        shared.clock.forward(seconds=1)
        mine.insert(0, await shared.conversation(owner))
        await shared.conversation(other)
    assert [each.id for each in await conversations.list_of_owner(shared.pool, owner)] == mine
    page = await conversations.list_of_owner(shared.pool, owner, limit=2)
    assert [each.id for each in page] == mine[:2]
    rest = await conversations.list_of_owner(shared.pool, owner, before=page[-1].id)
    assert [each.id for each in rest] == mine[2:]
    with pytest.raises(errors.NotFound):
        await conversations.load_conversation(shared.pool, shared.new_id())
