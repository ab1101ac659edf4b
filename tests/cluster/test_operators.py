"""Operators at work on four node processes: one is drained, removed and added; the record tells of it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.cli import commands
from tests.support.cluster.local_cluster import QUICK, Local
from tests.support.cluster.up import CCN, eventually, reachable_folder, ready, started, surroundings

pytestmark = pytest.mark.timeout(
    400
)  # four nodes start within the first test's time, on a busy machine too


@pytest.fixture(scope="module")
def local() -> Iterator[Local]:
    options = ("--nodes", "4", "--ephemeral", "--json", "--port", "0")
    with reachable_folder() as folder, started(folder, *options, environ=QUICK) as running:
        local = Local(running, running.ready())
        local.goes_on()
        yield local


def run(local: Local, *arguments: str) -> subprocess.CompletedProcess[str]:
    url = local.told["database_url"]
    return commands.run(
        *arguments, "--database-url", url, env=surroundings(local.running.folder), timeout_s=90
    )


def told(local: Local, *arguments: str) -> dict[str, Any]:
    done = run(local, *arguments, "--json")
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def seat(local: Local, node: str) -> dict[str, Any]:
    nodes = eventually(lambda: local.status().get("nodes"))
    return next((each for each in nodes or () if each["node"] == node), {})


def votes(local: Local) -> dict[str, bool]:
    lines = run(local, "validators", "list", "--json").stdout.splitlines()
    return {each["node"]: each["votes"] for each in map(json.loads, lines)}


@pytest.fixture(scope="module")
def drained(local: Local) -> str:
    """The node that led, drained."""
    node = local.leader()
    refused = run(local, "validators", "remove", node)
    assert refused.returncode == 1
    assert f"{node} is at work: `ccn drain {node}` first" in refused.stderr
    done = run(local, "drain", node, "--by", "ann")
    assert done.returncode == 0, done.stderr
    assert f"{node} is drained" in done.stdout
    assert f"asked; {node} is to answer" in done.stderr
    assert f"{node}: nothing left" in done.stderr
    return node


def test_a_drained_node_hands_on_its_lead_and_stays_drained_when_it_is_killed(
    local: Local, drained: str
) -> None:
    eventually(lambda: local.leader() != drained)
    assert seat(local, drained)["draining"] is True
    killed = local.running.node(drained)
    os.kill(killed, signal.SIGKILL)
    eventually(lambda: local.running.node(drained) != killed)
    eventually(lambda: all(ready(node) for node in local.told["nodes"]))
    eventually(lambda: seat(local, drained).get("here") is True)
    assert seat(local, drained)["draining"] is True
    local.goes_on()
    assert local.leader() != drained


def test_a_node_is_removed_and_added_again(local: Local, drained: str) -> None:
    eventually(lambda: seat(local, drained).get("here") is True)
    gone = told(local, "validators", "remove", drained)
    assert (gone["changed"], gone["quorum"], len(gone["validators"])) == (True, 2, 3)
    assert votes(local) == {node["id"]: node["id"] != drained for node in local.told["nodes"]}
    local.goes_on()
    assert seat(local, drained)["votes"] is False
    assert told(local, "validators", "remove", drained)["changed"] is False

    back = told(local, "validators", "add", drained, "--by", "ann")
    assert (back["changed"], back["quorum"], len(back["validators"])) == (True, 3, 4)
    assert told(local, "drain", drained, "--undo") == {"node": drained, "draining": False}
    local.goes_on()
    eventually(lambda: drained in told(local, "round", "show", str(local.height()))["votes"])


def test_who_votes_is_told_and_asked_for_over_the_door_of_a_node(local: Local) -> None:
    key = local.running.folder / "admin.key"
    key.write_text(local.told["admin"]["api_key"])
    where = ("--endpoint", local.told["nodes"][0]["http"], "--api-key-file", str(key), "--json")
    environ = surroundings(local.running.folder)
    listed = commands.run("validators", "list", *where, env=environ, timeout_s=90)
    assert {each["node"]: each["votes"] for each in map(json.loads, listed.stdout.splitlines())} == votes(
        local
    )
    voting = next(node for node, votes_ in votes(local).items() if votes_)
    added = commands.run("validators", "add", voting, *where, env=environ, timeout_s=90)
    assert json.loads(added.stdout)["changed"] is False, added.stderr


def test_a_node_that_drained_itself_takes_part_again_when_it_is_started(local: Local) -> None:
    node = local.leader()
    url, environ = local.told["database_url"], surroundings(local.running.folder) | {"CCN_NODE_ID": node}
    done = commands.run("drain", "--self", "--database-url", url, env=environ, timeout_s=90)
    assert done.returncode == 0, done.stderr
    assert seat(local, node)["draining"] is True
    stopped = local.running.node(node)
    os.kill(stopped, signal.SIGTERM)
    eventually(lambda: local.running.node(node) != stopped)
    eventually(lambda: seat(local, node).get("here") is True)
    assert seat(local, node)["draining"] is False


def test_what_cannot_be_done_is_an_error_with_its_reason(local: Local) -> None:
    stranger = run(local, "validators", "add", "node-9")
    assert stranger.returncode == 1
    assert stranger.stderr.splitlines()[-1].startswith("error: node-9 is not here: start it")
    assert "no node node-9 ever ran here" in run(local, "drain", "node-9").stderr
    assert "no node node-9 ever ran here" in run(local, "validators", "remove", "node-9").stderr
    nowhere = "01900000-0000-7000-8000-000000000001"
    unknown = run(local, "record", "redact", nowhere, "--reason", "asked", "--by", "ann")
    assert unknown.returncode == 1
    assert "error: there is no such conversation" in unknown.stderr


def test_the_record_tells_who_did_what_and_verifies_past_every_change(local: Local) -> None:
    """Run last."""
    assert told(local, "round", "force", "--by", "ann")["committed"]
    changed = told(local, "user", "add", "eve", "--by", "ann")
    eventually(lambda: run(local, "request", "list").stdout == "no request waits for an answer\n")
    told(local, "round", "force")
    file = local.running.folder / "record.jsonl"
    assert run(local, "record", "export", str(file)).returncode == 0
    asked = [line for line in map(json.loads, file.read_text().splitlines()) if "asked" in line]
    said = {(each["leaf"]["command"], each["leaf"]["by"]) for each in asked}
    assert {(each, "ann") for each in ("drain", "validators", "round", "redact", "account")} <= said
    assert {("account", "ccn up")} <= said
    assert changed["password"] not in file.read_text()
    assert {each["leaf"]["error"] for each in asked} == {None, "Conflict", "NotFound"}
    checked = subprocess.run(
        [*CCN[:2], "ccn.cli.verify", str(file)], capture_output=True, text=True, timeout=60, check=False
    )
    assert checked.returncode == 0, checked.stdout
    assert "4 validators" in checked.stdout
