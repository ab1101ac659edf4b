"""One PostgreSQL server process: how it is started, with which settings, and when it counts as ready.

Separate from the story in `service`, which decides when. The supervision gets this: the same for the
first start and for every one after a death.
"""

from __future__ import annotations

import asyncio
import os
import signal
import struct
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ccn.embedded import child, failures, folder, ports
from ccn.embedded.binaries import PostgresPrograms
from ccn.embedded.child import Child
from ccn.embedded.postgres import postmaster
from ccn.embedded.postgres.layout import DataLayout
from ccn.embedded.postgres.replication import ServerReplication

# Fast shutdown first: it disconnects everybody and writes a checkpoint. Then immediate: recovery at the
# next start.
STOP = ((signal.SIGINT, 20.0), (signal.SIGQUIT, 5.0))
POLL_S = 0.01
_READY_TIMEOUT_S = 300.0
_ANSWER_TIMEOUT_S = 5.0
_STARTING_UP = b"C57P03\0"


@dataclass(slots=True)
class PostgresServer:
    """What one server is started with.

    Once it was started, `log_since` is where its words begin in the log.
    """

    where: DataLayout
    programs: PostgresPrograms
    port: int
    socket: Path | None
    fsync: bool
    replication: ServerReplication = field(default_factory=ServerReplication)
    log_since: int | None = field(default=None, init=False)

    def start(self) -> Child:
        """Start it. Whoever calls this awaits `wait_until_ready`."""
        where = self.where
        with folder.translate_refusals(where.data):
            postmaster.find_server(where.pgdata)
            folder.rotate_log(where.log)
            self._write_settings()
            self.replication.mark_data(where)
            self.log_since = failures.log_size(where.log)
        return child.start(
            self._server_command(),
            death_signal=signal.SIGINT,
            account=where.account,
            output=where.log,
            env=child.bare_environment(),
            cwd=Path("/"),
        )

    async def wait_until_ready(self, process: Child) -> None:
        """Wait until it answers. Recovery after a crash may take long, up to a limit."""
        until = time.monotonic() + _READY_TIMEOUT_S
        while not await self._is_answering(process):
            code, late = process.code, time.monotonic() > until
            if code is not None or late:
                how = (
                    f"not ready after {_READY_TIMEOUT_S:.0f} s"
                    if code is None
                    else child.describe_exit(code)
                )
                what = f"PostgreSQL {self.programs.version} did not start on {self.where.pgdata}: {how}"
                raise failures.explain_failure(what, self.where.log, self.log_since or 0)
            await asyncio.sleep(POLL_S)

    def reload_settings(self, pid: int) -> None:
        """Let the server with this pid follow what `replication` says now. It does so a moment later."""
        with folder.translate_refusals(self.where.data):
            self._write_settings()
        os.kill(pid, signal.SIGHUP)

    def _write_settings(self) -> None:
        text = settings_text(fsync=self.fsync) + self.replication.settings_text()
        folder.replace_file(self.where.settings, text, 0o644)

    def _server_command(self) -> list[str | Path]:
        """Put on the command line what `ALTER SYSTEM` must not change, and leave the rest to our file."""
        fixed = {
            "config_file": self.where.settings,
            "listen_addresses": ports.HOST,
            "port": self.port,
            "unix_socket_directories": _quote_path(self.socket) if self.socket else "",
        }
        options = [part for name, value in fixed.items() for part in ("-c", f"{name}={value}")]
        return [self.programs.bin / "postgres", "-D", self.where.pgdata, *options]

    async def _is_answering(self, process: Child) -> bool:
        """Whether this very server says that it is ready, and answers a client."""
        pid_file = postmaster.read_pid_file(self.where.pgdata)
        if pid_file is None or pid_file.pid != process.pid or not pid_file.ready:
            return False
        with suppress(OSError, TimeoutError, asyncio.IncompleteReadError):
            async with asyncio.timeout(_ANSWER_TIMEOUT_S):
                return await _try_login(self.port)
        return False


def settings_text(*, fsync: bool) -> str:
    """Write our settings file. It includes first what initdb found out about the machine."""
    return f"""\
# Written by CCN at every start: changes here are lost. Put yours in with ALTER SYSTEM, which comes last.
include_if_exists 'pgdata/postgresql.conf'
fsync = {"on" if fsync else "off"}
max_connections = 100
shared_buffers = 128MB
wal_level = replica
max_wal_size = 512MB
min_wal_size = 80MB
password_encryption = scram-sha-256
timezone = 'UTC'
log_timezone = 'UTC'
log_destination = stderr
logging_collector = off
log_line_prefix = '%m [%p] '
log_checkpoints = off
# What a statement did wrong is told to its caller. In a log, its text and values would be content.
log_min_messages = log
log_min_error_statement = panic
jit = off
# After a crash the whole server is started again, by us: its own attempts have no pauses between them, and
# fill the log for as long as, say, the disk is full.
restart_after_crash = off
"""


def _quote_path(path: Path) -> str:
    """Write a list of one folder, whatever its name contains."""
    return '"' + str(path).replace('"', '""') + '"'


async def _try_login(port: int) -> bool:
    """Begin to log in, and leave. An error other than "starting up" is an answer, too."""
    reader, writer = await asyncio.open_connection(ports.HOST, port)
    try:
        body = struct.pack("!i", 196_608) + b"user\0ccn\0database\0ccn\0\0"
        writer.write(struct.pack("!i", len(body) + 4) + body)
        kind, length = struct.unpack("!ci", await reader.readexactly(5))
        return kind == b"R" or _STARTING_UP not in await reader.readexactly(length - 4)
    finally:
        writer.close()
        with suppress(OSError):
            await writer.wait_closed()
