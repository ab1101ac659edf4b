"""Tests that are cut off leave no process behind, whoever it was that they started."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil  # type: ignore[import-untyped]

from tests.support import held_open, processes

ROOT = Path(__file__).parents[2]
_STARTS_S, _END_S = 150.0, 60.0
_SERVERS = {"postgres", "etcd", "ccn"}


def test_a_run_that_is_killed_leaves_no_server_and_no_fork_behind(tmp_path: Path) -> None:
    names = tmp_path / "names"
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", held_open.__file__]
    environ = os.environ | {held_open.NAMES: str(names)}
    with (tmp_path / "said").open("wb") as said:
        running = processes.start(
            [*command, f"--basetemp={tmp_path / 'inner'}"], cwd=ROOT, env=environ, stdout=said, stderr=said
        )
        until = time.monotonic() + _STARTS_S
        while not names.exists():
            assert running.poll() is None, (tmp_path / "said").read_text()
            assert time.monotonic() < until, "it did not start in time"
            time.sleep(0.05)
        family = [line.split(maxsplit=2) for line in names.read_text().splitlines()]
        assert {name for _, _, name in family} >= _SERVERS
        os.kill(running.pid, signal.SIGKILL)
        assert running.wait(_END_S) == -signal.SIGKILL
    until = time.monotonic() + _END_S
    while left := [name for pid, since, name in family if _lives(int(pid), float(since))]:
        assert time.monotonic() < until, f"still there: {left}"
        time.sleep(0.05)


def _lives(pid: int, since: float) -> bool:
    try:
        found = psutil.Process(pid)
        return bool(found.create_time() == since and found.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def test_a_child_whose_parent_has_ended_meanwhile_ends_at_once() -> None:
    program = "from tests.support import processes; processes.die_with(1 << 30); print('lives')"
    ended = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")
