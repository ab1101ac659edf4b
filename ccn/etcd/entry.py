"""What etcd stores, as values: keys, snapshots, changes and the two results of a guarded write.

Only this module converts messages of etcd, so that none of its types leaves this folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aetcd import rpc  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class EtcdEntry:
    """A key as it is now. `created` and `modified` are revisions; `lease` is 0 where none guards it."""

    key: str
    value: bytes
    lease: int
    created: int
    modified: int


@dataclass(frozen=True, slots=True)
class EtcdSnapshot:
    """All keys under a prefix as of one revision, ordered by key."""

    entries: tuple[EtcdEntry, ...]
    revision: int


@dataclass(frozen=True, slots=True)
class EtcdChange:
    """One key was written, or deleted where `entry` is None."""

    key: str
    entry: EtcdEntry | None
    revision: int


@dataclass(frozen=True, slots=True)
class WriteExecuted:
    """The write was executed, as this revision."""

    revision: int


@dataclass(frozen=True, slots=True)
class WriteRefused:
    """The key had changed. `entry` is what is there now, if anything is."""

    entry: EtcdEntry | None


def prefix_range(prefix: str) -> dict[str, bytes]:
    """Return the range of all keys that begin with `prefix`. UTF-8 has no byte 0xff that could overflow."""
    start = prefix.encode()
    return {"key": start, "range_end": start[:-1] + bytes([start[-1] + 1])}


def entry_from_pb(kv: Any) -> EtcdEntry:
    """Read one key."""
    return EtcdEntry(_decode_name(kv.key), kv.value, kv.lease, kv.create_revision, kv.mod_revision)


def change_from_pb(event: Any) -> EtcdChange:
    """Read one change."""
    deleted = event.type == rpc.Event.DELETE
    return EtcdChange(
        _decode_name(event.kv.key), None if deleted else entry_from_pb(event.kv), event.kv.mod_revision
    )


def outcome_from_pb(answer: Any) -> WriteExecuted | WriteRefused:
    """Read the result of a guarded write, whose other branch reads the key."""
    if answer.succeeded:
        return WriteExecuted(answer.header.revision)
    entries = answer.responses[0].response_range.kvs
    return WriteRefused(entry_from_pb(entries[0]) if entries else None)


def _decode_name(key: bytes) -> str:
    return key.decode(errors="backslashreplace")
