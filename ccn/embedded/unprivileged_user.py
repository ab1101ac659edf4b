"""The account that a server runs as when this process is root, and which folders that account can reach.

PostgreSQL refuses to run as root, so root runs it as `nobody`, who cannot enter root's 0700 home. What
must be reachable (the server's data, sometimes its programs) then lies below `SHARED`, a place that only
root can write. Separate because both the programs and the data folder ask the same questions.
"""

from __future__ import annotations

import os
import pwd
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ccn import errors

SHARED = Path("/var/lib/ccn")
_UID_MAP = Path("/proc/self/uid_map")
_GROUP_OR_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH


@dataclass(frozen=True, slots=True)
class UnixAccount:
    """An account to become: never root, no supplementary groups."""

    name: str
    uid: int
    gid: int


def find_account() -> UnixAccount | None:
    """Find the account that root runs servers as. None for other users, who run them as themselves."""
    if os.geteuid() != 0:
        return None
    try:
        entry = pwd.getpwnam("nobody")
        account = UnixAccount("nobody", entry.pw_uid, entry.pw_gid)
    except KeyError:
        account = UnixAccount("nobody", 65_534, 65_534)
    with suppress(OSError):
        if not is_mapped(account.uid, _UID_MAP.read_text()):
            raise errors.EmbeddedFailed(
                "root of this container has no other account to hand PostgreSQL to: its user namespace "
                f"does not map uid {account.uid}. Run as an ordinary user, or give the container more ids."
            )
    return account


def is_mapped(uid: int, ranges: str) -> bool:
    """Whether the user namespace with these ranges (first id inside, outside, count) knows `uid`."""
    rows = [[int(part) for part in line.split()] for line in ranges.splitlines()]
    return any(first <= uid < first + count for first, _, count in rows)


def can_reach(account: UnixAccount | None, path: Path) -> bool:
    """Whether `account` can go through every folder down to `path`, by owner, group and mode."""
    if account is None:
        return True
    folder = path.resolve()
    return all(_may_enter(account, part) for part in (folder, *folder.parents) if part.is_dir())


def make_shared_folder(name: str, below: Path = SHARED) -> Path:
    """Make a folder of root's that everybody can enter and nobody else can write: `below`/`name`.

    Refuse if anything on the way belongs to somebody else, or can be changed by somebody else: root is
    about to run programs from there or trust what lies there.
    """
    folder = below / name
    try:
        for part in reversed((folder, *folder.parents)):
            part.mkdir(mode=0o755, exist_ok=True)
            if part == below or below in part.parents:
                _open_folder(part)
            _refuse_unless_roots(part)
    except OSError as refused:
        raise errors.DataDirectoryUnusable(
            f"root needs a folder that the account nobody can reach, and cannot make {folder}: {refused}. "
            "Make that possible, or run as an ordinary user."
        ) from refused
    return folder


def _may_enter(account: UnixAccount, folder: Path) -> bool:
    info = folder.stat()
    if info.st_uid == account.uid:
        return bool(info.st_mode & stat.S_IXUSR)
    if info.st_gid == account.gid:
        return bool(info.st_mode & stat.S_IXGRP)
    return bool(info.st_mode & stat.S_IXOTH)


def _open_folder(folder: Path) -> None:
    """Undo what a strict umask did to a folder just made. Leave a folder of somebody else alone."""
    info = folder.lstat()
    if stat.S_ISDIR(info.st_mode) and info.st_uid == 0 and stat.S_IMODE(info.st_mode) != 0o755:
        folder.chmod(0o755)


def _refuse_unless_roots(folder: Path) -> None:
    info = folder.stat()
    sticky = info.st_mode & stat.S_ISVTX
    if folder.is_symlink() and folder.lstat().st_uid != 0:
        raise errors.DataDirectoryUnusable(f"{folder} is a link that root did not make; remove it")
    if info.st_uid != 0 or (info.st_mode & _GROUP_OR_OTHERS_WRITE and not sticky):
        raise errors.DataDirectoryUnusable(
            f"{folder} can be changed by others than root, so root will not trust it. "
            f"Mend it with: chown root {folder} && chmod go-w {folder}"
        )
