"""The files of `schema/`: in which order they run, and what each says at its head about how it may.

    -- oldest program: 27           the oldest program that may serve beside it: one that knows file 27
    -- transaction: none            each statement by itself, so that none of them stops the nodes

A program's age is the newest schema file it knows, which nobody has to keep up to date and which cannot be
wrong. The files up to 27 say nothing: no program serves beside one of them that it does not know.

Separate from `migrate`, which runs them, and `online_rules`, which says what they may contain.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from ccn import errors

HEADLESS = 27
"""The last file without a head. Nobody could say anything there before this was written, and none may be
edited: this number is never raised."""

_LINE = re.compile(r"-- (oldest program|transaction): (\S+)")
_TOKEN = re.compile(
    r"""'(?:[^']|'')*'|"(?:[^"]|"")*"|\$(?P<tag>\w*)\$.*?\$(?P=tag)\$|--[^\n]*|/\*.*?\*/|;""", re.DOTALL
)


@dataclass(frozen=True, slots=True)
class Migration:
    """One file of `schema/`."""

    number: int
    name: str
    sql: str
    checksum: str
    oldest_program: int
    """The newest schema file that the oldest program knows which may serve beside this one."""
    in_transaction: bool = True
    """Whether it runs as a whole or not at all; else it begins again with what is left."""

    @property
    def title(self) -> str:
        """As its file is called."""
        return f"{self.number:04}_{self.name}"

    @property
    def is_online(self) -> bool:
        """Whether it keeps the rules by which nodes serve on while it runs."""
        return self.number > HEADLESS


@cache
def list_migrations() -> tuple[Migration, ...]:
    """The migrations that came with this version, checked to be numbered 1, 2, 3…"""
    return read_migrations(_schema_folder())


def read_migrations(folder: Traversable) -> tuple[Migration, ...]:
    """The migrations of a folder, checked to be numbered 1, 2, 3…"""
    files = sorted((f for f in folder.iterdir() if f.name.endswith(".sql")), key=lambda f: f.name)
    migrations = tuple(_read_migration(file) for file in files)
    if not migrations or [m.number for m in migrations] != list(range(1, len(migrations) + 1)):
        raise errors.SchemaRefused(
            f"schema files must be numbered without gaps: {[m.name for m in migrations]}"
        )
    return migrations


def parse_migration(filename: str, sql: str) -> Migration:
    """A file by its name and its text; from 28 on it says at its head who may serve beside it."""
    number, _, name = filename.removesuffix(".sql").partition("_")
    checksum = hashlib.sha256(sql.encode()).hexdigest()
    if int(number) <= HEADLESS:
        return Migration(int(number), name, sql, checksum, int(number))
    head = _read_head(sql)
    oldest, transaction = head.get("oldest program", ""), head.get("transaction", "")
    if not oldest.isdecimal() or not 1 <= int(oldest) <= int(number):
        raise errors.SchemaRefused(
            f"{filename} does not say at its head which programs may serve beside it: begin it with "
            f"`-- oldest program: N`, N being the newest schema file that these know, {int(number)} at most"
        )
    if transaction not in {"", "none"}:
        raise errors.SchemaRefused(f"{filename}: `-- transaction: none` is all that can be said of it")
    return Migration(int(number), name, sql, checksum, int(oldest), in_transaction=not transaction)


def split_statements(sql: str) -> list[str]:
    """The statements of a file without their semicolons; comments stay with the statement they precede."""
    statements, since = list[str](), 0
    for token in _TOKEN.finditer(sql):
        if token[0] == ";":
            statements.append(sql[since : token.start()].strip())
            since = token.end()
    return [each for each in [*statements, sql[since:].strip()] if remove_comments(each)]


def remove_comments(sql: str) -> str:
    """The same without comments and with single spaces; what is quoted stays as it is."""
    parts, since = list[str](), 0
    for token in _TOKEN.finditer(sql):
        parts.append(re.sub(r"\s+", " ", sql[since : token.start()]))
        parts.append(" " if token[0].startswith(("--", "/*")) else token[0])
        since = token.end()
    return re.sub(r"  +", " ", "".join([*parts, re.sub(r"\s+", " ", sql[since:])])).strip()


def _read_head(sql: str) -> dict[str, str]:
    """What the first lines say, up to the first that says nothing of the kind."""
    head = dict[str, str]()
    for line in sql.splitlines():
        said = _LINE.fullmatch(line.rstrip())
        if said is None or said[1] in head:
            break
        head[said[1]] = said[2]
    return head


def _schema_folder() -> Traversable:
    inside = resources.files("ccn") / "schema"  # a built wheel carries the files inside the package
    return inside if inside.is_dir() else Path(__file__).parents[3] / "schema"


def _read_migration(file: Traversable) -> Migration:
    return parse_migration(file.name, file.read_text(encoding="utf-8").replace("\r\n", "\n"))
