"""The folder of a local cluster: where it is, who has locked it, and what lies there.

    DATA/lock           locked by the `ccn up` that runs on it; the kernel unlocks it when that process dies
         cluster.json   where everything listens, while it runs (0600: it holds the database's password)
         admin.key      an API key for commands on this machine (0600)
         logs/          one bounded file per node
         nodes/         what each node keeps for itself, and the certificates of all
         postgres/      the embedded database

A temporary folder looks the same. If a folder is not where commands look first, a note leads them to it.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from ccn import errors
from ccn.continuity import local
from ccn.embedded import folder, scratch

_TEMPORARY = "up"
_LOCK_ATTEMPTS = 5
_BETWEEN_ATTEMPTS_S = 0.05


@dataclass(frozen=True, slots=True)
class NodeAt:
    """Where a node is."""

    id: str
    pid: int
    http: str
    grpc: str


@dataclass(frozen=True, slots=True)
class AdminAt:
    """Who may operate it. The start that made the password shows it, and nothing shows it again."""

    user: str
    api_key: str = field(repr=False)
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class ClusterAt:
    """Where a local cluster is: what `--json` prints and cluster.json keeps."""

    nodes: tuple[NodeAt, ...]
    database_url: str
    etcd_endpoints: tuple[str, ...]
    admin: AdminAt | None = None
    ca: str = ""
    """The authority of its doors, if they speak TLS."""
    gateways: tuple[NodeAt, ...] = ()

    def as_json(self, **more: object) -> str:
        """Return it as one line of JSON."""
        told = asdict(self) | more
        if not self.ca:
            del told["ca"]
        if not self.gateways:
            del told["gateways"]
        if self.admin is not None and not self.admin.password:
            del told["admin"]["password"]
        return json.dumps(told, ensure_ascii=False)

    def without_password(self) -> ClusterAt:
        """Return the same without the password, which is shown once."""
        return replace(self, admin=replace(self.admin, password="")) if self.admin else self


@dataclass(frozen=True, slots=True)
class ClusterFolder:
    """A folder whose lock this process has."""

    data: Path
    temporary: bool = False

    @property
    def record(self) -> Path:
        """Return the path of cluster.json."""
        return self.data / local.RECORD

    @property
    def key(self) -> Path:
        """Return the path of admin.key."""
        return self.data / "admin.key"

    @property
    def logs(self) -> Path:
        """Return the folder with the logs of the nodes."""
        return self.data / "logs"

    @property
    def nodes(self) -> Path:
        """Return the folder with what each node keeps for itself, and the nodes' authority."""
        return self.data / "nodes"

    def write_record(self, at: ClusterAt) -> None:
        """Let other commands find the cluster."""
        told = at.without_password().as_json(data=str(self.data), pid=os.getpid())
        folder.replace_file(self.record, told + "\n", 0o600)


@contextmanager
def locked_folder(data: Path | None) -> Iterator[ClusterFolder]:
    """Lock `data`, or the user's folder, for a cluster that is to stay."""
    scratch.sweep_folders(_TEMPORARY, Path(tempfile.gettempdir()))
    chosen = (data or local.default_folder()).expanduser().absolute()
    with folder.translate_refusals(chosen):
        chosen.mkdir(mode=_folder_mode(), parents=True, exist_ok=True)
        locked = _try_lock(chosen)
    try:
        if locked is None:
            raise errors.AlreadyRunning(_describe_holder(chosen))
        with _leave_note(chosen):
            yield _prepare_folder(ClusterFolder(chosen))
    finally:
        _release_lock(chosen, locked)


@contextmanager
def temporary_folder() -> Iterator[ClusterFolder]:
    """Make a folder that is removed at the end, or by the next start if this process is killed."""
    with scratch.scratch_folder(_TEMPORARY) as made:
        made.chmod(_folder_mode())
        locked = _try_lock(made)
        try:
            with _leave_note(made):
                yield _prepare_folder(ClusterFolder(made, temporary=True))
        finally:
            _release_lock(made, locked)


@contextmanager
def _leave_note(data: Path) -> Iterator[None]:
    """Tell commands of a folder where they would not look. A home that is read-only gets no note."""
    note = local.notes_folder() / hashlib.sha256(os.fsencode(data)).hexdigest()[:16]
    with suppress(OSError):
        if data != local.default_folder().absolute():
            local.default_folder().mkdir(mode=_folder_mode(), parents=True, exist_ok=True)
            note.parent.mkdir(mode=0o700, exist_ok=True)
            folder.replace_file(note, str(data), 0o600)
        for other in local.notes_folder().iterdir():  # of whoever was killed
            if not local.is_running(Path(other.read_text())):
                other.unlink()
    try:
        yield
    finally:
        with suppress(OSError):
            note.unlink(missing_ok=True)


def _describe_holder(data: Path) -> str:
    """Describe the cluster that has locked `data`, from its record if it has one already."""
    advice = "Use it, stop it first, or choose another folder with --data."
    try:
        found = json.loads((data / local.RECORD).read_text())
        return f"a cluster runs on {data}: pid {found['pid']}, {found['nodes'][0]['http']}. {advice}"
    except (OSError, ValueError, LookupError):
        pid = (data / local.LOCK).read_text().strip() or "unknown"
        return f"a cluster is starting on {data}: pid {pid}. {advice}"


def _try_lock(data: Path) -> int | None:
    """Lock `data` and return the open lock, or None while another process has it."""
    opened = os.open(data / local.LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    for attempt in range(_LOCK_ATTEMPTS):
        if attempt:
            time.sleep(_BETWEEN_ATTEMPTS_S)
        with suppress(BlockingIOError):
            fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.ftruncate(opened, 0)
            os.pwrite(opened, f"{os.getpid()}\n".encode(), 0)
            return opened
    os.close(opened)
    return None


def _release_lock(data: Path, locked: int | None) -> None:
    if locked is not None:
        with suppress(OSError):
            (data / local.RECORD).unlink(missing_ok=True)
        os.close(locked)


def _prepare_folder(place: ClusterFolder) -> ClusterFolder:
    with folder.translate_refusals(place.data):
        place.record.unlink(missing_ok=True)  # of a start that was killed: we hold the lock
        place.logs.mkdir(mode=0o700, exist_ok=True)
    return place


def _folder_mode() -> int:
    """Choose the mode. Root has another account run the database: it passes through and lists nothing."""
    return 0o700 if os.geteuid() else 0o711
