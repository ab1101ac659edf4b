"""Roles: a node cannot go round the rules that bind it, and has all it needs; an auditor reads no words."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

import asyncpg
import pytest
import pytest_asyncio
from pydantic import SecretStr

from ccn import errors, settings
from ccn.core.axes import Vector
from ccn.core.ids import NodeId
from ccn.store.character import vectors
from ccn.store.connection import migrate, pool, roles, standbys
from ccn.store.connection.pool import Pool
from ccn.store.conversations import conversations
from ccn.store.rounds import terms
from ccn.store.upkeep import retention
from tests.support.store.open_store import Store, keeping

PASSWORD = "no-secret-at-all"


@dataclass
class Granted:
    """A database, its owner, and how the others log in."""

    owner: settings.DatabaseSettings

    @property
    def owner_name(self) -> str:
        return str(urlsplit(self.owner.url.get_secret_value()).username)

    def url(self, role: str) -> str:
        _, _, place = self.owner.url.get_secret_value().partition("@")
        return f"postgresql://{role}:{PASSWORD}@{place}"

    async def refuses(self, role: str, *statements: str) -> None:
        connection = await asyncpg.connect(self.url(role))
        try:
            *before, last = statements
            for sql in before:
                await connection.execute(sql)
            with pytest.raises(asyncpg.PostgresError, match=r"permission denied|must be owner|no series"):
                await connection.execute(last)
        finally:
            await connection.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def granted(shared_database: settings.DatabaseSettings) -> Granted:
    await roles.grant_roles(shared_database.url.get_secret_value(), dict.fromkeys(roles.ROLES, PASSWORD))
    return Granted(shared_database)


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def node(granted: Granted) -> AsyncIterator[Store]:
    """A store that is a node's: nothing here is done by the owner."""
    url = SecretStr(granted.url(roles.NODE))
    async with keeping(granted.owner.model_copy(update={"url": url})) as kept:
        yield kept


@pytest.mark.parametrize(
    "forbidden",
    [
        "SET session_replication_role = replica",
        "ALTER TABLE leaves DISABLE TRIGGER ALL",
        "DELETE FROM leaves",
        "UPDATE leaves SET kind = kind",
        "TRUNCATE cosignatures",
        "UPDATE verification_chain SET term = term",
        "DELETE FROM messages",
        "UPDATE schema_migrations SET name = name",
        "SELECT pg_read_file('/etc/hostname')",
        "COPY (SELECT 1) TO PROGRAM 'true'",
        "COPY characters FROM '/etc/hostname'",
        "CREATE TABLE mine (number int)",
        "CREATE FUNCTION mine() RETURNS int LANGUAGE sql AS 'SELECT 1'",
        "DROP TABLE votes",
        "ALTER ROLE ccn_node SUPERUSER",
        "CREATE ROLE another",
        "SET ROLE {owner}",
        "SELECT ccn_forget('messages', 'ts', now())",
    ],
)
async def test_a_node_owns_nothing_and_turns_no_rule_off(granted: Granted, forbidden: str) -> None:
    await granted.refuses(roles.NODE, forbidden.replace("{owner}", granted.owner_name))


async def test_a_table_of_a_session_s_own_does_not_run_as_the_owner(granted: Granted) -> None:
    """Under the name of a series, with a trigger: it would be an owner's hand."""
    await granted.refuses(
        roles.NODE,
        "CREATE TEMPORARY TABLE character_evolution (ts timestamptz)",
        "INSERT INTO character_evolution VALUES ('-infinity')",
        "CREATE FUNCTION pg_temp.mine() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN OLD; END $$",
        """CREATE TRIGGER mine BEFORE DELETE ON character_evolution
           FOR EACH ROW EXECUTE FUNCTION pg_temp.mine()""",
        "SELECT ccn_forget('pg_temp.character_evolution', 'ts', 'infinity')",
    )


async def test_a_node_does_all_that_a_node_does(node: Store, granted: Granted) -> None:
    url = node.database.url.get_secret_value()
    assert (await migrate.apply_pending(url)).pending == ()
    here = await node.conversation()
    instance = await node.host(here)
    await node.turn(instance, "hello")
    await node.writer.submit(
        vectors.RecordScore(here, 1, Vector((500_000,) * 16), "tier-1/v1", instance.id)
    )
    assert await node.writer.submit(retention.RedactMessages(here, 1, 1, "ann", "asked")) == 1
    late = datetime(2030, 1, 1, tzinfo=UTC)
    await retention.forget_series(node.pool, node.writer, late)
    assert await node.pool.value("SELECT count(*) FROM character_evolution") == 0
    await node.pool.value("SELECT ccn_refresh_rollups($1)", late - timedelta(days=1))
    async with node.pool.transaction() as connection:
        await standbys.commit_marker(connection)
    async with pool.open(node.database, "old leader") as old:
        with pytest.raises(errors.DatabaseUnavailable):
            await _stay_while_another_leads(old, node.pool)
    assert (await terms.load_term(node.pool)).number == 1


async def _stay_while_another_leads(old: Pool, new: Pool) -> None:
    async with old.transaction() as stuck:
        await stuck.execute("SELECT pg_advisory_xact_lock_shared($1)", terms.FENCE)
        await terms.take_over_term(new, NodeId("node-1"), 0.05)
        await stuck.execute("SELECT 1")


