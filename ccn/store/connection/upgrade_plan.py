"""What an upgrade of the schema needs: for each file that is to run, who may serve beside it and who waits.

Read only. The sizes are PostgreSQL's own estimates, as old as its last look at the tables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ccn.store.connection import failure, migrate
from ccn.store.connection.migrate import MigrationPlan
from ccn.store.schema import schema_locks
from ccn.store.schema.schema_files import Migration
from ccn.store.schema.schema_locks import TableLock


@dataclass(frozen=True, slots=True)
class TableSize:
    """About how large a table is, with its indexes."""

    rows: int
    bytes: int


@dataclass(frozen=True, slots=True)
class UpgradeStep:
    """A file that is to run, and what that means for nodes at work."""

    migration: Migration
    old_programs_serve: bool
    """Whether programs may serve beside it that know no more than the database has now."""
    locks: tuple[TableLock, ...]
    sizes: Mapping[str, TableSize]
    """Of the tables it locks."""

    @property
    def runs(self) -> str:
        """How it runs."""
        if not self.migration.in_transaction:
            return "in batches" if schema_locks.fills_in(self.migration) else "outside of a transaction"
        return "in a short transaction" if self.migration.is_online else "in one transaction"


async def load_steps(
    url: str, known: Sequence[Migration] | None = None
) -> tuple[MigrationPlan, list[UpgradeStep]]:
    """The plan, and what each pending file needs."""
    plan = await migrate.load_plan(url, known)
    locks = {each: schema_locks.list_locks(each) for each in plan.pending}
    tables = sorted({lock.table for held in locks.values() for lock in held})
    async with failure.translate_errors(), migrate.connect(url) as connection:
        found = await connection.fetch(_SIZES, tables)
    sizes = {row["table"]: TableSize(row["rows"], row["bytes"]) for row in found}
    return plan, [
        UpgradeStep(
            each,
            each.oldest_program <= len(plan.applied),
            locks[each],
            {lock.table: sizes[lock.table] for lock in locks[each] if lock.table in sizes},
        )
        for each in plan.pending
    ]


_SIZES = """
    SELECT c.relname AS table, greatest(c.reltuples, 0)::bigint AS rows,
           pg_total_relation_size(c.oid) AS bytes
    FROM pg_class c
    WHERE c.relnamespace = current_schema()::regnamespace AND c.relkind IN ('r', 'p')
      AND c.relname = ANY ($1::text[])
"""
