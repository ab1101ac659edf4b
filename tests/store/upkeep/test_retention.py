"""What is redacted is gone with everything made from it, and the record still proves what it was."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from ccn import errors
from ccn.core.axes import Vector
from ccn.core.ids import TurnId
from ccn.core.ledger import commitment
from ccn.core.message import Role
from ccn.core.prompts.anchor import Anchor, RecalledConversation
from ccn.core.turn import TurnStatus
from ccn.store.character import measures, vectors
from ccn.store.conversations import conversations, search, turns
from ccn.store.conversations.anchors import KeepAnchor
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.schema import schema_files
from ccn.store.upkeep import retention
from ccn.store.upkeep.retention import RedactMessages
from tests.support.speakers import ANN, WREN
from tests.support.store import histories

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractAsyncContextManager

    from ccn.core.ids import ConversationId
    from ccn.store.writing.writer import Writer
    from tests.support.store.open_store import Store

    Another = Callable[..., AbstractAsyncContextManager[Writer]]

SECRET = "qwxrtz"


async def _everything(store: Store) -> str:
    """All that the database holds, as text."""
    tables = await store.pool.rows(
        "SELECT quote_ident(relname) AS name FROM pg_class JOIN pg_namespace n ON n.oid = relnamespace"
        " WHERE nspname = 'public' AND relkind IN ('r', 'p')"
    )
    return "\n".join([
        await store.pool.value(f"SELECT coalesce(string_agg(t::text, E'\\n'), '') FROM {row['name']} t")
        for row in tables
    ])  # fmt: skip


async def test_redacted_words_are_nowhere_in_the_database_any_more(store: Store) -> None:
    here = await store.conversation(title=f"About the {SECRET}")
    hosted = await store.host(here)
    done = await store.turn(hosted, f"I have a {SECRET}.")
    failed = await store.turn(hosted, f"Do you like my {SECRET}?", started=False)
    await store.writer.submit(
        turns.CommitReply(
            done, 1, f"Play the {SECRET}!", WREN, [turns.TurnEvent(1, "delta", f"Play the {SECRET}!")]
        )
    )
    await store.writer.submit(turns.StartTurn(failed, 1))
    stopped = turns.EndTurn(
        failed, 1, TurnStatus.FAILED, "overloaded", [turns.TurnEvent(1, "delta", f"Your {SECRET}")]
    )
    await store.writer.submit(stopped)
    await search.index_messages(store.pool)
    assert (await _everything(store)).count(SECRET) >= 9
    salts = [row["salt"] for row in await store.pool.rows("SELECT salt FROM messages")]
    await store.writer.submit(RedactMessages(here, 1, 3, "admin", "asked by its owner"))
    left = await _everything(store)
    assert SECRET not in left
    assert not [salt for salt in salts if salt.hex() in left]
    assert await search.find_messages(store.pool, SECRET) == []


async def test_a_redaction_reaches_what_was_said_at_another_node_meanwhile(
    shared: Store, start_writer: Another
) -> None:
    here = await shared.conversation()

    def say(words: str) -> AppendMessage:
        return AppendMessage(here, Role.USER, words, ANN)

    await shared.writer.submit(say("One."))  # this writer remembers the head from here on
    async with start_writer(shared.database, shared.clock, "node-2") as other:
        await other.submit(say("Two."))
    assert await shared.writer.submit(RedactMessages(here, 1, 9, "admin", "asked")) == 2
    history = await conversations.load_history(shared.pool, here)
    assert [message.content for message in history.messages] == [None, None]


async def test_a_kept_copy_still_verifies_against_the_leaf(shared: Store) -> None:
    here = await shared.conversation()
    await shared.say(here, "kept elsewhere", "stays")
    kept = await shared.pool.row("SELECT * FROM messages WHERE conversation_id = $1 AND seq = 1", here)
    assert kept is not None
    await shared.writer.submit(RedactMessages(here, 1, 1, "admin", "asked"))
    messages = (await conversations.load_history(shared.pool, here)).messages
    assert [each.content for each in messages] == [None, "stays"]
    assert messages[0].at == kept["created_at"]
    body = await shared.pool.value(
        "SELECT body FROM leaves WHERE node_id = $1 AND number = $2", kept["leaf_node"], kept["leaf_number"]
    )
    committed = json.loads(body)["content"]
    assert committed == commitment.commit_content(kept["salt"], kept["content"]).hex()
    told = await shared.pool.value(
        "SELECT body FROM redactions r JOIN leaves l ON l.node_id = leaf_node AND l.number = leaf_number"
        " WHERE r.conversation_id = $1",
        here,
    )
    assert {"by": "admin", "first": 1, "last": 1, "reason": "asked"}.items() <= json.loads(told).items()


@pytest.mark.parametrize(
    ("first", "last", "by", "reason"),
    [(0, 1, "a", "b"), (2, 1, "a", "b"), (1, 1, " ", "b"), (1, 1, "a", "")],
)
async def test_a_redaction_says_what_by_whom_and_why(
    shared: Store, first: int, last: int, by: str, reason: str
) -> None:
    here = await shared.conversation()
    await shared.say(here, "words")
    with pytest.raises(errors.InputInvalid):
        await shared.writer.submit(RedactMessages(here, first, last, by, reason))


async def test_a_redaction_of_a_conversation_that_is_not_there_is_refused(shared: Store) -> None:
    with pytest.raises(errors.NotFound):
        await shared.writer.submit(RedactMessages(shared.new_id(), 1, 1, "admin", "asked"))


async def test_content_goes_with_its_age_and_no_sooner(store: Store) -> None:
    here, quiet = await store.conversation(title="Old times"), await store.conversation()
    await store.say(here, "old", "old too")
    await store.say(quiet, "old as well")
    limit = store.clock.forward(days=91)
    await store.say(here, "new")
    assert await retention.redact_older(store.pool, store.writer, limit) == 2
    assert await retention.redact_older(store.pool, store.writer, limit) == 0
    said = (await conversations.load_history(store.pool, here)).messages
    assert [each.content for each in said] == [None, None, "new"]
    assert (await conversations.load_conversation(store.pool, here)).title == ""


async def test_streams_of_turns_that_ended_long_ago_are_forgotten(store: Store) -> None:
    hosted = await store.host(await store.conversation())
    done, running = await store.turn(hosted), await store.turn(hosted, started=False)
    await store.writer.submit(
        turns.CommitReply(done, 1, "well", WREN, [turns.TurnEvent(1, "delta", "well")])
    )
    await store.writer.submit(turns.StartTurn(running, 1))
    await store.writer.submit(turns.EmitEvents(running.id, 1, [turns.TurnEvent(1, "delta", "still")]))
    assert await retention.forget_streams(store.pool, store.clock.now) == 0
    assert await retention.forget_streams(store.pool, store.clock.forward(hours=25)) == 1
    assert await histories.list_events(store.pool, done.id) == []
    assert len(await histories.list_events(store.pool, running.id)) == 1


async def test_series_are_forgotten_after_their_time_and_the_record_says_so(store: Store) -> None:
    here = await store.conversation()

    async def measure(seq: int) -> None:
        await store.writer.submit(vectors.RecordScore(here, seq, Vector((seq,) * 16), "scorer"))
        await store.writer.submit(vectors.RecordRelation(here, seq, Vector((seq,) * 7)))
        await measures.keep_measures(store.pool, [measures.ConversationMeasure(here, store.clock.now, seq)])

    await measure(1)
    store.clock.forward(days=60)
    await measure(2)
    await retention.forget_series(store.pool, store.writer, store.clock.now - timedelta(days=30))
    assert [each.seq for each in await vectors.load_window(store.pool, here, last=9)] == [2]
    assert [each.seq for each in await measures.load_window(store.pool, here, last=9)] == [2]
    assert await vectors.load_relational(store.pool, here, store.clock.now - timedelta(days=40)) is None
    said = await store.pool.value("SELECT count(*) FROM leaves WHERE kind = 'redaction'")
    assert said == 3
    await retention.forget_series(store.pool, store.writer, store.clock.now - timedelta(days=30))
    assert await store.pool.value("SELECT count(*) FROM leaves WHERE kind = 'redaction'") == 3


async def test_words_redacted_while_somebody_indexes_them_never_stay_in_the_index(store: Store) -> None:
    for attempt in range(25):
        here = await store.conversation()
        await store.say(here, f"the {SECRET} number {attempt}")
        await asyncio.gather(
            store.writer.submit(RedactMessages(here, 1, 1, "admin", "asked")),
            *[_soon(store, attempt % 6 * n) for n in range(3)],
        )
        await search.index_messages(store.pool)
        assert await _documents(store, here) == 0


async def _soon(store: Store, steps: int) -> None:
    for _ in range(steps):
        await asyncio.sleep(0)
    await search.index_messages(store.pool)


async def test_a_first_indexer_waits_for_a_redaction_that_is_not_over_yet(store: Store) -> None:
    """Nobody has indexed this node's messages yet: the row to wait on is made by the redaction."""
    here = await store.conversation()
    await store.writer.submit(AppendMessage(here, Role.USER, f"the {SECRET}", ANN))
    async with store.pool.transaction() as redacting:
        await redacting.execute(
            "INSERT INTO redactions (conversation_id, first_seq, last_seq, by, reason, at, leaf_node,"
            " leaf_number) VALUES ($1, 1, 1, 'admin', 'asked', now(), 'node-1', 1)",
            here,
        )
        await redacting.execute("UPDATE messages SET content = NULL, salt = NULL")
        indexing = asyncio.create_task(search.index_messages(store.pool))
        done, _ = await asyncio.wait([indexing], timeout=0.2)
        assert not done
    await indexing
    await search.index_messages(store.pool)
    assert await _documents(store, here) == 0


