"""The newest timeline of the database, in the state folder of a node.

    STATE/database.timeline     the identifier of the database, and the timeline

Separate from what was signed: an operator may accept another database, and never another signature.
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path

from ccn import errors
from ccn.core.rounds.database_timeline import DatabaseTimeline
from ccn.node.signing import durable_files
from ccn.store.connection.timelines import SeenTimelines

FILE = "database.timeline"
_MODE = 0o600
_FORM = re.compile(r"system (-?\d{1,19}) timeline (\d{1,10})\n")


def open_memory(folder: Path | None) -> SeenTimelines:
    """What the node with this folder has seen; it is kept there, or only while the process lives."""
    if folder is None:
        return SeenTimelines()
    seen = SeenTimelines(read_timeline(folder))
    seen.keep = partial(write_timeline, folder)
    return seen


def read_timeline(folder: Path) -> DatabaseTimeline | None:
    """What is in the folder; None before a node has seen any."""
    file = folder / FILE
    try:
        text = file.read_text()
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as unreadable:
        raise errors.SettingsInvalid(f"{file} cannot be read: {unreadable}") from unreadable
    found = _FORM.fullmatch(text)
    if found is None:
        raise errors.SettingsInvalid(f"{file} does not say which database this node has seen")
    return DatabaseTimeline(int(found[1]), int(found[2]))


def write_timeline(folder: Path, seen: DatabaseTimeline) -> None:
    """Put it on the disk, flushed when this returns."""
    text = f"system {seen.system} timeline {seen.timeline}\n"
    try:
        durable_files.replace_file(folder / FILE, text.encode(), _MODE)
    except OSError as failed:
        raise errors.SettingsInvalid(f"{folder / FILE} cannot be written: {failed.strerror}") from failed
