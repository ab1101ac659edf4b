"""What etcd holds, as values: keys, snapshots, changes and the two results of a guarded write.

The only place where etcd's messages become ours, so that none of its types leaves this folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aetcd import rpc  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class Entry:
    """A key as it stands. `created` and `modified` are revisions; `lease` is 0 where none guards it."""

    key: str
    value: bytes
    lease: int
    created: int
    modified: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All keys under a prefix as of one revision, ordered by key."""

    entries: tuple[Entry, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class Change:
    """One key was written, or deleted where `entry` is None."""

    key: str
    entry: Entry | None
    revision: int


@dataclass(frozen=True, slots=True)
class Written:
    """The write was executed, as this revision."""

    revision: int


@dataclass(frozen=True, slots=True)
class Refused:
    """The key had changed; this is what stands there, if anything does."""

    entry: Entry | None


def under(prefix: str) -> dict[str, bytes]:
    """The range of all keys that begin with `prefix`: UTF-8 has no byte 0xff that could overflow."""
    start = prefix.encode()
    return {"key": start, "range_end": start[:-1] + bytes([start[-1] + 1])}


def read(kv: Any) -> Entry:
    """One key from etcd's message."""
    return Entry(_text(kv.key), kv.value, kv.lease, kv.create_revision, kv.mod_revision)


def change(event: Any) -> Change:
    """One change from etcd's message."""
    deleted = event.type == rpc.Event.DELETE
    return Change(_text(event.kv.key), None if deleted else read(event.kv), event.kv.mod_revision)


def outcome(answer: Any) -> Written | Refused:
    """The result of a guarded write, whose other branch reads the key."""
    if answer.succeeded:
        return Written(answer.header.revision)
    found = answer.responses[0].response_range.kvs
    return Refused(read(found[0]) if found else None)


def _text(key: bytes) -> str:
    return key.decode(errors="backslashreplace")
