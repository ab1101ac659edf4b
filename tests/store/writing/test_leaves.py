"""Every leaf of a scripted life says what its row says, and hashes to what the tree will be built from."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any
from uuid import UUID

from ccn.core.axes import Vector
from ccn.core.ids import NodeId, SnapshotId
from ccn.core.ledger import commitment
from ccn.core.ledger.commitment import LeafKind
from ccn.core.turn import TurnStatus
from ccn.store.character import vectors
from ccn.store.conversations import conversations, instances, turns
from ccn.store.upkeep import retention, snapshots
from ccn.store.writing.batch import micros
from ccn.store.writing.writer import Writer
from tests.support.speakers import WREN

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

    Another = Callable[..., AbstractAsyncContextManager[Writer]]


async def _live(store: Store, start_writer: Another) -> None:
    here = await store.conversation(await store.user(), "Tea at four")
    old = await store.host(here)
    turn, other = await store.turn(old, "Ärger? Nein."), await store.turn(old, "next", started=False)
    store.clock.forward(seconds=1.000001)
    await store.writer.submit(vectors.RecordScore(here, 1, Vector((None, *range(15))), "scorer-1", old.id))
    async with start_writer(store.database, store.clock, "node-2") as heir:
        new = await heir.submit(instances.AdoptInstance(old, "node-1 is silent"))
        await heir.submit(turns.StartTurn(await turns.load_turn(store.pool, turn.id), 2))
        await heir.submit(turns.CommitReply(await turns.load_turn(store.pool, turn.id), 2, "Good.", WREN))
        await heir.submit(
            turns.EndTurn(await turns.load_turn(store.pool, other.id), 2, TurnStatus.FAILED, "no model")
        )
        store.clock.forward(seconds=1)
        await heir.submit(instances.ChangeInstance(new, instances.InstanceStatus.TERMINATED, "over"))
    await store.writer.submit(retention.RedactMessages(here, 1, 2, "admin", "asked"))
    store.clock.forward(seconds=1)
    taken = await snapshots.take_snapshot(
        store.pool, store.writer, SnapshotId(store.new_id()), here, store.clock.now
    )
    assert taken.head_seq == 3
    await store.writer.submit(
        conversations.CloseConversation(await conversations.load_conversation(store.pool, here))
    )


async def test_every_leaf_can_be_made_again_from_its_row(store: Store, start_writer: Another) -> None:
    await _live(store, start_writer)
    leaves = {(row["node_id"], row["number"]): row for row in await store.pool.rows("SELECT * FROM leaves")}
    rows = [row for sql in ROWS.values() for row in await store.pool.rows(sql)]
    remade = {}
    for row in rows:
        fields: dict[str, Any] = {key: _plain(value) for key, value in dict(row).items()}
        node, number, kind = NodeId(fields.pop("node")), fields.pop("number"), LeafKind(fields.pop("kind"))
        salt = fields.pop("salt", None)
        if kind is LeafKind.MESSAGE:
            written = json.loads(leaves[node, number]["body"])["content"]
            said = fields["content"]  # None once it was redacted: then only its commitment is left
            fields["content"] = commitment.commit_content(salt, said).hex() if said else written
        remade[node, number] = commitment.make_leaf(node, number, kind, fields)
    for place, leaf in remade.items():
        assert leaves[place]["body"] == leaf.body
        assert leaves[place]["hash"] == leaf.hash == commitment.leaf_hash(leaf.body)
        assert leaves[place]["kind"] == leaf.kind.value
    unaccounted = {place: row["kind"] for place, row in leaves.items() if place not in remade}
    assert not unaccounted
    assert {leaf.kind for leaf in remade.values()} == set(LeafKind) - {
        LeafKind.OPERATOR,
        LeafKind.VALIDATORS,
    }


def _plain(value: object) -> object:
    if isinstance(value, UUID):
        return str(value)
    if hasattr(value, "isoformat"):
        return micros(value)  # type: ignore[arg-type]  # a moment
    if isinstance(value, list):
        vector = vectors.vector_from_stored(value)
        return vector.millionths if vector else None
    return value


ROWS = {
    "plates": """
        SELECT leaf_node AS node, leaf_number AS number, 'plate' AS kind, imported_at AS at,
               imported_by AS by, character_id AS character, encode(hash, 'hex') AS hash, version
        FROM plates""",
    "conversations": """
        SELECT l.node_id AS node, l.number, 'conversation' AS kind, v.changed_at AS at,
               c.character_id AS character, c.id AS conversation, c.owner_id AS owner,
               v.plate_version AS plate, v.status, v.version
        FROM conversation_versions v JOIN conversations c ON c.id = v.conversation_id JOIN leaves l
            ON l.kind = 'conversation'
            AND (convert_from(l.body, 'UTF8')::jsonb ->> 'version')::int = v.version
            AND (convert_from(l.body, 'UTF8')::jsonb ->> 'conversation')::uuid = c.id""",
    "messages": """
        SELECT leaf_node AS node, leaf_number AS number, 'message' AS kind, created_at AS at, content, salt,
               conversation_id AS conversation, host_epoch AS epoch, role, seq, speaker,
               turn_id AS turn
        FROM messages""",
    "turns": """
        SELECT leaf_node AS node, leaf_number AS number, 'turn' AS kind, ended_at AS at,
               conversation_id AS conversation, host_epoch AS epoch, error, reply_seq AS reply, status,
               id AS turn, user_seq AS user FROM turns""",
    "instances": """
        SELECT l.leaf_node AS node, l.leaf_number AS number, 'instance' AS kind, l.at,
               conversation_id AS conversation, l.epoch, l.host, l.instance_id AS instance, model,
               plate_version AS plate, l.reason, l.status, l.version
        FROM instance_lives l JOIN instance_registry i ON i.id = l.instance_id""",
    "vectors": """
        SELECT leaf_node AS node, leaf_number AS number, 'vector' AS kind, ts AS at,
               conversation_id AS conversation, instance_id AS instance, scorer, seq, vector
        FROM character_evolution""",
    "snapshots": """
        SELECT leaf_node AS node, leaf_number AS number, 'snapshot' AS kind, taken_at AS at,
               conversation_id AS conversation, encode(hash, 'hex') AS hash, head_seq AS head,
               id AS snapshot
        FROM snapshots""",
    "redactions": """
        SELECT leaf_node AS node, leaf_number AS number, 'redaction' AS kind, at, by,
               conversation_id AS conversation, first_seq AS first, last_seq AS last, reason
        FROM redactions""",
}
