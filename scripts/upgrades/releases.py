"""Programs of several releases on one machine: trees of source that the same environment runs.

The release before this one is the commit that `scripts/previous-release` names, out of the history of this
clone; a shallow clone has none. This release is a copy, so that work on the tree goes on meanwhile. A
release to come is another one, with more schema files.
"""

from __future__ import annotations

import asyncio
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

from ccn.cli.cluster import fork_server
from ccn.cli.cluster.fork_server import ForkServer
from ccn.embedded import child
from ccn.embedded.child import Child

ROOT = Path(__file__).parents[2]
_NAMED = ROOT / "scripts" / "previous-release"
_PARTS = ("ccn", "schema")
_PATIENCE_S = 400.0
_STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class EndedCommand:
    """What a command said, and how it ended."""

    code: int
    said: str
    complained: str


@dataclass(frozen=True, slots=True)
class Release:
    """One program: its name in what is printed, and where its source lies."""

    name: str
    tree: Path
    forking: ForkServer = field(default_factory=lambda: ForkServer(None, None), compare=False)
    """Starts it without importing it each time, if somebody opened this."""

    @property
    def command(self) -> tuple[str, ...]:
        """What runs it, before its arguments."""
        return (sys.executable, "-P", "-m", "ccn")

    def environment(self, more: Mapping[str, str]) -> dict[str, str]:
        """The variables with which its source comes before the one that is installed."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("CCN_")}
        return kept | {"PYTHONPATH": str(self.tree)} | dict(more)

    def start_node(self, name: str, log: Path, more: Mapping[str, str]) -> Child:
        """Start a node of it, which writes to the end of a file."""
        asked, environment = ("node", "run"), self.environment(more)
        with Path(os.devnull).open("rb") as nothing, log.open("ab") as said:
            streams = (nothing.fileno(), said.fileno(), said.fileno())
            forked = self.forking.fork_process(name, asked, environment, self.tree, streams)
        if forked is None:
            return child.start([*self.command, *asked], env=environment, output=log)
        return Child(forked)

    def run(self, *arguments: str, given: str = "", **more: str) -> EndedCommand:
        """Run a command of it to its end."""
        environment = self.environment(more)
        with TemporaryFile() as feed, TemporaryFile() as said, TemporaryFile() as complained:
            feed.write(given.encode())
            feed.seek(0)
            streams = (feed.fileno(), said.fileno(), complained.fileno())
            running = self.forking.fork_process("ccn", arguments, environment, self.tree, streams)
            code = (running or _start_alone([*self.command, *arguments], environment, streams)).wait(
                _PATIENCE_S
            )
            told = [_read_whole(each) for each in (said, complained)]
        return EndedCommand(code, *told)


@asynccontextmanager
async def open_release(release: Release) -> AsyncIterator[Release]:
    """The same, imported once: starting a program is most of what an exchange costs."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            process = child.start(
                fork_server.PROGRAM,
                stdin=theirs.fileno(),
                output=Path(os.devnull),
                env=release.environment({"GRPC_ENABLE_FORK_SUPPORT": "false"}),
            )
        try:
            await asyncio.to_thread(select.select, [ours], [], [], _PATIENCE_S)
            forking = ForkServer(process, ours)
            await forking.wait_until_imported()
            yield replace(release, forking=forking)
        finally:
            await process.stop((signal.SIGTERM, _STOP_S))


def find_previous(commit: str = "") -> str:
    """The commit of the release before this one; empty if this clone does not have it."""
    wanted = commit or _NAMED.read_text().strip()
    try:
        found = _ask_git("rev-parse", "--verify", "--quiet", f"{wanted}^{{commit}}")
    except (OSError, subprocess.CalledProcessError):
        return ""
    return found.decode().strip()


def unpack_commit(commit: str, folder: Path) -> Release:
    """The program of a commit of this clone."""
    folder.mkdir()
    packed = _ask_git("archive", commit, *_PARTS)
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    # Once, so that three nodes that start together need not each do it.
    subprocess.run([sys.executable, "-m", "compileall", "-q", str(folder / "ccn")], check=True)
    return Release(f"previous ({commit[:10]})", folder)


def copy_tree(folder: Path, name: str, schema: Mapping[str, str], source: Path = ROOT) -> Release:
    """The program of a tree as it is now, with more schema files, by the name that follows their number."""
    for part in _PARTS:
        shutil.copytree(source / part, folder / part)
    for file, sql in schema.items():
        number = count_files(folder) + 1
        text = sql.replace("{before}", str(number - 1)).replace("{own}", str(number))
        (folder / "schema" / f"{number:04}_{file}.sql").write_text(text)
    return Release(name, folder)


def count_files(folder: Path = ROOT) -> int:
    """How many schema files a tree has."""
    return len(list((folder / "schema").glob("*.sql")))


def _ask_git(*arguments: str) -> bytes:
    return subprocess.run(["git", "-C", str(ROOT), *arguments], check=True, capture_output=True).stdout


def _start_alone(
    command: Sequence[str], environment: Mapping[str, str], streams: tuple[int, int, int]
) -> subprocess.Popen[bytes]:
    feed, said, complained = streams
    return subprocess.Popen(command, env=environment, stdin=feed, stdout=said, stderr=complained)


def _read_whole(file: IO[bytes]) -> str:
    file.seek(0)
    return file.read().decode(errors="replace")
