"""What etcd holds, as values: keys, snapshots, changes and the two results of a guarded write.

The only place where etcd's messages become ours, so that none of its types leaves this folder.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from aetcd import rpc  # type: ignore[import-untyped]


@dataclass(frozen=True, slots=True)
class EtcdEntry:
    """A key as it stands. `created` and `modified` are revisions; `lease` is 0 where none guards it."""

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
    """The key had changed; this is what stands there, if anything does."""

    entry: EtcdEntry | None


def prefix_range(prefix: str) -> dict[str, bytes]:
    """The range of all keys that begin with `prefix`: UTF-8 has no byte 0xff that could overflow."""
    start = prefix.encode()
    return {"key": start, "range_end": start[:-1] + bytes([start[-1] + 1])}


def entry_from_pb(kv: Any) -> EtcdEntry:
    """One key from etcd's message."""
    return EtcdEntry(_decode_name(kv.key), kv.value, kv.lease, kv.create_revision, kv.mod_revision)


def change_from_pb(event: Any) -> EtcdChange:
    """One change from etcd's message."""
    deleted = event.type == rpc.Event.DELETE
    return EtcdChange(
        _decode_name(event.kv.key), None if deleted else entry_from_pb(event.kv), event.kv.mod_revision
    )


def outcome_from_pb(answer: Any) -> WriteExecuted | WriteRefused:
    """The result of a guarded write, whose other branch reads the key."""
    if answer.succeeded:
        return WriteExecuted(answer.header.revision)
    found = answer.responses[0].response_range.kvs
    return WriteRefused(entry_from_pb(found[0]) if found else None)


def _decode_name(key: bytes) -> str:
    return key.decode(errors="backslashreplace")
