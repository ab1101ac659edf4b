"""What a schema file may contain, so that nodes serve on while it runs: expand, fill in, contract later.

A test holds every file from 28 on against these rules. They judge words: a table that the file itself makes
is nobody else's yet, and what happens to it is free. They catch a slip, not somebody who wants to get by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from ccn.store.schema import schema_locks
from ccn.store.schema.schema_files import Migration
from ccn.store.schema.schema_locks import Lock, TableLock


def find_faults(migration: Migration) -> tuple[str, ...]:
    """What stops nodes, or cannot be taken up again after a kill; the reasons say what to write instead."""
    if not migration.is_online:
        return ()
    statements = schema_locks.plain_statements(migration)
    made = frozenset(schema_locks.list_made_tables(statements))
    judge = _judge_in_transaction if migration.in_transaction else _judge_outside
    return tuple(
        f"{' '.join(each.split()[:8])} …: {fault}" for each in statements for fault in judge(each, made)
    )


def _judge_in_transaction(statement: str, made: frozenset[str]) -> Iterator[str]:
    yield from (advice for words, advice in _NEVER if words.search(_without_quotes(statement)))
    held = list(schema_locks.find_locks(statement))
    if all(each.table in made or each == _DECIDED_LATER for each in held) and not _WITH.match(statement):
        return
    yield from (advice for words, advice in _ON_TABLES_IN_USE if words.match(statement))
    if _ALTERING.match(statement):
        for action in _split_actions(_without_quotes(statement)):
            yield from (advice for words, advice in _ACTIONS if words.match(action))


def _judge_outside(statement: str, _: frozenset[str]) -> Iterator[str]:
    if not any(words.match(statement) for words in _REPEATABLE):
        yield (
            "outside of a transaction stand only CREATE INDEX CONCURRENTLY with a name, DROP INDEX "
            "CONCURRENTLY IF EXISTS, ALTER TABLE … VALIDATE CONSTRAINT, and rows filled in with a LIMIT"
        )


def _split_actions(statement: str) -> list[str]:
    """What an ALTER TABLE does, one after the other: split at the commas outside of brackets."""
    actions, depth, since = list[str](), 0, 0
    altering = _ALTERING.match(statement)
    rest = statement[altering.end() if altering else 0 :]
    for at, character in enumerate(rest):
        depth += (character == "(") - (character == ")")
        if character == "," and depth == 0:
            actions.append(rest[since:at].strip())
            since = at + 1
    return [*actions, rest[since:].strip()]


def _without_quotes(statement: str) -> str:
    return re.sub(r"'(?:[^']|'')*'", "''", statement)


def _words(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


_ALTERING = _words(r'ALTER TABLE (?:IF EXISTS )?(?:ONLY )?[\w."]+ ')

_WITH = _words(r"WITH\b")
_DECIDED_LATER = TableLock("", Lock.UNKNOWN)

_NEVER = (
    (
        _words(r"\bSET (?:LOCAL |SESSION )?(?:lock_timeout|statement_timeout)\b"),
        "the migrator sets the time a file may wait, and tries again",
    ),
    (
        _words(r"^(?:BEGIN|START TRANSACTION|COMMIT|END|ROLLBACK|SAVEPOINT)\b"),
        "the migrator begins and ends",
    ),
    (
        _words(r"\bCONCURRENTLY\b"),
        "this cannot run in a transaction: put it into a file of its own with `-- transaction: none`",
    ),
    (
        _words(r"^DO\b.*\b(?:ALTER TABLE|CREATE (?:UNIQUE )?INDEX|UPDATE|DELETE|TRUNCATE|LOCK)\b"),
        "a block hides what it does to tables: write the statements themselves",
    ),
    (_words(r"^(?:CLUSTER|VACUUM|REINDEX|LOCK|TRUNCATE)\b"), "this holds a table for as long as it takes"),
)
"""Anywhere."""

_ON_TABLES_IN_USE = (
    (_words(r"CREATE (?:UNIQUE )?INDEX"), "build it CONCURRENTLY, in a file with `-- transaction: none`"),
    (
        _words(r"(?:INSERT|UPDATE|DELETE|WITH)\b(?!.*\bVALUES\b)(?!.*\bDEFAULT VALUES\b)"),
        "change rows in a file with `-- transaction: none`, so many at a time (LIMIT)",
    ),
)

_COLUMN = r"ADD (?:COLUMN )?(?!CONSTRAINT|CHECK|FOREIGN|UNIQUE|PRIMARY|EXCLUDE)"
_CONSTANT = r"(?:[-+]?[\d.]+|''|true|false|NULL|now\(\)|CURRENT_TIMESTAMP)(?:::[\w\[\] ]+)?"
_ACTIONS = (
    (
        _words(r"ALTER (?:COLUMN )?\S+ (?:SET DATA )?TYPE\b"),
        "another type writes the table anew: add a column",
    ),
    (
        _words(r"ALTER (?:COLUMN )?\S+ SET NOT NULL"),
        "this reads the whole table: add CHECK (… IS NOT NULL) NOT VALID, and validate it",
    ),
    (_words(r"ALTER (?:COLUMN )?\S+ (?:SET EXPRESSION|ADD GENERATED)"), "this writes the table anew"),
    (_words(r"SET (?:LOGGED|UNLOGGED|TABLESPACE|ACCESS METHOD)\b"), "this writes the table anew"),
    (
        _words(r"ADD (?:CONSTRAINT \S+ )?(?:CHECK|FOREIGN KEY)\b(?!.*\bNOT VALID$)"),
        "add it NOT VALID, and VALIDATE it in a later file with `-- transaction: none`",
    ),
    (
        _words(r"ADD (?:CONSTRAINT \S+ )?(?:UNIQUE|PRIMARY KEY)\b(?! USING INDEX)"),
        "build its index CONCURRENTLY first, then add it USING INDEX",
    ),
    (_words(r"ADD (?:CONSTRAINT \S+ )?EXCLUDE\b"), "this builds an index while nobody writes"),
    (_words(r"VALIDATE CONSTRAINT"), "validate in a file with `-- transaction: none`"),
    (
        _words(
            rf"{_COLUMN}.*"
            r"\b(?:GENERATED|SERIAL|BIGSERIAL|SMALLSERIAL)\b"
        ),
        "this writes the table anew",
    ),
    (
        _words(
            rf"{_COLUMN}.*"
            r"\b(?:REFERENCES|UNIQUE|PRIMARY KEY|CHECK)\b"
        ),
        "add the column first, then its constraint NOT VALID",
    ),
    (
        _words(
            rf"{_COLUMN}.*\bDEFAULT (?!{_CONSTANT}"
            r"(?: NOT NULL)?$)"
        ),
        "a default that is not a constant writes the table anew: fill it in later",
    ),
    (
        _words(rf"{_COLUMN}(?!.*\bDEFAULT\b).*\bNOT NULL\b"),
        "rows of older programs have nothing there: give it a constant DEFAULT",
    ),
)
"""What an ALTER TABLE may not do to a table in use."""

_REPEATABLE = (
    _words(r'CREATE (?:UNIQUE )?INDEX CONCURRENTLY (?!IF\b)(?!ON\b)[\w"]+ ON '),
    _words(r"DROP INDEX CONCURRENTLY IF EXISTS \S+$"),
    _words(r'ALTER TABLE [\w."]+ VALIDATE CONSTRAINT \S+$'),
    _words(r"(?:INSERT|UPDATE|DELETE|WITH)\b.*\bLIMIT \d+"),
)
"""What may run twice, because a kill may come between it and the line that says it ran."""