async def test_a_node_on_an_older_schema_is_told_who_mends_it(granted: Granted) -> None:
    """As the owner's next file would come with the next version."""
    await granted.refuses(roles.NODE, "DELETE FROM schema_migrations")
    newest = "SELECT max(number) FROM schema_migrations"
    connection = await asyncpg.connect(granted.owner.url.get_secret_value())
    last = await connection.fetchrow(f"DELETE FROM schema_migrations WHERE number = ({newest}) RETURNING *")
    assert last is not None
    try:
        with pytest.raises(errors.SchemaRefused, match="1 schema files are to run, and this role may not"):
            await migrate.apply_pending(granted.url(roles.NODE))
    finally:
        await connection.execute("INSERT INTO schema_migrations VALUES ($1, $2, $3, $4, $5)", *last)
        await connection.close()


async def test_an_auditor_reads_the_record_and_no_words(node: Store, granted: Granted) -> None:
    here = await node.conversation(title="My secret garden")
    await node.say(here, "Zanzibar")
    for hidden in (
        "SELECT content FROM messages",
        "SELECT salt FROM messages",
        "SELECT * FROM messages",
        "SELECT title FROM conversations",
        "SELECT document FROM message_documents",
        "SELECT data FROM turn_events",
        "SELECT idempotency_key FROM turns",
        "SELECT name FROM users",
        "SELECT password_hash FROM users",
        "SELECT * FROM token_keys",
        "SELECT * FROM series_key",
        "SELECT * FROM api_keys",
        "SELECT * FROM refresh_tokens",
        "INSERT INTO characters (id, name) VALUES ('x', 'x')",
        "UPDATE cluster_term SET term = term + 1",
        "SELECT ccn_forget('character_evolution', 'ts', now())",
    ):
        await granted.refuses(roles.AUDITOR, hidden)
    connection = await asyncpg.connect(granted.url(roles.AUDITOR))
    try:
        assert await connection.fetch(
            """SELECT l.body, m.role, m.created_at FROM messages m
                   JOIN leaves l ON l.node_id = m.leaf_node AND l.number = m.leaf_number
               WHERE conversation_id = $1""",
            here,
        )
        for table in (
            "verification_chain",
            "votes",
            "cosignatures",
            "redactions",
            "operator_requests",
            "plates",
        ):
            await connection.fetch(f"SELECT * FROM {table}")
    finally:
        await connection.close()


async def test_a_gateway_reads_what_doors_show_and_can_write_nothing(node: Store, granted: Granted) -> None:
    here = await node.conversation(title="My secret garden")
    await node.say(here, "Zanzibar")
    for refused in (
        "SELECT salt FROM messages",
        "SELECT password_hash FROM users",
        "SELECT hash FROM refresh_tokens",
        "INSERT INTO characters (id, name) VALUES ('x', 'x')",
        "INSERT INTO operator_requests (id, command) VALUES (gen_random_uuid(), 'x')",
        "UPDATE conversations SET title = 'x'",
        "UPDATE cluster_term SET term = term + 1",
        "DELETE FROM refresh_tokens",
        "DELETE FROM token_keys",
        "TRUNCATE turns",
        "SELECT ccn_forget('character_evolution', 'ts', now())",
        "DELETE FROM schema_migrations",
    ):
        await granted.refuses(roles.GATEWAY, refused)
    for role, refuses in ((roles.GATEWAY, False), (roles.NODE, True), (granted.owner_name, True)):
        url = granted.owner.url.get_secret_value() if role == granted.owner_name else granted.url(role)
        async with pool.open(settings.DatabaseSettings.from_url(url), "test") as connections:
            assert (await conversations.load_history(connections, here)).messages[0].content == "Zanzibar"
            if not refuses:
                await roles.check_reads_only(connections)
                continue
            with pytest.raises(errors.SettingsInvalid, match="log in as ccn_gateway"):
                await roles.check_reads_only(connections)


async def test_every_table_is_a_node_s_to_read_and_no_history_is_its_to_change(granted: Granted) -> None:
    connection = await asyncpg.connect(granted.owner.url.get_secret_value())
    try:
        found = await connection.fetch(
            """SELECT c.relname AS name,
                      has_table_privilege('ccn_node', c.oid, 'SELECT') AS reads,
                      has_table_privilege('ccn_node', c.oid, 'TRUNCATE, TRIGGER, REFERENCES') AS more,
                      has_table_privilege('ccn_node', c.oid, 'UPDATE') AS changes
               FROM pg_class c WHERE relnamespace = 'public'::regnamespace AND relkind = 'r'"""
        )
    finally:
        await connection.close()
    assert [row["name"] for row in found if not row["reads"] or row["more"]] == []
    kept = {row["name"] for row in found if not row["changes"]}
    assert {"leaves", "verification_chain", "votes", "cosignatures", "redactions", "plates"} <= kept
    assert {"messages", "conversations", "turns", "leaf_sources"}.isdisjoint(kept)


async def test_what_would_be_granted_can_be_read_first(database: settings.DatabaseSettings) -> None:
    url = database.url.get_secret_value()
    told = await roles.list_statements(url)
    assert any("GRANT SELECT, INSERT ON leaves TO ccn_node" in each for each in told)
    words = [each for each in told if "content" in each]  # those of a plate are an operator's
    assert [each.partition(" ON ")[2] for each in words if "ccn_auditor" in each] == [
        "plates TO ccn_auditor"
    ]
    await roles.grant_roles(url)
    await roles.grant_roles(url)  # again changes nothing
