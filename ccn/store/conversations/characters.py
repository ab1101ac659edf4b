"""Characters and the versions of their plates. Only an operator imports one; nobody edits one."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import datetime

from ccn import errors
from ccn.core import ids
from ccn.core.ids import CharacterId
from ccn.core.ledger.commitment import LeafKind
from ccn.store.connection.pool import Pool, Record
from ccn.store.writing.batch import Batch, Write, micros
from ccn.store.writing.writer import Writer


@dataclass(frozen=True, slots=True)
class PlateVersion:
    """One version of a character's specification."""

    character: CharacterId
    version: int
    hash: bytes
    content: str
    imported_by: str
    imported_at: datetime


@dataclass(frozen=True, slots=True)
class Character:
    """A character and the newest version of its plate."""

    id: CharacterId
    name: str
    version: int
    imported_by: str
    imported_at: datetime


@dataclass(frozen=True, slots=True)
class _ImportPlate(Write[PlateVersion]):
    character: CharacterId
    name: str
    version: int
    content: str
    by: str

    def prepare(self, batch: Batch) -> PlateVersion:
        digest = hashlib.sha256(self.content.encode()).digest()
        leaf = batch.add_leaf(
            LeafKind.PLATE,
            {
                "at": micros(batch.now),
                "by": self.by,
                "character": self.character,
                "hash": digest.hex(),
                "version": self.version,
            },
        )
        batch.add_row(_ADD_CHARACTER, self.character, self.name)
        where = (self.by, batch.now, batch.node, leaf.number)
        batch.add_row(_ADD_PLATE, self.character, self.version, digest, self.content, *where)
        return PlateVersion(self.character, self.version, digest, self.content, self.by, batch.now)


async def import_plate(  # noqa: PLR0917 - six plain things make a plate
    pool: Pool, writer: Writer, character: CharacterId, name: str, content: str, by: str
) -> PlateVersion:
    """Store a plate as the character's newest version. The same content again adds no version."""
    ids.check_name(character, "character")
    if not content.strip() or "\x00" in content:
        raise errors.InputInvalid("a plate is text, and not empty")
    known = await list_plates(pool, character)
    digest = hashlib.sha256(content.encode()).digest()
    for plate in known:
        if plate.hash == digest:
            return plate
    return await writer.submit(_ImportPlate(character, name, len(known) + 1, content, by))


async def list_characters(pool: Pool) -> list[Character]:
    """List all characters by their ids."""
    return [
        Character(row["id"], row["name"], row["version"], row["imported_by"], row["imported_at"])
        for row in await pool.rows(_EVERY)
    ]


async def list_plates(pool: Pool, character: CharacterId) -> list[PlateVersion]:
    """List all versions of a character's plate, the oldest first."""
    return [_plate_from_row(row) for row in await pool.rows(_PLATES, character)]


async def load_plate(pool: Pool, character: CharacterId, version: int | None = None) -> PlateVersion:
    """Load one version of a plate, or the newest. Raise NotFound if there is none."""
    row = await pool.row(_PLATE, character, version)
    if row is None:
        which = f"character {character}" if version is None else f"version {version} of {character}"
        raise errors.NotFound(f"there is no {which}")
    return _plate_from_row(row)


def _plate_from_row(row: Record) -> PlateVersion:
    return PlateVersion(
        row["character_id"],
        row["version"],
        row["hash"],
        row["content"],
        row["imported_by"],
        row["imported_at"],
    )


_ADD_CHARACTER = """
    INSERT INTO characters (id, name) SELECT * FROM unnest($1::text[], $2::text[])
    ON CONFLICT (id) DO NOTHING
"""
_ADD_PLATE = """
    INSERT INTO plates
        (character_id, version, hash, content, imported_by, imported_at, leaf_node, leaf_number)
    SELECT * FROM unnest($1::text[], $2::int[], $3::bytea[], $4::text[], $5::text[], $6::timestamptz[],
                         $7::text[], $8::bigint[])
"""
_EVERY = """
    SELECT DISTINCT ON (c.id) c.id, c.name, p.version, p.imported_by, p.imported_at
    FROM characters c JOIN plates p ON p.character_id = c.id ORDER BY c.id, p.version DESC
"""
_PLATES = """
    SELECT character_id, version, hash, content, imported_by, imported_at FROM plates
    WHERE character_id = $1 ORDER BY version
"""
_PLATE = """
    SELECT character_id, version, hash, content, imported_by, imported_at FROM plates
    WHERE character_id = $1 AND ($2::int IS NULL OR version = $2) ORDER BY version DESC LIMIT 1
"""
