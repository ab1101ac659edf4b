"""What the owner of the database can do to a sealed record, and that a stranger finds each with its row."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING

import pytest

from ccn.cli import verify

if TYPE_CHECKING:
    from tests.cli.conftest import Copy

pytestmark = pytest.mark.asyncio(loop_scope="module")

HERE = "01900000-0000-7000-8000-000000000001"
HOSTED = "01900000-0000-7000-8000-000000000002"
INSTANCE = "01900000-0000-7000-8000-000000000003"
TURN = "01900000-0000-7000-8000-000000000004"
MESSAGE = f"messages WHERE conversation_id = '{HERE}'"
_SET = f"UPDATE messages SET {{}} WHERE conversation_id = '{HERE}' AND seq = {{}}"
_HEADER = (
    "UPDATE verification_chain SET header ="
    " convert_to(replace(convert_from(header, 'UTF8'), '{}', '{}'), 'UTF8') WHERE height = {}"
)
_BODY = (
    "UPDATE leaves SET body = convert_to(replace(convert_from(body, 'UTF8'), '{}', '{}'), 'UTF8')"
    " WHERE node_id = 'node-1' AND number = {}"
)
_SWAP = """
    UPDATE messages SET seq = 100 WHERE conversation_id = '{0}' AND seq = 1;
    UPDATE messages SET seq = 1 WHERE conversation_id = '{0}' AND seq = 4;
    UPDATE messages SET seq = 4 WHERE conversation_id = '{0}' AND seq = 100
