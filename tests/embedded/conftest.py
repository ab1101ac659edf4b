"""What the tests of embedded services share: folders, processes to kill, a way to ask a database.

No test is left out for anybody. Where root and an ordinary user differ, a fixture picks the way.
"""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil  # type: ignore[import-untyped]
import pytest

from ccn.embedded import binaries, unprivileged_user
from ccn.embedded.postgres import copies
from tests.support import processes

STARTER = Path(__file__).with_name("starter.py")
# PostgreSQL wants its user to have a name.
ORDINARY_UID = next(each.pw_uid for each in pwd.getpwall() if each.pw_uid and each.pw_name != "nobody")


@pytest.fixture
def place() -> Iterator[Path]:
    """A folder that the server's account can reach, unlike pytest's own as root."""
    with _folder() as made:
        yield made


@pytest.fixture(scope="session")
def template() -> Iterator[Path]:
    """The folder of a PostgreSQL that was started once and stopped in order."""
    with _folder() as made:
        wish = json.dumps({"service": "postgres", "data": str(made / "data")})
        subprocess.run([sys.executable, STARTER, wish], input=b"", check=True, timeout=110)
        yield made / "data"


@pytest.fixture
def data(place: Path, template: Path) -> Path:
    """A copy of it, so that a test does not wait for initdb."""
    subprocess.run(["cp", "-a", template, place / "data"], check=True)
    return place / "data"


@pytest.fixture
def ordinary_place(place: Path) -> Path:
    """A folder that belongs to an ordinary user: this one, or as root another."""
    if os.geteuid() == 0:
        os.chown(place, ORDINARY_UID, ORDINARY_UID)
    return place


@pytest.fixture
def ordinary() -> dict[str, object]:
    """What makes a starter an ordinary user, with programs that such a user can reach."""
    if os.geteuid() != 0:
        return {}
    found = copies.ensure_reachable(binaries.find_postgres(None), unprivileged_user.find_account())
    return {"uid": ORDINARY_UID, "bin": str(found.bin)}


@dataclass
class Starter:
    """A process that runs a service, its first words read."""

    process: subprocess.Popen[str]
    told: dict[str, Any]
    family: list[psutil.Process] = field(default_factory=list)

    @property
    def pid(self) -> int:
        return self.process.pid

    @property
    def servers(self) -> list[psutil.Process]:
        """Everything it started, and what that started."""
        return list(psutil.Process(self.pid).children(recursive=True))

    def stop(self) -> None:
        """Let it end in order."""
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)

    def freeze(self) -> list[psutil.Process]:
        """Stop everything it started where it stands, so that none can react to what comes."""
        family = self.servers
        for each in family:
            # Some processes of a server come and go.
            with suppress(psutil.NoSuchProcess):
                each.suspend()
        return family

    def kill(self) -> list[psutil.Process]:
        """`kill -9`, and who was there: they may take a moment longer."""
        family = self.servers
        self.family += family
        self.process.send_signal(signal.SIGKILL)
        self.process.wait(60)
        return family


@pytest.fixture
def begin() -> Iterator[Callable[..., Starter]]:
    """Start a service in a process of its own; do not wait for it yet."""
    started: list[Starter] = []

    def _begin(**wish: object) -> Starter:
        process = processes.start(
            [sys.executable, STARTER, json.dumps(wish)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        started.append(Starter(process, {}))
        return started[-1]

    yield _begin
    for each in started:
        if each.process.poll() is None:
            each.kill()
        for stream in (each.process.stdin, each.process.stdout):
            if stream is not None:
                stream.close()
    _clear([other for each in started for other in each.family])


@pytest.fixture
def starter(begin: Callable[..., Starter]) -> Callable[..., Starter]:
    """Start a service in a process of its own, and wait for its first words."""

    def _start(**wish: object) -> Starter:
        return listened(begin(**wish))

    return _start


def listened(begun: Starter) -> Starter:
    assert begun.process.stdout is not None
    begun.told = json.loads(begun.process.stdout.readline())
    return begun


@pytest.fixture
def listen() -> Callable[[Starter], Starter]:
    return listened


def gone(family: list[psutil.Process], timeout_s: float = 60.0) -> None:
    """Every one of them ends by itself. When its new parent takes note of that is not our business."""
    end = time.monotonic() + timeout_s
    while alive := [each for each in family if _lives(each)]:
        assert time.monotonic() < end, f"still there: {alive}"
        time.sleep(0.01)


def named(name: str, family: Callable[[], list[psutil.Process]], timeout_s: float = 60.0) -> psutil.Process:
    """The one whose command line says so, once it does: they come and go, and are named after a moment."""
    end = time.monotonic() + timeout_s
    while True:
        for each in family():
            with suppress(psutil.NoSuchProcess):
                if name in " ".join(each.cmdline()):
                    return each
        assert time.monotonic() < end, f"no {name} among {family()}"
        time.sleep(0.01)


def _clear(family: list[psutil.Process]) -> None:
    """Whatever a test left, a failed one above all, and frozen or not, is gone before the next begins."""
    try:
        gone(family)
    finally:
        for each in filter(_lives, family):
            each.kill()


def _lives(process: psutil.Process) -> bool:
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.fixture
def ended() -> Callable[[list[psutil.Process]], None]:
    return gone


@pytest.fixture
def ask() -> Callable[[str, str], str]:
    """The answer of a database to one statement, by psql."""
    psql = binaries.find_postgres(None).bin / "psql"

    def _ask(url: str, sql: str) -> str:
        command: list[str | Path] = [psql, "-XqAt", "-v", "ON_ERROR_STOP=1", "-c", sql, url]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return _ask


@pytest.fixture
def until() -> Callable[[Callable[[], bool]], Any]:
    """Wait, within reason, until something is true."""

    async def _until(holds: Callable[[], bool], timeout_s: float = 60.0) -> None:
        end = time.monotonic() + timeout_s
        while not holds():
            assert time.monotonic() < end, "it did not become true in time"
            await asyncio.sleep(0.01)

    return _until


@contextmanager
def _folder() -> Iterator[Path]:
    made = Path(tempfile.mkdtemp(prefix="test-ccn-", dir=_in_memory()))
    if os.geteuid() == 0:
        made.chmod(0o711)
    try:
        yield made
    finally:
        _remove(made)


def _in_memory() -> Path | None:
    """Where a sync costs nothing, if there is enough of it: these tests make and remove many files."""
    memory = Path("/dev/shm")
    enough = memory.is_dir() and shutil.disk_usage(memory).free > 1024**3
    return memory if enough and os.access(memory, os.W_OK) else None


def _remove(made: Path) -> None:
    """The folder, and the one that it may point to."""
    for pointer in made.rglob("moved"):
        moved = Path(pointer.read_text().strip())
        assert moved.parent == unprivileged_user.SHARED / "data"
        shutil.rmtree(moved, ignore_errors=True)
    for each in (made, *(path for path in made.rglob("*") if path.is_dir() and not path.is_symlink())):
        each.chmod(0o700)
    shutil.rmtree(made)
