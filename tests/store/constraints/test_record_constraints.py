"""What must never happen to the ledger, the consensus log, series, snapshots and usage is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

    Connection = asyncpg.Connection[asyncpg.Record]

CHECK, UNIQUE, FOREIGN, NULL = "23514", "23505", "23503", "23502"
HISTORY, TERM = "CCN01", "CCN06"
AXES = "array_fill(0.5::real, ARRAY[{}])"

SCENE = f"""
    UPDATE cluster_term SET term = term + 7, leader = 'node-1';
    INSERT INTO consensus_log (log_index, term, command_type, data, committed)
        VALUES (1, 1, 'round', '{{}}', true), (2, 1, 'round', '{{}}', false);
    INSERT INTO verification_chain (height, hash, previous_hash, term, header, tree_size, root, sealed_at)
        VALUES (0, sha256('0'), NULL, 1, 'h', 1, sha256('r'), now()),
               (1, sha256('1'), sha256('0'), 1, 'h', 5, sha256('r'), now());
    INSERT INTO leaf_sources VALUES ('sealed');
    INSERT INTO leaves (node_id, number, kind, body)
        SELECT 'sealed', n, 'message', 'x' FROM generate_series(1, 9) n;
    INSERT INTO block_leaves (height, node_id, first, last, tree_start) VALUES (1, 'sealed', 1, 3, 1);
    INSERT INTO votes VALUES (1, 1, 'node-1', sha256('1'), sha512('s'));
    INSERT INTO checkpoints VALUES (5, 'note');
    INSERT INTO cosignatures VALUES (5, 'node-1', 'line');
    INSERT INTO character_evolution VALUES
        (:here:, '2026-01-01', 1, NULL, {AXES.format(16)}, 'scorer', NULL, 'sealed', 1);
    INSERT INTO snapshots VALUES (:here:, :here:, '2026-01-01', 0, 's', sha256('s'), 'sealed', 1);
    INSERT INTO usage (day, character_id, conversation_id, model) VALUES ('2026-01-01', 'ada', :here:, 'm')
