"""A summary is what the modules of its topics load one by one, read in one statement."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.store.character import measures
from ccn.store.character.measures import ConversationMeasure
from ccn.store.conversations import conversations, instances, summaries, turns

if TYPE_CHECKING:
    from tests.support.store.open_store import Store


async def test_each_part_is_what_its_own_module_loads(shared: Store) -> None:
    conversation = await shared.conversation(await shared.user(), "Tea at four")
    instance = await shared.host(conversation)
    await shared.turn(instance, "Are you there?")
    await shared.turn(instance, "And now?", started=False)
    older = ConversationMeasure(conversation, shared.clock.now, 1, phi=0.1)
    newer = ConversationMeasure(conversation, shared.clock.now, 2, 0.25, 0.5, 0.75, -0.5, 0.125)
    await measures.keep_measures(shared.pool, [older, newer])
    summary = await summaries.load_summary(shared.pool, conversation)
    assert summary.conversation == await conversations.load_conversation(shared.pool, conversation)
    assert summary.instance == await instances.load_instance(shared.pool, instance.id)
    assert list(summary.unfinished) == await turns.list_unfinished(shared.pool, conversation)
    assert [turn.user_seq for turn in summary.unfinished] == [1, 2]
    assert summary.measure == newer


async def test_a_conversation_in_which_nothing_happened_has_no_parts(shared: Store) -> None:
    conversation = await shared.conversation()
    summary = await summaries.load_summary(shared.pool, conversation)
    assert summary.conversation == await conversations.load_conversation(shared.pool, conversation)
    assert (summary.instance, summary.unfinished, summary.measure) == (None, (), None)


async def test_there_is_no_summary_of_a_conversation_that_never_was(shared: Store) -> None:
    with pytest.raises(errors.NotFound, match="no such conversation"):
        await summaries.load_summary(shared.pool, shared.new_id())
