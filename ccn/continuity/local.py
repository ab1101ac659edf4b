"""Finds the clusters that `ccn up` runs on this machine, by the file that each keeps in its folder.

A cluster in another folder than the usual one, or in one for a while only, leaves a note of where that is.
Its lock tells whether it still runs: the kernel releases the lock when its `ccn up` dies.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import platformdirs

from ccn import errors

RECORD = "cluster.json"
LOCK = "lock"


@dataclass(frozen=True, slots=True)
class FoundCluster:
    """Where its nodes listen for gRPC, and a key they take."""

    targets: tuple[str, ...]
    api_key: str = field(repr=False)
    ca: Path | None = None
    """The authority of its doors, if they speak TLS."""


def find_cluster(data: Path | None = None) -> FoundCluster:
    """Find the cluster in a folder, or the one that runs here."""
    record = read_record(data)
    if record is None:
        raise errors.NoCluster(f"no cluster runs {describe_place(data)}")
    try:
        targets, ca = tuple(node["grpc"] for node in record["nodes"]), record.get("ca")
        return FoundCluster(targets, record["admin"]["api_key"], Path(ca) if ca else None)
    except (LookupError, TypeError) as missing:
        raise errors.NoCluster(
            f"the record of the cluster {describe_place(data)} lacks {missing}"
        ) from missing


def read_record(data: Path | None = None) -> dict[str, Any] | None:
    """Read what the cluster in a folder, or the one that runs here, says of itself; None without one."""
    if data is not None:
        return _read_running(data.expanduser())
    if (own := _read_running(default_folder())) is not None:
        return own
    others = [record for folder in _read_notes() if (record := _read_running(folder)) is not None]
    if len(others) > 1:
        folders = ", ".join(str(record.get("data")) for record in others)
        raise errors.NoCluster(
            f"{len(others)} clusters run here, so which is meant? Their folders: {folders}"
        )
    return others[0] if others else None


def default_folder() -> Path:
    """Return the folder in which `ccn up` keeps a cluster if nobody says otherwise."""
    return platformdirs.user_data_path("ccn", appauthor=False)


def notes_folder() -> Path:
    """Return the folder in which clusters with folders elsewhere leave their notes, one file each."""
    return default_folder() / "running"


def is_running(data: Path) -> bool:
    """Whether somebody has the lock of a folder. A record that lies there without a lock counts, too."""
    try:
        opened = os.open(data / LOCK, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        return (data / RECORD).exists()
    try:
        fcntl.flock(opened, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(opened)
    return False


def describe_place(data: Path | None) -> str:
    """Say where somebody looked."""
    return "here" if data is None else f"on {data}"


def _read_running(data: Path) -> dict[str, Any] | None:
    try:
        record = json.loads((data / RECORD).read_text())
        if not isinstance(record, dict):
            raise errors.NoCluster(f"{data / RECORD} is not the record of a cluster")
        return record if is_running(data) else None
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as unreadable:
        raise errors.NoCluster(f"{data / RECORD} cannot be read: {unreadable}") from unreadable


def _read_notes() -> Iterator[Path]:
    with suppress(OSError):
        for note in sorted(notes_folder().iterdir()):
            with suppress(OSError):
                yield Path(note.read_text())
