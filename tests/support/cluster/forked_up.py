"""`ccn up` as a fork of a process that has imported everything, whose fork server is a fork of it in turn.

Separate from `ccn up` as people start it: most tests are about the cluster, and half of what a start takes
is importing what the tests' nursery has at hand. All else is as `ccn up` does it.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import NoReturn

from ccn import cli
from ccn.cli.cluster import fork_server, lifecycle
from ccn.cli.cluster.fork_server import ForkServer
from ccn.cli.cluster.lifecycle import UpOptions
from tests.support import processes

NAME = "forked-up"


def main(arguments: Sequence[str]) -> None:
    """Be `ccn up` with these options."""
    with _fork_server_line() as line:

        @asynccontextmanager
        async def open_fork_server() -> AsyncIterator[ForkServer]:
            with line:
                yield ForkServer(None, line)

        sys.exit(lifecycle.run_cluster(_read_options(arguments), open_fork_server))


@contextmanager
def _fork_server_line() -> Iterator[socket.socket]:
    """Fork the fork server before anything else runs here. It ends when its line does."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    parent = os.getpid()
    if not (pid := os.fork()):
        ours.close()
        _be_fork_server(theirs, parent)
    theirs.close()
    try:
        yield ours
    finally:
        ours.close()
        os.waitpid(pid, 0)


def _be_fork_server(line: socket.socket, parent: int) -> NoReturn:
    """As one that Python was started for: with nothing open, and in a session of its own."""
    processes.die_with(parent)
    os.setsid()
    nothing = os.open(os.devnull, os.O_RDWR)
    for stream in range(3):
        os.dup2(nothing, stream)
    os.close(nothing)
    fork_server.serve_forks(line, cli.main)


def _read_options(arguments: Sequence[str]) -> UpOptions:
    parser = argparse.ArgumentParser()
    parser.add_argument("--nodes", type=int, default=3)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--port", type=int)
    parser.add_argument("--gateways", type=int, default=0)
    parser.add_argument("--json", action="store_true", dest="as_json")
    for flag in ("ephemeral", "tls", "standby", "quiet"):
        parser.add_argument(f"--{flag}", action="store_true")
    return UpOptions(**vars(parser.parse_args(arguments)))
