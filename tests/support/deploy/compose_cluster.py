"""A cluster of containers for tests: that of deploy/compose, under a name, ports and networks of its own.

It needs a Docker engine with networks, the compose plugin and the images of this machine, which
scripts/image --local and scripts/image-roots make. It takes minutes, so it is left out unless
CCN_TEST_COMPOSE is set; with CCN_TEST_COMPOSE=required a run without what it needs is an error.
"""

from __future__ import annotations

import os
import shutil
import ssl
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import Any

import httpx

import ccn
from tests.support import ports

ROOT = Path(__file__).parents[3]
FOLDER = ROOT / "deploy" / "compose"
NODES = ("node-1", "node-2", "node-3")
PATIENCE_S = 120.0
_IMAGES = (f"ccn:{ccn.__version__}", "ccn-servers:local")


@cache
def left_out() -> str:
    """Why no cluster of containers can be had here; empty if it can."""
    if not os.environ.get("CCN_TEST_COMPOSE"):
        return "CCN_TEST_COMPOSE is not set"
    if shutil.which("docker") is None or _docker("version").returncode:
        return "no Docker engine answers"
    if _docker("compose", "version").returncode:
        return "Docker has no compose plugin"
    if _docker("network", "inspect", "bridge").returncode:
        return "the Docker engine has no networks"
    missing = [image for image in _IMAGES if _docker("image", "inspect", image).returncode]
    return f"no image {missing[0]}" if missing else ""


class ComposeCluster:
    """The cluster, what an operator does with it, and where it is reached."""

    def __init__(self, folder: Path, taken: list[int]) -> None:
        self.name = f"ccn-test-{os.getpid()}"
        self._folder = folder
        names = (
            "CCN_PORT",
            "NODE_1_PORT",
            "NODE_2_PORT",
            "NODE_3_PORT",
            "PROMETHEUS_PORT",
            "ALERTMANAGER_PORT",
        )
        self.ports = dict(zip(names, taken, strict=True))
        self._env = folder / "env"
        chosen = {
            **self.ports,
            "CCN_NETWORK": f"10.{100 + os.getpid() % 100}",
            "CCN_CLAUDE_BASE_URL": "http://stand-in:7790",  # also where a developer's .env has a key
            "CCN_CLUSTER_INTERVAL_S": 2,
            "CCN_LIMITS_REQUESTS": 1_000_000,
            "STAND_IN_WORDS_S": 20,
        }
        lines = (FOLDER / "local.env").read_text() + "".join(
            f"{name}={value}\n" for name, value in chosen.items()
        )
        self._env.write_text(lines)

    @property
    def door(self) -> str:
        """Where clients come in."""
        return f"https://localhost:{self.ports['CCN_PORT']}"

    def node_door(self, node: str) -> str:
        """Where one node is reached past the proxy."""
        return f"https://localhost:{self.ports[node.upper().replace('-', '_') + '_PORT']}"

    def compose(self, *words: str, within_s: float = 300) -> str:
        """Run a command of compose; what it printed."""
        command = ["docker", "compose", "--project-name", self.name, "--env-file", str(self._env), *words]
        done = subprocess.run(
            command, cwd=FOLDER, capture_output=True, text=True, timeout=within_s, check=False
        )
        assert done.returncode == 0, f"{' '.join(words)}: {done.stderr[-3000:]}{done.stdout[-1000:]}"
        return done.stdout

    def start(self) -> float:
        """Start it, or start it again; how long that took."""
        began = time.monotonic()
        try:
            self.compose("up", "--detach", "--wait", within_s=400)
        except AssertionError as failed:
            logs = self.compose("logs", "--tail", "15", "--no-color")
            raise AssertionError(f"{failed}\n{self.compose('ps', '--all')}\n{logs[-12_000:]}") from None
        return time.monotonic() - began

    def run_operator(self, *words: str) -> str:
        """Run a command of CCN in a container of its own."""
        return self.compose("run", "--rm", "--no-deps", "--no-TTY", *words)

    def trust(self) -> ssl.SSLContext:
        """Whom clients trust: the cluster's authority."""
        file = self._folder / "ca.pem"
        self.compose("cp", "proxy:/run/secrets/ca.pem", str(file))
        return ssl.create_default_context(cafile=str(file))

    def cut_off(self, node: str) -> None:
        """Take a node off every network."""
        for network in ("inside", "doors"):
            _must("network", "disconnect", f"{self.name}_{network}", f"{self.name}-{node}-1")

    def connect(self, node: str) -> None:
        """Bring it back."""
        for network in ("doors", "inside"):
            _must("network", "connect", "--alias", node, f"{self.name}_{network}", f"{self.name}-{node}-1")

    def remove(self) -> None:
        """Leave nothing behind."""
        command = ["docker", "compose", "--project-name", self.name, "--env-file", str(self._env)]
        command += ["--profile", "tools", "down", "--volumes", "--remove-orphans", "--timeout", "1"]
        subprocess.run(command, cwd=FOLDER, capture_output=True, timeout=200, check=False)


@contextmanager
def running(folder: Path) -> Iterator[ComposeCluster]:
    """A cluster that is removed whatever happens."""
    with ExitStack() as stack:
        reserved = [stack.enter_context(ports.reserve_port()) for _ in range(6)]
        cluster = ComposeCluster(folder, reserved)
        stack.callback(cluster.remove)
        yield cluster


def read_status(client: httpx.Client, door: str) -> dict[str, Any]:
    """What a door says about the cluster; empty if it says nothing."""
    try:
        answer = client.get(f"{door}/status", timeout=10)
    except httpx.TransportError:
        return {}
    return dict(answer.json()) if answer.status_code == 200 else {}


def _docker(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(["docker", *words], capture_output=True, text=True, timeout=60, check=False)


def _must(*words: str) -> None:
    done = _docker(*words)
    assert done.returncode == 0, done.stderr
