"""What a statement of a schema file locks, told from its words: for the plan of an upgrade, and the rules.

What a block of PL/pgSQL does is decided while it runs, so it is shown as that and not guessed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from ccn.store.schema import schema_files
from ccn.store.schema.schema_files import Migration


class Lock(StrEnum):
    """What a statement takes of a table, and so who waits for whom."""

    UNKNOWN = "decided while it runs"
    EXCLUSIVE = "ACCESS EXCLUSIVE"
    """Nobody reads or writes meanwhile."""
    NO_WRITES = "SHARE"
    """Nobody writes meanwhile."""
    NO_WRITES_NOR_TRIGGERS = "SHARE ROW EXCLUSIVE"
    """Nobody writes meanwhile."""
    NO_CHANGES = "SHARE UPDATE EXCLUSIVE"
    """Everybody reads and writes on; other changes of the schema and VACUUM wait."""
    ROWS = "ROW EXCLUSIVE"
    """Everybody reads and writes on, but for the rows that it changes."""

    @property
    def blocks(self) -> str:
        """Who waits while it is held."""
        return _BLOCKS[self]


@dataclass(frozen=True, slots=True, order=True)
class TableLock:
    """A table, and what a file takes of it; no name where it is decided while it runs."""

    table: str
    lock: Lock


def list_locks(migration: Migration) -> tuple[TableLock, ...]:
    """The strongest lock on each table that is there already, in the order of their names."""
    statements = plain_statements(migration)
    made = set(list_made_tables(statements))
    strongest = dict[str, Lock]()
    for held in (each for statement in statements for each in find_locks(statement)):
        if held.table not in made and _RANK[held.lock] < _RANK.get(strongest.get(held.table), len(Lock)):
            strongest[held.table] = held.lock
    return tuple(TableLock(table, lock) for table, lock in sorted(strongest.items()))


def plain_statements(migration: Migration) -> list[str]:
    """The statements of a file without comments."""
    return [schema_files.remove_comments(each) for each in schema_files.split_statements(migration.sql)]


def fills_in(migration: Migration) -> bool:
    """Whether it changes rows, so many at a time."""
    return not migration.in_transaction and any(map(CHANGES_ROWS.match, plain_statements(migration)))


def list_made_tables(statements: list[str]) -> list[str]:
    """The tables that a file itself makes: nobody else uses them yet."""
    return [plain_name(made[1]) for each in statements if (made := _MADE.match(each))]


def find_locks(statement: str) -> Iterator[TableLock]:
    """What one statement takes; nothing if it touches no table."""
    for words, lock in _LOCKS:
        if found := words.match(statement):
            yield TableLock(plain_name(found["table"]) if "table" in found.groupdict() else "", lock)
            break
    if _REFERRING.match(statement):
        for other in re.findall(rf"\bREFERENCES ({_NAME})", statement, re.IGNORECASE):
            yield TableLock(plain_name(other), Lock.NO_WRITES_NOR_TRIGGERS)


def plain_name(name: str) -> str:
    """A table's name without quotes and schema, small as PostgreSQL keeps it."""
    last = name.rpartition(".")[2] if not name.endswith('"') else name.rpartition('."')[2]
    return last.strip('"') if '"' in name else last.lower()


_NAME = r'(?:\w+|"[^"]+")(?:\.(?:\w+|"[^"]+"))?'
_TABLE = rf"(?P<table>{_NAME})"


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


CHANGES_ROWS = _words(r"(?:WITH|INSERT|UPDATE|DELETE)\b")
_MADE = _words(rf"CREATE (?:UNLOGGED )?TABLE (?:IF NOT EXISTS )?({_NAME})")
_REFERRING = _words(r"(?:CREATE (?:UNLOGGED )?|ALTER )TABLE (?!.*\bVALIDATE\b)")
_ALTER = r"ALTER TABLE (?:IF EXISTS )?(?:ONLY )?"
_LOCKS = (
    (_words(rf"CREATE (?:UNIQUE )?INDEX CONCURRENTLY .*? ON (?:ONLY )?{_TABLE}"), Lock.NO_CHANGES),
    (_words(rf"CREATE (?:UNIQUE )?INDEX .*?ON (?:ONLY )?{_TABLE}"), Lock.NO_WRITES),
    (_words(rf"{_ALTER}{_TABLE} VALIDATE CONSTRAINT \w+$"), Lock.NO_CHANGES),
    (_words(rf"{_ALTER}{_TABLE} ADD CONSTRAINT \S+ FOREIGN KEY"), Lock.NO_WRITES_NOR_TRIGGERS),
    (_words(rf"{_ALTER}{_TABLE} "), Lock.EXCLUSIVE),
    (
        _words(rf"CREATE (?:OR REPLACE )?(?:CONSTRAINT )?TRIGGER .*? ON {_TABLE}"),
        Lock.NO_WRITES_NOR_TRIGGERS,
    ),
    (_words(rf"DROP TRIGGER .*? ON {_TABLE}"), Lock.EXCLUSIVE),
    (_words(rf"DROP TABLE (?:IF EXISTS )?{_TABLE}"), Lock.EXCLUSIVE),
    (_words(rf"TRUNCATE (?:TABLE )?(?:ONLY )?{_TABLE}"), Lock.EXCLUSIVE),
    (_words(rf"LOCK (?:TABLE )?(?:ONLY )?{_TABLE}"), Lock.EXCLUSIVE),
    (_words(rf"INSERT INTO {_TABLE}"), Lock.ROWS),
    (_words(rf"UPDATE (?:ONLY )?{_TABLE}"), Lock.ROWS),
    (_words(rf"DELETE FROM (?:ONLY )?{_TABLE}"), Lock.ROWS),  # noqa: S608 - nothing runs it
    (_words(r"DROP INDEX CONCURRENTLY"), Lock.NO_CHANGES),
    (_words(r"(?:DO|CALL|DROP|WITH|CLUSTER|VACUUM|REINDEX)\b"), Lock.UNKNOWN),
)
"""The first that matches counts."""

_RANK: dict[Lock | None, int] = {lock: rank for rank, lock in enumerate(Lock)}
_BLOCKS = {
    Lock.EXCLUSIVE: "reads and writes",
    Lock.NO_WRITES: "writes",
    Lock.NO_WRITES_NOR_TRIGGERS: "writes",
    Lock.NO_CHANGES: "nobody",
    Lock.ROWS: "nobody",
    Lock.UNKNOWN: "unknown",
}