async def _documents(store: Store, here: ConversationId) -> int:
    count: int = await store.pool.value(
        "SELECT count(*) FROM message_documents WHERE conversation_id = $1", here
    )
    return count


KEY = f"request-{SECRET}"


async def test_a_key_is_hidden_with_the_words_and_its_request_is_still_done_once(store: Store) -> None:
    here = await store.conversation()
    append = AppendMessage(here, Role.USER, "hello", ANN, idempotency_key=KEY)
    other = AppendMessage(here, Role.USER, "and more", ANN, idempotency_key="later")
    first = await store.writer.submit(append)
    kept = await store.writer.submit(other)
    hosted = await store.host(here)
    accept = turns.AcceptTurn(
        TurnId(store.new_id()), here, "what now?", ANN, hosted.epoch, idempotency_key=f"turn-{SECRET}"
    )
    accepted = await store.writer.submit(accept)
    await store.writer.submit(RedactMessages(here, 1, 1, "admin", "asked"))
    await store.writer.submit(RedactMessages(here, 3, 3, "admin", "asked"))
    assert SECRET not in await _everything(store)
    again = replace(append, epoch=hosted.epoch)
    assert await store.writer.submit(again) == replace(first, content=None)
    assert (await store.writer.submit(replace(accept, id=TurnId(store.new_id())))).id == accepted.id
    assert await store.writer.submit(replace(other, epoch=hosted.epoch)) == kept
    found = await turns.find_accepted(store.pool, here, f"turn-{SECRET}")
    assert found is not None
    assert found.id == accepted.id
    assert (await conversations.load_conversation(store.pool, here)).head_seq == 3


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE turns SET idempotency_key = ccn_hidden_key(conversation_id, idempotency_key)",
        "UPDATE turns SET idempotency_key = 'another'",
        "UPDATE turns SET idempotency_key = NULL",
        """INSERT INTO redactions
               (conversation_id, first_seq, last_seq, by, reason, at, leaf_node, leaf_number)
           SELECT conversation_id, 1, 9, 'x', 'x', now(), leaf_node, leaf_number FROM messages LIMIT 1;
           UPDATE turns SET idempotency_key = 'another'""",
        "UPDATE messages SET idempotency_key = NULL",
    ],
)
async def test_a_key_changes_in_no_other_way(store: Store, change: str) -> None:
    here = await store.conversation()
    hosted = await store.host(here)
    key = "k"
    accept = turns.AcceptTurn(TurnId(store.new_id()), here, "hello", ANN, hosted.epoch, idempotency_key=key)
    await store.writer.submit(accept)
    with pytest.raises((errors.TransitionRefused, errors.StoreBroken)):
        async with store.pool.transaction() as connection:
            await connection.execute(change)
    assert await store.pool.value("SELECT idempotency_key FROM turns") == key


