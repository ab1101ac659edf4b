"""Starts a child process that dies with this one, and ends it in order.

Separate because everything else in this folder relies on one promise: whatever happens to this process,
`kill -9` included, no child stays behind, and Ctrl-C in a terminal reaches this process only. The child
leads a session of its own, so signals of the terminal do not reach it. On Linux the kernel sends it
`death_signal` when the thread that started it ends (PR_SET_PDEATHSIG). Other systems have no such signal:
there a child outlives a killed parent until somebody stops it, and everything else works.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any, Protocol

from ccn import errors
from ccn.embedded.unprivileged_user import UnixAccount

StopStep = tuple[signal.Signals, float]
LINE_LIMIT = 8_192
FEED_LIMIT = 4_096
_PR_SET_PDEATHSIG = 1
_KILLED_TIMEOUT_S = 5.0
_prctl = ctypes.CDLL(None, use_errno=True).prctl if sys.platform == "linux" else None


def start(
    argv: Sequence[str | Path],
    *,
    death_signal: signal.Signals = signal.SIGKILL,
    account: UnixAccount | None = None,
    output: Path | None = None,
    feed: bytes = b"",
    stdin: int | None = None,
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
) -> Child:
    """Start `argv`, writing to the end of the file `output`, or to a pipe: then call `read_lines`.

    The program runs as `account`. Its whole standard input is `feed`, or the open file `stdin`. Its whole
    environment is `env` (None: this process's). Main thread only, since the death signal belongs to the
    thread.
    """
    if threading.current_thread() is not threading.main_thread():
        raise errors.EmbeddedFailed(
            f"{Path(argv[0]).name} must be started from the main thread: a child started from another "
            "thread is killed when that thread ends; run the event loop in the main thread"
        )
    with _open_feed(feed) as feed_pipe, _open_output(output) as stdout:
        try:
            process = subprocess.Popen(
                [os.fspath(part) for part in argv],
                stdin=feed_pipe if stdin is None else stdin,
                stdout=stdout,
                stderr=subprocess.STDOUT,
                cwd=cwd,
                env=env,
                start_new_session=True,
                # One system call in the child, after the change of account, which would clear the signal.
                preexec_fn=_tie_to_parent(os.getpid(), death_signal),  # noqa: PLW1509
                **_account_options(account),
            )
        except (OSError, subprocess.SubprocessError) as refused:
            raise errors.EmbeddedFailed(f"{argv[0]} cannot be started: {refused}") from refused
    return Child(process)


class Process(Protocol):
    """As much of `subprocess.Popen` as is needed."""

    pid: int
    stdout: IO[bytes] | None
    returncode: int | Any

    def poll(self) -> int | None: ...  # noqa: D102

    def wait(self, timeout: float | None = None) -> int: ...  # noqa: D102

    def send_signal(self, sig: int, /) -> None: ...  # noqa: D102

    def kill(self) -> None: ...  # noqa: D102


class Child:
    """A started process. Whoever starts one awaits `wait` or `stop`, so that it is reaped."""

    def __init__(self, process: Process) -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """Its process id, and that of its session."""
        return self._process.pid

    @property
    def code(self) -> int | None:
        """Its exit code, the negative signal number if a signal ended it, None while it runs."""
        return self._process.poll()

    async def wait(self) -> int:
        """Wait until it has ended, and say how."""
        while (code := self.code) is None:
            await _wait_for_exit(self.pid)
        return code

    async def stop(self, *steps: StopStep) -> int:
        """Send each signal and wait its seconds; kill what is left. Interrupted, kill at once."""
        try:
            for number, patience_s in steps or ((signal.SIGTERM, 10.0),):
                self.send_signal(number)
                with suppress(TimeoutError):
                    async with asyncio.timeout(patience_s):
                        return await self.wait()
        finally:
            if self.code is None:
                self._kill_group()
        return int(self._process.returncode)

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended already."""
        self._process.send_signal(number)

    async def read_lines(self, limit: int = LINE_LIMIT) -> AsyncIterator[str]:
        """Yield what it writes, line by line until it closes its output.

        Longer lines are cut at `limit` bytes.
        """
        if self._process.stdout is None:
            return
        reader = asyncio.StreamReader()
        transport, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), self._process.stdout
        )
        cutter = LineCutter(limit)
        try:
            while chunk := await reader.read(LINE_LIMIT):
                for line in cutter.cut_chunk(chunk):
                    yield line
            for line in cutter.cut_rest():
                yield line
        finally:
            transport.close()

    def _kill_group(self) -> None:
        """End the whole group now.

        Blocks for the moment that the kernel needs, so that no process is left.
        """
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.kill()
        try:
            self._process.wait(_KILLED_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            raise errors.EmbeddedFailed(
                f"pid {self.pid} does not end even when killed: the kernel waits for a disk or a network"
            ) from None


class LineCutter:
    """Takes bytes and gives whole lines, none longer than `limit` bytes.

    The rest of a longer one is dropped.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._open = b""
        self._dropping = False

    def cut_chunk(self, chunk: bytes) -> Iterator[str]:
        """Yield the lines that `chunk` completes, or makes too long."""
        *whole, last = chunk.split(b"\n")
        for part in whole:
            yield from self._grow_line(part)
            yield from self.cut_rest()
        yield from self._grow_line(last)

    def cut_rest(self) -> Iterator[str]:
        """Yield the line begun and not ended, if there is one. The next byte begins a new line."""
        if self._open and not self._dropping:
            yield _decode_line(self._open)
        self._open, self._dropping = b"", False

    def _grow_line(self, part: bytes) -> Iterator[str]:
        if self._dropping:
            return
        self._open += part
        if len(self._open) > self._limit:
            yield _decode_line(self._open[: self._limit]) + " …"
            self._dropping = True


def bare_environment() -> dict[str, str]:
    """Return what a server may see of our environment: no secrets, no configuration, English messages."""
    loader = {
        name: os.environ[name]  # noqa: TID251 - not configuration: what it takes to load a program
        for name in ("PATH", "LD_LIBRARY_PATH")
        if name in os.environ  # noqa: TID251
    }
    return loader | {"LC_ALL": "C", "TZ": "UTC"}


def describe_exit(code: int) -> str:
    """Say an exit code in words."""
    if code >= 0:
        return f"exit status {code}"
    with suppress(ValueError):
        return f"killed by {signal.Signals(-code).name}"
    return f"killed by signal {-code}"


def _decode_line(line: bytes) -> str:
    return line.decode("utf-8", "replace").rstrip("\r")


def _tie_to_parent(parent: int, death_signal: signal.Signals) -> Callable[[], None]:
    def tie_child() -> None:
        if _prctl is not None:
            _prctl(_PR_SET_PDEATHSIG, int(death_signal), 0, 0, 0)
            # The parent may have died before the line above. Then nothing is left that would send the
            # signal.
            if os.getppid() != parent:
                os._exit(1)
        # With this a limit on the size of files fails a write, like a full disk, and does not kill the
        # writer.
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)

    return tie_child


def _account_options(account: UnixAccount | None) -> dict[str, Any]:
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": [], "umask": 0o077}


@contextmanager
def _open_feed(feed: bytes) -> Iterator[int]:
    """Open a standard input with `feed` in it. It fits into a pipe, so nobody has to stay and write."""
    if len(feed) > FEED_LIMIT:
        raise ValueError(f"a child can be fed {FEED_LIMIT} bytes, not {len(feed)}")
    read, write = os.pipe()
    try:
        os.write(write, feed)
        os.close(write)
        yield read
    finally:
        os.close(read)


@contextmanager
def _open_output(output: Path | None) -> Iterator[int]:
    if output is None:
        yield subprocess.PIPE
        return
    try:
        opened = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
    except OSError as refused:
        raise errors.DataDirectoryUnusable(f"the log {output} cannot be written: {refused}") from refused
    try:
        yield opened
    finally:
        os.close(opened)


async def _wait_for_exit(pid: int) -> None:
    """Return soon after the process `pid` has ended, or earlier: the caller looks again."""
    try:
        pidfd = os.pidfd_open(pid)
    except (AttributeError, OSError):
        # No pidfd here (another system, an old kernel, a sandbox).
        await asyncio.sleep(0.02)
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    loop.add_reader(pidfd, ended.set)
    try:
        await ended.wait()
    finally:
        loop.remove_reader(pidfd)
        os.close(pidfd)