"""
BLOCK = """
    INSERT INTO verification_chain
        (height, hash, previous_hash, term, header, tree_size, root, sealed_at) VALUES """
LOG = "INSERT INTO consensus_log (log_index, term, command_type, data, committed) VALUES "
RANGE = "INSERT INTO block_leaves (height, node_id, first, last, tree_start) VALUES "
NEXT = BLOCK + "(2, sha256('2'), sha256('1'), 1, 'h', 9, sha256('r'), now());"
STATE = "INSERT INTO character_evolution VALUES (:here:, now(), 1, NULL, {}, 'scorer', NULL, 'sealed', 1)"
RELATED = "INSERT INTO relational_evolution VALUES (:here:, now(), 1, {})"
MEASURED = "INSERT INTO consciousness_metrics (conversation_id, ts, seq, {}) VALUES (:here:, now(), 1, {})"

ALLOWED = {
    "the next block": NEXT,
    "the next range of leaves": NEXT + RANGE + "(2, 'sealed', 4, 9, 5)",
    "the next entry of the log": LOG + "(3, 1, 'round', '{}', true)",
    "the next term": "UPDATE cluster_term SET term = term + 1",
    "a state with axes nobody could observe": STATE.format("array_fill(NULL::real, ARRAY[16])"),
    "a measure that was not estimable": MEASURED.format("phi", "NULL"),
}
REFUSED = {
    "a height left out": (BLOCK + "(3, sha256('3'), sha256('1'), 1, 'h', 9, sha256('r'), now())", FOREIGN),
    "a height twice": (BLOCK + "(1, sha256('2'), sha256('0'), 1, 'h', 9, sha256('r'), now())", UNIQUE),
    "a wrong previous hash": (
        BLOCK + "(2, sha256('2'), sha256('0'), 1, 'h', 9, sha256('r'), now())",
        FOREIGN,
    ),
    "no previous hash": (BLOCK + "(2, sha256('2'), NULL, 1, 'h', 9, sha256('r'), now())", CHECK),
    "a second genesis": (BLOCK + "(0, sha256('2'), NULL, 1, 'h', 9, sha256('r'), now())", UNIQUE),
    "two blocks with one tree size": (
        BLOCK + "(2, sha256('2'), sha256('1'), 1, 'h', 5, sha256('r'), now())",
        UNIQUE,
    ),
    "a hash that is none": (BLOCK + "(2, 'short', sha256('1'), 1, 'h', 9, sha256('r'), now())", CHECK),
    "a block rewritten": ("UPDATE verification_chain SET root = sha256('other')", HISTORY),
    "a block taken away": ("DELETE FROM verification_chain WHERE height = 1", HISTORY),
    "the chain emptied": ("TRUNCATE verification_chain CASCADE", HISTORY),
    "leaves sealed twice": (NEXT + RANGE + "(2, 'sealed', 1, 3, 5)", UNIQUE),
    "ranges that overlap": (NEXT + RANGE + "(2, 'sealed', 3, 9, 5)", FOREIGN),
    "leaves left out": (NEXT + RANGE + "(2, 'sealed', 5, 9, 5)", FOREIGN),
    "leaves that are not there": (NEXT + RANGE + "(2, 'sealed', 4, 12, 5)", FOREIGN),
    "a range that ends before it begins": (NEXT + RANGE + "(2, 'sealed', 4, 3, 5)", CHECK),
    "a range of a block that is not there": (RANGE + "(2, 'sealed', 4, 9, 5)", FOREIGN),
    "a range rewritten": ("UPDATE block_leaves SET last = 9", HISTORY),
    "a vote for another hash": (
        "INSERT INTO votes VALUES (1, 1, 'node-2', sha256('2'), sha512('s'))",
        FOREIGN,
    ),
    "two votes of one node in a term": (
        "INSERT INTO votes VALUES (1, 1, 'node-1', sha256('1'), sha512('t'))",
        UNIQUE,
    ),
    "a signature that is none": ("INSERT INTO votes VALUES (1, 1, 'node-2', sha256('1'), 'short')", CHECK),
    "a vote withdrawn": ("DELETE FROM votes", HISTORY),
    "a checkpoint of no block": ("INSERT INTO checkpoints VALUES (6, 'note')", FOREIGN),
    "a checkpoint rewritten": ("UPDATE checkpoints SET note = 'other'", HISTORY),
    "a cosignature taken back": ("DELETE FROM cosignatures", HISTORY),
    "a term going back": ("UPDATE cluster_term SET term = term - 1", TERM),
    "a term taken twice": ("UPDATE cluster_term SET leader = 'node-2'", TERM),
    "a second term beside the first": ("INSERT INTO cluster_term VALUES (false, 9)", CHECK),
    "the term forgotten": ("DELETE FROM cluster_term", HISTORY),
    "a decision left out": (LOG + "(4, 1, 'round', '{}', true)", FOREIGN),
    "a decision twice": (LOG + "(2, 1, 'round', '{}', true)", UNIQUE),
    "a decision rewritten": ("UPDATE consensus_log SET committed = true", HISTORY),
    "a decision forgotten": ("DELETE FROM consensus_log WHERE log_index = 2", HISTORY),
    "a state with too few axes": (STATE.format(AXES.format(15)), CHECK),
    "a score above one": (STATE.format("array_fill(1.1::real, ARRAY[16])"), CHECK),
    "a score below zero": (STATE.format("array_fill((-0.1)::real, ARRAY[16])"), CHECK),
    "a score that is no number": (STATE.format("array_fill('NaN'::real, ARRAY[16])"), CHECK),
    "a score without a leaf": (
        STATE.format(AXES.format(16)).replace("'sealed', 1", "'sealed', 99"),
        FOREIGN,
    ),
    "a state scored twice": (STATE.format(AXES.format(16)).replace("now()", "'2026-01-01'"), UNIQUE),
    "a relation with too many axes": (RELATED.format(AXES.format(8)), CHECK),
    "a measure that is no number": (MEASURED.format("phi", "'NaN'"), CHECK),
    "trust of more than all": (MEASURED.format("trust", "1.5"), CHECK),
    "a snapshot with another hash": (
        "INSERT INTO snapshots VALUES (gen_random_uuid(), :here:, now(), 0, 's', sha256('t'), 'sealed', 1)",
        CHECK,
    ),
    "two snapshots of one moment": (
        """INSERT INTO snapshots
           VALUES (gen_random_uuid(), :here:, '2026-01-01', 0, 's', sha256('s'), 'sealed', 1)""",
        UNIQUE,
    ),
    "a snapshot rewritten": ("UPDATE snapshots SET state = 't', hash = sha256('t')", HISTORY),
    "fewer than no tokens": ("UPDATE usage SET output_tokens = output_tokens - 1", CHECK),
    "a negative price": ("UPDATE usage SET cost_microdollars = -1", CHECK),
    "a user without a name": ("INSERT INTO users (id, name, tier) VALUES (:here:, '', 'user')", CHECK),
    "two users of one name": (
        """INSERT INTO users (id, name, tier)
           VALUES (:here:, 'Bo', 'user'), (gen_random_uuid(), 'bO', 'user')""",
        UNIQUE,
    ),
}


@pytest_asyncio.fixture(loop_scope="session")
async def here(shared: Store, direct: Connection) -> str:
    named = f"'{await shared.conversation()}'"
    await direct.execute(SCENE.replace(":here:", named))
    return named


@pytest.mark.parametrize("statements", ALLOWED.values(), ids=ALLOWED.keys())
async def test_the_database_allows(direct: Connection, here: str, statements: str) -> None:
    await direct.execute(statements.replace(":here:", here))


@pytest.mark.parametrize(("statements", "state"), REFUSED.values(), ids=REFUSED.keys())
async def test_the_database_refuses(direct: Connection, here: str, statements: str, state: str) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        await direct.execute(statements.replace(":here:", here))
    assert refused.value.sqlstate == state, refused.value


async def test_leaves_are_hashed_as_the_merkle_tree_wants_them(direct: Connection, here: str) -> None:
    assert await direct.fetchval(
        "SELECT hash = sha256('\\x0078'::bytea) FROM leaves WHERE node_id = 'sealed' AND number = 1"
    )
