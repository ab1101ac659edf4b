"""A roster: the running instances of one character on one node, as packed bytes.

A row is 88 bytes, big-endian: the instance's id (16), its host epoch (8), its vector (sixteen times 4, with
-1 for an axis that could not be observed). Rows ascend by id, so one set of instances has one spelling.
Ten thousand vectors travel, are hashed and become a matrix as they are, without an object for each.

The owners stand beside the rows, 8 bytes for each in the same order (see `owner_pseudonym`). They are a
column of their own, because a roster has none where the rules of the cluster do not ask for owners.
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
    """One instance: its id, its host epoch, its vector, and the pseudonym of its owner."""

    instance: InstanceId
    epoch: int
    vector: Vector
    owner: int | None = None
    """It is None in a roster without owners."""


@dataclass(frozen=True, slots=True)
class Roster:
    """The packed rows of one character."""

    character: CharacterId
    packed: bytes
    owners: bytes = b""
    _hash: bytes = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        """Refuse rows that are cut off, out of order, repeated or out of range."""
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
        # A round asks for this hash several times on each node, and it covers up to a megabyte.
        object.__setattr__(self, "_hash", hashlib.sha256(self.packed).digest())

    def __len__(self) -> int:
        """Return the number of instances."""
        return len(self.packed) // _ROW.size

    def rows(self) -> list[RosterRow]:
        """Return the rows as objects, for stores and people."""
        owners = self.owner_pseudonyms().tolist() or [None] * len(self)
        fields = zip(_ROW.iter_unpack(self.packed), owners, strict=True)
        return [_unpack_row(owner, *values) for values, owner in fields]

    def instance_ids(self) -> npt.NDArray[np.void]:
        """Return the ids of the instances, sixteen bytes each."""
        return np.frombuffer(self.packed, _COLUMNS)["id"]

    def matrix(self) -> Matrix:
        """Return the vectors, one row for each instance."""
        return np.frombuffer(self.packed, _LAYOUT)["vector"].astype(np.int32)

    def owner_pseudonyms(self) -> npt.NDArray[np.uint64]:
        """Return the owner of each instance. The array is empty in a roster without owners."""
        return np.frombuffer(self.owners, _OWNER).astype(np.uint64)

    def hash(self) -> bytes:
        """Return the hash of the rows that a report signs."""
        return self._hash

    def owners_hash(self) -> bytes:
        """Return the hash of the owners that a report signs, if the roster has any."""
        return hashlib.sha256(self.owners).digest()


def pack_columns(
    character: CharacterId,
    ids_: npt.NDArray[np.void],
    epochs: npt.NDArray[np.int64],
    millionths: npt.NDArray[np.float64],
    owners: npt.NDArray[np.uint64] | None = None,
) -> Roster:
    """Make a roster of the columns that a store read, in any order, without an object for each row."""
    rows = np.empty(len(ids_), _COLUMNS)
    rows["id"], rows["epoch"], rows["vector"] = ids_, epochs, millionths
    halves = rows.view(_LAYOUT)
    order = np.lexsort((halves["low"].astype(np.uint64), halves["high"].astype(np.uint64)))
    packed_owners = b"" if owners is None else owners[order].astype(_OWNER).tobytes()
    return Roster(character, rows[order].tobytes(), packed_owners)


def find_disputed(rosters: Sequence[Roster]) -> npt.NDArray[np.bool_]:
    """Mark the rows that name an instance which another row names too.

    The result has one flag for each row, of one roster after the other.
    """
    rows = np.frombuffer(b"".join(roster.packed for roster in rosters), _LAYOUT)
    low, high = rows["low"].astype(np.uint64), rows["high"].astype(np.uint64)
    disputed, ordered = np.zeros(len(rows), np.bool_), np.sort(low)
    if (ordered[1:] == ordered[:-1]).any():  # rare, because half of an id already tells instances apart
        order = np.lexsort((low, high))
        low, high = low[order], high[order]
        same = (low[1:] == low[:-1]) & (high[1:] == high[:-1])
        disputed[order[1:][same]] = disputed[order[:-1][same]] = True
    return disputed


def _unpack_row(owner: int | None, instance: bytes, epoch: int, *scores: int) -> RosterRow:
    return RosterRow(InstanceId(UUID(bytes=instance)), epoch, Vector(_scores_from_row(scores)), owner)


def _scores_from_row(values: Sequence[int]) -> tuple[int | None, ...]:
    return tuple(None if value == MISSING else value for value in values)
