"""How far back a search goes: of what is everywhere the newest is ranked, the rare is found however old."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest_asyncio

from ccn import settings
from ccn.core.ids import ConversationId
from ccn.store.conversations import search

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

MANY = 12_000
"""More documents than a search looks at first."""


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def talk(shared_database: settings.DatabaseSettings) -> ConversationId:
    """One conversation: every message speaks of the tide, some of a gull, the first of a wreck."""
    direct = await asyncpg.connect(shared_database.url.get_secret_value())
    try:
        async with direct.transaction():
            # past the triggers, which have tests of their own
            await direct.execute("SET LOCAL session_replication_role = replica")
            await direct.execute(_PEOPLE)
            conversation: ConversationId = await direct.fetchval(_CONVERSATION)
            await direct.execute(_TALK, conversation, MANY)
            await direct.execute(_DOCUMENTS)
        await direct.execute("ANALYZE message_documents")
    finally:
        await direct.close()
    return conversation


async def test_of_a_word_that_is_everywhere_the_newest_matches_are_ranked(
    shared: Store, talk: ConversationId
) -> None:
    found = await search.find_messages(shared.pool, "tides")
    assert len(found) == 20
    assert not found.complete
    assert min(hit.seq for hit in found) > MANY - 10_000


async def test_a_rare_word_is_found_however_old_it_is(shared: Store, talk: ConversationId) -> None:
    found = await search.find_messages(shared.pool, "wrecks")
    assert [hit.seq for hit in found] == [1]
    assert found.complete


async def test_a_word_that_is_said_now_and_then_is_looked_for_everywhere(
    shared: Store, talk: ConversationId
) -> None:
    found = await search.find_messages(shared.pool, "gulls", limit=100)
    assert len(found) == 100
    assert found.complete


async def test_two_words_are_found_together_though_one_of_them_is_everywhere(
    shared: Store, talk: ConversationId
) -> None:
    found = await search.find_messages(shared.pool, "wreck tide")
    assert [hit.seq for hit in found] == [1]
    assert found.complete


async def test_within_one_conversation_everything_is_looked_at(shared: Store, talk: ConversationId) -> None:
    found = await search.find_messages(shared.pool, "tides", conversation=talk)
    assert len(found) == 20
    assert found.complete
    assert {hit.conversation for hit in found} == {talk}


async def test_nobody_finds_what_is_in_the_conversations_of_others(
    shared: Store, talk: ConversationId
) -> None:
    stranger = await shared.user()
    assert await search.find_messages(shared.pool, "tides", owner=stranger) == []


async def test_words_that_are_left_out_need_no_others(shared: Store, talk: ConversationId) -> None:
    found = await search.find_messages(shared.pool, "-tides", conversation=talk)
    assert found == []


_PEOPLE = """
    INSERT INTO characters VALUES ('talker', 'Talker');
    INSERT INTO conversations (id, character_id, created_at, changed_at)
    VALUES (gen_random_uuid(), 'talker', now(), now());
    INSERT INTO leaf_sources VALUES ('talking', 0);
    INSERT INTO document_languages VALUES ('english') ON CONFLICT DO NOTHING;
"""
_CONVERSATION = "SELECT id FROM conversations WHERE character_id = 'talker'"
_TALK = """
    INSERT INTO messages
        (conversation_id, seq, role, content, salt, speaker, language, created_at, leaf_node, leaf_number)
    SELECT $1, seq, 'user', 'The tide turned ' || seq || CASE WHEN seq = 1 THEN ' over a wreck' ELSE '' END
               || CASE WHEN seq % 100 = 0 THEN ' under a gull' ELSE '' END,
           sha256('salt'), 'account:' || gen_random_uuid(), 'english', now(), 'talking', seq
    FROM generate_series(1, $2::bigint) AS seq
"""
_DOCUMENTS = """
    INSERT INTO message_documents (conversation_id, seq, language, document)
    SELECT conversation_id, seq, language, ccn_document(language, content)
    FROM messages WHERE leaf_node = 'talking' ORDER BY seq
"""
