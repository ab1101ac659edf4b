"""`ccn validators list` as somebody types it, about a record of four blocks."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Copy
from tests.support.cli import commands

pytestmark = pytest.mark.asyncio(loop_scope="module")


async def test_every_node_is_listed_with_its_key_and_whether_it_votes(copy: Copy) -> None:
    where = ("--database-url", copy.database.url.get_secret_value())
    shown = commands.run("validators", "list", *where, env=commands.environment())
    assert shown.returncode == 0, shown.stderr
    heading, *lines = shown.stdout.splitlines()
    assert heading.split() == ["node", "votes", "last", "vote", "unsealed", "key"]
    listed = commands.run("validators", "list", "--json", *where, env=commands.environment())
    nodes = [json.loads(line) for line in listed.stdout.splitlines()]
    assert [node["node"] for node in nodes] == ["node-1", "node-2", "node-3"]
    assert [line.split()[:2] for line in lines] == [[node["node"], "yes"] for node in nodes]
    assert all(node["key"].startswith(line.split()[-1]) for node, line in zip(nodes, lines, strict=True))
