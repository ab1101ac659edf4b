"""`ccn character scorer | baseline | release` and `ccn plate import`, over a database and over a node."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from subprocess import CompletedProcess
from uuid import UUID

import pytest_asyncio

from ccn import settings
from ccn.node.character import scorers
from ccn.node.operators import execution
from ccn.store.accounts.users import Tier
from tests.support.cli import commands
from tests.support.gateway import http_door
from tests.support.gateway.http_door import Door
from tests.support.node import node_world
from tests.support.speakers import ANN


@pytest_asyncio.fixture
async def door(database: settings.DatabaseSettings) -> AsyncIterator[Door]:
    """A node that does what operators ask over its HTTP door."""
    world, stop = await node_world.found_world(database), asyncio.Event()
    async with world.node("node-1") as node, http_door.door(node) as opened:
        handlers = execution.node_handlers(node.pool, node.writer)
        handlers[execution.RELEASE] = execution.release_handler(node.living.restoration)
        operating = asyncio.create_task(
            execution.run_requests(node.pool, node.writer, handlers, _take_on, stop)
        )
        try:
            yield opened
        finally:
            stop.set()
            await operating


async def _take_on() -> bool:
    return True


async def run(door: Door, *arguments: str, key: str = "") -> CompletedProcess[str]:
    environ = commands.environment(CCN_CLIENT_ENDPOINT=door.url, CCN_CLIENT_API_KEY=key)
    return await asyncio.to_thread(partial(commands.run, *arguments, env=environ))


async def test_an_instance_is_released_over_a_node_by_its_id_or_its_conversation(door: Door) -> None:
    conversation = await door.node.begin_conversation()
    turn = await door.node.conversations.say(conversation, "Hello.", ANN)
    await door.node.reply(turn.id)
    key = await http_door.key(door.node, Tier.ADMIN)
    asked = await run(door, "character", "release", str(conversation), "--reason", "tried", key=key)
    assert asked.returncode == 1, asked.stdout
    assert "error: the instance is running, not quarantined" in asked.stderr
    missing = await run(door, "character", "release", str(UUID(int=7)), "--reason", "tried", key=key)
    assert "error: there is no instance 00000000-" in missing.stderr
    unknown = await run(door, "character", "release", str(conversation), "--reason", "tried")
    assert (unknown.returncode, unknown.stdout) == (1, "")
    assert "give an admin's key with --api-key-file or CCN_CLIENT_API_KEY" in unknown.stderr


async def test_a_plate_is_imported_and_listed_over_a_node(door: Door, tmp_path: Path) -> None:
    key = await http_door.key(door.node, Tier.ADMIN)
    (tmp_path / "bob.md").write_text("+++\nname = 'Bob'\n+++\n# Bob\nKeeps his word.\n")
    made = await run(door, "plate", "import", str(tmp_path / "bob.md"), "--by", "eve", key=key)
    assert (made.returncode, made.stdout) == (0, "bob is at version 1\n"), made.stderr
    shown = await run(door, "plate", "list", key=key)
    assert [line.split() for line in shown.stdout.splitlines()] == [
        ["ada", "version", "1", "Ada"],
        ["bob", "version", "1", "Bob"],
    ]


async def test_a_database_without_a_chain_has_the_scorer_of_the_settings_and_no_baselines(
    database: settings.DatabaseSettings,
) -> None:
    where = ("--database-url", database.url.get_secret_value())
    measured = commands.run("character", "scorer", "--json", *where, env=commands.environment())
    assert json.loads(measured.stdout) == {"scorer": scorers.load().version, "judge": None}
    assert (
        "no baselines yet"
        in commands.run("character", "baseline", *where, env=commands.environment()).stdout
    )
    wrong = commands.run("character", "drift", "nope", *where, env=commands.environment())
    assert "error: 'nope' is not the id of an instance or a conversation" in wrong.stderr
