"""The folder an embedded PostgreSQL lives in: who holds it, what lies where, whether it can be used.

    data/                 what the user chose
        lock              held while a CCN runs here, and holds its pid
        password          of the database user ccn, readable by the owner only
        server.log        with server.log.1 before it, and initdb.log
        moved             only as root, if `nobody` cannot reach `data`: where `home` is
    home/                 the same folder, or one below /var/lib/ccn
        pgdata/           PostgreSQL's own
        ccn.conf          our settings, written at every start
        run               the folder of its Unix socket, or a link to a shorter one

Separate because all this is decided before any program runs, and because its errors are the ones a user
can mend.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ccn import errors
from ccn.embedded import nobody
from ccn.embedded.nobody import Account

LOG_LIMIT = 4 * 1024 * 1024
# The kernel refuses a socket address of 108 bytes; other systems are stricter.
SOCKET_PATH_LIMIT = 100
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_SHORT = Path("/tmp")  # noqa: S108 - only as the parent of a private folder with a random name


@dataclass(frozen=True, slots=True)
class Folder:
    """Where one embedded PostgreSQL keeps everything, and whom it runs as (None: as this process)."""

    data: Path
    home: Path
    account: Account | None

    @property
    def pgdata(self) -> Path:
        """PostgreSQL's data directory."""
        return self.home / "pgdata"

    @property
    def log(self) -> Path:
        """What the server says."""
        return self.data / "server.log"

    @property
    def initdb_log(self) -> Path:
        """What initdb said."""
        return self.data / "initdb.log"

    @property
    def settings(self) -> Path:
        """Our settings for the server."""
        return self.home / "ccn.conf"

    @property
    def password(self) -> Path:
        """The password of the database user."""
        return self.data / "password"

    def written_by(self) -> int | None:
        """The major version that wrote the data, None if there is none yet."""
        try:
            return int((self.pgdata / "PG_VERSION").read_text())
        except FileNotFoundError:
            if not self.pgdata.exists():
                return None
            raise errors.DataDirectoryUnusable(
                f"{self.pgdata} is not a PostgreSQL data directory: it has no PG_VERSION. "
                "Restore it from a backup, or move it away to begin anew."
            ) from None
        except (OSError, ValueError) as damaged:
            raise errors.DataDirectoryUnusable(
                f"{self.pgdata / 'PG_VERSION'} cannot be read: {damaged}. "
                "Restore the folder from a backup, or move it away to begin anew."
            ) from damaged


@contextmanager
def held(data: Path) -> Iterator[Folder]:
    """Hold `data` alone, made if missing, until the block ends; the kernel lets go if this process dies."""
    data = data.absolute()
    account = nobody.account()
    with usable(data):
        # Only the way through is opened for others: what lies inside is for the owner.
        data.mkdir(mode=0o711 if account else 0o700, parents=True, exist_ok=True)
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        _lock_or_name_the_holder(lock, data)
        with usable(data):
            os.ftruncate(lock, 0)
            os.pwrite(lock, f"{os.getpid()}\n".encode(), 0)
            home = _home(data, account)
        yield Folder(data, home, account)
    finally:
        os.close(lock)


@contextmanager
def usable(data: Path) -> Iterator[None]:
    """Turn what the operating system refuses about `data` into words for the user."""
    try:
        yield
    except OSError as refused:
        if refused.errno in _NO_ROOM:
            raise no_room(data) from refused
        raise errors.DataDirectoryUnusable(
            f"the folder {data} cannot be used: {refused.strerror or refused}: {refused.filename or data}. "
            "Make it a folder that this user can write, or choose another one with --data."
        ) from refused


def no_room(data: Path) -> errors.DiskFull:
    """The error for a disk that is full."""
    return errors.DiskFull(
        f"the disk of {data} is full. Free some room, or choose a folder on another disk with --data."
    )


def ensure_room(folder: Path, needed: int) -> None:
    """Refuse early and in words what would fail late and in the middle."""
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise errors.DiskFull(
            f"{folder} has {free >> 20} MiB left on its disk, and at least {needed >> 20} MiB are needed. "
            "Free some, or choose a folder on another disk with --data."
        )


def keep_password(folder: Path, path: Path) -> str:
    """The password at `path`, made if there is none; written whole or not at all."""
    with usable(folder):
        with suppress(FileNotFoundError):
            if kept := path.read_text().strip():
                return kept
        made = secrets.token_urlsafe(24)
        replace(path, made + "\n", 0o600)
    return made


def replace(path: Path, text: str, mode: int) -> None:
    """Write a file so that a reader, or the next start after a crash, sees the old or the new one."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-")
    try:
        with os.fdopen(handle, "w") as file:
            file.write(text)
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def rotate(log: Path) -> None:
    """Put a log that has grown aside, over the one before it."""
    with suppress(FileNotFoundError):
        if log.stat().st_size > LOG_LIMIT:
            log.replace(log.with_name(log.name + ".1"))


@contextmanager
def socket_folder(folder: Folder) -> Iterator[Path | None]:
    """A private folder short enough for a Unix socket; None where there is none, and TCP must do."""
    run = folder.home / "run"
    with usable(folder.home):
        _forget_short(run)
        place = _socket_place(run)
        if place is not None and folder.account is not None:
            os.chown(place, folder.account.uid, folder.account.gid)
    try:
        yield place
    finally:
        _forget_short(run)


def _socket_place(run: Path) -> Path | None:
    if len(os.fsencode(run / ".s.PGSQL.65535.lock")) < SOCKET_PATH_LIMIT:
        run.mkdir(mode=0o700, exist_ok=True)
        return run
    try:
        place = Path(tempfile.mkdtemp(prefix="ccn-", dir=_SHORT))
    except OSError:
        return None
    run.symlink_to(place)
    return place


def _forget_short(run: Path) -> None:
    """Remove the short folder that this start, or one that was killed, linked to."""
    if run.is_symlink():
        place = run.readlink()
        if place.parent == _SHORT and place.name.startswith("ccn-") and not place.is_symlink():
            shutil.rmtree(place, ignore_errors=True)
        run.unlink()


def _lock_or_name_the_holder(lock: int, data: Path) -> None:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as refused:
        if refused.errno not in {errno.EWOULDBLOCK, errno.EACCES}:
            raise errors.DataDirectoryUnusable(f"{data} cannot be locked: {refused}") from refused
        holder = os.pread(lock, 32, 0).decode("ascii", "replace").strip() or "unknown"
        raise errors.AlreadyRunning(
            f"a CCN with pid {holder} runs on {data}. Use it, stop it first, or choose another folder "
            "with --data."
        ) from refused


def _home(data: Path, account: Account | None) -> Path:
    """Where the server's own files lie: `data`, or a folder that `account` can reach."""
    moved = data / "moved"
    with suppress(FileNotFoundError):
        home = Path(moved.read_text().strip())
        if not home.is_dir():
            raise errors.DataDirectoryUnusable(
                f"{moved} says that the data lie in {home}, which is gone. Bring that folder back, "
                f"or remove {moved} to begin anew."
            )
        return home
    if nobody.reaches(account, data):
        return data
    home = Path(tempfile.mkdtemp(prefix="postgres-", dir=nobody.shared_folder("data")))
    home.chmod(0o711)
    replace(home / "belongs-to", f"{data}\n", 0o644)
    replace(moved, f"{home}\n", 0o644)
    return home
