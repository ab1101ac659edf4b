"""The database itself refuses what must never happen to conversations, turns and instances."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

import asyncpg
import pytest
import pytest_asyncio

from ccn.core import turn as life
from ccn.core.message import Role
from ccn.core.turn import TurnStatus
from ccn.store.conversations import conversations, instances, turns
from ccn.store.upkeep import retention
from tests.support.speakers import ANN, WREN

if TYPE_CHECKING:
    from tests.support.store.open_store import Store

    Connection = asyncpg.Connection[asyncpg.Record]

CHECK, UNIQUE, FOREIGN, NULL = "23514", "23505", "23503", "23502"
HISTORY, ORDER, VERSION, ARROW, SEAL = "CCN01", "CCN02", "CCN03", "CCN04", "CCN05"

LEAVES = "INSERT INTO leaves (node_id, number, kind, body) "
SEALED = f"{LEAVES} SELECT 'node-1', head + 1, 'message', 'x' FROM leaf_sources WHERE node_id = 'node-1'"
REDACTED = """
    INSERT INTO redactions (conversation_id, first_seq, last_seq, by, reason, at, leaf_node, leaf_number)
"""
SPAWNED = """
    INSERT INTO instance_registry
    SELECT gen_random_uuid(), conversation_id, character_id, host, {epoch}, status, model, plate_version,
           now(), NULL, NULL, now(), NULL, 1
    FROM instance_registry WHERE id = :instance:
"""
SAID = """
    INSERT INTO messages (conversation_id, seq, role, content, salt, speaker, created_at, host_epoch,
                          leaf_node, leaf_number)
    SELECT {c}, {seq}, 'user', 'hi', sha256('s'), 'account:' || gen_random_uuid(), {at}, {epoch},
           'node-1', head
    FROM leaf_sources WHERE node_id = 'node-1'
"""


@dataclass
class Scene:
    """One hosted conversation: two messages, a committed turn and a running one; and a closed one."""

    store: Store
    sql: Connection
    names: dict[str, Any]

    async def run(self, statements: str) -> None:
        """Statements with the scene's names filled in; deferred constraints are checked at the end."""
        for name, value in self.names.items():
            statements = statements.replace(f":{name}:", f"'{value}'")
        await self.sql.execute(statements)
        await self.sql.execute("SET CONSTRAINTS ALL IMMEDIATE")


@pytest_asyncio.fixture(loop_scope="session")
async def scene(shared: Store, direct: Connection) -> AsyncIterator[Scene]:
    here, closed = await shared.conversation(), await shared.conversation()
    await shared.writer.submit(
        conversations.CloseConversation(await conversations.load_conversation(shared.pool, closed))
    )
    hosted = await shared.host(here)
    done = await shared.turn(hosted)
    await shared.writer.submit(turns.CommitReply(done, hosted.epoch, "hello yourself", WREN))
    running = await shared.turn(hosted, "and now?")
    await shared.writer.submit(
        turns.EmitEvents(running.id, hosted.epoch, [turns.TurnEvent(1, "delta", "We")])
    )
    yield Scene(
        shared,
        direct,
        {"here": here, "closed": closed, "done": done.id, "running": running.id, "instance": hosted.id},
    )


def _say(c: str = ":here:", seq: str = "4", at: str = "now()", epoch: str = "1") -> str:
    return f"{SEALED}; {SAID.format(c=c, seq=seq, at=at, epoch=epoch)}"


def _say_two(kinds: str, back: str) -> str:
    """Leaves of these kinds, and two messages that have those so many before the last."""
    sealed = (
        f"{LEAVES} SELECT 'node-1', head + nth, kind, 'x' FROM leaf_sources,"
        f" unnest('{kinds}'::text[]) WITH ORDINALITY AS new (kind, nth) WHERE node_id = 'node-1'"
    )
    said = SAID.format(c=":here:", seq="3 + n", at="now()", epoch="1").replace(
        "head", f"head - ('{back}'::int[])[n]"
    )
    return f"{sealed}; {said.replace('FROM', 'FROM generate_series(1, 2) AS n,')}"


async def test_what_the_scene_needs_to_be_true_is_allowed(scene: Scene) -> None:
    await scene.run(_say())
    await scene.run(_say(seq="5"))


@pytest.mark.parametrize(
    ("kinds", "back"),
    [("{message,message}", "{1,0}"), ("{message,turn,message}", "{2,0}"), ("{message,message}", "{0,1}")],
)
async def test_messages_said_together_may_have_leaves_between_which_others_stand(
    scene: Scene, kinds: str, back: str
) -> None:
    await scene.run(_say_two(kinds, back))


