"""Rosters from rows that a test writes down one by one; nodes pack theirs from the columns of a query."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from ccn.core.axes import AXES
from ccn.core.chain import owner_pseudonym
from ccn.core.chain.median import MISSING
from ccn.core.chain.roster import Roster, RosterRow
from ccn.core.ids import CharacterId

ROW = struct.Struct(f">16sq{len(AXES)}i")


def pack_rows(character: CharacterId, rows: Iterable[RosterRow]) -> Roster:
    """The roster of these instances, which may come in any order; all have an owner, or none has."""
    ordered = sorted(rows, key=lambda row: row.instance.int)
    owners = [row.owner.to_bytes(owner_pseudonym.BYTES, "big") for row in ordered if row.owner is not None]
    return Roster(character, b"".join(map(_pack_row, ordered)), b"".join(owners))


def _pack_row(row: RosterRow) -> bytes:
    scores = [MISSING if value is None else value for value in row.vector.millionths]
    return ROW.pack(row.instance.bytes, row.epoch, *scores)
