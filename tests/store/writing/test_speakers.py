"""Who said it stands in the leaf of every message: an account, or an instance that was asked to reply."""

from __future__ import annotations

import json

import asyncpg
import pytest

from ccn import settings
from ccn.core.message import Role
from ccn.store.conversations import turns
from ccn.store.conversations.conversations import AppendMessage
from ccn.store.schema import schema_files
from ccn.store.upkeep.retention import RedactMessages
from tests.support.speakers import ANN
from tests.support.store.open_store import Store, keeping

OF_MESSAGES = """
    SELECT m.role, m.speaker, convert_from(l.body, 'UTF8') AS leaf
    FROM messages m JOIN leaves l ON l.node_id = m.leaf_node AND l.number = m.leaf_number
    WHERE m.conversation_id = $1 ORDER BY m.seq
"""


async def test_a_leaf_names_the_account_that_asked_and_the_instance_that_answered(shared: Store) -> None:
    hosted = await shared.host(await shared.conversation())
    turn = await shared.turn(hosted, "Hello?")
    await shared.writer.submit(turns.CommitReply(turn, hosted.epoch, "Hello.", hosted.id))
    rows = await shared.pool.rows(OF_MESSAGES, hosted.conversation)
    speakers = [f"account:{ANN}", f"instance:{hosted.id}"]
    assert [row["speaker"] for row in rows] == speakers
    assert [(json.loads(row["leaf"])["speaker"], json.loads(row["leaf"])["v"]) for row in rows] == [
        (speakers[0], 2), (speakers[1], 2),
    ]  # fmt: skip


async def test_a_reply_that_somebody_recorded_is_theirs_and_no_instances(shared: Store) -> None:
    here = await shared.conversation()
    await shared.writer.submit(AppendMessage(here, Role.ASSISTANT, "I said so.", ANN))
    (row,) = await shared.pool.rows(OF_MESSAGES, here)
    assert (row["role"], row["speaker"]) == ("assistant", f"account:{ANN}")
    assert json.loads(row["leaf"])["speaker"] == f"account:{ANN}"


PUT = """
    INSERT INTO messages (conversation_id, seq, role, content, salt, speaker, created_at, turn_id,
                          leaf_node, leaf_number)
    SELECT conversation_id, seq + 1, $1, 'words', salt, $2, created_at, CASE WHEN $3 THEN turn_id END,
           leaf_node, leaf_number
    FROM messages WHERE conversation_id = $4 AND seq = 1
"""


@pytest.mark.parametrize(
    ("role", "speaker", "in_turn"),
    [
        ("user", None, False),
        ("user", "somebody", False),
        ("user", "account:1", False),
        ("user", f"instance:{ANN}", True),
        ("assistant", f"account:{ANN}", True),
        ("assistant", f"instance:{ANN}", False),
    ],
)
async def test_no_message_is_written_without_one_who_can_have_said_it(
    shared: Store,
    direct: asyncpg.Connection[asyncpg.Record],
    role: str,
    speaker: str | None,
    in_turn: bool,
) -> None:
    turn = await shared.turn(await shared.host(await shared.conversation()))
    with pytest.raises(asyncpg.CheckViolationError, match=r"speaker|instances"):
        await direct.execute(PUT, role, speaker, in_turn, turn.conversation)


async def test_what_was_said_before_speakers_were_kept_can_still_be_redacted(
    database: settings.DatabaseSettings,
) -> None:
    async with keeping(database) as store:
        here = await store.conversation()
        await store.say(here, "my secret")
        (speakers,) = (each for each in schema_files.list_migrations() if each.name.endswith("speakers"))
        async with store.pool.transaction() as connection:  # as if it had been said before that file ran
            await connection.execute("ALTER TABLE messages DROP COLUMN speaker")
            await connection.execute(speakers.sql)
        await store.writer.submit(RedactMessages(here, 1, 1, "admin", "asked by its owner"))
        assert await store.pool.value("SELECT content FROM messages") is None