REFUSED = {
    # messages
    "a gap in the sequence": (_say(seq="5"), ORDER),
    "a place taken already": (_say(seq="3"), UNIQUE),
    "a place before the first": (_say(seq="0"), ORDER),
    "a message from before the last": (_say(at="'2020-01-01'"), ORDER),
    "a message under an old epoch": (_say(epoch="0"), ORDER),
    "a message under an epoch to come": (_say(epoch="2"), ORDER),
    "a message in a closed conversation": (_say(":closed:", "1", epoch="0"), ORDER),
    "a message in no conversation": (_say("gen_random_uuid()", "1", epoch="0"), ORDER),
    "a message whose leaf is not there": (
        SAID.format(c=":here:", seq="4", at="now()", epoch="1").replace(
            "'node-1', head", "'node-1', head + 1"
        ),
        SEAL,
    ),
    "a message whose leaf is about something else": (
        SEALED.replace("'message'", "'turn'")
        + "; "
        + SAID.format(c=":here:", seq="4", at="now()", epoch="1"),
        SEAL,
    ),
    "two messages of which one has a turn's leaf": (_say_two("{message,turn}", "{1,0}"), SEAL),
    "two messages, leaves apart, one of them a turn's": (
        _say_two("{message,message,turn}", "{2,0}"),
        SEAL,
    ),
    "two messages of which one has a leaf to come": (_say_two("{message}", "{0,-1}"), SEAL),
    "two messages with a gap between them": (
        _say_two("{message,message}", "{1,0}").replace("3 + n", "2 + 2 * n"),
        ORDER,
    ),
    "two messages under two epochs": (
        _say_two("{message,message}", "{1,0}").replace("now(), 1,", "now(), n,"),
        ORDER,
    ),
    "two messages with one leaf": (
        SAID.format(c=":here:", seq="4", at="now()", epoch="1").replace(
            "head", "(SELECT max(leaf_number) FROM messages)"
        ),
        UNIQUE,
    ),
    "time running backwards inside one statement": (
        f"{SEALED}; {SEALED}; "
        + SAID.format(c=":here:", seq="3 + n", at="now() - n * interval '1 s'", epoch="1").replace(
            "FROM leaf_sources", "- 2 + n FROM generate_series(1, 2) AS n, leaf_sources"
        ),
        ORDER,
    ),
    "an empty message": (f"{SEALED}; {_say().partition(';')[2].replace('hi', '')}", CHECK),
    "content without salt": (_say().replace("sha256('s')", "NULL"), CHECK),
    "a salt of another length": (_say().replace("sha256('s')", "'short'"), CHECK),
    "a speaker who is neither": (_say().replace("'user'", "'system'"), CHECK),
    "an edit": ("UPDATE messages SET content = 'better' WHERE conversation_id = :here:", HISTORY),
    "a redaction nobody wrote down": (
        "UPDATE messages SET content = NULL, salt = NULL WHERE conversation_id = :here:",
        HISTORY,
    ),
    "another time": ("UPDATE messages SET created_at = now() WHERE conversation_id = :here:", HISTORY),
    "a deleted message": ("DELETE FROM messages WHERE conversation_id = :here:", HISTORY),
    "a table emptied": ("TRUNCATE messages CASCADE", HISTORY),
    # conversations
    "a conversation with nobody": (
        (
            "INSERT INTO conversations (id, character_id, created_at, changed_at)"
            " VALUES (gen_random_uuid(), 'nobody', now(), now())"
        ),
        FOREIGN,
    ),
    "a plate that does not exist": (
        "UPDATE conversations SET plate_version = 9, version = version + 1 WHERE id = :here:",
        FOREIGN,
    ),
    "a change without a version": ("UPDATE conversations SET status = 'closed' WHERE id = :here:", VERSION),
    "a version left out": (
        "UPDATE conversations SET status = 'closed', version = version + 2 WHERE id = :here:",
        VERSION,
    ),
    "a change before the last one": (
        "UPDATE conversations SET version = version + 1, changed_at = '2020-01-01' WHERE id = :here:",
        VERSION,
    ),
    "an epoch that goes back": ("UPDATE conversations SET host_epoch = 0 WHERE id = :here:", ARROW),
    "a conversation deleted": ("DELETE FROM conversations WHERE id = :here:", FOREIGN),
    "a version rewritten": ("UPDATE conversation_versions SET status = 'open'", HISTORY),
    "a version deleted": ("DELETE FROM conversation_versions", HISTORY),
    "a head before the first message": ("UPDATE conversations SET head_seq = -1 WHERE id = :here:", CHECK),
    "a title without end": ("UPDATE conversations SET title = repeat('x', 501) WHERE id = :here:", CHECK),
    "a state that is none": (
        "UPDATE conversations SET status = 'ajar', version = version + 1 WHERE id = :here:",
        CHECK,
    ),
    "another time of birth": ("UPDATE conversations SET created_at = now() WHERE id = :here:", HISTORY),
    # leaves
    "a leaf before the first": (
        f"INSERT INTO leaf_sources VALUES ('other'); {LEAVES} VALUES ('other', 0, 'message', 'x')",
        ORDER,
    ),
    "a gap in the leaves": (SEALED.replace("head + 1", "head + 2"), ORDER),
    "a leaf twice": (SEALED.replace("head + 1", "head"), UNIQUE),
    "a leaf of an unknown node": (f"{LEAVES} VALUES ('nobody', 1, 'message', 'x')", ORDER),
    "leaves of two nodes at once": (
        (
            f"INSERT INTO leaf_sources VALUES ('other'); {LEAVES} SELECT node_id, head + 1, 'message', 'x'"
            " FROM leaf_sources"
        ),
        ORDER,
    ),
    "a leaf changed": ("UPDATE leaves SET body = 'y' WHERE number = 1", HISTORY),
    "a leaf deleted": ("DELETE FROM leaves WHERE number = 1", HISTORY),
    "a node with a name that is none": ("INSERT INTO leaf_sources VALUES ('Node 1')", CHECK),
    # plates
    "a plate with another hash": (
        f"{SEALED}; INSERT INTO plates VALUES ('ada', 2, 'x', 'y', 'me', now(), 'node-1', 1)",
        CHECK,
    ),
    "a version of a plate left out": (
        "INSERT INTO plates VALUES ('ada', 3, sha256('y'), 'y', 'me', now(), 'node-1', 1)",
        FOREIGN,
    ),
    "a plate twice": (
        "INSERT INTO plates SELECT character_id, 2, hash, content, 'me', now(), 'node-1', 1 FROM plates",
        UNIQUE,
    ),
    "a plate edited": ("UPDATE plates SET content = 'z', hash = sha256('z')", HISTORY),
    # redactions
    "a redaction of nothing": (
        (f"{REDACTED} VALUES (:here:, 2, 1, 'me', 'why', now(), 'node-1', 1)"),
        CHECK,
    ),
    "a redaction without a leaf": (
        (f"{REDACTED} VALUES (:here:, 1, 1, 'me', 'why', now(), 'node-1', 999999)"),
        FOREIGN,
    ),
    # turns
    "a second running turn": (
        (
            "INSERT INTO turns (id, conversation_id, status, user_seq, accepted_at)"
            " VALUES ('00000000-0000-0000-0000-000000000001', :here:, 'accepted', 2, now());"
            " UPDATE turns SET status = 'running' WHERE id = '00000000-0000-0000-0000-000000000001'"
        ),
        UNIQUE,
    ),
    "a turn born running": (
        (
            "INSERT INTO turns (id, conversation_id, status, user_seq, accepted_at)"
            " VALUES (gen_random_uuid(), :here:, 'running', 2, now())"
        ),
        ARROW,
    ),
    "two turns of one message": (
        (
            "INSERT INTO turns (id, conversation_id, status, user_seq, accepted_at)"
            " VALUES (gen_random_uuid(), :here:, 'accepted', 1, now())"
        ),
        UNIQUE,
    ),
    "a turn of a message that is not there": (
        (
            "INSERT INTO turns (id, conversation_id, status, user_seq, accepted_at)"
            " VALUES (gen_random_uuid(), :here:, 'accepted', 77, now())"
        ),
        FOREIGN,
    ),
    "a turn committed without a reply": (
        (
            "UPDATE turns SET status = 'committed', ended_at = now(), leaf_node = 'node-1', leaf_number = 1"
            " WHERE id = :running:"
        ),
        CHECK,
    ),
    "a reply before its question": (
        (
            "UPDATE turns SET status = 'committed', reply_seq = 1, ended_at = now(), leaf_node = 'node-1',"
            " leaf_number = 1 WHERE id = :running:"
        ),
        CHECK,
    ),
    "one reply to two turns": (
        (
            "UPDATE turns SET status = 'committed', reply_seq = 2, ended_at = now(), leaf_node = 'node-1',"
            " leaf_number = 1 WHERE id = :running:"
        ),
        (CHECK, UNIQUE),
    ),
    "an end without a leaf": (
        "UPDATE turns SET status = 'cancelled', ended_at = now() WHERE id = :running:",
        CHECK,
    ),
    "an end with half a leaf": (
        "UPDATE turns SET status = 'cancelled', ended_at = now(), leaf_number = 1 WHERE id = :running:",
        CHECK,
    ),
    "an end with a leaf that is not there": (
        (
            "UPDATE turns SET status = 'cancelled', ended_at = now(), leaf_node = 'node-1',"
            " leaf_number = 999999 WHERE id = :running:"
        ),
        FOREIGN,
    ),
    "a failure without a reason": (
        (
            "UPDATE turns SET status = 'failed', ended_at = now(), leaf_node = 'node-1', leaf_number = 1"
            " WHERE id = :running:"
        ),
        CHECK,
    ),
    "a turn under an older epoch": ("UPDATE turns SET host_epoch = 0 WHERE id = :running:", ARROW),
    "fewer attempts": ("UPDATE turns SET attempt = 0 WHERE id = :running:", ARROW),
    "another place for a turn": ("UPDATE turns SET user_seq = 1 WHERE id = :running:", ARROW),
    "another key for a turn": ("UPDATE turns SET idempotency_key = 'k' WHERE id = :running:", ARROW),
    "a turn deleted": ("DELETE FROM turns WHERE id = :running:", HISTORY),
    "a second reply": (
        f"{SEALED}; "
        + SAID.format(c=":here:", seq="4", at="now()", epoch="1")
        .replace("'user'", "'assistant'")
        .replace("account:", "instance:")
        .replace("leaf_node, leaf", "turn_id, leaf_node, leaf")
        .replace("'node-1', head", ":done:, 'node-1', head"),
        UNIQUE,
    ),
    # turn events
    "a gap in the stream": ("INSERT INTO turn_events VALUES (:running:, 3, 'delta', '', 1, now())", ORDER),
    "a piece of the stream twice": (
        "INSERT INTO turn_events VALUES (:running:, 1, 'delta', '', 1, now())",
        UNIQUE,
    ),
    "a piece under another epoch": (
        "INSERT INTO turn_events VALUES (:running:, 2, 'delta', '', 2, now())",
        ORDER,
    ),
    "a piece after the end": ("INSERT INTO turn_events VALUES (:done:, 1, 'delta', '', 1, now())", ORDER),
    "pieces under two epochs": (
        "INSERT INTO turn_events SELECT :running:, n, 'd', '', n - 1, now() FROM generate_series(2, 3) n",
        ORDER,
    ),
    "a piece of no turn": (
        "INSERT INTO turn_events VALUES (gen_random_uuid(), 1, 'delta', '', 1, now())",
        (FOREIGN, ORDER),
    ),
    "a piece rewritten": ("UPDATE turn_events SET data = 'I' WHERE turn_id = :running:", HISTORY),
    # instances
    "two instances of one conversation": (
        (SPAWNED.format(epoch=2)),
        UNIQUE,
    ),
    "an instance under an epoch that was": (
        (SPAWNED.format(epoch=1)),
        ARROW,
    ),
    "a change that is no new version": (
        "UPDATE instance_registry SET status = 'quarantined' WHERE id = :instance:",
        VERSION,
    ),
    "an instance back at an older version": (
        "UPDATE instance_registry SET version = 0 WHERE id = :instance:",
        VERSION,
    ),
    "a change without a life": (
        "UPDATE instance_registry SET status = 'running', version = version + 1 WHERE id = :instance:",
        FOREIGN,
    ),
    "another host under the same epoch": (
        "UPDATE instance_registry SET host = 'thief', version = version + 1 WHERE id = :instance:",
        ARROW,
    ),
    "a host under an older epoch": (
        "UPDATE instance_registry SET epoch = 0, version = version + 1 WHERE id = :instance:",
        (ARROW, CHECK),
    ),
    "an end without a time": (
        "UPDATE instance_registry SET status = 'terminated', version = version + 1 WHERE id = :instance:",
        CHECK,
    ),
    "a drift of more than all": ("UPDATE instance_registry SET drift = 1.5 WHERE id = :instance:", CHECK),
    "an instance deleted": ("DELETE FROM instance_registry WHERE id = :instance:", HISTORY),
    "a life left out": (
        "INSERT INTO instance_lives VALUES (:instance:, 3, now(), 'n', 1, 'running', 'x', 'node-1', 1)",
        FOREIGN,
    ),
    "a life rewritten": ("UPDATE instance_lives SET reason = 'none'", HISTORY),
}


