"""Three node processes that agree: rounds go on while nodes, etcd and the database die under them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from pydantic import SecretStr

from ccn import settings
from ccn.core.chain.block import Tip
from ccn.core.ids import NodeId
from ccn.core.rounds import readback
from ccn.node.signing import signing_key
from ccn.store.connection import pool
from ccn.store.rounds import blocks
from tests.support.cli import commands
from tests.support.cluster.local_cluster import QUICK, Local
from tests.support.cluster.up import eventually, reachable_folder, started, surroundings

pytestmark = pytest.mark.timeout(
    400
)  # three nodes start within the first test's time, on a busy machine too


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