async def test_keys_of_what_was_redacted_before_keys_were_hidden_are_hidden_by_the_migration(
    store: Store,
) -> None:
    here = await store.conversation()
    await store.writer.submit(AppendMessage(here, Role.USER, "hello", ANN, idempotency_key=KEY))
    hosted = await store.host(here)
    accept = turns.AcceptTurn(TurnId(store.new_id()), here, "hi", ANN, hosted.epoch, idempotency_key=KEY)
    await store.writer.submit(accept)
    await store.writer.submit(RedactMessages(here, 1, 2, "admin", "asked"))
    async with store.pool.transaction() as connection:  # as an earlier version left it
        await connection.execute("SET LOCAL session_replication_role = replica")
        await connection.execute(f"UPDATE messages SET idempotency_key = '{KEY}' WHERE seq = 1")
        await connection.execute(f"UPDATE turns SET idempotency_key = '{KEY}'")
    (file,) = [each for each in schema_files.list_migrations() if each.name == "redacted_keys"]
    async with store.pool.transaction() as connection:
        await connection.execute(file.sql.partition("-- Of what was redacted before.")[2])
    assert SECRET not in await _everything(store)


async def test_later_conversations_that_had_the_words_in_their_prompts_are_known(store: Store) -> None:
    me, somebody = await store.user(), await store.user()
    told, later, silent, strangers = [await store.conversation(owner) for owner in (me, me, me, somebody)]
    await store.say(told, *(f"word {n}" for n in range(1, 8)))
    await store.say(told, "word 8")
    for here in (later, silent, strangers):
        await store.writer.submit(KeepAnchor(here, Anchor(1, memories=(RecalledConversation(told, 8),))))
    await store.say(later, "what did I say?")
    await store.say(strangers, "hello")

    async def named(first: int, last: int) -> list[ConversationId]:
        return await retention.find_recollections(store.pool, told, first, last)

    assert await named(1, 1) == await named(2, 5) == await named(7, 7) == await named(4, 8) == [later]
    assert await named(3, 6) == await named(9, 99) == []