@pytest.mark.parametrize(("statements", "state"), REFUSED.values(), ids=REFUSED.keys())
async def test_the_database_refuses(scene: Scene, statements: str, state: str | tuple[str, ...]) -> None:
    with pytest.raises(asyncpg.PostgresError) as refused:
        await scene.run(statements)
    assert refused.value.sqlstate in (state if isinstance(state, tuple) else (state,)), refused.value


async def test_an_instance_that_ended_stays_ended(scene: Scene) -> None:
    hosted = await instances.load_instance(scene.store.pool, scene.names["instance"])
    end = instances.ChangeInstance(hosted, instances.InstanceStatus.TERMINATED, "over")
    await scene.store.writer.submit(end)
    with pytest.raises(asyncpg.PostgresError) as refused:
        await scene.run(
            "UPDATE instance_registry SET status = 'running', ended_at = NULL, version = version + 1"
            " WHERE id = :instance:"
        )
    assert refused.value.sqlstate == ARROW


@pytest.mark.parametrize(("now", "to"), list(product(TurnStatus, TurnStatus)))
async def test_a_turn_moves_along_the_same_arrows_in_the_database_and_in_the_core(
    scene: Scene, now: TurnStatus, to: TurnStatus
) -> None:
    ended = "ended_at = now(), leaf_node = 'node-1', leaf_number = 1"
    unended = "ended_at = NULL, leaf_node = NULL, leaf_number = NULL"
    standing = {
        TurnStatus.ACCEPTED: f"reply_seq = NULL, error = NULL, {unended}",
        TurnStatus.RUNNING: f"reply_seq = NULL, error = NULL, {unended}",
        TurnStatus.COMMITTED: f"reply_seq = 4, error = NULL, {ended}",
        TurnStatus.FAILED: f"reply_seq = NULL, error = 'why', {ended}",
        TurnStatus.CANCELLED: f"reply_seq = NULL, error = NULL, {ended}",
    }
    turn = "00000000-0000-0000-0000-000000000001"
    await scene.run(f"{_say()}; UPDATE turns SET status = 'cancelled', {ended} WHERE id = :running:")
    await scene.run(
        "INSERT INTO turns (id, conversation_id, status, user_seq, accepted_at)"
        f" VALUES ('{turn}', :here:, 'accepted', 2, now())"
    )
    path = {TurnStatus.ACCEPTED: [], TurnStatus.COMMITTED: [TurnStatus.RUNNING, now]}.get(now, [now])
    for step in path:
        await scene.run(f"UPDATE turns SET status = '{step}', {standing[step]} WHERE id = '{turn}'")
    move = f"UPDATE turns SET status = '{to}', {standing[to]} WHERE id = '{turn}'"
    standing_still = now is to is TurnStatus.ACCEPTED  # an update of something else, such as the epoch
    if standing_still or to in life.NEXT[now]:
        await scene.run(move)
    else:
        with pytest.raises(asyncpg.PostgresError) as refused:
            await scene.run(move)
        assert refused.value.sqlstate == ARROW


