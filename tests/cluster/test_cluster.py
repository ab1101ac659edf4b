"""Three node processes that agree: rounds go on while nodes, etcd and the database die under them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import httpx
import psutil  # type: ignore[import-untyped]
import pytest
from pydantic import SecretStr

from ccn import settings
from ccn.core.chain.block import Tip
from ccn.core.ids import NodeId
from ccn.core.rounds import readback
from ccn.node.signing import signing_key
from ccn.store.connection import pool
from ccn.store.rounds import blocks
from tests.cluster.test_up import Up, eventually, reachable_folder, started, surroundings
from tests.support.cli import commands

QUICK = {
    "CCN_CLUSTER_INTERVAL_S": "0.5",
    "CCN_ETCD_LEASE_TTL_S": "2",
    "CCN_LIMITS_REQUESTS": "1000000",  # these tests ask for the status far more often than anybody may
}

pytestmark = pytest.mark.timeout(
    400
)  # three nodes start within the first test's time, on a busy machine too


class Local:
    """A running local cluster, asked over HTTP."""

    def __init__(self, running: Up, told: dict[str, Any]) -> None:
        self.running, self.told = running, told

    def status(self) -> dict[str, Any]:
        for node in self.told["nodes"]:
            try:
                answer = httpx.get(f"{node['http']}/status", timeout=3)
            except httpx.TransportError:
                continue
            if answer.status_code == 200:
                found: dict[str, Any] = answer.json()
                return found
        return {"height": None, "leader": None}

    def height(self) -> int:
        return self.status()["height"] or 0

    def leader(self) -> str:
        return str(eventually(lambda: self.status()["leader"]))

    def all_here(self) -> bool:
        nodes = self.status().get("nodes", ())
        return bool(nodes) and all(node["here"] for node in nodes)

    def service(self, name: str) -> int:
        def found() -> int:
            for child in psutil.Process(self.running.process.pid).children():
                with suppress(psutil.NoSuchProcess):  # of the nodes some are on their way out
                    if child.name() == name:
                        return int(child.pid)
            return 0

        return eventually(found)

    def goes_on(self, by: int = 2) -> float:
        """Wait for so many more blocks; how long the first took."""
        began, before = time.monotonic(), self.height()
        eventually(lambda: self.height() > before)
        first_s = time.monotonic() - began
        eventually(lambda: self.height() >= before + by)
        return first_s


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    options = ("--ephemeral", "--json", "--port", "0")
    with reachable_folder() as folder, started(folder, *options, environ=QUICK) as running:
        yield Local(running, running.ready())


async def test_blocks_are_committed_soon_after_the_start(local: Local) -> None:
    local.goes_on()
    eventually(local.all_here)
    status = local.status()
    assert (status["quorum"], status["stopped"], status["database_mode"]) == (2, "", "plain")
    assert [node["votes"] for node in status["nodes"]] == [True] * 3


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSTOP])
async def test_another_node_leads_when_the_leader_is_gone(local: Local, number: signal.Signals) -> None:
    before = local.leader()
    pid = local.running.node(before)
    os.kill(pid, number)
    try:
        eventually(lambda: local.status()["leader"] not in (before, None))
        local.goes_on()
    finally:
        if number is signal.SIGSTOP:
            os.kill(pid, signal.SIGCONT)
    eventually(local.all_here)


async def test_a_follower_that_died_votes_again(local: Local) -> None:
    leader = local.leader()
    follower = next(node["id"] for node in local.told["nodes"] if node["id"] != leader)
    os.kill(local.running.node(follower), signal.SIGKILL)
    local.goes_on()
    eventually(local.all_here)


@pytest.mark.parametrize("service", ["etcd", "postgres"])
async def test_rounds_go_on_after_a_service_was_killed(local: Local, service: str) -> None:
    os.kill(local.service(service), signal.SIGKILL)
    eventually(lambda: local.height() > 0)
    local.goes_on()


def ccn_(local: Local, *arguments: str) -> subprocess.CompletedProcess[str]:
    return commands.run(*arguments, env=surroundings(local.running.folder))


async def test_an_operator_forces_a_round_and_sees_it(local: Local) -> None:
    where = ("--database-url", local.told["database_url"])
    forced = ccn_(local, "round", "force", "--by", "ann", "--json", *where)
    outcome = json.loads(forced.stdout)
    assert (forced.returncode, outcome["committed"]) == (0, True)
    listed = [
        json.loads(line) for line in ccn_(local, "round", "list", "--json", *where).stdout.splitlines()
    ]
    assert outcome["height"] in [entry["height"] for entry in listed if entry["committed"]]
    shown = json.loads(ccn_(local, "round", "show", str(outcome["height"]), "--json", *where).stdout)
    assert shown["votes"] == outcome["votes"]


async def test_status_tells_people_and_programs_the_same(local: Local) -> None:
    """Once all three are back from what the tests before did to them."""
    endpoint = ("--endpoint", local.told["nodes"][0]["http"])

    def both() -> tuple[dict[str, Any], str] | None:
        told = json.loads(ccn_(local, "status", "--json", *endpoint).stdout or "{}")
        seen = ccn_(local, "status", *endpoint).stdout
        return (told, seen) if f"{told.get('leader')} (leader)" in seen and "3 here" in seen else None

    answers = eventually(both)
    assert answers is not None
    told, seen = answers
    keys_of = {"nodes", "leader", "term", "height", "last_round", "quorum", "unsealed", "database_mode"}
    assert keys_of <= told.keys()
    assert "2 of 3, 3 here" in seen
    for moment in (*(node["since"] for node in told["nodes"]), told["led_since"]):
        assert datetime.fromisoformat(moment) <= datetime.now(UTC)
        assert moment[11:19] in seen


async def test_a_command_without_a_cluster_says_what_to_do(local: Local) -> None:
    refused = ccn_(local, "status", "--data", str(local.running.folder / "nowhere"))
    assert refused.returncode == 1
    assert "nowhere. Start one with `ccn up`" in refused.stderr
    unknown = ccn_(local, "status", "--endpoint", "http://127.0.0.1:1")
    assert unknown.stderr.startswith("error: 127.0.0.1:1 does not answer")


async def test_the_chain_holds_from_its_founding_to_its_tip(local: Local) -> None:
    """Run last: after all that died, every block still follows from the one before and from its votes."""
    database = settings.DatabaseSettings(url=SecretStr(local.told["database_url"]))
    async with pool.open(database, "auditor") as connections:
        tip = await blocks.load_tip(connections, 0)
        height = await blocks.load_height(connections)
        assert tip is not None
        assert height is not None
        assert height > 10
        for each in range(1, height + 1):
            shown = await blocks.load_block(connections, each)
            assert shown is not None
            confirmed = readback.confirm_block(
                shown, tip, NodeId("auditor"), {}, signing_key.check_signature
            )
            assert isinstance(confirmed, Tip), confirmed
            tip = confirmed
        doubled = "SELECT count(*) - count(DISTINCT (height, node_id)) FROM votes"
        assert await connections.value(doubled) == 0
