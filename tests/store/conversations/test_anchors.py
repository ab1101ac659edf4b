"""Whoever hosts a conversation next builds its prompt on the same anchor, and nobody else sets it."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.core.axes import Vector
from ccn.core.ids import ConversationId
from ccn.core.message import Role
from ccn.core.prompts.anchor import Anchor, MeasuredStates, RecalledConversation, ShownState, StateSource
from ccn.store.character import vectors
from ccn.store.conversations import anchors, instances
from ccn.store.conversations.anchors import KeepAnchor
from ccn.store.conversations.conversations import AppendMessage
from tests.support.speakers import ANN

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from ccn.store.writing.writer import Writer
    from tests.support.store.open_store import Store

CHARACTER = Vector((800_001, None, *(500_000,) * 14))
RELATIONAL = Vector((700_000, None, *(1,) * 5))


async def test_an_anchor_is_read_as_it_was_kept(shared: Store) -> None:
    here = await shared.conversation()
    assert await anchors.load_anchor(shared.pool, here) is None
    memories = tuple(RecalledConversation(shared.new_id(), upto) for upto in range(1, 21))
    begun = ShownState(0, CHARACTER, RELATIONAL, source=StateSource.EARLIER)
    states = (begun, ShownState(7, None, RELATIONAL, reminder=True))
    first = Anchor(1, states, memories, kept_from=3)
    await shared.writer.submit(KeepAnchor(here, first))
    assert await anchors.load_anchor(shared.pool, here) == first
    second = replace(first, version=2, kept_from=9)
    await shared.writer.submit(KeepAnchor(here, second))
    assert await anchors.load_anchor(shared.pool, here) == second


async def test_an_anchor_is_read_together_with_how_its_conversation_measures_now(store: Store) -> None:
    here = await store.conversation()
    assert await anchors.anchor_and_state(store.pool, here) == (None, MeasuredStates())
    await store.writer.submit(KeepAnchor(here, Anchor(1)))
    await store.writer.submit(AppendMessage(here, Role.USER, "hello", ANN))
    for value in (CHARACTER, Vector((1,) * 16)):
        await store.writer.submit(vectors.RecordScore(here, 1, value, "tier-0/v1"))
        await store.writer.submit(vectors.RecordRelation(here, 1, RELATIONAL))
        assert await anchors.anchor_and_state(store.pool, here) == (
            Anchor(1),
            MeasuredStates(value, RELATIONAL),
        )
        store.clock.forward(minutes=1)


async def test_a_host_that_was_replaced_sets_no_anchor(
    shared: Store, start_writer: Callable[..., AbstractAsyncContextManager[Writer]]
) -> None:
    here = await shared.conversation()
    instance = await shared.host(here)
    await shared.writer.submit(KeepAnchor(here, Anchor(1), instance.epoch))
    async with start_writer(shared.database, shared.clock, "node-2") as other:
        await other.submit(instances.AdoptInstance(instance, "its host is silent"))
        with pytest.raises(errors.Conflict):
            await shared.writer.submit(KeepAnchor(here, Anchor(1, version=2), instance.epoch))
        await other.submit(KeepAnchor(here, Anchor(1, version=2), instance.epoch + 1))
    kept = await anchors.load_anchor(shared.pool, here)
    assert kept is not None
    assert kept.version == 2


async def test_of_two_that_set_the_same_version_one_is_refused(shared: Store) -> None:
    here = await shared.conversation()
    await shared.writer.submit(KeepAnchor(here, Anchor(1)))
    tries = [KeepAnchor(here, Anchor(1, version=2, kept_from=place)) for place in (2, 3)]
    ends = await asyncio.gather(*map(shared.writer.submit, tries), return_exceptions=True)
    assert sorted(isinstance(end, errors.CCNError) for end in ends) == [False, True]


@pytest.mark.parametrize(
    "wrong",
    [Anchor(1, version=3), Anchor(1, version=2, kept_from=4), Anchor(0, version=2)],
    ids=["a gap", "history that comes back", "no plate"],
)
async def test_versions_follow_each_other(shared: Store, wrong: Anchor) -> None:
    here = await shared.conversation()
    await shared.writer.submit(KeepAnchor(here, Anchor(1, kept_from=5)))
    with pytest.raises(errors.CCNError):
        await shared.writer.submit(KeepAnchor(here, wrong))
    kept = await anchors.load_anchor(shared.pool, here)
    assert kept == Anchor(1, kept_from=5)


async def test_no_anchor_is_set_for_a_conversation_that_is_not_there(shared: Store) -> None:
    with pytest.raises(errors.NotFound):
        await shared.writer.submit(KeepAnchor(ConversationId(shared.new_id()), Anchor(1)))


@pytest.mark.parametrize("sql", ["UPDATE prompt_anchors SET kept_from = 1", "DELETE FROM prompt_anchors"])
async def test_what_was_shown_is_history(shared: Store, sql: str) -> None:
    await shared.writer.submit(KeepAnchor(await shared.conversation(), Anchor(1)))
    with pytest.raises(errors.StoreBroken, match="history"):
        await shared.pool.rows(sql)
