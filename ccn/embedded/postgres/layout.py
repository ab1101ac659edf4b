"""The folder an embedded PostgreSQL lives in: who has it locked, and what lies where.

    data/                 what the user chose
        lock              locked while a CCN runs here; contains its pid
        password          of the database user ccn, who owns everything; for nobody else to read
        node.password     of the database user that nodes are; the same
        server.log        with server.log.1 before it, and initdb.log
        moved             only as root, if `nobody` cannot reach `data`: where `home` is
    home/                 the same folder, or one below /var/lib/ccn
        pgdata/           PostgreSQL's own
        ccn.conf          our settings, written at every start
        passfile          only with a standby: what it logs in with, for no other account to read
        run               the folder of its Unix socket, or a link to a shorter one

Separate because all this is decided before any program runs.
"""

from __future__ import annotations

import fcntl
import os
import pwd
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from ccn import errors
from ccn.embedded import folder, scratch, unprivileged_user
from ccn.embedded.unprivileged_user import UnixAccount

_LOCK_ATTEMPTS = 8
_OWNER_TIMEOUT_S = 0.5
_PID_WIDTH = 20


@dataclass(frozen=True, slots=True)
class DataLayout:
    """Where one embedded PostgreSQL keeps everything, and the account it runs as (None: this process's)."""

    data: Path
    home: Path
    account: UnixAccount | None

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
        """The password of the database user that owns everything."""
        return self.data / "password"

    @property
    def node_password(self) -> Path:
        """The password of the database user that nodes are."""
        return self.data / "node.password"

    @property
    def passfile(self) -> Path:
        """What PostgreSQL's programs log in with."""
        return self.home / "passfile"

    @property
    def copy_log(self) -> Path:
        """What the programs said that copied another server's data here."""
        return self.data / "copy.log"

    def read_major(self) -> int | None:
        """Read the major version that wrote the data; None if there are none yet."""
        try:
            self._refuse_foreign_data()
            return int((self.pgdata / "PG_VERSION").read_text())
        except (OSError, ValueError) as damaged:
            if not os.path.lexists(self.pgdata):
                return None
            raise errors.DataDirectoryUnusable(
                f"{self.pgdata} is not a PostgreSQL data directory, or no longer: {damaged}. "
                "Restore it from a backup, or move it away to begin anew."
            ) from damaged

    def _refuse_foreign_data(self) -> None:
        owner = self.pgdata.stat().st_uid
        expected = self.account.uid if self.account else os.geteuid()
        if owner != expected:
            raise errors.DataDirectoryUnusable(
                f"{self.pgdata} belongs to {_account_name(owner)}, and the server would run as "
                f"{_account_name(expected)}. "
                f"Start it as the user who made it (root's belongs to nobody), give it over with: "
                f"chown -R {_account_name(expected)} '{self.pgdata}', or choose another folder with --data."
            )


@contextmanager
def open_layout(data: Path, *, ephemeral: bool = False) -> Iterator[DataLayout]:
    """Lock `data`, made if missing, until the block ends. The kernel unlocks it if this process dies."""
    data = data.absolute()
    account = unprivileged_user.find_account()
    with (
        _lock_folder(data, 0o711 if account else 0o700),
        _find_home(data, account, ephemeral=ephemeral) as home,
    ):
        yield DataLayout(data, home, account)


def ensure_password(file: Path) -> str:
    """Read the password in a file, or make one. The file is written whole or not at all."""
    with folder.translate_refusals(file.parent):
        with suppress(FileNotFoundError):
            if password := file.read_text().strip():
                return password
        password = secrets.token_urlsafe(24)
        folder.replace_file(file, password + "\n", 0o600)
    return password


@contextmanager
def _lock_folder(data: Path, mode: int) -> Iterator[None]:
    with folder.translate_refusals(data):
        lock = _open_lock(data, mode)
    try:
        with folder.translate_refusals(data):
            # One write over the one before it, so that a reader sees one pid or the other.
            os.pwrite(lock, f"{os.getpid():<{_PID_WIDTH}}\n".encode(), 0)
        yield
    finally:
        os.close(lock)


def _open_lock(data: Path, mode: int) -> int:
    for _ in range(_LOCK_ATTEMPTS):
        data.mkdir(mode=mode, parents=True, exist_ok=True)
        lock = os.open(data / "lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            # An ephemeral run that ended in between removed the file. Then this lock guards nothing.
            if os.path.samestat(os.fstat(lock), (data / "lock").stat()):
                return lock
        except BlockingIOError:
            owner = _read_lock_owner(lock)
            os.close(lock)
            raise errors.AlreadyRunning(
                f"another process runs PostgreSQL on {data}, pid {owner}. Use it, stop it first, "
                "or choose another folder with --data."
            ) from None
        except FileNotFoundError:
            pass
        except OSError:
            os.close(lock)
            raise
        os.close(lock)
    raise errors.AlreadyRunning(f"others start and stop on {data} all the time; choose another folder")


def _read_lock_owner(lock: int) -> str:
    """Read who has the lock. Its very first owner may not have written its pid yet."""
    until = time.monotonic() + _OWNER_TIMEOUT_S
    while not (owner := os.pread(lock, _PID_WIDTH, 0).decode("ascii", "replace").strip()):
        if time.monotonic() > until:
            return "not known"
        time.sleep(0.01)
    return owner


@contextmanager
def _find_home(data: Path, account: UnixAccount | None, *, ephemeral: bool) -> Iterator[Path]:
    """Find where the server's own files lie: in `data`, or in a folder that `account` can reach."""
    with folder.translate_refusals(data):
        home = _read_pointer(data / "moved")
        reached = home is not None or unprivileged_user.can_reach(account, data)
    if reached:
        yield home or data
    elif ephemeral:
        with scratch.scratch_folder("postgres", unprivileged_user.make_shared_folder("data")) as home:
            home.chmod(0o711)
            yield home
    else:
        with folder.translate_refusals(data):
            home = Path(
                tempfile.mkdtemp(prefix="postgres-", dir=unprivileged_user.make_shared_folder("data"))
            )
            home.chmod(0o711)
            folder.replace_file(home / "belongs-to", f"{data}\n", 0o644)
            folder.replace_file(data / "moved", f"{home}\n", 0o644)
        yield home


def _read_pointer(pointer: Path) -> Path | None:
    try:
        home = Path(pointer.read_text().strip())
    except FileNotFoundError:
        return None
    if not home.is_dir():
        raise errors.DataDirectoryUnusable(
            f"{pointer} says that the data lie in {home}, which is gone. Bring that folder back, or remove "
            f"{pointer} to begin anew."
        )
    return home


def _account_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
