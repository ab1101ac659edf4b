"""A small record overwritten in place: one flush a time, where replacing a file takes two and a new name.

    block 0, 1    the records in turn: number, hash, body, zeros
    block 2       the number of the newest record that was flushed

The room is taken when the file is made, so a flush has nothing to do but the data. A write never touches
the record before it: one that a power cut tore leaves that record, and nobody was told of the torn one. A
record that was flushed and cannot be read is another matter: its number stands in the last block, and then
nothing is read at all. That number needs no flush of its own; it is there to notice what happens later.
"""

from __future__ import annotations

import hashlib
import os
import re
from pathlib import Path

from ccn.node.signing import durable_files
from ccn.node.signing.durable_files import Sync

BLOCK = 4096
_SIZE = 3 * BLOCK
_RECORD = re.compile(rb"ccn/slot/v1 ([0-9]{20}) ([0-9a-f]{64})\n(.*)\n\0+", re.DOTALL)
_FLUSHED = re.compile(rb"ccn/flushed/v1 ([0-9]{20})\n\0+")


class DamagedRecord(ValueError):
    """What was flushed here cannot be read any more."""


def create_file(path: Path, body: bytes, mode: int, sync: Sync = os.fsync) -> None:
    """Make the file with its first record, in the place of what is there."""
    durable_files.replace_file(
        path, _build_record(0, body) + _build_record(1, body) + _build_flushed(1), mode, sync
    )


def read_newest(path: Path) -> bytes:
    """The newest record."""
    return _find_newest(path.read_bytes())[1]


class TwoSlotFile:
    """The file, open for writing; only one process may have it so."""

    def __init__(self, path: Path, sync: Sync = os.fdatasync) -> None:
        self._sync = sync
        self._opened = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self._number, self.body = _find_newest(os.pread(self._opened, _SIZE + 1, 0))
        except BaseException:
            self.close()
            raise

    def write_record(self, body: bytes) -> None:
        """On the disk, flushed, when this returns. After an OSError nobody knows what the disk holds."""
        number = self._number + 1
        self._write_block(_build_record(number, body), number % 2)
        self._sync(self._opened)
        self._write_block(_build_flushed(number), 2)
        self._number, self.body = number, body

    def close(self) -> None:
        """Write no more."""
        os.close(self._opened)

    def _write_block(self, block: bytes, place: int) -> None:
        if os.pwrite(self._opened, block, place * BLOCK) != BLOCK:
            raise OSError("a block was written only in part")


def _find_newest(whole: bytes) -> tuple[int, bytes]:
    if len(whole) != _SIZE:
        raise DamagedRecord(f"{len(whole)} bytes, not {_SIZE}")
    found = [_parse_record(whole[:BLOCK], 0), _parse_record(whole[BLOCK : 2 * BLOCK], 1)]
    known = [each for each in found if each is not None]
    flushed = _FLUSHED.fullmatch(whole[2 * BLOCK :])
    if not known or (len(known) < len(found) and flushed is None):
        raise DamagedRecord("a record cannot be read")
    newest = max(known)
    if flushed is not None and newest[0] < int(flushed[1]):
        raise DamagedRecord("the newest record cannot be read")
    return newest


def _parse_record(block: bytes, place: int) -> tuple[int, bytes] | None:
    parts = _RECORD.fullmatch(block)
    if parts is None or hashlib.sha256(parts[1] + parts[3]).hexdigest().encode() != parts[2]:
        return None
    number = int(parts[1])
    return (number, parts[3]) if number % 2 == place else None


def _build_record(number: int, body: bytes) -> bytes:
    numbered = b"%020d" % number
    hashed = hashlib.sha256(numbered + body).hexdigest().encode()
    return _pad_block(b"ccn/slot/v1 " + numbered + b" " + hashed + b"\n" + body + b"\n")


def _build_flushed(number: int) -> bytes:
    return _pad_block(b"ccn/flushed/v1 %020d\n" % number)


def _pad_block(text: bytes) -> bytes:
    if len(text) >= BLOCK:
        raise ValueError(f"a record of {len(text)} bytes does not fit a block")
    return text.ljust(BLOCK, b"\0")
