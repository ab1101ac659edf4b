"""Whether the role behind a pool can only read: a gateway writes nothing, whoever takes it over."""

from __future__ import annotations

from ccn import errors
from ccn.store.connection import roles
from ccn.store.connection.pool import Pool


async def check_reads_only(pool: Pool) -> None:
    """Refuse a role that could write anything that nodes write."""
    tables = [row["name"] for row in await pool.rows(_WRITABLE)]
    if tables:
        raise errors.SettingsInvalid(
            f"CCN_DATABASE_URL: a gateway only reads, and this role may write to {', '.join(tables[:3])}"
            f"{' and others' if len(tables) > 3 else ''}: log in as {roles.GATEWAY}, which"
            " `ccn migrate --grants` makes, or as a member of it"
        )


_WRITABLE = """
    SELECT c.oid::regclass::text AS name
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname = current_schema() AND c.relkind IN ('r', 'p')
      AND has_table_privilege(c.oid, 'INSERT, UPDATE, DELETE, TRUNCATE')
    ORDER BY 1
"""
