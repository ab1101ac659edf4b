"""The records that earlier versions wrote and that are kept beside the tests, line by line.

Both are of three nodes and have two users, a redaction, a loop of a user's own, two plates, requests and
snapshots.
"""

from __future__ import annotations

import gzip
from pathlib import Path


def _read(name: str) -> list[bytes]:
    return gzip.decompress(Path(__file__).with_name(name).read_bytes()).splitlines()


WRITTEN_FIRST = _read("record-v1.gz")
WITH_SPEAKERS = _read("record-v2.gz")
RECORDS = WRITTEN_FIRST, WITH_SPEAKERS


def join(lines: list[bytes]) -> bytes:
    """The file that these lines make."""
    return b"\n".join(lines) + b"\n"
