"""A process of its own that serves the peer door, to be killed, frozen and started again."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ports, processes


class Process:
    """A node that answers greetings on one port."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"

    def start(self) -> None:
        self.process = processes.start(
            [sys.executable, "-m", "tests.peers.peer_process", str(self.port)],
            stdout=subprocess.PIPE,
            text=True,
            cwd=Path(__file__).parents[2],
        )
        assert self.process.stdout
        assert int(self.process.stdout.readline()) == self.port

    def send(self, number: signal.Signals) -> None:
        assert self.process
        self.process.send_signal(number)
        if number == signal.SIGSTOP:
            os.waitpid(self.process.pid, os.WUNTRACED)  # every thread has stopped

    def kill(self) -> None:
        assert self.process
        self.send(signal.SIGKILL)
        self.process.wait(30)
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture
def process() -> Iterator[Process]:
    """A node in another process."""
    with ports.reserve_port() as port:
        made = Process(port)
        made.start()
        yield made
        with contextlib.suppress(ValueError):
            made.kill()
