"""A redaction that an operator asks for: the words are gone, and the record says so and still verifies."""

from __future__ import annotations

import io
import json
import uuid
from datetime import UTC, datetime

import pytest

from ccn import settings
from ccn.cli import verify
from ccn.core.ids import ConversationId, InstanceId, NodeId, SnapshotId, TurnId
from ccn.core.message import Role
from ccn.core.prompts.anchor import Anchor, RecalledConversation
from ccn.node.operators import execution
from ccn.store.connection.pool import Pool
from ccn.store.conversations import anchors, conversations, instances, search, turns
from ccn.store.operators import requests
from ccn.store.operators.requests import Body
from ccn.store.rounds import export
from ccn.store.upkeep import snapshots
from tests.cli.conftest import ADA, founded, new_id, seal
from tests.support.node.round_world import World
from tests.support.speakers import ANN

NODES = [NodeId(f"node-{n}") for n in (1, 2, 3)]
SECRET = "qwxrtz"


async def talked(world: World) -> ConversationId:
    """A conversation whose words are in messages, documents, events and a title, sealed and not."""
    here, submit = ConversationId(new_id()), world.writer.submit
    await submit(conversations.BeginConversation(here, ADA, title=f"My {SECRET}", plate_version=1))
    hosted = await submit(instances.SpawnInstance(InstanceId(new_id()), here, "model-1", 1))
    for words in ("Good morning", f"My {SECRET} is ill"):
        turn = await submit(turns.AcceptTurn(TurnId(new_id()), here, words, ANN, hosted.epoch))
        await submit(turns.StartTurn(turn, hosted.epoch))
        running = await turns.load_turn(world.pool, turn.id)
        said = [turns.TurnEvent(1, "delta", f"{words}?")]
        await submit(turns.CommitReply(running, hosted.epoch, f"{words}?", hosted.id, said))
    await snapshots.take_snapshot(world.pool, world.writer, SnapshotId(new_id()), here, datetime.now(UTC))
    await search.index_messages(world.pool)
    return here


async def redacted(world: World, body: Body) -> Body:
    request = uuid.uuid4()
    await requests.add_request(world.pool, request, execution.REDACT, "ann", body)
    known = execution.node_handlers(world.pool, world.writer)
    while (told := await requests.load_outcome(world.pool, request)) is None:  # others may wait before it
        assert await execution.run_oldest(world.pool, world.writer, known)
    return told


async def exported(pool: Pool) -> bytes:
    file = io.BytesIO()
    await export.export_record(pool, file)
    return file.getvalue()


async def everything(pool: Pool) -> str:
    """All rows of all tables, as text."""
    tables = (
        "SELECT relname FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
    )
    rows = "SELECT coalesce(string_agg(t::text, ' '), '') FROM"
    return "".join([await pool.value(f"{rows} {row['relname']} t") for row in await pool.rows(tables)])


@pytest.mark.parametrize("sealed", [True, False])
async def test_what_an_operator_redacts_is_gone_and_the_record_verifies(
    database: settings.DatabaseSettings, sealed: bool
) -> None:
    async with founded(database, NODES) as world:
        here = await talked(world)
        if sealed:
            await seal(world, NODES[1])
        before = await everything(world.pool)
        assert before.count(SECRET) >= 5
        told = await redacted(
            world, {"conversation": str(here), "first": 1, "reason": "asked by its owner"}
        )
        assert told == {"conversation": str(here), "first": 1, "last": 4, "recollected": []}
        await seal(world, NODES[0])
        left, record = await everything(world.pool), await exported(world.pool)
        found = verify.verify(io.BytesIO(record))
    assert SECRET not in left
    assert SECRET.encode() not in record
    assert "Good morning" not in left
    assert (found.code, found.findings.contradictions, found.findings.counts["redacted"]) == (
        verify.VERIFIED,
        [],
        4,
    )
    leaves = [json.loads(line).get("leaf", {}) for line in record.splitlines()]
    said = [(leaf["by"], leaf["reason"]) for leaf in leaves if leaf.get("kind") == "redaction"]
    assert said == [("ann", "asked by its owner")]


async def test_what_later_conversations_said_of_it_is_redacted_too_if_that_is_asked_for(
    database: settings.DatabaseSettings,
) -> None:
    async with founded(database, NODES) as world:
        submit = world.writer.submit
        await world.pool.rows("INSERT INTO users (id, name, tier) VALUES ($1, 'ann', 'user')", ANN)
        told, later, last = [ConversationId(new_id()) for _ in range(3)]
        for here, before in ((told, None), (later, told), (last, later)):
            await submit(conversations.BeginConversation(here, ADA, ANN))
            await submit(conversations.AppendMessage(here, Role.USER, f"{SECRET} in {here}", ANN))
            if before is not None:
                await submit(
                    anchors.KeepAnchor(here, Anchor(1, memories=(RecalledConversation(before, 1),)))
                )
        body = {"conversation": str(told), "reason": "asked"}
        assert (await redacted(world, body))["recollected"] == [str(later)]
        assert SECRET in await everything(world.pool)
        all_of_it = await redacted(world, body | {"with_recollections": True})
        assert (all_of_it["recollected"], all_of_it["further"]) == ([str(later)], [str(last)])
        said = [
            (await conversations.load_history(world.pool, here)).messages[0].content
            for here in (told, later, last)
        ]
        assert said == [None, None, f"{SECRET} in {last}"]
        await seal(world, NODES[0])
        found = verify.verify(io.BytesIO(await exported(world.pool)))
    assert (found.code, found.findings.counts["redacted"]) == (verify.VERIFIED, 2)


async def test_a_part_is_redacted_and_the_rest_stays(database: settings.DatabaseSettings) -> None:
    async with founded(database, NODES) as world:
        here = await talked(world)
        body = {"conversation": str(here), "first": 3, "last": 4, "reason": "a name"}
        assert (await redacted(world, body))["last"] == 4
        await seal(world, NODES[0])
        kept = [
            message.content for message in (await conversations.load_history(world.pool, here)).messages
        ]
        found = verify.verify(io.BytesIO(await exported(world.pool)))
    assert kept == ["Good morning", "Good morning?", None, None]
    assert (found.code, found.findings.counts["redacted"]) == (verify.VERIFIED, 2)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ({"conversation": "here", "reason": "x"}, "InputInvalid"),
        ({"conversation": str(uuid.UUID(int=7)), "reason": "x"}, "NotFound"),
        ({"conversation": str(uuid.UUID(int=7))}, "InputInvalid"),
        ({"conversation": str(uuid.UUID(int=7)), "reason": "x", "first": "1"}, "InputInvalid"),
    ],
)
async def test_what_cannot_be_redacted_is_refused(
    database: settings.DatabaseSettings, body: Body, error: str
) -> None:
    async with founded(database, NODES) as world:
        assert (await redacted(world, body))["error"] == error
