"""The database's roles: who owns the schema, what nodes may do in it, and what an auditor reads.

    the owner     makes and migrates the schema; a taken owner can do anything to it
    ccn_node      adds and changes rows as nodes do, under every trigger; owns nothing
    ccn_auditor   reads the record, and nothing that people said
    ccn_gateway   reads what doors show, and writes nothing

The roles are the server's. What each of them gets in a database is told by the database itself
(`ccn_grants()` in `schema/`), so that it changes together with the tables.
"""

from __future__ import annotations

from collections.abc import Mapping

import asyncpg

from ccn import errors
from ccn.store.connection import failure, migrate
from ccn.store.connection.pool import Connection, Pool

NODE, AUDITOR, GATEWAY = "ccn_node", "ccn_auditor", "ccn_gateway"
ROLES = (NODE, AUDITOR, GATEWAY)


async def list_statements(url: str) -> list[str]:
    """List the statements that `grant_roles` would run."""
    async with failure.translate_errors(), migrate.connect(url) as connection:
        there = await _existing_roles(connection)
        made = [f"CREATE ROLE {role} NOLOGIN" for role in ROLES if role not in there]
        return made + [row["statement"] for row in await connection.fetch(_GRANTS, list(ROLES))]


async def grant_roles(url: str, passwords: Mapping[str, str] | None = None) -> None:
    """Make the roles that are missing, and give each what it needs here; with a password it may log in."""
    async with failure.translate_errors(), migrate.connect(url) as connection, connection.transaction():
        await migrate.lock_schema(connection)
        there = await _existing_roles(connection)
        for role in ROLES:
            if role not in there:
                await _create_role(connection, role)
        for role, password in (passwords or {}).items():
            await connection.execute(await connection.fetchval(_LETS_IN, role, password))
        await connection.execute("SELECT ccn_grant()")


async def check_reads_only(pool: Pool) -> None:
    """Refuse a role that could write anything: a gateway writes nothing, whoever takes it over."""
    tables = [row["name"] for row in await pool.rows(_WRITABLE)]
    if tables:
        raise errors.SettingsInvalid(
            f"CCN_DATABASE_URL: a gateway only reads, and this role may write to {', '.join(tables[:3])}"
            f"{' and others' if len(tables) > 3 else ''}: log in as {GATEWAY}, which"
            " `ccn migrate --grants` makes, or as a member of it"
        )


async def _existing_roles(connection: Connection) -> set[str]:
    rows = await connection.fetch(_THERE, list(ROLES))
    return {row["rolname"] for row in rows}


async def _create_role(connection: Connection, role: str) -> None:
    try:
        await connection.execute(f"CREATE ROLE {role} NOLOGIN")
    except asyncpg.InsufficientPrivilegeError as refused:
        raise errors.SchemaRefused(
            f"this role may not make others: have a superuser run CREATE ROLE {role}, then run this again"
        ) from refused


_THERE = "SELECT rolname FROM pg_roles WHERE rolname = ANY ($1::text[])"
_LETS_IN = "SELECT format('ALTER ROLE %I LOGIN PASSWORD %L', $1::text, $2::text)"
_GRANTS = "SELECT statement FROM ccn_grants() WHERE grantee = ANY ($1::text[]) ORDER BY step, statement"
_WRITABLE = """
    SELECT c.oid::regclass::text AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')
      AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
    ORDER BY 1
"""
