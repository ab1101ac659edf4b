"""The records that earlier versions wrote and that are kept beside the tests, line by line.

Both are of three nodes and have two users, a redaction, a loop of a user's own, two plates, requests and
snapshots.
"""

from __future__ import annotations

import gzip
import json
from pathlib import Path


def _read(name: str) -> list[bytes]:
    return gzip.decompress(Path(__file__).with_name(name).read_bytes()).splitlines()


WRITTEN_FIRST = _read("record-v1.gz")
WITH_SPEAKERS = _read("record-v2.gz")
RECORDS = WRITTEN_FIRST, WITH_SPEAKERS


def cut_back(lines: list[bytes], height: int) -> list[bytes]:
    """The record as it was after this block: the leaves of later ones wait to be sealed."""
    blocks: list[bytes] = []
    waiting: list[tuple[str, int, object]] = []
    rows: list[bytes] = []
    begun = 0
    for line in lines[:-1]:
        shown = json.loads(line)
        kind = next(iter(shown))
        begun += kind == "block"
        if kind in {"record", "block", "roster", "leaf", "checkpoint"}:
            if begun <= height:
                blocks.append(line)
            elif kind == "leaf":
                waiting.append((shown["leaf"]["node"], shown["leaf"]["number"], shown["leaf"]))
        elif kind == "waiting":
            waiting.append(tuple(shown["waiting"]))
        else:
            rows.append(line)
    waiting.sort(key=lambda leaf: leaf[:2])
    below = [json.dumps({"waiting": leaf}, separators=(",", ":"), ensure_ascii=False) for leaf in waiting]
    kept = [*blocks, *(line.encode() for line in below), *rows]
    return [*kept, b'{"end":{"lines":%d}}' % len(kept)]


def join(lines: list[bytes]) -> bytes:
    """The file that these lines make."""
    return b"\n".join(lines) + b"\n"
