"""A process that has imported what nodes are made of, and forks a copy of itself for each that is to start.

Importing its libraries is most of a node's start: three nodes do it three times, and one that died does it
again while its cluster waits. A forked node begins at once, and shares the memory that libraries take. The
server does nothing else: it opens no file and no connection, so two nodes share nothing by accident.

The server is the parent of what it forks. It dies with the process that opened it, and the kernel ends its
children with it (`ccn.embedded.child`). That needs Linux. Elsewhere, and whenever the server cannot be
started, each program is started on its own.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import IO, NoReturn

from ccn import settings
from ccn.embedded import child
from ccn.embedded.child import Child

Streams = tuple[int, int, int]

PROGRAM = (sys.executable, "-P", "-c", "from ccn.cli.cluster import fork_server; fork_server.main()")
_IMPORT_TIMEOUT_S = 60.0
_FORK_TIMEOUT_S = 30.0
_STOP_S = 2.0
_ASK_LIMIT = 1 << 20
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


class ForkServer:
    """Starts `ccn` with any arguments, by a fork of a process that has imported it."""

    def __init__(self, process: Child | None, line: socket.socket | None) -> None:
        self._process, self._socket = process, line
        self._imported = False

    async def wait_until_imported(self) -> None:
        """Wait until the server has imported everything, so that no start has to."""
        if self._socket is None:
            return
        self._socket.setblocking(False)
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(_IMPORT_TIMEOUT_S):
                self._imported = bool(await asyncio.get_running_loop().sock_recv(self._socket, 64))
        if not self._imported:
            self._give_up()

    def start_child(self, name: str, arguments: Sequence[str], env: Mapping[str, str]) -> Child:
        """Start a process without input whose output is read as `lines`. top and pstree show its name."""
        output, write = os.pipe()
        nothing = os.open(os.devnull, os.O_RDONLY)
        try:
            forked = self.fork_process(name, arguments, env, Path.cwd(), (nothing, write, write))
        finally:
            os.close(write)
            os.close(nothing)
        if forked is None:
            os.close(output)
            return child.start([sys.executable, "-P", "-m", "ccn", *arguments], env=env)
        forked.stdout = os.fdopen(output, "rb", buffering=0)
        return Child(forked)

    def fork_process(
        self, name: str, arguments: Sequence[str], env: Mapping[str, str], cwd: Path, streams: Streams
    ) -> ForkedProcess | None:
        """Fork a process with these standard streams, or return None if no server runs."""
        if self._socket is None:
            return None
        asked = json.dumps([name, list(arguments), dict(env), str(cwd)]).encode()
        told, tell = os.pipe()
        try:
            if not self._imported:
                self._socket.settimeout(_IMPORT_TIMEOUT_S)
                self._imported = bool(self._socket.recv(64))
            self._socket.settimeout(_FORK_TIMEOUT_S)
            socket.send_fds(self._socket, [asked], [*streams, tell])
            born = self._socket.recv(64)
        except OSError:
            born = b""
        finally:
            os.close(tell)
        if born:
            return ForkedProcess(int(born), told)
        os.close(told)
        self._give_up()
        return None

    def _give_up(self) -> None:
        """Do without the server. If it answers too late, end it, and with it what it forked meanwhile."""
        self._socket = None
        if self._process is not None:
            self._process.send_signal(signal.SIGKILL)


class ForkedProcess:
    """A process that the server forked, with as much of `subprocess.Popen` as a `Child` needs."""

    def __init__(self, pid: int, told: int) -> None:
        self.pid, self._told = pid, told
        self.returncode: int | None = None
        self.stdout: IO[bytes] | None = None
        os.set_blocking(told, False)

    def poll(self) -> int | None:
        """Return how the process ended, as the server tells; if the server ended first, how that ended."""
        if self.returncode is None:
            with suppress(BlockingIOError):
                self.returncode = int(os.read(self._told, 64) or -signal.SIGKILL)
                os.close(self._told)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Block until the process has ended."""
        if self.poll() is None:
            told = select.poll()
            told.register(self._told, select.POLLIN)
            told.poll(None if timeout is None else timeout * 1000)
        if (code := self.poll()) is None:
            raise subprocess.TimeoutExpired("ccn", timeout or 0)
        return code

    def send_signal(self, number: int) -> None:
        """Send the process a signal, unless it has ended."""
        if self.poll() is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End the process now."""
        self.send_signal(signal.SIGKILL)


@asynccontextmanager
async def start_fork_server() -> AsyncIterator[ForkServer]:
    """Start a server, which begins to import. What it forks has to end before the block does."""
    if sys.platform != "linux":
        yield ForkServer(None, None)
        return
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours:
        with theirs:
            # gRPC reads it when it is imported. Nothing of gRPC runs yet when the server forks.
            environ = settings.child_environment({"GRPC_ENABLE_FORK_SUPPORT": "false"})
            process = child.start(PROGRAM, stdin=theirs.fileno(), output=Path(os.devnull), env=environ)
        try:
            yield ForkServer(process, ours)
        finally:
            await process.stop((signal.SIGTERM, _STOP_S))


def main() -> None:
    """Import what nodes are made of, then serve forks of it."""
    gc.disable()  # collections would search a growing heap, of which all is kept, a seventh of the time
    from ccn import cli  # noqa: PLC0415 - the point: imported here, and in no child any more
    from ccn.service import lifetime  # noqa: F401, PLC0415

    cli.Commands.load_commands("node")
    gc.collect()
    gc.freeze()  # a collection in a child would touch, and so copy, every page
    gc.enable()
    serve_forks(socket.socket(fileno=os.dup(0)), cli.main)


def serve_forks(asks: socket.socket, be_command: Callable[[], object]) -> NoReturn:
    """Serve forks until nobody is left to ask. In a forked process, run `ccn` with its arguments."""
    asks.send(b"ready")
    arguments = _fork_for_asks(asks)
    if arguments is not None:
        sys.argv = ["ccn", *arguments]
        try:
            be_command()
        except SystemExit as left:
            _exit_now(left.code)
    _exit_now(0)


def _exit_now(code: str | int | None) -> NoReturn:
    """End at once: Python would first free, and so copy, every shared page, which takes a while."""
    with suppress(BrokenPipeError):
        sys.stdout.flush()
    if isinstance(code, str):
        sys.stderr.write(f"{code}\n")
    sys.stderr.flush()
    os._exit(code if isinstance(code, int) else bool(code))


def _fork_for_asks(asks: socket.socket) -> list[str] | None:
    """Fork for each message, and report each end. In a child, return its arguments."""
    itself, running = os.getpid(), dict[int, int]()
    ends, wakes = socket.socketpair()
    for each in (ends, wakes):
        each.setblocking(False)
    signal.set_wakeup_fd(wakes.fileno(), warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    while True:
        ready, _, _ = select.select((asks, ends), (), ())
        if ends in ready:
            ends.recv(4096)
            _reap_children(running)
            continue
        message, streams = _receive_ask(asks)
        if not message:
            return None
        if not (pid := os.fork()):
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for each in (asks, ends, wakes):
                each.close()
            return _become_child(message, streams, running.values(), itself)
        *given, running[pid] = streams
        for fd in given:
            os.close(fd)
        asks.send(str(pid).encode())


def _receive_ask(asks: socket.socket) -> tuple[bytes, list[int]]:
    """What is asked for, and the open files for it; nothing once nobody is left to ask."""
    try:
        message, streams, _, _ = socket.recv_fds(asks, _ASK_LIMIT, 4)
    except ConnectionResetError:  # by somebody who ended before they read that it is ready
        return b"", []
    return message, streams


def _become_child(message: bytes, streams: Sequence[int], others: Iterable[int], parent: int) -> list[str]:
    """Make this process its own session, which ends with the server."""
    name, arguments, environ, cwd = json.loads(message)
    os.setsid()
    prctl = ctypes.CDLL(None).prctl
    prctl(_PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
    prctl(_PR_SET_NAME, name.encode(), 0, 0, 0)
    if os.getppid() != parent:  # it died before the kernel was asked to signal
        os._exit(1)
    for number, fd in enumerate(streams[:3]):
        os.dup2(fd, number)
    for fd in (*streams, *others):
        os.close(fd)
    os.environ.clear()  # noqa: TID251 - not read: what is to be read is put there
    os.environ.update(environ)  # noqa: TID251
    os.chdir(cwd)
    return list(arguments)


def _reap_children(running: dict[int, int]) -> None:
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            pid, status = ended
            tell = running.pop(pid)
            with suppress(BrokenPipeError):  # the reader is gone
                os.write(tell, str(os.waitstatus_to_exitcode(status)).encode())
            os.close(tell)
