"""`ccn up` as a process of its own, with the folders and the environment that it is given."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol, TypeVar

import httpx
import psutil  # type: ignore[import-untyped]

from tests.support import databases, processes
from tests.support.cli import commands
from tests.support.cluster import forked_up

DEADLINE_S = 60.0
ANSWER_S = 30.0
"""For one question to a process that may be waiting for the processor."""
START_S = 110.0
"""Everything starts at once, on a machine that may be busy; how soon is not what is tested here."""
T = TypeVar("T")
CCN = (sys.executable, "-m", "ccn")


class Process(Protocol):
    """As much of `subprocess.Popen` as is needed."""

    pid: int

    def poll(self) -> int | None: ...
    def wait(self, timeout: float | None = None) -> int: ...
    def send_signal(self, number: int, /) -> None: ...
    def kill(self) -> None: ...


class Up:
    """One `ccn up` with its own process group."""

    def __init__(
        self, folder: Path, *options: str, environ: dict[str, str] | None = None, anew: bool = False
    ) -> None:
        self.folder = folder
        self._stderr: IO[bytes] = (folder / f"stderr-{time.monotonic_ns()}").open("w+b")
        start = _start_python if anew else _fork_command
        self.process, self.stdout = start(options, surroundings(folder) | (environ or {}), self._stderr)

    def ready(self) -> dict[str, Any]:
        line = self.stdout.readline()
        assert line.endswith(b"\n"), self.errors()
        told = json.loads(line)
        assert isinstance(told, dict)
        return told

    def errors(self) -> str:
        # The place in the file is shared with who writes: moving it would let a line go over the first one.
        file = self._stderr.fileno()
        return os.pread(file, os.fstat(file).st_size, 0).decode(errors="replace")

    def family(self) -> list[psutil.Process]:
        itself = psutil.Process(self.process.pid)
        return [itself, *itself.children(recursive=True)]

    def node(self, name: str) -> int:
        """The process that is this node now."""

        def found() -> int:
            for each in self.family():
                with suppress(psutil.NoSuchProcess):
                    if each.name() == name and not is_gone(each):
                        return int(each.pid)
            return 0

        return eventually(found)

    def interrupt(self) -> None:
        os.killpg(self.process.pid, signal.SIGINT)

    def close(self) -> None:
        if self.process.poll() is None:
            family = self.family()
            self.process.kill()
            self.process.wait()
            psutil.wait_procs(family, timeout=DEADLINE_S)
        self.stdout.close()
        self._stderr.close()


def _start_python(
    options: Sequence[str], environ: dict[str, str], errors: IO[bytes]
) -> tuple[Process, IO[bytes]]:
    """As people do it."""
    process = processes.start(
        [*CCN, "up", *options],
        stdout=subprocess.PIPE,
        stderr=errors,
        start_new_session=True,
        env=environ,
    )
    assert process.stdout is not None
    return process, process.stdout


def _fork_command(
    options: Sequence[str], environ: dict[str, str], errors: IO[bytes]
) -> tuple[Process, IO[bytes]]:
    """In half the time, because everything is imported."""
    output, write = os.pipe()
    with Path(os.devnull).open() as nothing, os.fdopen(write, "wb") as writing:
        streams = (nothing.fileno(), writing.fileno(), errors.fileno())
        process = commands.begin((forked_up.NAME, *options), environ, streams, name="ccn up")
    return process, os.fdopen(output, "rb")


def surroundings(folder: Path) -> dict[str, str]:
    """This process's environment without settings, and with the user's folders below `folder`."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CCN_")}
    quick = {"CCN_CLAUDE_STAND_IN_WORDS_S": "0"}
    folders = {"HOME": str(folder), "XDG_DATA_HOME": str(folder / "share"), "TMPDIR": str(folder)}
    return kept | folders | quick


@contextmanager
def started(
    folder: Path, *options: str, environ: dict[str, str] | None = None, anew: bool = False
) -> Iterator[Up]:
    """A start of it, with a Python of its own if it is to be `anew`."""
    running = Up(folder, *options, environ=environ, anew=anew)
    try:
        yield running
    finally:
        running.close()


@contextmanager
def reachable_folder() -> Iterator[Path]:
    """A folder that root's database account can reach too; pytest's own are closed to it."""
    made = Path(tempfile.mkdtemp(prefix="ccn up test ", dir=databases.place()))
    made.chmod(0o755)
    try:
        yield made
    finally:
        shutil.rmtree(made)


def eventually(ask: Callable[[], T], within_s: float = DEADLINE_S) -> T:
    until = time.monotonic() + within_s
    while True:
        with suppress(httpx.TransportError, OSError):
            if answer := ask():
                return answer
        assert time.monotonic() < until, "it did not happen in time"
        time.sleep(0.02)


def crowded() -> float:
    """How many times as long everything takes because others want the same processors."""
    return max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))


def is_gone(process: psutil.Process) -> bool:
    try:
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


def ready(node: dict[str, Any]) -> bool:
    return httpx.get(f"{node['http']}/ready", timeout=ANSWER_S).status_code == 200


def complaint(folder: Path, *options: str, environ: dict[str, str] | None = None) -> tuple[int, str]:
    ended = commands.run("up", *options, env=surroundings(folder) | (environ or {}), timeout_s=START_S)
    assert ended.stdout == ""
    if "--json" not in options:
        return ended.returncode, ended.stderr
    *before, last = ended.stderr.splitlines()
    return ended.returncode, "\n".join([*before, f"error: {json.loads(last)['error']['message']}"])
