"""`ccn up --standby`: the primary is killed under a node that runs rounds, and the standby takes over."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from tests.support.cli import commands
from tests.support.cluster.local_cluster import QUICK, Local
from tests.support.cluster.up import eventually, reachable_folder, started, surroundings

pytestmark = pytest.mark.timeout(300)


def _databases(folder: Path) -> dict[str, Any]:
    told = commands.run("status", "--json", "--data", str(folder / "data"), env=surroundings(folder))
    found: dict[str, Any] = json.loads(told.stdout or "{}").get("databases", {})
    return found


async def test_rounds_go_on_with_the_standby_and_status_says_who_leads() -> None:
    with reachable_folder() as folder:
        options = ("--standby", "--nodes", "1", "--json", "--port", "0", "--data", str(folder / "data"))
        with started(folder, *options, environ=QUICK) as running:
            local = Local(running, running.ready())
            assert local.told["database_url"].count("127.0.0.1:") == 2
            local.goes_on()
            expected = {"primary": "postgres", "standby": "postgres-2", "in_step": True}
            assert _databases(folder) == expected
            assert eventually(lambda: _read_from(local)) == [False, True]
            before = local.height()
            os.kill(_primary_pid(folder / "data"), signal.SIGKILL)
            eventually(lambda: local.height() > before)
            eventually(lambda: _databases(folder).get("in_step"))
            assert _databases(folder)["primary"] == "postgres-2"
            assert "postgres died, postgres-2 was promoted" in running.errors()
            eventually(lambda: _read_from(local) == [True, False])


def _read_from(local: Local) -> list[bool]:
    """Of which servers what is only read is read; empty if of none."""
    used = [not each["unfit"] for each in local.status().get("replicas", ())]
    return used if any(used) else []


def _primary_pid(data: Path) -> int:
    moved = data / "postgres" / "moved"
    home = Path(moved.read_text().strip()) if moved.exists() else data / "postgres"
    return int((home / "pgdata" / "postmaster.pid").read_text().splitlines()[0])
