"""A roster: the running instances of one character on one node, as packed bytes.

A row is 88 bytes, big-endian: the instance's id (16), its host epoch (8), its vector (sixteen times 4, with
-1 for an axis that could not be observed). Rows ascend by id, so one set of instances has one spelling.
Ten thousand vectors travel, are hashed and become a matrix as they are, without an object for each.

The owners stand beside the rows, 8 bytes for each in the same order (see `owner`). They are a column of
their own because rosters of clusters whose rules do not ask for owners have none.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

import numpy as np
import numpy.typing as npt

from ccn import errors
from ccn.core import ids
from ccn.core.axes import AXES, UNIT, Vector
from ccn.core.chain import owner_pseudonym
from ccn.core.chain.median import MISSING, Matrix
from ccn.core.ids import CharacterId, InstanceId

_ROW = struct.Struct(f">16sq{len(AXES)}i")
_LAYOUT = np.dtype([("high", ">u8"), ("low", ">u8"), ("epoch", ">i8"), ("vector", ">i4", (len(AXES),))])

_OWNER = np.dtype(">u8")
_COLUMNS = np.dtype([("id", "V16"), ("epoch", ">i8"), ("vector", ">i4", (len(AXES),))])


class RosterRow(NamedTuple):
    """One instance: who it is, which life of its host speaks for it, what it is like, and whose it is."""

    instance: InstanceId
    epoch: int
    vector: Vector
    owner: int | None = None
    """None in a roster without owners."""


@dataclass(frozen=True, slots=True)
class Roster:
    """The packed rows of one character."""

    character: CharacterId
    packed: bytes
    owners: bytes = b""
    _hash: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse rows that are cut off, out of order, double or out of range."""
        ids.check_name(self.character, "character")
        if len(self.packed) % _ROW.size:
            raise errors.InputInvalid(f"{len(self.packed)} bytes are not rows of {_ROW.size} bytes")
        if self.owners and len(self.owners) != owner_pseudonym.BYTES * len(self):
            raise errors.InputInvalid(f"{len(self)} instances have {len(self.owners)} bytes of owners")
        rows = np.frombuffer(self.packed, _LAYOUT)
        high, low = rows["high"], rows["low"]
        ascending = (high[1:] > high[:-1]) | ((high[1:] == high[:-1]) & (low[1:] > low[:-1]))
        if not ascending.all():
            raise errors.InputInvalid(f"the instances of {self.character} are not in ascending order")
        if (rows["epoch"] < 0).any() or (rows["vector"] < MISSING).any() or (rows["vector"] > UNIT).any():
            raise errors.InputInvalid(f"an instance of {self.character} has an epoch or score out of range")
        # A round asks for it several times on each node, and it is a hash over up to a megabyte.
        object.__setattr__(self, "_hash", hashlib.sha256(self.packed).digest())

    def __len__(self) -> int:
        """How many instances."""
        return len(self.packed) // _ROW.size

    def rows(self) -> list[RosterRow]:
        """One by one, for stores and people."""
        owners = self.owner_pseudonyms().tolist() or [None] * len(self)
        fields = zip(_ROW.iter_unpack(self.packed), owners, strict=True)
        return [_unpack_row(whose, *values) for values, whose in fields]

    def instance_ids(self) -> npt.NDArray[np.void]:
        """The ids of the instances, sixteen bytes each."""
        return np.frombuffer(self.packed, _COLUMNS)["id"]

    def matrix(self) -> Matrix:
        """The vectors, one row an instance."""
        return np.frombuffer(self.packed, _LAYOUT)["vector"].astype(np.int32)

    def owner_pseudonyms(self) -> npt.NDArray[np.uint64]:
        """The owner of each instance; none at all in a roster without owners."""
        return np.frombuffer(self.owners, _OWNER).astype(np.uint64)

    def hash(self) -> bytes:
        """What a report signs of its rows."""
        return self._hash

    def owners_hash(self) -> bytes:
        """What a report signs of its owners, where it has any."""
        return hashlib.sha256(self.owners).digest()


def pack_columns(
    character: CharacterId,
    ids_: npt.NDArray[np.void],
    epochs: npt.NDArray[np.int64],
    millionths: npt.NDArray[np.float64],
    owners: npt.NDArray[np.uint64] | None = None,
) -> Roster:
    """The roster of columns that a store read, in any order: no object is made for a row."""
    rows = np.empty(len(ids_), _COLUMNS)
    rows["id"], rows["epoch"], rows["vector"] = ids_, epochs, millionths
    halves = rows.view(_LAYOUT)
    order = np.lexsort((halves["low"].astype(np.uint64), halves["high"].astype(np.uint64)))
    whose = b"" if owners is None else owners[order].astype(_OWNER).tobytes()
    return Roster(character, rows[order].tobytes(), whose)


def find_disputed(rosters: Sequence[Roster]) -> npt.NDArray[np.bool_]:
    """Which rows of these rosters, one after the other, name an instance that another row names too."""
    rows = np.frombuffer(b"".join(roster.packed for roster in rosters), _LAYOUT)
    low, high = rows["low"].astype(np.uint64), rows["high"].astype(np.uint64)
    disputed, ordered = np.zeros(len(rows), np.bool_), np.sort(low)
    if (ordered[1:] == ordered[:-1]).any():  # as good as never: half an id tells them apart already
        order = np.lexsort((low, high))
        low, high = low[order], high[order]
        same = (low[1:] == low[:-1]) & (high[1:] == high[:-1])
        disputed[order[1:][same]] = disputed[order[:-1][same]] = True
    return disputed


def _unpack_row(whose: int | None, instance: bytes, epoch: int, *scores: int) -> RosterRow:
    return RosterRow(InstanceId(UUID(bytes=instance)), epoch, Vector(_scores_from_row(scores)), whose)


def _scores_from_row(values: Sequence[int]) -> tuple[int | None, ...]:
    return tuple(None if value == MISSING else value for value in values)
