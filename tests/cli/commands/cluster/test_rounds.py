"""`ccn round list` and `show` as somebody types them, about a record of four blocks."""

from __future__ import annotations

import json

import pytest

from tests.cli.conftest import Copy
from tests.support.cli import commands

pytestmark = pytest.mark.asyncio(loop_scope="module")


def run(copy: Copy, *arguments: str) -> tuple[int, str, str]:
    url = copy.database.url.get_secret_value()
    ended = commands.run("round", *arguments, "--database-url", url, env=commands.environment())
    return ended.returncode, ended.stdout, ended.stderr


async def test_a_block_is_shown_with_who_reported_and_what_was_agreed_on(copy: Copy) -> None:
    code, out, err = run(copy, "show", "1")
    assert code == 0, err
    shown = dict(line.split(maxsplit=1) for line in out.splitlines() if line[0] != " ")
    assert shown["height"] == "1"
    assert shown["at"].endswith(" UTC")
    assert "instances" in shown["results"]
    assert "from their median" in shown["results"]
    code, out, _ = run(copy, "show", "1", "--json")
    block = json.loads(out)
    assert (code, block["height"]) == (0, 1)
    assert shown["votes"] == ", ".join(block["votes"])


async def test_a_block_that_is_not_there_is_said_so(copy: Copy) -> None:
    code, out, err = run(copy, "show", "99")
    assert (code, out) == (1, "")
    assert "error: there is no block 99" in err
    assert run(copy, "show", "0")[0] == 2