@pytest.mark.parametrize(
    "change",
    [
        "content = 'other'",
        "role = 'assistant'",
        "created_at = now()",
        "seq = 9",
        "salt = sha256('t')",
        "content = NULL, salt = NULL, language = 'german'",
        "content = NULL, salt = NULL, turn_id = NULL",
        "content = NULL, salt = NULL, leaf_number = 1",
        "content = NULL",
    ],
)
async def test_a_redaction_permits_nothing_but_the_content_to_go(scene: Scene, change: str) -> None:
    here = scene.names["here"]
    await scene.store.writer.submit(retention.RedactMessages(here, 1, 1, "admin", "asked"))
    await scene.sql.execute(
        f"{REDACTED} VALUES ($1, 3, 3, 'admin', 'asked', now(), 'node-1', 1)",
        here,
    )
    with pytest.raises(asyncpg.PostgresError) as refused:
        await scene.run(f"UPDATE messages SET {change} WHERE conversation_id = :here: AND seq = 3")
    assert refused.value.sqlstate in {HISTORY, CHECK}


async def test_one_key_says_one_thing_even_when_two_nodes_write_at_once(
    shared: Store, direct: Connection
) -> None:
    here = await shared.conversation()
    await shared.writer.submit(
        conversations.AppendMessage(here, Role.USER, "once", ANN, idempotency_key="k")
    )
    said = SAID.format(c="$1", seq="2", at="now()", epoch="0").replace(
        "leaf_number)", "leaf_number, idempotency_key)"
    )
    await direct.execute(SEALED)
    with pytest.raises(asyncpg.UniqueViolationError):
        await direct.execute(said.replace("head\n", "head, 'k'\n"), here)