"""

EDITS = {
    "content": (_SET.format("content = 'won'", 1), f"{HERE} message 1 "),
    "content one letter longer": (_SET.format("content = content || ' '", 4), f"{HERE} message 4 "),
    "salt": (_SET.format("salt = sha256(salt)", 1), f"{HERE} message 1 "),
    "content and salt taken out": (_SET.format("content = NULL, salt = NULL", 4), f"{HERE} message 4"),
    "content put back after a redaction": (
        _SET.format("content = 'two', salt = sha256('')", 2),
        f"{HERE} message 2 ",
    ),
    "role": (_SET.format("role = 'assistant'", 4), f"{HERE} message 4 "),
    "time of a message": (
        _SET.format("created_at = created_at - interval '1 day'", 4),
        f"{HERE} message 4 ",
    ),
    "order of two messages": (_SWAP.format(HERE), f"{HERE} message 1 "),
    "message deleted": (f"DELETE FROM {MESSAGE} AND seq = 4", f"{HERE} message 4 "),
    "message and leaf deleted": (
        f"DELETE FROM {MESSAGE} AND seq = 4; DELETE FROM leaves WHERE node_id = 'node-1' AND number = 6",
        "block 1, leaf 6 of node-1",
    ),
    "leaf deleted": (
        "DELETE FROM leaves WHERE node_id = 'node-1' AND number = 6",
        "block 1, leaf 6 of node-1",
    ),
    "who said it": (
        _SET.format("speaker = 'account:01900000-0000-7000-8000-000000000009'", 4),
        f"{HERE} message 4 ",
    ),
    "who said it forgotten": (
        ("ALTER TABLE messages DROP CONSTRAINT messages_have_speakers;" + _SET.format("speaker = NULL", 4)),
        f"{HERE} message 4 ",
    ),
    "message put in": (
        (
            f"INSERT INTO messages SELECT conversation_id, 5, role, 'five', salt, language, created_at,"
            f" turn_id, host_epoch, NULL, leaf_node, 999, speaker FROM {MESSAGE} AND seq = 4"
        ),
        "seq 5",
    ),
    "message put on another's leaf": (
        (
            f"INSERT INTO messages SELECT conversation_id, 5, role, 'five', salt, language, created_at,"
            f" turn_id, host_epoch, NULL, leaf_node, 12, speaker FROM {MESSAGE} AND seq = 4"
        ),
        f"{HOSTED} turn {TURN}",
    ),
    "leaf put in": (
        (
            "INSERT INTO leaves (node_id, number, kind, body) VALUES ('node-3', 1, 'message', '{}');"
            "INSERT INTO block_leaves (height, node_id, first, last, tree_start)"
            " VALUES (1, 'node-3', 1, 1, 99)"
        ),
        "leaf 1 of node-3",
    ),
    "body of a leaf": (_BODY.format('"role":"user"', '"role":"assistant"', 3), f"{HERE} message 1 "),
    "row and body of a leaf alike": (
        _BODY.format('"status":"running"', '"status":"failed"', 9)
        + "; UPDATE instance_lives SET status = 'failed' WHERE version = 2",
        "block 1",
    ),
    "leaf renumbered": (
        "UPDATE leaves SET number = 99 WHERE node_id = 'node-1' AND number = 6",
        "block 1, leaf 6 of node-1",
    ),
    "two leaves exchanged": (
        (
            "UPDATE leaves SET number = 99 WHERE node_id = 'node-1' AND number = 3;"
            "UPDATE leaves SET number = 3 WHERE node_id = 'node-1' AND number = 4;"
            "UPDATE leaves SET number = 4 WHERE node_id = 'node-1' AND number = 99"
        ),
        f"{HERE} message 2 (leaf 3 of node-1, block 1)",
    ),
    "kind of a leaf": (
        "UPDATE leaves SET kind = 'operator' WHERE node_id = 'node-1' AND number = 3",
        f"{HERE} message 1 ",
    ),
    "vector": (
        "UPDATE character_evolution SET vector[1] = 0.6",
        f"vector {HOSTED} (leaf 13 of node-1, block 1)",
    ),
    "vector deleted": ("DELETE FROM character_evolution", f"vector {HOSTED} (leaf 13 of node-1, block 1)"),
    "scorer": ("UPDATE character_evolution SET scorer = 'x'", f"vector {HOSTED} "),
    "plate": (
        (
            "ALTER TABLE plates DROP CONSTRAINT plates_check;"
            "UPDATE plates SET content = '# Eve' WHERE version = 1"
        ),
        "plate ada version 1 ",
    ),
    "plate and hash": (
        "UPDATE plates SET content = '# Eve', hash = sha256('# Eve') WHERE version = 2",
        "plate ada version 2 ",
    ),
    "snapshot": (
        "UPDATE snapshots SET state = '{}', hash = sha256('{}')",
        f"{HOSTED} snapshot ",
    ),
    "how a turn ended": (
        f"UPDATE turns SET status = 'failed', reply_seq = NULL, error = 'x' WHERE id = '{TURN}'",
        f"{HOSTED} turn {TURN}",
    ),
    "a turn that never ended": (
        (
            "UPDATE turns SET status = 'running', reply_seq = NULL, ended_at = NULL, leaf_node = NULL,"
            f" leaf_number = NULL WHERE id = '{TURN}'"
        ),
        f"{HOSTED} turn {TURN}",
    ),
    "why an instance was adopted": (
        "UPDATE instance_lives SET reason = 'asked for' WHERE version = 3",
        f"instance {INSTANCE} version 3 (leaf 1 of node-2, block 3)",
    ),
    "a life of an instance deleted": (
        "DELETE FROM instance_lives WHERE version = 4",
        f"instance {INSTANCE} version 4 ",
    ),
    "how an instance stands": (
        "UPDATE instance_registry SET status = 'running', ended_at = NULL",
        f"instance {INSTANCE}",
    ),
    "conversation opened again": (
        f"UPDATE conversations SET status = 'open' WHERE id = '{HERE}'",
        f"conversation {HERE}",
    ),
    "owner of a conversation": (
        (
            "INSERT INTO users (id, name, tier) VALUES (gen_random_uuid(), 'eve', 'user');"
            f"UPDATE conversations SET owner_id = (SELECT id FROM users) WHERE id = '{HERE}'"
        ),
        f"conversation {HERE} version 1",
    ),
    "version of a conversation deleted": (
        f"DELETE FROM conversation_versions WHERE conversation_id = '{HERE}' AND version = 2",
        f"conversation {HERE} version 2",
    ),
    "redaction deleted": ("DELETE FROM redactions", f"redaction {HERE} (leaf 14 of node-1, block 2)"),
    "redaction and leaf deleted": (
        "DELETE FROM redactions; DELETE FROM leaves WHERE node_id = 'node-1' AND number = 14",
        f"conversation {HERE} message 2",
    ),
    "who redacted": ("UPDATE redactions SET by = 'nobody'", f"redaction {HERE} "),
    "redaction widened": ("UPDATE redactions SET first_seq = 1", f"redaction {HERE} "),
    "vote signed by nobody": (
        "UPDATE votes SET signature = sha512(signature) WHERE node_id = 'node-2' AND height = 3",
        "block 3",
    ),
    "votes below a quorum": ("DELETE FROM votes WHERE height = 2 AND node_id = 'node-1'", "block 2"),
    "vote of another height": (
        (
            "UPDATE votes v SET signature = o.signature FROM votes o"
            " WHERE v.height = 3 AND o.height = 1 AND v.node_id = o.node_id AND v.node_id = 'node-1'"
        ),
        "block 3",
    ),
    "vote of a stranger": (
        "UPDATE votes SET node_id = 'node-9' WHERE height = 3 AND node_id = 'node-1'",
        "block 3",
    ),
    "term in a header": (_HEADER.format('"term":4', '"term":9', 3), "block 3"),
    "leader in a header": (_HEADER.format('"leader":"node-1"', '"leader":"node-2"', 1), "block 1"),
    "header that is none": ("UPDATE verification_chain SET header = 'x' WHERE height = 2", "block 2"),
    "time of a block": (
        "UPDATE verification_chain SET sealed_at = sealed_at + interval '1 second' WHERE height = 2",
        "block 2",
    ),
    "root of a block": ("UPDATE verification_chain SET root = sha256(root) WHERE height = 2", "block 2"),
    "hash of a block": ("UPDATE verification_chain SET hash = sha256(hash) WHERE height = 2", "block 2"),
    "tree of a block": (
        "UPDATE block_trees SET tree = tree || tree WHERE height = 2",
        "block 2",
    ),
    "roster": (
        (
            "UPDATE block_rosters SET packed = overlay(packed PLACING '\\x01'::bytea FROM 28)"
            " WHERE height = 1 AND node_id = 'node-2'"
        ),
        "block 1",
    ),
    "owners": (
        "UPDATE block_rosters SET owners = overlay(owners PLACING '\\x01'::bytea FROM 8) WHERE height = 1",
        "block 1",
    ),
    "owners deleted": ("UPDATE block_rosters SET owners = NULL WHERE height = 1", "block 1"),
    "roster deleted": ("DELETE FROM block_rosters WHERE height = 1 AND character_id = 'bob'", "block 1"),
    "report": (
        "UPDATE block_reports SET wants = sha256(wants) WHERE height = 3 AND node_id = 'node-3'",
        "block 3",
    ),
    "report deleted": ("DELETE FROM block_reports WHERE height = 1 AND node_id = 'node-3'", "block 1"),
    "result": (
        (
            "UPDATE block_results SET body ="
            " convert_to(replace(convert_from(body, 'UTF8'), '\"v\":2', '\"v\":3'), 'UTF8')"
            " WHERE height = 1 AND character_id = 'ada'"
        ),
        "block 1",
    ),
    "result deleted": ("DELETE FROM block_results WHERE height = 1 AND character_id = 'bob'", "block 1"),
    "rules of a block": (
        (
            "UPDATE block_rules SET parameters = convert_to(replace(convert_from(parameters, 'UTF8'),"
            " '200000', '900000'), 'UTF8') WHERE height = 3"
        ),
        "block 3",
    ),
    "rules of the founding": (
        (
            "UPDATE block_rules SET validators = convert_to(replace(convert_from(validators, 'UTF8'),"
            " 'node-3', 'node-9'), 'UTF8') WHERE height = 0"
        ),
        "the founding (block 0)",
    ),
    "name of the log": ("UPDATE cluster_origin SET origin = 'ccn.example/other'", "the founding (block 0)"),
    "range of leaves moved": (
        (
            "UPDATE block_leaves SET last = 12 WHERE height = 1;"
            "UPDATE block_leaves SET first = 13 WHERE height = 2"
        ),
        "block 1, leaf 13 of node-1",
    ),
    "range of leaves deleted": ("DELETE FROM block_leaves WHERE height = 4", "block 4, leaf 17 of node-1"),
    "block in the middle deleted": (
        "DELETE FROM verification_chain WHERE height = 2",
        "block 2: is missing",
    ),
    "newest block deleted": ("DELETE FROM verification_chain WHERE height = 4", "height 4"),
    "text of a checkpoint": (
        (
            "UPDATE checkpoints SET note ="
            " convert_to(replace(convert_from(note, 'UTF8'), 'ccn.', 'cnn.'), 'UTF8')"
            " WHERE tree_size = (SELECT min(tree_size) FROM checkpoints)"
        ),
        "checkpoint 14",
    ),
    "root of a checkpoint": (
        (
            "UPDATE checkpoints c SET note = convert_to(replace(convert_from(note, 'UTF8'),"
            " encode(b.root, 'base64'), encode(sha256(b.root), 'base64')), 'UTF8')"
            " FROM verification_chain b WHERE b.height = 4 AND b.tree_size = c.tree_size"
        ),
        "checkpoint 26",
    ),
    "what an operator asked": (
        "UPDATE operator_requests SET body = body || '{\"first\": 1}'",
        "request ",
    ),
    "half a number in what an operator asked": (
        "UPDATE operator_requests SET body = body || '{\"first\": 1.5}'",
        "redact (leaf 18 of node-1",
    ),
    "what came of it": ("UPDATE operator_requests SET outcome = '{}'", "redact (leaf 18 of node-1"),
    "who asked": ("UPDATE operator_requests SET asked_by = 'bob'", "redact (leaf 18 of node-1"),
    "a request that was answered deleted": ("DELETE FROM operator_requests", "redact (leaf 18 of node-1"),
    "an answer that nobody gave": (
        (
            "INSERT INTO operator_requests"
            " (id, command, asked_by, answered_at, outcome, leaf_node, leaf_number)"
            " VALUES ('01900000-0000-7000-8000-000000000009', 'redact', 'eve', now(), '{}', 'node-1', 1)"
        ),
        "a row of operator_requests names this leaf",
    ),
    "cosignature": (
        (
            "UPDATE cosignatures SET line ="
            " convert_to(replace(convert_from(line, 'UTF8'), 'AAAA', 'AAAB'), 'UTF8')"
            " WHERE tree_size = 26"
        ),
        "checkpoint 26",
    ),
}


@pytest.mark.parametrize(("edit", "row"), EDITS.values(), ids=EDITS)
async def test_a_stranger_finds_the_row_that_was_tampered_with(copy: Copy, edit: str, row: str) -> None:
    await copy.superuser(edit)
    found = await copy.verdict()
    assert found.code == verify.CONTRADICTION, verify.render_text(found, "record")
    named = [f"{finding.where}: {finding.what}" for finding in found.findings.ordered]
    assert any(row in each for each in named[:2]), named


async def test_dropped_cosignatures_leave_a_record_that_is_not_final(copy: Copy) -> None:
    await copy.superuser(
        "DELETE FROM cosignatures WHERE tree_size = 26 AND signer LIKE '%node-_' AND signer > '%'"
        " AND signer NOT LIKE '%1'"
    )
    found = await copy.verdict()
    assert (found.code, found.chain.final_height, found.chain.height) == (verify.UNSIGNED, 3, 4)


EVERYTHING_OF_THE_NEWEST_BLOCK = """
    DELETE FROM cosignatures WHERE tree_size = 26; DELETE FROM checkpoints WHERE tree_size = 26;
    DELETE FROM verification_chain WHERE height = 4; DELETE FROM votes WHERE height = 4;
    DELETE FROM block_leaves WHERE height = 4; DELETE FROM block_trees WHERE height = 4;
    DELETE FROM block_results WHERE height = 4; DELETE FROM block_reports WHERE height = 4;
    DELETE FROM block_rosters WHERE height = 4; DELETE FROM block_rules WHERE height = 4
"""


async def test_a_record_cut_back_whole_contradicts_a_checkpoint_that_somebody_kept(copy: Copy) -> None:
    before = await copy.export()
    await copy.superuser(EVERYTHING_OF_THE_NEWEST_BLOCK)
    after = await copy.export()
    kept = next(line for line in before.splitlines() if b'"size":26' in line and b'"checkpoint"' in line)
    known = verify.parse_note(json.loads(kept)["checkpoint"]["note"])
    assert verify.verify(io.BytesIO(before), known=[known]).code == verify.VERIFIED
    found = verify.verify(io.BytesIO(after), known=[known])
    assert found.code == verify.CONTRADICTION
    assert found.findings.contradictions[0].where == "checkpoint 26"
